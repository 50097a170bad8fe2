//! One honest request of every kind, and the address book of who reads it.

use alloy_primitives::{Address, B256, U256, aliases::U48, keccak256};
use galen_chain::{
    CosignPolicy, EnvelopeFor, Evidence, GuardianSet, SigningRequest,
    clear::{KnownName, KnownNetwork, Names},
    typed,
};
use galen_types::{
    Consent, ConsentTree, DelegateTerms, LedgerId, Power, Purpose, Salt, Segment, SegmentSet,
};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const LATER: u64 = NOW + 3_600;
pub(crate) const PATIENT: Address = Address::repeat_byte(0x11);
pub(crate) const HOSPITAL: Address = Address::repeat_byte(0x22);
pub(crate) const INSURER: Address = Address::repeat_byte(0x33);
pub(crate) const LABORATORY: Address = Address::repeat_byte(0x44);
pub(crate) const GUARDIAN: Address = Address::repeat_byte(0x55);
/// Three proxies of three organizations.
pub(crate) const PROXIES: [Address; 3] =
    [Address::repeat_byte(0x61), Address::repeat_byte(0x62), Address::repeat_byte(0x63)];
pub(crate) const LEDGER: LedgerId =
    LedgerId { chain_id: 31_337, contract: Address::repeat_byte(0xcc) };
pub(crate) const CONSORTIUM: Address = Address::repeat_byte(0xdd);

/// An address book in which everybody is known and verified; `own` is who reads.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) own: Address,
    pub(crate) names: Vec<(Address, String)>,
    pub(crate) segment: String,
    pub(crate) network: String,
}

impl Book {
    pub(crate) fn of(own: Address) -> Self {
        let names = [
            (PATIENT, "Ada"),
            (HOSPITAL, "St Anna"),
            (INSURER, "Helvetia"),
            (LABORATORY, "Laboratory"),
            (GUARDIAN, "Grace"),
            (PROXIES[0], "Proxy of St Anna"),
            (PROXIES[1], "Proxy of the city"),
            (PROXIES[2], "Proxy of the union"),
        ];
        Self {
            own,
            names: names.map(|(id, name)| (id, name.to_owned())).to_vec(),
            segment: "category".to_owned(),
            network: "test".to_owned(),
        }
    }
}

impl Names for Book {
    fn name(&self, id: Address) -> Option<KnownName> {
        let (_, name) = self.names.iter().find(|(known, _)| *known == id)?;
        let own = id == self.own;
        Some(KnownName { name: name.clone(), own, verified: true, first_time: false })
    }

    fn segment(&self, _patient: Address, segment: Segment) -> Option<String> {
        (segment.0 < 12).then(|| format!("{} {segment}", self.segment))
    }

    fn network(&self) -> Option<KnownNetwork> {
        let name = self.network.clone();
        Some(KnownNetwork { name, ledger: LEDGER, consortium: Some(CONSORTIUM) })
    }

    fn now(&self) -> u64 {
        NOW
    }
}

pub(crate) fn consent() -> Consent {
    Consent {
        grantee: INSURER,
        segments: [3, 7].map(Segment).into_iter().collect::<SegmentSet>(),
        purposes: [Purpose::Payment, Purpose::Coverage].into_iter().collect(),
        not_before: NOW,
        expiry: NOW + 30 * 86_400,
        salt: Salt(keccak256("salt")),
    }
}

pub(crate) fn other_consent() -> Consent {
    Consent { grantee: LABORATORY, salt: Salt(keccak256("other salt")), ..consent() }
}

pub(crate) fn policy() -> CosignPolicy {
    CosignPolicy { threshold: 1, cosigners: vec![LABORATORY] }
}

pub(crate) fn proposal() -> typed::Proposal {
    let leaf = |kind: u8, number: u64| typed::Leaf {
        kind,
        segment: 3,
        number,
        store: 0,
        content: keccak256(format!("content {number}")),
        commitment: keccak256(format!("commitment {number}")),
        previous: if kind == 0 { B256::ZERO } else { keccak256("before") },
    };
    typed::Proposal {
        patient: PATIENT,
        author: HOSPITAL,
        rotations: 0,
        count: 4,
        deadline: U48::from(NOW + 180 * 86_400),
        policy: policy().hash(),
        leaves: vec![leaf(0, 1), leaf(0, 2), leaf(1, 0), leaf(0, 3)],
    }
}

