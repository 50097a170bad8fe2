//! Everything is lost but the guardians: what comes back, and what nobody gets who should not.

use std::{collections::BTreeMap, time::Duration};

use alloy_primitives::{B256, Bytes};
use galen_chain::{CosignPolicy, GuardianSet, PendingKind};
use galen_crypto::{PieceEnvelope, PieceText, ProxyPlace, seal_note, split_secret};
use galen_fhir::Category;
use galen_sdk::{
    Claimant, Error, GivenPiece, Guarded, Guardian, GuardianPlan, HandedOut, Identity,
    PieceStanding, RecoverySheet,
    proxies::{ProxyClient, ProxyError, ProxySet, wire::PieceAsk},
};
use galen_types::ErrorKind;

use crate::{
    DAY, Network, account, fhir, identity, kind,
    proxies::served::{DEPTH, three},
    seed,
};

const DELAY: u32 = 7 * 86_400;

/// A patient with three guardians, two of whom give the keys back, and three proxies, of which it takes two.
struct Lost {
    network: Network,
    owner: Guarded,
    guardians: Vec<Guardian>,
    set: GuardianSet,
    handed: HandedOut,
    /// The patient on a new machine, who knows nothing but their id.
    claimant: Claimant,
}

fn guardian_identities() -> Vec<Identity> {
    let mut all: Vec<Identity> = (50..53).map(identity).collect();
    all.sort_by_key(Identity::id);
    all
}

fn proxy_identities() -> Vec<Identity> {
    (40..43).map(identity).collect()
}

fn places() -> Vec<ProxyPlace> {
    let url = |n: usize| format!("https://proxy-{n}.example");
    let place = |(n, it): (usize, &Identity)| ProxyPlace { id: it.id(), url: url(n) };
    proxy_identities().iter().enumerate().map(place).collect()
}

fn plan(guardians: &[Guardian]) -> GuardianPlan {
    let guardians = guardians.iter().rev().map(Guardian::id).collect();
    GuardianPlan { guardians, threshold: 2, final_threshold: 3, delay: DELAY }
}

impl Lost {
    async fn new(with_proxies: bool) -> Self {
        let proxies = with_proxies.then(|| ProxySet::majority(places()));
        Self::on(Network::new().await, proxies.as_ref()).await
    }

    async fn on(network: Network, proxies: Option<&ProxySet>) -> Self {
        for person in guardian_identities().into_iter().chain(proxy_identities()) {
            network.galen.grantee(person).publish_keys().await.unwrap();
        }
        let guardians: Vec<Guardian> =
            guardian_identities().into_iter().map(|it| network.galen.guardian(it)).collect();
        let owner = network.galen.guarded(identity(3));
        let set = owner.set_of(&plan(&guardians)).await.unwrap();
        owner.set(&set, DELAY).await.unwrap();
        let handed = owner.hand_out(&seed(3), &set, proxies).await.unwrap();
        let claimant = network.galen.claimant(identity(30), owner.id());
        Self { network, owner, guardians, set, handed, claimant }
    }

    fn envelope(&self, guardian: usize) -> &[u8] {
        &self.handed.pieces[guardian].1
    }

    /// A sheet that these guardians signed, each on a copy of its own.
    async fn signed(&self, claimant: &Claimant, is_final: bool, by: &[usize]) -> RecoverySheet {
        let mut asked = claimant.ask(is_final).await.unwrap();
        let unsigned = asked.clone();
        for guardian in by {
            let mut copy = unsigned.clone();
            self.guardians[*guardian].approve(&mut copy, self.envelope(*guardian)).await.unwrap();
            asked.merge(RecoverySheet::decode(&copy.encode()).unwrap()).unwrap();
        }
        asked
    }

    fn wait(&self, seconds: u64) {
        self.network.chain.advance_time(seconds).unwrap();
    }

    /// The new wallet takes the id over.
    async fn recover(&self) {
        let sheet = self.signed(&self.claimant, false, &[0, 2]).await;
        self.network.galen.start_recovery(&sheet).await.unwrap();
        self.wait(DELAY.into());
        self.network.galen.finish_pending(self.owner.id()).await.unwrap();
    }

