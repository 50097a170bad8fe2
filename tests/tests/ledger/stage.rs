//! One ledger, a few people, and what they can send.

use alloy::{
    network::{EthereumWallet, TransactionBuilder as _},
    providers::{DynProvider, Provider as _, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::{SolCall, SolError, SolStruct},
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48, keccak256};
use galen_chain::{
    Account, CosignPolicy, Ledger, Revert,
    contract::{Consortium, HealthLedger},
    deploy, typed,
};
use galen_devchain::{Clock, Config, DevChain};
use galen_index::{Chart, View};
use galen_types::{
    Commitment, Consent, ConsentTree, ContentRef, Leaf, LeafKind, LedgerId, Purpose, RecordKey,
    Salt, Segment, VersionId,
};

/// Unix second of the first block; the clock stands until it is moved.
pub(crate) const NOW: u64 = 1_700_000_000;
/// A deadline that no test reaches by accident.
pub(crate) const LATER: u64 = NOW + 1_000_000_000;
/// The segment that the usual consent covers, and one that it does not.
pub(crate) const CONSENTED: Segment = Segment(0x2a);
pub(crate) const OTHER_SEGMENT: Segment = Segment(0x2b);

const ETHER: u128 = 1_000_000_000_000_000_000;

/// Half the order of secp256k1 doubled: the order itself.
const ORDER: [u8; 32] =
    alloy_primitives::hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");

/// Somebody with a key.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    key: PrivateKeySigner,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// `r‖s‖v`, 65 bytes.
    Long,
    /// ERC-2098, 64 bytes.
    Short,
    /// The malleable twin, 65 bytes.
    HighS,
}

impl Person {
    pub(crate) fn new(n: u8) -> Self {
        Self { key: PrivateKeySigner::from_slice(&[n; 32]).unwrap() }
    }

    pub(crate) fn id(&self) -> Address {
        self.key.address()
    }

    pub(crate) fn account(&self) -> Account {
        Account::from(self.key.clone())
    }

    pub(crate) fn sign(&self, digest: B256, form: Form) -> Bytes {
        let signature = self.key.sign_hash_sync(&digest).unwrap();
        match form {
            Form::Long => signature.as_bytes().into(),
            Form::Short => signature.as_erc2098().into(),
            Form::HighS => {
                let mut bytes = signature.as_bytes();
                let s = U256::from_be_bytes(ORDER) - signature.s();
                bytes[32..64].copy_from_slice(&s.to_be_bytes::<32>());
                bytes[64] ^= 27 ^ 28;
                bytes.into()
            }
        }
    }
}

/// Who it is, by number. Organizations are the founders.
const RELAYER: u8 = 1;
const PATIENT: u8 = 2;
const GRANTEE: u8 = 3;
const STRANGER: u8 = 4;
const ORGANIZATIONS: [u8; 3] = [5, 6, 7];

/// A call that anybody may send.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) to: Address,
    pub(crate) data: Bytes,
}

