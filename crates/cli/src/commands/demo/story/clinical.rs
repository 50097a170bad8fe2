//! What records are as medicine: one chart of two hospitals, and a part of a document that proves itself.

use galen_fhir::{
    Category,
    chart::{Ingredients, Line, ReconciledChart, Section, Standing},
    parts::Selection,
};
use galen_sdk::{Presentation, SignatureState, SignedDocument};
use galen_types::{Element, Salt};

use super::{Teller, chart_records, sdk};
use crate::{commands::demo::cast::Cast, error::CliError};

/// Lines of a section that the story shows.
const MAX_LINES: usize = 6;

/// What both hospitals know, in one list, with what they disagree about.
pub(super) async fn chart(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "reconcile the chart";
    let failed = |source| CliError::Chain { doing, source };
    let now = cast.galen.time().await.map_err(failed)?;
    let mut records = cast.patient()?.chart_records(&[now]).await.map_err(sdk(doing))?;
    records.name_authors(|author| {
        let hospitals =
            [(cast.hospital_a.id(), "hospital A"), (cast.hospital_b.id(), "hospital B")];
        hospitals.into_iter().find(|(id, _)| *id == author).map(|(_, name)| name.to_owned())
    });
    let read = records.read();
    let chart = read.chart_at(now, &Ingredients::default());
    if !records.missing.is_empty() || !read.missing.is_empty() {
        return Err(CliError::Demo("a record is missing from the chart"));
    }
    teller.report.chart_lines = chart.lines.len();
    teller.report.chart_conflicts =
        chart.lines.iter().filter(|it| !it.conflicts.is_empty()).count();
    let authors: std::collections::BTreeSet<_> =
        chart.origins.iter().map(|origin| origin.author.id).collect();
    if authors.len() < 2 {
        return Err(CliError::Demo("the chart is not that of two hospitals"));
    }
    let mut told = vec![format!(
        "What {} documents of two hospitals say, opened by the patient and put together: {} things, in {} of which \
         they do not agree. Nobody's word is taken for the other's.",
        chart.origins.len(),
        teller.report.chart_lines,
        teller.report.chart_conflicts,
    )];
    for (section, title) in [
        (Section::Medications, "Medications"),
        (Section::Allergies, "Allergies"),
        (Section::Problems, "Problems"),
        (Section::Immunizations, "Vaccinations"),
    ] {
        told.extend(lines(&chart, section, title));
    }
    teller.list("One chart of two hospitals", &told)
}

/// Disagreements first, then what holds now.
fn lines(chart: &ReconciledChart<'_>, section: Section, title: &str) -> Vec<String> {
    let listed = |line: &&Line| line.standing.is_listed() || !line.conflicts.is_empty();
    let mut all: Vec<&Line> = chart.section(section).filter(listed).collect();
    all.sort_by_key(|line| (line.conflicts.is_empty(), line.standing));
    let mut told: Vec<String> = all
        .iter()
        .take(MAX_LINES)
        .map(|line| format!("{title}: {}", describe(chart, line)))
        .collect();
    if all.len() > MAX_LINES {
        told.push(format!("{title}: {} more", all.len() - MAX_LINES));
    }
    told
}

fn describe(chart: &ReconciledChart<'_>, line: &Line) -> String {
    let standing = match line.standing {
        Standing::Present => "",
        Standing::Unclear => ", unclear",
        Standing::Absent => ", none",
        Standing::Past => ", past",
    };
    let mut names: Vec<String> = Vec::new();
    for origin in chart.origins_of(line) {
        let name = origin.author.name.clone().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let conflicts: Vec<&str> = line.conflicts.iter().map(|it| it.kind.as_str()).collect();
    let conflicts = match &conflicts[..] {
        [] => String::new(),
        kinds => format!(" ! {}", kinds.join(", ")),
    };
    format!("{}{standing} ({}){conflicts}", line.what, names.join(", "))
}

/// The patient shows a laboratory value and hides whom it is about, and what was noted beside it.
pub(super) async fn extract(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    const HIDDEN: [&str; 4] = [
        "Observation.note",
        "Observation.subject",
        "Observation.encounter",
        "Observation.performer",
    ];
    let doing = "show a part of a record";
    let patient = cast.patient()?;
    let is_result = |record: &&galen_index::Record| {
        let category = patient.category(record.key.segment);
        record.key.author == cast.hospital_b.id() && category == Category::Laboratory.index()
    };
    let records = chart_records(cast).await?;
    let record = records.iter().find(is_result);
    let record = record.ok_or(CliError::Demo("the second hospital measured nothing"))?;
    let opened = cast.patient()?.open(record.key.id()).await.map_err(sdk(doing))?;
    let signed = SignedDocument::decode(opened.payload.expose()).map_err(sdk(doing))?;
    let tree = signed.tree().map_err(sdk(doing))?;
    let shown = tree.select(&Selection::hide(HIDDEN)).map_err(|e| sdk(doing)(e.into()))?;
    // From here on only the file, as whoever is shown it has it.
    let file = Presentation::new(&signed, &shown).encode();
    let hidden = shown.hidden();
    let shown = Presentation::decode(file.expose()).map_err(sdk(doing))?;
    let verified = shown.verify().map_err(sdk(doing))?;
    let signature = cast.galen.check_presentation(&shown).await.map_err(sdk(doing))?;
    let view = verified.view.expose();
    let has = |text: &str| view.windows(text.len()).any(|window| window == text.as_bytes());
    if signature.state != SignatureState::Valid || signature.author != cast.hospital_b.id() {
        return Err(CliError::Demo("a part of a record does not prove its author"));
    }
    if !has("4.10") || has("daughter") || has("9a1c6f2e") {
        return Err(CliError::Demo(
            "a part of a record shows what it must not, or not what it must",
        ));
    }
    let ledger = cast.galen.ledger();
    for index in 0..shown.elements().len() {
        let proof = shown.proof(index).ok_or(CliError::Demo("an element has no proof"))?;
        let attestation = shown.attestation();
        let element = Element {
            salt: Salt(proof.salt),
            label: proof.label,
            parent: proof.parent,
            content: proof.content,
        };
        let (author, issued) = (attestation.author, attestation.issued);
        let proves =
            ledger.proves_element(author, issued, &attestation.signature, &element, proof.path);
        if !proves.await.map_err(|source| CliError::Chain { doing, source })? {
            return Err(CliError::Demo("the contract does not confirm an element"));
        }
    }
    let changed = String::from_utf8_lossy(file.expose()).replace("4.10", "4.01");
    if Presentation::decode(changed.as_bytes())
        .is_ok_and(|it| it.verify().is_ok_and(|v| v.root == verified.root))
    {
        return Err(CliError::Demo("a changed value was not noticed"));
    }
    teller.report.elements_shown = verified.elements;
    teller.report.elements_hidden = hidden;
    teller.step("A part that proves itself", &[format!(
        "The patient shows somebody without Galen the potassium that hospital B measured, and hides {hidden} other elements: \
         whom it is about, the visit, who took it, what was noted. The {} elements left prove that hospital B signed them, \
         byte for byte (4.10 is 4.10): by the file alone, and each by the contract. A changed digit is refused. What is \
         hidden is a salted hash among decoys: it cannot be guessed, nor how much it is.",
        verified.elements
    )])
}
