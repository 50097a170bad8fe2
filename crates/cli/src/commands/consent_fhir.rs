//! `galen consent export`, `import` and `scopes`.

pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod scopes;

use galen_fhir::Category;
use galen_sdk::{ConsentEntry, ConsentStatus, Patient};
use galen_types::Consent;

use crate::{
    asked::{AskError, pick},
    commands::{consent::known, shown::waiting},
    error::CliError,
    session::Session,
    ui::Ui,
};

/// A consent whose terms are known.
struct Chosen {
    terms: Consent,
    categories: Vec<Category>,
    /// Whether it stands on the ledger.
    stands: bool,
    /// Unix second at which it was granted.
    granted: Option<u64>,
}

/// The consents of these ids, also revoked ones that the book still knows; without ids, those that stand
/// and have a status that `wanted` takes.
async fn chosen(
    ids: &[String],
    wanted: fn(ConsentStatus) -> bool,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Chosen>, CliError> {
    let known = known(session);
    let entries = waiting(ui, "read the consents", patient.consents(&known)).await?;
    if ids.is_empty() {
        let unknown = entries.iter().filter(|entry| entry.terms.is_none()).count();
        if unknown > 0 {
            ui.warn(&format!("{unknown} consents are left out: their terms are not known here"));
        }
        let live = entries.iter().filter(|entry| wanted(entry.status));
        let found: Vec<Chosen> = live.filter_map(standing).collect();
        if found.is_empty() {
            return Err(AskError::Nothing("no consent is live").into());
        }
        return Ok(found);
    }
    let all = entries.iter().map(|entry| entry.id).chain(known.iter().map(Consent::id));
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all.dedup();
    let mut found = Vec::new();
    for text in ids {
        let id = pick("consent", text, all.iter().copied())?;
        let entry = entries.iter().find(|entry| entry.id == id);
        let kept = session.book().consents.iter().find(|known| known.consent.id() == id).cloned();
        let revoked = kept.map(|known| Chosen {
            terms: known.consent,
            categories: categories(&known.categories),
            stands: false,
            granted: None,
        });
        let one = entry.and_then(standing).or(revoked.filter(|_| entry.is_none()));
        found.push(one.ok_or(AskError::Nothing("the terms of this consent are not known here"))?);
    }
    Ok(found)
}

fn standing(entry: &ConsentEntry) -> Option<Chosen> {
    Some(Chosen {
        terms: entry.terms?,
        categories: categories(&entry.categories),
        stands: true,
        granted: entry.granted.map(|at| at.time),
    })
}

/// In order. Those that this version has no name for have no word in FHIR either.
fn categories(indexes: &[u8]) -> Vec<Category> {
    let mut found: Vec<Category> =
        indexes.iter().filter_map(|index| Category::from_index(*index)).collect();
    found.sort_unstable();
    found
}
