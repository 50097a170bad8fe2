//! Honest requests, each with one thing changed that a person must not sign unaware.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use alloy::dyn_abi::TypedData;
use alloy_primitives::{Address, B256, U256, aliases::U48, keccak256};
use galen_chain::{CosignPolicy, Evidence, SigningRequest, typed};
use galen_types::{
    Consent, ConsentRoot, ConsentTree, LedgerId, PurposeSet, Salt, Segment, SegmentSet,
};
use serde_json::{Value, json};

use crate::samples::{
    Book, HOSPITAL, INSURER, LATER, LEDGER, NOW, PATIENT, PROXIES, access, all as honest, answered,
    card, consent, envelopes, granted, guardian_set, key_request, network_consent, opening,
    other_consent, pieces, policy, proposal, request, revoked, settlement, shared, sharing, vote,
};

/// A request, who reads it, and what must come of it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) request: SigningRequest,
    pub(crate) book: Book,
    pub(crate) expected: Expected,
}

pub(crate) enum Expected {
    /// It is refused.
    Refused,
    /// It is refused, or there is a grave warning.
    Alarm,
    /// It is refused, or there is a grave warning with this code.
    Warning(&'static str),
}

impl Case {
    fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }
}

const STRANGER: Address = Address::repeat_byte(0x99);

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for request in honest() {
        cases.extend(shapes(&request));
        cases.extend(values(&request));
        cases.extend(places(&request));
    }
    cases.extend(consents());
    cases.extend(trees());
    cases.extend(answers());
    cases.extend(proposals());
    cases.extend(accesses());
    cases.extend(others());
    cases.extend(shares());
    cases.extend(offers_and_keys());
    cases.extend(guardians());
    cases
}

fn named(kind: &str, what: &str, request: SigningRequest) -> Case {
    let book = Book::of(request.id);
    Case { name: format!("{kind}: {what}"), request, book, expected: Expected::Alarm }
}

/// A request for changed JSON, with the digest that belongs to it, as an attacker would send it.
fn forged(request: &SigningRequest, json: Value) -> Option<SigningRequest> {
    let typed: TypedData = serde_json::from_value(json).ok()?;
    let digest = typed.eip712_signing_hash().ok()?;
    Some(SigningRequest { typed, digest, ..request.clone() })
}

type Change = Box<dyn Fn(&mut Value)>;

/// Other types, other domains, other notations: the digest is always right for what is given.
fn shapes(request: &SigningRequest) -> Vec<Case> {
    let kind = request.typed.primary_type.clone();
    let original = serde_json::to_value(&request.typed).unwrap();
    let mut cases = Vec::new();
    for (what, change) in other_types(&kind).into_iter().chain(other_domains()) {
        let mut json = original.clone();
        change(&mut json);
        assert_ne!(json, original, "{kind}: {what}");
        // What does not even parse or hash cannot reach a signer.
        cases.extend(
            forged(request, json)
                .map(|request| named(&kind, what, request).expecting(Expected::Refused)),
        );
    }
    cases
}

fn fields<'a>(json: &'a mut Value, kind: &str) -> &'a mut Vec<Value> {
    json["types"][kind].as_array_mut().unwrap()
}

fn other_types(kind: &str) -> Vec<(&'static str, Change)> {
    let change = |change: fn(&mut Value, &str)| -> Change {
        let kind = kind.to_owned();
        Box::new(move |json| change(json, &kind))
    };
    vec![
        (
            "an extra field",
            change(|json, kind| {
                fields(json, kind).push(json!({"name": "extra", "type": "uint256"}));
                json["message"]["extra"] = json!("0x1");
            }),
        ),
        (
            "a field that is not in the types",
            change(|json, _| {
                json["message"]["hidden"] = json!("0x1");
            }),
        ),
        ("two fields in the other order", change(|json, kind| fields(json, kind).swap(0, 1))),
        (
            "a missing field",
            change(|json, kind| {
                let gone = fields(json, kind).pop().unwrap();
                let name = gone["name"].as_str().unwrap();
                json["message"].as_object_mut().unwrap().remove(name);
            }),
        ),
        (
            "a renamed field",
            change(|json, kind| {
                let first = &mut fields(json, kind)[0];
                let name = first["name"].as_str().unwrap().to_owned();
                first["name"] = json!("renamed");
                let message = json["message"].as_object_mut().unwrap();
                let value = message.remove(&name).unwrap();
                message.insert("renamed".to_owned(), value);
            }),
        ),
        (
            "a wider field",
            change(|json, kind| {
                let wide = fields(json, kind).iter_mut().find(|field| {
                    let kind = field["type"].as_str().unwrap();
                    kind.starts_with("uint") && kind != "uint256" && !kind.ends_with(']')
                });
                wide.unwrap()["type"] = json!("uint256");
            }),
        ),
        (
            "a type nobody uses",
            change(|json, _| {
                json["types"]["Unused"] = json!([{"name": "a", "type": "uint256"}]);
            }),
        ),
        (
            "another name of the struct",
            change(|json, kind| {
                let types = json["types"].as_object_mut().unwrap();
                let fields = types.remove(kind).unwrap();
                types.insert("Mail".to_owned(), fields);
                json["primaryType"] = json!("Mail");
            }),
        ),
    ]
}

