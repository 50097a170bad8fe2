//! What a patient opened to every active organization: proxies show it, and give the keys for it.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use galen_sdk::{Grant, Grantee};
use galen_types::{ConsentId, Purpose};

use super::Task;
use crate::{
    args::AccessArgs,
    asked::AskError,
    book::KnownProxy,
    commands::{
        proxy::{ask_once, client, named},
        shown::{Party, organization, purpose as code},
    },
    error::CliError,
    session::Session,
    ui::Ui,
};

/// The consents for every organization that proxies show of a patient, for a purpose.
pub(super) async fn grants(
    args: &AccessArgs,
    patient: Address,
    purpose: Purpose,
    grantee: &Grantee,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Grant>, CliError> {
    organization(session)?;
    let mut found: BTreeMap<ConsentId, Grant> = BTreeMap::new();
    let (mut answered, mut silent) = (0, None);
    let urls = urls(args, session, ui).await?;
    ask_once(session, urls.len(), "KeyRequest", "Ask each proxy what the patient opened to all.")?;
    for url in urls {
        let asked = ui.waiting("a proxy to answer", grantee.open_grants(&url, patient)).await;
        let grants = match asked {
            Ok(grants) => grants,
            Err(source) => {
                let error = CliError::Sdk { doing: "ask a proxy what is open", source };
                ui.warn(&error.with_causes());
                silent = Some(error);
                continue;
            }
        };
        answered += 1;
        for grant in grants {
            let id = grant.consent().id();
            let joined = match found.remove(&id) {
                Some(known) => known.join(grant),
                None => Ok(grant),
            };
            let failed = |source| CliError::Sdk { doing: "join what proxies show", source };
            found.insert(id, joined.map_err(failed)?);
        }
    }
    if let (0, Some(error)) = (answered, silent) {
        return Err(error);
    }
    if found.is_empty() {
        return Err(AskError::NothingOpen.into());
    }
    let grants: Vec<Grant> = found.into_values().collect();
    let fits = |grant: &Grant| grant.consent().purposes.contains(purpose);
    let fitting: Vec<Grant> = grants.into_iter().filter(fits).collect();
    if fitting.is_empty() { Err(AskError::OtherPurpose { purpose }.into()) } else { Ok(fitting) }
}

/// Where to ask: the proxies that were named, else those of the book.
async fn urls(args: &AccessArgs, session: &Session, ui: &Ui) -> Result<Vec<String>, CliError> {
    if args.proxy.is_empty() {
        let known = &session.book().proxies.places;
        let urls: Vec<String> = known.iter().map(|KnownProxy { url, .. }| url.clone()).collect();
        return if urls.is_empty() { Err(AskError::NoProxy.into()) } else { Ok(urls) };
    }
    let client = client(session)?;
    let mut urls = Vec::new();
    for text in &args.proxy {
        urls.push(named(text, session, &client, ui).await?.url);
    }
    Ok(urls)
}

/// Asks, so that nobody reads over it.
pub(super) fn confirm(
    patient: Address,
    purpose: Purpose,
    tasks: &[Task],
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let records: usize = tasks.iter().map(|task| task.records.len()).sum();
    let patient = Party::new(session, patient);
    ui.show_alarm(&format!(
        "{} {records} records of {patient} without a consent that names you.",
        if matches!(purpose, Purpose::EmergencyTreatment | Purpose::BreakTheGlass) {
            "BREAK THE GLASS:"
        } else {
            "This opens"
        },
    ));
    ui.show(&format!(
        "The patient is told, and sees it for ever: your organization, each record, the purpose {}, the \
         time. Proxies count what you open like this.",
        code(purpose as u8)
    ));
    ui.require_yes("Log these reads and open the records?")
}
