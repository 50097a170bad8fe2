//! What a Consent says, read from an accepted document.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use super::{
    ConsentError, MAX_CONSENTS, MAX_RULES, Span,
    vocabulary::{ACT_CODE, ACT_REASON, is_transform},
};
use crate::{Document, Node};

/// A coding: system and code. An absent system is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Code {
    /// The code system.
    pub system: String,
    /// The code.
    pub code: String,
}

impl Code {
    /// A code of a system.
    pub fn new(system: impl Into<String>, code: impl Into<String>) -> Self {
        Self { system: system.into(), code: code.into() }
    }

    /// A purpose of use: a code of HL7 v3 ActReason.
    pub fn purpose(code: impl Into<String>) -> Self {
        Self::new(ACT_REASON, code)
    }

    fn read(coding: Node<'_>) -> Option<Self> {
        let code = coding.get("code")?.text()?.into_owned();
        let system = coding.get("system").and_then(Node::text).map(Cow::into_owned);
        Some(Self { system: system.unwrap_or_default(), code })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.system, self.code)
    }
}

/// Whether a provision permits or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Permits what it matches.
    Permit,
    /// Denies what it matches.
    Deny,
}

/// What `policyRule` says to everything that no provision names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// `OPTIN`: the patient agrees.
    OptIn,
    /// `OPTOUT` or `OPTOUTE`: the patient does not.
    OptOut,
}

/// Which part an actor of a provision plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorRole {
    /// Gets the data: `PRCP`, `IRCP`, `TRC`, `NOT`.
    Recipient,
    /// Keeps the data: `CST`.
    Custodian,
    /// Wrote the data: `AUT`.
    Author,
    /// A role that Galen does not know.
    Other,
}

/// An actor of a provision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Where it stands, like `Consent.provision.actor[0]`.
    pub path: String,
    /// Its part.
    pub role: ActorRole,
    /// `reference.reference`.
    pub reference: Option<String>,
    /// `reference.identifier`, as system and value.
    pub identifier: Option<Code>,
}

impl Actor {
    /// How the actor is named to people and in a map: its reference, else its identifier.
    pub fn name(&self) -> Option<String> {
        self.reference.clone().or_else(|| self.identifier.as_ref().map(ToString::to_string))
    }

    fn read(actor: Node<'_>, path: String) -> Self {
        let roles = concept(actor.get("role"));
        let role = roles.iter().map(|code| match code.code.as_str() {
            "PRCP" | "IRCP" | "TRC" | "NOT" => ActorRole::Recipient,
            "CST" => ActorRole::Custodian,
            "AUT" => ActorRole::Author,
            _ => ActorRole::Other,
        });
        let reference = actor.get("reference");
        let text = |names: &[&str]| {
            reference.and_then(|it| it.at(names)).and_then(Node::text).map(Cow::into_owned)
        };
        let value = text(&["identifier", "value"]);
        let system = text(&["identifier", "system"]).unwrap_or_default();
        Self {
            path,
            role: role.into_iter().next().unwrap_or(ActorRole::Other),
            reference: text(&["reference"]),
            identifier: value.map(|value| Code::new(system, value)),
        }
    }
}

/// One item of `provision.data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRule {
    /// `instance`, `related`, `dependents` or `authoredby`.
    pub meaning: String,
    /// The reference; none if it has only an identifier.
    pub reference: Option<String>,
}

/// A provision.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rule {
    /// Where it stands, like `Consent.provision.provision[2]`.
    pub path: String,
    /// `type`, if it has one.
    pub kind: Option<RuleKind>,
    /// When it holds.
    pub period: Option<Span>,
    /// The time of the data.
    pub data_period: Option<Span>,
    /// Who.
    pub actors: Vec<Actor>,
    /// What may be done.
    pub actions: Vec<Code>,
    /// Labels of the data.
    pub labels: Vec<Code>,
    /// Why.
    pub purposes: Vec<Code>,
    /// Kinds of data.
    pub classes: Vec<Code>,
    /// Codes of the data: any coding of any of the concepts.
    pub codes: Vec<Code>,
    /// Instances of data.
    pub data: Vec<DataRule>,
    /// It has a criterion that cannot be read or kept: a modifier extension, a primitive with an
    /// extension, a concept without a coding, an obligation to change the data.
    pub unclear: bool,
    /// It has an extension, which by FHIR's rules may be passed over.
    pub extended: bool,
    /// The exceptions to it.
    pub rules: Vec<Self>,
}

