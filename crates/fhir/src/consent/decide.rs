//! The decision: deny overrides, default deny.

use super::{
    Actor, Code, Confidentiality, ConsentDocument, Policy, Rule, RuleKind,
    matching::{Answer, Criteria, played, same_reference},
    vocabulary::is_sensitivity,
};
use crate::Category;

/// Somebody who wants to read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Party {
    /// References by which consents may name them, like `Organization/f001`: themselves, and what they
    /// belong to.
    pub references: Vec<String>,
    /// Identifiers by which consents may name them.
    pub identifiers: Vec<Code>,
    /// References of others, who they certainly are not.
    pub not: Vec<String>,
    /// They may be known by more names than these. Then a denial of anybody else hits them, too.
    pub open: bool,
}

impl Party {
    /// Somebody known by one reference.
    pub fn by_reference(reference: impl Into<String>) -> Self {
        Self { references: vec![reference.into()], ..Self::default() }
    }

    /// Whether an actor of a provision is this one.
    pub(super) fn is(&self, actor: &Actor) -> Answer {
        // Who belongs to these is not written in the Consent.
        const GROUPS: [&str; 4] =
            ["Group/", "CareTeam/", "PractitionerRole/", "HealthcareService/"];
        let by_identifier =
            actor.identifier.as_ref().is_some_and(|it| self.identifiers.contains(it));
        if by_identifier {
            return Answer::Yes;
        }
        let Some(reference) = actor.reference.as_deref() else {
            let known = actor.identifier.is_some() && !self.open && !self.identifiers.is_empty();
            return if known { Answer::No } else { Answer::Maybe };
        };
        let known = self.references.iter().map(|it| same_reference(it, reference));
        let known = known.max().unwrap_or(Answer::Maybe);
        let group = GROUPS.iter().any(|it| reference.contains(it));
        let doubt = group || (self.open && !self.not.iter().any(|it| it == reference));
        if known == Answer::No && doubt { Answer::Maybe } else { known }
    }
}

/// What is known of the data that is to be read. `None` is unknown: it never lets a rule permit, and
/// always lets a rule deny.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Data {
    /// The category in which Galen keeps it.
    pub category: Option<Category>,
    /// The resource type.
    pub resource_type: Option<String>,
    /// Other classes, such as media types.
    pub classes: Option<Vec<Code>>,
    /// Its codings: code and category.
    pub codes: Option<Vec<Code>>,
    /// Its security labels but confidentiality, all of them.
    pub labels: Vec<Code>,
    /// Its confidentiality.
    pub confidentiality: Option<Confidentiality>,
    /// When it was made, in Unix seconds.
    pub time: Option<i64>,
    /// Its own reference.
    pub instance: Option<String>,
    /// References of what it is about: encounter, order, …
    pub related: Option<Vec<String>>,
    /// References of who wrote it.
    pub authors: Option<Vec<String>>,
    /// References of who keeps it.
    pub custodians: Option<Vec<String>>,
}

impl Data {
    /// Takes over `meta.security`. Data that says no confidentiality is normal, or restricted if it has a
    /// sensitivity label.
    #[must_use]
    pub fn labelled(mut self, labels: impl IntoIterator<Item = Code>) -> Self {
        let (levels, labels): (Vec<Code>, Vec<Code>) =
            labels.into_iter().partition(|code| Confidentiality::of(code).is_some());
        let sensitive = labels.iter().any(is_sensitivity);
        let default = if sensitive { Confidentiality::Restricted } else { Confidentiality::Normal };
        let stated = levels.iter().filter_map(Confidentiality::of).max();
        self.confidentiality = Some(stated.unwrap_or(default));
        self.labels = labels;
        self
    }
}

/// Who wants to read what, why and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who.
    pub actor: Party,
    /// Why.
    pub purpose: Code,
    /// When, in Unix seconds.
    pub time: i64,
    /// What.
    pub data: Data,
}

