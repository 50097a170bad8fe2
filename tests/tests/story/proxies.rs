//! Sharing while the patient is away: epochs of keys, proxies, and what they cannot spoil.

#[path = "proxies/served.rs"]
pub(crate) mod served;
#[path = "proxies/stand_in.rs"]
mod stand_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use galen_chain::CosignPolicy;
use galen_devchain::DevChain;
use galen_fhir::Category;
use galen_sdk::{
    AttachedFile, Error, Grant, GrantRequest, Granted, Grantee, Identity, NewRecord,
    proxies::{Asking, ProxyClient, ProxyError, ProxySet, ShareDelivery},
};
use galen_types::{ErrorKind, Purpose, PurposeSet, RecordId};

use crate::{DAY, Network, account, document, fhir, identity, kind, seed};
use served::DEPTH;
use stand_in::{Mood, StandIn};

const TREATMENT: Purpose = Purpose::Treatment;

fn client() -> ProxyClient {
    ProxyClient::new(Duration::from_secs(3)).unwrap()
}

/// Three proxies, of which two are needed.
async fn three(network: &Network) -> (Vec<StandIn>, ProxySet) {
    let mut proxies = Vec::new();
    for n in 21..=23 {
        proxies.push(StandIn::start(&network.galen, n).await);
    }
    let set = ProxySet::majority(proxies.iter().map(|it| it.place.clone()).collect());
    assert_eq!(set.threshold, 2);
    (proxies, set)
}

fn request(grantee: Address, categories: &[Category]) -> GrantRequest {
    GrantRequest {
        grantee,
        categories: categories.iter().map(|it| it.index()).collect(),
        purposes: PurposeSet::from_iter([TREATMENT]),
        not_before: None,
        lifetime: 7 * DAY,
    }
}

async fn deliver(shares: &[ShareDelivery]) {
    for share in shares {
        client().deliver(share).await.unwrap();
    }
}

/// Buries what was logged under so many blocks that proxies take it for final.
fn bury(chain: &DevChain) {
    for _ in 0..DEPTH {
        chain.mine().unwrap();
    }
}

/// Logs reads, and waits until proxies take them for final.
async fn log(
    network: &Network,
    grantee: &Grantee,
    grant: &Grant,
    purpose: Purpose,
    records: &[RecordId],
) {
    let covered = grantee.covered(grant.patient(), grant.consent()).await.unwrap();
    let keys: Vec<_> = covered.into_iter().filter(|it| records.contains(&it.id())).collect();
    grantee.log(grant.patient(), grant.consent(), purpose, &keys).await.unwrap();
    bury(&network.chain);
}

/// The documents that somebody reads under a grant.
async fn documents(
    network: &Network,
    grantee: &Grantee,
    grant: &Grant,
    purpose: Purpose,
    records: &[RecordId],
) -> Result<Vec<Vec<u8>>, Error> {
    log(network, grantee, grant, purpose, records).await;
    let read = grantee.open_logged(grant, records).await?;
    Ok(read.iter().map(|read| fhir(&read.opened).to_vec()).collect())
}

/// A grant of these categories to the physician, delivered to everybody.
async fn granted(network: &Network, set: &ProxySet, categories: &[Category]) -> Granted {
    let request = request(network.physician.id(), categories);
    let granted = network.patient.grant_through(&request, set).await.unwrap();
    deliver(&granted.shares).await;
    granted
}

/// The physician, who waits so long and no longer.
fn asking(network: &Network, patience: u64) -> Grantee {
    let asking = Asking::default().by(client()).for_at_most(Duration::from_secs(patience));
    network.physician.clone().asking_proxies(asking)
}

