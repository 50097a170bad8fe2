//! Documents that are signed by parts, by commands: signed, proposed, extracted, verified, and tampered with.

use serde_json::Value;

use crate::{
    common::{CANARY as HIDDEN, Said, at, galen, items, mode},
    world::{Pair, Person, World},
};

const NOTE: &str = r#"{"resourceType":"Condition","recordedDate":"2026-03-02","code":{"text":"asthma"},"subject":{"display":"somebody"},"note":[{"text":"Zyxtonorine"}]}"#;

/// `galen verify` of somebody without profile, folder and password.
fn verify(world: &World, args: &[&str]) -> (i32, String, String) {
    let mut command = galen();
    let said = Said::by(command.arg("verify").args(args).args(["--home", &world.path("nobody")]));
    (said.code, said.stdout, said.stderr)
}

/// Outcome of a check.
fn outcome<'a>(lines: &'a str, check: &str) -> &'a str {
    let line = lines.lines().find(|line| line.split('\t').next() == Some(check));
    line.unwrap_or_else(|| panic!("{check}: {lines}")).split('\t').nth(1).unwrap()
}

/// A hospital and its patient, and a clinician whom the patient knows.
struct Ward {
    pair: Pair,
    clinician: Person,
}

impl Ward {
    fn new() -> Self {
        let pair = Pair::meet();
        let clinician = pair.world.guest("clinician", "reader", &pair.hospital);
        pair.world.meet(&pair.patient, &clinician, &["--as", "dr-gray", "--verified"]);
        Self { pair, clinician }
    }

    /// Proposes a file; the patient accepts. Gives the record's id.
    fn accepted(&self, file: &str) -> String {
        at(&self.pair.accepted(file), "/proposals/0/records/0").to_owned()
    }
}

#[test]
fn parts_of_a_record_are_shown_and_verified_by_anybody() {
    let ward = Ward::new();
    let (world, patient) = (&ward.pair.world, &ward.pair.patient);
    let note = world.write("note.json", NOTE);
    let record = ward.accepted(&note);
    let shown = patient.json(&["record", "show", &record]);
    assert_eq!(at(&shown, "/documents/0/signature/state"), "valid");
    assert_eq!(at(&shown, "/documents/0/signature/author/name"), "hospital");

    let file = world.path("shown.json");
    let extract = ["record", "extract", &record, "--hide", "*.note", "--out", &file];
    let extracted = patient.json(&extract);
    assert!(extracted["hidden"].as_u64().unwrap() > 0);
    assert_eq!(mode(world.file("shown.json")), 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("asthma") && !text.contains(HIDDEN));

    // With nothing but the file; then with a node; then knowing the author.
    let card = world.path("hospital.card");
    let hospital = format!("{:#x}", ward.pair.hospital.id);
    let stranger = format!("{:#x}", patient.id);
    let node = ["--rpc-url", &world.url];
    let (code, said, _) = verify(world, &[&file]);
    assert_eq!(
        (code, outcome(&said, "signature"), outcome(&said, "author")),
        (0, "holds", "unchecked")
    );
    assert_eq!((outcome(&said, "member"), outcome(&said, "key")), ("unchecked", "holds"));
    let (code, said, _) = verify(world, &[&[file.as_str(), "--author", &card][..], &node].concat());
    for check in ["parts", "signature", "key", "member", "author", "ledger", "contract"] {
        assert_eq!(outcome(&said, check), "holds", "{said}");
    }
    assert_eq!(code, 0);
    let (code, said, _) = verify(world, &[&file, "--author", &hospital, "--json"]);
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &answer["authentic"], &answer["complete"]), (0, &true.into(), &false.into()));
    let (code, said, _) = verify(world, &[&file, "--author", &stranger, "--fhir"]);
    assert_eq!((code, said.as_str()), (5, ""), "nothing is given out that is not its author's");
    let (code, said, _) = verify(world, &[&file, "--author", &hospital, "--fhir"]);
    let view: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 0);
    assert!(view.to_string().contains("asthma") && !said.contains(HIDDEN));

    tampered(world, &text);
    wrong_requests(&ward, &record);
}

