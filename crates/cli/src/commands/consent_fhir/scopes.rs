//! `galen consent scopes`.

use galen_fhir::consent::{from_scopes, scopes};
use galen_sdk::{ConsentStatus, Patient};
use galen_types::ConsentId;
use serde::Serialize;

use super::chosen;
use crate::{
    args::ConsentScopesArgs, commands::shown::Party, error::CliError, session::Session, table::row,
    ui::Ui,
};

/// The result of `galen consent scopes --json`.
#[derive(Debug, Serialize)]
struct Scoped {
    consents: Vec<One>,
}

#[derive(Debug, Serialize)]
struct One {
    id: ConsentId,
    /// None means every active organization.
    grantee: Option<Party>,
    scopes: Vec<String>,
    /// Categories that no scope stands for.
    without_scope: Vec<&'static str>,
}

/// The result of `galen consent scopes --read --json`.
#[derive(Debug, Serialize)]
struct Report {
    categories: Vec<&'static str>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    scope: String,
    reason: &'static str,
}

pub(crate) async fn run(
    args: &ConsentScopesArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    if let Some(text) = &args.read {
        return report(text, ui);
    }
    let live = |status| status == ConsentStatus::Live;
    let chosen = chosen(&args.ids, live, patient, session, ui).await?;
    let consents = chosen.into_iter().map(|one| {
        let alone = one.categories.iter().filter(|it| scopes(&[**it]).is_empty());
        One {
            id: one.terms.id(),
            grantee: (!one.terms.is_network()).then(|| Party::new(session, one.terms.grantee)),
            scopes: scopes(&one.categories),
            without_scope: alone.map(|category| category.name()).collect(),
        }
    });
    let answer = Scoped { consents: consents.collect() };
    ui.status(
        "A scope knows neither purpose nor time, and does not leave out sensitive records of its type.",
    );
    for one in answer.consents.iter().filter(|one| !one.without_scope.is_empty()) {
        let without = one.without_scope.join(", ");
        ui.warn(&format!("{}: no scope stands for {without}", one.id));
    }
    if ui.json() {
        return ui.object(&answer);
    }
    let lines = answer.consents.iter();
    let mut lines = lines.flat_map(|one| one.scopes.iter().map(move |scope| (one.id, scope)));
    lines.try_for_each(|(id, scope)| row(ui, &[&id, scope]))
}

fn report(text: &str, ui: &Ui) -> Result<(), CliError> {
    let found = from_scopes(text);
    let left_out = found.left_out.into_iter();
    let answer = Report {
        categories: found.categories.iter().map(|category| category.name()).collect(),
        left_out: left_out.map(|(scope, reason)| LeftOut { scope, reason }).collect(),
    };
    if ui.json() {
        return ui.object(&answer);
    }
    answer.categories.iter().try_for_each(|name| row(ui, &[&"category", name]))?;
    let mut left_out = answer.left_out.iter();
    left_out.try_for_each(|it| row(ui, &[&"left-out", &it.scope, &it.reason]))
}