#[tokio::test]
async fn a_new_epoch_reaches_authors_and_old_content_moves() {
    let network = Network::new().await;
    let (patient, author, policy) = (&network.patient, &network.author, CosignPolicy::default());
    let propose = async |category| {
        let records = [document(category)];
        author.propose(&network.contact, records, &policy).await.unwrap().pop().unwrap().proposal
    };
    let vitals = network.segment(Category::Vitals);
    let old = network.accepted(&[Category::Vitals]).await;
    assert_eq!(patient.epoch().await.unwrap(), 1);

    // What waits for an answer when the epoch ends is refused: its author proposes it again.
    propose(Category::Problems).await;
    patient.next_epoch().await.unwrap();
    assert_eq!(patient.epoch().await.unwrap(), 2);
    let inbox = patient.inbox().await.unwrap();
    let refused = patient.examine(&inbox[0], 0).await.unwrap_err();
    assert!(matches!(refused, Error::Misproposed { fault, .. } if fault.contains("another epoch")));

    // The author met the patient before; publishing the same keys again changes nothing.
    let again = propose(Category::Vitals).await;
    let inbox = patient.inbox().await.unwrap();
    patient.examine(&inbox[1], 0).await.unwrap();
    patient.answer(again, [0], [], &policy, &BTreeMap::new()).await.unwrap();
    patient.publish_keys().await.unwrap();
    let used = patient.epochs_in_use().await.unwrap();
    assert_eq!(used, BTreeMap::from([(vitals, BTreeSet::from([1, 2]))]));

    // In direct mode an envelope holds the keys of both.
    let request = request(network.physician.id(), &[Category::Vitals]);
    let consent = patient.grant(&request).await.unwrap().consent;
    let grant = network.physician.accept(&patient.envelope(&consent).await.unwrap()).await.unwrap();
    assert_eq!((grant.epochs(), grant.is_shared()), (vec![1, 2], false));
    let covered = network.physician.readable(&grant).await.unwrap();
    let (read, _) = network.physician.read(&grant, TREATMENT, &covered).await.unwrap();
    assert_eq!(read.len(), 2);

    // Sealed anew, it lies under the new keys; another device of the same patient finds the same.
    patient.reseal(&old).await.unwrap();
    let device = network.galen.patient(Identity::new(account(3), &seed(3)));
    assert_eq!(device.epochs_in_use().await.unwrap(), BTreeMap::from([(vitals, [2].into())]));

    // Another identity key is not another epoch: the author does not follow by itself.
    let stranger = network.galen.patient(Identity::new(account(3), &seed(33)));
    assert_eq!(kind(stranger.next_epoch().await), ErrorKind::NotFound);
    stranger.publish_keys().await.unwrap();
    let records: [NewRecord; 1] = [document(Category::Vitals)];
    let refused = author.propose(&network.contact, records, &policy).await.unwrap_err();
    assert!(matches!(refused, Error::Envelope(fault) if fault.contains("changed")));
}

#[tokio::test]
async fn two_of_three_proxies_open_a_record_whatever_the_third_does() {
    let network = Network::new().await;
    let (proxies, set) = three(&network).await;
    let categories = [Category::Vitals, Category::Problems];
    let records = network.accepted(&categories).await;
    let granted = granted(&network, &set, &categories).await;
    let physician = asking(&network, 20);
    let grant = physician.accept(&granted.envelope).await.unwrap();
    assert_eq!((grant.threshold(), grant.is_shared()), (Some((2, 3)), true));

    let read = async || {
        let begun = Instant::now();
        let (read, _) = physician.read(&grant, TREATMENT, &records).await.unwrap();
        for (read, category) in read.iter().zip(categories) {
            assert_eq!(fhir(&read.opened), document(category).payload.expose());
        }
        assert_eq!(read.len(), 2);
        begun.elapsed()
    };
    read().await;
    for mood in [Mood::Lying, Mood::Swapping, Mood::Slow, Mood::NotFinal(1_000)] {
        proxies[1].is(mood);
        let took = read().await;
        assert!(took < Duration::from_secs(3), "{mood:?} took {took:?}");
    }
    proxies[1].stop();
    read().await;

    // With one of them the reads are logged and nothing opens; it says who said what.
    proxies[2].is(Mood::Lying);
    let error = asking(&network, 1).read(&grant, TREATMENT, &records).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let Error::TooFewProxies { needed: 2, answered: 1, said } = error else { panic!("{error}") };
    let of = |n: usize| &said.iter().find(|(place, _)| *place == set.places[n]).unwrap().1;
    assert!(matches!(of(1), ProxyError::Silent), "{said:?}");
    assert!(matches!(of(2), ProxyError::Wrong(_)), "{said:?}");

    // What is logged can be opened later, without another log.
    proxies[2].is(Mood::NotFinal(2));
    let before = network.patient.audit().await.unwrap().accesses;
    assert_eq!(physician.open_logged(&grant, &records).await.unwrap().len(), 2);
    assert_eq!(network.patient.audit().await.unwrap().accesses, before);

    // After the revocation the contract refuses, and so do proxies whom a cheat asks at once.
    network.patient.revoke(granted.consent.id()).await.unwrap();
    let refused = physician.read(&grant, TREATMENT, &records).await;
    assert_eq!(kind(refused), ErrorKind::Denied);
    let refused = asking(&network, 1).open_logged(&grant, &records).await.unwrap_err();
    let Error::TooFewProxies { answered: 0, said, .. } = refused else { panic!("{refused}") };
    let revoked = |error: &ProxyError| matches!(error, ProxyError::Refused { cause, .. } if cause == "revoked");
    assert_eq!(said.iter().filter(|(_, error)| revoked(error)).count(), 2, "{said:?}");
}

