//! `galen record amend`, `retract` and `withdraw`: what an author does with what it proposed before.

use alloy_primitives::Address;
use galen_chain::CosignPolicy;
use galen_fhir::{Category, Document};
use galen_sdk::{Announced, NewRecord, Organization};
use galen_types::{Plaintext, ProposalId, RecordId};
use serde::Serialize;

use super::{
    contact, policy,
    propose::{Answer, proposed},
};
use crate::{
    args::{AmendArgs, RetractArgs, WithdrawArgs},
    asked::{AskError, pick},
    commands::{
        fhir::{read_input, short_text},
        shown::{Landed, Party, landed, organization, sending, waiting},
    },
    custody,
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
};

pub(super) async fn amend(args: &AmendArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let site = session.site()?;
    let organization = organization(session)?.with_signing_policy(site.signing.clone());
    let patient = session.resolve(&args.to)?;
    let record = own_record(&args.record, patient, session, ui).await?;
    let path = args.input.display().to_string();
    let bytes = Plaintext::new(read_input(&args.input)?);
    let refused = |source| CliError::Refused { path: path.clone(), source };
    let document = Document::read_with(bytes.expose(), &site.table).map_err(refused)?;
    let report = site.compliance.check(&document);
    if !report.is_good() {
        return Err(CliError::NotCompliant { path, report });
    }
    let contact = contact(session, &organization, patient).await?;
    let segment = |chart: &galen_index::Chart| chart.record(record).map(|it| it.key.segment);
    let look = session.galen().with_chart(patient, segment);
    let segment = waiting(ui, "look the record up", look).await?;
    let category = segment.and_then(|segment| contact.category(segment).ok());
    let category = category.and_then(Category::from_index);
    // A record may hold what a split would put elsewhere: the observations of a report.
    let whole = category.and_then(|category| document.whole(category));
    let drafts = whole.map_or_else(|| document.split(), |draft| vec![draft]);
    let [draft] = drafts.as_slice() else {
        return Err(match drafts.len() {
            0 => CliError::Empty { path },
            _ => AskError::Several { count: drafts.len() }.into(),
        });
    };
    let document = NewRecord::from(draft);
    let policy = policy(session, patient, &args.cosigners, args.threshold)?;
    let name = galen_chain::clear::inert(&session.display(patient));
    let first = format!("Its proposal to {name} follows and needs a signature, too.");
    session.asking().allow_documents(patient, &first, "");
    let work = organization.amend(&contact, record, &document, &policy);
    let announced = sending(ui, "propose the amendment", work).await?;
    print(&organization, announced, patient, &policy, session, ui).await
}

pub(super) async fn retract(
    args: &RetractArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let organization = organization(session)?;
    let patient = session.resolve(&args.to)?;
    let record = own_record(&args.record, patient, session, ui).await?;
    let contact = contact(session, &organization, patient).await?;
    let policy = policy(session, patient, &args.cosigners, args.threshold)?;
    let reason = match &args.reason_file {
        Some(path) => short_text(path)?,
        None => ui.ask("Why (sealed to the patient)", None, "--reason-file")?,
    };
    let work = organization.retract(&contact, record, &reason, &policy);
    let announced = sending(ui, "propose the retraction", work).await?;
    print(&organization, announced, patient, &policy, session, ui).await
}

async fn print(
    organization: &Organization,
    announced: Announced,
    patient: Address,
    policy: &CosignPolicy,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let found = proposed(organization, announced.proposal, patient, policy, session).await?;
    let mut answer = Answer::new(Party::new(session, patient));
    answer.proposals.push(found);
    answer.print(ui)
}

/// The result of `galen record withdraw --json`.
#[derive(Debug, Serialize)]
struct Withdrawn {
    id: ProposalId,
    state: &'static str,
    sent: Landed,
}

pub(super) async fn withdraw(
    args: &WithdrawArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let organization = organization(session)?;
    let patient = session.resolve(&args.to)?;
    let outbox = waiting(ui, "read the outbox", organization.outbox(patient)).await?;
    let ids = outbox.iter().map(|entry| entry.proposal.event.proposal);
    let id = pick("proposal", &args.proposal, ids)?;
    let work = organization.withdraw(patient, id);
    let sent = sending(ui, "withdraw the proposal", work).await?;
    let answer = Withdrawn { id, state: "withdrawn", sent: landed(session, &sent).await? };
    if ui.json() {
        return ui.object(&answer);
    }
    let transaction = format!("{:#x}", answer.sent.transaction);
    row(ui, &[&answer.id, &answer.state, &transaction, &answer.sent.finality])
}

async fn own_record(
    text: &str,
    patient: Address,
    session: &Session,
    ui: &Ui,
) -> Result<RecordId, CliError> {
    let own = session.id();
    let ids = |chart: &galen_index::Chart| {
        let records = chart.records().filter(|record| record.key.author == own);
        records.map(|record| record.key.id()).collect::<Vec<RecordId>>()
    };
    let look = session.galen().with_chart(patient, ids);
    let record = pick("record", text, waiting(ui, "list the records", look).await?)?;
    let ledger = session.galen().ledger().id();
    if custody::is_erased(&session.place(), ledger, patient, record)? {
        return Err(CliError::invalid(
            "the record was erased here, and the custodian lets go of whatever follows it",
            "propose the document as a new record",
        ));
    }
    Ok(record)
}