fn other_domains() -> Vec<(&'static str, Change)> {
    let change = |change: fn(&mut Value)| -> Change { Box::new(change) };
    fn without(json: &mut Value, key: &str) {
        json["domain"].as_object_mut().unwrap().remove(key);
        fields(json, "EIP712Domain").retain(|field| field["name"] != key);
    }
    vec![
        ("another name of the domain", change(|json| json["domain"]["name"] = json!("Galen2"))),
        ("another version of the domain", change(|json| json["domain"]["version"] = json!("2"))),
        (
            "a salt in the domain",
            change(|json| {
                json["domain"]["salt"] = json!(B256::repeat_byte(1));
                fields(json, "EIP712Domain").push(json!({"name": "salt", "type": "bytes32"}));
            }),
        ),
        ("no chain id", change(|json| without(json, "chainId"))),
        ("no contract", change(|json| without(json, "verifyingContract"))),
    ]
}

/// Digest, signer and evidence that are not the message's.
fn values(request: &SigningRequest) -> Vec<Case> {
    let kind = request.typed.primary_type.clone();
    let digest = SigningRequest { digest: keccak256(request.digest), ..request.clone() };
    let id = SigningRequest { id: STRANGER, ..request.clone() };
    let mut cases: Vec<Case> =
        vec![named(&kind, "another digest", digest), named(&kind, "another signer", id)];
    cases = cases.into_iter().map(|case| case.expecting(Expected::Refused)).collect();
    let evidence = &request.evidence;
    let opens = ["Access", "Envelope", "Sharing", "Offer", "KeyRequest", "Pieces"];
    if evidence.tree.is_some() || evidence.proposal.is_some() || opens.contains(&kind.as_str()) {
        let bare = SigningRequest { evidence: Evidence::default(), ..request.clone() };
        cases.push(named(&kind, "no evidence", bare).expecting(Expected::Refused));
    }
    if request.typed.message.get("deadline").is_some() {
        let mut json = serde_json::to_value(&request.typed).unwrap();
        json["message"]["deadline"] = json!("0xffffffffffff");
        let mut case = forged(request, json).unwrap();
        if let Some(proposal) = case.evidence.proposal.as_mut() {
            proposal.deadline = U48::MAX;
        }
        let expected = Expected::Warning("late_deadline");
        cases.push(named(&kind, "no end", case).expecting(expected));
    }
    cases
}

/// The same message for another chain, another contract, or while no network is chosen.
fn places(request: &SigningRequest) -> Vec<Case> {
    let kind = request.typed.primary_type.clone();
    let mut cases = Vec::new();
    for (what, key, value) in [
        ("another chain", "chainId", json!("0x1")),
        ("another contract", "verifyingContract", json!(STRANGER)),
    ] {
        let mut json = serde_json::to_value(&request.typed).unwrap();
        json["domain"][key] = value;
        let expected = Expected::Warning("other_network");
        cases.push(named(&kind, what, forged(request, json).unwrap()).expecting(expected));
    }
    cases
}

fn grant_of(what: &str, terms: Consent) -> Case {
    let (change, evidence) = granted(&[terms]);
    named("consent", what, request(PATIENT, &change, evidence))
}

