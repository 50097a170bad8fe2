//! Which blocks stay.

use std::{fmt, str::FromStr};

use alloy::{eips::BlockNumberOrTag, providers::Provider};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::ChainError;

/// When a block of a chain is final.
///
/// Written `finalized`, `instant`, or a number of blocks; in settings the number may be a number or
/// a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Finality {
    /// When the node says so (tag `finalized`).
    #[default]
    Finalized,
    /// At once: BFT and proof-of-authority chains with instant finality.
    Instant,
    /// When this many blocks stand on it.
    Depth(u64),
}

/// The text is neither `finalized` nor `instant` nor a number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("finality is `finalized`, `instant` or a number of blocks")]
pub struct ParseFinalityError;

impl Finality {
    /// Number of the highest final block, given the number of the newest one.
    pub(crate) async fn block(
        self,
        provider: &impl Provider,
        head: u64,
    ) -> Result<u64, ChainError> {
        match self {
            Self::Instant => Ok(head),
            Self::Depth(depth) => Ok(head.saturating_sub(depth)),
            Self::Finalized => {
                match provider.get_block_by_number(BlockNumberOrTag::Finalized).await {
                    Ok(Some(block)) => Ok(block.header.number),
                    Ok(None) => Err(ChainError::NoFinalBlock),
                    // A node that refuses the tag answers with an error of its own.
                    Err(error) if error.is_error_resp() => Err(ChainError::NoFinalBlock),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

impl fmt::Display for Finality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finalized => f.write_str("finalized"),
            Self::Instant => f.write_str("instant"),
            Self::Depth(blocks) => write!(f, "{blocks}"),
        }
    }
}

impl FromStr for Finality {
    type Err = ParseFinalityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "finalized" => Ok(Self::Finalized),
            "instant" => Ok(Self::Instant),
            // One value has one text: no sign, no leading zero.
            number => number
                .parse()
                .ok()
                .filter(|blocks: &u64| blocks.to_string() == number)
                .map(Self::Depth)
                .ok_or(ParseFinalityError),
        }
    }
}

impl Serialize for Finality {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Depth(blocks) => serializer.serialize_u64(*blocks),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Finality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(blocks) => Ok(Self::Depth(blocks)),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finality_has_one_text() {
        for (text, finality) in [
            ("finalized", Some(Finality::Finalized)),
            ("instant", Some(Finality::Instant)),
            ("0", Some(Finality::Depth(0))),
            ("64", Some(Finality::Depth(64))),
            ("064", None),
            ("+1", None),
            ("-1", None),
            ("safe", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), finality, "{text}");
            if let Some(finality) = finality {
                assert_eq!(finality.to_string(), text);
                let json = serde_json::to_string(&finality).expect("it is written");
                assert_eq!(serde_json::from_str::<Finality>(&json).ok(), Some(finality));
            }
        }
        assert_eq!(serde_json::from_str::<Finality>("\"12\"").ok(), Some(Finality::Depth(12)));
    }
}
