//! Reads that were not consented to.

use alloy::sol_types::SolError as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use galen_chain::{
    contract::HealthLedger::{
        Access, AccessEmpty, ConsentNotFound, ConsentNotInForce, GranteeNotInStanding,
        NotController, PurposeNotConsented, RecordMalformed, SegmentNotConsented, SignatureInvalid,
        TermsMalformed, logAccessBySigCall, logAccessCall,
    },
    typed,
};
use galen_types::{Consent, ConsentTree, Purpose};

use crate::{
    operations::{access, access_message},
    stage::{
        Call, LATER, NOW, OTHER_SEGMENT, Person, Stage, consent, consent_change, consent_message,
        record, u48,
    },
};

/// The access, sent by the grantee itself.
fn direct(stage: &Stage, access: &Access) -> Call {
    stage.call(&logAccessBySigCall {
        access: access.clone(),
        deadline: u48(LATER),
        signature: Bytes::new(),
    })
}

/// A stage with these consents, and their tree.
async fn consented(consents: &[Consent]) -> (Stage, ConsentTree) {
    let stage = Stage::new().await;
    let tree: ConsentTree = consents.iter().map(Consent::id).collect();
    stage.consent_to(0, &tree, consents.iter().map(|it| it.id().0).collect()).await;
    (stage, tree)
}

fn grantee() -> Address {
    Person::new(3).id()
}

#[tokio::test]
async fn an_access_stays_within_its_consent() {
    let usual = consent(grantee(), 1);
    let early = Consent { not_before: NOW + 1, ..consent(grantee(), 2) };
    let over = Consent { expiry: NOW, ..consent(grantee(), 3) };
    let theirs = consent(Person::new(4).id(), 4);
    let (stage, tree) = consented(&[usual, early, over, theirs]).await;
    let (patient, author) = (stage.patient.id(), stage.author.id());
    let shown = |terms: &Consent| access(&stage, terms, grantee(), &tree, &[1]);
    let base = shown(&usual);
    let with = |change: fn(&mut Access)| {
        let mut access = base.clone();
        change(&mut access);
        access
    };
    let not_in_force = |terms: &Consent| {
        let (not_before, expiry) = (u48(terms.not_before), u48(terms.expiry));
        ConsentNotInForce { notBefore: not_before, expiry }.abi_encode()
    };
    let missing = |terms: Consent| ConsentNotFound { leaf: terms.id().0 }.abi_encode();
    let word = |segment: u8| U256::from(segment) << 64;
    let other_segment = with(|it| it.records[0] += U256::ONE << 64);
    assert_eq!(other_segment.records[0] & word(0xff), word(OTHER_SEGMENT.0));
    let mut wider = usual;
    wider.segments.insert(OTHER_SEGMENT);
    let longer = Consent { expiry: usual.expiry + 1, ..usual };
    let other_purpose = Consent { purposes: [Purpose::Payment].into_iter().collect(), ..usual };
    let of_theirs = Consent { grantee: grantee(), ..theirs };
    let rows = [
        (
            "another segment",
            other_segment,
            SegmentNotConsented { segment: OTHER_SEGMENT.0 }.abi_encode(),
        ),
        (
            "another purpose",
            with(|it| it.terms |= U256::from(Purpose::Payment.bit())),
            PurposeNotConsented { purpose: Purpose::Payment.bit() }.abi_encode(),
        ),
        ("before its time", shown(&early), not_in_force(&early)),
        ("in the first second past its end", shown(&over), not_in_force(&over)),
        ("somebody else's consent", shown(&of_theirs), missing(of_theirs)),
        ("more segments than were signed", shown(&wider), missing(wider)),
        ("a longer time than was signed", shown(&longer), missing(longer)),
        ("another purpose than was signed", shown(&other_purpose), missing(other_purpose)),
        ("no proof", with(|it| it.proof.clear()), missing(usual)),
        ("another proof", with(|it| it.proof.push(B256::ZERO)), missing(usual)),
        ("another patient", with(|it| it.patient = Address::repeat_byte(9)), missing(usual)),
        ("no record", with(|it| it.records.clear()), AccessEmpty {}.abi_encode()),
        (
            "a record with a bit too many",
            with(|it| it.records[0] |= U256::ONE << 80),
            RecordMalformed { index: U256::ZERO }.abi_encode(),
        ),
        (
            "terms with a bit too many",
            with(|it| it.terms |= U256::ONE << 200),
            TermsMalformed { terms: base.terms | U256::ONE << 200 }.abi_encode(),
        ),
    ];
    for (row, access, error) in rows {
        stage.refuses_with(row, grantee(), &direct(&stage, &access), &error).await;
    }
    stage.takes("as consented", grantee(), &direct(&stage, &base)).await;
    // The one consented record does not carry the other one in.
    let mut both = access(&stage, &usual, grantee(), &tree, &[1, 2]);
    both.records[1] += U256::ONE << 64;
    let error = SegmentNotConsented { segment: OTHER_SEGMENT.0 };
    stage.refuses("one of two", grantee(), &direct(&stage, &both), error).await;
    // A record of another author or number is another record; its id says so.
    let swapped = with(|it| it.records[0] += U256::ONE);
    stage.send(grantee(), &direct(&stage, &swapped)).await;
    let logged = stage.chart(patient).await.accesses()[0].event.record;
    assert_eq!(logged, record(patient, author, 2).id());
}