/// What is changed in the file, as text; each is noticed.
fn tampered(world: &World, text: &str) {
    let changes = [
        ("asthma", "angina"),
        ("\"rotations\":0", "\"rotations\":1"),
        ("\"issued\":1", "\"issued\":2"),
        ("\"signature\":\"0x", "\"signature\":\"0x0"),
        ("\"depth\":10", "\"depth\":12"),
        (
            "\"nodes\":[",
            "\"nodes\":[\"0x0000000000000000000000000000000000000000000000000000000000000001\",",
        ),
        ("{\"galen\"", "{\"more\":1,\"galen\""),
        ("presentation/1", "presentation/2"),
    ];
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        let file = world.write("tampered.json", &text.replacen(old, new, 1));
        let out = world.path("never.json");
        let (code, said, _) = verify(world, &[&file, "--out", &out]);
        // A rotation without a node is for the signature to refuse: it is signed, too.
        assert_eq!(code, 5, "{old}: {said}");
        assert!(!world.file("never.json").exists(), "{old}");
    }
    let plain = world.path("note.json");
    let (code, _, help) = verify(world, &[&plain]);
    assert!(code == 5 && help.contains("not signed by parts"), "{help}");
}

fn wrong_requests(ward: &Ward, record: &str) {
    let (patient, out) = (&ward.pair.patient, ward.pair.world.path("out.json"));
    let extract = |pattern| ["record", "extract", record, "--hide", pattern, "--out", &out];
    patient.fails(2, "Condition.nott", &extract("Condition.nott"));
    patient.fails(
        3,
        "no file and no record",
        &["record", "extract", "x", "--only", "*.id", "--out", &out],
    );
    patient.fails(3, "", &["record", "extract", "0x0123456789", "--only", "*.id", "--out", &out]);
    let note = ward.pair.world.path("note.json");
    patient.fails(
        2,
        "not a signed document",
        &["record", "extract", &note, "--only", "*.id", "--out", &out],
    );
    let shown = ward.pair.world.path("shown.json");
    let again = ["record", "extract", record, "--hide", "*.note", "--out", &shown];
    patient.fails(2, "exists", &again);
}

#[test]
fn a_clinician_signs_and_the_hospital_proposes_what_was_signed() {
    let ward = Ward::new();
    let (world, patient) = (&ward.pair.world, &ward.pair.patient);
    let clinician = &ward.clinician;
    let note = world.write("note.json", NOTE);
    let bad = world.write("bad.json", r#"{"resourceType":"Ghost"}"#);
    let folder = world.path("signed");
    let said = clinician.run(&["record", "sign", &note, &bad, "--out", &folder, "--json"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((items(&answer, "/documents").len(), items(&answer, "/rejects").len()), (1, 1));
    let file = at(&answer, "/documents/0/file").to_owned();
    assert_eq!(mode(&file), 0o600);

    let record = ward.accepted(&folder);
    let shown = patient.json(&["record", "show", &record]);
    assert_eq!(at(&shown, "/documents/0/signature/author/name"), "dr-gray");
    assert_eq!(at(&shown, "/documents/0/author/name"), "hospital");
    // The same bytes come back; no member of the network signed them.
    let again = world.path("again.signed");
    patient.ok(&["record", "get", &record, "--signed", "--out", &again]);
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&file).unwrap());
    let document = patient.ok(&["record", "get", &record]).stdout;
    assert!(document.contains(NOTE));
    let card = world.path("clinician.card");
    let (code, said, _) = verify(world, &[&file, "--rpc-url", &world.url, "--author", &card]);
    assert_eq!(
        (code, outcome(&said, "member"), outcome(&said, "author")),
        (0, "unchecked", "holds")
    );

    // A bit of it changed: neither extracted nor proposed.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 1;
    std::fs::write(world.file("forged.signed"), bytes).unwrap();
    let forged = world.path("forged.signed");
    let (code, said, _) = verify(world, &[&forged]);
    assert!(code == 5 && outcome(&said, "signature") == "fails", "{said}");
    let refused = ward.pair.hospital.run(&["record", "propose", "--to", "anna", &forged]);
    assert!(
        refused.code == 2 && refused.stdout.contains("not signed by who it says"),
        "{}",
        refused.stdout
    );
}
