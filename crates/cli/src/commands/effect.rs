//! What a consent opens and what it leaves closed, in plain words.

use galen_fhir::Category;
use galen_types::{Purpose, PurposeSet};
use serde::Serialize;

use crate::ui::Ui;

/// What a consent to these categories lets its reader see. Categories in the words of people.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Effect {
    /// What it opens that is not sensitive.
    opens: Vec<&'static str>,
    /// The sensitive part of what it opens.
    opens_sensitive: Vec<&'static str>,
    /// What stays closed, and is not sensitive.
    closed: Vec<&'static str>,
    /// The sensitive part of what stays closed.
    closed_sensitive: Vec<&'static str>,
    /// What is easily taken for something else.
    notes: Vec<&'static str>,
}

impl Effect {
    pub(crate) fn new(categories: &[u8], purposes: PurposeSet) -> Self {
        let labels = |open: bool, sensitive: bool| {
            let fits = |it: &Category| {
                categories.contains(&it.index()) == open && it.is_sensitive() == sensitive
            };
            Category::ALL.into_iter().filter(fits).map(Category::label).collect()
        };
        Self {
            opens: labels(true, false),
            opens_sensitive: labels(true, true),
            closed: labels(false, false),
            closed_sensitive: labels(false, true),
            notes: notes(categories, purposes),
        }
    }

    /// Said before anything is signed.
    pub(crate) fn show(&self, purposes: PurposeSet, ui: &Ui) {
        let list = |labels: &[&str]| match labels {
            [] => "nothing".to_owned(),
            labels => labels.join("; "),
        };
        let why: Vec<&str> = purposes.iter().map(words).collect();
        ui.show(&format!("Opens, for {}: {}", why.join(", "), list(&self.opens)));
        if !self.opens_sensitive.is_empty() {
            ui.show(&format!("Opens what is sensitive: {}", list(&self.opens_sensitive)));
        }
        ui.show(&format!("Stays closed: {}", list(&self.closed)));
        ui.show(&format!("Stays closed, sensitive: {}", list(&self.closed_sensitive)));
        self.notes.iter().for_each(|note| ui.show(note));
    }
}

fn notes(categories: &[u8], purposes: PurposeSet) -> Vec<&'static str> {
    let has = |category: Category| categories.contains(&category.index());
    let research =
        purposes.contains(Purpose::Research) || purposes.contains(Purpose::ClinicalTrial);
    let rows = [
        (
            has(Category::DiagnosticReports) && !has(Category::Laboratory),
            "A report brings the results that it is about; other results stay closed.",
        ),
        (
            !has(Category::Identity),
            "Records may name you in their text, also where \"Who you are\" stays closed.",
        ),
        (
            research,
            "This opens the records as they are. De-identified answers to research questions are \
            another thing, and need no consent of this kind.",
        ),
        (
            categories.iter().any(|index| {
                Category::from_index(*index).is_some_and(|category| !category.is_sensitive())
            }),
            "What is sensitive is told by codes. What stands only in words may lie in any category.",
        ),
    ];
    rows.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note).collect()
}

/// A purpose for people who do not know the codes.
const fn words(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Treatment => "treatment",
        Purpose::EmergencyTreatment => "treatment in an emergency",
        Purpose::BreakTheGlass => "breaking the glass",
        Purpose::Payment => "payment",
        Purpose::Coverage => "coverage by an insurance",
        Purpose::Operations => "running a healthcare organization",
        Purpose::Research => "research",
        Purpose::ClinicalTrial => "a clinical trial",
        Purpose::PublicHealth => "public health",
        Purpose::PatientRequest => "what you ask for",
        Purpose::FamilyRequest => "what your family asks for",
        Purpose::PowerOfAttorney => "acting for you",
        Purpose::CareManagement => "care management",
        Purpose::Marketing => "marketing",
    }
}

#[cfg(test)]
mod tests {
    use galen_fhir::Preset;

    use super::*;

    fn effect(preset: Preset) -> Effect {
        let categories: Vec<u8> = preset.categories().iter().map(|it| it.index()).collect();
        Effect::new(&categories, preset.purposes())
    }

    #[test]
    fn every_category_is_named_once_and_sensitive_ones_stay_closed() {
        for preset in Preset::ALL {
            let effect = effect(preset);
            let all =
                [&effect.opens, &effect.opens_sensitive, &effect.closed, &effect.closed_sensitive];
            let mut named: Vec<_> = all.into_iter().flatten().collect();
            named.sort();
            named.dedup();
            assert_eq!(named.len(), Category::ALL.len(), "{preset}");
            assert_eq!(effect.opens_sensitive, [""; 0], "{preset}");
            assert_eq!(
                effect.closed_sensitive,
                [
                    "HIV",
                    "Mental health",
                    "Alcohol and drug use",
                    "Sexual and reproductive health",
                    "Violence and abuse"
                ],
                "{preset}"
            );
        }
    }

    #[test]
    fn notes_say_what_presets_are_easily_taken_for() {
        let says = |preset, text: &str| effect(preset).notes.iter().any(|it| it.contains(text));
        assert!(says(Preset::Researcher, "records as they are"));
        assert!(!says(Preset::Physician, "records as they are"));
        assert!(says(Preset::Insurer, "other results stay closed"));
        assert!(!says(Preset::Physician, "other results stay closed"));
        assert!(says(Preset::Researcher, "name you in their text"));
        assert!(!says(Preset::Emergency, "name you in their text"));
        let open = Effect::new(&[Category::Hiv.index()], PurposeSet::default());
        assert_eq!(open.opens_sensitive, ["HIV"]);
    }
}
