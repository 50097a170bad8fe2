//! What one does as a guardian of others.

use alloy_primitives::{Address, Bytes};
use galen_crypto::PieceEnvelope;
use galen_sdk::{PieceStanding, RecoverySheet, Ward, decode_piece_ask};
use serde::Serialize;

use super::write_line;
use crate::{
    args::{GuardianAcceptArgs, GuardianApproveArgs, GuardianGiveArgs},
    code::{Code, Kind},
    commands::{
        recovery::Sheet,
        shown::{Party, cannot, waiting},
    },
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
    when::Instant,
};

/// Most pieces that one book keeps.
const MAX_WARDS: usize = 1_000;

/// Somebody whose guardian one is.
#[derive(Debug, Serialize)]
struct Shown {
    id: Party,
    /// `current`, `waiting` or `stale`.
    standing: &'static str,
    /// How many guardians give the keys back, and how many do it for good.
    threshold: u8,
    final_threshold: u8,
    guardians: Vec<Party>,
    /// Seconds that a recovery waits.
    delay: u32,
    /// Whether guardians alone could read everything.
    whole: bool,
    /// Proxies that hold the other half.
    proxies: Vec<Party>,
    /// Unix second.
    issued: u64,
}

/// The result of `galen guardian list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    wards: Vec<Shown>,
}

