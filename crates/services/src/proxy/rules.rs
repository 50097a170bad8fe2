//! When a proxy answers: a pure function of a chart, the time and a policy.
//!
//! A read is answered if it is logged in a final block, not longer ago than the window, of a record that stood
//! accepted then and was not retracted since, under a consent that is live at the head, by somebody who may
//! still act. Anything else refuses, and one record that is refused refuses the whole request.

use std::collections::BTreeSet;

use alloy_primitives::{Address, U256};
use galen_chain::{Position, Standing};
use galen_index::{AccessEntry, Chart, Record};
use galen_types::{ConsentId, ContentRef, Leaf, LeafKind, Purpose, RecordKey, Segment, VersionId};

/// Most records of one request.
pub const MAX_ASKED: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Pseudonym of the patient.
    pub patient: Address,
    /// Who asks. That it signed is checked before.
    pub grantee: Address,
    /// The consent that the reads are logged under.
    pub consent: ConsentId,
    /// End of the consent, in Unix seconds: the chain knows it only by a hash, the patient told the proxy.
    pub expiry: u64,
    /// The records, see [`record_of`].
    pub records: Vec<RecordKey>,
}

/// As of when it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Unix second of this machine.
    pub clock: u64,
    /// Unix second of the newest block that the chart was read to.
    pub head_time: u64,
    /// The highest final block, if the nodes say.
    pub final_block: Option<u64>,
    /// Standing of who asks, at the head.
    pub standing: Standing,
}

impl Now {
    /// The later of clock and head: neither a slow clock nor an idle chain makes an access younger.
    pub const fn time(&self) -> u64 {
        if self.head_time > self.clock { self.head_time } else { self.clock }
    }
}

/// What a proxy is strict about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Seconds after its access for which a read is answered.
    pub window: u64,
    /// Most seconds between head and clock, either way. `None` is for development chains, which stand still when
    /// nothing happens: there a node that holds back blocks, a revocation in them, goes unnoticed.
    pub max_head_age: Option<u64>,
    /// How many contents of a version are answered for, the newest first: the newest may be one that does not open.
    pub contents: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { window: 3_600, max_head_age: Some(600), contents: 3 }
    }
}

/// A read that is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The record.
    pub record: RecordKey,
    /// The access that it is answered for.
    pub access: Position,
    /// Whether the access was logged under a consent that names nobody.
    pub network: bool,
    /// Whether it was break-glass: under such a consent, for an emergency.
    pub emergency: bool,
    /// The version that stood then.
    pub version: VersionId,
    /// As proposed.
    pub leaf: Leaf,
    /// Where its content lay then, newest first, never empty.
    pub contents: Vec<ContentRef>,
}

/// Why a proxy does not answer; the words are those of [`galen_sdk::proxies::wire::Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`Cause::sentence` says what each means")]
pub enum Cause {
    Malformed,
    Elsewhere,
    Signature,
    Deadline,
    NotLogged,
    NotFinal,
    Window,
    Revoked,
    NotAccepted,
    Standing,
    NoShare,
    Stale,
    Limit,
    Content,
    Chain,
    NotRecovered,
    Internal,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Elsewhere,
        Self::Signature,
        Self::Deadline,
        Self::NotLogged,
        Self::NotFinal,
        Self::Window,
        Self::Revoked,
        Self::NotAccepted,
        Self::Standing,
        Self::NoShare,
        Self::Stale,
        Self::Limit,
        Self::Content,
        Self::Chain,
        Self::NotRecovered,
        Self::Internal,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Elsewhere => "elsewhere",
            Self::Signature => "signature",
            Self::Deadline => "deadline",
            Self::NotLogged => "not-logged",
            Self::NotFinal => "not-final",
            Self::Window => "window",
            Self::Revoked => "revoked",
            Self::NotAccepted => "not-accepted",
            Self::Standing => "standing",
            Self::NoShare => "no-share",
            Self::Stale => "stale",
            Self::Limit => "limit",
            Self::Content => "content",
            Self::Chain => "chain",
            Self::NotRecovered => "not-recovered",
            Self::Internal => "internal",
        }
    }

    /// One sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Malformed => "this is not a request",
            Self::Elsewhere => "this is for another ledger or proxy",
            Self::Signature => "it is not signed by who it says",
            Self::Deadline => "it is out of date, or dated too far ahead",
            Self::NotLogged => "the chain has no such access",
            Self::NotFinal => "the access is not final yet: ask again",
            Self::Window => "the access is too long ago: log another one",
            Self::Revoked => "the consent is not live",
            Self::NotAccepted => {
                "no accepted version of the record stood then, or it was retracted"
            }
            Self::Standing => "the grantee may not act in the network",
            Self::NoShare => "this proxy holds no share for this",
            Self::Stale => "this proxy has a newer one",
            Self::Limit => "too many requests: wait",
            Self::Content => "the header of the content cannot be had, or is not of this record",
            Self::Chain => "the chain cannot be relied on now: ask again",
            Self::NotRecovered => "no recovery of this id has finished for this controller",
            Self::Internal => "the proxy failed",
        }
    }
}

