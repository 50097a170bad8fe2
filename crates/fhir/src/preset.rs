//! What kinds of readers usually need, and what for.

use std::{fmt, str::FromStr};

use galen_types::{ParseError, Purpose, PurposeSet, SegmentSet};

use crate::Category;

/// What a kind of grantee usually needs. A suggestion to the patient, who may add and remove.
///
/// No preset has a sensitive category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Bills, and the reports that justify them.
    Insurer,
    /// History, identity (age and sex), medication, allergies and diagnostics.
    Physician,
    /// The patient summary: what a stranger must know to treat.
    Emergency,
    /// Nothing by itself: the patient names each category.
    Family,
    /// The categories that research asks for. A grant of them opens the records as they are;
    /// de-identified extracts and counts are another thing.
    Researcher,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] =
        [Self::Insurer, Self::Physician, Self::Emergency, Self::Family, Self::Researcher];

    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insurer => "insurer",
            Self::Physician => "physician",
            Self::Emergency => "emergency",
            Self::Family => "family",
            Self::Researcher => "researcher",
        }
    }

    /// What such a reader reads for, where the patient names no purpose.
    pub fn purposes(self) -> PurposeSet {
        let purposes: &[Purpose] = match self {
            Self::Insurer => &[Purpose::Payment, Purpose::Coverage],
            Self::Physician => &[Purpose::Treatment],
            Self::Emergency => &[Purpose::EmergencyTreatment, Purpose::BreakTheGlass],
            Self::Family => &[Purpose::FamilyRequest, Purpose::PowerOfAttorney],
            Self::Researcher => &[Purpose::Research],
        };
        purposes.iter().copied().collect()
    }

    /// The segments of the categories.
    pub fn segments(self) -> SegmentSet {
        self.categories().iter().map(|category| category.segment()).collect()
    }

    /// The categories, in ascending order.
    pub const fn categories(self) -> &'static [Category] {
        use Category as C;
        match self {
            Self::Insurer => &[C::DiagnosticReports, C::Billing],
            Self::Physician => &[
                C::Identity,
                C::Encounters,
                C::Problems,
                C::Allergies,
                C::Medications,
                C::Immunizations,
                C::Procedures,
                C::Laboratory,
                C::Vitals,
                C::DiagnosticReports,
                C::Imaging,
                C::Notes,
                C::CarePlans,
                C::FamilyHistory,
                C::SocialHistory,
                C::Devices,
                C::Wearables,
                C::Documents,
                C::Administrative,
            ],
            Self::Emergency => &[
                C::Identity,
                C::Problems,
                C::Allergies,
                C::Medications,
                C::Immunizations,
                C::Procedures,
                C::Devices,
            ],
            Self::Family => &[],
            Self::Researcher => &[
                C::Problems,
                C::Allergies,
                C::Medications,
                C::Immunizations,
                C::Procedures,
                C::Laboratory,
                C::Vitals,
            ],
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError {
            what: "preset",
            expected: "insurer, physician, emergency, family or researcher",
        };
        Self::ALL.into_iter().find(|preset| preset.name() == text).ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preset_never_holds_a_sensitive_category() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
            assert_eq!(preset.segments().len(), preset.categories().len());
            assert!(preset.categories().is_sorted());
            assert!(preset.categories().iter().all(|category| !category.is_sensitive()));
            assert!(preset.purposes().iter().next().is_some());
        }
    }

    #[test]
    fn preset_gives_identity_to_those_who_treat() {
        for preset in Preset::ALL {
            let has = preset.categories().contains(&Category::Identity);
            let treats = matches!(preset, Preset::Physician | Preset::Emergency);
            assert_eq!(has, treats, "{preset}");
        }
    }
}