/// A ledger with three founding organizations, a patient, a grantee, a stranger and a relayer.
pub(crate) struct Stage {
    pub(crate) chain: DevChain,
    pub(crate) ledger: Ledger,
    pub(crate) consortium: Address,
    pub(crate) relayer: Person,
    pub(crate) patient: Person,
    pub(crate) grantee: Person,
    pub(crate) stranger: Person,
    /// Signs records.
    pub(crate) author: Person,
    /// Cosigns them.
    pub(crate) second: Person,
    pub(crate) third: Person,
    pub(crate) deployed_in: u64,
    provider: DynProvider,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with_founders(|organizations| organizations).await
    }

    /// As [`Stage::new`], with more or other founders.
    pub(crate) async fn with_founders(change: impl FnOnce(Vec<Address>) -> Vec<Address>) -> Self {
        let people = [RELAYER, PATIENT, GRANTEE, STRANGER].map(Person::new);
        let organizations = ORGANIZATIONS.map(Person::new);
        let mut wallet = EthereumWallet::default();
        // Keys that ids rotate to are among the funded ones, too.
        let funded: Vec<Person> = (1..=40).map(Person::new).collect();
        funded.iter().for_each(|person| wallet.register_signer(person.key.clone()));
        let config = Config {
            accounts: funded.iter().map(|person| (person.id(), U256::from(ETHER))).collect(),
            clock: Clock::Manual,
            genesis_time: NOW,
            ..Config::default()
        };
        let chain = DevChain::in_memory(config);
        let provider = ProviderBuilder::new()
            .with_simple_nonce_management()
            .wallet(wallet)
            .connect_client(chain.client())
            .erased();
        let [relayer, patient, grantee, stranger] = people;
        let [author, second, third] = organizations;
        let mut founders = change(vec![author.id(), second.id(), third.id()]);
        founders.sort_unstable();
        let account = relayer.account();
        let deployment = deploy(chain.provider(), &account, &founders, B256::ZERO).await.unwrap();
        let (address, deployed_in) = (deployment.ledger, deployment.block);
        let ledger = Ledger::connect(chain.provider(), address, deployed_in).await.unwrap();
        let ledger = ledger.paid_by(&account);
        let contract = HealthLedger::new(address, chain.provider());
        let consortium = contract.consortium().call().await.unwrap();
        Self {
            chain,
            ledger,
            consortium,
            relayer,
            patient,
            grantee,
            stranger,
            author,
            second,
            third,
            deployed_in,
            provider,
        }
    }

    pub(crate) const fn id(&self) -> LedgerId {
        self.ledger.id()
    }

    /// Sends as everybody who has a key.
    pub(crate) const fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// A call of the ledger.
    pub(crate) fn call(&self, call: &impl SolCall) -> Call {
        Call { to: self.id().contract, data: call.abi_encode().into() }
    }

    /// A call of the consortium.
    pub(crate) fn motion(&self, call: &impl SolCall) -> Call {
        Call { to: self.consortium, data: call.abi_encode().into() }
    }

    /// What the contract would say. Changes nothing.
    pub(crate) async fn ask(&self, from: Address, call: &Call) -> Result<Bytes, Bytes> {
        let request =
            TransactionRequest::default().from(from).to(call.to).with_input(call.data.clone());
        self.provider.call(request).await.map_err(|error| {
            let response = error.as_error_resp().expect("the chain answers");
            response.as_revert_data().unwrap_or_else(|| panic!("{response}"))
        })
    }

    /// Sends a call that the contract must take.
    pub(crate) async fn send(&self, from: Address, call: &Call) -> TransactionReceipt {
        self.try_send(from, call).await.unwrap_or_else(|data| panic!("refused: {}", show(&data)))
    }

    /// Sends a call, or says why the contract refuses it.
    pub(crate) async fn try_send(
        &self,
        from: Address,
        call: &Call,
    ) -> Result<TransactionReceipt, Bytes> {
        self.ask(from, call).await?;
        let request =
            TransactionRequest::default().from(from).to(call.to).with_input(call.data.clone());
        let hash = *self.provider.send_transaction(request).await.unwrap().tx_hash();
        let receipt = self.provider.get_transaction_receipt(hash).await.unwrap().unwrap();
        assert!(receipt.status(), "what `eth_call` takes, a block takes");
        Ok(receipt)
    }

    /// The contract refuses the call with exactly this error.
    pub(crate) async fn refuses(
        &self,
        row: &str,
        from: Address,
        call: &Call,
        error: impl SolError,
    ) {
        self.refuses_with(row, from, call, &error.abi_encode()).await;
    }

    /// As [`Stage::refuses`], for an encoded error.
    pub(crate) async fn refuses_with(&self, row: &str, from: Address, call: &Call, data: &[u8]) {
        match self.ask(from, call).await {
            Ok(_) => panic!("{row}: taken"),
            Err(got) => {
                assert_eq!(got.as_ref(), data, "{row}: {} instead of {}", show(&got), show(data));
            }
        }
    }

    /// The contract takes the call.
    pub(crate) async fn takes(&self, row: &str, from: Address, call: &Call) {
        if let Err(data) = self.ask(from, call).await {
            panic!("{row}: {}", show(&data));
        }
    }

    /// Signs a message as the usual wallet does.
    pub(crate) fn signed(&self, who: &Person, message: &impl SolStruct) -> Bytes {
        who.sign(typed::digest(message, self.id()), Form::Short)
    }

    pub(crate) fn later(&self, seconds: u64) {
        self.chain.advance_time(seconds).unwrap();
        self.chain.mine().unwrap();
    }

    /// Everything that the chain says about a pseudonym, as a reader sees it.
    pub(crate) async fn chart(&self, patient: Address) -> Chart {
        let mut view = View::new(&self.ledger);
        view.sync().await.unwrap();
        view.chart(patient).cloned().unwrap_or_default()
    }

    /// The chart that a reader folds is the one on chain, and so are the consents.
    pub(crate) async fn is_folded(&self, patient: Address) {
        let chart = self.chart(patient).await;
        let slot = self.ledger.chart(patient).await.unwrap();
        assert!(chart.head().matches(&slot), "{:?} is not {slot:?}", chart.head());
        let consents = self.ledger.consents(patient).await.unwrap();
        assert_eq!(chart.consents().version, consents.version);
        assert_eq!(chart.consents().tree.root(), consents.root);
    }
}