pub(crate) fn settlement() -> typed::Settlement {
    typed::Settlement {
        patient: PATIENT,
        signer: PATIENT,
        rotations: 0,
        sequence: 5,
        proposal: proposal().id().0,
        accepted: U256::from(0b0111),
        rejected: U256::from(0b1000),
        deadline: U48::from(LATER),
    }
}

pub(crate) fn answered() -> Evidence {
    Evidence { proposal: Some(proposal()), policy: Some(policy()), ..Evidence::default() }
}

/// A tree with somebody else's consent, and the change that adds one.
pub(crate) fn granted(consents: &[Consent]) -> (typed::ConsentChange, Evidence) {
    let before: ConsentTree = [other_consent().id()].into_iter().collect();
    let mut tree = before.clone();
    consents.iter().for_each(|consent| assert!(tree.insert(consent.id())));
    let change = typed::ConsentChange {
        patient: PATIENT,
        signer: PATIENT,
        rotations: 0,
        version: 7,
        root: tree.root().0,
        revoked: Vec::new(),
        granted: consents.iter().map(|consent| consent.id().0).collect(),
        deadline: U48::from(LATER),
    };
    let evidence = Evidence {
        consents: consents.to_vec(),
        root: Some(before.root()),
        tree: Some(tree),
        ..Evidence::default()
    };
    (change, evidence)
}

pub(crate) fn delegation() -> (typed::ConsentChange, Evidence) {
    let terms = DelegateTerms {
        delegate: GUARDIAN,
        powers: [Power::Settle, Power::Consent].into_iter().collect(),
        not_before: NOW,
        expiry: NOW + 86_400,
        salt: Salt(keccak256("delegate")),
    };
    let tree: ConsentTree = [terms.id()].into_iter().collect();
    let (mut change, mut evidence) = granted(&[]);
    change.root = tree.root().0;
    change.granted = vec![terms.id().0];
    evidence.root = Some(ConsentTree::default().root());
    evidence.tree = Some(tree);
    evidence.delegates = vec![terms];
    (change, evidence)
}

pub(crate) fn revoked() -> (typed::ConsentChange, Evidence) {
    let before: ConsentTree = [consent().id(), other_consent().id()].into_iter().collect();
    let tree: ConsentTree = [other_consent().id()].into_iter().collect();
    let (mut change, mut evidence) = granted(&[]);
    change.root = tree.root().0;
    change.revoked = vec![consent().id().0];
    evidence.root = Some(before.root());
    evidence.tree = Some(tree);
    evidence.consents = vec![consent()];
    (change, evidence)
}

pub(crate) fn access() -> typed::Access {
    let word = |segment: u64, number: u64| {
        U256::from(number)
            | U256::from(segment) << 64
            | U256::from_be_slice(HOSPITAL.as_slice()) << 96
    };
    typed::Access {
        patient: PATIENT,
        grantee: INSURER,
        rotations: 0,
        purpose: Purpose::Payment.bit(),
        consent: consent().id().0,
        records: vec![word(3, 1), word(7, 2)],
        deadline: U48::from(LATER),
    }
}

pub(crate) fn opening() -> Evidence {
    Evidence { consents: vec![consent()], ..Evidence::default() }
}

pub(crate) fn card() -> typed::Card {
    typed::Card {
        id: HOSPITAL,
        name: "St Anna".to_owned(),
        role: 2,
        bundle: keccak256("bundle"),
        deployedIn: U48::from(1),
        codeHash: keccak256("code"),
        salt: keccak256("salt"),
        rpcUrl: "http://127.0.0.1:8545/".to_owned(),
        relay: String::new(),
        store: "local:store".to_owned(),
        issued: U48::from(NOW),
    }
}

pub(crate) fn vote() -> typed::Vote {
    typed::Vote {
        motion: 2,
        organization: LABORATORY,
        counter: 1,
        voter: HOSPITAL,
        rotations: 0,
        deadline: U48::from(LATER),
    }
}

pub(crate) fn request<T>(id: Address, message: &T, evidence: Evidence) -> SigningRequest
where
    T: alloy::sol_types::SolStruct + serde::Serialize,
{
    SigningRequest::new(id, message, typed::ledger_domain(LEDGER), evidence)
}

