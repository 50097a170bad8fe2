//! FHIR R4 Consent, in and out: what a document allows ([`decide`]), which grants it comes to ([`plan`]),
//! the document of a grant ([`export`]) and its SMART scopes ([`scopes`]).
//!
//! Everything is decided on three values: what is not known of a reader or of data never makes a rule
//! permit and always makes a rule deny. So a plan, which knows only categories, never grants more than
//! the document allows for any record. `docs/protocol.md`, section "FHIR Consent", has the rules.
//!
//! ```
//! use galen_fhir::consent::{Code, ConsentDocument, Data, Party, Question, decide};
//! let bytes = br#"{"resourceType":"Consent","status":"active",
//!     "scope":{"coding":[{"code":"patient-privacy"}]},"category":[{"text":"privacy"}],
//!     "policy":[{"uri":"https://example.org/policy"}],
//!     "provision":{"type":"permit","period":{"end":"2026-03"},
//!       "purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]}}"#;
//! let consents = ConsentDocument::read_all(&galen_fhir::Document::read(bytes)?)?;
//! let mut question = Question {
//!     actor: Party::by_reference("Organization/a"),
//!     purpose: Code::purpose("TREAT"),
//!     time: 1_775_001_599, // 2026-03-31T23:59:59Z
//!     data: Data::default(),
//! };
//! assert!(decide(&consents, &question).permitted);
//! question.time += 1;
//! assert!(!decide(&consents, &question).permitted);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decide;
mod export;
mod import;
mod matching;
mod model;
mod notes;
mod period;
mod scopes;
mod vocabulary;

use galen_types::ErrorKind;

pub use decide::{Data, Decision, Party, Question, Why, decide};
pub use export::{ExportedConsent, Flavour, export};
pub use import::{GranteeMap, ImportOptions, Plan, PlannedGrant, plan};
pub use model::{Actor, ActorRole, Code, ConsentDocument, DataRule, Policy, Rule, RuleKind};
pub use notes::Note;
pub use period::Span;
pub use scopes::{FromScopes, from_scopes, scopes};
pub use vocabulary::{CATEGORY_SYSTEM, Confidentiality};

/// Most provisions that one Consent may have.
pub const MAX_RULES: usize = 1_000;

/// Most Consents that are decided together.
pub const MAX_CONSENTS: usize = 1_000;

/// A Consent cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsentError {
    /// The document holds no Consent.
    #[error("no Consent in a document of type {found}")]
    NoConsent {
        /// The resource type of the document.
        found: &'static str,
    },
    /// The document holds more than [`MAX_CONSENTS`].
    #[error("more than {limit} Consents")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// Consents, grantees, periods and provisions are too many to be compared.
    #[error("too many provisions, periods and recipients to plan together")]
    TooComplex,
    /// A Consent has more than [`MAX_RULES`] provisions.
    #[error("more than {limit} provisions")]
    TooManyRules {
        /// The limit.
        limit: usize,
    },
}

impl ConsentError {
    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoConsent { .. }
            | Self::TooMany { .. }
            | Self::TooManyRules { .. }
            | Self::TooComplex => ErrorKind::Invalid,
        }
    }
}
