//! Values of a message as people read them.

use alloy_primitives::{Address, U256};
use galen_types::{Segment, SegmentSet};
use serde_json::Value;

use super::{
    Fact, Names, Warning,
    descriptor::{Descriptor, Field, FieldFormat, Format, purpose_word},
    inert::inert,
    message::refused,
    time::{duration, utc},
};
use crate::account::{SignError, SigningRequest};

/// Most values of one field that are listed one by one. Where more hide behind a field, the details
/// say what they are, by groups that leave none out.
const MAX_LISTED: usize = 4;

/// Most names that a sentence lists.
const MAX_NAMED: usize = 8;

/// A request on its way to a screen.
pub(super) struct View<'a> {
    pub(super) request: &'a SigningRequest,
    pub(super) names: &'a dyn Names,
    pub(super) format: &'static Format,
    descriptor: &'static Descriptor,
    /// The type string, which says what is a number.
    encode_type: &'a str,
}

impl<'a> View<'a> {
    pub(super) fn new(
        request: &'a SigningRequest,
        names: &'a dyn Names,
        encode_type: &'a str,
    ) -> Result<Self, SignError> {
        let domain = &request.typed.domain;
        let name = domain.name.as_deref().unwrap_or_default();
        let version = domain.version.as_deref().unwrap_or_default();
        let descriptor = Descriptor::of_domain(name, version);
        let format = descriptor.and_then(|descriptor| descriptor.format(encode_type));
        match (descriptor, format) {
            (Some(descriptor), Some(format)) => {
                Ok(Self { request, names, format, descriptor, encode_type })
            }
            _ => Err(refused("no descriptor says how to show it")),
        }
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.request.typed.domain.chain_id.map_or(0, |chain_id| chain_id.saturating_to())
    }

    pub(super) fn contract(&self) -> Address {
        self.request.typed.domain.verifying_contract.unwrap_or_default()
    }

    /// The network's name, if chain and contract are those of the network that the person works on.
    pub(super) fn network_name(&self) -> Option<String> {
        let network = self.names.network()?;
        let vote = self.request.typed.primary_type == "Vote";
        let contract = if vote { network.consortium } else { Some(network.ledger.contract) };
        let here = network.ledger.chain_id == self.chain_id() && contract == Some(self.contract());
        here.then(|| inert(&network.name))
    }

    /// An id in a sentence: name and shortened address, or the whole address of a stranger.
    pub(super) fn who(&self, id: Address) -> String {
        if id.is_zero() {
            return "every active organization".to_owned();
        }
        match self.names.name(id) {
            Some(known) if known.own => format!("you ({})", short(id)),
            Some(known) => format!("{} ({})", inert(&known.name), short(id)),
            None => format!("{id:#x}"),
        }
    }

    /// An id in a field: name and the whole address.
    fn whole(&self, id: Address) -> String {
        if id.is_zero() {
            return format!("nobody in particular ({id:#x})");
        }
        match self.names.name(id) {
            Some(known) if known.own => format!("you, {} {id:#x}", inert(&known.name)),
            Some(known) => format!("{} {id:#x}", inert(&known.name)),
            None => format!("not in your contacts {id:#x}"),
        }
    }

    /// A segment by name, or by number.
    pub(super) fn segment(&self, patient: Address, segment: Segment) -> String {
        match self.names.segment(patient, segment) {
            Some(name) => plain(&name),
            None => format!("segment {segment}"),
        }
    }

    /// Segments for a sentence: at most eight names, then how many more.
    pub(super) fn segments(&self, patient: Address, segments: SegmentSet) -> String {
        match segments.len() {
            0 => "nothing".to_owned(),
            256 => "EVERYTHING".to_owned(),
            count => {
                let names = segments.iter().map(|segment| self.segment(patient, segment));
                let mut names: Vec<String> = names.take(MAX_NAMED).collect();
                if count > MAX_NAMED {
                    names.push(format!("{} more", count - MAX_NAMED));
                }
                join(&names)
            }
        }
    }

    /// Every segment of a set by name.
    pub(super) fn all_segments(&self, patient: Address, segments: SegmentSet) -> String {
        let names: Vec<String> =
            segments.iter().map(|segment| self.segment(patient, segment)).collect();
        if names.len() == 256 { "all 256 segments".to_owned() } else { names.join(", ") }
    }

