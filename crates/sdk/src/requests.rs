//! Requests: an organization asks a patient for consent; the patient grants or does nothing.
//!
//! The event on chain says who asks and for which purposes. What they want to read, for how long and
//! why is sealed to the patient and lies in the store:
//!
//! ```text
//! kept = commitment (32) ‖ sealed content of media type application/vnd.galen.request+cbor
//! text = { 0: 1, 1: [ category, … ], 2: lifetime in seconds, 3: message }     categories ascending
//! ```
//!
//! `text` is deterministic CBOR. The sealed content is bound to ledger, patient and organization, so that
//! nobody passes off another's request as its own.

use alloy_primitives::{Address, B256, keccak256};
use bytes::Bytes;
use galen_chain::{Position, Sent, Standing};
use galen_crypto::{MediaType, OpenKey, SealContext, SealRequest, random_salt, seal_bytes};
use galen_fhir::Category;
use galen_index::{Chart, RequestEntry};
use galen_types::{
    Commitment, Consent, ConsentId, ContentRef, LedgerId, PurposeSet, RecordId, Store,
};
use minicbor::{Decoder, decode};

use crate::{Error, Galen, GrantRequest, Organization, Patient, cbor};

/// Longest message of a request, in bytes of UTF-8.
pub const MAX_MESSAGE_LEN: usize = 1_000;

/// Requests that are listed, the newest: anybody in the network can send many.
pub const MAX_REQUESTS: usize = 256;

/// Longest sealed request that is fetched, in bytes.
const MAX_KEPT_LEN: u64 = 1 << 16;

/// Longest text of a request, in bytes.
const MAX_TEXT_LEN: usize = 4_096;

const MEDIA_TYPE: &str = "application/vnd.galen.request+cbor";
const FORMAT: u8 = 1;

/// What an organization asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Indexes of the categories, see `galen_fhir::Category`.
    pub categories: Vec<u8>,
    /// For how many seconds.
    pub lifetime: u64,
    /// Why, in the organization's words: no control characters but line feeds, nothing that changes the
    /// direction of text, at most [`MAX_MESSAGE_LEN`] bytes.
    pub message: String,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Requested {
    /// Where the sealed question lies.
    pub content: ContentRef,
    /// The transaction.
    pub sent: Sent,
}

/// What became of the sealed question of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It could be read.
    Question(Question),
    /// The request has none.
    Nothing,
    /// The store does not have it, not now, or has other bytes.
    Unavailable,
    /// It is not a question of this organization to this patient.
    Unreadable,
}

/// A request as the patient sees it.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Names the request: hash of who asks, purposes and content. Two equal requests are one.
    pub id: B256,
    /// Who asks. The contract has checked its signature, and that it was an active member then.
    pub organization: Address,
    /// Whether it is one now.
    pub is_active: bool,
    /// Where the request stands.
    pub at: Position,
    /// For which purposes.
    pub purposes: PurposeSet,
    /// What it wants.
    pub asked: Asked,
    /// A live consent of the organization that covers all of it.
    pub granted: Option<ConsentId>,
}

impl ReceivedRequest {
    /// What to grant to give the organization what it asks for, and no more.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the question could not be read.
    pub fn to_grant(&self) -> Result<GrantRequest, Error> {
        let Asked::Question(question) = &self.asked else {
            return Err(Error::Invalid("the request does not say what it asks for"));
        };
        Ok(GrantRequest {
            grantee: self.organization,
            categories: question.categories.clone(),
            purposes: self.purposes,
            not_before: None,
            lifetime: question.lifetime,
        })
    }
}

