//! What a Consent says that a grant cannot express, in words.

use galen_types::Purpose;

use super::{
    Actor, ActorRole, Code, Confidentiality, ConsentDocument, GranteeMap, ImportOptions, Policy,
    Rule, RuleKind,
    import::{ANYBODY, resolve, rules},
    vocabulary::{
        ACT_REASON, RESOURCE_TYPES, category_of_code, is_duty, is_transform, resource_types,
    },
};
use crate::Category;

const NOTHING: &str = "nothing is granted";
const LESS: &str = "left out: grants less";

/// Something in a Consent that a grant cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Index of the Consent.
    pub consent: usize,
    /// The element.
    pub path: String,
    /// What it is, in words, with its codes and references.
    pub what: String,
    /// What follows from it.
    pub effect: &'static str,
}

/// Collects notes on one Consent.
struct Notes<'a> {
    consent: usize,
    map: &'a GranteeMap,
    options: &'a ImportOptions,
    found: Vec<Note>,
}

/// The notes on one Consent, in the order of the document.
pub(super) fn notes(
    at: usize,
    consent: &ConsentDocument,
    map: &GranteeMap,
    options: &ImportOptions,
) -> Vec<Note> {
    let mut notes = Notes { consent: at, map, options, found: Vec::new() };
    notes.whole(consent);
    for rule in rules(consent) {
        rule.actors.iter().for_each(|actor| notes.actor(rule, actor));
        notes.criteria(rule);
        notes.labels(rule);
    }
    notes.found
}

impl Notes<'_> {
    fn add(&mut self, path: impl Into<String>, what: impl Into<String>, effect: &'static str) {
        let (path, what) = (path.into(), what.into());
        self.found.push(Note { consent: self.consent, path, what, effect });
    }

    /// Why nothing at all is granted, or to nobody.
    fn whole(&mut self, consent: &ConsentDocument) {
        let emergencies = "only emergency purposes are granted";
        let opted_out = consent.policy == Some(Policy::OptOut);
        for (says, path, what, effect) in [
            (!consent.active, "status", "the Consent is not active", NOTHING),
            (!consent.about_data, "scope", "it is not about privacy or research", NOTHING),
            (!consent.verified, "verification", "the Consent is not verified", NOTHING),
            (consent.unclear, "modifierExtension", "a modifier that Galen does not know", NOTHING),
            (opted_out, "policyRule", "the patient opted out", "only what is added is granted"),
            (consent.emergency_only, "category", "it is for emergencies", emergencies),
        ] {
            if says {
                self.add(format!("Consent.{path}"), what, effect);
            }
        }
        let rules = rules(consent);
        let names = |rule: &&Rule| rule.actors.iter().any(|it| it.role == ActorRole::Recipient);
        if !rules.iter().any(names) && !self.map.contains_key(ANYBODY) {
            let path = rules.first().map_or("Consent", |root| root.path.as_str());
            self.add(path, "no recipient is named", "nothing is granted without a map of `*`");
        }
    }

    fn actor(&mut self, rule: &Rule, actor: &Actor) {
        let name = actor.name().unwrap_or_else(|| "a name without a reference".to_owned());
        let cut = cut(rule);
        let denies = rule.kind == Some(RuleKind::Deny);
        match actor.role {
            ActorRole::Recipient if resolve(actor, self.map, self.options).is_some() => {}
            ActorRole::Recipient => {
                let effect = if denies { "denied to everybody" } else { "gets nothing" };
                self.add(&actor.path, format!("{name} is nobody in the map"), effect);
            }
            ActorRole::Custodian => self.add(&actor.path, format!("data that {name} keeps"), cut),
            ActorRole::Author => self.add(&actor.path, format!("data that {name} wrote"), cut),
            ActorRole::Other => self.add(&actor.path, "a role that Galen does not know", cut),
        }
    }

    fn criteria(&mut self, rule: &Rule) {
        let cut = cut(rule);
        let at = |name: &str| format!("{}.{name}", rule.path);
        if rule.data_period.is_some() {
            self.add(at("dataPeriod"), "data of a stretch of time", cut);
        }
        if !rule.data.is_empty() {
            let named = rule.data.iter().filter_map(|it| it.reference.as_deref());
            let named: Vec<&str> = named.collect();
            self.add(at("data"), format!("single records: {}", named.join(", ")), cut);
        }
        let by_category = |codes: &[Code]| codes.iter().any(|it| category_of_code(it).is_some());
        if !rule.codes.is_empty() && !by_category(&rule.codes) {
            self.add(at("code"), format!("codes {}", list(&rule.codes)), cut);
        }
        let is_foreign =
            |it: &&Code| it.system != ACT_REASON || it.code.parse::<Purpose>().is_err();
        let foreign: Vec<Code> = rule.purposes.iter().filter(is_foreign).cloned().collect();
        if !foreign.is_empty() {
            self.add(at("purpose"), format!("purposes {}", list(&foreign)), LESS);
        }
        if !rule.classes.is_empty() && !by_category(&rule.labels) && !whole(&rule.classes) {
            let what = format!("{} without the rest of a category", list(&rule.classes));
            self.add(at("class"), what, cut);
        }
        if rule.unclear && !rule.labels.iter().any(is_transform) {
            self.add(&rule.path, "a criterion that cannot be read", cut);
        }
        if rule.extended {
            self.add(at("extension"), "an extension", "passed over, as FHIR allows");
        }
        if rule.kind.is_none() && rule.path != "Consent.provision" {
            self.add(&rule.path, "an exception without a type", "denies");
        }
    }

    fn labels(&mut self, rule: &Rule) {
        let path = format!("{}.securityLabel", rule.path);
        let of = |test: fn(&Code) -> bool| {
            let found: Vec<Code> = rule.labels.iter().filter(|it| test(it)).cloned().collect();
            (!found.is_empty()).then(|| list(&found))
        };
        let by_category = of(|it| category_of_code(it).is_some()).is_some();
        if let Some(levels) = of(|it| Confidentiality::of(it).is_some())
            && !self.options.labels_as_categories
            && !by_category
        {
            let what = format!("confidentiality {levels}, which no category stands for");
            self.add(&path, what, cut(rule));
        }
        if let Some(duties) = of(is_duty) {
            let effect = "tell the reader: Galen cannot hold them to it";
            self.add(&path, format!("the obligation {duties}"), effect);
        }
        if let Some(changes) = of(is_transform) {
            self.add(&path, format!("the obligation {changes} to change the data"), cut(rule));
        }
    }
}

/// What follows where a criterion cannot be kept.
fn cut(rule: &Rule) -> &'static str {
    let denies = rule.kind == Some(RuleKind::Deny);
    if denies { "left out: everything that it may deny" } else { LESS }
}

fn list(codes: &[Code]) -> String {
    codes.iter().map(|code| code.code.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether the resource types are those of whole categories.
fn whole(classes: &[Code]) -> bool {
    let named = |name: &&str| {
        classes.iter().any(|code| code.system == RESOURCE_TYPES && code.code == **name)
    };
    let is_whole = |category: &Category| {
        let types = resource_types(*category);
        !types.is_empty() && types.iter().all(named)
    };
    let categories = Category::ALL.into_iter().filter(is_whole);
    let covered: Vec<&str> = categories.flat_map(resource_types).collect();
    classes.iter().all(|code| covered.contains(&code.code.as_str()))
}
