//! What every answer has in common: who, when, how final. The structs are the documented `--json`.

use std::{fmt, time::Duration};

use alloy_primitives::{Address, B256};
use galen_chain::{Position, Sent};
use galen_crypto::Opened;
use galen_fhir::Category;
use galen_index::View;
use galen_sdk::{DocumentSignature, Organization, Patient, Role};
use galen_types::{Purpose, PurposeSet};
use serde::Serialize;

use crate::{asked::AskError, error::CliError, session::Session, ui::Ui, when::Instant};

/// A person or organization: id, and the name in the private book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Party {
    pub(crate) id: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

impl Party {
    pub(crate) fn new(session: &Session, id: Address) -> Self {
        let known = session.book().contact(id).map(|contact| contact.alias.clone());
        let own = (id == session.id()).then(|| "self".to_owned());
        Self { id, name: own.or(known) }
    }
}

impl fmt::Display for Party {
    /// The name, or the whole id, so that a script can go on with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.id),
        }
    }
}

/// Where something stands on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    /// Unix second of the block.
    pub(crate) time: u64,
    pub(crate) block: u64,
    pub(crate) transaction: B256,
    #[serde(flatten)]
    pub(crate) finality: Finality,
}

impl Moment {
    pub(crate) const fn instant(&self) -> Instant {
        Instant::from_unix(self.time)
    }
}

/// A transaction that landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Landed {
    pub(crate) transaction: B256,
    pub(crate) block: u64,
    /// None where it was not looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gas: Option<u64>,
    #[serde(flatten)]
    pub(crate) finality: Finality,
}

/// Whether something can still go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finality {
    #[serde(rename = "final")]
    is_final: bool,
    /// Blocks that stand on it.
    confirmations: u64,
    /// How many make it final, where the network's setting is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<u64>,
}

impl fmt::Display for Finality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { is_final: true, .. } => f.write_str("final"),
            Self { confirmations, needed: Some(needed), .. } => {
                write!(f, "not final ({confirmations} of {needed} blocks)")
            }
            Self { confirmations, .. } => write!(f, "not final ({confirmations} blocks)"),
        }
    }
}

/// How far the chain has come, looked up once for a whole answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    newest: u64,
    final_block: Option<u64>,
    needed: Option<u64>,
}

impl Horizon {
    pub(crate) async fn now(session: &Session) -> Result<Self, CliError> {
        let look = |view: &View| (view.next_block().saturating_sub(1), view.final_block());
        let looked = session.galen().with_view(look).await;
        let (newest, final_block) = looked.map_err(cannot("read the newest block"))?;
        let needed = match session.network().finality {
            galen_chain::Finality::Depth(depth) => Some(depth),
            galen_chain::Finality::Finalized | galen_chain::Finality::Instant => None,
        };
        Ok(Self { newest, final_block, needed })
    }

    fn finality(&self, block: u64) -> Finality {
        Finality {
            is_final: self.final_block.is_some_and(|last| block <= last),
            confirmations: self.newest.saturating_sub(block),
            needed: self.needed,
        }
    }

    pub(crate) fn moment(&self, at: Position) -> Moment {
        let Position { block, time, transaction, .. } = at;
        Moment { time, block, transaction, finality: self.finality(block) }
    }

    pub(crate) fn landed(&self, sent: &Sent) -> Landed {
        let Sent { transaction, block, gas, .. } = *sent;
        Landed { transaction, block, gas: Some(gas), finality: self.finality(block) }
    }

    /// As [`Horizon::landed`], of what the history tells.
    pub(crate) fn landed_at(&self, at: Position) -> Landed {
        let Position { transaction, block, .. } = at;
        Landed { transaction, block, gas: None, finality: self.finality(block) }
    }
}

/// As [`Horizon::landed`], as of now.
pub(crate) async fn landed(session: &Session, sent: &Sent) -> Result<Landed, CliError> {
    Ok(Horizon::now(session).await?.landed(sent))
}

/// What a record's payload is for people: the FHIR document in it, byte for byte, or the payload itself.
///
/// `signed` asks for a signed document as it is, with what proves its parts.
pub(crate) fn document(opened: &Opened, signed: bool) -> (&str, &[u8]) {
    match galen_sdk::fhir_document(opened).filter(|_| !signed) {
        Some(document) => (FHIR_JSON, document),
        None => (opened.media_type.as_str(), opened.payload.expose()),
    }
}