/// An error of either contract, as people read it.
pub(crate) fn show(data: &[u8]) -> String {
    Revert::decode(&Bytes::copy_from_slice(data)).to_string()
}

pub(crate) fn hash(n: u64) -> B256 {
    keccak256(n.to_be_bytes())
}

pub(crate) fn u48(seconds: u64) -> U48 {
    U48::from(seconds)
}

/// A new record in the usual segment.
pub(crate) fn leaf(number: u64) -> Leaf {
    Leaf {
        kind: LeafKind::New,
        segment: CONSENTED,
        number,
        content: ContentRef::swarm(hash(number)),
        commitment: Commitment(hash(number + 1_000_000)),
        previous: VersionId::default(),
    }
}

pub(crate) fn proposal(
    patient: Address,
    author: Address,
    leaves: &[Leaf],
    policy: &CosignPolicy,
    deadline: u64,
) -> typed::Proposal {
    typed::Proposal {
        patient,
        author,
        rotations: 0,
        count: u16::try_from(leaves.len()).unwrap(),
        deadline: u48(deadline),
        policy: policy.hash(),
        leaves: leaves.iter().map(typed::Leaf::from).collect(),
    }
}

/// A proposal as a settlement shows it.
pub(crate) fn terms(proposal: &typed::Proposal) -> HealthLedger::Proposal {
    let hashes: Vec<u8> =
        proposal.leaves.iter().flat_map(|leaf| leaf.eip712_hash_struct().0).collect();
    HealthLedger::Proposal {
        patient: proposal.patient,
        author: proposal.author,
        count: proposal.count,
        deadline: proposal.deadline,
        policy: proposal.policy,
        leaves: keccak256(hashes),
    }
}

/// Leaves as `propose` takes them.
pub(crate) fn words(leaves: &[Leaf]) -> Vec<HealthLedger::Leaf> {
    let word = |leaf: &Leaf| HealthLedger::Leaf {
        header: leaf.header(),
        content: leaf.content.digest,
        commitment: leaf.commitment.0,
        previous: leaf.previous.0,
    };
    leaves.iter().map(word).collect()
}

/// The usual consent: one segment, treatment, from now on.
pub(crate) fn consent(grantee: Address, salt: u64) -> Consent {
    Consent {
        grantee,
        segments: [CONSENTED].into_iter().collect(),
        purposes: [Purpose::Treatment].into_iter().collect(),
        not_before: NOW,
        expiry: LATER,
        salt: Salt(hash(salt)),
    }
}

pub(crate) fn record(patient: Address, author: Address, number: u64) -> RecordKey {
    RecordKey { patient, author, segment: CONSENTED, number }
}

/// A change of consents and the signature that goes with it. The new root is that of `tree`.
pub(crate) fn consent_change(
    message: &typed::ConsentChange,
    signature: Bytes,
) -> HealthLedger::changeConsentsCall {
    HealthLedger::changeConsentsCall { change: change_words(message), signature }
}