impl Shown {
    fn new(session: &Session, ward: &Ward) -> Self {
        let party = |id: &Address| Party::new(session, *id);
        Self {
            id: party(&ward.id),
            standing: match ward.standing {
                PieceStanding::Current => "current",
                PieceStanding::Waiting => "waiting",
                PieceStanding::Stale => "stale",
            },
            threshold: ward.terms.threshold,
            final_threshold: ward.terms.final_threshold,
            guardians: ward.terms.guardians.iter().map(party).collect(),
            delay: ward.terms.delay,
            whole: ward.whole,
            proxies: ward.proxies.iter().map(|place| party(&place.id)).collect(),
            issued: ward.issued,
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let what = if self.whole { "whole" } else { "half" };
        let count = self.guardians.len();
        let issued = Instant::from_unix(self.issued);
        row(ui, &[&self.id, &self.standing, &self.threshold, &count, &what, &issued])
    }
}

/// `galen guardian accept`.
pub(super) async fn accept(
    args: &GuardianAcceptArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let envelope = Code::read(&args.piece, &[Kind::Guardian])?.bytes;
    let guardian = session.guardian();
    let ward = waiting(ui, "check the piece", guardian.accept(&envelope)).await?;
    let shown = Shown::new(session, &ward);
    session.change_book(|book| {
        // A newer piece of the same id and guardians takes the place of the one before.
        let terms = |bytes: &Bytes| PieceEnvelope::decode(bytes).ok().map(|it| *it.terms());
        let envelope = Bytes::from(envelope);
        let new = terms(&envelope);
        book.wards.retain(|known| terms(known) != new);
        if book.wards.len() >= MAX_WARDS {
            let text = format!("a book holds the pieces of at most {MAX_WARDS} people");
            return Err(CliError::invalid(text, "use another profile for more of them"));
        }
        book.wards.push(envelope);
        Ok(())
    })?;
    ui.show(&format!(
        "You are a guardian of {} now: {} of {} guardians give the keys back. If they lose them, they will \
         call you; speak to them before you sign anything.",
        shown.id,
        shown.threshold,
        shown.guardians.len(),
    ));
    if shown.whole {
        ui.show(&format!(
            "No proxy holds another half: {} of you together could open all their records. Keep this profile \
             as you would keep their papers.",
            shown.threshold,
        ));
    }
    if ui.json() { ui.object(&Listed { wards: vec![shown] }) } else { shown.print(ui) }
}

/// `galen guardian list`.
pub(super) async fn list_all(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let guardian = session.guardian();
    let mut wards = Vec::new();
    for envelope in &session.book().wards {
        let ward = waiting(ui, "ask who guards whom", guardian.look(envelope)).await?;
        wards.push(Shown::new(session, &ward));
    }
    if ui.json() {
        return ui.object(&Listed { wards });
    }
    wards.iter().try_for_each(|ward| ward.print(ui))
}

/// `galen guardian approve`.
pub(super) async fn approve(
    args: &GuardianApproveArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let bytes = Code::read(&args.request, &[Kind::Recovery])?.bytes;
    let mut sheet = RecoverySheet::decode(&bytes).map_err(cannot("read the request"))?;
    let work = session.galen().check_recovery(&sheet);
    waiting(ui, "check the request", work).await?;
    let terms = *sheet.terms();
    let envelope = piece_of(terms.id, session).await?;
    let who = Party::new(session, terms.id);
    ui.show(&format!("Somebody says that they are {who} and lost their keys."));
    ui.show(&format!("  id          {:#x}", terms.id));
    ui.show(&format!("  new key     {:#x}", terms.controller));
    ui.show(&format!("  words       {}", sheet.words()));
    if terms.is_final {
        ui.show_alarm("This recovery could not be cancelled by anybody, the owner included.");
    }
    ui.show(
        "Call them, by a number that you had before. Let THEM read the eight words to you; do not read them \
         aloud yourself. If they did not ask, or the words differ, somebody tries to take their records.",
    );
    ui.require_yes("Did you speak to them, and do the words agree?")?;
    let guardian = session.guardian();
    let work = guardian.approve(&mut sheet, &envelope);
    work.await.map_err(cannot("sign the request"))?;
    let shown = Sheet::new(&sheet, session);
    write_line(args.out.as_deref(), &Code::new(Kind::Recovery, sheet.encode()))?;
    shown.tell(ui);
    if ui.json() { ui.object(&shown) } else { ui.line(shown.line()) }
}

/// The result of `galen guardian give --json`.
#[derive(Debug, Serialize)]
struct Given {
    id: Party,
    /// The line for who took the id over.
    piece: String,
}

/// `galen guardian give`.
pub(super) async fn give(
    args: &GuardianGiveArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let bytes = Code::read(&args.request, &[Kind::PieceRequest])?.bytes;
    let (ledger, ask) = decode_piece_ask(&bytes).map_err(cannot("read the request"))?;
    if ledger != session.galen().ledger().id() {
        return Err(CliError::invalid(
            "the request is for another network",
            "use the profile of that network",
        ));
    }
    let envelope = piece_of(ask.id, session).await?;
    let guardian = session.guardian();
    let given = waiting(ui, "check the recovery", guardian.give(&ask, &envelope)).await?;
    let line = Code::new(Kind::Piece, given.encode());
    write_line(args.out.as_deref(), &line)?;
    let given = Given { id: Party::new(session, ask.id), piece: line.to_string() };
    if ui.json() { ui.object(&given) } else { ui.line(&given.piece) }
}

/// The piece that one keeps for an id: of the guardians that the ledger names, else the newest.
async fn piece_of(id: Address, session: &Session) -> Result<Bytes, CliError> {
    let state = session.galen().guard_state(id).await.map_err(cannot("ask who guards the id"))?;
    let book = session.book();
    let terms = |bytes: &Bytes| PieceEnvelope::decode(bytes).ok().map(|it| *it.terms());
    let kept = book.wards.iter().rev().filter_map(|bytes| Some((terms(bytes)?, bytes)));
    let of_id: Vec<_> = kept.filter(|(terms, _)| terms.id == id).collect();
    let current = of_id.iter().find(|(terms, _)| terms.guardians == state.guardianship.commitment);
    let found = current.or(of_id.first()).map(|(_, bytes)| (*bytes).clone());
    found.ok_or_else(|| {
        CliError::not_found(
            format!("this profile is no guardian of {id:#x}"),
            "`galen guardian list` shows whose guardian you are; a piece is taken with `galen guardian accept`",
        )
    })
}
