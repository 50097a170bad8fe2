//! What a server answers with.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use galen_types::Plaintext;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FhirServerError, Query, Words};

/// What a server is and can, as its CapabilityStatement says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capability {
    /// Such as `4.0.1`.
    pub fhir_version: String,
    /// Resource types with the names of their search parameters.
    pub types: BTreeMap<String, Vec<String>>,
    /// Whether it has the operation `Patient/$everything`.
    pub everything: bool,
    /// Whether it takes transactions.
    pub transaction: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    resource_type: Cow<'a, str>,
    fhir_version: String,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    resource: Vec<RestResource>,
    #[serde(default)]
    interaction: Vec<Interaction>,
    #[serde(default)]
    operation: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestResource {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    search_param: Vec<Named>,
    #[serde(default)]
    operation: Vec<Named>,
}

#[derive(Deserialize)]
struct Interaction {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

impl Capability {
    pub(super) fn read(body: &[u8]) -> Result<Self, FhirServerError> {
        let malformed = FhirServerError::Malformed("no CapabilityStatement");
        let Ok(statement) = serde_json::from_slice::<Statement<'_>>(body) else {
            return Err(malformed);
        };
        if statement.resource_type != "CapabilityStatement" {
            return Err(malformed);
        }
        let mut found = Self { fhir_version: statement.fhir_version, ..Self::default() };
        let is_everything = |it: &Named| {
            matches!(it.name.trim_start_matches('$'), "everything" | "patient-everything")
        };
        for rest in statement.rest {
            found.transaction |= rest.interaction.iter().any(|it| it.code == "transaction");
            found.everything |= rest.operation.iter().any(is_everything);
            for resource in rest.resource {
                found.everything |=
                    resource.kind == "Patient" && resource.operation.iter().any(is_everything);
                let names = resource.search_param.into_iter().map(|it| it.name);
                found.types.entry(resource.kind).or_default().extend(names);
            }
        }
        Ok(found)
    }
}

/// One page of a search.
#[derive(Debug)]
pub struct Page {
    /// The resources, as the server wrote them.
    pub resources: Vec<Pulled>,
    /// What the server says about the search.
    pub said: Vec<Words>,
    /// Where the next page is.
    pub next: Option<Query>,
    /// Length of the answer, in bytes.
    pub bytes: u64,
}

/// A resource from a server.
pub struct Pulled {
    /// Its type.
    pub resource_type: String,
    /// Its id on the server.
    pub id: Option<String>,
    /// Its JSON on one line: only white space between values is taken out.
    pub json: Plaintext,
}

impl fmt::Debug for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pulled({})", self.resource_type)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    link: Vec<Link<'a>>,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow)]
    relation: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    outcome: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

impl Page {
    /// The page, and the link to the next one.
    pub(super) fn read(body: &[u8]) -> Result<(Self, Option<String>), FhirServerError> {
        let bundle = bundle(body)?;
        let mut page = Self {
            resources: Vec::with_capacity(bundle.entry.len()),
            said: Vec::new(),
            next: None,
            bytes: 0,
        };
        for raw in bundle.entry.iter().filter_map(|entry| entry.resource) {
            let head: Head<'_> = serde_json::from_str(raw.get())
                .map_err(|_| FhirServerError::Malformed("an entry without resourceType"))?;
            if head.resource_type == "OperationOutcome" {
                page.said.push(words(raw.get().as_bytes()));
                continue;
            }
            page.resources.push(Pulled {
                resource_type: head.resource_type.into_owned(),
                id: head.id.map(Cow::into_owned),
                json: Plaintext::new(compact(raw.get())),
            });
        }
        let next = bundle.link.iter().find(|link| link.relation == "next");
        Ok((page, next.map(|link| link.url.clone().into_owned())))
    }
}

fn bundle(body: &[u8]) -> Result<Bundle<'_>, FhirServerError> {
    match serde_json::from_slice::<Bundle<'_>>(body) {
        Ok(bundle) if bundle.resource_type == "Bundle" => Ok(bundle),
        Ok(_) => Err(FhirServerError::Malformed("another resource than a Bundle")),
        Err(_) => Err(FhirServerError::Malformed("no Bundle in JSON")),
    }
}

/// What a batch did not take: how many entries, of how many, and what is said of the first.
pub(super) fn refused_entries(body: &[u8]) -> Result<(usize, usize, Words), FhirServerError> {
    let bundle = bundle(body)?;
    let responses = bundle.entry.iter().filter_map(|entry| entry.response.as_ref());
    let refused: Vec<_> = responses.filter(|it| !it.status.starts_with('2')).collect();
    let said = refused.first().and_then(|it| it.outcome);
    let said = said.map(|raw| words(raw.get().as_bytes())).unwrap_or_default();
    Ok((refused.len(), bundle.entry.len(), said))
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    issue: Vec<Issue<'a>>,
}

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    diagnostics: Cow<'a, str>,
    #[serde(borrow, default)]
    details: Option<Details<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

/// The first issue of an OperationOutcome, made inert; nothing of anything else.
pub(super) fn words(body: &[u8]) -> Words {
    let outcome: Option<Outcome<'_>> = serde_json::from_slice(body).ok();
    let Some(issue) = outcome.and_then(|outcome| outcome.issue.into_iter().next()) else {
        return Words::default();
    };
    let text = issue.details.map(|details| details.text).filter(|text| !text.is_empty());
    let text = text.unwrap_or(issue.diagnostics);
    Words::new(&if text.is_empty() {
        issue.code.into_owned()
    } else {
        format!("{}: {text}", issue.code)
    })
}

/// JSON on one line: white space between values goes, every value stays as it is written.
pub(super) fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for byte in json.bytes() {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if inside || !space {
            out.push(byte);
        }
        if escaped {
            escaped = false;
        } else if inside && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            inside = !inside;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_takes_out_nothing_but_space_between_values() {
        for (from, to) in [
            ("{ \"a\" : 1.0100 ,\n\"b\":[ 1e-1 ] }", "{\"a\":1.0100,\"b\":[1e-1]}"),
            (r#"{"a": " \" { \\", "b" : "\u0020"}"#, r#"{"a":" \" { \\","b":"\u0020"}"#),
            (r#"{"ü" : "é "}"#, r#"{"ü":"é "}"#),
        ] {
            assert_eq!(compact(from), to.as_bytes());
        }
    }

    #[test]
    fn words_are_one_inert_line() {
        for (body, shown) in [
            (
                r#"{"issue":[{"code":"invalid","diagnostics":"bad\u001b[31m\nvalue"}]}"#,
                "invalid: bad?[31m?value",
            ),
            (
                r#"{"issue":[{"code":"x","details":{"text":"why"},"diagnostics":"stack"}]}"#,
                "x: why",
            ),
            (r#"{"issue":[{"code":"conflict"}]}"#, "conflict"),
            (r#"{"issue":[]}"#, ""),
            ("<html>", ""),
        ] {
            assert_eq!(words(body.as_bytes()).as_str(), shown, "{body}");
        }
        let long = format!(r#"{{"issue":[{{"diagnostics":"{}"}}]}}"#, "x".repeat(1_000));
        assert_eq!(words(long.as_bytes()).as_str().len(), 200);
    }
}
