//! Positional parameters.

use alloy::primitives::U64;
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::Value;

use super::RpcError;

#[derive(Debug)]
pub(crate) struct Params<'a>(&'a [Value]);

impl<'a> Params<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Self, RpcError> {
        match value {
            Value::Null => Ok(Self(&[])),
            Value::Array(values) => Ok(Self(values)),
            _ => Err(RpcError::new(RpcError::PARAMS, "params must be an array")),
        }
    }

    /// The parameter at `index`; `None` if it is absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(
        &self,
        index: usize,
        name: &'static str,
    ) -> Result<Option<T>, RpcError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                // The parser's own words may repeat what was sent, at any length.
                .map_err(|_| Self::invalid(index, name)),
        }
    }

    pub(crate) fn required<T: DeserializeOwned>(
        &self,
        index: usize,
        name: &'static str,
    ) -> Result<T, RpcError> {
        self.optional(index, name)?.ok_or_else(|| {
            RpcError::new(RpcError::PARAMS, format!("missing value for argument {index} ({name})"))
        })
    }

    /// A number, plain or in hex.
    pub(crate) fn number(&self, index: usize, name: &'static str) -> Result<u64, RpcError> {
        match self.required(index, name)? {
            Value::Number(number) => number.as_u64(),
            text => U64::deserialize(&text).ok().map(|number| number.to()),
        }
        .ok_or_else(|| Self::invalid(index, name))
    }

    fn invalid(index: usize, name: &'static str) -> RpcError {
        RpcError::new(RpcError::PARAMS, format!("invalid argument {index} ({name})"))
    }
}
