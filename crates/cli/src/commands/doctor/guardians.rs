//! What waits for the id: guardians can hand it over, and somebody could have talked them into it.

use galen_types::ErrorKind;

use super::Report;
use crate::{error::CliError, session::Session, when::Instant};

pub(super) async fn examine(session: &Session, report: &mut Report) {
    let state = match session.guarded().state().await {
        Ok(state) => state,
        Err(source) => {
            let doing = "ask what waits for the id";
            return report.error("guardians", &CliError::Sdk { doing, source });
        }
    };
    let Some(pending) = state.pending else {
        return report.ok(
            "guardians",
            if state.guardianship.commitment.is_zero() {
                "none: without a backup, keys that are lost stay lost"
            } else {
                "set; nothing waits"
            },
        );
    };
    let ready = Instant::from_unix(pending.ready_at);
    if pending.kind.is_recovery() {
        let text = format!("they hand the id to {:#x}, from {ready} on", pending.controller);
        let help =
            "if you did not ask them: `galen recovery cancel`, at once, with this key".into();
        return report.error("guardians", &CliError::Told { kind: ErrorKind::Denied, text, help });
    }
    let help = "`galen recovery status` says what; if it is not yours: `galen recovery cancel`";
    report.warn("guardians", format!("a change waits until {ready}"), help);
}
