//! The language of the simulation: a story is a setting and steps, made from a seed, written as one line.

use std::fmt;

/// Who may ask, by number: a person, or an organization that is a member. Any other was granted nothing.
pub(crate) const PERSON: u8 = 0;
pub(crate) const MEMBER: u8 = 1;

/// How many consents there are; see `World::consent`.
pub(crate) const CONSENTS: u8 = 6;

/// How many records there are; see `World::key`.
pub(crate) const RECORDS: u8 = 3;

/// Deepest reorganization of a story, and the most blocks that a story waits for.
const MAX_DEPTH: u8 = 64;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The patient makes a consent live.
    Grant(u8),
    /// The patient ends one.
    Revoke(u8),
    /// The patient ends all at once.
    RevokeAll,
    /// Somebody logs reads of records (bits) under a consent, by a transaction of its own or a signature.
    Log { who: u8, consent: u8, records: u8, signed: bool },
    /// A stranger sends the n-th signed access once more.
    Replay(u8),
    /// Another contract emits what the ledger would.
    Fake { who: u8, consent: u8, record: u8 },
    /// The next version of a record is proposed and accepted.
    Amend(u8),
    /// A record is taken back, and the patient agrees.
    Retract(u8),
    /// The content of a record is sealed anew.
    Reseal(u8),
    /// The members suspend the member that consents name.
    Suspend,
    /// Blocks without a transaction.
    Mine(u8),
    /// Seconds pass.
    Wait(u16),
    /// The newest blocks go away, as far as they are not final. What they held comes again, in another order
    /// (`again` from 2 on), in the same one (1), or not at all (0).
    Reorg { depth: u8, again: u8 },
    /// The proxy is killed and starts again.
    Crash,
    /// Somebody asks the proxy for the keys of records under a consent.
    Ask { who: u8, consent: u8, records: u8 },
}

/// Where a story happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// How many blocks make a block final.
    pub(crate) finality: u8,
    /// Seconds that a proxy answers for an access.
    pub(crate) window: u16,
    pub(crate) steps: Vec<Step>,
}

impl Story {
    /// The story of a seed: the same one each time.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        // Few blocks are cheap; the long waits come often enough.
        let finality = match dice.below(32) {
            0 | 1 => 64,
            2 => 32,
            3 => 16,
            n => [1, 2, 3, 5][n as usize % 4],
        };
        let window = [300, 600, 3_600][dice.below(3) as usize];
        let length = 12 + dice.below(14) as usize;
        let mut steps = Vec::with_capacity(length + 4);
        while steps.len() < length {
            if dice.one_in(3) {
                dice.read(finality, &mut steps);
            } else {
                steps.push(dice.step(finality));
            }
        }
        Self { finality, window, steps }
    }

    /// Reads what [`fmt::Display`] writes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(|part| Words::read(part.trim()));
        let (finality, window) = match parts.next()?? {
            Words { name: "story", numbers: [finality, window, ..] } => (finality, window),
            _ => return None,
        };
        let steps = parts.map(|words| words?.step()).collect::<Option<_>>()?;
        Some(Self { finality: u8::try_from(finality).ok()?, window, steps })
    }

    /// The shortest story that still does what this one does: steps are cut as long as that helps.
    pub(crate) fn shrink(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut size = self.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.steps.len() {
                let mut shorter = self.clone();
                shorter.steps.drain(at..(at + size).min(self.steps.len()));
                if fails(&shorter) { self = shorter } else { at += size }
            }
            size /= 2;
        }
        self
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "story {} {}", self.finality, self.window)?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(n) => write!(f, "grant {n}"),
            Self::Revoke(n) => write!(f, "revoke {n}"),
            Self::RevokeAll => f.write_str("revoke-all"),
            Self::Log { who, consent, records, signed } => {
                write!(f, "log {who} {consent} {records} {}", u8::from(*signed))
            }
            Self::Replay(n) => write!(f, "replay {n}"),
            Self::Fake { who, consent, record } => write!(f, "fake {who} {consent} {record}"),
            Self::Amend(n) => write!(f, "amend {n}"),
            Self::Retract(n) => write!(f, "retract {n}"),
            Self::Reseal(n) => write!(f, "reseal {n}"),
            Self::Suspend => f.write_str("suspend"),
            Self::Mine(n) => write!(f, "mine {n}"),
            Self::Wait(n) => write!(f, "wait {n}"),
            Self::Reorg { depth, again } => write!(f, "reorg {depth} {again}"),
            Self::Crash => f.write_str("crash"),
            Self::Ask { who, consent, records } => write!(f, "ask {who} {consent} {records}"),
        }
    }
}

