//! Why a document is refused, and where.

use std::fmt;

use galen_types::ErrorKind;
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A document is refused: what is wrong, in which element, at which byte.
///
/// Carries names of FHIR elements, positions and limits; never a value or an unknown key of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FhirError {
    fault: Fault,
    path: String,
    offset: usize,
}

impl FhirError {
    pub(crate) const fn new(fault: Fault, path: String, offset: usize) -> Self {
        Self { fault, path, offset }
    }

    /// What is wrong.
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The element, written like `Bundle.entry[3].resource.Patient.birthDate`. Empty if the fault lies
    /// outside any element. An unknown element is named only if R4 knows that name elsewhere.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The first byte of the fault, counted from 0 at the start of the document.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        self.fault.kind()
    }
}

impl fmt::Display for FhirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at ", self.fault)?;
        if !self.path.is_empty() {
            write!(f, "{}, ", self.path)?;
        }
        write!(f, "byte {}", self.offset)
    }
}

impl std::error::Error for FhirError {}

/// Written as an object of `cause` (see [`Fault::code`]), `message`, `path` and `offset`.
impl Serialize for FhirError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("FhirError", 4)?;
        fields.serialize_field("cause", self.fault.code())?;
        fields.serialize_field("message", &self.fault.to_string())?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("offset", &self.offset)?;
        fields.end()
    }
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input is longer than [`crate::MAX_INPUT_LEN`].
    #[error("input longer than {limit} bytes")]
    InputTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The input starts with a byte order mark or is UTF-16 or UTF-32. FHIR JSON is plain UTF-8.
    #[error("byte order mark")]
    ByteOrderMark,
    /// The bytes are not UTF-8.
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    /// A character below U+0020, raw or escaped, other than escaped tab, line feed, carriage return.
    #[error("control character")]
    ControlCharacter,
    /// Not JSON (RFC 8259).
    #[error("not JSON: expected {expected}")]
    Syntax {
        /// What would have been allowed.
        expected: &'static str,
    },
    /// Something follows the document.
    #[error("bytes after the end of the document")]
    TrailingBytes,
    /// Half of a UTF-16 pair without the other half.
    #[error("unpaired surrogate escape")]
    LoneSurrogate,
    /// More nested arrays and objects than [`crate::MAX_DEPTH`].
    #[error("nested deeper than {limit}")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
    /// A string is longer than its type allows.
    #[error("string longer than {limit} bytes")]
    StringTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A number is longer than [`crate::MAX_NUMBER_LEN`].
    #[error("number longer than {limit} bytes")]
    NumberTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// An object has more keys than [`crate::MAX_KEYS`].
    #[error("object with more than {limit} keys")]
    TooManyKeys {
        /// The limit in keys.
        limit: usize,
    },
    /// An array has more items than [`crate::MAX_ITEMS`].
    #[error("array with more than {limit} items")]
    TooManyItems {
        /// The limit in items.
        limit: usize,
    },
    /// The same key twice in one object, also if one of them is written with escapes.
    #[error("duplicate key")]
    DuplicateKey,
    /// A resource without `resourceType`.
    #[error("resource without resourceType")]
    NoResourceType,
    /// Not one of the resource types of R4.
    #[error("unknown resource type")]
    UnknownResourceType,
    /// Not an element that R4 has at this place.
    #[error("unknown element")]
    UnknownElement,
    /// Another kind of JSON value than the element has.
    #[error("wrong JSON type: expected {expected}")]
    WrongType {
        /// The kind that the element has.
        expected: &'static str,
    },
    /// A required element is absent.
    #[error("missing element {name}")]
    MissingElement {
        /// The element, `value[x]` for one with a choice of types.
        name: &'static str,
    },
    /// `[]`, which FHIR forbids.
    #[error("empty array")]
    EmptyArray,
    /// `{}`, or an element that has an id and nothing else.
    #[error("empty object")]
    EmptyObject,
    /// `""`, which FHIR forbids.
    #[error("empty string")]
    EmptyString,
    /// `null` where no extension stands in for the value.
    #[error("null without an extension in its place")]
    MisplacedNull,
    /// A primitive array and its `_` sibling differ in length.
    #[error("array and its extensions differ in length")]
    UnevenSiblings,
    /// Two values of an element that has a choice of types.
    #[error("second value of a choice")]
    SecondChoice,
    /// The text is not of the element's primitive type.
    #[error("not a valid {primitive}")]
    Format {
        /// The primitive type.
        primitive: &'static str,
    },
    /// The code is not in the value set that the element requires.
    #[error("code outside the required value set")]
    UnknownCode,
    /// An extension has both a value and extensions, or neither.
    #[error("extension needs either a value or extensions")]
    ExtensionContent,
    /// A contained resource contains resources.
    #[error("resources contained in a contained resource")]
    NestedContained,
    /// The narrative is not the XHTML that FHIR allows.
    #[error("narrative: {reason}")]
    Narrative {
        /// What is wrong, without a word of the text.
        reason: &'static str,
    },
}

impl Fault {
    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// The word for machines: stable, lower case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InputTooLong { .. } => "input-too-long",
            Self::ByteOrderMark => "byte-order-mark",
            Self::NotUtf8 => "not-utf8",
            Self::ControlCharacter => "control-character",
            Self::Syntax { .. } => "syntax",
            Self::TrailingBytes => "trailing-bytes",
            Self::LoneSurrogate => "lone-surrogate",
            Self::TooDeep { .. } => "too-deep",
            Self::StringTooLong { .. } => "string-too-long",
            Self::NumberTooLong { .. } => "number-too-long",
            Self::TooManyKeys { .. } => "too-many-keys",
            Self::TooManyItems { .. } => "too-many-items",
            Self::DuplicateKey => "duplicate-key",
            Self::NoResourceType => "no-resource-type",
            Self::UnknownResourceType => "unknown-resource-type",
            Self::UnknownElement => "unknown-element",
            Self::WrongType { .. } => "wrong-type",
            Self::MissingElement { .. } => "missing-element",
            Self::EmptyArray => "empty-array",
            Self::EmptyObject => "empty-object",
            Self::EmptyString => "empty-string",
            Self::MisplacedNull => "misplaced-null",
            Self::UnevenSiblings => "uneven-siblings",
            Self::SecondChoice => "second-choice",
            Self::Format { .. } => "format",
            Self::UnknownCode => "unknown-code",
            Self::ExtensionContent => "extension-content",
            Self::NestedContained => "nested-contained",
            Self::Narrative { .. } => "narrative",
        }
    }
}

/// A fault and its byte, before the path is known.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) fault: Fault,
    pub(crate) offset: usize,
}

impl Fault {
    pub(crate) const fn at(self, offset: usize) -> Broken {
        Broken { fault: self, offset }
    }
}