/// An honest request of every kind.
pub(crate) fn all() -> Vec<SigningRequest> {
    let (change, change_evidence) = granted(&[consent()]);
    let (ended, ended_evidence) = revoked();
    let (delegated, delegated_evidence) = delegation();
    let consortium = typed::consortium_domain(LEDGER.chain_id, CONSORTIUM);
    let mut requests = vec![
        request(PATIENT, &settlement(), answered()),
        request(PATIENT, &change, change_evidence),
        request(PATIENT, &ended, ended_evidence),
        request(PATIENT, &delegated, delegated_evidence),
        request(INSURER, &access(), opening()),
        request(HOSPITAL, &card(), Evidence::default()),
        SigningRequest::new(HOSPITAL, &vote(), consortium, Evidence::default()),
    ];
    requests.extend(about_records());
    requests.extend(about_control());
    requests.extend(about_proxies());
    requests
}

fn about_records() -> Vec<SigningRequest> {
    let none = Evidence::default;
    let hash = |text: &str| keccak256(text);
    let (patient, author, rotations, deadline) = (PATIENT, HOSPITAL, 0, U48::from(LATER));
    let cosignature = typed::Cosignature {
        cosigner: LABORATORY,
        rotations,
        proposal: proposal().id().0,
        deadline: proposal().deadline,
    };
    let withdrawal =
        typed::Withdrawal { patient, author, rotations, proposal: hash("proposal"), deadline };
    let (content, previous) = (hash("new"), hash("old"));
    let item = typed::Resealed { segment: 3, number: 1, store: 0, content, previous };
    let reseal =
        typed::Reseal { patient, author, signer: PATIENT, rotations, items: vec![item], deadline };
    let bulk = typed::BulkAnchor {
        author,
        rotations,
        root: hash("root"),
        count: 4_000,
        store: 1,
        manifest: hash("manifest"),
        deadline,
    };
    let attestation =
        typed::Attestation { author, rotations, root: hash("root"), issued: U48::from(NOW) };
    let reply = typed::Reply {
        patient,
        author,
        proposal: proposal().id().0,
        leaves: U256::from(5),
        kind: 1,
        ciphertext: hash("sealed"),
        deadline,
    };
    let ask = typed::AccessRequest {
        patient,
        organization: INSURER,
        rotations,
        purposes: 1 << Purpose::Payment.bit(),
        store: 0,
        message: B256::ZERO,
        deadline,
    };
    vec![
        request(HOSPITAL, &proposal(), Evidence { policy: Some(policy()), ..none() }),
        request(HOSPITAL, &withdrawal, none()),
        request(LABORATORY, &cosignature, answered()),
        request(PATIENT, &reseal, none()),
        request(HOSPITAL, &bulk, none()),
        request(HOSPITAL, &attestation, Evidence { documents: Some(3), ..none() }),
        request(PATIENT, &reply, none()),
        request(INSURER, &ask, none()),
    ]
}

fn about_control() -> Vec<SigningRequest> {
    let none = Evidence::default;
    let hash = |text: &str| keccak256(text);
    let (id, rotations, nonce, deadline) = (PATIENT, 0, 3, U48::from(LATER));
    let (bundle, ciphertext) = (hash("bundle"), hash("sealed"));
    let rotation = typed::Rotation { id, controller: GUARDIAN, sequence: 5, nonce, deadline };
    let keys = typed::KeyBundle {
        id,
        rotations,
        previous: B256::ZERO,
        bundle,
        store: 0,
        content: hash("content"),
        deadline,
    };
    let (commitment, delay) = (hash("guardians"), 7 * 86_400);
    let guardians = typed::GuardianChange { id, rotations, commitment, delay, nonce, deadline };
    let recovery = typed::Recovery {
        id,
        guardian: GUARDIAN,
        guardianRotations: 0,
        controller: INSURER,
        isFinal: false,
        nonce,
        deadline,
    };
    let envelope = typed::Envelope {
        patient: PATIENT,
        grantee: INSURER,
        consent: consent().id().0,
        recipientKey: hash("key"),
        ciphertext,
        deadline,
    };
    let contact =
        typed::Contact { patient: PATIENT, author: HOSPITAL, bundle, ciphertext, deadline };
    let cancellation = typed::Cancellation { id, rotations, nonce, deadline };
    vec![
        request(PATIENT, &rotation, none()),
        request(PATIENT, &keys, none()),
        request(PATIENT, &guardians, none()),
        request(GUARDIAN, &recovery, none()),
        request(PATIENT, &cancellation, none()),
        request(PATIENT, &envelope, opening()),
        request(PATIENT, &contact, none()),
    ]
}

