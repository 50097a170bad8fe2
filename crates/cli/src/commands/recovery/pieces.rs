//! The pieces of the seed come together.

use alloy_primitives::{Address, Bytes};
use galen_sdk::{Claimant, GivenPiece, PieceTally, encode_piece_ask};
use serde::Serialize;

use crate::{
    args::RecoveryPiecesArgs,
    code::{Code, Kind},
    commands::{
        proxy::client,
        shown::{Party, cannot, sending, waiting},
    },
    error::CliError,
    session::Session,
    table::list,
    ui::Ui,
};

/// Most pieces that a book keeps.
const MAX_PIECES: usize = 256;

/// The result of `galen recovery pieces --json`.
#[derive(Debug, Serialize)]
struct Collected {
    id: Party,
    /// Guardians whose pieces fit together, and how many it takes.
    guardians: Vec<Party>,
    guardians_needed: usize,
    proxies: Vec<Party>,
    /// Absent if the guardians hold all of it, or before a proxy answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies_needed: Option<usize>,
    /// Whether `galen recovery restore` has what it takes.
    enough: bool,
    /// The line for guardians who have not given theirs.
    request: String,
}

pub(super) async fn run(
    args: &RecoveryPiecesArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let id = session.resolve(&args.id)?;
    let claimant = session.claimant(id);
    take(&args.take, &claimant, session)?;
    let pieces = gather(&claimant, session, ui).await?;
    let tally = waiting(ui, "look at the pieces", claimant.tally(&pieces)).await?;
    let ask = claimant.ask_for_pieces().await.map_err(cannot("ask for the pieces"))?;
    let line = encode_piece_ask(session.galen().ledger().id(), &ask);
    let code = Code::new(Kind::PieceRequest, line);
    args.output.write(&code, ui)?;
    let party = |id: &Address| Party::new(session, *id);
    let collected = Collected {
        id: party(&id),
        guardians: tally.guardians.iter().map(party).collect(),
        guardians_needed: tally.guardians_needed,
        proxies: tally.proxies.iter().map(party).collect(),
        proxies_needed: tally.proxies_needed,
        enough: tally.is_enough(),
        request: code.to_string(),
    };
    collected.print(&tally, ui)
}

impl Collected {
    fn print(&self, tally: &PieceTally, ui: &Ui) -> Result<(), CliError> {
        if self.enough {
            ui.show(&format!(
                "These are enough: `galen recovery restore {:#x} --into NAME`.",
                self.id.id
            ));
        } else {
            ui.show(
                "Send the line to your guardians: each gives a piece with `galen guardian give`, sealed to this \
                 profile. Take it with --take.",
            );
        }
        if ui.json() {
            return ui.object(self);
        }
        let of = |count: usize, needed: usize| format!("{count} of {needed}");
        // How many it takes is known from the first piece on.
        let guardians = match self.guardians.len() {
            0 => "0".to_owned(),
            some => of(some, self.guardians_needed),
        };
        ui.line(&format!("guardians\t{guardians}\t{}", list(&self.guardians)))?;
        if !tally.places.is_empty() {
            let proxies = match self.proxies_needed {
                Some(needed) => of(self.proxies.len(), needed),
                None => self.proxies.len().to_string(),
            };
            ui.line(&format!("proxies\t{proxies}\t{}", list(&self.proxies)))?;
        }
        ui.line(&self.request)
    }
}

/// Takes what guardians gave into the book, if it opens here.
pub(super) fn take(
    sources: &[String],
    claimant: &Claimant,
    session: &Session,
) -> Result<(), CliError> {
    for source in sources {
        for code in Code::read_all(source, &[Kind::Piece])? {
            let failed = cannot("take the piece");
            let given = GivenPiece::decode(&code.bytes).map_err(&failed)?;
            claimant.open(&given).map_err(&failed)?;
            keep(&given, session)?;
        }
    }
    Ok(())
}

fn keep(given: &GivenPiece, session: &Session) -> Result<(), CliError> {
    let bytes = Bytes::from(given.encode());
    session.change_book(|book| {
        if !book.pieces.contains(&bytes) {
            book.pieces.push(bytes);
        }
        let surplus = book.pieces.len().saturating_sub(MAX_PIECES);
        book.pieces.drain(..surplus);
        Ok(())
    })
}

/// The pieces of an id that are in the book, after the proxies that hold others were asked.
pub(super) async fn gather(
    claimant: &Claimant,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<GivenPiece>, CliError> {
    let kept = || -> Vec<GivenPiece> {
        let book = session.book();
        let read = book.pieces.iter().filter_map(|bytes| GivenPiece::decode(bytes).ok());
        read.filter(|given| given.id == claimant.id()).collect()
    };
    let pieces = kept();
    let tally = waiting(ui, "look at the pieces", claimant.tally(&pieces)).await?;
    let given = |id: &Address| tally.proxies.contains(id);
    let asked: Vec<_> = tally.places.iter().filter(|place| !given(&place.id)).cloned().collect();
    if tally.is_enough() || asked.is_empty() {
        return Ok(pieces);
    }
    let client = client(session)?;
    let work = claimant.ask_proxies(&client, &asked);
    for (place, said) in sending(ui, "ask the proxies for their pieces", work).await? {
        match said {
            Ok(given) if claimant.open(&given).is_ok() => keep(&given, session)?,
            Ok(_) => ui.warn(&format!("{} gave a piece that does not open", place.url)),
            Err(error) => ui.warn(&format!("{}: {error}", place.url)),
        }
    }
    Ok(kept())
}
