//! The real contract on an embedded chain, and beside it what the simulation knows of it.
//!
//! Every transaction is mined, also one that the contract refuses: the truth says beforehand which it is.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::{
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::{SolCall, SolStruct as _},
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48, hex, keccak256};
use galen_chain::{
    Account, CosignPolicy, Ledger,
    contract::{Consortium, HealthLedger},
    deploy, typed,
};
use galen_devchain::{CREATE2_FACTORY, Clock, Config, DevChain};
use galen_types::{
    Commitment, Consent, ConsentId, ConsentTree, ContentRef, Leaf, LeafKind, Purpose, RecordKey,
    Salt, Segment, VersionId,
};
use serde_json::{Value, json};

use crate::{
    steps::{CONSENTS, MEMBER, PERSON, RECORDS, Step, Story},
    truth::{Block, Fact, Truth},
    vault::Vault,
};

/// Unix second of the first block; the clock of the chain stands until it is moved. It is a day ahead of the machine's,
/// so that what a proxy goes by, the later of the two, is in the story's hands.
pub(crate) static NOW: LazyLock<u64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() + 86_400
});

/// A deadline that no story reaches.
pub(crate) static LATER: LazyLock<u64> = LazyLock::new(|| *NOW + 1_000_000_000);

/// Segments of the records, by number: the last is in another one, which only the second consent covers.
const SEGMENTS: [Segment; RECORDS as usize] = [Segment(0x2a), Segment(0x2a), Segment(0x2b)];

/// How many versions of a record are prepared, and how many contents of each.
pub(crate) const VERSIONS: u8 = 4;
pub(crate) const CONTENTS: u8 = 5;

/// Gas of every transaction: enough for each, so that none is estimated.
const GAS: u64 = 2_000_000;

/// Makes a contract that emits its input as a log: four topics, then data.
const ECHO: [u8; 33] = hex!("60188060095f395ff3608036038060805f376060356040356020355f35845fa400");

/// Made once: it takes longer than the transaction that it signs.
static KEYS: LazyLock<Vec<PrivateKeySigner>> = LazyLock::new(|| {
    (0..=PROXY).map(|n| PrivateKeySigner::from_slice(&[n.max(1); 32]).unwrap()).collect()
});

/// Somebody's key, by number.
pub(crate) fn key(n: u8) -> &'static PrivateKeySigner {
    &KEYS[usize::from(n)]
}

pub(crate) const RELAYER: u8 = 1;
pub(crate) const PATIENT: u8 = 2;
const AUTHOR: u8 = 5;
const SECOND: u8 = 6;
const MEMBERS: u8 = 7;
/// The proxy's.
pub(crate) const PROXY: u8 = 8;
const EVERYBODY: [u8; 7] = [RELAYER, PATIENT, 3, 4, AUTHOR, SECOND, MEMBERS];

pub(crate) fn patient() -> Address {
    key(PATIENT).address()
}

/// Number of the key of who reads, see [`PERSON`].
pub(crate) const fn number_of(who: u8) -> u8 {
    match who {
        PERSON => 3,
        MEMBER => MEMBERS,
        _ => 4,
    }
}

/// The key of who reads.
pub(crate) fn reader(who: u8) -> &'static PrivateKeySigner {
    key(number_of(who))
}

/// A consent by its number.
///
/// | number | for | what is special |
/// |---|---|---|
/// | 0 | the person | |
/// | 1 | the person | covers both segments |
/// | 2 | the member | |
/// | 3 | every active organization | |
/// | 4 | the person | ends after 15 minutes |
/// | 5 | the person | begins after 100 seconds |
pub(crate) fn consent(number: u8) -> Consent {
    let grantee = match number {
        2 => reader(MEMBER).address(),
        3 => Address::ZERO,
        _ => reader(PERSON).address(),
    };
    let segments: &[Segment] =
        if number == 1 { &[SEGMENTS[0], SEGMENTS[2]] } else { &SEGMENTS[..1] };
    Consent {
        grantee,
        segments: segments.iter().copied().collect(),
        purposes: [Purpose::Treatment].into_iter().collect(),
        not_before: if number == 5 { *NOW + 100 } else { *NOW },
        expiry: if number == 4 { *NOW + 900 } else { *LATER },
        salt: Salt(keccak256([number])),
    }
}

/// A record by its number.
pub(crate) fn record(number: u8) -> RecordKey {
    let segment = SEGMENTS[usize::from(number)];
    RecordKey { patient: patient(), author: key(AUTHOR).address(), segment, number: number.into() }
}