impl Rule {
    fn read(node: Node<'_>, path: String, left: &mut usize) -> Result<Self, ConsentError> {
        *left = left.checked_sub(1).ok_or(ConsentError::TooManyRules { limit: MAX_RULES })?;
        let mut rule = Self { path, ..Self::default() };
        for (name, value) in node.members() {
            match name.as_ref() {
                "type" => {
                    rule.kind = value.text().map(|text| match text.as_ref() {
                        "permit" => RuleKind::Permit,
                        _ => RuleKind::Deny,
                    });
                }
                "period" => rule.period = Some(Span::read(value)),
                "dataPeriod" => rule.data_period = Some(Span::read(value)),
                "actor" => {
                    let path = |at| format!("{}.actor[{at}]", rule.path);
                    let actors = value.items().enumerate();
                    rule.actors = actors.map(|(at, actor)| Actor::read(actor, path(at))).collect();
                }
                "action" => rule.unclear |= !take_concepts(value, &mut rule.actions),
                "code" => rule.unclear |= !take_concepts(value, &mut rule.codes),
                "securityLabel" => rule.unclear |= !take_codings(value, &mut rule.labels),
                "purpose" => rule.unclear |= !take_codings(value, &mut rule.purposes),
                "class" => rule.unclear |= !take_codings(value, &mut rule.classes),
                "data" => rule.data = value.items().map(data_rule).collect(),
                "provision" => {
                    for (at, inner) in value.items().enumerate() {
                        let path = format!("{}.provision[{at}]", rule.path);
                        rule.rules.push(Self::read(inner, path, left)?);
                    }
                    continue;
                }
                "id" => {}
                "extension" => rule.extended = true,
                // `_type`, `modifierExtension`.
                _ => rule.unclear = true,
            }
            rule.unclear |= has_modifier(value);
        }
        rule.unclear |= rule.labels.iter().any(is_transform);
        Ok(rule)
    }

    /// Whether some exception below permits, as it says itself.
    pub(super) fn permits_below(&self) -> bool {
        self.rules.iter().any(|rule| rule.kind == Some(RuleKind::Permit) || rule.permits_below())
    }

    /// The rule and all exceptions below, in the order of the document.
    pub(super) fn walk<'a>(&'a self, found: &mut Vec<&'a Self>) {
        found.push(self);
        self.rules.iter().for_each(|rule| rule.walk(found));
    }

    /// Whether anything but its period limits it.
    pub(super) const fn is_limited(&self) -> bool {
        self.unclear
            || self.data_period.is_some()
            || !(self.actors.is_empty()
                && self.actions.is_empty()
                && self.labels.is_empty()
                && self.purposes.is_empty()
                && self.classes.is_empty()
                && self.codes.is_empty()
                && self.data.is_empty())
    }
}

/// A Consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentDocument {
    /// `id`, if it has one.
    pub id: Option<String>,
    /// Whether `status` is `active`.
    pub active: bool,
    /// Whether the scope is privacy or research: about data, and not about treatment itself.
    pub about_data: bool,
    /// Whether nothing says that the consent is unverified.
    pub verified: bool,
    /// Whether the category is `EMRGONLY`.
    pub emergency_only: bool,
    /// What `policyRule` says.
    pub policy: Option<Policy>,
    /// It has a modifier that Galen does not know: it permits nothing.
    pub unclear: bool,
    /// The root provision.
    pub rule: Option<Rule>,
}

