//! What an author wants kept together, beyond what R4 says.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{PartsError, names};
use crate::table::TABLE;

/// Rules of one policy.
pub const MAX_POLICY_RULES: usize = 256;

/// An author's rules: what is not cut, and what joins a core. Empty by default.
///
/// In the site file: `[signing]`, `whole = ["DiagnosticReport", "Observation.component"]`,
/// `core = ["Observation.interpretation"]`. Written and read as one line of text, sorted:
/// `core=Observation.interpretation;whole=DiagnosticReport,Observation.component`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigningPolicy {
    /// Resource types, or elements of one, that are shown or hidden only as a whole.
    pub whole: BTreeSet<String>,
    /// Elements that are shown whenever anything of what they stand in is.
    pub core: BTreeSet<String>,
}

/// A policy whose names were found in the table.
#[derive(Debug, Default)]
pub(super) struct Rules {
    whole_structures: BTreeSet<usize>,
    whole: BTreeSet<(usize, usize)>,
    core: BTreeSet<(usize, usize)>,
}

impl SigningPolicy {
    /// Looks all names up.
    ///
    /// # Errors
    ///
    /// [`PartsError::UnknownElement`] with names that look alike, [`PartsError::TooManyPatterns`].
    pub fn check(&self) -> Result<(), PartsError> {
        self.resolve().map(drop)
    }

    pub(super) fn resolve(&self) -> Result<Rules, PartsError> {
        if self.whole.len() + self.core.len() > MAX_POLICY_RULES {
            return Err(PartsError::TooManyPatterns { limit: MAX_POLICY_RULES });
        }
        let mut rules = Rules::default();
        for rule in &self.whole {
            match resolve(rule)? {
                (structure, None) => rules.whole_structures.insert(structure),
                (structure, Some(slot)) => rules.whole.insert((structure, slot)),
            };
        }
        for rule in &self.core {
            let (structure, slot) = resolve(rule)?;
            let slot = slot.ok_or_else(|| PartsError::Pattern {
                pattern: rule.clone(),
                reason: "a core needs an element, as in Observation.interpretation",
            })?;
            rules.core.insert((structure, slot));
        }
        Ok(rules)
    }
}

impl Rules {
    /// Whether all elements of a structure stay together.
    pub(super) fn keeps_whole(&self, structure: usize) -> bool {
        self.whole_structures.contains(&structure)
    }

    /// Whether what stands in an element stays together.
    pub(super) fn keeps_slot_whole(&self, structure: usize, slot: usize) -> bool {
        self.whole.contains(&(structure, slot))
    }

    /// Whether an element joins the core.
    pub(super) fn joins_core(&self, structure: usize, slot: usize) -> bool {
        self.core.contains(&(structure, slot))
    }
}

/// The structure and the slot that a rule means.
pub(super) fn resolve(rule: &str) -> Result<(usize, Option<usize>), PartsError> {
    let unknown = |name: &str, near| PartsError::UnknownElement {
        pattern: rule.to_owned(),
        name: name.to_owned(),
        near,
    };
    let mut segments = rule.split('.');
    let first = segments.next().unwrap_or_default();
    let found = TABLE.resource(first).or_else(|| TABLE.data_type(first));
    let mut structure = found.ok_or_else(|| unknown(first, names::near_types(first)))?;
    let mut slot = None;
    for name in segments {
        if let Some(last) = slot {
            let inner = names::fields(TABLE.structure(structure), last).find_map(names::below);
            structure = inner.ok_or_else(|| unknown(name, Vec::new()))?;
        }
        let near = || names::near(&[structure], name);
        let one = TABLE.structure(structure);
        let field = names::fields(one, name).next().ok_or_else(|| unknown(name, near()))?;
        slot = Some(one.slots[field.slot].name);
    }
    Ok((structure, slot.and_then(|name| TABLE.structure(structure).slot(name))))
}

impl fmt::Display for SigningPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |rules: &BTreeSet<String>| rules.iter().cloned().collect::<Vec<_>>().join(",");
        write!(f, "core={};whole={}", list(&self.core), list(&self.whole))
    }
}

/// Reads only what [`fmt::Display`] writes: one policy has one text.
impl FromStr for SigningPolicy {
    type Err = PartsError;

    fn from_str(text: &str) -> Result<Self, PartsError> {
        let wrong = || PartsError::Pattern {
            pattern: text.chars().take(super::pattern::MAX_PATTERN_LEN).collect(),
            reason: "not the text of a signing policy",
        };
        let rest = text.strip_prefix("core=").ok_or_else(wrong)?;
        let (core, whole) = rest.split_once(";whole=").ok_or_else(wrong)?;
        let list = |rules: &str| {
            rules.split(',').filter(|rule| !rule.is_empty()).map(str::to_owned).collect()
        };
        let policy = Self { whole: list(whole), core: list(core) };
        if policy.to_string() != text {
            return Err(wrong());
        }
        policy.check()?;
        Ok(policy)
    }
}
