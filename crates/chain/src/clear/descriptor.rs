//! The ERC-7730 descriptors in `abi/erc7730`: the words that a hardware wallet shows are read from the
//! same files as ours.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

/// The descriptors, by the name of their EIP-712 domain.
const FILES: [&str; 2] = [
    include_str!("../../../../abi/erc7730/eip712-galen.json"),
    include_str!("../../../../abi/erc7730/eip712-galen-consortium.json"),
];

/// What Galen reads of an ERC-7730 file. Keys that wallets alone need are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Descriptor {
    context: Context,
    metadata: Metadata,
    display: Display,
}

#[derive(Debug, Deserialize)]
struct Context {
    eip712: Eip712,
}

#[derive(Debug, Deserialize)]
struct Eip712 {
    domain: Domain,
}

#[derive(Debug, Deserialize)]
struct Domain {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    enums: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Display {
    formats: BTreeMap<String, Format>,
}

/// How one message is shown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Format {
    pub(super) intent: String,
    pub(super) interpolated_intent: String,
    pub(super) fields: Vec<Field>,
}

/// How one field is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) label: String,
    pub(super) format: FieldFormat,
    #[serde(default)]
    params: Params,
}

/// The formats of ERC-7730 that Galen's files use; another one does not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum FieldFormat {
    Raw,
    AddressName,
    Date,
    Duration,
    Enum,
}

#[derive(Debug, Default, Deserialize)]
struct Params {
    #[serde(rename = "$ref")]
    reference: Option<String>,
}

impl Field {
    /// The enumeration that gives the field's words.
    pub(super) fn enumeration(&self) -> Option<&str> {
        self.params.reference.as_deref()?.strip_prefix("$.metadata.enums.")
    }
}

impl Descriptor {
    /// The descriptor of a domain; `None` for one that is not Galen's.
    pub(super) fn of_domain(name: &str, version: &str) -> Option<&'static Self> {
        all().iter().find(|descriptor| {
            let domain = &descriptor.context.eip712.domain;
            domain.name == name && domain.version == version
        })
    }

    /// How the message with this `encodeType` string is shown.
    pub(super) fn format(&self, encode_type: &str) -> Option<&Format> {
        self.display.formats.get(encode_type)
    }

    /// The word for a value of an enumeration.
    pub(super) fn word(&self, enumeration: &str, value: &str) -> Option<&str> {
        self.metadata.enums.get(enumeration)?.get(value).map(String::as_str)
    }
}

/// The word for a purpose of use, `None` for a number without one.
pub(super) fn purpose_word(number: u32) -> Option<&'static str> {
    Descriptor::of_domain("Galen", "1")?.word("purposes", &number.to_string())
}

fn all() -> &'static [Descriptor] {
    static ALL: OnceLock<Vec<Descriptor>> = OnceLock::new();
    ALL.get_or_init(|| {
        FILES
            .iter()
            .map(|text| serde_json::from_str(text).expect("the descriptors in abi/ are tested"))
            .collect()
    })
}
