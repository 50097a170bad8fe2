//! `galen recovery`: keys were lost, and come back.

mod pieces;
mod restore;
mod standing;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
};

use alloy_primitives::Address;
use galen_chain::PendingKind;
use galen_sdk::RecoverySheet;
use serde::Serialize;

pub(crate) use self::standing::{Standing, print_standing};

use crate::{
    args::{
        Globals, RecoveryAskArgs, RecoveryCommand, RecoveryFinishArgs, RecoveryStartArgs,
        RecoveryStatusArgs,
    },
    code::{Code, Kind},
    commands::shown::{Landed, Party, cannot, landed, sending, waiting},
    error::CliError,
    session::Session,
    settings::Settings,
    table::row,
    ui::Ui,
    unlock::Keyring,
    when::Instant,
};

pub(crate) async fn run(
    command: &RecoveryCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let settings = Settings::resolve(globals)?;
    let keyring = Arc::new(Mutex::new(Keyring::new(ui.clone(), settings.password_file())));
    let session = Session::open_with(settings, keyring.clone(), ui).await?;
    let done = match command {
        RecoveryCommand::Ask(args) => ask(args, &session, ui).await,
        RecoveryCommand::Start(args) => start(args, &session, ui).await,
        RecoveryCommand::Status(args) => status(args, &session, ui).await,
        RecoveryCommand::Cancel(_) => cancel(&session, ui).await,
        RecoveryCommand::Finish(args) => finish(args, &session, ui).await,
        RecoveryCommand::Pieces(args) => pieces::run(args, &session, ui).await,
        RecoveryCommand::Restore(args) => {
            restore::run(args, &session, globals, keyring.clone(), ui).await
        }
    };
    // A profile that only serves to get another one back keeps nothing in the content store: its book holds
    // pieces, and its name would be a new pseudonym that everybody can link to the old one.
    done.map(|()| ExitCode::SUCCESS)
}

/// A request for guardians, as far as it was signed, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Sheet {
    id: Party,
    controller: Address,
    /// Whether nobody could cancel it.
    #[serde(rename = "final")]
    is_final: bool,
    /// To read aloud.
    words: String,
    /// Unix second until which it can be started.
    deadline: u64,
    signed: Vec<Party>,
    /// Absent before a guardian has shown who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<usize>,
    missing: Vec<Party>,
    /// Whether it can be started.
    enough: bool,
    /// The line that moves on.
    request: String,
}

impl Sheet {
    pub(crate) fn new(sheet: &RecoverySheet, session: &Session) -> Self {
        let party = |id: &Address| Party::new(session, *id);
        let terms = sheet.terms();
        Self {
            id: party(&terms.id),
            controller: terms.controller,
            is_final: terms.is_final,
            words: sheet.words(),
            deadline: terms.deadline,
            signed: sheet.signatures().keys().map(party).collect(),
            needed: sheet.needed(),
            missing: sheet.missing().iter().map(party).collect(),
            enough: sheet.is_enough(),
            request: Code::new(Kind::Recovery, sheet.encode()).to_string(),
        }
    }

    pub(crate) fn line(&self) -> &str {
        &self.request
    }

    /// Says how far it is.
    pub(crate) fn tell(&self, ui: &Ui) {
        let (signed, needed) = (self.signed.len(), self.needed.unwrap_or_default());
        if self.enough {
            ui.show(&format!("{signed} of {needed} signed: `galen recovery start` starts it now."));
            return;
        }
        let missing: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        ui.show(&format!(
            "{signed} of {needed} signed. Give the line on to another guardian ({}), or back.",
            missing.join(", ")
        ));
    }
}

async fn ask(args: &RecoveryAskArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let id = session.resolve(&args.id)?;
    let claimant = session.claimant(id);
    let sheet = waiting(ui, "ask who guards the id", claimant.ask(args.is_final)).await?;
    args.output.write(&Code::new(Kind::Recovery, sheet.encode()), ui)?;
    let shown = Sheet::new(&sheet, session);
    ui.show(
        "Send the line to your guardians, call them, and read them the words: they must hear your voice, not see \
         a message. They have 14 days.",
    );
    if ui.json() {
        return ui.object(&shown);
    }
    ui.line(&shown.words)?;
    ui.line(&shown.request)
}

/// The result of `galen recovery start --json`.
#[derive(Debug, Serialize)]
struct Started {
    id: Party,
    controller: Address,
    /// Unix second from which it can be finished.
    ready_at: u64,
    sent: Landed,
}

