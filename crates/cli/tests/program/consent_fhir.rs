//! Consents that leave and enter the program as FHIR, told by people.

use std::path::Path;

use galen_fhir::Document;
use serde_json::{Value, json};

use crate::{
    common::{at, items, mode},
    world::{Person, World},
};

/// A patient, and a physician of the same network.
struct Cast {
    world: World,
    patient: Person,
    physician: Person,
}

impl Cast {
    fn gather() -> Self {
        let world = World::start();
        let [physician] = world.members(["physician"]);
        let patient = world.guest("patient", "patient", &physician);
        patient.trust_the_head();
        world.meet(&physician, &patient, &["--as", "anna"]);
        Self { world, patient, physician }
    }

    /// A Consent of a clinic that ends with the year 2090.
    fn clinic(&self, name: &str, more: &Value) -> String {
        let mut consent = json!({
            "resourceType": "Consent", "status": "active",
            "scope": {"coding": [{"code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "policy": [{"uri": "http://example.org/policy"}],
            "provision": {
                "type": "permit",
                "period": {"end": "2090"},
                "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
                "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "AllergyIntolerance"}],
            },
        });
        for (name, value) in more.as_object().unwrap() {
            consent["provision"][name] = value.clone();
        }
        self.world.write(name, &consent.to_string())
    }
}

fn read(path: &str) -> Value {
    let bytes = std::fs::read(path).unwrap();
    Document::read(&bytes).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_consent_leaves_as_fhir_and_comes_back() {
    let cast = Cast::gather();
    let (world, patient, physician) = (&cast.world, &cast.patient, &cast.physician);
    let grant = ["consent", "grant", "--to", "physician", "--purpose", "TREAT", "--for", "30d"];
    let granted = patient
        .json(&[&grant[..], &["--category", "laboratory", "--category", "mental-health"]].concat());
    patient.ok(&["consent", "grant", "--emergency", "--preset", "emergency", "--for", "1y"]);
    let id = at(&granted, "/consent/id");

    for flavour in ["r4-full", "ihe-pcf"] {
        let file = world.path(&format!("{flavour}.json"));
        let written = patient.json(&["consent", "export", "--flavour", flavour, "--out", &file]);
        assert_eq!(written["consents"], 2);
        assert_eq!(mode(&file), 0o600);
        let bundle = read(&file);
        let consent = &bundle["entry"][0]["resource"];
        assert_eq!(at(consent, "/status"), "active");
        assert_eq!(at(consent, "/identifier/0/value"), id);
        assert_eq!(at(consent, "/provision/actor/0/reference/display"), "physician");
        // What is signed again is the same, but for its salt.
        let again = patient.json(&["consent", "import", &file, "--dry-run"]);
        let planned = items(&again, "/grants");
        assert_eq!(planned.len(), 2);
        for field in ["grantee", "categories", "purposes", "until"] {
            assert_eq!(planned[0][field], granted["consent"][field], "{flavour}");
        }
        assert_eq!(planned[1]["grantee"], Value::Null);
        for_the_oracle(&file, flavour);
    }

    patient.ok(&["consent", "revoke-all"]);
    patient.fails(3, "no consent is live", &["consent", "export"]);
    let revoked = patient.json(&["consent", "export", id]);
    assert_eq!(at(&revoked, "/entry/0/resource/status"), "inactive");

    let imported = patient.json(&["consent", "import", &world.path("ihe-pcf.json")]);
    assert_eq!((items(&imported, "/grants").len(), items(&imported, "/left_out").len()), (2, 0));
    let anew = at(&imported, "/grants/0/id");
    assert_ne!(anew, id);
    let taken = physician.json(&["grant", "add", at(&imported, "/grants/0/grant")]);
    assert_eq!(at(&taken, "/state"), "live");
    assert_eq!(taken["categories"], granted["consent"]["categories"]);
    let listed = patient.json(&["consent", "list"]);
    assert_eq!(items(&listed, "/consents").len(), 2);
    // Both of one change are of one transaction.
    assert_eq!(
        listed.pointer("/consents/0/granted/transaction"),
        listed.pointer("/consents/1/granted/transaction")
    );

    let scopes = patient.ok(&["consent", "scopes", anew]).cells();
    let scopes: Vec<&str> = scopes.iter().map(|line| line[1].as_str()).collect();
    assert!(scopes.contains(&"patient/Specimen.rs"), "{scopes:?}");
    assert!(
        scopes.contains(
            &"patient/*.rs?_security=http://terminology.hl7.org/CodeSystem/v3-ActCode|PSY"
        )
    );
}

#[test]
fn a_consent_of_others_grants_no_more_than_it_says() {
    let cast = Cast::gather();
    let patient = &cast.patient;
    let named = json!({"actor": [{
        "role": {"coding": [{"code": "IRCP"}]}, "reference": {"reference": "Organization/f001"},
    }]});
    let file = cast.clinic("named.json", &named);
    let map = ["--map", "Organization/f001=physician"];

    // Nobody is meant before the patient says who.
    let nobody = patient.ok(&["consent", "import", &file, "--dry-run"]);
    let line = ["left-out", "Consent.provision.actor[0]"];
    assert_eq!((nobody.cells().len(), &nobody.cells()[0][..2]), (1, &line.map(str::to_owned)[..]));
    patient.fails(2, "nothing to grant", &["consent", "import", &file]);
    patient.fails(
        2,
        "mapped twice",
        &[&["consent", "import", &file, "--map", "*=physician", "--map", "*=self"][..]].concat(),
    );

    let granted = patient.json(&[&["consent", "import", &file][..], &map].concat());
    assert_eq!(granted.pointer("/grants/0/categories"), Some(&json!(["allergies"])));
    assert_eq!(granted.pointer("/grants/0/purposes"), Some(&json!(["TREAT"])));
    // The first second of 2091.
    assert_eq!(granted.pointer("/grants/0/until"), Some(&json!(3_818_448_000_u64)));

    // What narrows further is left out, with its place.
    let mut window = named.clone();
    window["dataPeriod"] = json!({"start": "2022"});
    let file = cast.clinic("window.json", &window);
    let dry = patient.json(&[&["consent", "import", &file, "--dry-run"][..], &map].concat());
    assert_eq!(items(&dry, "/grants").len(), 0);
    assert_eq!(at(&dry, "/left_out/0/path"), "Consent.provision.dataPeriod");
    patient.fails(2, "nothing to grant", &[&["consent", "import", &file][..], &map].concat());

    // An end must be named where the Consent has none.
    let mut open = named;
    open["period"] = json!({"start": "2020"});
    let file = cast.clinic("open.json", &open);
    let import = [&["consent", "import", &file][..], &map].concat();
    patient.fails(2, "a Consent has no end", &import);
    let before = items(&patient.json(&["consent", "list"]), "/consents").len();
    let ended = patient.json(&[&import[..], &["--until", "2080-01-01"]].concat());
    assert_eq!(ended.pointer("/grants/0/until"), Some(&json!(3_471_292_800_u64)));
    assert_eq!(items(&patient.json(&["consent", "list"]), "/consents").len(), before + 1);

    let nothing = cast.world.write("patient.json", r#"{"resourceType":"Patient"}"#);
    patient.fails(2, "no Consent in a document of type Patient", &["consent", "import", &nothing]);
    let broken = cast.world.write("broken.json", "{");
    patient.fails(2, "cannot accept", &["consent", "import", &broken]);

    let read = ["consent", "scopes", "--read", "patient/AllergyIntolerance.rs user/Patient.rs"];
    let report = patient.ok(&read).cells();
    assert_eq!(report[0], ["category", "allergies"]);
    assert_eq!(report[1], ["left-out", "user/Patient.rs", "is not about one patient"]);
}

/// What the program wrote, kept for the check by a library of others.
fn for_the_oracle(file: &str, flavour: &str) {
    let Some(out) = std::env::var_os("GALEN_CONSENT_OUT") else { return };
    std::fs::create_dir_all(&out).unwrap();
    std::fs::copy(file, Path::new(&out).join(format!("{flavour}.json"))).unwrap();
}