/// Everybody who gets something, each with a key and a text of its own.
pub(crate) fn envelopes(scope: B256, holders: &[Address], keys_split: bool) -> Vec<EnvelopeFor> {
    let envelope = |holder: &Address| EnvelopeFor {
        scope,
        holder: *holder,
        recipient_key: keccak256(format!("key of {holder}")),
        ciphertext: keccak256(format!("sealed to {holder}")),
        keys_split,
    };
    holders.iter().map(envelope).collect()
}

/// The message that names what the evidence shows.
pub(crate) fn sharing(evidence: &Evidence) -> typed::Sharing {
    typed::Sharing {
        patient: PATIENT,
        epoch: 1,
        envelopes: evidence.envelopes.iter().map(EnvelopeFor::leaf).collect(),
        deadline: U48::from(LATER),
    }
}

/// One grant through two of three proxies.
pub(crate) fn shared() -> Evidence {
    let holders = [INSURER, PROXIES[0], PROXIES[1], PROXIES[2]];
    let envelopes = envelopes(consent().id().0, &holders, true);
    Evidence { envelopes, proxies: Some((2, 3)), ..opening() }
}

pub(crate) fn network_consent() -> Consent {
    Consent { grantee: Address::ZERO, ..consent() }
}

pub(crate) fn key_request() -> typed::KeyRequest {
    let typed::Access { patient, grantee, rotations, consent, records, deadline, .. } = access();
    typed::KeyRequest { patient, grantee, rotations, consent, records, deadline }
}

pub(crate) fn guardian_set() -> GuardianSet {
    GuardianSet {
        guardians: vec![HOSPITAL, LABORATORY, GUARDIAN],
        threshold: 2,
        final_threshold: 3,
        salt: Salt(keccak256("guardians")),
    }
}

/// Three guardians and, if they are named, proxies.
pub(crate) fn pieces(proxies: &[Address]) -> (typed::Pieces, Evidence) {
    let guardians = guardian_set().commitment();
    let holders = [&guardian_set().guardians, proxies].concat();
    let envelopes = envelopes(guardians, &holders, !proxies.is_empty());
    let message = typed::Pieces {
        id: PATIENT,
        guardians,
        envelopes: envelopes.iter().map(EnvelopeFor::leaf).collect(),
        deadline: U48::from(LATER),
    };
    let proxies = (!proxies.is_empty()).then_some((2, proxies.len()));
    let guardians = Some(guardian_set());
    (message, Evidence { envelopes, proxies, guardians, ..Evidence::default() })
}

fn about_proxies() -> Vec<SigningRequest> {
    let none = Evidence::default;
    let hash = |text: &str| keccak256(text);
    let (patient, rotations, deadline) = (PATIENT, 0, U48::from(LATER));
    let (since, until) = (U48::from(NOW - 86_400), U48::from(NOW));
    let offer = typed::Offer {
        patient,
        consent: network_consent().id().0,
        epoch: 1,
        offer: hash("offer"),
        issued: until,
    };
    let offered = Evidence { consents: vec![network_consent()], proxies: Some((2, 3)), ..none() };
    let ask = typed::ReportRequest { patient, rotations, since, deadline };
    let report = typed::ProxyReport {
        proxy: PROXIES[0],
        rotations,
        patient,
        since,
        until,
        served: 4,
        refused: 1,
        entries: hash("entries"),
    };
    let (message, evidence) = pieces(&PROXIES);
    let piece = typed::PieceRequest {
        id: PATIENT,
        controller: GUARDIAN,
        rotations,
        recipientKey: hash("key"),
        deadline,
    };
    vec![
        request(PATIENT, &sharing(&shared()), shared()),
        request(PATIENT, &offer, offered),
        request(INSURER, &key_request(), opening()),
        request(PATIENT, &ask, none()),
        request(PROXIES[0], &report, none()),
        request(PATIENT, &message, evidence),
        request(PATIENT, &piece, none()),
    ]
}
