//! What one resource says of its thing, by the meaning that R4 gives to its status and dates.

use crate::Node;

use super::{
    Claim, Concept, Section, Span,
    concept::{normalized, text},
    read::{Dose, owned},
};

/// Seconds by which a date without a zone may lie ahead of UTC.
const ZONES: i64 = 14 * 3_600;

const DAY: i64 = 86_400;

/// Longest supply that a dispense is believed to hand over, in days.
const MAX_SUPPLY_DAYS: i64 = 3_660;

/// What a resource says.
#[derive(Default)]
pub(super) struct Said {
    /// `None`: it was entered in error.
    pub(super) claim: Option<Claim>,
    pub(super) status: String,
    pub(super) since: Option<String>,
    /// As written, and where the end follows from something else, when that is.
    pub(super) until: (Option<String>, Option<Span>),
    pub(super) detail: Option<String>,
    pub(super) dose: Dose,
    /// Whether an end means the thing itself. A prescription that was used up says nothing of the next one.
    pub(super) ends_all: bool,
    pub(super) scope: Vec<String>,
    pub(super) criticality: Option<String>,
}

pub(super) fn said(resource_type: &str, node: Node<'_>, at: i64) -> Said {
    let mut said = match resource_type {
        "MedicationStatement" => statement(node),
        "MedicationRequest" => request(node),
        "MedicationDispense" => dispense(node, at),
        "MedicationAdministration" => administration(node),
        "Condition" => condition(node),
        "AllergyIntolerance" => allergy(node),
        _ => immunization(node),
    };
    if said.claim == Some(Claim::Present) && resource_type != "Immunization" {
        let (written, known) = &said.until;
        let until = known.or_else(|| written.as_deref().and_then(Span::of));
        let since = said.since.as_deref().and_then(Span::of);
        if until.is_some_and(|until| until.until <= at) {
            let over = resource_type == "MedicationAdministration";
            said.claim = Some(if over { Claim::Event } else { Claim::Ended });
            said.ends_all = resource_type != "MedicationRequest";
        } else if since.is_some_and(|since| since.from > at.saturating_add(ZONES)) {
            said.claim = Some(Claim::Open);
            said.status.push_str(", not begun");
        }
    }
    said
}

fn statement(node: Node<'_>) -> Said {
    let status = owned(node, "status").unwrap_or_default();
    let claim = match status.as_str() {
        "active" => Some(Claim::Present),
        "completed" | "stopped" | "not-taken" => Some(Claim::Ended),
        "entered-in-error" => None,
        _ => Some(Claim::Open),
    };
    let (since, until) = occurred(node, "effective");
    let (dose, detail) = doses(node.get("dosage"));
    let since = since.or_else(|| owned(node, "dateAsserted"));
    let ends_all = true;
    Said { claim, status, since, until: (until, None), detail, dose, ends_all, ..Said::default() }
}

fn request(node: Node<'_>) -> Said {
    let mut status = owned(node, "status").unwrap_or_default();
    let intent = owned(node, "intent").unwrap_or_default();
    let forbids = node.get("doNotPerform").and_then(Node::boolean) == Some(true);
    let ordered = matches!(
        intent.as_str(),
        "order" | "original-order" | "reflex-order" | "filler-order" | "instance-order"
    );
    let claim = match status.as_str() {
        "entered-in-error" => None,
        "active" | "on-hold" | "unknown" if forbids => Some(Claim::Not),
        _ if forbids => Some(Claim::Event),
        "active" if ordered => Some(Claim::Present),
        "active" | "on-hold" | "draft" | "unknown" => Some(Claim::Open),
        // A plan that came to nothing ends nothing.
        _ if !ordered => Some(Claim::Event),
        _ => Some(Claim::Ended),
    };
    let ends_all = status == "stopped";
    if forbids {
        status.push_str(", not to be given");
    } else if !ordered {
        status = format!("{status}, {intent}");
    }
    let dosage = node.get("dosageInstruction");
    let (dose, detail) = doses(dosage);
    let until = bounds_end(dosage);
    let since = owned(node, "authoredOn");
    Said { claim, status, since, until: (until, None), detail, dose, ends_all, ..Said::default() }
}

/// The end of the last of a prescription's dosages, if each has one.
fn bounds_end(dosage: Option<Node<'_>>) -> Option<String> {
    let ends = dosage.into_iter().flat_map(Node::items).map(|dosage| {
        let end = dosage.at(&["timing", "repeat", "boundsPeriod", "end"]).and_then(Node::text)?;
        Some((Span::of(&end)?.until, end.into_owned()))
    });
    let ends: Option<Vec<_>> = ends.collect();
    ends?.into_iter().max().map(|(_, end)| end)
}

