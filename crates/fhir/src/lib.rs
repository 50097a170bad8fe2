//! The clinical side of Galen: strict, byte-faithful reading of FHIR R4 (4.0.1) JSON, and the split of a
//! document into records by encounter and category.
//!
//! On what was read work [`parts`] (proofs of single elements), [`chart`] (one chart of many documents),
//! [`consent`] (what FHIR Consents decide), [`Compliance`] (a site's rules), [`words`] (for people) and
//! [`out`] (FHIR that is written).
//!
//! A document is judged as a whole and never rewritten: what is accepted is kept as the bytes that came,
//! since a signature covers bytes and `1.0100` is another measurement than `1.01`.
//!
//! ```
//! let bundle = br#"{"resourceType":"Bundle","type":"collection","entry":[
//!     {"resource":{"resourceType":"Patient","id":"p","birthDate":"1980-02-29"}},
//!     {"resource":{"resourceType":"Condition","subject":{"reference":"Patient/p"}}}]}"#;
//! let document = galen_fhir::Document::read(bundle)?;
//! let drafts = document.split();
//! assert_eq!(drafts[0].category(), galen_fhir::Category::Identity);
//! assert_eq!(drafts[1].category(), galen_fhir::Category::Problems);
//! assert!(galen_fhir::Document::read(drafts[0].payload().expose()).is_ok());
//!
//! let error = galen_fhir::check(br#"{"resourceType":"Patient","birthDate":"29.2.1980"}"#).unwrap_err();
//! assert_eq!(error.to_string(), "not a valid date at Patient.birthDate, byte 38");
//! # Ok::<(), galen_fhir::FhirError>(())
//! ```

mod category;
pub mod chart;
mod check;
mod codes;
mod compliance;
pub mod consent;
mod error;
mod json;
mod labels;
mod links;
mod narrative;
mod ndjson;
mod near;
mod node;
pub mod out;
pub mod parts;
mod preset;
mod primitive;
mod reader;
mod split;
mod table;
pub mod words;

pub use category::Category;
pub use check::{CategorySummary, Summary, check, check_with};
pub use codes::{
    CodeSettings, CodeTable, CodesError, CodesFault, MAX_CODE_LEN, MAX_ROWS, MAX_SPANS,
    MAX_SYSTEM_LEN, MAX_SYSTEMS, MAX_TABLE_LEN,
};
pub use compliance::{Compliance, ComplianceReport, IdentityRule, MAX_VIOLATIONS, Rule, Violation};
pub use error::{Fault, FhirError};
pub use json::{MAX_DEPTH, MAX_ITEMS, MAX_KEYS, MAX_NUMBER_LEN};
pub use ndjson::{LineError, MAX_LISTED_LINES, NdjsonSummary, check_ndjson, for_each_line};
pub use near::near_names;
pub use node::{Node, Resource};
pub use preset::Preset;
pub use reader::{MAX_INPUT_LEN, MAX_STRING_LEN};
pub use split::{Document, Draft};