    async fn given(&self, ask: &PieceAsk, by: &[usize]) -> Vec<GivenPiece> {
        self.given_of(&self.handed, ask, by).await
    }

    async fn given_of(&self, of: &HandedOut, ask: &PieceAsk, by: &[usize]) -> Vec<GivenPiece> {
        let mut pieces = Vec::new();
        for guardian in by {
            let envelope = &of.pieces[*guardian].1;
            let given = self.guardians[*guardian].give(ask, envelope).await.unwrap();
            pieces.push(GivenPiece::decode(&given.encode()).unwrap());
        }
        pieces
    }

    /// What a proxy answers, as docs/protocol.md says, by hand.
    async fn released(&self, ask: &PieceAsk, by: &[usize]) -> Vec<GivenPiece> {
        let (request, recipient) = self.network.galen.check_piece_ask(ask).await.unwrap();
        let release = |n: &usize| {
            let text = self.proxy_text(*n);
            let place = request.as_slice();
            let sealed = seal_note(&recipient, "galen.proxy.piece.v1", place, text.encode());
            GivenPiece {
                ledger: self.network.galen.ledger().id(),
                id: self.owner.id(),
                holder: proxy_identities()[*n].id(),
                half: 1,
                request,
                sealed: sealed.unwrap(),
            }
        };
        by.iter().map(release).collect()
    }

    fn proxy_text(&self, n: usize) -> PieceText {
        let key = |n: u8| seed(n).pseudonym(account(n).id()).identity();
        let envelope = PieceEnvelope::decode(&self.handed.proxies[n].1).unwrap();
        envelope.open(&key(40 + u8::try_from(n).unwrap())).unwrap()
    }
}

/// A laptop is gone, wallet and seed with it. Two guardians and two proxies bring both back, and the chart opens.
#[tokio::test]
async fn guardians_and_proxies_bring_everything_back() {
    let lost = Lost::new(true).await;
    let galen = &lost.network.galen;
    let records = lost.network.accepted(&[Category::Vitals]).await;
    for (guardian, (id, envelope)) in lost.guardians.iter().zip(&lost.handed.pieces) {
        assert_eq!(*id, guardian.id());
        let ward = guardian.accept(envelope).await.unwrap();
        assert_eq!((ward.id, ward.standing), (lost.owner.id(), PieceStanding::Current));
        assert_eq!((ward.terms.threshold, ward.terms.guardians.len(), ward.whole), (2, 3, false));
        assert_eq!(ward.proxies, places());
    }

    let sheet = lost.signed(&lost.claimant, false, &[0, 2]).await;
    assert!(sheet.is_enough());
    assert_eq!(sheet.missing(), [lost.guardians[1].id()]);
    galen.start_recovery(&sheet).await.unwrap();
    let state = lost.owner.state().await.unwrap();
    assert_eq!(state.pending.unwrap().kind, PendingKind::Recovery);
    assert_eq!(state.controller, lost.owner.id(), "the old key signs until the end");
    lost.wait(u64::from(DELAY) - 60);
    assert!(galen.finish_pending(lost.owner.id()).await.is_err(), "too early");
    lost.wait(60);
    galen.finish_pending(lost.owner.id()).await.unwrap();

    let ask = lost.claimant.ask_for_pieces().await.unwrap();
    let mut pieces = lost.given(&ask, &[1, 2]).await;
    let tally = lost.claimant.tally(&pieces).await.unwrap();
    assert_eq!((tally.guardians.len(), tally.guardians_needed), (2, 2));
    assert_eq!(tally.places, places(), "the guardians know whom to ask");
    assert!(!tally.is_enough());
    pieces.extend(lost.released(&ask, &[0, 2]).await);
    assert!(lost.claimant.tally(&pieces).await.unwrap().is_enough());
    let restored = lost.claimant.restore(&pieces).await.unwrap();
    assert_eq!(restored.expose(), seed(3).expose());

    // The old id, the new wallet, the old seed.
    let patient = galen.patient(Identity::new(lost.claimant.account(), &restored));
    assert_eq!(patient.id(), lost.owner.id());
    let opened = patient.open(records[0]).await.unwrap();
    assert!(!fhir(&opened).is_empty());
    let announced = lost
        .network
        .author
        .propose(
            &lost.network.contact,
            vec![crate::document(Category::Laboratory)],
            &CosignPolicy::default(),
        )
        .await
        .unwrap();
    let id = announced[0].proposal;
    let (nobody, none) = (CosignPolicy::default(), BTreeMap::new());
    let before = lost.network.patient.answer(id, [0], [], &nobody, &none).await;
    assert_eq!(kind(before), ErrorKind::Integrity, "the old key signs for nothing any more");
    patient.answer(id, [0], [], &nobody, &none).await.unwrap();
}

