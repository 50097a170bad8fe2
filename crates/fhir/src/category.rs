//! Compartments of a chart, and which resource belongs to which.

use std::{fmt, str::FromStr};

use galen_types::{ParseError, Segment};
use serde::{Serialize, Serializer};

/// What a segment of a chart holds. The numbers are stable: they are the segments that authors propose.
///
/// Numbers from 64 are the sensitive ones, numbers from 128 are left to patients and authors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Category {
    /// Who the patient is.
    Identity = 0,
    /// Visits, stays and appointments.
    Encounters = 1,
    /// Diagnoses, risks and warnings.
    Problems = 2,
    /// Allergies and intolerances.
    Allergies = 3,
    /// Medicines prescribed, dispensed, given and taken.
    Medications = 4,
    /// Vaccinations.
    Immunizations = 5,
    /// Operations and other procedures.
    Procedures = 6,
    /// Measurements on samples.
    Laboratory = 7,
    /// Vital signs.
    Vitals = 8,
    /// Reports with a conclusion.
    DiagnosticReports = 9,
    /// Images and what was seen on them.
    Imaging = 10,
    /// Clinical notes.
    Notes = 11,
    /// Claims, coverage and payments.
    Billing = 12,
    /// Plans, goals, orders and care teams.
    CarePlans = 13,
    /// Illnesses of relatives.
    FamilyHistory = 14,
    /// Habits, living conditions and questionnaires.
    SocialHistory = 15,
    /// Implants and other devices.
    Devices = 16,
    /// What the patient's own devices measured.
    Wearables = 17,
    /// Compositions, document lists and files.
    Documents = 18,
    /// Practitioners, organizations, places, provenance and whatever has no place of its own.
    Administrative = 19,
    /// Studies and cohorts.
    Research = 20,
    /// Genetic findings.
    Genetics = 21,
    /// What the patient allowed.
    Consents = 22,
    /// What an author publishes to every organization of the network.
    Network = 23,
    /// Birth date, gender and whether the patient lives: what treatment needs of the identity.
    Demographics = 24,
    /// HIV.
    Hiv = 64,
    /// Mental health.
    MentalHealth = 65,
    /// Alcohol and drugs.
    SubstanceUse = 66,
    /// Sexual and reproductive health.
    ReproductiveHealth = 67,
    /// Violence and abuse, in the family and elsewhere.
    DomesticViolence = 68,
}

impl Category {
    /// Every category, in the order of the numbers.
    pub const ALL: [Self; 30] = [
        Self::Identity,
        Self::Encounters,
        Self::Problems,
        Self::Allergies,
        Self::Medications,
        Self::Immunizations,
        Self::Procedures,
        Self::Laboratory,
        Self::Vitals,
        Self::DiagnosticReports,
        Self::Imaging,
        Self::Notes,
        Self::Billing,
        Self::CarePlans,
        Self::FamilyHistory,
        Self::SocialHistory,
        Self::Devices,
        Self::Wearables,
        Self::Documents,
        Self::Administrative,
        Self::Research,
        Self::Genetics,
        Self::Consents,
        Self::Network,
        Self::Demographics,
        Self::Hiv,
        Self::MentalHealth,
        Self::SubstanceUse,
        Self::ReproductiveHealth,
        Self::DomesticViolence,
    ];

    /// The stable number.
    pub const fn index(self) -> u8 {
        self as u8
    }

