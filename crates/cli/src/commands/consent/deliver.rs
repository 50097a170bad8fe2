//! `galen consent deliver`: shares on their way to proxies.

use std::time::Duration;

use galen_crypto::ProxyPlace;
use galen_sdk::proxies::{ProxyClient, ProxyError, ShareDelivery};
use galen_types::{ConsentId, ErrorKind};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    book::Delivery,
    commands::{proxy::client_for, shown::Party},
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
};

/// Longest that one share may take while somebody waits for the command that made it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Longest that shares of earlier commands hold up another one.
const IN_PASSING: Duration = Duration::from_secs(3);

/// Shares that go to proxies side by side.
const AT_ONCE: usize = 16;

/// The result of `galen consent deliver --json`.
#[derive(Debug, Serialize)]
struct Listed {
    shares: Vec<Delivered>,
}

/// What became of one share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Delivered {
    consent: ConsentId,
    proxy: Party,
    /// `delivered`, `waiting` or `refused`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `galen consent deliver`.
pub(super) async fn run(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let shares = all(session, ui, session.settings().timeout.value).await?;
    let waiting = shares.iter().filter(|one| one.state != "delivered").count();
    if ui.json() {
        ui.object(&Listed { shares })?;
    } else {
        for Delivered { consent, proxy, state, error } in &shares {
            row(ui, &[consent, proxy, state, &error.as_deref().unwrap_or_default()])?;
        }
    }
    if waiting == 0 {
        return Ok(());
    }
    Err(CliError::unavailable(
        format!("{waiting} shares did not reach their proxy"),
        "see that the proxies answer (`galen proxy status`), then run it again; a share that was \
         refused is made anew by `galen consent rotate`",
    ))
}

/// Tries once more what waits, without holding up whoever came for something else.
pub(crate) async fn in_passing(session: &Session, ui: &Ui) {
    let waiting: Vec<Delivery> = session.book().deliveries.iter().take(AT_ONCE).cloned().collect();
    if waiting.is_empty() {
        return;
    }
    let again = "`galen consent deliver` tries again";
    match some(session, &waiting, IN_PASSING).await {
        Err(error) => ui.warn(&format!("shares for proxies still wait: {error}; {again}")),
        Ok(shares) => {
            tell(shares.iter().filter(|one| one.state == "refused"), ui);
            let left = session.book().deliveries.len();
            if left > 0 {
                ui.warn(&format!("{left} shares wait for their proxies; {again}"));
            }
        }
    }
}

/// Brings every share that waits to its proxy, and says what did not arrive.
pub(crate) async fn all(
    session: &Session,
    ui: &Ui,
    patience: Duration,
) -> Result<Vec<Delivered>, CliError> {
    let waiting = session.book().deliveries.clone();
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    ui.status(&format!("Bringing {} shares to proxies.", waiting.len()));
    let shares = some(session, &waiting, patience).await?;
    tell(&shares, ui);
    Ok(shares)
}

fn tell<'a>(shares: impl IntoIterator<Item = &'a Delivered>, ui: &Ui) {
    for one in shares {
        let why = one.error.as_deref().unwrap_or_default();
        match one.state {
            "refused" => ui.warn(&format!("{} refuses its share: {why}", one.proxy)),
            "waiting" => ui.warn(&format!("{} did not get its share yet: {why}", one.proxy)),
            _ => {}
        }
    }
}

/// Brings shares to their proxies; what arrived, and what will never be taken, leaves the book.
async fn some(
    session: &Session,
    waiting: &[Delivery],
    patience: Duration,
) -> Result<Vec<Delivered>, CliError> {
    let client = client_for(session, patience)?;
    let (mut shares, mut done) = (Vec::new(), Vec::new());
    for chunk in waiting.chunks(AT_ONCE) {
        for (delivery, result) in send(&client, chunk).await {
            let one = Delivered::new(session, &delivery, result);
            if one.state != "waiting" {
                done.push(delivery);
            }
            shares.push(one);
        }
    }
    session.change_book(|book| {
        book.deliveries.retain(|kept| !done.contains(kept));
        Ok(())
    })?;
    Ok(shares)
}

/// Side by side, in the order in which they wait.
async fn send(client: &ProxyClient, some: &[Delivery]) -> Vec<(Delivery, Result<(), ProxyError>)> {
    let mut sent = JoinSet::new();
    for (index, delivery) in some.iter().cloned().enumerate() {
        let client = client.clone();
        sent.spawn(async move {
            let proxy = ProxyPlace { id: delivery.proxy, url: delivery.url.clone() };
            let Delivery { consent, ref envelope, .. } = delivery;
            let share = ShareDelivery { proxy, consent, envelope: envelope.to_vec() };
            (index, client.deliver(&share).await, delivery)
        });
    }
    let mut results = sent.join_all().await;
    results.sort_by_key(|(index, ..)| *index);
    results.into_iter().map(|(_, result, delivery)| (delivery, result)).collect()
}

impl Delivered {
    pub(super) fn is_delivered(&self) -> bool {
        self.state == "delivered"
    }

    fn new(session: &Session, delivery: &Delivery, result: Result<(), ProxyError>) -> Self {
        let (state, error) = match result {
            Ok(()) => ("delivered", None),
            // A newer one is there: this one is not needed any more.
            Err(error) if error.kind() == ErrorKind::Stale => ("delivered", None),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                ("waiting", Some(error.to_string()))
            }
            Err(error) => ("refused", Some(error.to_string())),
        };
        let proxy = Party::new(session, delivery.proxy);
        Self { consent: delivery.consent, proxy, state, error }
    }
}