/// Media type of a FHIR document.
const FHIR_JSON: &str = "application/fhir+json";

/// Who signed a document by parts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SignedBy {
    pub(crate) author: Party,
    /// The account that signed for the author.
    signer: Address,
    rotations: u32,
    /// Unix second, in the author's word.
    issued: u64,
    /// `valid`, or what does not hold.
    state: &'static str,
    /// The author's key was replaced since.
    replaced: bool,
}

impl SignedBy {
    pub(crate) fn new(session: &Session, signature: &DocumentSignature) -> Self {
        let DocumentSignature { author, signer, rotations, issued, state, replaced } = *signature;
        let (author, state) = (Party::new(session, author), state.as_str());
        Self { author, signer, rotations, issued, state, replaced }
    }
}

impl fmt::Display for SignedBy {
    /// `valid hospital`, as one cell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.state, self.author)
    }
}

/// Purposes as their codes, `purpose-31` for one that this version has no name for.
pub(crate) fn purposes(set: PurposeSet) -> Vec<String> {
    let bit = |bit: &u8| (set.0 >> bit) & 1 == 1;
    (0..32).filter(bit).map(purpose).collect()
}

/// A purpose as its code, `purpose-31` for one that this version has no name for.
pub(crate) fn purpose(number: u8) -> String {
    Purpose::from_u8(number).map_or_else(|| format!("purpose-{number}"), |it| it.code().to_owned())
}

/// A category as its name, `category-200` for one that this version has no name for.
pub(crate) fn category(index: u8) -> String {
    let known = Category::from_index(index);
    known.map_or_else(|| format!("category-{index}"), |category| category.name().to_owned())
}

/// Indexes of categories, each once and in order.
pub(crate) fn indexes(
    named: &[Category],
    preset: Option<galen_fhir::Preset>,
) -> Result<Vec<u8>, AskError> {
    let of_preset = preset.map_or(&[][..], |preset| preset.categories());
    let mut all: Vec<u8> = named.iter().chain(of_preset).map(|category| category.index()).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return Err(AskError::Nothing("the preset names no category by itself: add --category"));
    }
    Ok(all)
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Patient => "a patient",
        Role::Organization => "an organization",
        Role::Reader => "a reader",
    }
}

fn require(session: &Session, role: Role) -> Result<(), AskError> {
    if session.role() == role {
        return Ok(());
    }
    Err(AskError::Role { needs: role_name(role), is: role_name(session.role()) })
}

/// The profile as a patient, if it is one.
pub(crate) fn patient(session: &Session) -> Result<Patient, AskError> {
    require(session, Role::Patient).map(|()| session.patient())
}

/// The profile as an organization, if it is one.
pub(crate) fn organization(session: &Session) -> Result<Organization, AskError> {
    require(session, Role::Organization).map(|()| session.organization())
}

/// Names what was being done when a use case failed.
pub(crate) fn cannot(doing: &'static str) -> impl Fn(galen_sdk::Error) -> CliError {
    move |source| CliError::Sdk { doing, source }
}

/// After this long a wait says what it waits for, also where there is no terminal.
const SILENCE: Duration = Duration::from_secs(2);

/// Waits for `work`, which asks nobody anything, and says what for.
pub(crate) async fn waiting<T>(
    ui: &Ui,
    doing: &'static str,
    work: impl Future<Output = Result<T, galen_sdk::Error>>,
) -> Result<T, CliError> {
    let spinner = ui.spinner(doing);
    let mut work = std::pin::pin!(work);
    let done = match tokio::time::timeout(SILENCE, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            if spinner.is_hidden() {
                ui.status(&format!("working: {doing}"));
            }
            work.await
        }
    };
    spinner.finish_and_clear();
    done.map_err(cannot(doing))
}

/// Waits for `work` that signs and sends, and says so before the person is asked.
pub(crate) async fn sending<T>(
    ui: &Ui,
    doing: &'static str,
    work: impl Future<Output = Result<T, galen_sdk::Error>>,
) -> Result<T, CliError> {
    ui.status(&format!("signing and sending: {doing}"));
    let spinner = ui.spinner(doing);
    let done = work.await;
    spinner.finish_and_clear();
    done.map_err(cannot(doing))
}

/// An error and its causes in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.take(8).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
