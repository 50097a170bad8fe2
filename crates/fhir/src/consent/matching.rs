//! Whether a provision speaks of a question: yes, no, or it cannot be said.

use super::{
    ActorRole, Code, Confidentiality, DataRule, Question, Rule, RuleKind, Span,
    vocabulary::{
        self, RESOURCE_TYPES, category_of_code, category_of_label, is_sensitivity, label_covers,
        purpose_covers,
    },
};
use crate::Category;

/// An answer on three values, ordered so that `and` is `min` and `or` is `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    No,
    Maybe,
    Yes,
}

use Answer::{Maybe, No, Yes};

impl From<bool> for Answer {
    fn from(value: bool) -> Self {
        if value { Yes } else { No }
    }
}

impl From<Option<bool>> for Answer {
    fn from(value: Option<bool>) -> Self {
        value.map_or(Maybe, Self::from)
    }
}

/// Whether one of many; `Yes` if there are none, since an absent criterion limits nothing.
fn any<T>(criteria: &[T], answer: impl FnMut(&T) -> Answer) -> Answer {
    criteria.iter().map(answer).max().unwrap_or(Yes)
}

/// The criteria of a rule, those that it has from the rules above it included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Criteria<'a> {
    pub(super) data_period: Option<&'a Span>,
    pub(super) actors: &'a [super::Actor],
    actions: &'a [Code],
    pub(super) labels: &'a [Code],
    pub(super) purposes: &'a [Code],
    pub(super) classes: &'a [Code],
    pub(super) codes: &'a [Code],
    pub(super) data: &'a [DataRule],
    unclear: bool,
}

impl<'a> Criteria<'a> {
    /// What a rule says itself.
    pub(super) fn of(rule: &'a Rule) -> Self {
        Self {
            data_period: rule.data_period.as_ref(),
            actors: &rule.actors,
            actions: &rule.actions,
            labels: &rule.labels,
            purposes: &rule.purposes,
            classes: &rule.classes,
            codes: &rule.codes,
            data: &rule.data,
            unclear: rule.unclear,
        }
    }

    /// What a permitting exception says: what it does not state itself, it has from above.
    pub(super) fn below(self, above: &Self) -> Self {
        fn or<'a, T>(own: &'a [T], above: &'a [T]) -> &'a [T] {
            if own.is_empty() { above } else { own }
        }
        Self {
            data_period: self.data_period.or(above.data_period),
            actors: or(self.actors, above.actors),
            actions: or(self.actions, above.actions),
            labels: or(self.labels, above.labels),
            purposes: or(self.purposes, above.purposes),
            classes: or(self.classes, above.classes),
            codes: or(self.codes, above.codes),
            data: or(self.data, above.data),
            unclear: self.unclear || above.unclear,
        }
    }

    /// Whether the rule speaks of the question, its period aside.
    pub(super) fn answer(&self, question: &Question, kind: RuleKind) -> Answer {
        let data = &question.data;
        let found = [
            if self.unclear { Maybe } else { Yes },
            self.actors(question),
            any(self.actions, action),
            any(self.purposes, |code| purpose_covers(code, &question.purpose).into()),
            self.data_period.map_or(Yes, |span| data.time.and_then(|at| span.contains(at)).into()),
            labels(self.labels, question, kind),
            any(self.classes, |code| class(code, question)),
            any(self.codes, |code| coded(code, question, data.codes.as_deref())),
            any(self.data, |rule| instance(rule, question)),
        ];
        found.into_iter().min().unwrap_or(No)
    }

    /// Each part that the rule names must be played by one of those that it names for it.
    fn actors(&self, question: &Question) -> Answer {
        let parts =
            [ActorRole::Recipient, ActorRole::Custodian, ActorRole::Author, ActorRole::Other];
        let part = |role| {
            let named = self.actors.iter().filter(|actor| actor.role == role);
            named.map(|actor| played(actor, question)).max().unwrap_or(Yes)
        };
        parts.into_iter().map(part).min().unwrap_or(Yes)
    }
}

/// Whether an actor is the one who asks, or who keeps or wrote the data.
pub(super) fn played(actor: &super::Actor, question: &Question) -> Answer {
    let data = &question.data;
    match actor.role {
        ActorRole::Recipient => question.actor.is(actor),
        ActorRole::Custodian => one_of(data.custodians.as_deref(), actor.reference.as_deref()),
        ActorRole::Author => one_of(data.authors.as_deref(), actor.reference.as_deref()),
        ActorRole::Other => Maybe,
    }
}

fn one_of(known: Option<&[String]>, wanted: Option<&str>) -> Answer {
    match (known, wanted) {
        (Some(known), Some(wanted)) => {
            known.iter().map(|it| same_reference(it, wanted)).max().unwrap_or(No)
        }
        _ => Maybe,
    }
}

/// Whether two references name the same: a relative one may or may not be the end of an absolute one.
pub(super) fn same_reference(one: &str, other: &str) -> Answer {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    if short == long {
        Yes
    } else if short.starts_with('#') || long.starts_with('#') {
        Maybe
    } else {
        let tail = long.strip_suffix(short).is_some_and(|head| head.ends_with('/'));
        if tail && !short.is_empty() { Maybe } else { No }
    }
}