/// A name and its numbers; those that are not there are zero.
struct Words<'a> {
    name: &'a str,
    numbers: [u16; 4],
}

impl<'a> Words<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let name = words.next()?;
        let mut numbers = [0; 4];
        for (place, word) in words.enumerate() {
            *numbers.get_mut(place)? = word.parse().ok()?;
        }
        Some(Self { name, numbers })
    }

    fn step(&self) -> Option<Step> {
        let [a, b, c, d] = self.numbers.map(|n| u8::try_from(n).unwrap_or(u8::MAX));
        Some(match self.name {
            "grant" => Step::Grant(a),
            "revoke" => Step::Revoke(a),
            "revoke-all" => Step::RevokeAll,
            "log" => Step::Log { who: a, consent: b, records: c, signed: d == 1 },
            "replay" => Step::Replay(a),
            "fake" => Step::Fake { who: a, consent: b, record: c },
            "amend" => Step::Amend(a),
            "retract" => Step::Retract(a),
            "reseal" => Step::Reseal(a),
            "suspend" => Step::Suspend,
            "mine" => Step::Mine(a),
            "wait" => Step::Wait(self.numbers[0]),
            "reorg" => Step::Reorg { depth: a, again: b },
            "crash" => Step::Crash,
            "ask" => Step::Ask { who: a, consent: b, records: c },
            _ => return None,
        })
    }
}

/// Numbers from a seed (SplitMix64, Steele and others 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u8) -> u8 {
        u8::try_from(self.next() % u64::from(n)).expect("below 256")
    }

    pub(crate) fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == 0
    }

    fn consent(&mut self) -> u8 {
        self.below(CONSENTS)
    }

    /// Somebody whom the consent is for, or, now and then, somebody else.
    fn who(&mut self, consent: u8) -> u8 {
        if self.one_in(12) {
            return self.below(3);
        }
        match consent {
            2 | 3 => MEMBER,
            _ => PERSON,
        }
    }

    /// Mostly one record, sometimes two.
    fn records(&mut self) -> u8 {
        let one = 1 << self.below(RECORDS);
        if self.one_in(6) { one | 1 << self.below(RECORDS) } else { one }
    }

    fn step(&mut self, finality: u8) -> Step {
        let (consent, record) = (self.consent(), self.below(RECORDS));
        let (who, records) = (self.who(consent), self.records());
        match self.below(48) {
            0..6 => Step::Grant(consent),
            6..11 => Step::Revoke(consent),
            11 => Step::RevokeAll,
            12..18 => Step::Log { who, consent, records, signed: self.one_in(2) },
            18 => Step::Replay(self.below(3)),
            19 => Step::Fake { who, consent, record },
            20..22 => Step::Amend(record),
            22 => Step::Retract(record),
            23..25 => Step::Reseal(record),
            25 => Step::Suspend,
            26..29 => Step::Mine(1 + self.below(4)),
            29..32 => Step::Wait([1, 12, 100, 301, 599, 3_601][self.below(6) as usize]),
            32..37 => Step::Reorg { depth: self.depth(finality), again: self.below(4) },
            37..39 => Step::Crash,
            _ => Step::Ask { who, consent, records },
        }
    }

    /// Mostly shallow; as deep as can be where nothing is final for long.
    fn depth(&mut self, finality: u8) -> u8 {
        let deep = finality >= 32 || self.one_in(8);
        if deep { 1 + self.below(MAX_DEPTH) } else { 1 + self.below(4) }
    }

    /// A read as it should be, with something in between now and then.
    fn read(&mut self, finality: u8, steps: &mut Vec<Step>) {
        let consent = self.consent();
        let (who, records) = (self.who(consent), self.records());
        let wait = if self.one_in(6) { finality - 1 } else { finality };
        let phrase = [
            Step::Grant(consent),
            Step::Log { who, consent, records, signed: self.one_in(2) },
            Step::Mine(wait),
            Step::Ask { who, consent, records },
        ];
        for step in phrase {
            steps.push(step);
            if self.one_in(5) {
                steps.push(self.step(finality));
            }
        }
        if self.one_in(3) {
            let end =
                [Step::Revoke(consent), Step::Reorg { depth: self.depth(finality), again: 2 }];
            steps.push(end[usize::from(self.below(2))]);
            steps.push(Step::Ask { who, consent, records });
        }
    }
}