fn consents() -> Vec<Case> {
    let all_segments = SegmentSet(U256::MAX);
    let year = 367 * 86_400;
    let unnamed: SegmentSet = [Segment(200)].into_iter().collect();
    vec![
        grant_of("everything", Consent { segments: all_segments, ..consent() }),
        grant_of("a segment without a name", Consent { segments: unnamed, ..consent() }),
        grant_of("a stranger", Consent { grantee: STRANGER, ..consent() }),
        grant_of("everybody", Consent { grantee: Address::ZERO, ..consent() }),
        grant_of("no purpose", Consent { purposes: PurposeSet(0), ..consent() }),
        grant_of("an unknown purpose", Consent { purposes: PurposeSet(1 << 31), ..consent() }),
        grant_of("longer than a year", Consent { expiry: NOW + year, ..consent() }),
        grant_of("for ever", Consent { expiry: (1 << 48) - 1, ..consent() }),
        grant_of(
            "begun long ago, without end",
            Consent { not_before: 0, expiry: NOW + year, ..consent() },
        ),
        grant_of("more than 48 bits", Consent { expiry: u64::MAX, ..consent() }),
    ]
}

/// Consent trees that do something else than the message says.
fn trees() -> Vec<Case> {
    let hidden = Consent { grantee: STRANGER, salt: Salt(keccak256("hidden")), ..consent() };
    let tree = |consents: &[Consent]| consents.iter().map(Consent::id).collect::<ConsentTree>();
    let case = |what: &str, change: &dyn Fn(&mut typed::ConsentChange, &mut Evidence)| {
        let (mut message, mut evidence) = granted(&[consent()]);
        change(&mut message, &mut evidence);
        named("tree", what, request(PATIENT, &message, evidence))
    };
    let with_tree =
        |message: &mut typed::ConsentChange, evidence: &mut Evidence, tree: ConsentTree| {
            message.root = tree.root().0;
            evidence.tree = Some(tree);
        };
    let mut cases = vec![
        case("a consent that nobody named", &|m, e| {
            with_tree(m, e, tree(&[consent(), other_consent(), hidden]));
        }),
        case("a live consent is dropped", &|m, e| with_tree(m, e, tree(&[consent()]))),
        case("a live consent is replaced", &|m, e| with_tree(m, e, tree(&[consent(), hidden]))),
        case("another root than the tree's", &|m, _| m.root = tree(&[hidden]).root().0),
        case("a root of zero", &|m, _| m.root = ConsentRoot::default().0),
        case("the granted leaf is not in the tree", &|m, e| {
            with_tree(m, e, tree(&[other_consent()]))
        }),
        case("the opening of another consent", &|_, e| e.consents = vec![other_consent()]),
        case("the opening with another end", &|_, e| {
            e.consents = vec![Consent { expiry: NOW + 60, ..consent() }];
        }),
        case("a granted leaf without opening", &|m, e| {
            m.granted.push(hidden.id().0);
            with_tree(m, e, tree(&[consent(), other_consent(), hidden]));
        }),
        case("a leaf twice", &|m, _| m.granted.push(consent().id().0)),
        case("no tree", &|_, e| e.tree = None),
        case("nothing to check the root against", &|_, e| e.root = None),
        case("another root on chain", &|_, e| e.root = Some(tree(&[hidden]).root())),
    ];
    let (mut message, mut evidence) = revoked();
    evidence.tree = Some(tree(&[consent(), other_consent()]));
    message.root = evidence.tree.as_ref().unwrap().root().0;
    let still = request(PATIENT, &message, evidence);
    cases.push(named("tree", "a revoked leaf that stays", still));
    let (mut message, mut evidence) = revoked();
    with_tree(&mut message, &mut evidence, tree(&[other_consent(), hidden]));
    cases.push(named(
        "tree",
        "a grant hidden in a revocation",
        request(PATIENT, &message, evidence),
    ));
    cases
}

