//! `galen record cosign`: a sheet moves from hand to hand until enough have signed.

use std::{collections::BTreeMap, path::Path};

use alloy_primitives::Address;
use galen_sdk::{CosignSheet, Role};
use galen_types::ProposalId;
use serde::Serialize;

use super::policy;
use crate::{
    args::CosignArgs,
    asked::{AskError, pick},
    code::{Code, Kind},
    commands::shown::{Party, cannot, sending, waiting},
    error::CliError,
    outfile,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen record cosign --json`.
#[derive(Debug, Serialize)]
struct Answer {
    sheets: Vec<Sheet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// Who must sign a proposal, and who has.
#[derive(Debug, Serialize)]
struct Sheet {
    proposal: ProposalId,
    patient: Party,
    threshold: u8,
    /// Whether as many have signed as must.
    enough: bool,
    signed: Vec<Party>,
    missing: Vec<Party>,
    /// The line that moves on.
    sheet: String,
}

pub(super) async fn run(args: &CosignArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let mut sheets = if args.collect.is_empty() {
        vec![start(args, session, ui).await?]
    } else {
        read_sheets(&args.collect)?.into_values().collect()
    };
    for sheet in &mut sheets {
        let work = session.galen().check_sheet(sheet);
        waiting(ui, "check the signatures", work).await?;
        let may = session.role() == Role::Organization && args.collect.is_empty();
        if may && sheet.missing().contains(&session.id()) {
            sign(sheet, session, ui).await?;
        }
    }
    let lines: Vec<String> = sheets.iter().map(encoded).collect();
    let file = match &args.out {
        Some(path) => Some(write(path, &lines)?),
        None => None,
    };
    let shown = sheets.iter().map(|sheet| Sheet::new(session, sheet)).collect();
    let answer = Answer { sheets: shown, file };
    if ui.json() {
        return ui.object(&answer);
    }
    if answer.file.is_none() {
        lines.iter().try_for_each(|line| ui.line(line))?;
    }
    answer.sheets.iter().try_for_each(|sheet| sheet.print(ui))
}

/// The sheet that was given, or a new one for a proposal.
async fn start(args: &CosignArgs, session: &Session, ui: &Ui) -> Result<CosignSheet, CliError> {
    let nothing = AskError::Nothing("a sheet or a proposal is needed");
    let text = args.sheet.as_deref().ok_or(nothing)?;
    let Some(patient) = &args.patient else {
        let sheets = read_sheets(&[text.to_owned()])?;
        let mut sheets = sheets.into_values();
        return match (sheets.next(), sheets.next()) {
            (Some(sheet), None) => Ok(sheet),
            _ => Err(AskError::Nothing("sign one sheet at a time").into()),
        };
    };
    let patient = session.resolve(patient)?;
    let doing = "look the proposal up";
    let ids = |chart: &galen_index::Chart| {
        chart.proposals().map(|it| it.event.proposal).collect::<Vec<ProposalId>>()
    };
    let ids = waiting(ui, doing, session.galen().with_chart(patient, ids)).await?;
    let proposal = pick("proposal", text, ids)?;
    let policy = policy(session, patient, &args.cosigners, args.threshold)?;
    let sheet = session.organization().cosign_sheet(patient, proposal, &policy).await;
    sheet.map_err(cannot("start the sheet"))
}

async fn sign(sheet: &mut CosignSheet, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let organization = session.organization();
    let proposal = waiting(ui, "look at the proposal", organization.examine_sheet(sheet)).await?;
    let (patient, author) = (proposal.event.patient, proposal.event.author);
    let name = |id: Address| session.display(id);
    ui.status(&format!(
        "{} proposes {} records to {}; the documents are sealed to the patient, so that you sign \
        what you know of them from the author",
        name(author),
        proposal.event.leaves.len(),
        name(patient),
    ));
    sending(ui, "cosign the proposal", organization.cosign_on(sheet)).await
}

/// Sheets from files, text or standard input; those of the same proposal are joined.
pub(super) fn read_sheets(given: &[String]) -> Result<BTreeMap<ProposalId, CosignSheet>, CliError> {
    let mut sheets: BTreeMap<ProposalId, CosignSheet> = BTreeMap::new();
    for text in given {
        for code in Code::read_all(text, &[Kind::Cosignature])? {
            let sheet = CosignSheet::decode(&code.bytes).map_err(cannot("read the sheet"))?;
            match sheets.get_mut(&sheet.proposal()) {
                Some(known) => known.merge(sheet).map_err(cannot("join the sheets"))?,
                None => {
                    sheets.insert(sheet.proposal(), sheet);
                }
            }
        }
    }
    Ok(sheets)
}

pub(super) fn encoded(sheet: &CosignSheet) -> String {
    Code::new(Kind::Cosignature, sheet.encode()).to_string()
}

/// Sheets are not secret, but they go nowhere by themselves either.
fn write(path: &Path, lines: &[String]) -> Result<String, CliError> {
    let text = format!("{}\n", lines.join("\n"));
    Ok(outfile::write(path, text.as_bytes(), true)?.display().to_string())
}

impl Sheet {
    fn new(session: &Session, sheet: &CosignSheet) -> Self {
        let party = |id: &Address| Party::new(session, *id);
        Self {
            proposal: sheet.proposal(),
            patient: party(&sheet.patient()),
            threshold: sheet.policy().threshold,
            enough: sheet.is_enough(),
            signed: sheet.signatures().keys().map(party).collect(),
            missing: sheet.missing().iter().map(party).collect(),
            sheet: encoded(sheet),
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let signed = self.signed.iter().map(|party| (party, "signed"));
        let missing = self.missing.iter().map(|party| (party, "missing"));
        let enough = if self.enough { "enough" } else { "waiting" };
        signed.chain(missing).try_for_each(|(party, state)| {
            row(ui, &[&self.proposal, &self.patient, party, &state, &enough])
        })
    }
}