    /// The category with this number.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.index() == index)
    }

    /// The segment of a chart in which the category lies.
    pub const fn segment(self) -> Segment {
        Segment(self.index())
    }

    /// The name for machines: kebab-case, stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Encounters => "encounters",
            Self::Problems => "problems",
            Self::Allergies => "allergies",
            Self::Medications => "medications",
            Self::Immunizations => "immunizations",
            Self::Procedures => "procedures",
            Self::Laboratory => "laboratory",
            Self::Vitals => "vitals",
            Self::DiagnosticReports => "diagnostic-reports",
            Self::Imaging => "imaging",
            Self::Notes => "notes",
            Self::Billing => "billing",
            Self::CarePlans => "care-plans",
            Self::FamilyHistory => "family-history",
            Self::SocialHistory => "social-history",
            Self::Devices => "devices",
            Self::Wearables => "wearables",
            Self::Documents => "documents",
            Self::Administrative => "administrative",
            Self::Research => "research",
            Self::Genetics => "genetics",
            Self::Consents => "consents",
            Self::Network => "network",
            Self::Demographics => "demographics",
            Self::Hiv => "hiv",
            Self::MentalHealth => "mental-health",
            Self::SubstanceUse => "substance-use",
            Self::ReproductiveHealth => "reproductive-health",
            Self::DomesticViolence => "domestic-violence",
        }
    }

    /// The name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Identity => "Who you are",
            Self::Encounters => "Visits and appointments",
            Self::Problems => "Diagnoses and problems",
            Self::Allergies => "Allergies",
            Self::Medications => "Medications",
            Self::Immunizations => "Vaccinations",
            Self::Procedures => "Procedures",
            Self::Laboratory => "Laboratory results",
            Self::Vitals => "Vital signs",
            Self::DiagnosticReports => "Diagnostic reports",
            Self::Imaging => "Imaging",
            Self::Notes => "Clinical notes",
            Self::Billing => "Bills and insurance",
            Self::CarePlans => "Care plans and orders",
            Self::FamilyHistory => "Family history",
            Self::SocialHistory => "Social history and questionnaires",
            Self::Devices => "Implants and devices",
            Self::Wearables => "Wearables and home devices",
            Self::Documents => "Documents",
            Self::Administrative => "Administrative data",
            Self::Research => "Research",
            Self::Genetics => "Genetics",
            Self::Consents => "Consents",
            Self::Network => "Open to every organization",
            Self::Demographics => "Age and sex",
            Self::Hiv => "HIV",
            Self::MentalHealth => "Mental health",
            Self::SubstanceUse => "Alcohol and drug use",
            Self::ReproductiveHealth => "Sexual and reproductive health",
            Self::DomesticViolence => "Violence and abuse",
        }
    }

    /// Whether it is one of those that a general consent should not cover by accident.
    pub const fn is_sensitive(self) -> bool {
        self.sensitivity() > 0
    }

    /// Which of two sensitive categories wins: the higher. 0 for all others.
    ///
    /// Violence comes first: whom it is hidden from may live in the same house.
    pub(crate) const fn sensitivity(self) -> u8 {
        match self {
            Self::DomesticViolence => 5,
            Self::Hiv => 4,
            Self::SubstanceUse => 3,
            Self::MentalHealth => 2,
            Self::ReproductiveHealth => 1,
            _ => 0,
        }
    }

    /// Where a resource of this type lies if nothing else is known.
    pub(crate) fn of_type(resource_type: &str) -> Self {
        match resource_type {
            "Patient" | "Person" | "RelatedPerson" => Self::Identity,
            "Encounter"
            | "EpisodeOfCare"
            | "Appointment"
            | "AppointmentResponse"
            | "Schedule"
            | "Slot" => Self::Encounters,
            "Condition" | "ClinicalImpression" | "DetectedIssue" | "AdverseEvent"
            | "RiskAssessment" | "Flag" => Self::Problems,
            "AllergyIntolerance" => Self::Allergies,
            "Medication"
            | "MedicationRequest"
            | "MedicationStatement"
            | "MedicationDispense"
            | "MedicationAdministration"
            | "MedicationKnowledge" => Self::Medications,
            "Immunization" | "ImmunizationEvaluation" | "ImmunizationRecommendation" => {
                Self::Immunizations
            }
            "Procedure" | "BodyStructure" => Self::Procedures,
            "Observation" | "Specimen" => Self::Laboratory,
            "DiagnosticReport" => Self::DiagnosticReports,
            "ImagingStudy" | "Media" => Self::Imaging,
            "DocumentReference" => Self::Notes,
            "Account"
            | "ChargeItem"
            | "Claim"
            | "ClaimResponse"
            | "Contract"
            | "Coverage"
            | "CoverageEligibilityRequest"
            | "CoverageEligibilityResponse"
            | "EnrollmentRequest"
            | "EnrollmentResponse"
            | "ExplanationOfBenefit"
            | "InsurancePlan"
            | "Invoice"
            | "PaymentNotice"
            | "PaymentReconciliation" => Self::Billing,
            "CarePlan"
            | "CareTeam"
            | "Goal"
            | "ServiceRequest"
            | "RequestGroup"
            | "NutritionOrder"
            | "DeviceRequest"
            | "SupplyRequest"
            | "SupplyDelivery"
            | "Task"
            | "VisionPrescription"
            | "Communication"
            | "CommunicationRequest" => Self::CarePlans,
            "FamilyMemberHistory" => Self::FamilyHistory,
            "QuestionnaireResponse" => Self::SocialHistory,
            "Device" | "DeviceMetric" | "DeviceUseStatement" | "DeviceDefinition" => Self::Devices,
            "Bundle" | "Binary" | "Composition" | "DocumentManifest" => Self::Documents,
            "ResearchStudy" | "ResearchSubject" | "Group" => Self::Research,
            "MolecularSequence" => Self::Genetics,
            "Consent" => Self::Consents,
            _ => Self::Administrative,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Category {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error =
            ParseError { what: "category", expected: "a name such as laboratory or mental-health" };
        Self::ALL.into_iter().find(|category| category.name() == text).ok_or(error)
    }
}

/// Written as its name.
impl Serialize for Category {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_has_one_number_one_name_and_one_text() {
        assert!(Category::ALL.is_sorted());
        for category in Category::ALL {
            assert_eq!(Category::from_index(category.index()), Some(category));
            assert_eq!(category.to_string().parse(), Ok(category));
            assert!(!category.label().is_empty());
        }
        assert_eq!(Category::from_index(255), None);
        assert!("Identity".parse::<Category>().is_err());
    }
}
