//! From Consents to grants: never more than the documents allow.
//!
//! A grant opens whole categories, so a category is granted only if every record that it can hold may be
//! read. Each cell of grantee, category, purpose and stretch of time is asked of [`decide`], knowing of the
//! data nothing but its category; what the documents say beyond that leaves the cell out.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use galen_types::{LedgerId, Purpose, PurposeSet};

use super::{
    Actor, ActorRole, Code, Confidentiality, ConsentDocument, ConsentError, Data, Party, Question,
    Rule, RuleKind, decide,
    notes::{Note, notes},
    vocabulary::{self, ACT_REASON, labels, resource_types},
};
use crate::Category;

/// Who is meant by what a Consent names: a reference, `system|value` of an identifier, or `*` for
/// provisions that name no recipient.
pub type GranteeMap = BTreeMap<String, Address>;

/// The name in a [`GranteeMap`] for provisions that name no recipient.
pub(super) const ANYBODY: &str = "*";

/// Most questions times provisions that one plan may need.
const MAX_WORK: usize = 100_000_000;

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Unix second of the plan: what ended before is left out, what began before begins now.
    pub now: i64,
    /// Identifiers of this ledger name grantees without a map.
    pub ledger: Option<LedgerId>,
    /// Take confidentiality and sensitivity labels as categories: normal is what lies in no sensitive
    /// category, and a label stands for its whole category. Without it, a record in an ordinary category
    /// may be restricted, so that a permit for normal data alone grants nothing.
    pub labels_as_categories: bool,
}

/// Grants, and what did not become one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// By Consent, grantee and time.
    pub grants: Vec<PlannedGrant>,
    /// What cannot be expressed.
    pub notes: Vec<Note>,
}

/// One consent to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGrant {
    /// Index of the Consent that permits it.
    pub consent: usize,
    /// Who may read.
    pub grantee: Address,
    /// What, sorted.
    pub categories: Vec<Category>,
    /// Why.
    pub purposes: PurposeSet,
    /// First Unix second; none for now.
    pub from: Option<i64>,
    /// First Unix second at which it no longer holds; none if the Consent has no end.
    pub until: Option<i64>,
}

/// The grants that come nearest to what Consents allow, and never more.
///
/// # Errors
///
/// [`ConsentError::TooComplex`].
pub fn plan(
    consents: &[ConsentDocument],
    map: &GranteeMap,
    options: &ImportOptions,
) -> Result<Plan, ConsentError> {
    let edges = edges(consents, options.now);
    let rules: usize = consents.iter().map(|consent| rules(consent).len()).sum();
    let grantees = grantees(consents, map, options);
    let cells = Category::ALL.len() * Purpose::ALL.len();
    let work = [edges.len() + 1, grantees.len(), cells, consents.len(), rules];
    let work = work.into_iter().try_fold(1_usize, usize::checked_mul);
    if work.is_none_or(|work| work > MAX_WORK) {
        return Err(ConsentError::TooComplex);
    }
    let mut plan = Plan::default();
    for (at, consent) in consents.iter().enumerate() {
        plan.notes.extend(notes(at, consent, map, options));
        for (grantee, party) in &grantees {
            let source = Source { consents, at, party, options };
            let found = source.grants(*grantee, &edges);
            plan.grants.extend(found);
        }
    }
    Ok(plan)
}

pub(super) fn rules(consent: &ConsentDocument) -> Vec<&Rule> {
    let mut found = Vec::new();
    if let Some(root) = &consent.rule {
        root.walk(&mut found);
    }
    found
}

/// Seconds after now at which an answer can change.
fn edges(consents: &[ConsentDocument], now: i64) -> Vec<i64> {
    let rules = consents.iter().flat_map(rules);
    let edges: BTreeSet<i64> = rules
        .filter_map(|rule| rule.period)
        .flat_map(|span| span.edges().collect::<Vec<_>>())
        .collect();
    edges.into_iter().filter(|edge| *edge > now).collect()
}

/// Who an actor is: by the map, else by the ledger's own identifiers.
pub(super) fn resolve(actor: &Actor, map: &GranteeMap, options: &ImportOptions) -> Option<Address> {
    let by_reference = actor.reference.as_ref().and_then(|it| map.get(it));
    let identifier = actor.identifier.as_ref();
    let by_identifier = identifier.and_then(|it| map.get(&it.to_string()));
    by_reference.or(by_identifier).copied().or_else(|| {
        let ledger = options.ledger?.to_string();
        identifier.filter(|it| it.system == ledger)?.value_as_address()
    })
}

impl Code {
    fn value_as_address(&self) -> Option<Address> {
        self.code.parse().ok()
    }
}

/// Everybody to whom something may be granted, and by which names the Consents know them.
fn grantees(
    consents: &[ConsentDocument],
    map: &GranteeMap,
    options: &ImportOptions,
) -> BTreeMap<Address, Party> {
    let mut names = BTreeMap::<Address, Party>::new();
    let rules = consents.iter().flat_map(rules);
    let recipients: Vec<&Actor> =
        rules.flat_map(|rule| &rule.actors).filter(|it| it.role == ActorRole::Recipient).collect();
    for actor in &recipients {
        if let Some(grantee) = resolve(actor, map, options) {
            let party = names.entry(grantee).or_default();
            party.references.extend(actor.reference.clone());
            party.identifiers.extend(actor.identifier.clone());
        }
    }
    if let Some(grantee) = map.get(ANYBODY) {
        names.entry(*grantee).or_default();
    }
    let known: Vec<(Address, Vec<String>)> =
        names.iter().map(|(grantee, party)| (*grantee, party.references.clone())).collect();
    for (grantee, party) in &mut names {
        party.open = true;
        let others = known.iter().filter(|(other, _)| other != grantee);
        party.not = others.flat_map(|(_, references)| references.clone()).collect();
        let own = |reference: &String| !party.references.contains(reference);
        party.not.retain(own);
    }
    names
}

