//! What nobody can do with a presentation: change it, mix it, or read from it what is hidden.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::B256;
use galen_fhir::{
    Document, Node,
    parts::{
        BATCH_DEPTH, MAX_BATCH, PartTree, PartsError, ProofParts, Seed, Selection, ShownElement,
        SigningPolicy, batch, batch_root, verify,
    },
};
use galen_types::ErrorKind;
use proptest::prelude::*;

const REPORT: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
  {"resource":{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1980-02-29",
    "name":[{"family":"One"},{"family":"Two"}]}},
  {"resource":{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"HIV"}]},
    "valueString":"negative","note":[{"text":"first"},{"text":"second"}],
    "component":[{"code":{"text":"a"},"valueInteger":1}]}}]}"#;

fn tree_of<'a>(document: &Document<'a>, seed: u8) -> PartTree<'a> {
    PartTree::build(document, &Seed::new([seed; 32]), &SigningPolicy::default()).unwrap()
}

/// Root of a document, and what a selection shows of it.
fn present(text: &str, seed: u8, selection: &Selection) -> (B256, ProofParts) {
    let document = Document::read(text.as_bytes()).unwrap();
    let tree = tree_of(&document, seed);
    let parts = tree.select(selection).unwrap().proof_parts();
    (tree.root(), parts)
}

/// The element with a fragment whose path ends so.
fn find<'a>(parts: &'a mut ProofParts, end: &str) -> &'a mut ShownElement {
    let fits = |one: &&mut ShownElement| one.fragments.iter().any(|(path, _)| path.ends_with(end));
    parts.elements.iter_mut().find(fits).unwrap()
}

type Attack = fn(&mut ProofParts);

/// A change, and why it is refused; `root` if only the root shows it.
const ATTACKS: &[(&str, &str, Attack)] = &[
    ("another value", "root", |p| find(p, "gender").fragments[0].1 = "\"male\"".to_owned()),
    ("white space before a value", "Fragment", |p| find(p, "gender").fragments[0].1.insert(0, ' ')),
    ("two values for one", "Fragment", |p| find(p, "gender").fragments[0].1 += ",\"id\":\"x\""),
    ("no JSON value", "Fragment", |p| find(p, "gender").fragments[0].1 = "female".to_owned()),
    ("another salt", "root", |p| find(p, "gender").salt.0[31] ^= 1),
    ("another label", "root", |p| find(p, "gender").label ^= 1),
    ("no label", "Label", |p| find(p, "gender").label = 0),
    ("a label twice", "Label", |p| p.elements[1].label = p.elements[0].label),
    ("another parent", "Parent", |p| find(p, "gender").parent ^= 1),
    ("no parent", "root", |p| find(p, "gender").parent = 0),
    ("its own parent", "Parent", |p| p.elements[0].parent = p.elements[0].label),
    ("another path", "root", |p| find(p, "gender").fragments[0].0 = "language".to_owned()),
    ("a place that is taken", "Conflict", |p| {
        let path = find(p, "birthDate").fragments[0].0.clone();
        find(p, "gender").fragments[0].0 = path;
    }),
    ("a place below another value", "Conflict", |p| {
        let path = find(p, "birthDate").fragments[0].0.clone();
        find(p, "gender").fragments[0].0 = path + "/id";
    }),
    ("no path", "Fragment", |p| find(p, "gender").fragments[0].0 = String::new()),
    ("a name that is none", "Fragment", |p| {
        find(p, "gender").fragments[0].0 = "a\":1,\"b".to_owned()
    }),
    ("an ordinal in front", "Fragment", |p| {
        find(p, "gender").fragments[0].0 = format!("~{:020x}", 1)
    }),
    ("a name in an array", "Conflict", |p| {
        find(p, "gender").fragments[0].0 = "entry/gender".to_owned()
    }),
    ("another ordinal", "root", |p| {
        let path = &mut find(p, "family").fragments[0].0;
        *path = path.replace("name/~0", "name/~1");
    }),
    ("two values swapped", "root", |p| {
        let value = find(p, "/id").fragments[0].1.clone();
        let other = std::mem::replace(&mut find(p, "family").fragments[0].1, value);
        find(p, "/id").fragments[0].1 = other;
    }),
    ("two slots swapped", "Slot", |p| p.elements.swap(0, 1)),
    ("a slot outside", "Slot", |p| p.elements.last_mut().unwrap().slot = 1 << 10),
    ("another slot", "Slot", |p| p.elements[1].slot = p.elements[0].slot),
    ("a core taken away", "Parent", |p| {
        p.elements.retain(|one| !one.fragments.iter().any(|(path, _)| path == "resourceType"));
    }),
    ("an element taken away", "Nodes", |p| drop(p.elements.remove(0))),
    ("an element twice", "Slot", |p| p.elements.insert(1, p.elements[0].clone())),
    ("an element twice, at another slot", "Label", |p| {
        let (at, mut copy) = free_slot(p);
        copy.slot = at;
        p.elements.push(copy);
        p.elements.sort_by_key(|one| one.slot);
    }),
    ("an element of its own", "root", |p| {
        let (at, mut made) = free_slot(p);
        (made.slot, made.label) = (at, 77);
        made.fragments = vec![("language".to_owned(), "\"en\"".to_owned())];
        p.elements.push(made);
        p.elements.sort_by_key(|one| one.slot);
        p.nodes.remove(0);
    }),
    ("a fragment taken away", "root", |p| drop(find(p, "type").fragments.pop())),
    ("no fragments", "Fragment", |p| p.elements[0].fragments.clear()),
    ("a hash too few", "Nodes", |p| p.nodes.truncate(p.nodes.len() - 1)),
    ("a hash too many", "Nodes", |p| p.nodes.push(B256::ZERO)),
    ("no hashes", "Nodes", |p| p.nodes.clear()),
    ("another hash", "root", |p| p.nodes[3].0[0] ^= 1),
    ("hashes swapped", "root", |p| p.nodes.swap(0, 1)),
    ("a level more", "Nodes", |p| p.depth += 2),
    ("an odd depth", "Depth", |p| p.depth += 1),
    ("a shallow tree", "Depth", |p| p.depth = 8),
    ("a tree too deep", "Depth", |p| p.depth = 22),
    ("nothing", "Nodes", |p| p.elements.clear()),
    ("no FHIR", "View", |p| find(p, "gender").fragments[0].1 = "7".to_owned()),
    ("a decoy as an element", "root", |p| {
        // A hash that is given can only be an element's by its bytes, which nobody has for a decoy.
        let (at, mut made) = free_slot(p);
        (made.slot, made.label, made.salt) = (at, 78, p.nodes[0]);
        made.fragments = vec![("language".to_owned(), "\"en\"".to_owned())];
        p.elements.push(made);
        p.elements.sort_by_key(|one| one.slot);
        p.nodes.remove(0);
    }),
];