fn answers() -> Vec<Case> {
    let case = |what: &str, change: &dyn Fn(&mut typed::Settlement, &mut Evidence)| {
        let (mut message, mut evidence) = (settlement(), answered());
        change(&mut message, &mut evidence);
        named("answer", what, request(message.signer, &message, evidence))
    };
    let mut cases = vec![
        case("both masks", &|m, _| m.rejected = m.accepted),
        case("one leaf in both masks", &|m, _| m.rejected |= U256::from(1)),
        case("nothing", &|m, _| (m.accepted, m.rejected) = (U256::ZERO, U256::ZERO)),
        case("another proposal", &|m, _| m.proposal = keccak256("another")),
        case("a proposal with another leaf", &|_, e| {
            e.proposal.as_mut().unwrap().leaves[2].number = 77;
        }),
        case("the proposal to another patient", &|m, e| {
            let proposal = e.proposal.as_mut().unwrap();
            proposal.patient = INSURER;
            m.proposal = proposal.id().0;
        }),
        case("a proposal of a stranger", &|m, e| {
            let proposal = e.proposal.as_mut().unwrap();
            proposal.author = STRANGER;
            m.proposal = proposal.id().0;
        }),
        case("a proposal with fewer leaves than it says", &|m, e| {
            let proposal = e.proposal.as_mut().unwrap();
            proposal.leaves.pop();
            m.proposal = proposal.id().0;
        }),
        case("other cosigners", &|_, e| {
            e.policy = Some(CosignPolicy { threshold: 1, cosigners: vec![STRANGER] });
        }),
        case("a lower threshold", &|_, e| {
            e.policy = Some(CosignPolicy { threshold: 0, ..policy() });
        }),
        case("the chart of a stranger", &|m, _| m.patient = STRANGER),
    ];
    for bit in (4..256).step_by(7) {
        cases
            .push(case(&format!("accepts leaf {bit} of 4"), &|m, _| m.accepted.set_bit(bit, true)));
        cases
            .push(case(&format!("rejects leaf {bit} of 4"), &|m, _| m.rejected.set_bit(bit, true)));
    }
    cases
}

fn proposals() -> Vec<Case> {
    let case = |what: &str, change: &dyn Fn(&mut typed::Proposal)| {
        let mut message = proposal();
        change(&mut message);
        let evidence = Evidence { policy: Some(policy()), ..Evidence::default() };
        named("proposal", what, request(message.author, &message, evidence))
    };
    vec![
        case("a higher count", &|m| m.count = 5),
        case("a lower count", &|m| m.count = 3),
        case("no leaf", &|m| (m.count, m.leaves) = (0, Vec::new())),
        case("257 leaves", &|m| {
            m.leaves = vec![m.leaves[0].clone(); 257];
            m.count = 257;
        }),
        case("an unknown kind", &|m| m.leaves[1].kind = 3),
        case("an unknown store", &|m| m.leaves[1].store = 2),
        case("a new record with a version before", &|m| {
            m.leaves[0].previous = B256::repeat_byte(1)
        }),
        case("an amendment of nothing", &|m| m.leaves[2].previous = B256::ZERO),
        case("a proposal to oneself", &|m| m.patient = HOSPITAL),
        case("other cosigners", &|m| m.policy = keccak256("other cosigners")),
    ]
}

fn accesses() -> Vec<Case> {
    let case = |what: &str, change: &dyn Fn(&mut typed::Access, &mut Evidence)| {
        let (mut message, mut evidence) = (access(), opening());
        change(&mut message, &mut evidence);
        named("access", what, request(message.grantee, &message, evidence))
    };
    let mut cases = vec![
        case("a purpose that the consent does not name", &|m, _| m.purpose = 7),
        case("an unknown purpose", &|m, _| m.purpose = 99),
        case("no record", &|m, _| m.records.clear()),
        case("a segment outside the consent", &|m, _| m.records[0] |= U256::from(8) << 64),
        case("another consent", &|m, _| m.consent = other_consent().id().0),
        case("a consent of another reader", &|m, e| {
            e.consents = vec![other_consent()];
            m.consent = other_consent().id().0;
        }),
        case("breaking the glass", &|m, e| {
            let network =
                Consent { grantee: Address::ZERO, purposes: PurposeSet(0b111), ..consent() };
            e.consents = vec![network];
            (m.consent, m.purpose) = (network.id().0, 2);
        }),
    ];
    for bit in 72..96 {
        cases.push(case(&format!("bit {bit} of a record"), &|m, _| {
            m.records[0] |= U256::from(1) << bit;
        }));
    }
    cases
}

