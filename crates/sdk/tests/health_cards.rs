//! Published SMART Health Cards and Links, from the folder `../shared/fhir` beside the repository (or `GALEN_FHIR`).
//!
//! Without the folder the tests say that they were skipped; with `GALEN_REQUIRE_FHIR=1` they fail. Each file of the
//! validator's test data has a row with what we say of it; `docs/protocol.md` lists where we judge otherwise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stderr, reason = "a skipped test must say so")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use galen_crypto::jose::LinkKey;
use galen_fhir::Document;
use galen_sdk::{
    health_card::{HealthCard, IssuerKeys, read_cards, verify_card},
    health_link::HealthLink,
};
use serde_json::Value;

/// The end of 2026: every published card is in time.
const NOW: u64 = 1_798_700_000;

const SPEC: &str = "https://spec.smarthealth.cards/examples/issuer";

fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fhir");
    let folder = env::var_os("GALEN_FHIR").map_or(beside, PathBuf::from).join("shc");
    if folder.is_dir() {
        return Some(folder);
    }
    let required = env::var_os("GALEN_REQUIRE_FHIR").is_some_and(|value| value == "1");
    assert!(!required, "the FHIR corpus is required");
    eprintln!("skipped: no FHIR corpus");
    None
}

/// Reads cards and verifies all of them; the first error in words.
fn judge(inputs: &[Vec<u8>], keys: &Result<IssuerKeys, String>) -> Result<Vec<HealthCard>, String> {
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let cards = read_cards(&inputs).map_err(|error| error.to_string())?;
    let keys = keys.as_ref().map_err(Clone::clone)?;
    let verified = cards.iter().map(|card| verify_card(card, keys, NOW));
    verified
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
}

fn keys(path: &Path) -> Result<IssuerKeys, String> {
    let read = IssuerKeys::read(&fs::read(path).unwrap());
    let mut keys = read.map_err(|error| error.to_string())?;
    for kid in keys.with_lists().map(str::to_owned).collect::<Vec<_>>() {
        if let Ok(list) = fs::read(path.with_file_name("crl").join(format!("{kid}.json"))) {
            keys.add_revocations(&list).map_err(|error| error.to_string())?;
        }
    }
    Ok(keys)
}

#[test]
fn official_cards_verify_against_the_issuers_keys() {
    let Some(folder) = folder() else { return };
    let examples = folder.join("hl7-examples");
    let keys = keys(&examples.join("issuer-jwks-public.json")).map(|keys| keys.of_issuer(SPEC));
    let mut bundles = BTreeSet::new();
    for name in [
        "example-00-d-jws.txt",
        "example-00-e-file.smart-health-card",
        "example-00-f-qr-code-numeric-value-0.txt",
    ] {
        let file = fs::read(examples.join(name)).unwrap();
        let cards = judge(std::slice::from_ref(&file), &keys)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((cards.len(), cards[0].issuer.as_str()), (1, SPEC), "{name}");
        assert!(cards[0].remarks.is_empty(), "{name}: {:?}", cards[0].remarks);
        bundles.insert(cards[0].bundle.expose().to_vec());
        // A character of the signature, another digit of the code.
        let mut changed = file.clone();
        let at = changed.len() - 20;
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        assert!(judge(&[changed], &keys).is_err(), "{name}");
    }
    assert_eq!(bundles.len(), 1, "three forms of one card");
    // Two of three parts.
    let parts = ["0", "2"].map(|part| {
        fs::read(examples.join(format!("example-02-f-qr-code-numeric-value-{part}.txt"))).unwrap()
    });
    assert!(judge(&parts, &keys).unwrap_err().contains("not all QR codes"));
    for name in ["example-02-c-jws-payload-minified.json", "example-03-c-jws-payload-minified.json"]
    {
        assert!(
            judge(&[fs::read(examples.join(name)).unwrap()], &keys)
                .unwrap_err()
                .contains("none in the input")
        );
    }
}

