//! Data types in words.

use super::shown;
use crate::{Node, Resource};

/// A string, as far as it is shown.
pub(super) fn text(node: Option<Node<'_>>) -> Option<String> {
    Some(shown(&node?.text()?)).filter(|text| !text.is_empty())
}

/// A code with its text: what was written, else what the code system calls it, else the code.
pub(super) fn concept(node: Option<Node<'_>>) -> Option<String> {
    let node = node?;
    let coding = |name: &str| {
        let codings = node.get("coding").into_iter().flat_map(Node::items);
        codings.filter_map(|coding| text(coding.get(name))).next()
    };
    text(node.get("text")).or_else(|| coding("display")).or_else(|| coding("code"))
}

/// The concepts of a list, joined.
pub(super) fn concepts(node: Option<Node<'_>>) -> Option<String> {
    let all: Vec<_> = node?.items().filter_map(|item| concept(Some(item))).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// The code of a required value set, with its dashes as spaces.
pub(super) fn word(node: Option<Node<'_>>) -> Option<String> {
    text(node).map(|code| code.replace('-', " "))
}

/// `< 5.40 mg/dL`, to the letter.
pub(super) fn quantity(node: Option<Node<'_>>) -> Option<String> {
    let node = node?;
    let value = node.get("value").and_then(Node::number)?;
    let unit = text(node.get("unit")).or_else(|| text(node.get("code")));
    let comparator = text(node.get("comparator"));
    let parts = [comparator, Some(value.to_owned()), unit];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// `from … to …`
pub(super) fn period(node: Option<Node<'_>>) -> Option<String> {
    let node = node?;
    match (text(node.get("start")), text(node.get("end"))) {
        (Some(start), Some(end)) if start == end => Some(start),
        (Some(start), Some(end)) => Some(format!("{start} to {end}")),
        (Some(start), None) => Some(format!("from {start}")),
        (None, Some(end)) => Some(format!("until {end}")),
        (None, None) => None,
    }
}

fn range(node: Node<'_>) -> Option<String> {
    let (low, high) = (quantity(node.get("low")), quantity(node.get("high")));
    match (low, high) {
        (Some(low), Some(high)) => Some(format!("{low} to {high}")),
        (Some(low), None) => Some(format!("{low} or more")),
        (None, Some(high)) => Some(format!("up to {high}")),
        (None, None) => None,
    }
}

/// The element `stem[x]`, whatever its type: its key begins with the stem and goes on with a capital.
pub(super) fn choice(node: Node<'_>, stem: &str) -> Option<String> {
    let chosen = |key: &str| {
        key.strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let (key, value) = node.members().find(|(key, _)| chosen(key))?;
    match &key[stem.len()..] {
        "Quantity" | "Age" | "Duration" | "Count" | "Distance" | "Money" => quantity(Some(value)),
        "CodeableConcept" => concept(Some(value)),
        "Period" => period(Some(value)),
        "Range" => range(value),
        "Ratio" => {
            let parts = (quantity(value.get("numerator")), quantity(value.get("denominator")));
            parts.0.zip(parts.1).map(|(above, below)| format!("{above} / {below}"))
        }
        "Boolean" => value.boolean().map(|yes| if yes { "yes" } else { "no" }.to_owned()),
        "Timing" => timing(value),
        "SampledData" => Some("a recording".to_owned()),
        "Attachment" => Some("an attached file".to_owned()),
        "Reference" => text(value.get("display")),
        _ => text(Some(value)).or_else(|| value.number().map(str::to_owned)),
    }
}

/// When something is to be done.
fn timing(node: Node<'_>) -> Option<String> {
    if let Some(code) = concept(node.get("code")) {
        return Some(code);
    }
    let repeat = node.get("repeat")?;
    let number = |name: &str| repeat.get(name).and_then(Node::number).map(str::to_owned);
    let times = number("frequency").map(|times| {
        let most = number("frequencyMax").map(|most| format!(" to {most}")).unwrap_or_default();
        format!("{times}{most} time{}", if times == "1" && most.is_empty() { "" } else { "s" })
    });
    let every = number("period").zip(text(repeat.get("periodUnit")));
    let every = every.map(|(period, unit)| format!("every {period} {}", unit_of_time(&unit)));
    let moments = repeat.get("when").map(|when| {
        when.items().filter_map(|code| text(Some(code))).collect::<Vec<_>>().join(", ")
    });
    let parts: Vec<_> = [times, every, moments].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn unit_of_time(code: &str) -> &str {
    match code {
        "s" => "second(s)",
        "min" => "minute(s)",
        "h" => "hour(s)",
        "d" => "day(s)",
        "wk" => "week(s)",
        "mo" => "month(s)",
        "a" => "year(s)",
        other => other,
    }
}

/// How a medicine is taken: the prescriber's own words, else what the parts say.
pub(super) fn dosage(node: Option<Node<'_>>) -> Option<String> {
    let all: Vec<_> = node?.items().filter_map(dose).collect();
    (!all.is_empty()).then(|| all.join("; then "))
}

fn dose(node: Node<'_>) -> Option<String> {
    if let Some(text) = text(node.get("text")).or_else(|| text(node.get("patientInstruction"))) {
        return Some(text);
    }
    // Of an administration the dose is one element, of a request a list of them.
    let rate = node.get("doseAndRate").and_then(|it| it.items().next());
    let dose = rate.and_then(|it| choice(it, "dose")).or_else(|| quantity(node.get("dose")));
    let needed = node.get("asNeededBoolean").and_then(Node::boolean) == Some(true);
    let needed = concept(node.get("asNeededCodeableConcept"))
        .map(|why| format!("as needed for {why}"))
        .or_else(|| needed.then(|| "as needed".to_owned()));
    let when = node.get("timing").and_then(timing);
    let parts: Vec<_> =
        [dose, concept(node.get("route")), when, needed].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What a medicine is called: by its concept, else in the resource that the reference leads to.
pub(super) fn medicine(node: Node<'_>, all: &[Resource<'_>]) -> Option<String> {
    if let Some(concept) = concept(node.get("medicationCodeableConcept")) {
        return Some(concept);
    }
    let reference = node.get("medicationReference")?;
    let target = text(reference.get("reference")).and_then(|to| resolve(node, &to, all));
    target.and_then(|it| concept(it.get("code"))).or_else(|| text(reference.get("display")))
}

/// The resource of the document that a reference leads to.
pub(super) fn resolve<'a>(from: Node<'a>, to: &str, all: &[Resource<'a>]) -> Option<Node<'a>> {
    let has_id =
        |node: &Node<'_>, id: &str| node.get("id").and_then(Node::text).is_some_and(|it| it == id);
    if let Some(id) = to.strip_prefix('#') {
        return from.get("contained")?.items().find(|node| has_id(node, id));
    }
    let (kind, id) = to.rsplit_once('/').unwrap_or_default();
    let is_target = |it: &&Resource<'a>| {
        it.full_url.as_deref() == Some(to)
            || (has_id(&it.node, id)
                && it.node.resource_type().is_some_and(|it| kind.ends_with(&*it)))
    };
    all.iter().find(is_target).map(|it| it.node)
}

/// The name by which a reference, or the first of several, calls what it leads to.
pub(super) fn display(node: Option<Node<'_>>) -> Option<String> {
    let first = node?.items().next()?;
    let inner = ["actor", "individual", "who"].iter().find_map(|name| first.get(name));
    text(inner.unwrap_or(first).get("display"))
}

/// A person's name.
pub(super) fn name(node: Option<Node<'_>>) -> Option<String> {
    let first = node?.items().next()?;
    if let Some(text) = text(first.get("text")) {
        return Some(text);
    }
    let given = first.get("given").into_iter().flat_map(Node::items);
    let parts: Vec<_> =
        given.chain(first.get("family")).filter_map(|part| text(Some(part))).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}
