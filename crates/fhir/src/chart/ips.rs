//! The chart as an International Patient Summary: a document Bundle with the originals inside.

use serde_json::{Value, json};

use super::{
    Claim, ExportTerms, Line, ReconciledChart, Section,
    out::{Names, entry, loinc, narrative, section_code, uuid},
};

/// What a section says where nothing is listed.
const NOTHING: &str = "No information available.";

/// LOINC's section of past problems.
const PAST_PROBLEMS: (&str, &str, &str) =
    ("11348-0", "History of Past illness note", "Past Illness History");

impl<'a> ReconciledChart<'a> {
    /// The chart as a FHIR R4 document Bundle by the International Patient Summary: what is present or unclear
    /// by section, past problems in a section of their own, conflicts told in the narrative. Resources are
    /// embedded byte for byte. A required section without entries gives a reason and claims nothing.
    pub fn to_ips(&self, terms: &ExportTerms) -> Vec<u8> {
        let mut names = Names::default();
        let patient = self.add_patients(&mut names, terms);
        let mut sections = Vec::new();
        for section in Section::ALL {
            let listed = self.section(section).filter(|line| line.standing.is_listed());
            let listed: Vec<&Line> = listed.collect();
            let required = section != Section::Immunizations;
            if required || !listed.is_empty() {
                sections.push(self.ips_section(section_code(section), &listed, &mut names));
            }
        }
        let past = self.section(Section::Problems).filter(|line| !line.standing.is_listed());
        let past: Vec<&Line> = past.collect();
        if !past.is_empty() {
            sections.push(self.ips_section(PAST_PROBLEMS, &past, &mut names));
        }
        let date = terms.date();
        let composition = json!({
            "resourceType": "Composition",
            "status": "final",
            "type": loinc("60591-5", "Patient summary Document"),
            "subject": {"reference": patient},
            "date": date,
            // The patient put it together; the authors are in the resources.
            "author": [{"reference": patient}],
            "title": terms.title,
            "section": sections,
        })
        .to_string();
        let id = uuid(&[b"composition", composition.as_bytes()]);
        let first = entry(&id, &composition);
        let entries: Vec<String> = std::iter::once(first).chain(names.json()).collect();
        let bundle_id = uuid(&[b"bundle", entries.concat().as_bytes()]);
        format!(
            "{{\"resourceType\":\"Bundle\",\"identifier\":{},\"type\":\"document\",\"timestamp\":\"{date}\",\
             \"entry\":[{}]}}",
            json!({"system": "urn:ietf:rfc:3986", "value": bundle_id}),
            entries.join(",")
        )
        .into_bytes()
    }

    fn ips_section(
        &self,
        (code, display, title): (&str, &str, &str),
        lines: &[&Line],
        names: &mut Names<'a>,
    ) -> Value {
        let mut section = json!({"title": title, "code": loinc(code, display)});
        if lines.is_empty() {
            section["text"] = narrative([NOTHING].into_iter());
            section["emptyReason"] = json!({"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
                "code": "unavailable",
                "display": "Unavailable",
            }]});
            return section;
        }
        let texts: Vec<String> = lines.iter().map(|line| self.sentence(line)).collect();
        section["text"] = narrative(texts.iter().map(String::as_str));
        let urls = lines.iter().flat_map(|line| self.add_line(line, names));
        let references: Vec<Value> = urls.map(|(_, url)| json!({"reference": url})).collect();
        section["entry"] = Value::from(references);
        section
    }

    /// A line in words, with its sources and what they disagree about.
    pub(super) fn sentence(&self, line: &Line) -> String {
        let mut text = line.what.clone();
        for detail in &line.details {
            text.push_str(&format!(", {detail}"));
        }
        if let Some(since) = &line.since {
            text.push_str(&format!(", since {since}"));
        }
        text.push_str(&format!(" ({}", line.standing.as_str()));
        for conflict in &line.conflicts {
            text.push_str(&format!("; conflict: {}", conflict.kind.as_str()));
        }
        let authors = self.origins_of(line);
        let mut named: Vec<String> = authors.iter().map(|it| it.author.to_string()).collect();
        named.dedup();
        text.push_str(&format!("; from {})", named.join(", ")));
        text
    }

    /// Whether an entry stands in an export of its line: not if it only says what was before.
    pub(super) fn counts(&self, line: &Line, at: usize) -> bool {
        let claim = self.entries[at].claim;
        let disputed = line.conflicts.iter().any(|conflict| conflict.entries.contains(&at));
        let past = !line.standing.is_listed();
        past || disputed || !matches!(claim, Claim::Ended | Claim::Event | Claim::RuledOut)
    }
}
