//! What the codes inside a resource say about its category.
//!
//! The code tables are small and ours. They catch the common ways to write a sensitive fact; finer rules,
//! value sets and the patient's own wishes come on top.

use crate::Category;

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
    pub(crate) fn add(&mut self, place: Place, system: &str, code: &str) {
        match place {
            Place::SecurityLabel => self.raise(security_label(code)),
            Place::Category => self.by_category = self.by_category.or(category_code(code)),
            Place::Code => self.by_code = self.by_code.or(code_hint(system, code)),
            Place::Elsewhere => {}
        }
        self.raise(sensitive_code(system, code));
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

/// Sensitivity labels of HL7 v3 ActCode. The code alone decides: no other label system uses these words.
fn security_label(code: &str) -> Option<Category> {
    match code {
        "HIV" => Some(Category::Hiv),
        "ETH" | "ETHUD" | "OPIOIDUD" | "SUD" | "42CFRPart2" => Some(Category::SubstanceUse),
        "BH" | "MH" | "PSY" | "PSYTHPN" => Some(Category::MentalHealth),
        "PREGNANT" | "SEX" | "STD" => Some(Category::ReproductiveHealth),
        "SDV" | "DVD" => Some(Category::DomesticViolence),
        _ => None,
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

/// What a clinical code by itself gives away.
fn sensitive_code(system: &str, code: &str) -> Option<Category> {
    if let Some(concept) = ciel_concept(system, code) {
        return ciel(concept);
    }
    match system {
        "http://loinc.org" => loinc(code),
        "http://snomed.info/sct" => snomed(code),
        "http://hl7.org/fhir/sid/icd-10"
        | "http://hl7.org/fhir/sid/icd-10-cm"
        | "urn:oid:2.16.840.1.113883.6.3"
        | "urn:oid:2.16.840.1.113883.6.90" => icd10(code),
        _ => None,
    }
}

fn loinc(code: &str) -> Option<Category> {
    match code {
        // HIV antibodies, antigen and RNA; T-helper cells.
        "7917-8" | "7918-6" | "20447-9" | "24467-3" | "25836-8" | "29893-5" | "31201-7"
        | "5221-7" | "56888-1" | "68961-2" | "75622-1" => Some(Category::Hiv),
        // AUDIT-C, DAST-10.
        "75626-2" | "82667-7" => Some(Category::SubstanceUse),
        // PHQ-9, PHQ-2, GAD-7.
        "44249-1" | "44261-6" | "55757-9" | "55758-7" | "69737-5" | "70274-6" => {
            Some(Category::MentalHealth)
        }
        // Pregnancy status, pregnancies, births, delivery date, chorionic gonadotropin.
        "82810-3" | "11996-6" | "11636-8" | "11778-8" | "2106-3" | "2118-8" => {
            Some(Category::ReproductiveHealth)
        }
        _ => None,
    }
}

fn snomed(code: &str) -> Option<Category> {
    match code {
        // HIV infection, AIDS, HIV positive, the virus, asymptomatic infection, tests.
        "86406008" | "62479008" | "165816005" | "19030005" | "91947003" | "91948008"
        | "171121004" | "31676001" => Some(Category::Hiv),
        // Abuse of and dependence on alcohol, opioids and other drugs; overdose; misuse.
        "66214007" | "191816009" | "7200002" | "15167005" | "5602001" | "75544000" | "55680006"
        | "361055000" | "10939881000119105" | "6525002" | "26416006" => {
            Some(Category::SubstanceUse)
        }
        // Depression, anxiety, schizophrenia, bipolar disorder, PTSD, ADHD, suicide; screening.
        "74732009" | "35489007" | "370143000" | "36923009" | "66344007" | "48694002"
        | "197480006" | "21897009" | "58214004" | "13746004" | "47505003" | "6471006"
        | "82313006" | "192127007" | "406506008" | "171207006" => Some(Category::MentalHealth),
        // Pregnancy, its loss and end, its complications; contraception; sexual infections.
        "77386006" | "72892002" | "19169002" | "156073000" | "35999006" | "47200007"
        | "79586000" | "15938005" | "398254007" | "198992004" | "169553002" | "65200003"
        | "386639001" | "8098009" => Some(Category::ReproductiveHealth),
        _ => None,
    }
}

/// ICD-10 by chapter; national editions add digits at the end.
fn icd10(code: &str) -> Option<Category> {
    let code: String = code.chars().filter(|c| *c != '.').collect::<String>().to_ascii_uppercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));
    let number = code.get(1..3).and_then(|digits| digits.parse::<u8>().ok());
    match (code.as_bytes().first()?, number) {
        (b'B', Some(20..=24)) => Some(Category::Hiv),
        _ if starts(&["Z21", "Z206", "Z114", "Z717", "R75", "O987"]) => Some(Category::Hiv),
        // F17 is tobacco, which needs no protection of its own.
        (b'F', Some(10..=16 | 18 | 19)) => Some(Category::SubstanceUse),
        _ if starts(&["Z7141", "Z7151", "T40"]) => Some(Category::SubstanceUse),
        (b'F', Some(20..=69 | 90..=99)) | (b'X', Some(60..=84)) => Some(Category::MentalHealth),
        _ if starts(&["R4585", "T1491", "Z915"]) => Some(Category::MentalHealth),
        (b'O', _) | (b'A', Some(50..=64)) | (b'Z', Some(30..=39)) => {
            Some(Category::ReproductiveHealth)
        }
        (b'N', Some(46 | 97)) => Some(Category::ReproductiveHealth),
        _ => None,
    }
}

/// The number of a CIEL concept. OpenMRS writes it with A up to 36 characters, under any system.
fn ciel_concept<'a>(system: &str, code: &'a str) -> Option<&'a str> {
    const PADDED_LEN: usize = 36;
    let number = code.trim_end_matches('A');
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let padded = code.len() == PADDED_LEN && number.len() < PADDED_LEN;
    (is_number && (padded || system.contains("CIEL"))).then_some(number)
}