/// A leaf beside an element, which is not shown, and a copy of that element.
fn free_slot(parts: &ProofParts) -> (u32, ShownElement) {
    let taken: HashSet<u32> = parts.elements.iter().map(|one| one.slot).collect();
    let one = parts.elements.iter().find(|one| !taken.contains(&(one.slot ^ 1))).unwrap();
    (one.slot ^ 1, one.clone())
}

#[test]
fn verify_notices_every_change() {
    let hide = Selection::hide(["Observation.note", "Patient.name[1]"]);
    for (name, reason, attack) in ATTACKS {
        let (root, mut parts) = present(REPORT, 5, &hide);
        assert_eq!(verify(&parts).unwrap().root, root);
        attack(&mut parts);
        match verify(&parts) {
            Ok(verified) => {
                assert_eq!(*reason, "root", "{name}");
                assert_ne!(verified.root, root, "{name}");
            }
            Err(error) => {
                let said = format!("{error:?}");
                assert!(said.starts_with(reason), "{name}: {said}");
                assert_eq!(error.kind(), ErrorKind::Integrity, "{name}");
            }
        }
    }
}

#[test]
fn verify_notices_every_changed_bit_of_what_is_hashed() {
    let (root, parts) = present(REPORT, 5, &Selection::only(["Patient.gender"]));
    let text = serde_json::to_string(&parts).unwrap();
    let mut kept = 0;
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = String::from_utf8(bytes).ok().and_then(|t| serde_json::from_str(&t).ok());
        let Some(changed) = changed.filter(|changed: &ProofParts| *changed != parts) else {
            continue;
        };
        if verify(&changed).is_ok_and(|verified| verified.root == root) {
            kept += 1;
            // A pair of neighbours is hashed in one order: which of them is left is not signed.
            let moved = changed.elements.iter().zip(&parts.elements).all(|(a, b)| {
                (a.salt, a.label, a.parent, &a.fragments)
                    == (b.salt, b.label, b.parent, &b.fragments)
            });
            assert!(moved && changed.nodes == parts.nodes, "byte {at}");
        }
    }
    assert!(kept < 20, "{kept} changes of slots keep the root");
}