/// What we say of every text of the validator's test data that could be a card.
const ROWS: &[(&str, &str)] = &[
    ("test-example-00-d-jws-bad-fhir-metadata.txt", "good"),
    ("test-example-00-d-jws-der-signature-r-neg.txt", "signature of 64 bytes"),
    ("test-example-00-d-jws-der-signature-s-neg.txt", "signature of 64 bytes"),
    ("test-example-00-d-jws-jws_too_long.txt", "another shape"),
    ("test-example-00-d-jws-no_jws_header_alg.txt", "protected header"),
    ("test-example-00-d-jws-no_jws_header_zip.txt", "not compressed"),
    ("test-example-00-d-jws-trailing_chars.txt", "good"),
    ("test-example-00-e-file-bad_jwks.smart-health-card", "another issuer"),
    ("test-example-00-e-file-invalid_issuer_url.smart-health-card", "another issuer"),
    ("test-example-00-e-file-issuer_url_with_trailing_slash.smart-health-card", "slash"),
    ("test-example-00-e-file-multi-jws.smart-health-card", "good"),
    ("test-example-00-e-file-trailing_chars.smart-health-card", "good"),
    ("test-example-00-e-file.wrong-extension", "good"),
    ("test-example-00-f-qr-code-numeric-value-0-index-out-of-range.txt", "numbers of its QR codes"),
    ("test-example-00-f-qr-code-numeric-value-0-number-too-big.txt", "digits of a QR code"),
    ("test-example-00-f-qr-code-numeric-value-0-qr_chunk_too_small.txt", "not all QR codes"),
    ("test-example-00-f-qr-code-numeric-value-0-trailing_chars.txt", "good"),
    ("test-example-00-fhirhealthcard-with-resource-link.json", "good"),
    ("test-example-00-fhirhealthcard.json", "good"),
];

