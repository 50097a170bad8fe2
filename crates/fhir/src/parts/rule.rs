//! Elements that become a record of their own, beside the document that they are part of.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{MAX_PATTERNS, PartsError, Selection, policy};
use crate::{Category, Draft};

/// A record type with parts of its own: these elements of each resource of this type are proposed as one
/// more record, in a category that is granted by itself.
///
/// In the site file: `[[parts]]`, `type = "Patient"`, `elements = ["birthDate", "gender"]`,
/// `category = "demographics"`; or the category `network` for what every organization may see.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRule {
    /// The type of resource.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Names of its elements, as FHIR has them.
    pub elements: Vec<String>,
    /// Where they go.
    #[serde(deserialize_with = "category")]
    pub category: Category,
}

impl PartRule {
    /// Looks the names up.
    ///
    /// # Errors
    ///
    /// [`PartsError::UnknownElement`] with names that look alike, [`PartsError::TooManyPatterns`];
    /// [`PartsError::Pattern`] if it names no element.
    pub fn check(&self) -> Result<(), PartsError> {
        if self.elements.is_empty() {
            let reason = "a rule names elements";
            return Err(PartsError::Pattern { pattern: self.resource_type.clone(), reason });
        }
        if self.elements.len() > MAX_PATTERNS {
            return Err(PartsError::TooManyPatterns { limit: MAX_PATTERNS });
        }
        if let Some(inner) = self.elements.iter().find(|element| element.contains('.')) {
            let reason = "a rule names elements of the resource itself";
            return Err(PartsError::Pattern { pattern: inner.clone(), reason });
        }
        self.patterns().try_for_each(|pattern| policy::resolve(&pattern).map(drop))
    }

    /// Whether it is for a record: one that has such an element and is not sensitive, since what is granted
    /// apart must not tell of it.
    pub fn is_for(&self, draft: &Draft<'_>) -> bool {
        let category = draft.category();
        let mut own = draft.resources().filter(|(name, _)| *name == self.resource_type);
        !category.is_sensitive()
            && category != self.category
            && own.any(|(_, node)| node.members().any(|(key, _)| self.names(&key)))
    }

    /// Whether a key is one of the elements, its `_` sibling or a choice of it.
    fn names(&self, key: &str) -> bool {
        let key = key.strip_prefix('_').unwrap_or(key);
        self.elements.iter().any(|element| {
            let element = element.strip_suffix("[x]").unwrap_or(element);
            key.strip_prefix(element)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_uppercase))
        })
    }

    /// What of a record it shows, with what that must not be shown without.
    pub fn selection(&self) -> Selection {
        Selection::only(self.patterns())
    }

    fn patterns(&self) -> impl Iterator<Item = String> {
        self.elements.iter().map(|element| format!("{}.{element}", self.resource_type))
    }
}

fn category<'de, D: Deserializer<'de>>(input: D) -> Result<Category, D::Error> {
    String::deserialize(input)?.parse().map_err(D::Error::custom)
}