/// Real proxies on this machine give their half after the recovery, once each, and one of three may be down.
#[tokio::test]
async fn proxies_give_their_half_over_http() {
    let network = Network::new().await;
    let (served, set) = three(&network).await;
    let lost = Lost::on(network, Some(&set)).await;
    let client = ProxyClient::new(Duration::from_secs(10)).unwrap();
    for (place, envelope) in &lost.handed.proxies {
        client.deliver_piece(&place.url, envelope.clone()).await.unwrap();
    }
    let early = lost.claimant.ask_proxies(&client, &set.places).await;
    assert!(matches!(early, Err(Error::NotRecovered(_))), "{early:?}");
    lost.recover().await;
    for _ in 0..DEPTH {
        lost.network.chain.mine().unwrap();
    }
    served[1].stop();
    let ask = lost.claimant.ask_for_pieces().await.unwrap();
    let mut pieces = lost.given(&ask, &[0, 1]).await;
    let places = lost.claimant.tally(&pieces).await.unwrap().places;
    assert_eq!(places, set.places);
    let said = lost.claimant.ask_proxies(&client, &places).await.unwrap();
    pieces.extend(said.into_iter().filter_map(|(_, said)| said.ok()));
    assert_eq!(pieces.len(), 4);
    assert_eq!(lost.claimant.restore(&pieces).await.unwrap().expose(), seed(3).expose());
    let again = lost.claimant.ask_proxies(&client, &places[..1]).await.unwrap();
    let refused = again[0].1.as_ref().unwrap_err();
    assert!(matches!(refused, ProxyError::Refused { .. }), "once a day: {refused:?}");
}

/// Without proxies the guardians alone hold the seed, and each of them is told so.
#[tokio::test]
async fn without_proxies_the_guardians_hold_all_of_it() {
    let lost = Lost::new(false).await;
    assert!(lost.handed.proxies.is_empty());
    assert!(lost.guardians[0].accept(lost.envelope(0)).await.unwrap().whole);
    lost.recover().await;
    let ask = lost.claimant.ask_for_pieces().await.unwrap();
    let one = lost.given(&ask, &[1]).await;
    assert!(matches!(lost.claimant.restore(&one).await, Err(Error::PiecesMissing(_))));
    let two = lost.given(&ask, &[1, 2]).await;
    assert_eq!(lost.claimant.restore(&two).await.unwrap().expose(), seed(3).expose());
}