async fn start(args: &RecoveryStartArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let failed = cannot("read the signed requests");
    let mut sheets = Vec::new();
    for source in &args.sheets {
        for code in Code::read_all(source, &[Kind::Recovery])? {
            sheets.push(RecoverySheet::decode(&code.bytes).map_err(&failed)?);
        }
    }
    let mut sheets = sheets.into_iter();
    let Some(mut sheet) = sheets.next() else {
        return Err(CliError::invalid(
            "there is no line in the file",
            "give what `galen guardian approve` wrote",
        ));
    };
    waiting(ui, "check the signatures", session.galen().check_recovery(&sheet)).await?;
    for other in sheets {
        waiting(ui, "check the signatures", session.galen().check_recovery(&other)).await?;
        sheet.merge(other).map_err(&failed)?;
    }
    let sent = sending(ui, "start the recovery", session.galen().start_recovery(&sheet)).await?;
    let (id, controller) = (sheet.terms().id, sheet.terms().controller);
    let state = session.galen().guard_state(id).await.map_err(cannot("ask what waits"))?;
    let ready_at = state.pending.map(|pending| pending.ready_at).unwrap_or_default();
    let started = Started {
        id: Party::new(session, id),
        controller,
        ready_at,
        sent: landed(session, &sent).await?,
    };
    ui.show(&format!(
        "Everybody can see it now, the old key too, and object until {}. Then: `galen recovery finish {id:#x}`.",
        Instant::from_unix(ready_at),
    ));
    if ui.json() {
        return ui.object(&started);
    }
    let ready = Instant::from_unix(ready_at);
    let transaction = format!("{:#x}", started.sent.transaction);
    row(ui, &[&started.id, &format!("{controller:#x}"), &ready, &transaction])
}

async fn status(args: &RecoveryStatusArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let id = session.resolve(&args.id)?;
    let standing = Standing::read(session, id, ui).await?;
    print_standing(&standing, ui)
}

/// The result of `galen recovery cancel --json`.
#[derive(Debug, Serialize)]
struct Cancelled {
    /// What was cancelled.
    cancelled: PendingKind,
    sent: Landed,
}

async fn cancel(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let guarded = session.guarded();
    let state = waiting(ui, "ask what waits", guarded.state()).await?;
    let pending = state.pending.ok_or_else(|| nothing_waits(session.id()))?;
    if pending.kind == PendingKind::FinalRecovery {
        return Err(CliError::invalid(
            "the second quorum of guardians asked for it: nobody can cancel it",
            "speak to your guardians; what you can still do is revoke consents",
        ));
    }
    let sent = sending(ui, "cancel what waits", guarded.cancel()).await?;
    let cancelled = Cancelled { cancelled: pending.kind, sent: landed(session, &sent).await? };
    if pending.kind.is_recovery() {
        ui.show(
            "Your guardians signed this. If you did not ask them, call them, and choose others: \
             `galen guardian set`. The next recovery can be cancelled in 30 days only.",
        );
    }
    if ui.json() {
        return ui.object(&cancelled);
    }
    let transaction = format!("{:#x}", cancelled.sent.transaction);
    row(ui, &[&"cancelled", &standing::word(pending.kind), &transaction])
}

/// The result of `galen recovery finish --json`.
#[derive(Debug, Serialize)]
struct Finished {
    finished: PendingKind,
    id: Party,
    /// Who signs for the id now.
    controller: Address,
    sent: Landed,
}

async fn finish(args: &RecoveryFinishArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let id = session.resolve(&args.id)?;
    let galen = session.galen();
    let failed = cannot("ask what waits");
    let state = waiting(ui, "ask what waits", galen.guard_state(id)).await?;
    let pending = state.pending.ok_or_else(|| nothing_waits(id))?;
    let sent = sending(ui, "finish what waited", galen.finish_pending(id)).await;
    let now = galen.time().await.map_err(|error| failed(error.into()))?;
    let sent = match sent {
        // The chain's clock decides; this machine's only explains.
        Err(_) if now < pending.ready_at => {
            return Err(CliError::unavailable(
                format!("it waits until {}", Instant::from_unix(pending.ready_at)),
                "run it again then; nothing was sent",
            ));
        }
        other => other?,
    };
    let controller = galen.guard_state(id).await.map_err(&failed)?.controller;
    let finished = Finished {
        finished: pending.kind,
        id: Party::new(session, id),
        controller,
        sent: landed(session, &sent).await?,
    };
    ui.show(match pending.kind {
        PendingKind::GuardianChange => {
            "Make the pieces of the new guardians: `galen guardian pieces`."
        }
        PendingKind::Rotation => {
            "The profile takes the new wallet: `galen wallet rotate --to NAME` again."
        }
        _ => "The new key signs for the id. Now the seed: `galen recovery pieces`.",
    });
    if ui.json() {
        return ui.object(&finished);
    }
    let transaction = format!("{:#x}", finished.sent.transaction);
    let (what, controller) = (standing::word(pending.kind), format!("{controller:#x}"));
    row(ui, &[&what, &finished.id, &controller, &transaction])
}

fn nothing_waits(id: Address) -> CliError {
    CliError::not_found(
        format!("nothing waits for {id:#x}"),
        "`galen recovery status` shows how the id is guarded; a recovery begins with `galen recovery ask`",
    )
}