/// The preimage of another record than the one signed for is another message.
#[tokio::test]
async fn an_access_shows_what_the_grantee_signed() {
    let (stage, tree) = consented(&[consent(grantee(), 1), consent(grantee(), 2)]).await;
    let base = access(&stage, &consent(grantee(), 1), grantee(), &tree, &[1]);
    let signature =
        stage.signed(&stage.grantee, &access_message(&base, consent(grantee(), 1).id()));
    let rows = [
        ("another record", access(&stage, &consent(grantee(), 1), grantee(), &tree, &[2]), 1),
        ("a record more", access(&stage, &consent(grantee(), 1), grantee(), &tree, &[1, 2]), 1),
        ("another consent", access(&stage, &consent(grantee(), 2), grantee(), &tree, &[1]), 2),
    ];
    for (row, shown, salt) in rows {
        let digest =
            typed::digest(&access_message(&shown, consent(grantee(), salt).id()), stage.id());
        let call = stage.call(&logAccessBySigCall {
            access: shown,
            deadline: u48(LATER),
            signature: signature.clone(),
        });
        let error = SignatureInvalid { controller: grantee(), digest };
        stage.refuses(row, stage.relayer.id(), &call, error).await;
    }
}

/// The end of a consent is the first second at which it does not hold.
#[tokio::test]
async fn a_consent_ends_on_its_second() {
    let short = Consent { expiry: NOW + 100, ..consent(grantee(), 1) };
    let (stage, tree) = consented(&[short]).await;
    let call = direct(&stage, &access(&stage, &short, grantee(), &tree, &[1]));
    stage.later(99);
    stage.takes("the last second", grantee(), &call).await;
    stage.later(1);
    let error = ConsentNotInForce { notBefore: u48(NOW), expiry: u48(NOW + 100) };
    stage.refuses("the second after", grantee(), &call, error).await;
}

/// A proof that is out of date is refused like a revoked consent; rebuilt from the events, it holds.
#[tokio::test]
async fn a_stale_proof_is_rebuilt_and_a_revoked_consent_is_over() {
    let terms = consent(grantee(), 1);
    let (stage, tree) = consented(&[terms]).await;
    let patient = stage.patient.id();
    let stale = direct(&stage, &access(&stage, &terms, grantee(), &tree, &[1]));
    stage.takes("fresh", grantee(), &stale).await;

    let other = consent(stage.second.id(), 2).id();
    let mut grown = tree;
    grown.insert(other);
    stage.consent_to(1, &grown, vec![other.0]).await;
    let missing = ConsentNotFound { leaf: terms.id().0 };
    stage.refuses("stale", grantee(), &stale, missing.clone()).await;
    let rebuilt = stage.chart(patient).await.consents().tree.clone();
    let fresh = direct(&stage, &access(&stage, &terms, grantee(), &rebuilt, &[1]));
    stage.send(grantee(), &fresh).await;

    let left: ConsentTree = [other].into_iter().collect();
    let message = consent_message(patient, 2, &left, vec![terms.id().0], Vec::new());
    let signature = stage.signed(&stage.patient, &message);
    stage.send(stage.relayer.id(), &stage.call(&consent_change(&message, signature))).await;
    stage.refuses("revoked", grantee(), &fresh, missing).await;
    assert_eq!(stage.chart(patient).await.accesses().len(), 1);
    stage.is_folded(patient).await;
}

/// A consent for every active organization, and what becomes of one that is suspended.
#[tokio::test]
async fn network_consents_are_for_active_organizations() {
    let network = consent(Address::ZERO, 1);
    let (stage, tree) = consented(&[network, consent(Person::new(7).id(), 2)]).await;
    let by = |who: Address| direct(&stage, &access(&stage, &network, who, &tree, &[1]));
    let (member, outsider) = (stage.third.id(), stage.stranger.id());
    stage.takes("a member", member, &by(member)).await;
    let error = |grantee| GranteeNotInStanding { grantee };
    stage.refuses("an outsider", outsider, &by(outsider), error(outsider)).await;
    stage.suspend(&stage.third).await;
    stage.refuses("suspended", member, &by(member), error(member)).await;
    // A consent that names it does not help it either.
    let named = access(&stage, &consent(member, 2), member, &tree, &[1]);
    stage.refuses("suspended, by name", member, &direct(&stage, &named), error(member)).await;
}

/// The short form is for ids that sign for themselves.
#[tokio::test]
async fn a_single_access_is_sent_by_the_grantee_alone() {
    let terms = consent(grantee(), 1);
    let (stage, tree) = consented(&[terms]).await;
    let shown = access(&stage, &terms, grantee(), &tree, &[1]);
    let call = stage.call(&logAccessCall {
        record: shown.records[0],
        patient: shown.patient,
        terms: shown.terms,
        segments: shown.segments,
        salt: shown.salt,
        proof: shown.proof.clone(),
    });
    stage.takes("the grantee", grantee(), &call).await;
    let stranger = stage.stranger.id();
    let theirs = Consent { grantee: stranger, ..terms };
    let error = ConsentNotFound { leaf: theirs.id().0 };
    stage.refuses("a stranger", stranger, &call, error).await;
    let heir = Person::new(36);
    stage.rotate(grantee(), &stage.grantee, &heir).await;
    let error = |sender| NotController { id: sender, sender };
    stage.refuses("a key that was rotated away", grantee(), &call, error(grantee())).await;
    let error = NotController { id: grantee(), sender: grantee() };
    stage.refuses("also in the long form", grantee(), &direct(&stage, &shown), error).await;
    stage.takes("its successor", heir.id(), &direct(&stage, &shown)).await;
}
