//! What a place says about itself.

use std::time::Duration;

/// What a place that answers says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its version, in its own words, cut and without control characters.
    pub version: Option<String>,
    /// For bee nodes: the batch that uploads would use.
    pub postage: Option<Postage>,
}

/// A postage batch of a bee node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postage {
    /// Its id: 64 hex digits.
    pub batch: String,
    /// How long what it paid for is kept.
    pub time_left: Duration,
    /// How much of it is used, in percent, counted for its fullest bucket.
    pub used_percent: u8,
}