fn dispense(node: Node<'_>, at: i64) -> Said {
    let status = owned(node, "status").unwrap_or_default();
    let since = owned(node, "whenHandedOver").or_else(|| owned(node, "whenPrepared"));
    let days = node.at(&["daysSupply", "value"]).and_then(Node::number);
    let days = days.and_then(|days| days.split('.').next()?.parse::<i64>().ok());
    let days = days.filter(|days| (1..=MAX_SUPPLY_DAYS).contains(days));
    let handed = since.as_deref().and_then(Span::of);
    let until = handed.zip(days).map(|(handed, days)| Span {
        from: handed.from + days * DAY,
        until: handed.until + days * DAY,
    });
    let claim = match status.as_str() {
        "entered-in-error" => None,
        "completed" => Some(match until {
            Some(until) if until.until <= at => Claim::Event,
            Some(_) => Claim::Present,
            // Handed over, and nothing says for how long.
            None => Claim::Open,
        }),
        "cancelled" | "declined" => Some(Claim::Event),
        "stopped" => Some(Claim::Ended),
        _ => Some(Claim::Open),
    };
    let (dose, detail) = doses(node.get("dosageInstruction"));
    let ends_all = true;
    Said { claim, status, since, until: (None, until), detail, dose, ends_all, ..Said::default() }
}

fn administration(node: Node<'_>) -> Said {
    let status = owned(node, "status").unwrap_or_default();
    let claim = match status.as_str() {
        "entered-in-error" => None,
        "in-progress" => Some(Claim::Present),
        "completed" | "not-done" => Some(Claim::Event),
        "stopped" => Some(Claim::Ended),
        _ => Some(Claim::Open),
    };
    let (since, until) = occurred(node, "effective");
    let (dose, detail) = doses(node.get("dosage"));
    let ends_all = true;
    Said { claim, status, since, until: (until, None), detail, dose, ends_all, ..Said::default() }
}

fn condition(node: Node<'_>) -> Said {
    let (clinical, verification) = (code(node, "clinicalStatus"), code(node, "verificationStatus"));
    let until = ended(node);
    let claim = match (verification.as_deref(), clinical.as_deref()) {
        (Some("entered-in-error"), _) => None,
        (Some("refuted"), _) => Some(Claim::RuledOut),
        (_, Some("inactive" | "remission" | "resolved")) => Some(Claim::Ended),
        (Some("unconfirmed" | "provisional" | "differential"), _) => Some(Claim::Open),
        (_, Some("active" | "recurrence" | "relapse")) => Some(Claim::Present),
        _ if until.is_some() => Some(Claim::Ended),
        _ => Some(Claim::Open),
    };
    let severity = node.get("severity").map(|it| Concept::read(it).name);
    let sites = node.get("bodySite").into_iter().flat_map(Node::items);
    let parts = severity.into_iter().chain(sites.map(|site| Concept::read(site).name));
    Said {
        claim,
        status: words([clinical, verification.filter(|it| it != "confirmed")]),
        since: began(node),
        until: (until, None),
        detail: joined(parts),
        ends_all: true,
        ..Said::default()
    }
}

fn allergy(node: Node<'_>) -> Said {
    let (clinical, verification) = (code(node, "clinicalStatus"), code(node, "verificationStatus"));
    let claim = match (verification.as_deref(), clinical.as_deref()) {
        (Some("entered-in-error"), _) => None,
        (Some("refuted"), _) => Some(Claim::RuledOut),
        // What a patient reports is unconfirmed as a rule, and still counts.
        (_, Some("active")) => Some(Claim::Present),
        (_, Some(_)) => Some(Claim::Ended),
        (_, None) => Some(Claim::Open),
    };
    let criticality = owned(node, "criticality");
    let shown = criticality.as_ref().map(|level| format!("criticality {level}"));
    let reactions = node.get("reaction").into_iter().flat_map(Node::items).flat_map(|reaction| {
        let severity = text(reaction, "severity").map(|it| format!(" ({it})")).unwrap_or_default();
        let signs = reaction.get("manifestation").into_iter().flat_map(Node::items);
        signs.map(move |sign| format!("{}{severity}", Concept::read(sign).name)).collect::<Vec<_>>()
    });
    let categories = node.get("category").into_iter().flat_map(Node::items);
    Said {
        claim,
        status: words([clinical, verification.filter(|it| it != "confirmed")]),
        since: began(node),
        detail: joined(shown.into_iter().chain(reactions)),
        ends_all: true,
        scope: categories.filter_map(Node::text).map(|it| it.into_owned()).collect(),
        criticality,
        ..Said::default()
    }
}