fn others() -> Vec<Case> {
    let deadline = U48::from(LATER);
    let rotation =
        |controller| typed::Rotation { id: PATIENT, controller, sequence: 1, nonce: 0, deadline };
    let keys = typed::KeyBundle {
        id: PATIENT,
        rotations: 0,
        previous: keccak256("before"),
        bundle: keccak256("bundle"),
        store: 0,
        content: B256::ZERO,
        deadline,
    };
    let guardians = |commitment, delay| typed::GuardianChange {
        id: PATIENT,
        rotations: 0,
        commitment,
        delay,
        nonce: 0,
        deadline,
    };
    let plain = |what: &str, request: SigningRequest| named("other", what, request);
    let of = |change: &dyn Fn(&mut typed::Card)| {
        let mut message = card();
        change(&mut message);
        request(message.id, &message, Evidence::default())
    };
    let none = Evidence::default;
    let elsewhere = LedgerId { chain_id: 1, ..LEDGER };
    let votes = typed::consortium_domain(elsewhere.chain_id, STRANGER);
    let motion = typed::Vote { motion: 4, ..vote() };
    let consortium = typed::consortium_domain(LEDGER.chain_id, crate::samples::CONSORTIUM);
    let stranger = Book { own: PATIENT, ..Book::of(PATIENT) };
    let as_ledger = request(HOSPITAL, &vote(), none());
    let as_consortium =
        SigningRequest::new(PATIENT, &rotation(INSURER), consortium.clone(), none());
    vec![
        plain("control to a stranger", request(PATIENT, &rotation(STRANGER), none())),
        plain("control to nobody", request(PATIENT, &rotation(Address::ZERO), none())),
        plain("new keys for old", request(PATIENT, &keys, none())),
        plain("no guardians", request(PATIENT, &guardians(B256::ZERO, 0), none())),
        plain("a short delay", request(PATIENT, &guardians(keccak256("g"), 86_400), none())),
        plain(
            "an unknown motion",
            SigningRequest::new(HOSPITAL, &motion, consortium.clone(), none()),
        ),
        plain("a vote elsewhere", SigningRequest::new(HOSPITAL, &vote(), votes.clone(), none())),
        plain("a vote under the ledger's domain", as_ledger),
        plain("a rotation under the consortium's domain", as_consortium),
        plain("an unknown role", of(&|card| card.role = 9)),
        plain("a text without end", of(&|card| card.name = "a".repeat(257))),
        Case { book: stranger, ..plain("a card of another id", of(&|_| {})) },
    ]
}

/// Envelopes that are not what the message names, or go to others than the consent says.
fn shares() -> Vec<Case> {
    // The message names what it was made for; the evidence tells another story.
    let lies = |what: &str, change: &dyn Fn(&mut Evidence)| {
        let (message, mut evidence) = (sharing(&shared()), shared());
        change(&mut evidence);
        named("sharing", what, request(PATIENT, &message, evidence)).expecting(Expected::Refused)
    };
    let stranger = |evidence: &mut Evidence, at: usize| evidence.envelopes[at].holder = STRANGER;
    let says = sharing_of;
    let refused = [
        lies("an envelope more", &|e| {
            let more = envelopes(consent().id().0, &[STRANGER], true);
            e.envelopes.extend(more);
        }),
        lies("an envelope fewer", &|e| _ = e.envelopes.pop()),
        lies("another order", &|e| e.envelopes.swap(1, 2)),
        lies("another reader", &|e| stranger(e, 0)),
        lies("another proxy", &|e| stranger(e, 3)),
        lies("another key", &|e| e.envelopes[0].recipient_key = keccak256("another")),
        lies("another text", &|e| e.envelopes[0].ciphertext = keccak256("another")),
        lies("another consent", &|e| e.envelopes[0].scope = other_consent().id().0),
        says("nothing", &|e| e.envelopes.clear()),
        says("an envelope twice", &|e| e.envelopes.push(e.envelopes[0])),
        says("a consent that is not shown", &|e| e.consents.clear()),
        says("a consent of somebody else", &|e| {
            e.envelopes.iter_mut().for_each(|it| it.scope = other_consent().id().0);
            e.consents = vec![other_consent()];
        }),
        says("whole keys to a proxy", &|e| e.envelopes[2].keys_split = false),
        says("whole keys to the reader, and shares", &|e| e.envelopes[0].keys_split = false),
        says("whole keys to a stranger", &|e| {
            e.envelopes = envelopes(consent().id().0, &[STRANGER], false);
        }),
        says("half of the keys and no proxy", &|e| e.envelopes.truncate(1)),
        says("shares and no reader", &|e| _ = e.envelopes.remove(0)),
        says("nobody knows how many proxies", &|e| e.proxies = None),
        says("none of three proxies", &|e| e.proxies = Some((0, 3))),
        says("four of three proxies", &|e| e.proxies = Some((4, 3))),
        says("fewer proxies than get shares", &|e| e.proxies = Some((2, 2))),
        says("more proxies than get shares", &|e| e.proxies = Some((2, 4))),
        says("two shares for one proxy", &|e| {
            e.envelopes[3].holder = PROXIES[0];
        }),
        says("a reader under a consent of nobody", &|e| {
            e.consents = vec![network_consent()];
            e.envelopes.iter_mut().for_each(|it| it.scope = network_consent().id().0);
            e.envelopes[0].holder = Address::ZERO;
        }),
    ];
    let cases = refused.into_iter().map(|case| case.expecting(Expected::Refused));
    cases.chain(doubtful_shares()).collect()
}