/// Why it was decided so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A provision permits it and none denies it.
    Permitted,
    /// A provision denies it.
    Denied,
    /// Something is not known that a denial depends on.
    DeniedInDoubt,
    /// No provision of a valid Consent permits it.
    NotPermitted,
    /// The Consents are not active, not verified, not about data or not understood.
    NotInForce,
}

impl Why {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Permitted => "a provision permits it",
            Self::Denied => "a provision denies it",
            Self::DeniedInDoubt => "a provision may deny it, and what would tell is not known",
            Self::NotPermitted => "no provision permits it",
            Self::NotInForce => "no Consent is in force",
        }
    }
}

/// The decision, and the provision that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be read.
    pub permitted: bool,
    /// Why.
    pub why: Why,
    /// Index of the deciding Consent, and its provision; none if no provision speaks of the question.
    pub by: Option<(usize, String)>,
    /// Actors of which it cannot be said whether they are the one who asks: a Group, a name alone. They
    /// permit nothing.
    pub unresolved: Vec<(usize, String)>,
}

/// Decides by all Consents of a patient: one that denies overrides every one that permits, and what
/// nothing permits is denied.
pub fn decide(consents: &[ConsentDocument], question: &Question) -> Decision {
    let mut permit = None;
    let mut deny: Option<(Answer, usize, String)> = None;
    let mut unresolved = Vec::new();
    let mut in_force = false;
    for (at, consent) in consents.iter().enumerate().filter(|(_, it)| it.active && it.about_data) {
        let Some(root) = &consent.rule else {
            in_force = true;
            let outcome =
                base(consent, question).map(|kind| (kind, Answer::Yes, "Consent.policyRule"));
            note(outcome, at, consent, &mut permit, &mut deny);
            continue;
        };
        in_force |= consent.verified && !consent.unclear;
        doubtful(root, question, at, &mut unresolved);
        let outcome = root_outcome(consent, root, question);
        note(outcome, at, consent, &mut permit, &mut deny);
    }
    let (why, by) = match (deny, permit) {
        (Some((Answer::Yes, at, path)), _) => (Why::Denied, Some((at, path))),
        (Some((_, at, path)), _) => (Why::DeniedInDoubt, Some((at, path))),
        (None, Some(by)) => (Why::Permitted, Some(by)),
        (None, None) if in_force => (Why::NotPermitted, None),
        (None, None) => (Why::NotInForce, None),
    };
    Decision { permitted: why == Why::Permitted, why, by, unresolved }
}

type Outcome<'a> = Option<(RuleKind, Answer, &'a str)>;

/// Takes note of what one Consent says. One that is not verified or not understood can still deny.
fn note(
    outcome: Outcome<'_>,
    at: usize,
    consent: &ConsentDocument,
    permit: &mut Option<(usize, String)>,
    deny: &mut Option<(Answer, usize, String)>,
) {
    match outcome {
        Some((RuleKind::Permit, ..)) if !consent.verified || consent.unclear => {}
        Some((RuleKind::Permit, _, path)) => {
            permit.get_or_insert((at, path.to_owned()));
        }
        Some((RuleKind::Deny, answer, path))
            if deny.as_ref().is_none_or(|(known, ..)| *known < answer) =>
        {
            *deny = Some((answer, at, path.to_owned()));
        }
        Some((RuleKind::Deny, ..)) | None => {}
    }
}

/// What `policyRule` says of everything.
fn base(consent: &ConsentDocument, question: &Question) -> Option<RuleKind> {
    match consent.policy? {
        Policy::OptIn if emergency_fits(consent, question) => Some(RuleKind::Permit),
        Policy::OptIn => None,
        Policy::OptOut => Some(RuleKind::Deny),
    }
}

fn emergency_fits(consent: &ConsentDocument, question: &Question) -> bool {
    let emergency = matches!(question.purpose.code.as_str(), "ETREAT" | "BTG" | "ERTREAT");
    !consent.emergency_only || emergency
}