/// The record that a word of a request names, see `docs/protocol.md`, section "Accesses and requests". `None` if
/// bits are set that have no meaning.
pub fn record_of(patient: Address, word: U256) -> Option<RecordKey> {
    let bytes = word.to_be_bytes::<32>();
    let (author, rest) = bytes.split_first_chunk::<20>()?;
    let (zeros, rest) = rest.split_first_chunk::<3>()?;
    let (segment, number) = rest.split_first()?;
    (*zeros == [0; 3]).then_some(RecordKey {
        patient,
        author: Address::from(*author),
        segment: Segment(*segment),
        number: u64::from_be_bytes(number.try_into().ok()?),
    })
}

/// Whether a request is answered, and for which contents: one entry for each record, in the order of the request.
///
/// `chart` is the patient's, read from verified blocks to a head that enough nodes agree on.
///
/// # Errors
///
/// The first [`Cause`] that applies, in the order of the module's sentence: chain, standing, consent, then each
/// record's log and version.
pub fn rule(
    chart: &Chart,
    asked: &Asked,
    now: &Now,
    policy: &Policy,
) -> Result<Vec<Allowed>, Cause> {
    let distinct: BTreeSet<_> = asked.records.iter().map(RecordKey::id).collect();
    let counted = (1..=MAX_ASKED).contains(&asked.records.len());
    let own = asked.records.iter().all(|record| record.patient == asked.patient);
    if !counted || !own || distinct.len() < asked.records.len() {
        return Err(Cause::Malformed);
    }
    let final_block = require_head(now, policy)?;
    if now.standing == Standing::Suspended {
        return Err(Cause::Standing);
    }
    require_live(chart, asked, now)?;
    let place = Place { chart, asked, now, policy, final_block };
    asked.records.iter().map(|record| place.allow(record)).collect()
}

/// Whether the head is young enough to say anything. Returns the highest final block.
///
/// # Errors
///
/// [`Cause::Chain`].
pub fn require_head(now: &Now, policy: &Policy) -> Result<u64, Cause> {
    // A head far ahead says that the clock is wrong, and then nothing is known of the head's age.
    let young = policy.max_head_age.is_none_or(|most| now.clock.abs_diff(now.head_time) <= most);
    now.final_block.filter(|_| young).ok_or(Cause::Chain)
}

/// The consent at the head, not at the final block: a revocation counts as soon as it is seen, even if it may still
/// go away.
fn require_live(chart: &Chart, asked: &Asked, now: &Now) -> Result<(), Cause> {
    let consents = chart.consents();
    if consents.changes != consents.version {
        // Changes are missing: what else is, is unknown.
        return Err(Cause::Chain);
    }
    let live = consents.tree.contains(asked.consent)
        && now.time() < asked.expiry
        && consents.is_consistent();
    if live { Ok(()) } else { Err(Cause::Revoked) }
}

struct Place<'a> {
    chart: &'a Chart,
    asked: &'a Asked,
    now: &'a Now,
    policy: &'a Policy,
    final_block: u64,
}

impl Place<'_> {
    fn allow(&self, key: &RecordKey) -> Result<Allowed, Cause> {
        let access = self.access(key)?;
        if access.event.network && self.now.standing != Standing::Active {
            return Err(Cause::Standing);
        }
        let record = self.chart.record(key.id()).ok_or(Cause::NotAccepted)?;
        self.version(record, access).ok_or(Cause::NotAccepted)
    }

    /// The newest final access inside the window.
    fn access(&self, key: &RecordKey) -> Result<&AccessEntry, Cause> {
        let (asked, id) = (self.asked, key.id());
        let newest_first = self.chart.accesses().iter().rev().filter(|access| {
            let event = &access.event;
            event.patient == asked.patient
                && event.grantee == asked.grantee
                && event.consent == asked.consent
                && event.record == id
        });
        let mut waiting = false;
        for access in newest_first {
            if access.at.block > self.final_block {
                waiting = true;
                continue;
            }
            // The chain's own time may not run ahead of its head.
            if access.at.time > self.now.head_time {
                return Err(Cause::Chain);
            }
            if self.now.time() - access.at.time <= self.policy.window {
                return Ok(access);
            }
            return Err(if waiting { Cause::NotFinal } else { Cause::Window });
        }
        Err(if waiting { Cause::NotFinal } else { Cause::NotLogged })
    }

    /// The version that stood right before the access, unless it is a retraction or one came since.
    fn version(&self, record: &Record, access: &AccessEntry) -> Option<Allowed> {
        let before = |at: &Position| (at.block, at.log) < (access.at.block, access.at.log);
        let version = record.versions.iter().rev().find(|version| before(&version.accepted))?;
        if version.leaf.kind == LeafKind::Retraction || record.is_retracted() {
            return None;
        }
        let contents = version.contents.iter().rev().filter(|entry| before(&entry.at));
        let contents: Vec<_> =
            contents.take(self.policy.contents).map(|entry| entry.content).collect();
        (!contents.is_empty()).then_some(Allowed {
            record: record.key,
            access: access.at,
            network: access.event.network,
            emergency: access.event.network && is_emergency(access.event.purpose()),
            version: version.id,
            leaf: version.leaf,
            contents,
        })
    }
}

const fn is_emergency(purpose: Option<Purpose>) -> bool {
    matches!(purpose, Some(Purpose::EmergencyTreatment | Purpose::BreakTheGlass))
}