#[tokio::test]
async fn records_of_old_and_new_epochs_are_read_while_the_patient_is_away() {
    let network = Network::new().await;
    let (proxies, set) = served::three(&network).await;
    let patient = &network.patient;
    let old = network.accepted(&[Category::Vitals]).await;
    let first = granted(&network, &set, &[Category::Vitals]).await;

    // The grantee got nothing from the patient: proxies know where its envelope lies.
    let physician = asking(&network, 20);
    let offered = physician.offered(&set.places[0].url, None).await.unwrap();
    assert_eq!(offered.grants.len(), 1);
    let (grant, kept) = physician.accept_offered(&offered.grants[0]).await.unwrap();
    assert_eq!(kept, first.envelope);
    let vitals = document(Category::Vitals).payload.expose().to_vec();

    // Before the read is final, proxies say so and are asked again.
    let hasty = asking(&network, 1).read(&grant, TREATMENT, &old).await.unwrap_err();
    assert_eq!(hasty.kind(), ErrorKind::Unavailable);
    let (chain, waited) = (network.chain.clone(), Arc::new(AtomicBool::new(false)));
    let mine = Arc::clone(&waited);
    let patient_asking = Asking::default().by(client()).telling(move |progress| {
        if progress.waiting_for_finality == 3 && !mine.swap(true, Ordering::SeqCst) {
            bury(&chain);
        }
    });
    let calm = network.physician.clone().asking_proxies(patient_asking);
    let (read, _) = calm.read(&grant, TREATMENT, &old).await.unwrap();
    assert_eq!(fhir(&read[0].opened), vitals);
    assert!(waited.load(Ordering::SeqCst));
    proxies[0].stop();

    // A new epoch: what is written under it opens once the keys are renewed, and so does what was there before.
    patient.next_epoch().await.unwrap();
    let new = network.accepted(&[Category::Vitals]).await;
    let both = [old[0], new[0]];
    let error = documents(&network, &asking(&network, 1), &grant, TREATMENT, &both).await;
    assert!(matches!(error.unwrap_err(), Error::TooFewProxies { .. }));
    let renewed = patient.renew(&[first.consent], &set).await.unwrap().pop().unwrap();
    deliver(&renewed.shares[1..]).await;
    let newer = physician.accept(&renewed.envelope).await.unwrap();
    assert_eq!(newer.epochs(), [1, 2]);
    let joined = newer.join(grant.clone()).unwrap();
    let read = documents(&network, &physician, &joined, TREATMENT, &both).await.unwrap();
    assert_eq!(read, [vitals.as_slice(), &vitals]);
    // The halves from before are of another split.
    let error = documents(&network, &asking(&network, 1), &grant, TREATMENT, &old).await;
    assert!(matches!(error.unwrap_err(), Error::TooFewProxies { answered: 0, .. }));

    // Once nothing lies under the old epoch, nobody gets keys of it.
    patient.reseal(&old).await.unwrap();
    let renewed = patient.renew(&[first.consent], &set).await.unwrap().pop().unwrap();
    deliver(&renewed.shares[1..]).await;
    let last = physician.accept(&renewed.envelope).await.unwrap();
    assert_eq!(last.epochs(), [2]);
    let read = documents(&network, &physician, &last, TREATMENT, &both).await.unwrap();
    assert_eq!(read.len(), 2);

    // A revoked grantee with all that it ever had gets nothing more.
    patient.revoke(first.consent.id()).await.unwrap();
    let everything = joined.join(last).unwrap();
    let refused = asking(&network, 1).open_logged(&everything, &both).await.unwrap_err();
    let Error::TooFewProxies { answered: 0, said, .. } = refused else { panic!("{refused}") };
    assert!(said.iter().any(|(_, said)| said.kind() == ErrorKind::Denied), "{said:?}");
}

