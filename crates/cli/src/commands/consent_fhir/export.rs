//! `galen consent export`.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use galen_fhir::{
    consent::{ExportedConsent, Flavour, export},
    out::{Party, PartyKind, collection},
};
use galen_sdk::{ConsentStatus, Patient};
use serde::Serialize;
use serde_json::Value;

use super::chosen;
use crate::{
    args::{ConsentExportArgs, FlavourArg},
    commands::shown::cannot,
    error::CliError,
    outfile,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen consent export --out FILE --json`.
#[derive(Debug, Serialize)]
struct Written {
    file: String,
    consents: usize,
}

pub(crate) async fn run(
    args: &ConsentExportArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let open = |status| matches!(status, ConsentStatus::Live | ConsentStatus::NotYet);
    let chosen = chosen(&args.ids, open, patient, session, ui).await?;
    let members = session.galen().with_view(|view| view.organizations().map(|it| it.id).collect());
    let members: BTreeSet<Address> = members.await.map_err(cannot("read who is a member"))?;
    let party = |id: Address| {
        let kind = match id {
            id if id == patient.id() => PartyKind::Patient,
            id if members.contains(&id) || id.is_zero() => PartyKind::Organization,
            _ => PartyKind::Unknown,
        };
        let name = session.book().contact(id).map(|contact| contact.alias.clone());
        Party { id, kind, name }
    };
    let flavour = match args.flavour {
        FlavourArg::R4Full => Flavour::R4Full,
        FlavourArg::IhePcf => Flavour::IhePcf,
    };
    let written = chosen.into_iter().map(|one| {
        let consent = ExportedConsent {
            ledger: session.network().id(),
            id: one.terms.id(),
            patient: party(patient.id()),
            grantee: party(one.terms.grantee),
            categories: one.categories,
            purposes: one.terms.purposes,
            from: one.terms.not_before,
            until: one.terms.expiry,
            stands: one.stands,
            granted: one.granted,
        };
        export(&consent, flavour)
    });
    let written: Vec<Value> = written.collect();
    let bundle = collection(&written);
    let Some(path) = &args.out else { return ui.object(&bundle) };
    let mut bytes = serde_json::to_vec_pretty(&bundle).map_err(std::io::Error::from)?;
    bytes.push(b'\n');
    let file = outfile::write(path, &bytes, false)?.display().to_string();
    let answer = Written { file, consents: written.len() };
    if ui.json() {
        return ui.object(&answer);
    }
    row(ui, &[&answer.file, &answer.consents])
}
