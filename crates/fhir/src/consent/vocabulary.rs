//! The words of HL7 that consents are written in, and what they are in Galen's categories.

use serde_json::{Value, json};

use super::Code;
use crate::{Category, table::TABLE};

pub(super) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub(super) const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
pub(super) const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
pub(super) const OBSERVATION_CATEGORY: &str =
    "http://terminology.hl7.org/CodeSystem/observation-category";

pub(super) const OBSERVATION: &str = "Observation";

/// The code system of Galen's categories: a code is a category's name, and matches exactly the records of
/// that category.
pub const CATEGORY_SYSTEM: &str = "urn:galen:category";

/// Levels of HL7 v3 Confidentiality, from the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidentiality {
    /// `U`
    Unrestricted,
    /// `L`
    Low,
    /// `M`
    Moderate,
    /// `N`
    Normal,
    /// `R`
    Restricted,
    /// `V`
    VeryRestricted,
}

impl Confidentiality {
    pub(super) fn of(code: &Code) -> Option<Self> {
        if !code.system.is_empty() && code.system != CONFIDENTIALITY {
            return None;
        }
        Some(match code.code.as_str() {
            "U" => Self::Unrestricted,
            "L" => Self::Low,
            "M" => Self::Moderate,
            "N" => Self::Normal,
            "R" => Self::Restricted,
            "V" => Self::VeryRestricted,
            _ => return None,
        })
    }
}

/// Sensitivity labels of a sensitive category, the widest first.
pub(super) const fn labels(category: Category) -> &'static [&'static str] {
    match category {
        Category::Hiv => &["HIV"],
        Category::SubstanceUse => &["ETH", "SUD", "ETHUD", "OPIOIDUD", "42CFRPart2"],
        Category::MentalHealth => &["BH", "MH", "PSY", "PSYTHPN"],
        Category::ReproductiveHealth => &["SEX", "STD", "PREGNANT"],
        Category::DomesticViolence => &["SDV", "VIO"],
        _ => &[],
    }
}

/// The sensitive category of a label.
pub(super) fn category_of_label(code: &Code) -> Option<Category> {
    Category::ALL.into_iter().find(|category| labels(*category).contains(&code.code.as_str()))
}

/// Labels that oblige to change data before it is read. Galen does not, so what has one is not permitted.
pub(super) fn is_transform(code: &Code) -> bool {
    matches!(code.code.as_str(), "REDACT" | "DEID" | "MASK" | "PSEUD" | "ANONY" | "ABSTRACT")
}

/// Labels that oblige the reader, whom Galen cannot hold to it.
pub(super) fn is_duty(code: &Code) -> bool {
    matches!(code.code.as_str(), "NORDSCLCD" | "NORDSLCD" | "NODSCLCD" | "ENCRYPT" | "NOCOLLECT")
}

/// Whether a label on data needs to be named before the data may be read: a sensitivity. Obligations,
/// purposes and confidentiality are none.
pub(super) fn is_sensitivity(code: &Code) -> bool {
    let obliges = is_transform(code) || is_duty(code);
    category_of_label(code).is_some() || (code.system == ACT_CODE && !obliges)
}

/// Whether a label that a consent names stands for a label on data.
pub(super) fn label_covers(named: &str, on_data: &str) -> bool {
    let narrower: &[&str] = match named {
        "ETH" => &["ETHUD", "OPIOIDUD", "SUD"],
        "SUD" => &["ETHUD", "OPIOIDUD"],
        "BH" => &["MH", "PSY", "PSYTHPN"],
        "MH" => &["PSY", "PSYTHPN"],
        "SEX" => &["STD"],
        _ => &[],
    };
    named == on_data || narrower.contains(&on_data)
}

