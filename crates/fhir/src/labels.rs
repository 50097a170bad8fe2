//! What the codes inside a resource say about its category.
//!
//! Which codes are sensitive says a [`CodeTable`]. What else an observation is, its category and code say.

use crate::{Category, CodeTable, codes::ciel_concept};

/// Where in a resource a coding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `meta.security`.
    SecurityLabel,
    /// `category` of the resource itself.
    Category,
    /// `code` of the resource itself.
    Code,
    Elsewhere,
}

/// What the codings of one resource say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) sensitive: Option<Category>,
    by_category: Option<Category>,
    by_code: Option<Category>,
}

impl Labels {
    /// Takes note of one coding.
    pub(crate) fn add(&mut self, table: &CodeTable, place: Place, system: &str, code: &str) {
        match place {
            Place::SecurityLabel => self.raise(table.label(code)),
            Place::Category => self.by_category = self.by_category.or(category_code(code)),
            Place::Code => self.by_code = self.by_code.or(code_hint(system, code)),
            Place::Elsewhere => {}
        }
        self.raise(table.category(system, code));
    }

    /// Keeps the most sensitive category.
    pub(crate) fn raise(&mut self, found: Option<Category>) {
        let rank = |category: Option<Category>| category.map_or(0, Category::sensitivity);
        if rank(found) > rank(self.sensitive) {
            self.sensitive = found;
        }
    }

    /// The category of a resource of this type.
    pub(crate) fn category(&self, resource_type: &str) -> Category {
        if let Some(sensitive) = self.sensitive {
            return sensitive;
        }
        match resource_type {
            // Some systems file vital signs under whatever category they have.
            "Observation" if self.by_code == Some(Category::Vitals) => Category::Vitals,
            "Observation" => {
                self.by_category.or(self.by_code).unwrap_or(Category::of_type(resource_type))
            }
            other => Category::of_type(other),
        }
    }
}

/// Codes of the value set `observation-category`.
fn category_code(code: &str) -> Option<Category> {
    match code {
        "laboratory" => Some(Category::Laboratory),
        "vital-signs" | "exam" => Some(Category::Vitals),
        "imaging" => Some(Category::Imaging),
        "procedure" | "therapy" => Some(Category::Procedures),
        "social-history" | "survey" => Some(Category::SocialHistory),
        "activity" => Some(Category::Wearables),
        _ => None,
    }
}

/// For observations that do not say their category.
fn code_hint(system: &str, code: &str) -> Option<Category> {
    /// LOINC: pulse, breathing, temperature, blood pressure, weight, height, BMI, oxygen, head.
    const VITALS: &[&str] = &[
        "2708-6", "29463-7", "39156-5", "59408-5", "8287-5", "8302-2", "8310-5", "8462-4",
        "8480-6", "85353-1", "85354-9", "8867-4", "9279-1",
    ];
    /// CIEL: the same.
    const CIEL_VITALS: &[&str] = &["5085", "5086", "5087", "5088", "5089", "5090", "5092", "5242"];
    if let Some(concept) = ciel_concept(system, code) {
        return CIEL_VITALS.contains(&concept).then_some(Category::Vitals);
    }
    match system {
        "http://loinc.org" => VITALS.binary_search(&code).is_ok().then_some(Category::Vitals),
        // Codes of personal health devices (ISO/IEEE 11073-10101).
        "urn:iso:std:iso:11073:10101" => Some(Category::Wearables),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
    const LOINC: &str = "http://loinc.org";

    #[test]
    fn labels_tell_vital_signs_by_code() {
        let category = |system, code| {
            let mut labels = Labels::default();
            labels.add(CodeTable::built_in(), Place::Category, "", "survey");
            labels.add(CodeTable::built_in(), Place::Code, system, code);
            labels.category("Observation")
        };
        assert_eq!(category(LOINC, "8867-4"), Category::Vitals);
        assert_eq!(category(LOINC, "5089AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Category::Vitals);
        assert_eq!(category(LOINC, "72166-2"), Category::SocialHistory);
    }

    #[test]
    fn labels_let_the_most_sensitive_win() {
        let mut labels = Labels::default();
        labels.add(CodeTable::built_in(), Place::Category, "", "laboratory");
        assert_eq!(labels.category("Observation"), Category::Laboratory);
        labels.add(CodeTable::built_in(), Place::Elsewhere, ICD, "O80");
        assert_eq!(labels.category("Observation"), Category::ReproductiveHealth);
        labels.add(CodeTable::built_in(), Place::SecurityLabel, "", "HIV");
        labels.add(CodeTable::built_in(), Place::SecurityLabel, "", "PSY");
        assert_eq!(labels.category("Claim"), Category::Hiv);
    }
}
