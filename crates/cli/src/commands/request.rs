//! `galen request`: an organization asks; the patient grants or refuses.

use std::process::ExitCode;

use alloy_primitives::B256;
use galen_sdk::{Asked, Patient, Question, ReceivedRequest};
use galen_types::{ConsentId, PurposeSet};
use serde::Serialize;

use crate::{
    args::{RequestCommand, RequestGrantArgs, RequestRefuseArgs, RequestSendArgs},
    asked::{AskError, pick},
    commands::{
        consent::{Wish, give, known},
        fhir::short_text,
        shown::{
            Horizon, Landed, Moment, Party, cannot, category, indexes, landed, organization,
            patient, purposes, sending, waiting,
        },
    },
    error::CliError,
    session::Session,
    table::{list, row},
    ui::Ui,
};

pub(crate) async fn run(
    command: &RequestCommand,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match command {
        RequestCommand::Send(args) => send(args, session, ui).await,
        RequestCommand::List(_) => list_all(session, ui).await,
        RequestCommand::Grant(args) => grant(args, session, ui).await,
        RequestCommand::Refuse(args) => refuse(args, session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The result of `galen request send --json`.
#[derive(Debug, Serialize)]
struct Sent {
    patient: Party,
    categories: Vec<String>,
    purposes: Vec<String>,
    /// For how many seconds.
    lifetime: u64,
    sent: Landed,
}

async fn send(args: &RequestSendArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let organization = organization(session)?;
    let to = session.resolve(&args.to)?;
    let categories = indexes(&args.category, args.preset)?;
    let asked: PurposeSet = args.purpose.iter().copied().collect();
    let lifetime = args.lasts.seconds();
    let names = categories.iter().map(|index| category(*index)).collect();
    let message = args.message_file.as_deref().map(short_text).transpose()?.unwrap_or_default();
    let question = Question { categories, lifetime, message };
    let work = organization.request(to, asked, &question);
    let requested = sending(ui, "ask the patient", work).await?;
    let answer = Sent {
        patient: Party::new(session, to),
        categories: names,
        purposes: purposes(asked),
        lifetime,
        sent: landed(session, &requested.sent).await?,
    };
    if ui.json() {
        return ui.object(&answer);
    }
    row(
        ui,
        &[
            &answer.patient,
            &list(&answer.categories),
            &list(&answer.purposes),
            &answer.lifetime,
            &format!("{:#x}", answer.sent.transaction),
            &answer.sent.finality,
        ],
    )
}

/// The result of `galen request list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    requests: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: B256,
    /// `open`, `granted`, `refused`, `unavailable` or `unreadable`.
    state: &'static str,
    organization: Party,
    /// Whether it is an active member now.
    active: bool,
    categories: Vec<String>,
    purposes: Vec<String>,
    /// For how many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime: Option<u64>,
    /// In the organization's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The consent that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<ConsentId>,
    at: Moment,
}

async fn received(session: &Session, ui: &Ui) -> Result<(Patient, Vec<ReceivedRequest>), CliError> {
    let patient = patient(session)?;
    let known = known(session);
    let requests = waiting(ui, "read the requests", patient.requests(&known)).await?;
    Ok((patient, requests))
}

async fn list_all(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let (_, received) = received(session, ui).await?;
    let horizon = Horizon::now(session).await?;
    let requests: Vec<Line> =
        received.iter().map(|request| Line::new(session, &horizon, request)).collect();
    if ui.json() {
        return ui.object(&Listed { requests });
    }
    requests.iter().try_for_each(|line| line.print(ui))
}

impl Line {
    fn new(session: &Session, horizon: &Horizon, request: &ReceivedRequest) -> Self {
        let question = match &request.asked {
            Asked::Question(question) => Some(question),
            _ => None,
        };
        let named = question.map(|it| it.categories.as_slice()).unwrap_or_default();
        Self {
            id: request.id,
            state: state(session, request),
            organization: Party::new(session, request.organization),
            active: request.is_active,
            categories: named.iter().map(|index| category(*index)).collect(),
            purposes: purposes(request.purposes),
            lifetime: question.map(|question| question.lifetime),
            message: question.map(|question| question.message.clone()),
            consent: request.granted,
            at: horizon.moment(request.at),
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let lifetime = self.lifetime.map(|seconds| seconds.to_string()).unwrap_or_default();
        row(
            ui,
            &[
                &format!("{:#x}", self.id),
                &self.state,
                &self.organization,
                &list(&self.categories),
                &list(&self.purposes),
                &lifetime,
                &self.message.as_deref().unwrap_or_default(),
                &self.at.instant(),
                &self.at.finality,
            ],
        )
    }
}

fn state(session: &Session, request: &ReceivedRequest) -> &'static str {
    if request.granted.is_some() {
        return "granted";
    }
    if session.book().refused_requests.contains(&request.id) {
        return "refused";
    }
    match request.asked {
        Asked::Question(_) => "open",
        Asked::Unavailable => "unavailable",
        Asked::Nothing | Asked::Unreadable => "unreadable",
    }
}

fn one<'a>(text: &str, requests: &'a [ReceivedRequest]) -> Result<&'a ReceivedRequest, AskError> {
    let id = pick("request", text, requests.iter().map(|request| request.id))?;
    let found = requests.iter().find(|request| request.id == id);
    found.ok_or(AskError::Nothing("the request is gone"))
}

async fn grant(args: &RequestGrantArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let (patient, requests) = received(session, ui).await?;
    let found = one(&args.id, &requests)?;
    if !found.is_active {
        ui.warn("the organization that asks is not an active member of the network (any more)");
    }
    let mut request = found.to_grant().map_err(cannot("grant the request"))?;
    if let Some(lasts) = args.lasts {
        request.lifetime = lasts.seconds();
    }
    let wish = Wish { request, until: None, out: args.out.clone(), direct: args.direct };
    give(wish, &patient, session, ui).await
}

/// The result of `galen request refuse --json`.
#[derive(Debug, Serialize)]
struct Refused {
    id: B256,
    state: &'static str,
}

async fn refuse(args: &RequestRefuseArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let (_, requests) = received(session, ui).await?;
    let id = one(&args.id, &requests)?.id;
    session.change_book(|book| {
        if !book.refused_requests.contains(&id) {
            book.refused_requests.push(id);
        }
        Ok(())
    })?;
    if ui.json() {
        return ui.object(&Refused { id, state: "refused" });
    }
    row(ui, &[&format!("{id:#x}"), &"refused"])
}
