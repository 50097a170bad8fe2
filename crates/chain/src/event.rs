//! What the ledger says, in the words of Galen.

use alloy::{primitives::Log, sol_types::SolEventInterface};
use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use galen_types::{
    ConsentId, ConsentRoot, ContentRef, KeyBundleId, Leaf, ProposalId, Purpose, PurposeSet,
    RecordId, Store,
};
use serde::{Deserialize, Serialize};

use crate::{contract::HealthLedger::HealthLedgerEvents as Raw, ledger::Standing};

/// Where on the chain an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Block number.
    pub block: u64,
    /// Index of the log in its block.
    pub log: u64,
    /// Unix second of the block.
    pub time: u64,
    /// Transaction hash.
    pub transaction: B256,
}

/// An event and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// Where it stands.
    pub at: Position,
    /// What it says.
    pub event: LedgerEvent,
}

/// An event of `HealthLedger`. The contract's interfaces hold the documentation of each field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Solidity interfaces hold the documentation")]
pub enum LedgerEvent {
    StatusChanged {
        organization: Address,
        standing: Standing,
    },
    Rotated {
        id: Address,
        controller: Address,
        sequence: u32,
        consent_version: u32,
    },
    KeysPublished {
        id: Address,
        bundle: KeyBundleId,
        previous: KeyBundleId,
        content: ContentRef,
    },
    Proposed(ProposedEvent),
    Withdrawn {
        patient: Address,
        author: Address,
        proposal: ProposalId,
    },
    Settled(SettledEvent),
    Resealed(ResealedEvent),
    ConsentsChanged(ConsentsEvent),
    Accessed(AccessedEvent),
    AccessRequested {
        patient: Address,
        organization: Address,
        purposes: PurposeSet,
        message: Option<ContentRef>,
        deadline: u64,
    },
    BulkAnchored {
        author: Address,
        root: B256,
        count: u32,
        manifest: ContentRef,
    },
    GuardiansChanged {
        id: Address,
        commitment: B256,
        delay: u32,
    },
    PendingStarted {
        id: Address,
        kind: u8,
        controller: Address,
        ready_at: u64,
    },
    PendingCancelled {
        id: Address,
        kind: u8,
    },
    PendingFinished {
        id: Address,
        kind: u8,
    },
    Cosigned {
        proposal: ProposalId,
        cosigner: Address,
    },
}

/// An author proposed versions of records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the Solidity interfaces hold the documentation")]
pub struct ProposedEvent {
    pub patient: Address,
    pub author: Address,
    pub proposal: ProposalId,
    pub rotations: u32,
    pub deadline: u64,
    pub policy: B256,
    pub leaves: Vec<Leaf>,
    pub signature: Bytes,
}

/// The patient answered a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the Solidity interfaces hold the documentation")]
pub struct SettledEvent {
    pub patient: Address,
    pub author: Address,
    pub proposal: ProposalId,
    pub accepted: U256,
    pub rejected: U256,
    pub sequence: u32,
    pub signer: Address,
}

/// A record's content was sealed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the Solidity interfaces hold the documentation")]
pub struct ResealedEvent {
    pub patient: Address,
    pub record: RecordId,
    pub signer: Address,
    pub content: ContentRef,
    pub previous: B256,
}

/// The consents of a patient changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the Solidity interfaces hold the documentation")]
pub struct ConsentsEvent {
    pub patient: Address,
    pub root: ConsentRoot,
    pub version: u32,
    pub revoked: Vec<ConsentId>,
    pub granted: Vec<ConsentId>,
}

/// A grantee read a record. `deadline` is zero if the grantee sent the call itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the Solidity interfaces hold the documentation")]
pub struct AccessedEvent {
    pub patient: Address,
    pub grantee: Address,
    pub record: RecordId,
    pub consent: ConsentId,
    /// Number of the purpose of use, see [`Purpose::from_u8`].
    pub purpose: u8,
    pub network: bool,
    pub deadline: u64,
}

impl AccessedEvent {
    /// The purpose, if this version of Galen has a name for it.
    pub const fn purpose(&self) -> Option<Purpose> {
        Purpose::from_u8(self.purpose)
    }
}

impl LedgerEvent {
    /// Reads a log of the ledger. `None` for a log that no ledger of this version emits.
    pub fn decode(log: &Log) -> Option<Self> {
        let raw = Raw::decode_log(log).ok()?.data;
        Some(match raw {
            Raw::StatusChanged(e) => Self::StatusChanged {
                organization: e.organization,
                standing: Standing::from_u8(e.status)?,
            },
            Raw::Rotated(e) => Self::Rotated {
                id: e.id,
                controller: e.controller,
                sequence: e.sequence,
                consent_version: e.consentVersion,
            },
            Raw::KeysPublished(e) => Self::KeysPublished {
                id: e.id,
                bundle: KeyBundleId(e.bundle),
                previous: KeyBundleId(e.previous),
                content: content(e.store, e.content)?,
            },
            Raw::Proposed(e) => Self::Proposed(ProposedEvent {
                patient: e.patient,
                author: e.author,
                proposal: ProposalId(e.proposal),
                rotations: bits::<32>(e.limits, 48).to(),
                deadline: bits::<48>(e.limits, 0).to(),
                policy: e.policy,
                leaves: e
                    .leaves
                    .iter()
                    .map(|l| Leaf::from_words(l.header, l.content, l.commitment, l.previous))
                    .collect::<Option<_>>()?,
                signature: e.signature,
            }),
            Raw::Withdrawn(e) => Self::Withdrawn {
                patient: e.patient,
                author: e.author,
                proposal: ProposalId(e.proposal),
            },
            Raw::Settled(e) => Self::Settled(SettledEvent {
                patient: e.patient,
                author: e.author,
                proposal: ProposalId(e.proposal),
                accepted: e.accepted,
                rejected: e.rejected,
                sequence: bits::<32>(e.by, 160).to(),
                signer: low_address(e.by),
            }),
            Raw::Resealed(e) => Self::Resealed(ResealedEvent {
                patient: e.patient,
                record: RecordId(e.record),
                signer: low_address(e.by),
                content: content(bits::<8>(e.by, 160).to(), e.content)?,
                previous: e.previous,
            }),
            Raw::ConsentsChanged(e) => {
                let (root, version) = e.state.split_at(28);
                let revoked = usize::try_from(e.revoked).ok().filter(|n| *n <= e.leaves.len())?;
                let (revoked, granted) = e.leaves.split_at(revoked);
                Self::ConsentsChanged(ConsentsEvent {
                    patient: e.patient,
                    root: ConsentRoot(FixedBytes::from_slice(root)),
                    version: u32::from_be_bytes(version.try_into().ok()?),
                    revoked: revoked.iter().copied().map(ConsentId).collect(),
                    granted: granted.iter().copied().map(ConsentId).collect(),
                })
            }
            other => return Self::decode_rest(other),
        })
    }

