//! The proxies that a profile relies on.

use super::Report;
use crate::{
    commands::proxy::{client_for, standing},
    error::CliError,
    session::Session,
};

/// Longest that one proxy may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Whether enough proxies of the set would answer, and have what belongs there.
pub(super) async fn examine(session: &Session, report: &mut Report) {
    let book = session.book();
    let count = book.proxies.places.len();
    if count == 0 {
        return;
    }
    let client = match client_for(session, PATIENCE) {
        Ok(client) => client,
        Err(error) => return report.error("proxies", &error),
    };
    let (up, down) = standing(&client, session).await;
    let (needed, down) = (usize::from(book.proxies.threshold()), down.join("; "));
    let help = "`galen proxy status` says more; tell who serves them, or choose others";
    if up < needed {
        let text = format!("{up} of {count} would answer, {needed} are needed: {down}");
        report.error("proxies", &CliError::unavailable(text, help));
    } else if up < count {
        report.warn("proxies", format!("{up} of {count} would answer: {down}"), help);
    } else {
        report.ok("proxies", format!("{up} would answer, {needed} are needed for a read"));
    }
    if !book.deliveries.is_empty() {
        let text = format!("{} shares did not reach their proxy yet", book.deliveries.len());
        report.warn("shares", text, "`galen consent deliver` tries again");
    }
}