#[test]
fn cards_of_the_validator_are_judged_as_the_table_says() {
    let Some(folder) = folder() else { return };
    let tests = folder.join("dev-tools-testdata");
    let keys =
        keys(&folder.join("hl7-examples/issuer-jwks-public.json")).map(|keys| keys.of_issuer(SPEC));
    let mut wrong = Vec::new();
    for (name, expected) in ROWS {
        let said = match judge(&[fs::read(tests.join(name)).unwrap()], &keys) {
            Ok(_) => "good".to_owned(),
            Err(error) => error,
        };
        if !said.contains(expected) {
            wrong.push(format!("{name}: {said}, not {expected}"));
        }
    }
    // A card that is only a payload, or a bundle that nobody signed, is none.
    for entry in fs::read_dir(&tests).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let unsigned = name.contains("-00-a-") || name.contains("-00-b-");
        if unsigned && judge(&[fs::read(tests.join(&name)).unwrap()], &keys).is_ok() {
            wrong.push(format!("{name}: good"));
        }
        let listed = ROWS.iter().any(|(row, _)| *row == name);
        let card =
            ["-00-d-", "-00-e-", "-00-f-", "fhirhealthcard"].iter().any(|part| name.contains(part));
        let part = name.contains("qr_chunk_too_small");
        assert!(!card || listed || part, "{name} has no row");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn issuers_of_the_validator_are_judged_as_the_table_says() {
    let Some(folder) = folder() else { return };
    let tests = folder.join("dev-tools-testdata");
    let mut wrong = Vec::new();
    for (name, expected) in [
        ("valid_keys.json", "good"),
        ("valid_key.json", "good"),
        ("wrong_alg_key.json", "ES256"),
        ("wrong_kty_key.json", "lacks"),
        ("wrong_use_key.json", "signatures"),
        ("issuer.jwks.public.not.smart.json", "good"),
        // Certificates are not judged.
        ("cert_mismatch.public.json", "good"),
        ("invalid_DNS_SAN.public.json", "good"),
        ("invalid_chain.public.json", "good"),
        ("invalid_no_SAN.public.json", "good"),
        ("badjwks/.well-known/jwks.json", "JSON Web Key Set"),
        ("badcrl/.well-known/jwks.json", "JSON Web Key Set"),
        ("test-issuers.json", "JSON Web Key Set"),
        ("badcrl/duplicate-rid/.well-known/jwks.json", "twice"),
        ("badcrl/invalid-method/.well-known/jwks.json", "method"),
        ("badcrl/non-base64url-rid/.well-known/jwks.json", "malformed"),
        ("badcrl/too-long-rid/.well-known/jwks.json", "malformed"),
    ] {
        let said = keys(&tests.join(name)).map_or_else(|error| error, |_| "good".to_owned());
        if !said.contains(expected) {
            wrong.push(format!("{name}: {said}, not {expected}"));
        }
    }
    // Its list is not there to be checked, and the card says so.
    let place = tests.join("badcrl/version-mismatch");
    let card = judge(
        &[fs::read(place.join("jws-crl-version-mismatch.txt")).unwrap()],
        &keys(&place.join(".well-known/jwks.json")),
    );
    match card {
        Ok(cards) => assert_eq!(cards[0].revocation.as_str(), "not-checked"),
        Err(error) => wrong.push(format!("version-mismatch: {error}")),
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn official_links_are_read_and_their_files_decrypt() {
    let Some(folder) = folder() else { return };
    let details: Value = serde_json::from_slice(
        &fs::read(folder.join("hl7-examples/IPS_IG-bundle-01-shl-details.json")).unwrap(),
    )
    .unwrap();
    let payload = &details["shlinkJsonPayload"];
    for form in ["shlinkBare", "shlink"] {
        let link = HealthLink::parse(details[form].as_str().unwrap()).unwrap();
        assert_eq!(link.url, payload["url"].as_str().unwrap());
        assert_eq!(link.key, LinkKey::from_text(payload["key"].as_str().unwrap()).unwrap());
        assert_eq!(link.label.as_deref(), payload["label"].as_str());
        assert!(link.long_term && link.direct && !link.passcode);
        // The file itself is not part of every copy of the corpus.
        if let Ok(file) = fs::read_to_string(folder.join("hl7-examples/IPS_IG-bundle-01-enc.txt")) {
            let opened = link.key.open(file.trim(), 1 << 20).unwrap();
            let published: Value = serde_json::from_slice(
                &fs::read(folder.join("hl7-examples/IPS_IG-bundle-01.json")).unwrap(),
            )
            .unwrap();
            let decrypted: Value = serde_json::from_slice(opened.plaintext.expose()).unwrap();
            assert_eq!(decrypted, published);
            assert!(Document::read(opened.plaintext.expose()).is_ok());
            eprintln!("the official encrypted file decrypts to the published JSON");
        }
    }
    let tests = folder.join("dev-tools-testdata");
    let stored = tests.join("shl-examples/ERn18l4lL3_5yPXMSzx3ZejyMM_XIeWeseXa3DXsJD0.json");
    let stored: Value = serde_json::from_slice(&fs::read(stored).unwrap()).unwrap();
    for (name, passcode, direct) in [
        ("shlink-link.txt", true, false),
        ("shlink-link-with-viewer.txt", true, false),
        ("shlink-link-direct.txt", false, true),
    ] {
        let link = HealthLink::parse(&fs::read_to_string(tests.join(name)).unwrap()).unwrap();
        assert_eq!(
            (link.passcode, link.direct, link.expires),
            (passcode, direct, Some(1_704_096_000)),
            "{name}"
        );
        if !direct {
            for file in stored["jweFiles"].as_array().unwrap() {
                let opened = link.key.open(file.as_str().unwrap(), 1 << 20).unwrap();
                assert!(!read_cards(&[opened.plaintext.expose()]).unwrap().is_empty(), "{name}");
            }
        }
    }
    assert!(
        HealthLink::parse(&fs::read_to_string(tests.join("shlink-payload-direct.txt")).unwrap())
            .is_err()
    );
}
