//! What is told to who is not answered.

use std::time::Duration;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use galen_sdk::proxies::wire;

use super::{StoreError, rules::Cause};

/// After how long it is worth asking again for what is not to be had right now.
const SOON: Duration = Duration::from_secs(5);

/// A request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    /// More than the cause says, for the log and for who asks. Nothing of anybody else.
    pub(super) detail: Option<&'static str>,
    /// When to ask again.
    pub(super) retry: Option<Duration>,
}

impl Refusal {
    pub(super) const fn new(cause: Cause, detail: &'static str) -> Self {
        Self { cause, detail: Some(detail), retry: None }
    }

    pub(super) const fn limited(detail: &'static str, retry: Duration) -> Self {
        Self { cause: Cause::Limit, detail: Some(detail), retry: Some(retry) }
    }

    fn seconds(&self) -> Option<u64> {
        // Not for what is not final: how long that takes depends on the network, and who asks knows it.
        let waiting = matches!(self.cause, Cause::Content | Cause::Chain);
        let retry = self.retry.or_else(|| waiting.then_some(SOON));
        retry.map(|retry| retry.as_secs().max(1))
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        Self { cause, detail: None, retry: None }
    }
}

impl From<StoreError> for Refusal {
    fn from(_: StoreError) -> Self {
        Self::new(Cause::Internal, "the store refused")
    }
}

/// Status of the table in [`wire::Refused`].
pub(super) const fn status(cause: Cause) -> StatusCode {
    match cause {
        Cause::Malformed | Cause::Elsewhere => StatusCode::BAD_REQUEST,
        Cause::Signature
        | Cause::Deadline
        | Cause::NotLogged
        | Cause::Window
        | Cause::Revoked
        | Cause::NotAccepted
        | Cause::Standing
        | Cause::NotRecovered => StatusCode::FORBIDDEN,
        Cause::NotFinal => StatusCode::TOO_EARLY,
        Cause::NoShare => StatusCode::NOT_FOUND,
        Cause::Stale => StatusCode::CONFLICT,
        Cause::Limit => StatusCode::TOO_MANY_REQUESTS,
        Cause::Content | Cause::Chain => StatusCode::SERVICE_UNAVAILABLE,
        Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let retry = self.seconds();
        let mut error = self.cause.sentence().to_owned();
        if let Some(detail) = self.detail {
            error = format!("{error}: {detail}");
        }
        let body = wire::Refused { cause: self.cause.as_str().to_owned(), error, retry };
        let mut response = (status(self.cause), Json(body)).into_response();
        if let Some(seconds) = retry {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