/// The next wider purpose of use.
fn wider(purpose: &str) -> Option<&'static str> {
    Some(match purpose {
        "BTG" | "ERTREAT" => "ETREAT",
        "ETREAT" | "COC" | "POPHLTH" | "TREATDS" => "TREAT",
        "COVERAGE" | "CLMATTCH" | "COVAUTH" | "REMITADV" => "HPAYMT",
        "ELIGDTRM" | "ELIGVER" | "ENROLLM" => "COVERAGE",
        "CAREMGT" | "HQUALIMP" | "PATSFTY" | "TRAIN" | "FRAUD" => "HOPERAT",
        "BIORCH" | "CLINTRCH" | "PRECLINTRCH" | "DSRCH" | "POARCH" | "TRANSRCH" => "HRESCH",
        "CLINTRCHNPC" | "CLINTRCHPC" => "CLINTRCH",
        "FAMRQT" | "PWATRNY" | "SUPNWK" => "PATRQT",
        "DISASTER" | "THREAT" => "PUBHLTH",
        _ => return None,
    })
}

/// Whether a purpose that a consent names stands for the purpose of a read.
pub(super) fn purpose_covers(named: &Code, asked: &Code) -> bool {
    if named == asked {
        return true;
    }
    if named.system != ACT_REASON || asked.system != ACT_REASON {
        return false;
    }
    let above = std::iter::successors(wider(&asked.code), |code| wider(code));
    above.take(8).any(|code| code == named.code)
}

/// The code of a category in Galen's own system.
pub(super) fn category_code(category: Category) -> Code {
    Code::new(CATEGORY_SYSTEM, category.name())
}

pub(super) fn category_of_code(code: &Code) -> Option<Category> {
    (code.system == CATEGORY_SYSTEM).then(|| code.code.parse().ok())?
}

/// Codes of `observation-category` whose observations lie in a category.
pub(super) const fn observation_categories(category: Category) -> &'static [&'static str] {
    match category {
        Category::Laboratory => &["laboratory"],
        Category::Vitals => &["vital-signs", "exam"],
        Category::Imaging => &["imaging"],
        Category::Procedures => &["procedure", "therapy"],
        Category::SocialHistory => &["social-history", "survey"],
        Category::Wearables => &["activity"],
        _ => &[],
    }
}

/// Resource types of R4 that lie in a category if no sensitivity says otherwise, sorted; with Observation
/// where some of them do. None for sensitive categories, which hold resources of every type, and for those
/// that hold parts of resources.
pub(super) fn resource_types(category: Category) -> Vec<&'static str> {
    if category.is_sensitive() || matches!(category, Category::Demographics | Category::Network) {
        return Vec::new();
    }
    let by_type = |name: &&str| Category::of_type(name) == category;
    let mut types: Vec<&str> = TABLE.resource_names().filter(by_type).collect();
    if !observation_categories(category).is_empty() {
        types.push(OBSERVATION);
    }
    types.sort_unstable();
    types.dedup();
    types
}

pub(super) fn coding(code: &Code) -> Value {
    json!({ "system": code.system, "code": code.code })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodeTable;

    /// A label lies in the category whose records have it.
    #[test]
    fn labels_are_those_that_sort_records() {
        for category in Category::ALL {
            assert_eq!(category.is_sensitive(), !labels(category).is_empty(), "{category}");
            for label in labels(category) {
                assert_eq!(CodeTable::built_in().label(label), Some(category), "{label}");
            }
        }
    }

    /// Every resource type lies in one category, so that a rule for it means one.
    #[test]
    fn resource_types_lie_in_one_category() {
        for name in TABLE.resource_names().filter(|name| *name != OBSERVATION) {
            let categories = Category::ALL.into_iter();
            let count = categories.filter(|it| resource_types(*it).contains(&name)).count();
            assert_eq!(count, 1, "{name}");
        }
    }

    #[test]
    fn purposes_cover_narrower_ones() {
        for (named, asked, covers) in [
            ("TREAT", "TREAT", true),
            ("TREAT", "BTG", true),
            ("ETREAT", "TREAT", false),
            ("HRESCH", "CLINTRCHPC", true),
            ("HPAYMT", "ELIGVER", true),
            ("HOPERAT", "HPAYMT", false),
        ] {
            let answer = purpose_covers(&Code::purpose(named), &Code::purpose(asked));
            assert_eq!(answer, covers, "{named} {asked}");
        }
        assert!(!purpose_covers(&Code::purpose("TREAT"), &Code::new("urn:x", "ETREAT")));
    }
}
