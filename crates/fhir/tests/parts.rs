//! What is shown of a document signed by parts, and that nothing else can be shown of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use galen_fhir::{
    Document,
    parts::{PartTree, PartsError, Seed, Selection, SigningPolicy, verify},
};

const BUNDLE: &str = r#"{ "resourceType":"Bundle", "type":"collection", "entry":[
  {"fullUrl":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520","resource":{"resourceType":"Patient","id":"p",
    "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">Ada</div>"},
    "name":[{"use":"official","family":"L","given":["Ada","B"]},{"text":"Countess"}],
    "birthDate":"1980-02-29","_birthDate":{"extension":[{"url":"u","valueCode":"c"}]},
    "address":[{"city":"London"}],"active":true}},
  {"resource":{"id":"o","resourceType":"Observation","status":"final","code":{"text":"weight"},
    "subject":{"reference":"Patient/p","display":"Ada L"},
    "valueQuantity":{"value":71.500,"unit":"kg"},"note":[{"text":"first"},{"text":"second"}],
    "component":[{"code":{"text":"a"},"valueInteger":1,"interpretation":[{"text":"low"}]},
                 {"code":{"text":"b"},"valueInteger":2}]}},
  {"resource":{"resourceType":"Condition","subject":{"reference":"Patient/p"},"code":{"text":"c"},
    "note":[{"text":"n"}],"contained":[{"resourceType":"Practitioner","id":"x","gender":"male"}]}}]}"#;

/// Builds, selects, checks every proof, and gives the view.
fn view(selection: &Selection) -> Result<String, PartsError> {
    let document = Document::read(BUNDLE.as_bytes()).unwrap();
    let tree = PartTree::build(&document, &Seed::new([9; 32]), &SigningPolicy::default()).unwrap();
    let shown = tree.select(selection)?;
    let verified = verify(&shown.proof_parts()).unwrap();
    assert_eq!(verified.root, tree.root());
    for index in 0..shown.len() {
        assert_eq!(shown.proof(index).unwrap().root(), tree.root());
    }
    Ok(String::from_utf8(verified.view.expose().to_vec()).unwrap())
}