fn u48(seconds: u64) -> U48 {
    U48::from(seconds)
}

/// What an author signed beforehand.
#[derive(Debug)]
struct Prepared {
    leaf: Leaf,
    proposal: typed::Proposal,
    signature: Bytes,
}

/// Made once, for whoever needs contents that open.
pub(crate) static SEALED: LazyLock<Base> = LazyLock::new(|| {
    let make = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Base::sealed())
    };
    // Whoever needs it may be on a runtime, and one does not start within another.
    std::thread::spawn(make).join().unwrap()
});

/// What all stories begin with: a ledger, three members, a patient with three records.
#[derive(Debug)]
pub(crate) struct Base {
    chain: DevChain,
    pub(crate) ledger: Ledger,
    consortium: Address,
    echo: Address,
    truth: Truth,
    /// By record and version.
    versions: Vec<Vec<Prepared>>,
    retractions: Vec<Vec<Prepared>>,
    /// Record, version and number of each content.
    contents: HashMap<ContentRef, (u8, u8, u8)>,
    /// Contents that can be opened; without it there are only names.
    pub(crate) vault: Option<Vault>,
}

impl Base {
    /// Records whose contents nobody needs to open.
    pub(crate) async fn new() -> Self {
        Self::with(false).await
    }

    /// Records with contents that are sealed and kept, and people with published keys.
    pub(crate) async fn sealed() -> Self {
        Self::with(true).await
    }

    async fn with(sealed: bool) -> Self {
        let accounts = EVERYBODY.map(|n| (key(n).address(), U256::from(10).pow(U256::from(20))));
        let config = Config {
            accounts: accounts.to_vec(),
            clock: Clock::Manual,
            genesis_time: *NOW,
            ..Config::default()
        };
        let chain = DevChain::in_memory(config);
        chain.unlock(EVERYBODY.map(|n| key(n).clone()).to_vec()).unwrap();
        let mut founders = [AUTHOR, SECOND, MEMBERS].map(|n| key(n).address());
        founders.sort_unstable();
        let relayer = Account::from(key(RELAYER).clone());
        let deployed = deploy(chain.provider(), &relayer, &founders, B256::ZERO).await.unwrap();
        let ledger =
            Ledger::connect(chain.provider(), deployed.ledger, deployed.block).await.unwrap();
        let consortium = ledger.consortium().await.unwrap();
        let salted = [B256::ZERO.as_slice(), &ECHO].concat();
        assert!(send(&chain, RELAYER, CREATE2_FACTORY, &salted));
        let echo = CREATE2_FACTORY.create2_from_code(B256::ZERO, ECHO);
        let vault = if sealed { Some(Vault::new(&ledger.paid_by(&relayer)).await) } else { None };
        let mut this = Self {
            chain,
            vault,
            ledger,
            consortium,
            echo,
            truth: Truth::default(),
            versions: Vec::new(),
            retractions: Vec::new(),
            contents: HashMap::new(),
        };
        this.prepare();
        this
    }

    /// Signs every version that a story may need, and has the first of each record accepted.
    fn prepare(&mut self) {
        for number in 0..RECORDS {
            let (mut versions, mut retractions) = (Vec::<Prepared>::new(), Vec::new());
            for version in 0..VERSIONS {
                let previous =
                    versions.last().map_or_else(VersionId::default, |it| it.leaf.version());
                let kind = if version == 0 { LeafKind::New } else { LeafKind::Amendment };
                let leaf = self.leaf(kind, number, version, previous);
                versions.push(self.signed(leaf));
                retractions.push(self.signed(self.leaf(
                    LeafKind::Retraction,
                    number,
                    version,
                    leaf.version(),
                )));
                for content in 0..CONTENTS {
                    let at = self.content_of(number, version, content);
                    self.contents.insert(at, (number, version, content));
                }
            }
            self.versions.push(versions);
            self.retractions.push(retractions);
        }
        let empty = || Block { time: *NOW, step: None, facts: Vec::new() };
        self.truth.blocks = (0..=self.chain.head().number).map(|_| empty()).collect();
        let mut world = World::new(self, 0);
        for number in 0..RECORDS {
            world
                .accept(
                    &self.versions[usize::from(number)][0],
                    None,
                    Fact::Version { record: number, version: 0 },
                )
                .unwrap();
        }
        (self.chain, self.truth) = (world.chain, world.truth);
    }