/// What anybody has who is not the patient after a recovery, and what it gives them: nothing.
#[tokio::test]
async fn too_few_swapped_and_foreign_pieces_give_nothing() {
    let lost = Lost::new(true).await;
    lost.recover().await;
    let ask = lost.claimant.ask_for_pieces().await.unwrap();
    let guardians = lost.given(&ask, &[0, 1, 2]).await;
    let proxies = lost.released(&ask, &[0, 1, 2]).await;
    let join = |parts: &[&[GivenPiece]]| parts.concat();
    let twice = vec![guardians[0].clone(), guardians[0].clone()];
    // A proxy's piece said to be a guardian's, and the other way round.
    let swapped = |piece: &GivenPiece, half| GivenPiece { half, ..piece.clone() };
    let as_guardians: Vec<_> = proxies.iter().map(|it| swapped(it, 0)).collect();
    // Handed out anew: the halves do not fit those before.
    lost.wait(60);
    let patient = Identity::new(lost.claimant.account(), &seed(3));
    let patient = lost.network.galen.guarded(patient);
    let anew =
        patient.hand_out(&seed(3), &lost.set, Some(&ProxySet::majority(places()))).await.unwrap();
    let newer = lost.given_of(&anew, &ask, &[0, 1, 2]).await;
    let cases: Vec<(&str, Vec<GivenPiece>)> = vec![
        ("nothing", Vec::new()),
        ("one guardian and all proxies", join(&[&guardians[..1], &proxies])),
        ("one guardian twice", join(&[&twice, &proxies])),
        ("all guardians without proxies", guardians.clone()),
        ("all guardians and one proxy", join(&[&guardians, &proxies[..1]])),
        ("all proxies without guardians", proxies.clone()),
        ("proxies' pieces as guardians'", join(&[&as_guardians, &proxies])),
        ("new masks and old rests", join(&[&newer, &proxies])),
        ("a guardian of each handing out", join(&[&guardians[..1], &newer[1..2], &proxies])),
    ];
    for (name, pieces) in cases {
        let refused = lost.claimant.restore(&pieces).await;
        assert!(matches!(refused, Err(Error::PiecesMissing(_))), "{name}: {refused:?}");
    }
    // Garbage beside enough right ones does no harm.
    let garbage = GivenPiece { sealed: vec![7; 3_000], ..guardians[0].clone() };
    let enough = join(&[&[garbage], &as_guardians, &newer[..1], &guardians[1..], &proxies[1..]]);
    assert_eq!(lost.claimant.restore(&enough).await.unwrap().expose(), seed(3).expose());
    // To somebody else's keys none of them opens.
    let other = lost.network.galen.claimant(identity(31), lost.owner.id());
    assert!(other.open(&guardians[0]).is_err());
    // Guardians who agree on another seed: it is not that of the keys that the id has published.
    let (others, digests) = split_secret(&[9; 32], 2, 3).unwrap();
    let lie = |(given, piece): (&GivenPiece, _)| {
        let text = lost.claimant.open(given).unwrap();
        let text = PieceText { piece, digests: digests.clone(), ..text };
        let recipient = identity_key(30);
        let place = given.request.as_slice();
        let sealed = seal_note(&recipient, "galen.guardian.piece.v1", place, text.encode());
        GivenPiece { sealed: sealed.unwrap(), ..given.clone() }
    };
    let mut lies: Vec<GivenPiece> = guardians.iter().zip(others).map(lie).collect();
    lies.extend(proxies.clone());
    assert!(matches!(lost.claimant.restore(&lies).await, Err(Error::WrongSeed)));
    // Against enough honest ones they cannot stand in the way.
    lies.extend(guardians);
    assert_eq!(lost.claimant.restore(&lies).await.unwrap().expose(), seed(3).expose());
}

fn identity_key(n: u8) -> galen_crypto::IdentityPublic {
    seed(n).pseudonym(account(n).id()).identity().public().clone()
}