fn immunization(node: Node<'_>) -> Said {
    let status = owned(node, "status").unwrap_or_default();
    let claim = match status.as_str() {
        "entered-in-error" => None,
        "not-done" => Some(Claim::Not),
        _ => Some(Claim::Present),
    };
    let protocol = node.get("protocolApplied").and_then(|it| it.items().next());
    let dose = protocol.and_then(|it| {
        let number = it.get("doseNumberPositiveInt").and_then(Node::number).map(str::to_owned);
        number.or_else(|| owned(it, "doseNumberString"))
    });
    let lot = owned(node, "lotNumber").map(|lot| format!("lot {lot}"));
    Said {
        claim,
        status,
        since: owned(node, "occurrenceDateTime").or_else(|| owned(node, "occurrenceString")),
        detail: joined(dose.map(|dose| format!("dose {dose}")).into_iter().chain(lot)),
        ..Said::default()
    }
}

/// `effectiveDateTime` or start and end of `effectivePeriod`.
fn occurred(node: Node<'_>, name: &str) -> (Option<String>, Option<String>) {
    let period = node.get(&format!("{name}Period"));
    let of_period = |end: &str| period.and_then(|period| owned(period, end));
    let moment = owned(node, &format!("{name}DateTime"));
    (moment.or_else(|| of_period("start")), of_period("end"))
}

/// When a problem or an allergy began, or else when it was written down.
fn began(node: Node<'_>) -> Option<String> {
    let (onset, _) = occurred(node, "onset");
    let onset = onset.or_else(|| owned(node, "onsetString"));
    let age = node.get("onsetAge").map(|age| format!("age {}", quantity(age)));
    onset.or(age).or_else(|| owned(node, "recordedDate"))
}

fn ended(node: Node<'_>) -> Option<String> {
    let (abated, end) = occurred(node, "abatement");
    let range = node.get("abatementRange").map(range);
    let age = node.get("abatementAge").map(|age| format!("age {}", quantity(age)));
    // A problem whose end lies in a period had its end when that was over.
    end.or(abated).or_else(|| owned(node, "abatementString")).or(age).or(range)
}

/// The code of the only coding of a status.
fn code(node: Node<'_>, name: &str) -> Option<String> {
    node.at(&[name, "coding", "code"]).and_then(Node::text).map(|code| code.into_owned())
}