    fn signed(&self, leaf: Leaf) -> Prepared {
        let proposal = typed::Proposal {
            patient: patient(),
            author: key(AUTHOR).address(),
            rotations: 0,
            count: 1,
            deadline: u48(*LATER),
            policy: CosignPolicy::default().hash(),
            leaves: vec![typed::Leaf::from(&leaf)],
        };
        let digest = typed::digest(&proposal, self.ledger.id());
        let signature = key(AUTHOR).sign_hash_sync(&digest).unwrap().as_erc2098().into();
        Prepared { leaf, proposal, signature }
    }

    fn content_of(&self, record: u8, version: u8, content: u8) -> ContentRef {
        match &self.vault {
            Some(vault) => vault.content(record, version, content),
            None => ContentRef::swarm(keccak256([record, version, content])),
        }
    }

    fn leaf(&self, kind: LeafKind, number: u8, version: u8, previous: VersionId) -> Leaf {
        let commitment = match &self.vault {
            Some(vault) if kind != LeafKind::Retraction => vault.commitment(number, version),
            _ => Commitment(keccak256([kind as u8, number, version])),
        };
        Leaf {
            kind,
            segment: SEGMENTS[usize::from(number)],
            number: number.into(),
            content: self.content_of(number, version, 0),
            commitment,
            previous,
        }
    }

    /// Which record, version and content lies there.
    pub(crate) fn content(&self, at: &ContentRef) -> Option<(u8, u8, u8)> {
        self.contents.get(at).copied()
    }
}

/// An access that its reader signed, which anybody may send again.
#[derive(Clone, Debug)]
struct SignedAccess {
    who: u8,
    consent: u8,
    records: u8,
    deadline: u64,
    signature: Bytes,
}

/// One story: a chain of its own.
#[derive(Debug)]
pub(crate) struct World<'a> {
    base: &'a Base,
    pub(crate) chain: DevChain,
    pub(crate) truth: Truth,
    /// Unix second of everybody's clock.
    pub(crate) clock: u64,
    /// How many blocks make one final.
    finality: u64,
    /// The highest head that there ever was.
    pub(crate) highest: u64,
    /// How deep reorganizations were.
    pub(crate) depths: BTreeSet<u64>,
    signed: Vec<SignedAccess>,
}

/// What the story did not foresee.
pub(crate) type Surprise = String;

impl<'a> World<'a> {
    pub(crate) fn new(base: &'a Base, finality: u64) -> Self {
        let (chain, truth) = (base.chain.fork(), base.truth.clone());
        let highest = truth.head();
        let (signed, depths) = (Vec::new(), BTreeSet::new());
        Self { base, chain, truth, clock: *NOW, finality, highest, depths, signed }
    }