/// Guardians give nothing for a recovery that is not there, is not finished, was cancelled, is of another id, or was
/// followed by a rotation; nor to a key that the new controller did not sign for, nor under a former set.
#[tokio::test]
async fn pieces_are_given_only_after_a_recovery_that_stands() {
    let lost = Lost::new(true).await;
    let galen = &lost.network.galen;
    let nobody = |refused: Result<PieceAsk, Error>, name: &str| {
        assert!(matches!(refused, Err(Error::NotRecovered(_))), "{name}: {refused:?}");
    };
    nobody(lost.claimant.ask_for_pieces().await, "nothing started");
    // The owner itself, and a thief of its key: no recovery, no pieces.
    let thief = galen.claimant(identity(3), lost.owner.id());
    nobody(thief.ask_for_pieces().await, "the controller without a recovery");

    let sheet = lost.signed(&lost.claimant, false, &[0, 1]).await;
    galen.start_recovery(&sheet).await.unwrap();
    nobody(lost.claimant.ask_for_pieces().await, "started");
    lost.owner.cancel().await.unwrap();
    nobody(lost.claimant.ask_for_pieces().await, "cancelled");
    assert_eq!(kind(galen.start_recovery(&sheet).await), ErrorKind::Integrity, "the same again");
    let again = lost.signed(&lost.claimant, false, &[0, 1]).await;
    galen.start_recovery(&again).await.unwrap();
    lost.wait(DELAY.into());
    nobody(lost.claimant.ask_for_pieces().await, "waited, and not finished");
    galen.finish_pending(lost.owner.id()).await.unwrap();
    let ask = lost.claimant.ask_for_pieces().await.unwrap();
    assert_eq!(lost.given(&ask, &[1]).await.len(), 1);

    // What was signed is signed for one id, one key and one time.
    let honest = identity_key(31);
    let recipient = Bytes::copy_from_slice(honest.as_bytes());
    let later = PieceAsk { deadline: ask.deadline + 1, ..ask.clone() };
    let other_id = PieceAsk { id: lost.network.author.id(), ..ask.clone() };
    let bad_key = PieceAsk { recipient: Bytes::from_static(&[0xff; 1_216]), ..ask.clone() };
    let short_key = PieceAsk { recipient: Bytes::from_static(&[1; 32]), ..ask.clone() };
    let swapped = PieceAsk { recipient, ..ask.clone() };
    let cases = [
        ("the thief's key in the patient's request", swapped),
        ("a longer time", later),
        ("another id", other_id),
        ("no key", bad_key),
        ("a short key", short_key),
    ];
    for (name, ask) in cases {
        let given = lost.guardians[0].give(&ask, lost.envelope(0)).await;
        assert!(given.is_err(), "{name}");
    }
    let foreign = lost.guardians[0].give(&ask, lost.envelope(1)).await;
    assert!(matches!(foreign, Err(Error::Envelope(_))), "another guardian's piece: {foreign:?}");

    // The id changes hands again: the request of before is worth nothing.
    lost.wait(60);
    let owner = Identity::new(lost.claimant.account(), &seed(3));
    galen.rotate(&owner, &account(33)).await.unwrap();
    assert!(lost.guardians[1].give(&ask, lost.envelope(1)).await.is_ok(), "it only waits");
    lost.wait(DELAY.into());
    galen.finish_pending(lost.owner.id()).await.unwrap();
    assert!(lost.guardians[1].give(&ask, lost.envelope(1)).await.is_err(), "rotated after it");
    nobody(galen.claimant(identity(33), lost.owner.id()).ask_for_pieces().await, "by rotation");
}

/// What guardians must not take for a request, and who can start one.
#[tokio::test]
async fn guardians_sign_for_the_set_that_the_ledger_names() {
    let lost = Lost::new(true).await;
    let galen = &lost.network.galen;
    let stranger = galen.claimant(identity(30), lost.network.author.id());
    assert_eq!(kind(stranger.ask(false).await), ErrorKind::Invalid, "an id without guardians");
    let own = galen.claimant(identity(3), lost.owner.id());
    assert_eq!(kind(own.ask(false).await), ErrorKind::Invalid, "the controller itself");

    let one = lost.signed(&lost.claimant, false, &[1]).await;
    let few = galen.start_recovery(&one).await;
    assert!(matches!(few, Err(Error::GuardiansMissing { signed: 1, needed: Some(2) })), "{few:?}");
    let final_few = lost.signed(&lost.claimant, true, &[0, 1]).await;
    assert!(matches!(
        galen.start_recovery(&final_few).await,
        Err(Error::GuardiansMissing { signed: 2, needed: Some(3) })
    ));
    // A signature of one guardian for another's place.
    let bytes = one.encode();
    let (from, to) = (lost.guardians[1].id(), lost.guardians[0].id());
    let forged = swap(&bytes, from.as_slice(), to.as_slice());
    let forged = RecoverySheet::decode(&forged);
    let refused = match forged {
        Ok(sheet) => galen.check_recovery(&sheet).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);

    // The set changes: pieces and sheets of the former one help nobody.
    let others: Vec<Guardian> = lost.guardians[..2].to_vec();
    let change = GuardianPlan { threshold: 1, final_threshold: 2, ..plan(&others) };
    let set = lost.owner.set_of(&change).await.unwrap();
    assert_ne!(set.salt, lost.set.salt);
    let early = lost.owner.hand_out(&seed(3), &set, None).await;
    assert_eq!(kind(early), ErrorKind::Invalid, "the ledger does not know the set");
    lost.owner.set(&set, DELAY).await.unwrap();
    let waiting = lost.owner.hand_out(&seed(3), &set, None).await.unwrap();
    let ward = lost.guardians[0].accept(&waiting.pieces[0].1).await.unwrap();
    assert_eq!(ward.standing, PieceStanding::Waiting);
    lost.wait(DELAY.into());
    galen.finish_pending(lost.owner.id()).await.unwrap();
    let looked = lost.guardians[0].look(lost.envelope(0)).await.unwrap();
    assert_eq!(looked.standing, PieceStanding::Stale);
    let stale = lost.guardians[0].accept(lost.envelope(0)).await;
    assert!(matches!(stale, Err(Error::Envelope(_))), "{stale:?}");
    let mut sheet = lost.claimant.ask(false).await.unwrap();
    let stale = lost.guardians[0].approve(&mut sheet, lost.envelope(0)).await;
    assert!(matches!(stale, Err(Error::Envelope(_))), "{stale:?}");
    lost.guardians[0].approve(&mut sheet, &waiting.pieces[0].1).await.unwrap();
    assert!(matches!(galen.start_recovery(&one).await, Err(Error::Envelope(_))), "an old sheet");
    galen.start_recovery(&sheet).await.unwrap();
}