#[test]
fn elements_do_not_move_between_documents() {
    let (first_root, first) = present(REPORT, 5, &Selection::default());
    let (second_root, second) =
        present(&REPORT.replace("female", "male"), 6, &Selection::default());
    let (root, paths) = batch(&[first_root, second_root], &Seed::new([1; 32])).unwrap();
    assert_eq!(batch_root(first_root, &paths[0]).unwrap(), root);
    assert_eq!(batch_root(second_root, &paths[1]).unwrap(), root);
    // As one element of the other document.
    let mut mixed = first.clone();
    let stranger = find(&mut second.clone(), "gender").clone();
    let place = find(&mut mixed, "gender");
    (place.salt, place.label) = (stranger.salt, stranger.label);
    place.fragments[0].1 = stranger.fragments[0].1.clone();
    assert_ne!(verify(&mixed).unwrap().root, first_root);
    // As one tree that holds both: a batch is odd, so no depth that is allowed reaches the signed root.
    let mut both = first;
    both.elements.extend(second.elements.into_iter().map(|mut one| {
        one.slot += 1 << both.depth;
        one
    }));
    both.depth += u8::try_from(BATCH_DEPTH).unwrap();
    both.nodes.clear();
    assert!(matches!(verify(&both), Err(PartsError::Depth { .. })));
}

#[test]
fn batch_holds_one_to_256_roots_and_tells_not_how_many() {
    let seed = Seed::new([1; 32]);
    let roots: Vec<B256> = (0..=255).map(B256::with_last_byte).collect();
    for count in [1, 2, 3, 255, 256] {
        let (root, paths) = batch(&roots[..count], &seed).unwrap();
        assert_eq!(paths.len(), count);
        for (one, path) in roots.iter().zip(&paths) {
            assert_eq!(path.len(), if count == 1 { 0 } else { BATCH_DEPTH });
            assert_eq!(batch_root(*one, path).unwrap(), root);
        }
    }
    let limit = MAX_BATCH;
    assert_eq!(batch(&[], &seed), Err(PartsError::Batch { limit }));
    assert_eq!(batch(&[B256::ZERO; MAX_BATCH + 1], &seed), Err(PartsError::Batch { limit }));
    for len in [1, BATCH_DEPTH - 1, BATCH_DEPTH + 1] {
        assert_eq!(batch_root(roots[0], &vec![roots[1]; len]), Err(PartsError::Nodes));
    }
}

/// With all hashes of the tree, more than any presentation holds, and all values that a hidden element can have,
/// nothing is found without its salt, and everything with it.
#[test]
fn no_guess_at_a_hidden_value_can_be_tested() {
    let (_, parts) = present(REPORT, 5, &Selection::hide(["Observation"]));
    let (_, mut all) = present(REPORT, 5, &Selection::default());
    let leaves: HashSet<B256> = all.elements.iter().map(ShownElement::leaf).collect();
    let hidden = find(&mut all, "valueString").clone();
    let mut salts: Vec<B256> = parts.elements.iter().map(|one| one.salt).collect();
    assert!(!salts.contains(&hidden.salt), "the salt of what is hidden is shown");
    salts.extend([B256::ZERO, hidden.salt]);
    let mut found = Vec::new();
    for value in ["\"negative\"", "\"positive\""] {
        for salt in &salts {
            let mut guess = ShownElement { salt: *salt, ..hidden.clone() };
            let fragment =
                guess.fragments.iter_mut().find(|(path, _)| path.ends_with("valueString"));
            fragment.unwrap().1 = value.to_owned();
            if leaves.contains(&guess.leaf()) {
                found.push((value, *salt));
            }
        }
    }
    assert_eq!(found, [("\"negative\"", hidden.salt)]);
}

