//! The use cases of Galen.
//!
//! [`Galen`] is the front door: a ledger, a content store, and three roles.
//!
//! | role | what it does |
//! |---|---|
//! | [`Organization`] | learns a patient's segments, proposes, imports, amends and retracts records, cosigns, asks for consent |
//! | [`Patient`] | examines and answers proposals and requests, grants, revokes, reseals, takes new keys, audits |
//! | [`Grantee`] | takes a grant, logs each read on chain, and only then opens: by itself or with answers of proxies |
//!
//! [`proxies`] let grantees read while the patient is away. [`Guarded`], [`Guardian`] and [`Claimant`] bring lost
//! keys back.
//!
//! Everything is signed by its author and sent by whoever pays, so that a patient needs no gas.
//!
//! The whole story, on embedded parts:
//!
//! ```
//! use alloy_primitives::{B256, U256};
//! use galen_chain::{Account, CosignPolicy, Ledger, deploy};
//! use galen_crypto::RootSeed;
//! use galen_devchain::{Config, DevChain};
//! use galen_fhir::{Category, Document};
//! use galen_sdk::{Galen, GrantRequest, Identity, NewRecord, SignatureState, fhir_document};
//! use galen_storage::Storage;
//! use galen_types::{ErrorKind, Purpose};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!
//! // A network: a chain, a ledger founded by one hospital, a content store, somebody who pays gas.
//! let identity = || Ok::<_, galen_crypto::Error>(Identity::new(Account::random(), &RootSeed::generate()?));
//! let (relayer, hospital) = (Account::random(), identity()?);
//! let accounts = vec![(relayer.controller(), U256::from(10).pow(U256::from(18)))];
//! let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
//! let founded = deploy(chain.provider(), &relayer, &[hospital.id()], B256::ZERO).await?;
//! let ledger = Ledger::connect(chain.provider(), founded.ledger, founded.block).await?;
//! let directory = tempfile::tempdir()?;
//! let galen = Galen::new(ledger.paid_by(&relayer), Storage::local(directory.path()).await?);
//!
//! // Keys are published; the patient tells the hospital which segment stands for which category.
//! let hospital = galen.organization(hospital);
//! let (patient, insurer) = (galen.patient(identity()?), galen.grantee(identity()?));
//! hospital.publish_keys().await?;
//! patient.publish_keys().await?;
//! insurer.publish_keys().await?;
//! let contact = hospital.meet(&patient.introduce(hospital.id()).await?).await?;
//!
//! // The hospital seals and proposes; the patient examines and accepts with one signature.
//! let fhir = br#"{"resourceType":"Bundle","type":"collection","entry":[
//!     {"resource":{"resourceType":"Condition","subject":{"display":"somebody"}}},
//!     {"resource":{"resourceType":"Coverage","status":"active","beneficiary":{"display":"somebody"},
//!         "payor":[{"display":"an insurer"}]}}]}"#;
//! let document = Document::read(fhir)?;
//! let drafts = document.split();
//! let nobody_else = CosignPolicy::default();
//! hospital.propose(&contact, drafts.iter().map(NewRecord::from), &nobody_else).await?;
//! for proposal in patient.inbox().await? {
//!     let leaves = 0..proposal.event.leaves.len();
//!     for index in leaves.clone() {
//!         patient.examine(&proposal, index).await?;
//!     }
//!     let id = proposal.event.proposal;
//!     patient.answer(id, leaves, [], &nobody_else, &Default::default()).await?;
//! }
//!
//! // The insurer may read bills for a week. Each read is logged before the content is opened.
//! let granted = patient
//!     .grant(&GrantRequest {
//!         grantee: insurer.id(),
//!         categories: vec![Category::Billing.index()],
//!         purposes: [Purpose::Payment].into_iter().collect(),
//!         not_before: None,
//!         lifetime: 7 * 24 * 3_600,
//!     })
//!     .await?;
//! let grant = insurer.accept(&granted.envelope).await?;
//! let bills = insurer.readable(&grant).await?;
//! let (read, _) = insurer.read(&grant, Purpose::Payment, &bills).await?;
//! assert_eq!(read.len(), 1);
//! let bill = drafts.iter().find(|draft| draft.category() == Category::Billing).unwrap().payload();
//! assert_eq!(fhir_document(&read[0].opened), Some(bill.expose()));
//! // Who signed it by parts: the hospital, whose key it was.
//! assert_eq!(read[0].signature.unwrap().author, hospital.id());
//! assert_eq!(read[0].signature.unwrap().state, SignatureState::Valid);
//!
//! // What was read gets a new key and a new address.
//! let (resealed, _) = patient.reseal(&patient.accessed().await?).await?;
//! assert_ne!(resealed[0].before, resealed[0].after);
//!
//! // After revocation the contract refuses, and the history accounts for every read.
//! patient.revoke(granted.consent.id()).await?;
//! let refused = insurer.read(&grant, Purpose::Payment, &bills).await.unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::Denied);
//! let audit = patient.audit().await?;
//! assert!(audit.complete);
//! assert_eq!(audit.accesses, 1);
//! # Ok(())
//! # }
//! ```