/// A sharing that names what its evidence shows.
fn sharing_of(what: &str, change: &dyn Fn(&mut Evidence)) -> Case {
    let mut evidence = shared();
    change(&mut evidence);
    named("sharing", what, request(PATIENT, &sharing(&evidence), evidence))
}

/// What can be signed, but not unaware.
fn doubtful_shares() -> Vec<Case> {
    let warned = |code, what, change: &dyn Fn(&mut Evidence)| {
        sharing_of(what, change).expecting(Expected::Warning(code))
    };
    vec![
        warned("unknown_id", "a proxy that nobody knows", &|e| e.envelopes[3].holder = STRANGER),
        warned("one_proxy", "one of three proxies", &|e| e.proxies = Some((1, 3))),
        warned("reader_is_proxy", "the reader is a proxy", &|e| {
            e.envelopes[3].holder = INSURER;
            e.envelopes[3].ciphertext = keccak256("another");
        }),
        warned("network_wide", "shares under a consent of nobody", &|e| {
            e.consents = vec![network_consent()];
            e.envelopes = envelopes(network_consent().id().0, &PROXIES, true);
        }),
        warned("all_segments", "keys to everything", &|e| {
            let terms = Consent { segments: SegmentSet(U256::MAX), ..consent() };
            e.envelopes.iter_mut().for_each(|it| it.scope = terms.id().0);
            e.consents = vec![terms];
        }),
    ]
}

fn offers_and_keys() -> Vec<Case> {
    let offer = |what: &str, change: &dyn Fn(&mut typed::Offer, &mut Evidence)| {
        let mut message = typed::Offer {
            patient: PATIENT,
            consent: network_consent().id().0,
            epoch: 1,
            offer: keccak256("offer"),
            issued: U48::from(NOW),
        };
        let mut evidence = Evidence {
            consents: vec![network_consent()],
            proxies: Some((2, 3)),
            ..Evidence::default()
        };
        change(&mut message, &mut evidence);
        named("offer", what, request(PATIENT, &message, evidence)).expecting(Expected::Refused)
    };
    let keys = |what: &str, change: &dyn Fn(&mut typed::KeyRequest, &mut Evidence)| {
        let (mut message, mut evidence) = (key_request(), opening());
        change(&mut message, &mut evidence);
        named("keys", what, request(message.grantee, &message, evidence))
            .expecting(Expected::Refused)
    };
    let mut cases = vec![
        offer("a consent of one reader", &|m, e| {
            (m.consent, e.consents) = (consent().id().0, vec![consent()]);
        }),
        offer("another consent", &|m, _| m.consent = other_consent().id().0),
        offer("nobody knows how many proxies", &|_, e| e.proxies = None),
        keys("no record", &|m, _| m.records.clear()),
        keys("no consent", &|m, _| m.consent = B256::ZERO),
        keys("65 records", &|m, _| m.records = vec![m.records[0]; 65]),
        keys("a segment outside the consent", &|m, _| m.records[0] |= U256::from(8) << 64),
        keys("a consent of another reader", &|m, e| {
            (m.consent, e.consents) = (other_consent().id().0, vec![other_consent()]);
        }),
    ];
    let report = typed::ProxyReport {
        proxy: PROXIES[0],
        rotations: 0,
        patient: PATIENT,
        since: U48::from(NOW),
        until: U48::from(NOW - 1),
        served: 0,
        refused: 0,
        entries: keccak256("entries"),
    };
    let ends_early = request(PROXIES[0], &report, Evidence::default());
    cases.push(named("report", "ends early", ends_early).expecting(Expected::Refused));
    for (what, controller, key) in
        [("to no key", INSURER, B256::ZERO), ("by nobody", Address::ZERO, keccak256("key"))]
    {
        let message = typed::PieceRequest {
            id: PATIENT,
            controller,
            rotations: 0,
            recipientKey: key,
            deadline: U48::from(LATER),
        };
        let request = request(PATIENT, &message, Evidence::default());
        cases.push(named("piece", what, request).expecting(Expected::Refused));
    }
    cases
}