    /// Takes a step that concerns the chain. Others change nothing here.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), Surprise> {
        match step {
            Step::Grant(number) => self.change(step, &[number], &[])?,
            Step::Revoke(number) => self.change(step, &[], &[number])?,
            Step::RevokeAll => self.revoke_all()?,
            Step::Log { who, consent, records, signed } => {
                self.log(step, who, consent, records, signed)?;
            }
            Step::Replay(number) => self.replay(number)?,
            Step::Fake { who, consent, record } => self.fake(step, who, consent, record)?,
            Step::Amend(number) => self.amend(step, number)?,
            Step::Retract(number) => self.retract(step, number)?,
            Step::Reseal(number) => self.reseal(step, number)?,
            Step::Suspend => self.suspend(step)?,
            Step::Mine(blocks) => (0..blocks).for_each(|_| self.mine()),
            Step::Wait(seconds) => {
                self.chain.advance_time(seconds.into()).unwrap();
                self.clock += u64::from(seconds);
            }
            Step::Reorg { depth, again } => self.reorganize(depth, again)?,
            Step::Crash | Step::Ask { .. } => {}
        }
        self.highest = self.highest.max(self.truth.head());
        Ok(())
    }

    /// Takes the steps of a text, all of which go as foreseen.
    pub(crate) fn tell(&mut self, steps: &str) {
        let story = Story::read(&format!("story 1 1; {steps}")).expect("steps");
        story.steps.into_iter().for_each(|step| self.take(step).unwrap());
    }

    /// Highest block that was ever final; nothing below it changes.
    pub(crate) fn final_block(&self) -> u64 {
        self.highest.saturating_sub(self.finality)
    }

    fn mine(&mut self) {
        self.chain.mine().unwrap();
        self.truth.blocks.push(Block { time: self.clock, step: None, facts: Vec::new() });
    }

    /// Sends a call. `facts` is what it leaves behind, or nothing if the contract refuses it.
    fn send(
        &mut self,
        from: u8,
        to: Address,
        data: &[u8],
        step: Option<Step>,
        facts: Option<Vec<Fact>>,
    ) -> Result<(), Surprise> {
        let taken = send(&self.chain, from, to, data);
        if taken != facts.is_some() {
            return Err(format!("{step:?}: taken {taken}, foreseen {facts:?}"));
        }
        self.truth.blocks.push(Block { time: self.clock, step, facts: facts.unwrap_or_default() });
        Ok(())
    }

    fn call(
        &mut self,
        from: u8,
        call: &impl SolCall,
        step: Step,
        facts: Option<Vec<Fact>>,
    ) -> Result<(), Surprise> {
        let to = self.base.ledger.id().contract;
        self.send(from, to, &call.abi_encode(), Some(step), facts)
    }

    fn tree(&self, live: impl IntoIterator<Item = u8>) -> ConsentTree {
        live.into_iter().map(|number| consent(number).id()).collect()
    }

    fn change(&mut self, step: Step, granted: &[u8], revoked: &[u8]) -> Result<(), Surprise> {
        let mut live = self.truth.live();
        live.extend(granted);
        live.retain(|number| !revoked.contains(number));
        let facts = granted.iter().map(|it| Fact::Granted(*it));
        let facts = facts.chain(revoked.iter().map(|it| Fact::Revoked(*it)));
        let facts = facts.chain([Fact::ConsentsChanged]).collect();
        let ids = |numbers: &[u8]| numbers.iter().map(|it| consent(*it).id()).collect::<Vec<_>>();
        let call = self.change_call(&self.tree(live), &ids(revoked), &ids(granted));
        self.call(PATIENT, &call, step, Some(facts))
    }

    fn revoke_all(&mut self) -> Result<(), Surprise> {
        // What changes nothing is refused.
        let changes = !self.truth.live().is_empty();
        let facts = changes.then(|| vec![Fact::RevokedAll, Fact::ConsentsChanged]);
        let call = self.change_call(&ConsentTree::default(), &[], &[]);
        self.call(PATIENT, &call, Step::RevokeAll, facts)
    }

    fn change_call(
        &self,
        tree: &ConsentTree,
        revoked: &[ConsentId],
        granted: &[ConsentId],
    ) -> HealthLedger::changeConsentsCall {
        let version = self.truth.count(Fact::ConsentsChanged);
        let mut state = [0; 32];
        state[..28].copy_from_slice(tree.root().0.as_slice());
        state[28..].copy_from_slice(&version.to_be_bytes());
        let change = HealthLedger::ConsentChange {
            patient: patient(),
            state: state.into(),
            limits: U256::from(*LATER) | U256::from(revoked.len()) << 48,
            leaves: revoked.iter().chain(granted).map(|id| id.0).collect(),
        };
        HealthLedger::changeConsentsCall { change, signature: Bytes::new() }
    }

    /// Whether the contract takes an access now.
    fn may_log(&self, who: u8, number: u8, records: u8) -> bool {
        let terms = consent(number);
        let suspended = who == MEMBER && self.truth.is_suspended();
        let for_who = terms.grantee == reader(who).address() || terms.is_network() && who == MEMBER;
        let covered = |it| terms.segments.contains(SEGMENTS[usize::from(it)]);
        !suspended
            && for_who
            && self.truth.live().contains(&number)
            && terms.holds_at(self.clock)
            && records != 0
            && Truth::records(records).all(covered)
    }

    fn access(&self, who: u8, number: u8, records: u8) -> HealthLedger::Access {
        let keys: Vec<_> = Truth::records(records).map(record).collect();
        let proof = self.tree(self.truth.live()).proof(consent(number).id()).unwrap_or_default();
        let grantee = reader(who).address();
        self.base
            .ledger
            .access_call(grantee, &consent(number), Purpose::Treatment, proof, &keys)
            .unwrap()
    }

    fn log(
        &mut self,
        step: Step,
        who: u8,
        consent: u8,
        records: u8,
        signed: bool,
    ) -> Result<(), Surprise> {
        if records == 0 {
            return Ok(());
        }
        let access = self.access(who, consent, records);
        if !signed {
            let call = HealthLedger::logAccessBySigCall {
                access,
                deadline: u48(*LATER),
                signature: Bytes::new(),
            };
            let facts = self.accessed(who, consent, records, None);
            return self.call(number_of(who), &call, step, facts);
        }
        // Each has a deadline of its own, so that no two are the same.
        let deadline = *LATER - 1 - self.signed.len() as u64;
        let named = self::consent(consent);
        let grantee = if named.is_network() { Address::ZERO } else { access.grantee };
        let message = typed::Access {
            patient: patient(),
            grantee: access.grantee,
            rotations: 0,
            purpose: Purpose::Treatment.bit(),
            consent: Consent { grantee, ..named }.id().0,
            records: access.records,
            deadline: u48(deadline),
        };
        let digest = typed::digest(&message, self.base.ledger.id());
        let signature = reader(who).sign_hash_sync(&digest).unwrap().as_erc2098().into();
        self.signed.push(SignedAccess { who, consent, records, deadline, signature });
        self.resend(self.signed.len() - 1)
    }

    fn replay(&mut self, number: u8) -> Result<(), Surprise> {
        if self.signed.is_empty() {
            Ok(())
        } else {
            self.resend(usize::from(number) % self.signed.len())
        }
    }

    fn resend(&mut self, number: usize) -> Result<(), Surprise> {
        let SignedAccess { who, consent, records, deadline, signature } =
            self.signed[number].clone();
        let access = self.access(who, consent, records);
        let call = HealthLedger::logAccessBySigCall { access, deadline: u48(deadline), signature };
        let facts = self.accessed(who, consent, records, Some(number));
        self.call(RELAYER, &call, Step::Replay(u8::try_from(number).unwrap()), facts)
    }

    fn accessed(
        &self,
        who: u8,
        consent: u8,
        records: u8,
        signature: Option<usize>,
    ) -> Option<Vec<Fact>> {
        let fact = |record| Fact::Accessed { who, consent, record, signature };
        self.may_log(who, consent, records).then(|| Truth::records(records).map(fact).collect())
    }

    fn fake(&mut self, step: Step, who: u8, consent: u8, number: u8) -> Result<(), Surprise> {
        use alloy::sol_types::SolEvent as _;
        let event = HealthLedger::Accessed {
            patient: patient(),
            grantee: reader(who).address(),
            record: record(number).id().0,
            consent: self::consent(consent).id().0,
            how: U256::from(Purpose::Treatment.bit()),
        };
        let log = event.encode_log_data();
        let topics = log.topics().iter().flat_map(|topic| topic.0);
        let data: Vec<u8> = topics.chain(log.data.iter().copied()).collect();
        self.send(4, self.base.echo, &data, Some(step), Some(Vec::new()))
    }

    fn amend(&mut self, step: Step, number: u8) -> Result<(), Surprise> {
        let Some((version, _)) = self.truth.version(number) else { return Ok(()) };
        let base = self.base;
        let Some(next) = base.versions[usize::from(number)].get(usize::from(version) + 1) else {
            return Ok(());
        };
        let fact = Fact::Version { record: number, version: version + 1 };
        self.accept(next, Some(step), fact)
    }

    fn retract(&mut self, step: Step, number: u8) -> Result<(), Surprise> {
        let Some((version, _)) = self.truth.version(number) else { return Ok(()) };
        let base = self.base;
        let retraction = &base.retractions[usize::from(number)][usize::from(version)];
        self.accept(retraction, Some(step), Fact::Retracted(number))
    }

    /// The author announces a proposal of one leaf, and the patient accepts it.
    fn accept(&mut self, it: &Prepared, step: Option<Step>, fact: Fact) -> Result<(), Surprise> {
        let ledger = self.base.ledger.id().contract;
        let leaf = HealthLedger::Leaf {
            header: it.leaf.header(),
            content: it.leaf.content.digest,
            commitment: it.leaf.commitment.0,
            previous: it.leaf.previous.0,
        };
        let proposed = HealthLedger::proposeCall {
            patient: patient(),
            author: it.proposal.author,
            policy: it.proposal.policy,
            deadline: it.proposal.deadline,
            leaves: vec![leaf],
            signature: it.signature.clone(),
        };
        self.send(RELAYER, ledger, &proposed.abi_encode(), None, Some(Vec::new()))?;
        let settled = HealthLedger::settleCall {
            proposal: HealthLedger::Proposal {
                patient: patient(),
                author: it.proposal.author,
                count: 1,
                deadline: it.proposal.deadline,
                policy: it.proposal.policy,
                leaves: keccak256(it.proposal.leaves[0].eip712_hash_struct()),
            },
            authorSignature: it.signature.clone(),
            answer: HealthLedger::Answer {
                accepted: U256::ONE,
                rejected: U256::ZERO,
                sequence: self.truth.count(Fact::Settled),
                deadline: u48(*LATER),
            },
            patientSignature: Bytes::new(),
        };
        self.send(PATIENT, ledger, &settled.abi_encode(), step, Some(vec![fact, Fact::Settled]))
    }

    fn reseal(&mut self, step: Step, number: u8) -> Result<(), Surprise> {
        let Some((version, contents)) = self.truth.version(number) else { return Ok(()) };
        let (last, next) = (*contents.last().unwrap(), u8::try_from(contents.len()).unwrap());
        if next >= CONTENTS {
            return Ok(());
        }
        let key = record(number);
        let call = HealthLedger::resealCall {
            patient: key.patient,
            author: key.author,
            header: U256::from(key.number)
                | U256::from(key.segment.0) << 64
                | U256::from(*LATER) << 96,
            content: self.base.content_of(number, version, next).digest,
            previous: self.base.content_of(number, version, last).digest,
            signature: Bytes::new(),
        };
        self.call(PATIENT, &call, step, Some(vec![Fact::Content { record: number, content: next }]))
    }

    fn suspend(&mut self, step: Step) -> Result<(), Surprise> {
        if self.truth.is_suspended() {
            return Ok(());
        }
        const MOTION: u8 = 2;
        let target = reader(MEMBER).address();
        let domain = typed::consortium_domain(self.base.ledger.id().chain_id, self.base.consortium);
        let mut voters = [AUTHOR, SECOND].map(key);
        voters.sort_by_key(|voter| voter.address());
        let vote = |voter: &&PrivateKeySigner| {
            let message = typed::Vote {
                motion: MOTION,
                organization: target,
                counter: 0,
                voter: voter.address(),
                rotations: 0,
                deadline: u48(*LATER),
            };
            let digest = message.eip712_signing_hash(&domain);
            voter.sign_hash_sync(&digest).unwrap().as_erc2098().into()
        };
        let call = Consortium::decideCall {
            motion: MOTION,
            organization: target,
            counter: 0,
            deadline: u48(*LATER),
            signatures: voters.iter().map(vote).collect(),
            voters: voters.iter().map(|voter| voter.address()).collect(),
        };
        let to = self.base.consortium;
        self.send(RELAYER, to, &call.abi_encode(), Some(step), Some(vec![Fact::Suspended]))
    }

    /// Takes back blocks that are not final, and sends again what they held.
    fn reorganize(&mut self, depth: u8, again: u8) -> Result<(), Surprise> {
        self.highest = self.highest.max(self.truth.head());
        let floor = self.final_block().max(self.base.truth.head());
        let depth = u64::from(depth).min(self.truth.head() - floor);
        self.chain.reorg(depth).unwrap();
        self.depths.insert(depth);
        let kept = self.truth.blocks.len() - usize::try_from(depth).unwrap();
        let lost = self.truth.blocks.split_off(kept);
        let mut steps: Vec<_> = lost.into_iter().filter_map(|block| block.step).collect();
        match again {
            0 => steps.clear(),
            1 => {}
            2 => steps.reverse(),
            n => {
                let by = usize::from(n) % steps.len().max(1);
                steps.rotate_left(by);
            }
        }
        steps.into_iter().try_for_each(|step| self.take(step))
    }

    /// The contract holds what the truth says.
    pub(crate) async fn is_right(&self, ledger: &Ledger) -> Result<(), Surprise> {
        let slot = ledger.consents(patient()).await.map_err(|error| error.to_string())?;
        let root = self.tree(self.truth.live()).root();
        if slot.root != root || slot.version != self.truth.count(Fact::ConsentsChanged) {
            return Err(format!("{slot:?} instead of {root:?}"));
        }
        Ok(())
    }
}

/// Sends and mines a transaction. Returns whether it went through.
fn send(chain: &DevChain, from: u8, to: Address, data: &[u8]) -> bool {
    let transaction = json!({
        "from": key(from).address(),
        "to": to,
        "gas": U256::from(GAS),
        "data": Bytes::copy_from_slice(data),
    });
    let hash = chain.request("eth_sendTransaction", &json!([transaction])).unwrap();
    let receipt = chain.request("eth_getTransactionReceipt", &json!([hash])).unwrap();
    receipt.get("status") == Some(&Value::from("0x1"))
}

const _: () = assert!(CONSENTS == 6);