mod archive;
mod attachment;
mod attest;
mod batch;
mod card;
mod cbor;
mod chart;
mod consents;
mod contents;
mod copies;
mod cosign;
mod custodian;
mod epochs;
mod erase;
mod error;
mod galen;
mod grant;
mod grantee;
pub mod health_card;
pub mod health_link;
mod import;
mod journal;
mod organization;
mod outbox;
mod patient;
mod pipe;
mod presentation;
mod propose;
pub mod proxies;
mod recovery;
mod replies;
mod requests;
mod reseal;
mod signed;
mod summary;

pub use archive::MAX_ARCHIVE_LEN;
pub use attest::{DocumentSignature, SignatureState};
pub use card::{
    Card, FINGERPRINT_WORDS, MAX_CARD_LEN, MAX_NAME_LEN, MAX_PLACE_LEN, Role, fingerprint,
};
pub use chart::{RecordEntry, VersionState};
pub use consents::{ConsentEntry, ConsentStatus, GrantRequest, Granted, MAX_GRANTS};
pub use contents::{ContentStanding, NamedContent, RecordContent};
pub use copies::Copies;
pub use cosign::{CosignSheet, MAX_COSIGNERS, MAX_SHEET_LEN};
pub use custodian::{ACCESS_WINDOW, Custody, CustodyEntry, CustodyPolicy, CustodyReport};
pub use erase::{Erased, ErasedContent, ErasedState, Erasure};
pub use error::Error;
pub use galen::{ENVELOPE_LIFETIME, Galen, Identity, MAX_RECORD_LEN};
pub use grant::Grant;
pub use grantee::{Grantee, MAX_READS, ReadRecord};
pub use import::{
    AttachedFile, Import, ImportBody, ImportInput, ImportProgress, ImportReport, MAX_REJECTS,
    Reject,
};
pub use journal::{Journal, JournalEntry};
pub use organization::{Contact, Organization};
pub use outbox::{MAX_REASON_LEN, OutboxEntry, ProposalState};
pub use patient::{Patient, ProposedRecord};
pub use presentation::{MAX_PRESENTATION_LEN, PRESENTATION, Presentation};
pub use propose::{Announced, MAX_LEAVES, NewRecord, Prepared};
pub use recovery::{
    Claimant, GUARDIAN_DELAYS, GivenPiece, GuardState, Guarded, Guardian, GuardianPlan, HandedOut,
    MAX_GIVEN_LEN, MAX_GUARDIANS, MAX_RECOVERY_SHEET_LEN, PieceStanding, PieceTally, RecoverySheet,
    Ward, decode_piece_ask, encode_piece_ask,
};
pub use replies::{Reply, ReplyKind};
pub use requests::{Asked, MAX_MESSAGE_LEN, MAX_REQUESTS, Question, ReceivedRequest, Requested};
pub use reseal::ResealedRecord;
pub use signed::{
    Attestation, MAX_HEAD_LEN, MAX_SIGNED_LEN, SIGNED_DOCUMENT, SignedDocument, document_in,
    document_range, fhir_document,
};
pub use summary::{ChartRecords, MAX_CHART_DOCUMENTS, MissingRecord, ReadRecords};