    fn decode_rest(raw: Raw) -> Option<Self> {
        Some(match raw {
            Raw::Accessed(e) => Self::Accessed(AccessedEvent {
                patient: e.patient,
                grantee: e.grantee,
                record: RecordId(e.record),
                consent: ConsentId(e.consent),
                purpose: bits::<8>(e.how, 0).to(),
                network: e.how.bit(8),
                deadline: bits::<48>(e.how, 16).to(),
            }),
            Raw::AccessRequested(e) => Self::AccessRequested {
                patient: e.patient,
                organization: e.organization,
                purposes: PurposeSet(e.purposes),
                message: if e.message.is_zero() {
                    None
                } else {
                    Some(content(e.store, e.message)?)
                },
                deadline: e.deadline.to(),
            },
            Raw::BulkAnchored(e) => Self::BulkAnchored {
                author: e.author,
                root: e.root,
                count: bits::<32>(e.header, 0).to(),
                manifest: content(bits::<8>(e.header, 32).to(), e.manifest)?,
            },
            Raw::GuardiansChanged(e) => {
                Self::GuardiansChanged { id: e.id, commitment: e.commitment, delay: e.delay }
            }
            Raw::PendingStarted(e) => Self::PendingStarted {
                id: e.id,
                kind: e.kind,
                controller: e.controller,
                ready_at: e.readyAt.to(),
            },
            Raw::PendingCancelled(e) => Self::PendingCancelled { id: e.id, kind: e.kind },
            Raw::PendingFinished(e) => Self::PendingFinished { id: e.id, kind: e.kind },
            Raw::Cosigned(e) => {
                Self::Cosigned { proposal: ProposalId(e.proposal), cosigner: e.cosigner }
            }
            _ => return None,
        })
    }

    /// The pseudonym whose chart the event belongs to, if it belongs to one.
    pub const fn patient(&self) -> Option<Address> {
        match self {
            Self::Rotated { id, .. }
            | Self::KeysPublished { id, .. }
            | Self::GuardiansChanged { id, .. }
            | Self::PendingStarted { id, .. }
            | Self::PendingCancelled { id, .. }
            | Self::PendingFinished { id, .. } => Some(*id),
            Self::Withdrawn { patient, .. } | Self::AccessRequested { patient, .. } => {
                Some(*patient)
            }
            Self::Proposed(e) => Some(e.patient),
            Self::Settled(e) => Some(e.patient),
            Self::Resealed(e) => Some(e.patient),
            Self::ConsentsChanged(e) => Some(e.patient),
            Self::Accessed(e) => Some(e.patient),
            Self::StatusChanged { .. } | Self::BulkAnchored { .. } | Self::Cosigned { .. } => None,
        }
    }
}

impl LedgerEvent {
    /// Everybody that the event names as acting: author, organization, grantee, signer, cosigner.
    /// The patient is not among them, see [`LedgerEvent::patient`].
    pub fn parties(&self) -> impl Iterator<Item = Address> {
        let (first, second) = match self {
            Self::StatusChanged { organization, .. }
            | Self::AccessRequested { organization, .. } => (Some(*organization), None),
            Self::Proposed(e) => (Some(e.author), None),
            Self::Withdrawn { author, .. } | Self::BulkAnchored { author, .. } => {
                (Some(*author), None)
            }
            Self::Settled(e) if e.signer == e.author => (Some(e.author), None),
            Self::Settled(e) => (Some(e.author), Some(e.signer)),
            Self::Resealed(e) => (Some(e.signer), None),
            Self::Accessed(e) => (Some(e.grantee), None),
            Self::Cosigned { cosigner, .. } => (Some(*cosigner), None),
            Self::Rotated { .. }
            | Self::KeysPublished { .. }
            | Self::ConsentsChanged(_)
            | Self::GuardiansChanged { .. }
            | Self::PendingStarted { .. }
            | Self::PendingCancelled { .. }
            | Self::PendingFinished { .. } => (None, None),
        };
        [first, second].into_iter().flatten()
    }
}

fn content(store: u8, digest: B256) -> Option<ContentRef> {
    Some(ContentRef { store: Store::from_u8(store)?, digest })
}

/// `WIDTH` bits of a packed word, from bit `at`.
fn bits<const WIDTH: usize>(word: U256, at: usize) -> U256 {
    (word >> at) & (U256::MAX >> (256 - WIDTH))
}

/// The address in the low 160 bits of a packed word.
fn low_address(word: U256) -> Address {
    Address::from_word(word.into())
}