#[test]
fn presentations_that_hide_other_things_look_alike() {
    let hide = Selection::hide(["Observation"]);
    let text = |document: &str| serde_json::to_string(&present(document, 5, &hide).1).unwrap();
    let long = "x".repeat(5_000);
    let notes = vec![r#"{"text":"n"}"#; 300].join(",");
    let first = text(REPORT);
    for other in [
        REPORT.replace("negative", "positive"),
        REPORT.replace("negative", &long),
        REPORT.replace(r#"{"text":"second"}"#, &notes),
        REPORT.replace(
            r#""component":[{"code":{"text":"a"},"valueInteger":1}]"#,
            r#""language":"en""#,
        ),
    ] {
        let second = text(&other);
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second, "the hidden part is signed");
    }
    // Values and paths alone: nothing of them depends on what is hidden behind them.
    let shown = |document: &str| {
        let mut parts = present(document, 5, &hide).1;
        parts.elements.sort_by_key(|one| one.label);
        parts.elements.into_iter().map(|one| one.fragments).collect::<Vec<_>>()
    };
    assert_eq!(shown(REPORT), shown(&REPORT.replace("negative", &long)));
}

/// A Patient with so many names.
fn names(count: usize) -> String {
    let names = vec![r#"{"text":"x"}"#; count].join(",");
    format!(r#"{{"resourceType":"Patient","name":[{names}]}}"#)
}

/// The ordinals of the names at these places, all others hidden.
fn ordinals(count: usize, shown: [usize; 2], seed: u8) -> [u128; 2] {
    let only = Selection::only(shown.map(|at| format!("name[{at}]")));
    let (_, parts) = present(&names(count), seed, &only);
    let mut found: Vec<_> = parts
        .elements
        .iter()
        .filter_map(|one| one.fragments[0].0.strip_prefix("name/~"))
        .map(|rest| u128::from_str_radix(&rest[..20], 16).unwrap())
        .collect();
    found.sort_unstable();
    found.try_into().unwrap()
}

#[test]
fn ordinals_do_not_count_what_is_hidden() {
    // What follows the last shown item leaves no trace at all.
    assert_eq!(ordinals(2, [0, 1], 3), ordinals(200, [0, 1], 3));
    // Between two shown ones: whoever must tell 4 hidden items from 8 by the gap alone, and may choose the best
    // limit with all answers known, is wrong in more than a quarter of all cases.
    let gaps = |hidden: usize| -> Vec<u128> {
        (0..120)
            .map(|seed| ordinals(hidden + 2, [0, hidden + 1], seed))
            .map(|[first, last]| last - first)
            .collect()
    };
    let (few, many) = (gaps(4), gaps(8));
    let right = |limit: &u128| {
        few.iter().filter(|gap| *gap <= limit).count()
            + many.iter().filter(|gap| *gap > limit).count()
    };
    let best = few.iter().chain(&many).map(right).max().unwrap();
    assert!(best * 4 < 3 * 240, "{best} of 240 told apart");
    assert!(best > 120, "the test can tell something apart");
}

/// Each primitive of a document with the names that lead to it, and its exact text.
fn leaves(node: Node<'_>, path: &str, out: &mut BTreeMap<(String, String), usize>) {
    if node.is_object() {
        for (name, value) in node.members() {
            leaves(value, &format!("{path}/{name}"), out);
        }
    } else if node.is_array() {
        node.items().for_each(|item| leaves(item, path, out));
    } else {
        *out.entry((path.to_owned(), node.raw().to_owned())).or_default() += 1;
    }
}

fn leaves_of(text: &[u8]) -> BTreeMap<(String, String), usize> {
    let mut out = BTreeMap::new();
    leaves(Document::read_extract(text).unwrap().root(), "", &mut out);
    out
}

/// Numbers, white space and escapes that must not change; any member may be missing.
fn document() -> impl Strategy<Value = String> {
    let number = prop::sample::select(vec!["1.0100", "-0.0", "1e-7", "71", "120.50"]);
    let text = prop::sample::select(vec!["a", "é", "\\u00e9", "\\n\\t", "𝄞", "a/b\\\\", "[3]"]);
    let space = prop::sample::select(vec!["", " ", "\n\t"]);
    let member = (0_u8..9, number, text, space).prop_map(|(which, number, text, space)| {
        let member = match which {
            0 => format!(r#""id":"o{}""#, text.len()),
            1 => format!(r#""valueQuantity":{space}{{"value":{number}{space},"unit":"{text}"}}"#),
            2 => format!(r#""note":[{{"text":"{text}"}},{space}{{"text":"b"}}]"#),
            3 => format!(r#""subject":{{"display"{space}:"{text}","reference":"Patient/p"}}"#),
            4 => r#""effectiveDateTime":"2020","_effectiveDateTime":{"id":"x"}"#.to_owned(),
            5 => format!(r#""component":[{{"code":{{"text":"{text}"}},"valueString":"{text}"}}]"#),
            6 => r#""contained":[{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"id":"g"}]}]}]"#
                .to_owned(),
            7 => format!(r#""meta":{{"source":"urn:x","tag":[{{"code":"{}"}}]}}"#, text.len()),
            _ => format!(r#""referenceRange":[{{"text":"{text}"}},{{"low":{{"value":{number}}}}}]"#),
        };
        (which, member)
    });
    let resource = prop::collection::vec(member, 0..6).prop_map(|members| {
        let members: BTreeMap<u8, String> = members.into_iter().collect();
        let more: String = members.into_values().map(|member| format!(",{member}")).collect();
        format!(r#"{{"resource":{{"resourceType":"Observation","status":"final","code":{{"text":"c"}}{more}}}}}"#)
    });
    prop::collection::vec(resource, 1..5).prop_map(|entries| {
        format!(
            r#" {{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#,
            entries.join(" , ")
        )
    })
}

fn selection() -> impl Strategy<Value = Selection> {
    let patterns = vec![
        "Observation.note",
        "Observation.note[0]",
        "Observation.subject.display",
        "entry[0]",
        "entry[1].resource.id",
        "*.meta.tag",
        "Observation.value",
        "Observation.component",
        "Patient.name",
        "Observation.referenceRange[1].low",
        "Observation.effective",
        "Bundle.entry[2]",
        "Patient",
        "Observation.component.value",
    ];
    let some = || prop::collection::vec(prop::sample::select(patterns.clone()), 0..4);
    (some(), some()).prop_map(|(only, hide)| Selection {
        only: only.into_iter().map(str::to_owned).collect(),
        hide: hide.into_iter().map(str::to_owned).collect(),
        keep_narratives: false,
    })
}

proptest! {
    /// Whatever is selected of whatever document: the root is the signed one, every value is one of the document,
    /// byte for byte and at its place, nothing is shown without what it belongs to, and nothing is twice.
    #[test]
    fn view_holds_values_of_the_document_and_nothing_else(text in document(), selection in selection(), seed: u8) {
        let document = Document::read(text.as_bytes()).unwrap();
        let tree = tree_of(&document, seed);
        let all = tree.select(&Selection::default()).unwrap();
        let everything = verify(&all.proof_parts()).unwrap();
        prop_assert_eq!(leaves_of(everything.view.expose()), leaves_of(text.as_bytes()));
        let shown = match tree.select(&selection) {
            Ok(shown) => shown,
            Err(PartsError::NothingShown) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let parts = shown.proof_parts();
        let again: ProofParts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        prop_assert_eq!(&again, &parts);
        let verified = verify(&parts).unwrap();
        prop_assert_eq!(verified.root, tree.root());
        let original = leaves_of(text.as_bytes());
        for (leaf, count) in leaves_of(verified.view.expose()) {
            prop_assert!(original.get(&leaf).is_some_and(|there| *there >= count), "{leaf:?}");
        }
        let labels: HashSet<u64> = parts.elements.iter().map(|one| one.label).collect();
        for (index, one) in parts.elements.iter().enumerate() {
            prop_assert!(one.parent == 0 || labels.contains(&one.parent));
            prop_assert_eq!(shown.proof(index).unwrap().root(), tree.root());
        }
        prop_assert_eq!(shown.hidden() + shown.len(), tree.element_count());
    }
}

#[test]
fn policy_keeps_together_what_its_author_says() {
    let policy: SigningPolicy =
        "core=Observation.interpretation,Observation.note;whole=Observation.component,Patient"
            .parse()
            .unwrap();
    assert_eq!(policy.to_string().parse::<SigningPolicy>().unwrap(), policy);
    let document = Document::read(REPORT.as_bytes()).unwrap();
    let tree = PartTree::build(&document, &Seed::new([5; 32]), &policy).unwrap();
    let view = |selection| {
        let shown = tree.select(&selection).unwrap();
        String::from_utf8(verify(&shown.proof_parts()).unwrap().view.expose().to_vec()).unwrap()
    };
    assert!(view(Selection::only(["Observation.status"])).contains("second"), "joins the core");
    let patient = view(Selection::only(["Patient.gender"]));
    assert!(patient.contains("Two") && !patient.contains("HIV"), "not cut: {patient}");
    let component = view(Selection::only(["Observation.component"]));
    assert!(component.contains("valueInteger"));
    for (text, reason) in [
        ("core=;whole=Pateint", "UnknownElement"),
        ("core=Observation.foo;whole=", "UnknownElement"),
        ("core=Observation;whole=", "Pattern"),
        ("whole=;core=", "Pattern"),
        ("core=Patient.name,Patient.id;whole=", "Pattern"),
        ("core=;whole=,", "Pattern"),
        ("core=Observation.code.text.x;whole=", "UnknownElement"),
    ] {
        let error = text.parse::<SigningPolicy>().unwrap_err();
        assert!(format!("{error:?}").starts_with(reason), "{text}: {error:?}");
    }
    let many = SigningPolicy {
        whole: (0..257).map(|n| n.to_string()).collect(),
        ..SigningPolicy::default()
    };
    assert_eq!(many.check(), Err(PartsError::TooManyPatterns { limit: 256 }));
}