    /// The descriptor's sentence with its values filled in.
    pub(super) fn interpolated(&self) -> Result<String, SignError> {
        let mut sentence = String::new();
        let mut rest = self.format.interpolated_intent.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (path, after) = after.split_once('}').ok_or_else(broken)?;
            let field = self.format.fields.iter().find(|field| field.path == path);
            let field = field.ok_or_else(broken)?;
            let values = self.values(field)?;
            let value = values.first().ok_or_else(broken)?;
            sentence.push_str(before);
            sentence.push_str(&match field.format {
                FieldFormat::AddressName => self.who(address(value)?),
                _ => self.value(field, value)?,
            });
            rest = after;
        }
        sentence.push_str(rest);
        sentence.push('.');
        Ok(sentence)
    }

    /// Every field as the descriptor labels it.
    pub(super) fn fields(&self) -> Result<Vec<Fact>, SignError> {
        let mut facts = Vec::new();
        for field in &self.format.fields {
            let values = self.values(field)?;
            let listed = field.path.contains("[]");
            if listed && values.is_empty() {
                facts.push(Fact { label: field.label.clone(), value: "none".to_owned() });
            }
            for (index, value) in values.iter().take(MAX_LISTED).enumerate() {
                let label = &field.label;
                let label = if listed { format!("{label} {}", index + 1) } else { label.clone() };
                facts.push(Fact { label, value: self.value(field, value)? });
            }
            if values.len() > MAX_LISTED {
                let value = format!("{} more, which the digest covers", values.len() - MAX_LISTED);
                facts.push(Fact { label: field.label.clone(), value });
            }
        }
        Ok(facts)
    }

    /// The values at a path such as `deadline`, `granted.[]` or `leaves.[].kind`.
    fn values(&self, field: &Field) -> Result<Vec<&'a Value>, SignError> {
        let mut values = vec![&self.request.typed.message];
        for step in field.path.split('.') {
            values = if step == "[]" {
                let lists: Option<Vec<&Vec<Value>>> =
                    values.into_iter().map(Value::as_array).collect();
                lists.ok_or_else(broken)?.into_iter().flatten().collect()
            } else {
                let found: Option<Vec<&Value>> =
                    values.into_iter().map(|value| value.get(step)).collect();
                found.ok_or_else(broken)?
            };
        }
        Ok(values)
    }

    fn value(&self, field: &Field, value: &Value) -> Result<String, SignError> {
        Ok(match field.format {
            FieldFormat::AddressName => self.whole(address(value)?),
            FieldFormat::Date => utc(number(value)?.saturating_to()),
            FieldFormat::Duration => duration(number(value)?.saturating_to()),
            FieldFormat::Enum => {
                let key = match value {
                    Value::Bool(flag) => flag.to_string(),
                    _ => number(value)?.to_string(),
                };
                let enumeration = field.enumeration().ok_or_else(broken)?;
                match self.descriptor.word(enumeration, &key) {
                    Some(word) => word.to_owned(),
                    None => format!("{key}, which Galen has no word for"),
                }
            }
            // Numbers above 32 bits travel in hex; a person counts in tens.
            FieldFormat::Raw if is_number(self.encode_type, &field.path) => {
                number(value)?.to_string()
            }
            FieldFormat::Raw => match value {
                Value::String(text) if is_hex(text) => text.clone(),
                Value::String(text) => inert(text),
                _ => number(value)?.to_string(),
            },
        })
    }
}

/// Names of the purposes in a set of bits.
pub(super) fn purposes(bits: u32) -> String {
    let names: Vec<String> = (0..u32::BITS)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| purpose_word(bit).map_or_else(|| format!("purpose {bit}"), str::to_owned))
        .collect();
    if names.is_empty() { "no purpose".to_owned() } else { join(&names) }
}

/// `a, b and c`.
pub(super) fn join(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A grave warning.
pub(super) fn danger(code: &'static str, text: impl Into<String>) -> Warning {
    Warning { code, danger: true, text: text.into() }
}

/// A warning.
pub(super) fn caution(code: &'static str, text: impl Into<String>) -> Warning {
    Warning { code, danger: false, text: text.into() }
}

/// First and last four bytes: enough to recognize what the book already vouches for by name.
fn short(id: Address) -> String {
    let text = format!("{id:x}");
    format!("0x{}…{}", &text[..8], &text[32..])
}

/// The name of a category, without the quotation marks of [`inert`] if it is a plain word.
fn plain(name: &str) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_');
    if name.len() <= 40 && name.chars().all(simple) { name.to_owned() } else { inert(name) }
}

/// Whether the field at a path such as `leaves.[].number` is a number, by the type string of the message.
/// The struct of a list is the one that is named after `[]`'s field.
fn is_number(encode_type: &str, path: &str) -> bool {
    let mut steps = path.split('.').filter(|step| *step != "[]");
    let mut at = encode_type.split(')').next();
    let mut found = None;
    while let (Some(step), Some(text)) = (steps.next(), at) {
        let (_, members) = text.split_once('(').unwrap_or_default();
        let mut members = members.split(',').filter_map(|member| member.split_once(' '));
        found = members.find(|(_, name)| *name == step).map(|(kind, _)| kind);
        at = found.and_then(|kind| {
            let name = kind.trim_end_matches("[]");
            let is = |text: &&str| text.split_once('(').is_some_and(|(is, _)| is == name);
            encode_type.split(')').find(is)
        });
    }
    found.is_some_and(|kind| kind.starts_with("uint") && !kind.starts_with("uint256"))
}

/// Hashes in canonical form are shown bare; a text that merely begins like one is quoted.
fn is_hex(text: &str) -> bool {
    text.strip_prefix("0x").is_some_and(|digits| {
        digits.len() <= 64 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn address(value: &Value) -> Result<Address, SignError> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(broken)
}

fn number(value: &Value) -> Result<U256, SignError> {
    let number = match value {
        Value::Number(number) => number.as_u64().map(U256::from),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(broken)
}

fn broken() -> SignError {
    refused("its descriptor does not fit the message")
}
