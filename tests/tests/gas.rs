//! Gas of every operation, whole transactions, by revm at Osaka and at Amsterdam: `gas.json`.
//!
//! `GALEN_WRITE=1 cargo test -p galen-e2e --test gas` writes the file; without it the file is compared.
//! Signatures have 64 bytes (ERC-2098). Steady state: every slot that an operation writes has been
//! written before, unless the name says `first`.

use std::{collections::BTreeMap, fs};

use alloy::{
    network::EthereumWallet,
    providers::{Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use galen_chain::{
    Account, CosignPolicy, Ledger, Masks, Sent, SignedProposal, TreeChange, contract::HealthLedger,
    deploy,
};
use galen_devchain::{Clock, Config, DevChain, Spec};
use galen_types::{
    Commitment, Consent, ConsentId, ConsentTree, ContentRef, Leaf, LeafKind, Purpose, RecordKey,
    Salt, Segment, VersionId,
};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;
const LATER: u64 = NOW + 100_000;
const ETHER: u128 = 1_000_000_000_000_000_000;

/// What each operation may cost at Osaka, and why more where it does.
const BUDGET: &[(&str, u64, Option<Excess>)] = &[
    ("propose, one record", 39_000, None),
    ("propose, each further leaf", 4_300, None),
    ("settle, one record", 46_500, None),
    (
        "settle, 256 records",
        46_500,
        Some(Excess { gas: 100, why: "a full mask has 31 more bytes that are not zero: 372 gas" }),
    ),
    ("settle, patient's first", 64_000, None),
    ("change consents, one leaf", 38_500, None),
    ("change consents, each further leaf", 800, None),
    ("log access, three-level proof", 39_500, None),
    ("reseal, by signature", 37_500, None),
    (
        "anchor bulk, any size",
        26_100,
        Some(Excess { gas: 960, why: "the address of the manifest is announced too: 770 gas" }),
    ),
];

/// How much an operation may cost beyond its budget, and why.
struct Excess {
    gas: u64,
    why: &'static str,
}

fn account(n: u8) -> Account {
    Account::from_key(&[n; 32]).expect("a small number is a key")
}

fn hash(n: u64) -> B256 {
    keccak256(n.to_be_bytes())
}

fn leaf(n: u64) -> Leaf {
    Leaf {
        kind: LeafKind::New,
        segment: Segment(0x2a),
        number: n,
        content: ContentRef::swarm(hash(n)),
        commitment: Commitment(hash(n + 1_000_000)),
        previous: VersionId::default(),
    }
}

fn consent(n: u64, grantee: Address) -> Consent {
    Consent {
        grantee,
        segments: [0x2a, 1, 7, 9, 200].map(Segment).into_iter().collect(),
        purposes: [Purpose::Treatment].into_iter().collect(),
        not_before: NOW,
        expiry: LATER,
        salt: Salt(hash(n + 2_000_000)),
    }
}

/// A ledger with one organization, one patient and one grantee.
struct Bench {
    chain: DevChain,
    ledger: Ledger,
    address: Address,
    author: Account,
    patient: Account,
    grantee: Account,
    gas: BTreeMap<&'static str, u64>,
}

impl Bench {
    async fn new(spec: Spec) -> Self {
        let [payer, author, patient, grantee] = [1, 2, 3, 4].map(account);
        let funded = [&payer, &author, &grantee].map(|a| (a.controller(), U256::from(ETHER)));
        let config = Config {
            accounts: funded.to_vec(),
            spec,
            clock: Clock::Manual,
            genesis_time: NOW,
            ..Config::default()
        };
        let chain = DevChain::in_memory(config);
        let founders = [author.id()];
        let deployment =
            deploy(chain.provider(), &payer, &founders, B256::ZERO).await.expect("deploys");
        let ledger = Ledger::connect(chain.provider(), deployment.ledger, deployment.block)
            .await
            .expect("connects")
            .paid_by(&payer);
        let gas = BTreeMap::from([("deploy ledger and consortium", deployment.gas)]);
        let address = deployment.ledger;
        Self { chain, ledger, address, author, patient, grantee, gas }
    }

    fn note(&mut self, operation: &'static str, sent: Sent) {
        self.gas.insert(operation, sent.gas);
    }

    async fn propose(&self, first: u64, count: u64) -> (SignedProposal, Sent) {
        let leaves: Vec<Leaf> = (first..first + count).map(leaf).collect();
        let policy = CosignPolicy::default();
        let signed = self
            .ledger
            .sign_proposal(&self.author, self.patient.id(), &leaves, &policy, LATER)
            .await
            .expect("signs");
        let sent = self.ledger.propose(&signed, &leaves).await.expect("proposes");
        (signed, sent)
    }

    async fn settle(&self, proposal: &SignedProposal, accepted: U256) -> Sent {
        let masks = Masks { accepted, rejected: U256::ZERO };
        let policy = CosignPolicy::default();
        let ledger = &self.ledger;
        ledger
            .settle(&self.patient, proposal, masks, LATER, &policy, Vec::new())
            .await
            .expect("settles")
    }

    async fn consents(&self, tree: &ConsentTree, granted: Vec<ConsentId>) -> Sent {
        let ledger = &self.ledger;
        let version = ledger.consents(self.patient.id()).await.expect("answers").version;
        let change = TreeChange { tree: tree.clone(), version, granted, ..TreeChange::default() };
        ledger.change_consents(&self.patient, change, LATER).await.expect("changes consents")
    }

    async fn measure(&mut self) {
        let (one, sent) = self.propose(0, 1).await;
        self.note("propose, one record", sent);
        let (_, sent) = self.propose(1, 11).await;
        let further = (sent.gas - self.gas["propose, one record"]) / 10;
        self.gas.insert("propose, each further leaf", further);
        let sent = self.settle(&one, U256::ONE).await;
        self.note("settle, patient's first", sent);
        let (two, _) = self.propose(12, 1).await;
        let sent = self.settle(&two, U256::ONE).await;
        self.note("settle, one record", sent);
        let (many, sent) = self.propose(100, 256).await;
        self.note("propose, 256 records", sent);
        let sent = self.settle(&many, U256::MAX).await;
        self.note("settle, 256 records", sent);
        self.measure_consents().await;
        self.measure_reseal().await;
        self.measure_direct().await;
    }

    async fn measure_consents(&mut self) {
        let grantee = self.grantee.id();
        let leaves: Vec<ConsentId> = (0..20).map(|n| consent(n, grantee).id()).collect();
        let mut tree: ConsentTree = leaves[..1].iter().copied().collect();
        let sent = self.consents(&tree, leaves[..1].to_vec()).await;
        self.note("change consents, patient's first", sent);
        tree.insert(leaves[1]);
        let sent = self.consents(&tree, leaves[1..2].to_vec()).await;
        self.note("change consents, one leaf", sent);
        let mut wide = tree.clone();
        leaves[2..13].iter().for_each(|leaf| {
            wide.insert(*leaf);
        });
        let sent = self.consents(&wide, leaves[2..13].to_vec()).await;
        let further = (sent.gas - self.gas["change consents, one leaf"]) / 10;
        self.gas.insert("change consents, each further leaf", further);
        // Eight leaves: three levels.
        let eight: ConsentTree = leaves[..8].iter().copied().collect();
        self.consents(&eight, Vec::new()).await;
    }

    async fn measure_reseal(&mut self) {
        let (key, patient) = (leaf(0).key(self.patient.id(), self.author.id()), self.patient.id());
        let items = [(key, ContentRef::swarm(hash(50)), ContentRef::swarm(hash(0)))];
        let ledger = &self.ledger;
        let sent = ledger
            .reseal(&self.patient, patient, self.author.id(), &items, LATER)
            .await
            .expect("reseals");
        self.note("reseal, by signature", sent);
        let items: Vec<_> = (0..11)
            .map(|n| {
                let key = RecordKey { number: n, ..key };
                (key, ContentRef::swarm(hash(60 + n)), ContentRef::swarm(hash(n)))
            })
            .collect();
        let ledger = &self.ledger;
        let sent = ledger
            .reseal(&self.patient, patient, self.author.id(), &items, LATER)
            .await
            .expect("reseals");
        let further = (sent.gas - self.gas["reseal, by signature"]) / 10;
        self.gas.insert("reseal, each further record", further);
    }

    /// What the one who is concerned sends itself.
    async fn measure_direct(&mut self) {
        let consents: Vec<Consent> = (0..8).map(|n| consent(n, self.grantee.id())).collect();
        let tree: ConsentTree = consents.iter().map(Consent::id).collect();
        let proof = tree.proof(consents[0].id()).expect("the leaf is live");
        assert_eq!(proof.len(), 3);
        let key = leaf(0).key(self.patient.id(), self.author.id());
        let call = self.ledger.access_call(
            self.grantee.id(),
            &consents[0],
            Purpose::Treatment,
            proof.clone(),
            &[key],
        );
        let contract = self.contract(4);
        let access = call.expect("one record");
        let gas = self
            .land(contract.logAccess(
                access.records[0],
                access.patient,
                access.terms,
                access.segments,
                access.salt,
                access.proof,
            ))
            .await;
        self.gas.insert("log access, three-level proof", gas);
        let sent = self
            .ledger
            .log_access(&self.grantee, &consents[0], Purpose::Treatment, proof, &[key], LATER)
            .await
            .expect("logs");
        self.note("log access, by signature", sent);

        let contract = self.contract(2);
        let header = U256::from(4_096);
        let gas = self.land(contract.anchorBulk(hash(70), header, hash(71))).await;
        self.gas.insert("anchor bulk, any size", gas);
    }

    fn contract(&self, key: u8) -> HealthLedger::HealthLedgerInstance<impl Provider + use<>> {
        let signer = PrivateKeySigner::from_slice(&[key; 32]).expect("a small number is a key");
        let provider = ProviderBuilder::new()
            .wallet(EthereumWallet::from(signer))
            .connect_client(self.chain.client());
        HealthLedger::new(self.address, provider)
    }

    async fn land<P: Provider, C: alloy::sol_types::SolCall>(
        &self,
        call: alloy::contract::CallBuilder<P, std::marker::PhantomData<C>>,
    ) -> u64 {
        let pending = call.send().await.expect("is taken");
        let receipt = pending.get_receipt().await.expect("lands");
        assert!(receipt.status());
        receipt.gas_used
    }
}

async fn measured(spec: Spec) -> BTreeMap<&'static str, u64> {
    let mut bench = Bench::new(spec).await;
    bench.measure().await;
    bench.gas
}

#[tokio::test]
async fn gas_is_as_committed_and_within_budget() {
    let osaka = measured(Spec::Osaka).await;
    let amsterdam = measured(Spec::Amsterdam).await;
    let rows: Vec<Value> = osaka
        .iter()
        .map(|(operation, gas)| {
            let budget = BUDGET.iter().find(|(name, ..)| name == operation);
            let excess = budget.and_then(|(.., excess)| excess.as_ref()).map(|excess| excess.why);
            json!({
                "operation": operation,
                "osaka": gas,
                "amsterdam": amsterdam[operation],
                "budget_osaka": budget.map(|(_, budget, _)| budget),
                "over_budget_because": excess,
            })
        })
        .collect();
    let file = json!({
        "unit": "gas of the whole transaction",
        "signatures": "64 bytes (ERC-2098)",
        "engine": "revm, Osaka and Amsterdam",
        "operations": rows,
    });
    let text = serde_json::to_string_pretty(&file).expect("JSON") + "\n";
    let path = galen_e2e::root().join("gas.json");
    if std::env::var_os("GALEN_WRITE").is_some() {
        fs::write(&path, &text).expect("gas.json is written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, text, "gas.json is stale: run this test with GALEN_WRITE=1");
    let limit = |excess: &Option<Excess>| excess.as_ref().map_or(0, |excess| excess.gas);
    let over: Vec<_> = BUDGET
        .iter()
        .filter(|(operation, budget, excess)| osaka[operation] > budget + limit(excess))
        .map(|(operation, ..)| operation)
        .collect();
    assert!(over.is_empty(), "over budget: {over:?}");
}