/// What the root provision does to what it matches, and what holds for the rest.
fn root_kind(consent: &ConsentDocument, root: &Rule) -> (Option<RuleKind>, Option<RuleKind>) {
    use RuleKind::{Deny, Permit};
    let opted_in = (consent.policy == Some(Policy::OptIn)).then_some(Permit);
    match (root.kind, consent.policy) {
        (Some(Permit), _) => (Some(Permit), None),
        // Agreed, with an exception.
        (Some(Deny), _) => (Some(Deny), opted_in),
        // R4 wants no type here. With permits below, it is the frame around them.
        (None, _) if root.permits_below() => (None, None),
        (None, Some(Policy::OptIn)) if !root.is_limited() => (Some(Permit), None),
        // R4: a provision is an exception to the policy.
        (None, Some(Policy::OptIn)) => (Some(Deny), opted_in),
        (None, Some(Policy::OptOut)) => {
            let recipient = |actor: &Actor| actor.role == super::ActorRole::Recipient;
            let adds = root.actors.iter().any(recipient);
            (Some(if adds { Permit } else { Deny }), None)
        }
        (None, None) => (None, None),
    }
}

fn root_outcome<'a>(consent: &ConsentDocument, root: &'a Rule, question: &Question) -> Outcome<'a> {
    // Outside of the root's period, the whole Consent says nothing.
    let in_period = root.period.map_or(Some(true), |span| span.contains(question.time));
    if in_period == Some(false) {
        return None;
    }
    let (kind, rest) = root_kind(consent, root);
    let outcome = outcome(root, kind, &Criteria::of(root), in_period, question);
    let outcome = outcome.or_else(|| {
        let path = "Consent.policyRule";
        rest.filter(|_| in_period == Some(true)).map(|kind| (kind, Answer::Yes, path))
    });
    outcome.filter(|(kind, ..)| *kind == RuleKind::Deny || emergency_fits(consent, question))
}

/// What a rule and its exceptions say: an exception overrides the rule, and among exceptions a denial
/// overrides.
fn outcome<'a>(
    rule: &'a Rule,
    kind: Option<RuleKind>,
    criteria: &Criteria<'a>,
    in_period: Option<bool>,
    question: &Question,
) -> Outcome<'a> {
    let (mut permit, mut deny): (Outcome<'a>, Outcome<'a>) = (None, None);
    for inner in &rule.rules {
        let own = inner.period.map_or(Some(true), |span| span.contains(question.time));
        let in_period = match (in_period, own) {
            (_, Some(false)) => continue,
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        // An exception must say what it does; one that does not, denies.
        let kind = inner.kind.unwrap_or(RuleKind::Deny);
        let criteria = match kind {
            RuleKind::Permit => Criteria::of(inner).below(criteria),
            // A denial holds as far as its own words go.
            RuleKind::Deny => Criteria::of(inner),
        };
        match outcome(inner, Some(kind), &criteria, in_period, question) {
            Some(found @ (RuleKind::Permit, ..)) => permit = permit.or(Some(found)),
            Some(found) if deny.is_none_or(|(_, known, _)| known < found.1) => deny = Some(found),
            _ => {}
        }
    }
    deny.or(permit).or_else(|| {
        let kind = kind?;
        let in_time = Answer::from(in_period);
        let answer = criteria.answer(question, kind).min(in_time);
        let holds = match kind {
            RuleKind::Permit => answer == Answer::Yes,
            RuleKind::Deny => answer != Answer::No,
        };
        holds.then_some((kind, answer, rule.path.as_str()))
    })
}

/// Actors that may or may not be the one who asks.
fn doubtful(rule: &Rule, question: &Question, at: usize, found: &mut Vec<(usize, String)>) {
    let recipients = rule.actors.iter().filter(|it| it.role == super::ActorRole::Recipient);
    let doubtful = recipients.filter(|it| played(it, question) == Answer::Maybe);
    found.extend(doubtful.map(|actor| (at, actor.path.clone())));
    for inner in &rule.rules {
        self::doubtful(inner, question, at, found);
    }
}
