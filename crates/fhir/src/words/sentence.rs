//! One resource in one sentence.

use super::value::{
    choice, concept, concepts, display, dosage, medicine, name, period, quantity, text, word,
};
use crate::{Node, Resource};

/// Elements that say when, the most telling first.
const WHEN: [&str; 13] = [
    "effective",
    "performed",
    "occurrence",
    "onset",
    "started",
    "whenHandedOver",
    "authoredOn",
    "date",
    "recordedDate",
    "dateAsserted",
    "created",
    "issued",
    "recorded",
];

/// Elements that say who.
const WHO: [&str; 9] = [
    "performer",
    "requester",
    "recorder",
    "asserter",
    "author",
    "participant",
    "provider",
    "informationSource",
    "source",
];

/// Status words that say nothing worth reading.
const USUAL: [&str; 5] = ["final", "completed", "active", "finished", "current"];

/// What a resource says.
struct Telling<'a> {
    node: Node<'a>,
    /// `Measured`, `Allergy`.
    head: String,
    /// What, and how much of it.
    body: Vec<String>,
    /// Behind the body, each after a semicolon.
    more: Vec<String>,
}

/// The sentence. Empty elements are left out; a type that is not known by heart is told by its name.
pub(super) fn of(node: Node<'_>, all: &[Resource<'_>]) -> String {
    let kind = node.resource_type().unwrap_or_default();
    let mut telling = Telling { node, head: String::new(), body: Vec::new(), more: Vec::new() };
    match &*kind {
        "Patient" | "Person" | "RelatedPerson" => telling.person(&kind),
        "Observation" => telling.observation(),
        "Condition" => telling.condition(),
        "AllergyIntolerance" => telling.allergy(),
        "MedicationRequest" => telling.medicine("Prescribed", all),
        "MedicationStatement" => telling.medicine("Taken", all),
        "MedicationDispense" => telling.medicine("Handed out", all),
        "MedicationAdministration" => telling.medicine("Given", all),
        "Immunization" => telling.immunization(),
        "Procedure" => telling.procedure(),
        "Encounter" => telling.encounter(),
        "DiagnosticReport" => telling.report(),
        "DocumentReference" | "Composition" => telling.document(&kind),
        "FamilyMemberHistory" => telling.family(),
        "Claim" | "ExplanationOfBenefit" | "Coverage" => telling.bill(&kind),
        "ServiceRequest" | "CarePlan" | "Goal" => telling.plan(&kind),
        _ => telling.other(&kind),
    }
    telling.finish(&kind)
}