/// Reading is asked for, nothing else.
fn action(code: &Code) -> Answer {
    match code.code.as_str() {
        "access" | "use" | "disclose" => Yes,
        "collect" | "correct" => No,
        _ => Maybe,
    }
}

fn class(code: &Code, question: &Question) -> Answer {
    let data = &question.data;
    if code.system == RESOURCE_TYPES {
        let is = |name: &String| *name == code.code;
        return data.resource_type.as_ref().map(is).into();
    }
    coded(code, question, data.classes.as_deref())
}

/// Whether data has a code. If it has codes of other systems alone, it may be the same thing.
fn coded(code: &Code, question: &Question, known: Option<&[Code]>) -> Answer {
    if let Some(category) = category_of_code(code) {
        return question.data.category.map(|known| known == category).into();
    }
    let Some(known) = known else { return Maybe };
    if known.contains(code) {
        Yes
    } else if known.iter().any(|it| it.system == code.system) {
        No
    } else {
        Maybe
    }
}

fn instance(rule: &DataRule, question: &Question) -> Answer {
    let data = &question.data;
    let Some(wanted) = rule.reference.as_deref() else { return Maybe };
    let itself = data.instance.as_deref().map_or(Maybe, |it| same_reference(it, wanted));
    match rule.meaning.as_str() {
        "instance" => itself,
        "related" => itself.max(one_of(data.related.as_deref(), Some(wanted))),
        "authoredby" => one_of(data.authors.as_deref(), Some(wanted)),
        // What hangs on a thing is not known here.
        _ => {
            if itself == Yes {
                Yes
            } else {
                Maybe
            }
        }
    }
}

/// Labels of data against the labels that a rule names.
fn labels(named: &[Code], question: &Question, kind: RuleKind) -> Answer {
    if named.is_empty() {
        return Yes;
    }
    let data = &question.data;
    let categories: Vec<Category> = named.iter().filter_map(category_of_code).collect();
    let by_category = match data.category {
        _ if categories.is_empty() => No,
        Some(category) => categories.contains(&category).into(),
        None => Maybe,
    };
    let sensitive =
        data.labels.iter().any(is_sensitivity) || data.category.is_some_and(Category::is_sensitive);
    // What is sensitive is restricted, whatever else it says.
    let level = data
        .confidentiality
        .map(|level| if sensitive { level.max(Confidentiality::Restricted) } else { level });
    let levels: Vec<Confidentiality> = named.iter().filter_map(Confidentiality::of).collect();
    let others: Vec<&Code> =
        named.iter().filter(|code| Confidentiality::of(code).is_none()).collect();
    let by_label = match kind {
        RuleKind::Permit => permits(&others, &levels, level, sensitive, question),
        RuleKind::Deny => denies(&others, &levels, level, question),
    };
    by_category.max(by_label)
}

/// A permit for a level holds for the levels below it. Sensitive data needs its most sensitive label named,
/// or a level that restricted data has.
fn permits(
    others: &[&Code],
    levels: &[Confidentiality],
    level: Option<Confidentiality>,
    sensitive: bool,
    question: &Question,
) -> Answer {
    let data = &question.data;
    let highest = levels.iter().max();
    let by_level = match (highest, level) {
        (None, _) => No,
        (Some(Confidentiality::VeryRestricted), _) => Yes,
        (Some(highest), Some(level)) => (level <= *highest).into(),
        (Some(highest), None) if sensitive && *highest < Confidentiality::Restricted => No,
        (Some(_), None) => Maybe,
    };
    let rank = |code: &Code| category_of_label(code).map_or(u8::MAX, Category::sensitivity);
    let needed: Vec<&Code> = data.labels.iter().filter(|code| is_sensitivity(code)).collect();
    let known = needed.iter().map(|code| rank(code)).filter(|rank| *rank < u8::MAX).max();
    let must = |code: &&&Code| rank(code) == u8::MAX || Some(rank(code)) == known;
    let named = |code: &&Code| others.iter().any(|it| label_covers(&it.code, &code.code));
    let by_name = !needed.is_empty() && needed.iter().filter(must).all(named);
    by_level.max(by_name.into())
}

/// A denial of a level holds for the levels above it, one of a sensitivity for its whole category.
fn denies(
    others: &[&Code],
    levels: &[Confidentiality],
    level: Option<Confidentiality>,
    question: &Question,
) -> Answer {
    let data = &question.data;
    let by_level = match (levels.iter().min(), level) {
        (None, _) => No,
        (Some(Confidentiality::Unrestricted), _) => Yes,
        (Some(lowest), Some(level)) => (level >= *lowest).into(),
        (Some(_), None) => Maybe,
    };
    let hits = |named: &&&Code| {
        let category = category_of_label(named);
        let same = |label: &Code| {
            label_covers(&named.code, &label.code)
                || (category.is_some() && category_of_label(label) == category)
        };
        data.labels.iter().any(same) || (category.is_some() && data.category == category)
    };
    let by_name = others.iter().any(|named| hits(&named));
    // A label of an unknown system may stand for anything.
    let strange = |code: &&&Code| {
        let known = category_of_label(code).is_some() || code.system == vocabulary::ACT_CODE;
        !known && category_of_code(code).is_none() && code.system != vocabulary::ACT_REASON
    };
    let by_doubt = if others.iter().any(|code| strange(&code)) { Maybe } else { No };
    by_level.max(by_name.into()).max(by_doubt)
}
