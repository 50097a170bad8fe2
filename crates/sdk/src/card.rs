//! Who somebody says they are.

use serde::{Deserialize, Serialize};

/// What somebody does in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Role {
    /// Owns a chart under a pseudonym.
    Patient = 1,
    /// Proposes records; a member of the network.
    Organization = 2,
    /// Reads what it was granted.
    Reader = 3,
}
