//! A site's rules refuse a document and say why; the patient reads in plain words what is proposed, says why it is
//! rejected and what is to be corrected; the hospital reads that and amends; the patient reads old and new.

use serde_json::Value;

use crate::{
    common::{at, items},
    world::Pair,
};

/// What only the patient's screen and the author's may show.
const SECRET: &str = "Quorvatide";

impl Pair {
    fn prescription(&self, name: &str, dose: &str, requester: &str) -> String {
        let json = format!(
            r#"{{"resourceType":"MedicationRequest","id":"m1","status":"active","intent":"order","subject":{{"reference":"Patient/p"}},"medicationCodeableConcept":{{"text":"{SECRET}"}},"authoredOn":"2026-03-02","dosageInstruction":[{{"text":"{dose}"}}]{requester}}}"#
        );
        self.world.write(name, &json)
    }

    fn only_proposal(&self) -> String {
        let inbox = self.patient.json(&["record", "inbox"]);
        assert_eq!(items(&inbox, "/proposals").len(), 1);
        at(&inbox, "/proposals/0/id").to_owned()
    }
}

const BY: &str = r#","requester":{"display":"Dr Berg"}"#;

#[test]
fn a_wrong_dose_is_refused_read_rejected_corrected_and_accepted() {
    let two = Pair::meet();
    let (world, hospital, patient) = (&two.world, &two.hospital, &two.patient);

    // The site's rules, where the profile has them.
    let rules = "[compliance]\nauthor = [\"MedicationRequest\"]\n";
    std::fs::write(hospital.home.join("profiles/default/site.toml"), rules).unwrap();
    let shown = hospital.json(&["config", "show"]);
    assert!(at(&shown, "/settings/site/value").ends_with("site.toml"), "{shown:#}");
    let bare = two.prescription("bare.json", "1 tablet at night", "");
    let said = hospital.run(&["record", "propose", "--to", "anna", &bare]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    let told = format!(
        "refused\t{bare}\tnobody is named who wrote, observed or did it\tMedicationRequest\t-\tfill \
         MedicationRequest.recorder or MedicationRequest.requester\n"
    );
    assert_eq!(said.stdout, told);
    let machine = hospital.run(&["record", "propose", "--to", "anna", &bare, "--json"]);
    let report: Value = serde_json::from_str(&machine.stdout).unwrap();
    assert_eq!(at(&report, "/rejects/0/violations/0/rule"), "author");
    assert!(
        items(&patient.json(&["record", "inbox"]), "/proposals").is_empty(),
        "nothing was sealed"
    );

    // The patient reads it, and sends it back with a reason.
    let wrong = two.prescription("wrong.json", "100 tablets at night", BY);
    hospital.ok(&["record", "propose", "--to", "anna", &wrong]);
    let id = two.only_proposal();
    let sentence = format!("Prescribed: {SECRET}; 100 tablets at night; 2026-03-02; by Dr Berg");
    for command in [&["record", "inbox", "--words"][..], &["record", "show", &id, "--words"]] {
        let said = patient.ok(command);
        assert!(said.stdout.contains(&sentence), "{}", said.stdout);
        assert!(!said.stderr.contains(SECRET));
        let json = patient.json(command).to_string();
        assert!(json.contains(&sentence), "{json}");
    }
    assert!(!patient.ok(&["record", "inbox"]).stdout.contains(SECRET), "machines ask for words");
    let (why, to_hospital) =
        (world.write("why.txt", "100 is not what we agreed\n"), world.path("to"));
    let refusal = ["--reason-file", &why, "--out", &to_hospital];
    patient.ok(&[&["record", "reject", &id][..], &refusal].concat());
    assert!(!std::fs::read_to_string(&to_hospital).unwrap().contains("agreed"));
    let read = hospital.json(&["record", "replies", &to_hospital]);
    assert_eq!(at(&read, "/replies/0/text"), "100 is not what we agreed");
    assert_eq!(at(&read, "/replies/0/kind"), "rejection");
    assert_eq!(at(&read, "/replies/0/patient/name"), "anna");
    let outbox = hospital.json(&["record", "inbox"]);
    assert_eq!(at(&outbox, "/proposals/0/reply"), "rejection");

    // The next one has a fault, too; the patient leaves it open and asks for a correction.
    let second = two.prescription("second.json", "10 tablets at night", BY);
    hospital.ok(&["record", "propose", "--to", "anna", &second]);
    let id = two.only_proposal();
    let said = patient.ok(&["record", "correct", &id, "--only", "0", "--reason-file", &why]);
    let line = said.cells()[0][2].clone();
    assert_eq!(two.only_proposal(), id, "nothing is answered");
    replies_that_do_not_fit_are_refused(&two, &line);
    hospital.ok(&["record", "replies", &line]);
    let list = hospital.json(&["record", "list", "--patient", "anna", "--state", "unconfirmed"]);
    assert_eq!(at(&list, "/records/0/reply"), "correction");
    assert_eq!(items(&hospital.json(&["record", "replies"]), "/replies").len(), 2);
    patient.ok(&["record", "accept", &id]);

    // The hospital amends, and the patient sees old and new.
    let record = at(&list, "/records/0/id").to_owned();
    let right = two.prescription("right.json", "1 tablet at night", BY);
    hospital.fails(2, "nobody is named", &["record", "amend", &record, &bare, "--to", "anna"]);
    hospital.ok(&["record", "amend", &record, &right, "--to", "anna"]);
    let id = two.only_proposal();
    let said = patient.ok(&["record", "show", &id, "--words"]);
    let change = "dosageInstruction[0].text: 10 tablets at night → 1 tablet at night";
    assert!(said.stdout.contains(change), "{}", said.stdout);
    let shown = patient.json(&["record", "show", &id, "--words"]);
    let change = shown.pointer("/documents/0/word_changes/0").unwrap();
    assert_eq!((at(change, "/kind"), at(change, "/before")), ("changed", "10 tablets at night"));
    patient.ok(&["record", "accept", &id]);
    let said = patient.ok(&["record", "show", &record, "--words"]);
    assert!(said.stdout.contains("1 tablet at night"), "{}", said.stdout);
}

/// A damaged line, a line of another kind, and a line that somebody else gives out as theirs.
fn replies_that_do_not_fit_are_refused(two: &Pair, line: &str) {
    let hospital = &two.hospital;
    let half = line.len() / 2;
    let other = if line.as_bytes()[half] == b'A' { "B" } else { "A" };
    let damaged = format!("{}{other}{}", &line[..half], &line[half + 1..]);
    let said = hospital.run(&["record", "replies", &damaged]);
    assert!([2, 5].contains(&said.code), "{} {}", said.code, said.stderr);
    hospital.fails(2, "", &["record", "replies", &line.replace(":reply:", ":grant:")]);
    two.patient.fails(2, "this profile is for", &["record", "replies", line]);
    assert_eq!(items(&hospital.json(&["record", "replies"]), "/replies").len(), 1);
}
