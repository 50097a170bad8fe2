//! Pieces of the seed, on their way to guardians and proxies.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use alloy_primitives::{Address, Bytes};
use galen_crypto::PieceEnvelope;
use galen_sdk::proxies::ProxySet;
use serde::Serialize;

use super::{file_for, own::remember, write_line};
use crate::{
    args::GuardianPiecesArgs,
    book::OwnGuardians,
    code::{Code, Kind},
    commands::{
        consent::proxies_of,
        proxy::client,
        shown::{Party, cannot, sending, waiting},
    },
    error::CliError,
    session::{Session, unlock_seed},
    table::row,
    ui::Ui,
    unlock::Keyring,
};

/// What was made, for `--json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Made {
    /// Whether the guardians hold all of the seed.
    whole: bool,
    pieces: Vec<Piece>,
    /// Proxies that have not got theirs yet.
    undelivered: Vec<Party>,
}

#[derive(Clone, Debug, Serialize)]
struct Piece {
    guardian: Party,
    /// The line for the guardian.
    piece: String,
}

impl Made {
    fn new(own: &OwnGuardians, session: &Session) -> Self {
        let piece = |(guardian, envelope): &(Address, Bytes)| {
            let piece = Code::new(Kind::Guardian, envelope.to_vec()).to_string();
            Piece { guardian: Party::new(session, *guardian), piece }
        };
        let undelivered = own.deliveries.iter().map(|(id, ..)| Party::new(session, *id)).collect();
        Self { whole: own.whole, pieces: own.pieces.iter().map(piece).collect(), undelivered }
    }

    /// A file for each guardian.
    pub(super) fn write(&self, folder: Option<&Path>) -> Result<(), CliError> {
        let Some(folder) = folder else { return Ok(()) };
        for Piece { guardian, piece } in &self.pieces {
            let path: PathBuf = file_for(folder, &guardian.to_string())?;
            write_line(Some(&path), &piece.parse()?)?;
        }
        Ok(())
    }

    pub(super) fn print(&self, ui: &Ui) -> Result<(), CliError> {
        self.pieces.iter().try_for_each(|it| row(ui, &[&it.guardian, &it.piece]))
    }
}

/// `galen guardian pieces`.
pub(super) async fn run(
    args: &GuardianPiecesArgs,
    session: &Session,
    keyring: &Mutex<Keyring>,
    ui: &Ui,
) -> Result<(), CliError> {
    let state = waiting(ui, "ask who guards the id", session.guarded().state()).await?;
    let current = state.guardianship.commitment;
    let book = session.book();
    let own = book.guardians.iter().find(|own| own.set.commitment() == current);
    let Some(own) = own.filter(|_| state.guardianship.is_set()) else {
        return Err(CliError::not_found(
            "this profile does not know the guardians that the ledger names",
            "choose guardians with `galen guardian set`; a change that waits is finished first",
        ));
    };
    let proxies = match args.anew {
        true => proxies(session, args.without_proxies),
        false => proxies(session, own.whole),
    };
    let made = if args.anew || own.pieces.is_empty() {
        warn_of(own.set.threshold, own.set.guardians.len(), proxies.is_none(), ui);
        make(own, proxies.as_ref(), session, keyring, ui).await?
    } else {
        warn_of_age(own, session, ui).await?;
        Made::new(&deliver(own, session, ui).await?, session)
    };
    made.write(args.out.as_deref())?;
    if ui.json() { ui.object(&made) } else { made.print(ui) }
}

/// The proxies of the book, unless the guardians are to hold all of it.
pub(super) fn proxies(session: &Session, without: bool) -> Option<ProxySet> {
    if without { None } else { proxies_of(&session.book().proxies) }
}

/// Says what guardians could do together, before anything is signed.
pub(super) fn warn_of(threshold: u8, count: usize, whole: bool, ui: &Ui) {
    if whole {
        ui.warn(&format!(
            "without proxies any {threshold} of your {count} guardians can together open all your records, now \
             and later, without a recovery and without anybody seeing it"
        ));
    }
    if threshold == 1 {
        ui.warn("one guardian alone can take your id over: choose a larger --threshold");
    }
}

/// Splits the seed, keeps the envelopes in the book, and brings proxies theirs.
pub(super) async fn make(
    own: &OwnGuardians,
    proxies: Option<&ProxySet>,
    session: &Session,
    keyring: &Mutex<Keyring>,
    ui: &Ui,
) -> Result<Made, CliError> {
    let seed = unlock_seed(&session.place(), keyring)?;
    let guarded = session.guarded();
    let work = guarded.hand_out(&seed, &own.set, proxies);
    let handed = sending(ui, "make the pieces", work).await?;
    let own = OwnGuardians {
        pieces: handed.pieces.into_iter().map(|(id, sealed)| (id, sealed.into())).collect(),
        whole: proxies.is_none(),
        deliveries: handed
            .proxies
            .into_iter()
            .map(|(place, sealed)| (place.id, place.url, sealed.into()))
            .collect(),
        ..own.clone()
    };
    remember(session, &own)?;
    Ok(Made::new(&deliver(&own, session, ui).await?, session))
}

/// Brings proxies what they have not got yet. What did not arrive stays in the book.
async fn deliver(own: &OwnGuardians, session: &Session, ui: &Ui) -> Result<OwnGuardians, CliError> {
    if own.deliveries.is_empty() {
        return Ok(own.clone());
    }
    let client = client(session)?;
    let mut left = Vec::new();
    for delivery in &own.deliveries {
        let (id, url, envelope) = delivery;
        let sent = ui.waiting("a proxy", client.deliver_piece(url, envelope.to_vec())).await;
        if let Err(error) = sent {
            ui.warn(&format!(
                "{} has not got its piece: {error}; `galen guardian pieces` tries again, and until enough \
                 proxies have theirs nobody can give the seed back",
                session.display(*id)
            ));
            left.push(delivery.clone());
        }
    }
    let own = OwnGuardians { deliveries: left, ..own.clone() };
    remember(session, &own)?;
    Ok(own)
}

/// A guardian who has not taken a piece in time needs a new one.
async fn warn_of_age(own: &OwnGuardians, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let now = session.galen().time().await;
    let now = now.map_err(|error| cannot("ask for the time")(error.into()))?;
    let envelopes = own.pieces.iter().filter_map(|(_, it)| PieceEnvelope::decode(it).ok());
    if envelopes.into_iter().any(|envelope| envelope.deadline < now) {
        ui.warn(
            "these pieces were signed more than 30 days ago: a guardian who has not taken theirs needs \
             new ones (--anew), and then all of them do",
        );
    }
    Ok(())
}