#[tokio::test]
async fn a_long_attachment_is_streamed_through_proxies() {
    const LEN: usize = 11 << 20;
    let network = Network::new().await;
    let (_proxies, set) = served::three(&network).await;
    let bytes: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    let path = network.files.path().join("scan.dcm");
    fs::write(&path, &bytes).unwrap();
    let media_type = "application/dicom".parse().unwrap();
    let category = Category::DiagnosticReports.index();
    let file = AttachedFile { category, media_type, path };
    let policy = CosignPolicy::default();
    let announced = network.author.attach(&network.contact, &file, &policy).await.unwrap();
    let (id, record) = (announced.proposal, announced.records[0].id());
    network.patient.answer(id, [0], [], &policy, &BTreeMap::new()).await.unwrap();

    let granted = granted(&network, &set, &[Category::DiagnosticReports]).await;
    let physician = asking(&network, 20);
    let grant = physician.accept(&granted.envelope).await.unwrap();
    log(&network, &physician, &grant, TREATMENT, &[record]).await;
    let (read, manifest) = physician.export_logged(&grant, record, Vec::new()).await.unwrap();
    assert_eq!(manifest.committed.len, LEN as u64);
    assert!(read == bytes, "what was attached");
}

#[tokio::test]
async fn every_active_organization_reads_in_an_emergency_and_nobody_else() {
    let network = Network::new().await;
    let (_proxies, set) = served::three(&network).await;
    let records = network.accepted(&[Category::Allergies]).await;
    let patient = network.patient.id();
    let request = GrantRequest {
        purposes: PurposeSet::from_iter([Purpose::BreakTheGlass]),
        ..request(Address::ZERO, &[Category::Allergies])
    };
    let granted = network.patient.grant_through(&request, &set).await.unwrap();
    assert!(granted.envelope.is_empty() && granted.shares.len() == 3);
    deliver(&granted.shares).await;

    // Number 6 is a member of the network from the start.
    let hospital = network.galen.grantee(identity(6));
    hospital.publish_keys().await.unwrap();
    let asking_quickly = Asking::default().by(client()).for_at_most(Duration::from_secs(20));
    let hospital = hospital.asking_proxies(asking_quickly);
    let open = hospital.open_grants(&set.places[1].url, patient).await.unwrap();
    assert_eq!(open.len(), 1);
    let glass = Purpose::BreakTheGlass;
    let read = documents(&network, &hospital, &open[0], glass, &records).await.unwrap();
    assert_eq!(read, [document(Category::Allergies).payload.expose()]);

    // Who is no organization is shown nothing, and the contract does not let it log.
    let physician = asking(&network, 1);
    assert!(physician.open_grants(&set.places[1].url, patient).await.unwrap().is_empty());
    let refused = physician.read(&open[0], glass, &records).await;
    assert_eq!(kind(refused), ErrorKind::Denied);

    network.patient.revoke(granted.consent.id()).await.unwrap();
    assert!(hospital.open_grants(&set.places[1].url, patient).await.unwrap().is_empty());
    let refused = hospital.open_logged(&open[0], &records).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
}