/// Pieces that go to others than the guardians on chain, and guardians that are a danger.
fn guardians() -> Vec<Case> {
    let says = |what: &str, change: &dyn Fn(&mut Evidence)| {
        let (mut message, mut evidence) = pieces(&PROXIES);
        change(&mut evidence);
        if let Some(set) = &evidence.guardians {
            message.guardians = set.commitment();
        }
        for envelope in &mut evidence.envelopes {
            envelope.scope = message.guardians;
        }
        message.envelopes = evidence.envelopes.iter().map(galen_chain::EnvelopeFor::leaf).collect();
        named("pieces", what, request(PATIENT, &message, evidence))
    };
    let set = |change: &dyn Fn(&mut typed::Pieces, &mut Evidence)| {
        let (mut message, mut evidence) = pieces(&PROXIES);
        change(&mut message, &mut evidence);
        named("pieces", "other guardians", request(PATIENT, &message, evidence))
    };
    let one = |evidence: &mut Evidence| evidence.guardians.as_mut().unwrap().threshold = 1;
    let refused = [
        set(&|m, _| m.guardians = keccak256("others")),
        set(&|_, e| e.guardians.as_mut().unwrap().guardians[0] = STRANGER),
        set(&|_, e| e.guardians.as_mut().unwrap().threshold = 3),
        set(&|_, e| e.envelopes[0].holder = STRANGER),
        says("nobody knows the guardians", &|e| e.guardians = None),
        says("a guardian gets nothing", &|e| _ = e.envelopes.remove(1)),
        says("a stranger in place of a guardian", &|e| e.envelopes[1].holder = STRANGER),
        says("pieces of the whole seed beside proxies", &|e| e.envelopes[0].keys_split = false),
        says("a proxy too few", &|e| _ = e.envelopes.pop()),
        says("nobody knows how many proxies", &|e| e.proxies = None),
        says("no guardian is needed", &|e| e.guardians.as_mut().unwrap().threshold = 0),
        says("guardians in no order", &|e| e.guardians.as_mut().unwrap().guardians.swap(0, 1)),
    ];
    let mut cases: Vec<Case> =
        refused.into_iter().map(|case| case.expecting(Expected::Refused)).collect();
    let warned = |code, what, change: &dyn Fn(&mut Evidence)| {
        says(what, change).expecting(Expected::Warning(code))
    };
    cases.extend([
        warned("one_guardian", "one guardian is enough", &one),
        warned("guardian_is_proxy", "a guardian is a proxy", &|e| {
            e.envelopes[5].holder = HOSPITAL;
            e.envelopes[5].ciphertext = keccak256("another");
        }),
        warned("guardians_alone", "no proxies", &|e| {
            e.envelopes.truncate(3);
            e.envelopes.iter_mut().for_each(|it| it.keys_split = false);
        }),
        warned("unknown_id", "a guardian that nobody knows", &|e| {
            e.guardians.as_mut().unwrap().guardians[2] = STRANGER;
            e.envelopes[2].holder = STRANGER;
        }),
    ]);
    let change = |commitment| typed::GuardianChange {
        id: PATIENT,
        rotations: 0,
        commitment,
        delay: 7 * 86_400,
        nonce: 0,
        deadline: U48::from(LATER),
    };
    let shown = Evidence { guardians: Some(guardian_set()), ..Evidence::default() };
    let right = change(guardian_set().commitment());
    let case = named("guardians", "shown", request(PATIENT, &right, shown.clone()));
    cases.push(case.expecting(Expected::Warning("guardians")));
    let wrong = request(PATIENT, &change(keccak256("others")), shown);
    cases.push(named("guardians", "others than shown", wrong).expecting(Expected::Refused));
    cases
}