fn ciel(concept: &str) -> Option<Category> {
    match concept {
        // Tests, viral load, T-helper cells, stage, infection, antiretroviral treatment and prophylaxis.
        "1030" | "1040" | "1042" | "856" | "657" | "5497" | "5356" | "1169" | "138405"
        | "138571" | "1088" | "1250" | "1261" | "1255" | "5424" | "159911" | "160119" => {
            Some(Category::Hiv)
        }
        // Pregnancy test and status.
        "45" | "5272" => Some(Category::ReproductiveHealth),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
    const LOINC: &str = "http://loinc.org";

    #[test]
    fn labels_find_sensitive_codes() {
        let rows = [
            (ICD, "B20", Some(Category::Hiv)),
            (ICD, "b20.1", Some(Category::Hiv)),
            (ICD, "Z21", Some(Category::Hiv)),
            (ICD, "F10.20", Some(Category::SubstanceUse)),
            (ICD, "F17.210", None),
            (ICD, "F32.9", Some(Category::MentalHealth)),
            (ICD, "O09.90", Some(Category::ReproductiveHealth)),
            (ICD, "E11.9", None),
            (ICD, "é", None),
            (ICD, "", None),
            (LOINC, "25836-8", Some(Category::Hiv)),
            (LOINC, "2345-7", None),
            (LOINC, "856AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some(Category::Hiv)),
            (LOINC, "856", None),
            ("https://openconceptlab.org/orgs/CIEL/sources/CIEL", "856", Some(Category::Hiv)),
        ];
        for (system, code, expected) in rows {
            assert_eq!(sensitive_code(system, code), expected, "{system} {code}");
        }
    }

    #[test]
    fn labels_tell_vital_signs_by_code() {
        let category = |system, code| {
            let mut labels = Labels::default();
            labels.add(Place::Category, "", "survey");
            labels.add(Place::Code, system, code);
            labels.category("Observation")
        };
        assert_eq!(category(LOINC, "8867-4"), Category::Vitals);
        assert_eq!(category(LOINC, "5089AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Category::Vitals);
        assert_eq!(category(LOINC, "72166-2"), Category::SocialHistory);
    }

    #[test]
    fn labels_let_the_most_sensitive_win() {
        let mut labels = Labels::default();
        labels.add(Place::Category, "", "laboratory");
        assert_eq!(labels.category("Observation"), Category::Laboratory);
        labels.add(Place::Elsewhere, ICD, "O80");
        assert_eq!(labels.category("Observation"), Category::ReproductiveHealth);
        labels.add(Place::SecurityLabel, "", "HIV");
        labels.add(Place::SecurityLabel, "", "PSY");
        assert_eq!(labels.category("Claim"), Category::Hiv);
    }
}