impl<'a> Telling<'a> {
    fn get(&self, name: &str) -> Option<Node<'a>> {
        self.node.get(name)
    }

    fn head(&mut self, head: &str) {
        head.clone_into(&mut self.head);
    }

    fn say(&mut self, what: Option<String>) {
        self.body.extend(what);
    }

    fn add(&mut self, label: &str, what: Option<String>) {
        let separator = if label.is_empty() { "" } else { " " };
        self.more.extend(what.map(|what| format!("{label}{separator}{what}")));
    }

    fn person(&mut self, kind: &str) {
        self.head(match kind {
            "Patient" => "Who you are",
            "RelatedPerson" => "Somebody close to you",
            _ => "A person",
        });
        self.say(name(self.get("name")));
        self.add("", concepts(self.get("relationship")));
        self.add("born", text(self.get("birthDate")));
        self.add("", word(self.get("gender")));
        self.add("died", choice(self.node, "deceased").filter(|it| it != "no"));
    }

    fn observation(&mut self) {
        self.head("Measured");
        self.say(concept(self.get("code")));
        let value = choice(self.node, "value");
        let absent = concept(self.get("dataAbsentReason"));
        self.say(value.or_else(|| absent.map(|why| format!("without a value: {why}"))));
        let components = self.get("component").into_iter().flat_map(Node::items);
        for component in components {
            let value = choice(component, "value");
            let value = value.or_else(|| concept(component.get("dataAbsentReason")));
            let code = concept(component.get("code")).unwrap_or_default();
            self.add(&code, value);
        }
        self.add("judged", concepts(self.get("interpretation")));
    }

    fn condition(&mut self) {
        self.head("Diagnosis");
        self.say(concept(self.get("code")));
        self.add("", concept(self.get("clinicalStatus")).filter(|it| !is_usual(it)));
        self.add("", concept(self.get("verificationStatus")).filter(|it| it != "confirmed"));
        self.add("severity", concept(self.get("severity")));
        self.add("since", choice(self.node, "onset"));
        self.add("over since", choice(self.node, "abatement"));
    }

    fn allergy(&mut self) {
        self.head("Allergy");
        self.say(concept(self.get("code")));
        self.add("", concept(self.get("clinicalStatus")).filter(|it| !is_usual(it)));
        self.add("", concept(self.get("verificationStatus")).filter(|it| it != "confirmed"));
        self.add("risk", word(self.get("criticality")));
        let reactions = self.get("reaction").into_iter().flat_map(Node::items);
        for reaction in reactions {
            let severity = word(reaction.get("severity"));
            let severity = severity.map(|it| format!(" ({it})")).unwrap_or_default();
            let what = concepts(reaction.get("manifestation"));
            self.add("reaction", what.map(|what| what + &severity));
        }
        self.add("since", choice(self.node, "onset"));
    }

    fn medicine(&mut self, head: &str, all: &[Resource<'_>]) {
        let forbidden = self.get("doNotPerform").and_then(Node::boolean) == Some(true);
        self.head(if forbidden { "Not to be taken" } else { head });
        self.say(medicine(self.node, all));
        let dosage = dosage(self.get("dosageInstruction").or_else(|| self.get("dosage")));
        self.add("", dosage);
        self.add("for", concepts(self.get("reasonCode")));
        self.add("intent:", word(self.get("intent")).filter(|it| it != "order"));
    }

    fn immunization(&mut self) {
        let not = text(self.get("status")).is_some_and(|it| it == "not-done");
        self.head(if not { "Vaccination NOT given" } else { "Vaccination" });
        self.say(concept(self.get("vaccineCode")));
        self.add("because", concept(self.get("statusReason")));
        self.add("dose", quantity(self.get("doseQuantity")));
        self.add("lot", text(self.get("lotNumber")));
    }

    fn procedure(&mut self) {
        let not = text(self.get("status")).is_some_and(|it| it == "not-done");
        self.head(if not { "Procedure NOT done" } else { "Procedure" });
        self.say(concept(self.get("code")));
        self.add("because", concept(self.get("statusReason")));
        self.add("at", concepts(self.get("bodySite")));
        self.add("for", concepts(self.get("reasonCode")));
        self.add("outcome", concept(self.get("outcome")));
    }

    fn encounter(&mut self) {
        self.head("Visit");
        let class = self.get("class");
        let class = class.and_then(|it| text(it.get("display")).or_else(|| text(it.get("code"))));
        self.say(concepts(self.get("type")).or(class));
        self.add("for", concepts(self.get("reasonCode")));
        self.add("", period(self.get("period")));
        self.add("at", display(self.get("serviceProvider")));
    }

    fn report(&mut self) {
        self.head("Report");
        self.say(concept(self.get("code")));
        self.add("conclusion:", text(self.get("conclusion")));
        self.add("conclusion:", concepts(self.get("conclusionCode")));
        let results = self.get("result").map_or(0, |results| results.items().count());
        self.add("", (results > 0).then(|| format!("{results} results")));
    }

    fn document(&mut self, kind: &str) {
        self.head(if kind == "Composition" { "Document" } else { "Note or file" });
        self.say(text(self.get("title")).or_else(|| text(self.get("description"))));
        self.add("", concept(self.get("type")));
        let file = self.get("content").and_then(|it| it.items().next()?.get("attachment"));
        self.add(
            "",
            file.and_then(|it| text(it.get("title")).or_else(|| text(it.get("contentType")))),
        );
    }

    fn family(&mut self) {
        self.head("In the family");
        self.say(concept(self.get("relationship")));
        let conditions = self.get("condition").into_iter().flat_map(Node::items);
        for condition in conditions {
            self.add("", concept(condition.get("code")));
        }
    }

    fn bill(&mut self, kind: &str) {
        self.head(if kind == "Coverage" { "Insurance" } else { "Bill" });
        self.say(concept(self.get("type")));
        let total = self.get("total").and_then(|it| it.items().next());
        let amount = total.map(|it| it.get("amount").unwrap_or(it));
        let amount = amount.and_then(|it| Some((it.get("value")?.number()?, it.get("currency"))));
        self.add(
            "",
            amount.map(|(value, currency)| {
                let currency = text(currency).map(|it| format!(" {it}")).unwrap_or_default();
                format!("{value}{currency}")
            }),
        );
        self.add("", period(self.get("billablePeriod").or_else(|| self.get("period"))));
        self.add("payer", display(self.get("payor").or_else(|| self.get("insurer"))));
    }

    fn plan(&mut self, kind: &str) {
        let forbidden = self.get("doNotPerform").and_then(Node::boolean) == Some(true);
        self.head(match kind {
            _ if forbidden => "Not to be done",
            "ServiceRequest" => "Ordered",
            "Goal" => "Goal",
            _ => "Plan",
        });
        let what = concept(self.get("code")).or_else(|| concept(self.get("description")));
        self.say(
            what.or_else(|| text(self.get("title"))).or_else(|| concepts(self.get("category"))),
        );
        self.add("for", concepts(self.get("reasonCode")));
        self.add("", period(self.get("period")));
    }

    /// `ImagingStudy` as `Imaging study`, with what such resources are mostly known by.
    fn other(&mut self, kind: &str) {
        let words: String = kind
            .char_indices()
            .map(|(at, c)| {
                if at > 0 && c.is_ascii_uppercase() {
                    format!(" {}", c.to_ascii_lowercase())
                } else {
                    c.to_string()
                }
            })
            .collect();
        self.head(&words);
        let named = ["code", "type", "category", "serviceType", "scope"];
        let what = named.iter().find_map(|name| concepts(self.get(name)));
        let titled = ["title", "name", "description", "deviceName"];
        self.say(what.or_else(|| titled.iter().find_map(|name| text(self.get(name)))));
        self.add("", period(self.get("period")));
    }

    fn finish(mut self, kind: &str) -> String {
        let status = word(self.get("status"));
        let wrong = status.as_deref() == Some("entered in error")
            || concept(self.get("verificationStatus")).is_some_and(|it| it == "entered-in-error");
        self.add("status", status.filter(|it| !is_usual(it) && !wrong));
        // What begins says it already.
        let told = ["Condition", "AllergyIntolerance"].contains(&kind).then_some("onset");
        let dated = |name: &&&'static str| Some(**name) != told;
        let when = WHEN
            .iter()
            .filter(dated)
            .find_map(|name| text(self.get(name)).or_else(|| choice(self.node, name)));
        let is_person = ["Patient", "Person", "RelatedPerson"].contains(&kind);
        self.add("", when.filter(|_| !is_person));
        let who = WHO.iter().find_map(|name| display(self.get(name)));
        self.add("by", who.filter(|_| !is_person));
        let notes = self.get("note").map_or(0, |notes| notes.items().count());
        self.add("", (notes > 0).then(|| "with a note".to_owned()));
        let Self { head, mut body, more, .. } = self;
        if body.is_empty() {
            body.push("not said what".to_owned());
        }
        let error = if wrong { "ENTERED IN ERROR: " } else { "" };
        let more: String = more.iter().map(|it| format!("; {it}")).collect();
        format!("{error}{head}: {}{more}", body.join(" "))
    }
}

fn is_usual(status: &str) -> bool {
    USUAL.contains(&status)
}