/// A guardian takes only what the owner signed, for this guardian, of the seed whose keys are published.
#[tokio::test]
async fn a_guardian_takes_only_a_right_piece() {
    let lost = Lost::new(true).await;
    let first = &lost.guardians[0];
    let decode = |bytes: &[u8]| PieceEnvelope::decode(bytes).unwrap();
    let honest = decode(lost.envelope(0));
    let with = |change: &dyn Fn(&mut PieceEnvelope)| {
        let mut envelope = honest.clone();
        change(&mut envelope);
        envelope.encode()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("another guardian's", lost.envelope(1).to_vec()),
        ("a proxy's", lost.handed.proxies[0].1.clone()),
        ("without its leaf", with(&|it| it.siblings.clear())),
        ("with one more leaf", with(&|it| it.siblings.push(B256::ZERO))),
        ("in another order", with(&|it| it.siblings.reverse())),
        ("with a later deadline", with(&|it| it.deadline += 1)),
        ("without a signature", with(&|it| it.signature = Bytes::new())),
        ("cut off", honest.encode()[..900].to_vec()),
    ];
    for (name, envelope) in cases {
        assert!(first.accept(&envelope).await.is_err(), "{name}");
    }
    first.accept(lost.envelope(0)).await.unwrap();
    lost.wait(31 * DAY);
    // A block, so that the chain has the new time.
    lost.network.chain.mine().unwrap();
    assert!(first.accept(lost.envelope(0)).await.is_err(), "out of date");
    first.look(lost.envelope(0)).await.unwrap();
    // Of another seed: nothing is handed out.
    let other = lost.owner.hand_out(&seed(4), &lost.set, None).await;
    assert_eq!(kind(other), ErrorKind::Invalid);
    for (name, plan) in [
        ("nobody", GuardianPlan { guardians: Vec::new(), ..plan(&lost.guardians) }),
        ("one twice", GuardianPlan { guardians: vec![first.id(); 2], ..plan(&lost.guardians) }),
        ("oneself", GuardianPlan { guardians: vec![lost.owner.id()], ..plan(&lost.guardians) }),
        ("out of reach", GuardianPlan { final_threshold: 4, ..plan(&lost.guardians) }),
        ("zero", GuardianPlan { threshold: 0, ..plan(&lost.guardians) }),
        ("final below", GuardianPlan { final_threshold: 1, ..plan(&lost.guardians) }),
        ("a day", GuardianPlan { delay: 86_400, ..plan(&lost.guardians) }),
        ("a month", GuardianPlan { delay: 30 * 86_400, ..plan(&lost.guardians) }),
    ] {
        assert_eq!(kind(lost.owner.set_of(&plan).await), ErrorKind::Invalid, "{name}");
    }
}

/// The second of two places where `from` stands takes `to`, and the other way round.
fn swap(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let place = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap();
    let (one, other) = (place(from), place(to));
    let mut swapped = bytes.to_vec();
    swapped[one..one + to.len()].copy_from_slice(to);
    swapped[other..other + from.len()].copy_from_slice(from);
    swapped
}