/// The entries of a view of [`BUNDLE`].
fn bundle(entries: &[&str]) -> String {
    let entries: Vec<_> =
        entries.iter().map(|entry| format!(r#"{{"resource":{entry}}}"#)).collect();
    format!(r#"{{"resourceType":"Bundle","entry":[{}],"type":"collection"}}"#, entries.join(","))
}

#[test]
fn only_shows_what_is_named_and_the_cores_around_it() {
    let note = r#"{"resourceType":"Condition","code":{"text":"c"},"note":[{"text":"n"}]}"#;
    let value = r#""valueQuantity":{"value":71.500,"unit":"kg"}"#;
    let weight = |more: [&str; 3]| {
        let [component, note, subject] = more;
        format!(
            r#"{{"resourceType":"Observation","code":{{"text":"weight"}}{component}{note},"status":"final"{subject},{value}}}"#
        )
    };
    let component = r#","component":[{"code":{"text":"a"},"interpretation":[{"text":"low"}],"valueInteger":1}]"#;
    let notes = r#","note":[{"text":"first"},{"text":"second"}]"#;
    let rows = [
        (
            "Patient.birthDate",
            bundle(&[
                r#"{"resourceType":"Patient","active":true,"birthDate":"1980-02-29","_birthDate":{"extension":[{"url":"u","valueCode":"c"}]}}"#,
            ]),
        ),
        (
            "Patient.name[0].given[1]",
            bundle(&[
                r#"{"resourceType":"Patient","active":true,"name":[{"given":["B"],"use":"official"}]}"#,
            ]),
        ),
        ("Bundle.entry[2].resource.note", bundle(&[note])),
        ("entry[2].resource.Condition.note[0]", bundle(&[note])),
        ("*.note", bundle(&[&weight(["", notes, ""]), note])),
        ("Observation.value", bundle(&[&weight(["", "", ""])])),
        ("Observation.value[x]", bundle(&[&weight(["", "", ""])])),
        ("Observation.component[0].interpretation", bundle(&[&weight([component, "", ""])])),
        (
            "Observation.subject.display",
            bundle(&[&weight(["", "", r#","subject":{"display":"Ada L"}"#])]),
        ),
        (
            "Practitioner.gender",
            bundle(&[
                r#"{"resourceType":"Condition","code":{"text":"c"},"contained":[{"resourceType":"Practitioner","gender":"male"}]}"#,
            ]),
        ),
    ];
    for (pattern, expected) in rows {
        assert_eq!(view(&Selection::only([pattern])).unwrap(), expected, "{pattern}");
    }
}

#[test]
fn hide_takes_away_what_is_named_and_what_hangs_on_it() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        // Pattern; what is gone; what is still there.
        ("Patient.name", &["Ada\"", "Countess", "<div"], &["1980-02-29", "71.500", "\"p\""]),
        ("Patient.name[0].given[0]", &["\"Ada\""], &["[\"B\"]", "Countess"]),
        ("Observation.value", &["71.500", "\"o\"", "Ada L", "first"], &["Countess", "\"n\""]),
        ("Observation.component[1].code", &["\"b\""], &["\"a\"", "71.500"]),
        ("entry[0]", &["Patient\",", "c757873d"], &["71.500"]),
        ("Condition.contained", &["Practitioner"], &["\"n\""]),
        ("Patient.birthDate", &["1980", "valueCode"], &["Countess"]),
    ];
    for (pattern, gone, there) in rows {
        let view = view(&Selection::hide([*pattern])).unwrap();
        for text in *gone {
            assert!(!view.contains(text), "{pattern} leaves {text} in {view}");
        }
        for text in *there {
            assert!(view.contains(text), "{pattern} takes {text} from {view}");
        }
    }
}

#[test]
fn selection_says_what_it_does_beside_what_was_asked() {
    let document = Document::read(BUNDLE.as_bytes()).unwrap();
    let tree = PartTree::build(&document, &Seed::new([9; 32]), &SigningPolicy::default()).unwrap();
    let hidden = tree.select(&Selection::hide(["Observation.value", "Patient.photo"])).unwrap();
    assert_eq!(hidden.also_hidden(), ["Bundle.entry[1].resource.Observation"]);
    assert_eq!(hidden.unmatched(), ["Patient.photo"]);
    assert_eq!(hidden.narratives_hidden(), 1);
    let only = tree.select(&Selection::only(["Practitioner.gender"])).unwrap();
    assert_eq!(
        only.also_shown(),
        [
            "Bundle",
            "Bundle.entry[2].resource.Condition",
            "Bundle.entry[2].resource.Condition.contained[0].Practitioner"
        ]
    );
    let all = tree.select(&Selection::default()).unwrap();
    assert_eq!((all.hidden(), all.len()), (0, tree.element_count()));
    assert!(verify(&all.proof_parts()).unwrap().document.is_some());
    let keep = Selection { keep_narratives: true, ..Selection::hide(["Patient.name"]) };
    let kept = tree.select(&keep).unwrap();
    assert!(verify(&kept.proof_parts()).unwrap().document.is_none(), "it would test guesses");
    assert_eq!(kept.narratives_hidden(), 0);
    let nothing = tree.select(&Selection::hide(["Bundle"])).unwrap_err();
    assert_eq!(nothing, PartsError::NothingShown);
}

#[test]
fn patterns_are_refused_with_what_may_have_been_meant() {
    let rows = [
        ("Patient.nam", r#"R4 has no element "nam" where "Patient.nam" looks for it; is it name?"#),
        (
            "entry[1].resource.statu",
            r#"R4 has no element "statu" where "entry[1].resource.statu" looks for it; is it status or stage or start?"#,
        ),
        (
            "Observation.code.text",
            r#"Bundle.entry[1].resource.Observation.code is signed as one, and "Observation.code.text" names a part of it"#,
        ),
        (
            "Observation.value.unit",
            r#"Bundle.entry[1].resource.Observation.valueQuantity is signed as one, and "Observation.value.unit" names a part of it"#,
        ),
        (
            "Patient.birthDate[0]",
            r#"not a pattern of elements: "Patient.birthDate[0]": an index on an element that does not repeat"#,
        ),
        ("Human.name", r#"not a pattern of elements: "Human.name": no such resource type"#),
        ("entry[-1]", r#"not a pattern of elements: "entry[-1]": an index that is no number"#),
        ("a..b", r#"not a pattern of elements: "a..b": an empty name"#),
        ("", r#"not a pattern of elements: "": an empty name"#),
    ];
    for (pattern, message) in rows {
        assert_eq!(view(&Selection::hide([pattern])).unwrap_err().to_string(), message);
    }
}
