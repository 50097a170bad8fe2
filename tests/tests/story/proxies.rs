//! Sharing while the patient is away: epochs of keys, proxies, and what they cannot spoil.

#[path = "stand_in.rs"]
mod stand_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use galen_chain::CosignPolicy;
use galen_fhir::Category;
use galen_sdk::{
    Error, GrantRequest, Granted, Grantee, Identity, NewRecord,
    proxies::{Asking, ProxyClient, ProxyError, ProxySet, ShareDelivery},
};
use galen_types::{ErrorKind, Purpose, PurposeSet};

use crate::{DAY, Network, account, document, fhir, kind, seed};
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