impl ConsentDocument {
    /// Reads every Consent of a document.
    ///
    /// # Errors
    ///
    /// [`ConsentError`] if there is none, or too much.
    pub fn read_all(document: &Document<'_>) -> Result<Vec<Self>, ConsentError> {
        let is_consent = |node: Node<'_>| node.resource_type().as_deref() == Some("Consent");
        let mut found = Vec::new();
        for resource in document.resources().filter(|resource| is_consent(resource.node)) {
            if found.len() == MAX_CONSENTS {
                return Err(ConsentError::TooMany { limit: MAX_CONSENTS });
            }
            found.push(Self::read(resource.node)?);
        }
        if found.is_empty() {
            return Err(ConsentError::NoConsent { found: document.resource_type() });
        }
        Ok(found)
    }

    fn read(node: Node<'_>) -> Result<Self, ConsentError> {
        let text = |name: &str| node.get(name).and_then(Node::text).map(Cow::into_owned);
        let has = |name: &str, wanted: &[&str]| {
            let concepts = node.get(name).into_iter().flat_map(Node::items);
            let mut codes = concepts.flat_map(|it| concept(Some(it)));
            codes.any(|code| wanted.contains(&code.code.as_str()))
        };
        let verified = |it: Node<'_>| it.get("verified").and_then(Node::boolean) == Some(true);
        let verification = node.get("verification");
        let policy = concept(node.get("policyRule")).into_iter().find_map(|code| {
            let known = code.system.is_empty() || code.system == ACT_CODE;
            match code.code.as_str() {
                "OPTIN" if known => Some(Policy::OptIn),
                "OPTOUT" | "OPTOUTE" if known => Some(Policy::OptOut),
                _ => None,
            }
        });
        let mut left = MAX_RULES;
        let rule = node.get("provision");
        let rule = rule.map(|it| Rule::read(it, "Consent.provision".to_owned(), &mut left));
        let hidden = ["implicitRules", "modifierExtension", "_status"];
        Ok(Self {
            id: text("id"),
            active: text("status").as_deref() == Some("active"),
            about_data: has("scope", &["patient-privacy", "research"]),
            verified: verification.is_none_or(|it| it.items().any(verified)),
            emergency_only: has("category", &["EMRGONLY"]),
            policy,
            unclear: hidden.iter().any(|name| node.get(name).is_some()),
            rule: rule.transpose()?,
        })
    }
}

fn data_rule(node: Node<'_>) -> DataRule {
    let text = |names: &[&str]| node.at(names).and_then(Node::text).map(Cow::into_owned);
    DataRule {
        meaning: text(&["meaning"]).unwrap_or_default(),
        reference: text(&["reference", "reference"]),
    }
}

/// The codings of a CodeableConcept.
fn concept(concept: Option<Node<'_>>) -> Vec<Code> {
    let codings = concept.and_then(|it| it.get("coding"));
    codings.into_iter().flat_map(Node::items).filter_map(Code::read).collect()
}

/// Adds codings; `false` if one has no code.
fn take_codings(node: Node<'_>, to: &mut Vec<Code>) -> bool {
    let mut clear = true;
    for coding in node.items() {
        match Code::read(coding) {
            Some(code) => to.push(code),
            None => clear = false,
        }
    }
    clear
}

/// Adds the codings of concepts; `false` if one has none.
fn take_concepts(node: Node<'_>, to: &mut Vec<Code>) -> bool {
    let mut clear = true;
    for item in node.items() {
        let codes = concept(Some(item));
        clear &= !codes.is_empty();
        to.extend(codes);
    }
    clear
}

/// Whether a modifier extension or an extended primitive stands somewhere inside.
fn has_modifier(node: Node<'_>) -> bool {
    let inside = |(name, value): (Cow<'_, str>, Node<'_>)| {
        name == "modifierExtension" || name.starts_with('_') || has_modifier(value)
    };
    if node.is_array() { node.items().any(has_modifier) } else { node.members().any(inside) }
}