/// One Consent among all, asked for one grantee.
struct Source<'a> {
    consents: &'a [ConsentDocument],
    at: usize,
    party: &'a Party,
    options: &'a ImportOptions,
}

/// What may be read: the categories of each set of purposes.
type Cells = BTreeMap<u32, Vec<Category>>;

impl Source<'_> {
    /// The grants of each stretch of time; neighbours with the same terms are one.
    fn grants(&self, grantee: Address, edges: &[i64]) -> Vec<PlannedGrant> {
        let purposes = self.purposes();
        let mut found: Vec<PlannedGrant> = Vec::new();
        let starts = std::iter::once(None).chain(edges.iter().copied().map(Some));
        for (nth, from) in starts.enumerate() {
            let until = edges.get(nth).copied();
            let cells = self.cells(from.unwrap_or(self.options.now), &purposes);
            for (purposes, categories) in cells {
                let purposes = PurposeSet(purposes);
                let grows = found.iter_mut().find(|it| {
                    from.is_some()
                        && it.until == from
                        && it.purposes == purposes
                        && it.categories == categories
                });
                match grows {
                    Some(before) => before.until = until,
                    None => found.push(PlannedGrant {
                        consent: self.at,
                        grantee,
                        categories,
                        purposes,
                        from,
                        until,
                    }),
                }
            }
        }
        found
    }

    /// The purposes that the Consent names itself; all where a permit names none.
    fn purposes(&self) -> Vec<Purpose> {
        let rules = rules(&self.consents[self.at]);
        let named = rules.iter().flat_map(|rule| &rule.purposes);
        let known = |code: &Code| (code.system == ACT_REASON).then(|| code.code.parse().ok())?;
        let mut named: Vec<Purpose> = named.filter_map(known).collect();
        let root = rules.first().is_none_or(|root| root.purposes.is_empty());
        let free = root
            && rules.iter().any(|it| it.kind != Some(RuleKind::Deny) && it.purposes.is_empty());
        if free || rules.is_empty() {
            return Purpose::ALL.to_vec();
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    fn cells(&self, time: i64, purposes: &[Purpose]) -> Cells {
        let mut cells = Cells::new();
        for category in Category::ALL {
            let may = |purpose: &&Purpose| self.may(category, **purpose, time);
            let set: PurposeSet = purposes.iter().filter(may).copied().collect();
            if set != PurposeSet::default() {
                cells.entry(set.0).or_default().push(category);
            }
        }
        cells
    }

    /// Whether every record of the category may be read.
    fn may(&self, category: Category, purpose: Purpose, time: i64) -> bool {
        let permitted = |data: Data| {
            let purpose = Code::purpose(purpose.code());
            let question = Question { actor: self.party.clone(), purpose, time, data };
            let own = &self.consents[self.at..=self.at];
            decide(own, &question).permitted && decide(self.consents, &question).permitted
        };
        let mut probes = probes(category, self.options.labels_as_categories).into_iter();
        if self.options.labels_as_categories && category.is_sensitive() {
            probes.any(permitted)
        } else {
            probes.all(permitted)
        }
    }
}

/// Everything that a category can hold, as far as a Consent can tell it apart.
fn probes(category: Category, labels_as_categories: bool) -> Vec<Data> {
    let data = Data { category: Some(category), ..Data::default() };
    if !category.is_sensitive() {
        let confidentiality = labels_as_categories.then_some(Confidentiality::Normal);
        let data = Data { confidentiality, ..data };
        let mut types: Vec<Option<&str>> = resource_types(category).into_iter().map(Some).collect();
        match category {
            // A report brings the observations that it refers to.
            Category::DiagnosticReports => types.push(Some(vocabulary::OBSERVATION)),
            // Parts of resources, which a rule for whole resources does not mean.
            Category::Demographics | Category::Network => types.push(None),
            _ => {}
        }
        let of = |it: Option<&str>| Data { resource_type: it.map(str::to_owned), ..data.clone() };
        return types.into_iter().map(of).collect();
    }
    let confidentiality = labels_as_categories.then_some(Confidentiality::Restricted);
    let data = Data { confidentiality, ..data };
    let code = |label: &&str| Code::new(vocabulary::ACT_CODE, *label);
    // The most sensitive label of a record decides where it lies, so it may have others below.
    let below = Category::ALL.into_iter().filter(|it| it.sensitivity() < category.sensitivity());
    let below: Vec<Code> = below.flat_map(labels).map(code).collect();
    let mut probes = Vec::new();
    for label in labels(category).iter().map(code) {
        probes.push(Data { labels: vec![label.clone()], ..data.clone() });
        if !labels_as_categories {
            let both = |other: &Code| vec![label.clone(), other.clone()];
            probes.extend(below.iter().map(|it| Data { labels: both(it), ..data.clone() }));
        }
    }
    probes
}
