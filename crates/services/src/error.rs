//! Why a service does not do what it is asked.

use std::time::Duration;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use galen_chain::ChainError;
use galen_types::ErrorKind;
use serde_json::json;

/// A relay does not send a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The body is not a request.
    #[error("not a request: {0}")]
    BadRequest(&'static str),
    /// The call is for another chain or contract.
    #[error("this relay serves another {0}")]
    Elsewhere(&'static str),
    /// The bytes are not a call of the ledger.
    #[error("not a call of the ledger: {0}")]
    Malformed(&'static str),
    /// The function carries no signature.
    #[error("this function is not relayed")]
    NotRelayed,
    /// A signature is missing, so that the relay's own would count.
    #[error("a signature is missing")]
    Unsigned,
    /// A signer that did not sign is controlled by the relay's own wallet.
    #[error("the relay's wallet is a party to this call")]
    OwnParty,
    /// A limit is reached.
    #[error("{what}")]
    Limited {
        /// Which one.
        what: &'static str,
        /// When to try again.
        retry: Duration,
    },
    /// The wallet of the relay has too little.
    #[error("the relay's wallet is low")]
    WalletLow,
    /// Gas costs more than the relay pays.
    #[error("gas costs more than this relay pays")]
    GasPrice,
    /// No such transaction is on its way.
    #[error("no such transaction is on its way")]
    Unknown,
    /// The contract refused, or the node did not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The task that sends is gone.
    #[error("the relay failed")]
    Internal,
}

impl RelayError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::BadRequest(_)
            | Self::Elsewhere(_)
            | Self::Malformed(_)
            | Self::NotRelayed
            | Self::Unsigned => ErrorKind::Invalid,
            Self::OwnParty => ErrorKind::Denied,
            Self::Unknown => ErrorKind::NotFound,
            Self::Limited { .. } | Self::WalletLow | Self::GasPrice => ErrorKind::Unavailable,
            Self::Chain(error) => error.kind(),
            Self::Internal => ErrorKind::Internal,
        }
    }

    /// One line that says what to do.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "send {\"chainId\":n,\"to\":\"0x…\",\"data\":\"0x…\"} as JSON",
            Self::Elsewhere(_) => "GET /v1/status names the chain and the contract",
            Self::Malformed(_) => "encode the call by the ABI, without bytes before or after",
            Self::NotRelayed => "GET /v1/status lists the functions; send others yourself",
            Self::Unsigned => "sign it; what a relay sends says nothing about who wants it",
            Self::OwnParty => "let all signers sign, or use another relay",
            Self::Limited { .. } => "try again later, use another relay or pay yourself",
            Self::WalletLow => "tell who runs the relay, use another one or pay yourself",
            Self::GasPrice => "try again when the chain is less busy, or pay yourself",
            Self::Unknown => "ask a node: it may have landed",
            Self::Chain(error) => match error.kind() {
                ErrorKind::Stale => "read the chain again, sign anew and repeat",
                ErrorKind::Unavailable => "try again; the same call is sent only once",
                ErrorKind::Denied => "the contract does not allow it to who signed",
                _ => "check what was signed, with which key and for which contract",
            },
            Self::Internal => "try again; the same call is sent only once",
        }
    }

    /// Seconds for `Retry-After`, where waiting helps.
    const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Limited { retry, .. } => Some(retry.as_secs()),
            Self::WalletLow | Self::GasPrice => Some(60),
            _ => None,
        }
    }
}

/// Status of the table in STYLE.md.
const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Invalid | ErrorKind::Declined => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Integrity => StatusCode::BAD_GATEWAY,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Stale => StatusCode::CONFLICT,
    }
}

impl IntoResponse for RelayError {
    fn into_response(self) -> Response {
        let body = Json(json!({
            "error": self.to_string(),
            "kind": self.kind().as_str(),
            "help": self.help(),
        }));
        let mut response = (status(self.kind()), body).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
