//! Sharing while the patient is away: epochs of keys, proxies, and what they cannot spoil.

use std::collections::{BTreeMap, BTreeSet};

use galen_chain::CosignPolicy;
use galen_fhir::Category;
use galen_sdk::{Error, Identity, NewRecord};
use galen_types::ErrorKind;

use crate::{Network, account, document, kind, seed};

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
