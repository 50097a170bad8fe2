//! One ledger, one patient, and what they do at random.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test takes what it needs")]

use alloy::{providers::Provider, signers::local::PrivateKeySigner};
use alloy_primitives::{B256, U256, keccak256};
use galen_chain::{
    Account, ChainError, CosignPolicy, Finality, HistoryMode, Ledger, Masks, SignedProposal,
    TreeChange, deploy,
};
use galen_devchain::{Clock, Config, DevChain};
use galen_index::{Chart, HistoryOptions, View};
use galen_types::{
    Commitment, Consent, ConsentTree, ContentRef, KeyBundleId, Leaf, LeafKind, Purpose, RecordKey,
    Salt, Segment, VersionId,
};

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const LATER: u64 = NOW + 1_000_000_000;
pub(crate) const SEGMENT: Segment = Segment(0x2a);

pub(crate) fn hash(n: u64) -> B256 {
    keccak256(n.to_be_bytes())
}

/// Somebody with a key.
pub(crate) fn account(n: u8) -> Account {
    Account::from(PrivateKeySigner::from_slice(&[n; 32]).unwrap())
}

/// An embedded chain whose blocks come out the same in every process.
pub(crate) fn chain() -> DevChain {
    let funded = (1..=4).map(|n| (account(n).id(), U256::from(10_u64.pow(18)))).collect();
    DevChain::in_memory(Config {
        accounts: funded,
        clock: Clock::Manual,
        genesis_time: NOW,
        ..Config::default()
    })
}

pub(crate) struct Stage {
    pub(crate) ledger: Ledger,
    pub(crate) patient: Account,
    pub(crate) author: Account,
    pub(crate) grantee: Account,
    pub(crate) consent: Consent,
    pub(crate) tree: ConsentTree,
    signed: Vec<(SignedProposal, Vec<Leaf>)>,
    next: u64,
}

impl Stage {
    /// Deploys a ledger whose only founder is the author.
    pub(crate) async fn new(provider: impl Provider + Clone + 'static) -> Self {
        let [payer, patient, author, grantee] = [1, 2, 3, 4].map(account);
        let deployment =
            deploy(provider.clone(), &payer, &[author.id()], B256::ZERO).await.unwrap();
        let ledger = Ledger::connect(provider, deployment.ledger, deployment.block).await.unwrap();
        let consent = Consent {
            grantee: grantee.id(),
            segments: [SEGMENT].into_iter().collect(),
            purposes: [Purpose::Treatment].into_iter().collect(),
            not_before: NOW,
            expiry: LATER,
            salt: Salt(hash(0)),
        };
        Self {
            ledger: ledger.paid_by(&payer),
            patient,
            author,
            grantee,
            tree: [consent.id()].into_iter().collect(),
            consent,
            signed: Vec::new(),
            next: 1,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) async fn publish_keys(&mut self, previous: KeyBundleId) -> Result<(), ChainError> {
        let bundle = hash(self.number());
        let content = ContentRef::swarm(bundle);
        let keys =
            self.ledger.publish_keys(&self.patient, previous, KeyBundleId(bundle), content, LATER);
        keys.await.map(drop)
    }

    pub(crate) async fn propose(&mut self, count: u64) -> Result<(), ChainError> {
        let leaves: Vec<Leaf> = (0..count)
            .map(|_| {
                let number = self.number();
                Leaf {
                    kind: LeafKind::New,
                    segment: SEGMENT,
                    number,
                    content: ContentRef::swarm(hash(number)),
                    commitment: Commitment(hash(number + (1 << 40))),
                    previous: VersionId::default(),
                }
            })
            .collect();
        let policy = CosignPolicy::default();
        let patient = self.patient.id();
        let signed =
            self.ledger.sign_proposal(&self.author, patient, &leaves, &policy, LATER).await?;
        self.ledger.propose(&signed, &leaves).await?;
        self.signed.push((signed, leaves));
        Ok(())
    }

    /// Accepts every leaf of a proposal, perhaps again.
    pub(crate) async fn settle(&self, which: usize) -> Result<(), ChainError> {
        let Some(place) = which.checked_rem(self.signed.len()) else { return Ok(()) };
        let (signed, leaves) = &self.signed[place];
        let accepted = (U256::ONE << leaves.len()) - U256::ONE;
        let masks = Masks { accepted, rejected: U256::ZERO };
        let policy = CosignPolicy::default();
        let settled =
            self.ledger.settle(&self.patient, signed, masks, LATER, &policy, Vec::new()).await;
        settled.map(drop)
    }

    /// Grants the usual consent and another one.
    pub(crate) async fn consent(&mut self) -> Result<(), ChainError> {
        let other = Consent { salt: Salt(hash(self.number())), ..self.consent };
        self.tree.insert(other.id());
        let granted = vec![self.consent.id(), other.id()];
        let openings = vec![self.consent, other];
        let version = self.ledger.consents(self.patient.id()).await?.version;
        let (tree, revoked) = (self.tree.clone(), Vec::new());
        let change = TreeChange { tree, version, revoked, granted, openings };
        let change = self.ledger.change_consents(&self.patient, change, LATER);
        change.await.map(drop)
    }

    fn records(&self, first: u64, count: u64) -> Vec<RecordKey> {
        let (patient, author) = (self.patient.id(), self.author.id());
        (first..first + count)
            .map(|number| RecordKey { patient, author, segment: SEGMENT, number })
            .collect()
    }

    /// Logs reads of some records. Refused without a live consent.
    pub(crate) async fn access(&self, first: u64, count: u64) -> Result<(), ChainError> {
        let proof = self.tree.proof(self.consent.id()).unwrap();
        let (consent, purpose) = (&self.consent, Purpose::Treatment);
        let records = self.records(first, count);
        let log = self.ledger.log_access(&self.grantee, consent, purpose, proof, &records, LATER);
        log.await.map(drop)
    }
}

/// Reads everything anew.
pub(crate) async fn fresh(ledger: &Ledger, mode: HistoryMode) -> View {
    let finality = Finality::Depth(64);
    let options = HistoryOptions { mode, finality, ..HistoryOptions::default() };
    let mut view = View::open(ledger, options);
    view.sync().await.unwrap();
    view
}

/// Two views say the same.
pub(crate) fn assert_same(view: &View, other: &View) {
    assert_eq!(view.next_block(), other.next_block());
    assert_eq!(view.events(), other.events());
    assert!(view.organizations().eq(other.organizations()));
    assert_eq!(view.charts().len(), other.charts().len());
    for (patient, chart) in view.charts() {
        assert_eq!(Some(chart), other.chart(patient));
    }
}

/// The chart is the one on chain.
pub(crate) async fn assert_folded(view: &View, stage: &Stage) {
    let patient = stage.patient.id();
    let nothing = Chart::default();
    let chart = view.chart(patient).unwrap_or(&nothing);
    assert!(chart.head().matches(&stage.ledger.chart(patient).await.unwrap()));
    assert!(chart.consents().matches(&stage.ledger.consents(patient).await.unwrap()));
}