impl Question {
    /// # Errors
    ///
    /// [`Error::Invalid`].
    fn check(&self) -> Result<(), Error> {
        let known = |index: &u8| Category::from_index(*index).is_some();
        let ascending = self.categories.is_sorted_by(|a, b| a < b);
        if self.categories.is_empty() || !ascending || !self.categories.iter().all(known) {
            return Err(Error::Invalid("a request names categories that there are, ascending"));
        }
        if self.lifetime == 0 || self.lifetime >= 1 << 40 {
            return Err(Error::Invalid("a request names how long it is to last"));
        }
        if self.message.len() > MAX_MESSAGE_LEN || !self.message.chars().all(is_plain) {
            return Err(Error::Invalid("the message is too long or not plain text"));
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        cbor::encode(|writer| {
            writer.map(4)?.u8(0)?.u8(FORMAT)?.u8(1)?.array(self.categories.len() as u64)?;
            for category in &self.categories {
                writer.u8(*category)?;
            }
            writer.u8(2)?.u64(self.lifetime)?.u8(3)?.str(&self.message)?.ok()
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let question = cbor::decode("request", bytes, MAX_TEXT_LEN, Self::read, Self::encode)?;
        question.check()?;
        Ok(question)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        cbor::exactly(reader.map()?, 4)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)?;
        let count = reader.array()?.filter(|count| *count <= 256);
        let count = count.ok_or_else(|| decode::Error::message("categories"))?;
        let categories = (0..count).map(|_| reader.u8()).collect::<Result<_, _>>()?;
        cbor::key(reader, 2)?;
        let lifetime = reader.u64()?;
        cbor::key(reader, 3)?;
        Ok(Self { categories, lifetime, message: reader.str()?.to_owned() })
    }
}

/// Whether a character shows as itself: no control, and none of those that turn text around or hide in it.
pub(crate) fn is_plain(char: char) -> bool {
    char == '\n'
        || !(char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}'))
}

impl Organization {
    /// Asks a patient for consent. Whoever reads the chain sees who asks whom and for which purposes.
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if the patient has published none; [`Error::Invalid`]; [`Error::Chain`], for
    /// example if the organization is not an active member.
    pub async fn request(
        &self,
        patient: Address,
        purposes: PurposeSet,
        question: &Question,
    ) -> Result<Requested, Error> {
        question.check()?;
        if purposes == PurposeSet::default() {
            return Err(Error::Invalid("a request names a purpose"));
        }
        let galen = self.galen();
        let recipient = galen.identity_of(patient).await?;
        let media_type: MediaType = MEDIA_TYPE.parse()?;
        let request = SealRequest {
            ledger: galen.id(),
            record: binding(patient, self.id()),
            epoch: 0,
            salt: random_salt()?,
            media_type: &media_type,
            identity: Some(&recipient),
            segment: None,
        };
        let (committed, sealed) = seal_bytes(&request, &question.encode())?;
        let kept = [committed.commitment.as_bytes().as_slice(), &sealed].concat();
        let content = galen.storage.put_bytes(kept).await?;
        let deadline = galen.deadline().await?;
        let account = self.account();
        let ledger = &galen.ledger;
        let sent =
            ledger.request_access(account, patient, purposes, Some(content), deadline).await?;
        Ok(Requested { content, sent })
    }
}

impl Patient {
    /// Requests for access, newest first. `known` are the terms of the patient's consents, to tell which
    /// requests are granted. A refusal leaves no trace: the caller remembers it by the request's id.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`]. A question that cannot be fetched or opened fails alone, see [`Asked`].
    pub async fn requests(&self, known: &[Consent]) -> Result<Vec<ReceivedRequest>, Error> {
        let newest = |chart: &Chart| {
            let entries: Vec<RequestEntry> =
                chart.requests().iter().rev().take(MAX_REQUESTS).copied().collect();
            (entries, chart.consents().tree.clone())
        };
        let (entries, tree) = self.galen().with_chart(self.id(), newest).await?;
        let members = self.galen().members().await?;
        let time = self.galen().ledger.now().await?;
        let mut requests = Vec::new();
        for entry in entries {
            let asked = self.asked(&entry).await;
            let categories = match &asked {
                Asked::Question(question) => question.categories.as_slice(),
                _ => &[],
            };
            let map = self.keys().segment_map();
            let covers = |consent: &&Consent| {
                consent.grantee == entry.organization
                    && consent.purposes.0 & entry.purposes.0 == entry.purposes.0
                    && categories.iter().all(|it| consent.segments.contains(map.segment(*it)))
                    && time < consent.expiry
                    && tree.contains(consent.id())
            };
            requests.push(ReceivedRequest {
                id: request_id(&entry),
                organization: entry.organization,
                is_active: members.iter().any(|member| {
                    member.id == entry.organization && member.standing == Standing::Active
                }),
                at: entry.at,
                purposes: entry.purposes,
                granted: known.iter().find(covers).map(Consent::id),
                asked,
            });
        }
        Ok(requests)
    }

    async fn asked(&self, entry: &RequestEntry) -> Asked {
        let Some(content) = entry.message else { return Asked::Nothing };
        let kept = match self.galen().storage.get(&content, MAX_KEPT_LEN).await {
            Ok(kept) => kept,
            Err(error) if error.kind() == galen_types::ErrorKind::Invalid => {
                return Asked::Unreadable;
            }
            Err(_) => return Asked::Unavailable,
        };
        self.read_question(entry.organization, &kept).map_or(Asked::Unreadable, Asked::Question)
    }

    fn read_question(&self, organization: Address, kept: &Bytes) -> Result<Question, Error> {
        let unreadable = Error::Envelope("it is no request");
        let (commitment, sealed) = kept.split_first_chunk::<32>().ok_or(unreadable)?;
        let context = SealContext {
            ledger: self.ledger_id(),
            record: binding(self.id(), organization),
            commitment: Commitment(commitment.into()),
        };
        let identity = self.keys().identity();
        let opened = galen_crypto::open(sealed, context, OpenKey::Identity(&identity))?;
        if opened.media_type.as_str() != MEDIA_TYPE {
            return Err(Error::Envelope("it is no request"));
        }
        Question::decode(opened.payload.expose())
    }

    const fn ledger_id(&self) -> LedgerId {
        Galen::id(self.galen())
    }
}

/// What a sealed question is bound to beside the ledger.
fn binding(patient: Address, organization: Address) -> RecordId {
    let text = [b"galen.request.v1".as_slice(), patient.as_slice(), organization.as_slice()];
    RecordId(keccak256(text.concat()))
}

fn request_id(entry: &RequestEntry) -> B256 {
    let store = entry.message.map_or(Store::Swarm, |content| content.store);
    let digest = entry.message.map_or(B256::ZERO, |content| content.digest);
    let purposes = entry.purposes.0.to_be_bytes();
    keccak256(
        [entry.organization.as_slice(), &purposes, &[store as u8], digest.as_slice()].concat(),
    )
}
