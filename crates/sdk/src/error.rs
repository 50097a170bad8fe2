//! Why a use case did not go through.

use alloy_primitives::Address;
use galen_chain::{ChainError, SignError};
use galen_crypto::{OpenError, ProxyPlace};
use galen_fhir::{ComplianceReport, FhirError, parts::PartsError};
use galen_storage::StorageError;
use galen_types::{ConsentId, ErrorKind, ProposalId, RecordId};

use crate::{PieceTally, SignatureState, proxies::ProxyError};

/// A use case did not go through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The chain refused or did not answer.
    #[error("the ledger did not take it")]
    Chain(#[from] ChainError),
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Content could not be kept or read.
    #[error("the content store did not do it")]
    Storage(#[from] StorageError),
    /// Sealing, or reading an envelope, failed.
    #[error("sealed data could not be made or read")]
    Crypto(#[from] galen_crypto::Error),
    /// A document is not acceptable FHIR R4.
    #[error("not an acceptable FHIR document")]
    Fhir(#[from] FhirError),
    /// A document breaks rules of the author's site.
    #[error("the document is not as the site asks for: {0}")]
    NotCompliant(ComplianceReport),
    /// A document cannot be signed by parts, or be shown as asked.
    #[error("the parts of the document")]
    Parts(#[from] PartsError),
    /// A document is not signed by who it says.
    #[error("the document is not signed by who it says: {}", .0.as_str())]
    Signature(SignatureState),
    /// No content of the record opens to what was committed to.
    #[error("no content of record {0} opens to its commitment")]
    DoesNotOpen(RecordId),
    /// A proposed record is not what it says.
    #[error("leaf {index} of proposal {proposal} is not what it says: {fault}")]
    Misproposed {
        /// The proposal.
        proposal: ProposalId,
        /// Index of the leaf.
        index: usize,
        /// What is wrong.
        fault: &'static str,
    },
    /// An id has published no keys, or its bundle is not what the ledger names.
    #[error("{0:#x} has no usable key bundle")]
    NoKeys(Address),
    /// An envelope is not for this reader, this ledger, or the current keys.
    #[error("the envelope does not fit: {0}")]
    Envelope(&'static str),
    /// There is no such proposal.
    #[error("no proposal {0}")]
    NoProposal(ProposalId),
    /// There is no such record, or no version of it stands.
    #[error("no accepted record {0}")]
    NoRecord(RecordId),
    /// The consent is not live: revoked, or never there.
    #[error("consent {0} is not live")]
    ConsentNotLive(ConsentId),
    /// An author has no segment for a category of this patient.
    #[error("the patient named no segment for category {0}")]
    NoSegment(u8),
    /// The history that was read does not give the consents that the chain has: the node leaves
    /// changes out. A root that is built on it would grant again what was revoked.
    #[error("the history of the consents is not the one on chain")]
    ConsentHistory,
    /// Too few cosigners signed; these did not.
    #[error("too few cosigners signed: {} did not", .0.len())]
    CosignersMissing(Vec<Address>),
    /// Too few guardians signed, or none yet, so that nobody knows how many must.
    #[error("too few guardians signed: {signed}{}", of(*.needed))]
    GuardiansMissing {
        /// How many signed.
        signed: usize,
        /// How many must.
        needed: Option<usize>,
    },
    /// No recovery of an id by its guardians has finished, or not for this controller, or the id changed hands
    /// since.
    #[error("no recovery of {0:#x} by its guardians stands for this key")]
    NotRecovered(Address),
    /// The recovery could still go away with its block.
    #[error("the recovery is not final yet")]
    NotFinal,
    /// Too few pieces of a seed that fit together.
    #[error("too few pieces of the seed: {}", missing(.0))]
    PiecesMissing(Box<PieceTally>),
    /// Pieces fit together, and give another seed than the published keys were made of.
    #[error("the pieces give another seed than that of the published keys")]
    WrongSeed,
    /// The journal of an import or a custodian could not be written.
    #[error("the journal could not be written")]
    Journal(#[source] std::io::Error),
    /// An author's own copy of what it sealed could not be written, read or removed.
    #[error("the own copy of a record could not be written, read or removed")]
    Copy(#[source] std::io::Error),
    /// An author's own copy of a record is not what it was.
    #[error("the own copy of record {0} is damaged")]
    CopyDamaged(RecordId),
    /// An author has no copy of its own record, and so cannot seal it anew.
    #[error("there is no own copy of record {0}")]
    NoCopy(RecordId),
    /// A SMART Health Card is refused.
    #[error(transparent)]
    Card(#[from] crate::health_card::CardError),
    /// A SMART Health Link is refused, or what it names could not be read.
    #[error(transparent)]
    Link(#[from] crate::health_link::LinkError),
    /// A proxy did not do what it was asked for.
    #[error("the proxy did not do it")]
    Proxy(#[from] ProxyError),
    /// Too few proxies gave right answers. The reads are logged; they can be asked again.
    #[error("too few proxies answered: {answered} of {needed} that are needed")]
    TooFewProxies {
        /// How many it takes.
        needed: usize,
        /// How many gave right answers.
        answered: usize,
        /// What each of the others said.
        said: Vec<(ProxyPlace, ProxyError)>,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        // No `_` arm: a new variant must choose its kind before it compiles.
        match self {
            Self::Chain(error) => error.kind(),
            Self::Sign(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Crypto(error) => error.kind(),
            Self::Fhir(error) => error.kind(),
            Self::Parts(error) => error.kind(),
            Self::DoesNotOpen(_)
            | Self::Misproposed { .. }
            | Self::Signature(_)
            | Self::CopyDamaged(_)
            | Self::WrongSeed
            | Self::ConsentHistory => ErrorKind::Integrity,
            Self::NoKeys(_) | Self::NoProposal(_) | Self::NoRecord(_) | Self::NoCopy(_) => {
                ErrorKind::NotFound
            }
            Self::ConsentNotLive(_)
            | Self::NoSegment(_)
            | Self::CosignersMissing(_)
            | Self::GuardiansMissing { .. }
            | Self::NotRecovered(_)
            | Self::PiecesMissing(_) => ErrorKind::Denied,
            Self::NotFinal => ErrorKind::Stale,
            Self::Card(error) => error.kind(),
            Self::Link(error) => error.kind(),
            Self::Proxy(error) => error.kind(),
            Self::TooFewProxies { said, .. } => kind_of_said(said),
            Self::Journal(_) | Self::Copy(_) => ErrorKind::Unavailable,
            Self::Envelope(_) => ErrorKind::Integrity,
            Self::Invalid(_) | Self::NotCompliant(_) => ErrorKind::Invalid,
        }
    }
}

/// Whether to ask again, if any proxy may still answer; else why not.
fn kind_of_said(said: &[(ProxyPlace, ProxyError)]) -> ErrorKind {
    let kinds: Vec<ErrorKind> = said.iter().map(|(_, error)| error.kind()).collect();
    let worst = [ErrorKind::Denied, ErrorKind::Integrity, ErrorKind::NotFound];
    let refused = worst.into_iter().find(|kind| kinds.iter().all(|it| it == kind));
    refused
        .or_else(|| kinds.contains(&ErrorKind::Unavailable).then_some(ErrorKind::Unavailable))
        .or_else(|| kinds.first().copied())
        .unwrap_or(ErrorKind::Unavailable)
}

fn missing(tally: &PieceTally) -> String {
    // How many it takes is known from the first piece on.
    let guardians = match tally.guardians.len() {
        0 => "none".to_owned(),
        some => format!("{some} of {}", tally.guardians_needed),
    };
    match (tally.proxies_needed, tally.places.len()) {
        (None, 0) => format!("{guardians} of guardians"),
        (None, _) => format!("{guardians} of guardians, none of proxies"),
        (Some(needed), _) => {
            format!("{guardians} of guardians, {} of {needed} of proxies", tally.proxies.len())
        }
    }
}

fn of(needed: Option<usize>) -> String {
    needed.map(|needed| format!(" of {needed}")).unwrap_or_default()
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Crypto(error.into())
    }
}