/// A change of consents as the contract takes it.
pub(crate) fn change_words(message: &typed::ConsentChange) -> HealthLedger::ConsentChange {
    let mut state = [0; 32];
    state[..28].copy_from_slice(message.root.as_slice());
    state[28..].copy_from_slice(&message.version.to_be_bytes());
    HealthLedger::ConsentChange {
        patient: message.patient,
        state: state.into(),
        limits: U256::from(message.deadline) | U256::from(message.revoked.len()) << 48,
        leaves: [message.revoked.clone(), message.granted.clone()].concat(),
    }
}

/// What a patient signs to make `tree` the tree of its consents.
pub(crate) fn consent_message(
    patient: Address,
    version: u32,
    tree: &ConsentTree,
    revoked: Vec<B256>,
    granted: Vec<B256>,
) -> typed::ConsentChange {
    typed::ConsentChange {
        patient,
        signer: patient,
        rotations: 0,
        version,
        root: tree.root().0,
        revoked,
        granted,
        deadline: u48(LATER),
    }
}

/// No delegate signs.
pub(crate) fn nobody() -> HealthLedger::Delegation {
    HealthLedger::Delegation {
        delegate: Address::ZERO,
        powers: 0,
        notBefore: U48::ZERO,
        expiry: U48::ZERO,
        salt: B256::ZERO,
        proof: Vec::new(),
    }
}

/// The address that may set standings, and the four motions.
pub(crate) const ADMIT: u8 = 0;
pub(crate) const READMIT: u8 = 1;
pub(crate) const SUSPEND: u8 = 2;
pub(crate) const REMOVE: u8 = 3;

impl Stage {
    /// A motion with the votes of some members, sorted.
    pub(crate) fn decide(
        &self,
        motion: u8,
        organization: Address,
        counter: u32,
        voters: &[&Person],
    ) -> Consortium::decideCall {
        let domain = typed::consortium_domain(self.id().chain_id, self.consortium);
        let mut voters = voters.to_vec();
        voters.sort_by_key(|voter| voter.id());
        let vote = |voter: &&Person| {
            let message = typed::Vote {
                motion,
                organization,
                counter,
                voter: voter.id(),
                rotations: 0,
                deadline: u48(LATER),
            };
            voter.sign(message.eip712_signing_hash(&domain), Form::Short)
        };
        Consortium::decideCall {
            motion,
            organization,
            counter,
            deadline: u48(LATER),
            signatures: voters.iter().map(vote).collect(),
            voters: voters.iter().map(|voter| voter.id()).collect(),
        }
    }

    /// Suspends an organization by the votes of the two others.
    pub(crate) async fn suspend(&self, target: &Person) {
        let all = [&self.author, &self.second, &self.third];
        let voters: Vec<&Person> = all.into_iter().filter(|it| it.id() != target.id()).collect();
        let call = self.motion(&self.decide(SUSPEND, target.id(), 0, &voters));
        self.send(self.relayer.id(), &call).await;
    }

    /// Makes `tree` the tree of the patient's consents; `version` is the one before.
    pub(crate) async fn consent_to(&self, version: u32, tree: &ConsentTree, granted: Vec<B256>) {
        let message = consent_message(self.patient.id(), version, tree, Vec::new(), granted);
        let signature = self.signed(&self.patient, &message);
        self.send(self.relayer.id(), &self.call(&consent_change(&message, signature))).await;
    }

    /// Hands an id from one key to another.
    pub(crate) async fn rotate(&self, id: Address, from: &Person, to: &Person) {
        let sequence = self.ledger.chart(id).await.unwrap().sequence;
        let message =
            typed::Rotation { id, controller: to.id(), sequence, nonce: 0, deadline: u48(LATER) };
        let call = HealthLedger::rotateCall {
            id,
            controller: to.id(),
            sequence,
            deadline: message.deadline,
            signature: self.signed(from, &message),
            acceptance: self.signed(to, &message),
        };
        self.send(self.relayer.id(), &self.call(&call)).await;
    }
}