fn words(parts: [Option<String>; 2]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn joined(parts: impl Iterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Doses for comparison, and as they are written.
fn doses(dosage: Option<Node<'_>>) -> (Dose, Option<String>) {
    let (mut structured, mut written, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for dosage in dosage.into_iter().flat_map(Node::items) {
        let (exact, plain) = one_dose(dosage);
        let own = owned(dosage, "text");
        shown.extend(own.clone().or_else(|| (!exact.is_empty()).then(|| exact.clone())));
        written.extend(own.as_deref().map(normalized));
        if !plain.is_empty() {
            structured.push(plain);
        }
    }
    // In whatever order they stand.
    structured.sort_unstable();
    written.sort_unstable();
    let text = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join("; "));
    (Dose { structured: text(structured), words: text(written) }, text(shown))
}

/// Amount and times of one dosage: as written, and with numbers that compare.
fn one_dose(dosage: Node<'_>) -> (String, String) {
    let mut parts: Vec<(String, String)> = Vec::new();
    let mut push = |exact: String| {
        let plain = exact.split(' ').map(plain_number).collect::<Vec<_>>().join(" ");
        parts.push((exact, plain));
    };
    // Of an administration the dose stands directly in the dosage.
    let rates = dosage.get("doseAndRate").into_iter().flat_map(Node::items).chain([dosage]);
    for rate in rates {
        for name in ["doseQuantity", "dose", "rateQuantity"] {
            rate.get(name).map(quantity).into_iter().for_each(&mut push);
        }
        for name in ["doseRange", "rateRange"] {
            rate.get(name).map(range).into_iter().for_each(&mut push);
        }
        for ratio in ["rateRatio"].into_iter().filter_map(|name| rate.get(name)) {
            let side = |name| ratio.get(name).map(quantity).unwrap_or_default();
            push(format!("{} per {}", side("numerator"), side("denominator")));
        }
    }
    let timing = dosage.get("timing");
    if let Some(repeat) = timing.and_then(|timing| timing.get("repeat")) {
        let number = |name| repeat.get(name).and_then(Node::number);
        let often = number("frequency").or_else(|| number("period").map(|_| "1"));
        if let Some(often) = often {
            let most = number("frequencyMax").map(|most| format!("-{most}")).unwrap_or_default();
            let period = number("period").unwrap_or("1");
            let unit = owned(repeat, "periodUnit").unwrap_or_default();
            push(format!("{often}{most} times in {period} {unit}"));
        }
        let when = repeat.get("when").into_iter().flat_map(Node::items).filter_map(Node::text);
        when.for_each(|when| push(when.into_owned()));
    }
    if let Some(code) = timing.and_then(|timing| timing.get("code")) {
        push(Concept::read(code).name);
    }
    if dosage.get("asNeededBoolean").and_then(Node::boolean) == Some(true) {
        push("as needed".to_owned());
    } else if let Some(need) = dosage.get("asNeededCodeableConcept") {
        push(format!("as needed for {}", Concept::read(need).name));
    }
    let side = |of: fn(&(String, String)) -> &str| {
        parts.iter().map(of).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    };
    (side(|part| &part.0), side(|part| &part.1))
}

/// A quantity as written: `< 1.50 mg`.
fn quantity(node: Node<'_>) -> String {
    let unit = owned(node, "unit").or_else(|| owned(node, "code"));
    let value = node.get("value").and_then(Node::number).map(str::to_owned);
    [owned(node, "comparator"), value, unit].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn range(node: Node<'_>) -> String {
    let side = |name| node.get(name).map(quantity).unwrap_or_default();
    format!("{} - {}", side("low"), side("high"))
}

/// A decimal without trailing zeros, so that `1.0` and `1` are one dose; other words in lower case.
fn plain_number(word: &str) -> String {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if digits && word.contains('.') {
        return word.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    word.to_lowercase()
}

const SNOMED: &str = "http://snomed.info/sct";

/// Codes of the International Patient Summary for what is not known or not there.
const ABSENT: &str = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips";
const ABSENT_BEFORE: &str = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-ips";

/// Statements that there is nothing, with what they are about.
const NEGATIONS: [(Section, &str, &str, &str); 18] = [
    (Section::Allergies, SNOMED, "716186003", "any"),
    (Section::Allergies, SNOMED, "160244002", "any"),
    (Section::Allergies, SNOMED, "409137002", "medication"),
    (Section::Allergies, SNOMED, "429625007", "food"),
    (Section::Allergies, SNOMED, "428607008", "environment"),
    (Section::Allergies, ABSENT, "no-known-allergies", "any"),
    (Section::Allergies, ABSENT, "no-known-medication-allergies", "medication"),
    (Section::Allergies, ABSENT, "no-known-food-allergies", "food"),
    (Section::Allergies, ABSENT, "no-known-environmental-allergies", "environment"),
    (Section::Problems, SNOMED, "160245001", "any"),
    (Section::Problems, ABSENT, "no-known-problems", "any"),
    (Section::Medications, SNOMED, "787481004", "any"),
    (Section::Medications, ABSENT, "no-known-medications", "any"),
    (Section::Immunizations, ABSENT, "no-known-immunizations", "any"),
    (Section::Allergies, "", "no known allergies", "any"),
    (Section::Allergies, "", "no known drug allergies", "medication"),
    (Section::Medications, "", "no known medications", "any"),
    (Section::Problems, "", "no known problems", "any"),
];

/// What a concept says that there is none of: `any`, or a category of allergies.
pub(super) fn negation(section: Section, concept: &Concept) -> Option<&'static str> {
    let says = |(of, system, code, _): &&(Section, &str, &str, &str)| {
        *of == section
            && match *system {
                "" => concept.codings.is_empty() && concept.texts.contains(*code),
                ABSENT => concept.has(ABSENT, code) || concept.has(ABSENT_BEFORE, code),
                system => concept.has(system, code),
            }
    };
    NEGATIONS.iter().find(says).map(|(_, _, _, scope)| *scope)
}

/// Whether a concept only says that nothing is known.
pub(super) fn says_nothing(concept: &Concept) -> bool {
    concept.codings.iter().any(|coding| {
        [ABSENT, ABSENT_BEFORE].contains(&coding.system.as_str()) && coding.code.ends_with("-info")
    })
}
