//! What happened, as the simulation itself knows it, and what a proxy may do then. Nothing here reads the chain,
//! and nothing of the proxy is used: two independent answers to the same question.

use std::collections::{BTreeSet, HashSet};

use crate::steps::{MEMBER, RECORDS, Step};

/// What a transaction leaves behind, in the order of its logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Granted(u8),
    Revoked(u8),
    RevokedAll,
    /// Who read which record under which consent. `signature` is the number of the signed access, if it was one.
    Accessed {
        who: u8,
        consent: u8,
        record: u8,
        signature: Option<usize>,
    },
    /// A version of a record was accepted, with its first content.
    Version {
        record: u8,
        version: u8,
    },
    Retracted(u8),
    /// New content of the version that stands.
    Content {
        record: u8,
        content: u8,
    },
    Settled,
    ConsentsChanged,
    Suspended,
}

/// A block: its time, what it was meant to do, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) time: u64,
    /// The step to take again if the block goes away.
    pub(crate) step: Option<Step>,
    pub(crate) facts: Vec<Fact>,
}

/// Where a fact stands.
type At = (u64, usize);

/// One content of a record: version and number of the content.
pub(crate) type Content = (u8, u8);

/// What a proxy may answer for one record: the access, and the contents, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) at: At,
    pub(crate) contents: Vec<Content>,
}

/// What is the case right now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) who: u8,
    pub(crate) consent: u8,
    pub(crate) record: u8,
    /// The later of clock and head.
    pub(crate) now: u64,
    /// Up to which block nothing changes any more.
    pub(crate) final_block: u64,
    pub(crate) window: u64,
    /// First second at which the consent no longer holds.
    pub(crate) expiry: u64,
}

/// The chain, block by block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) blocks: Vec<Block>,
}

impl Truth {
    pub(crate) fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    fn facts(&self) -> impl DoubleEndedIterator<Item = (At, &Fact)> {
        (0_u64..)
            .zip(&self.blocks)
            .flat_map(|(number, block)| {
                block.facts.iter().enumerate().map(move |(index, fact)| ((number, index), fact))
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Consents that hold after what stands before `at`.
    pub(crate) fn live_before(&self, at: At) -> BTreeSet<u8> {
        let mut live = BTreeSet::new();
        for (_, fact) in self.facts().take_while(|(place, _)| *place < at) {
            match fact {
                Fact::Granted(consent) => drop(live.insert(*consent)),
                Fact::Revoked(consent) => drop(live.remove(consent)),
                Fact::RevokedAll => live.clear(),
                _ => {}
            }
        }
        live
    }

    pub(crate) fn live(&self) -> BTreeSet<u8> {
        self.live_before((u64::MAX, 0))
    }

    pub(crate) fn count(&self, counted: Fact) -> u32 {
        u32::try_from(self.facts().filter(|(_, fact)| **fact == counted).count()).unwrap()
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.count(Fact::Suspended) > 0
    }

    /// The version of a record that stands, and how many contents it had until `at`; `None` once it is retracted.
    pub(crate) fn version_before(&self, record: u8, at: At) -> Option<(u8, Vec<u8>)> {
        let mut stands = None;
        for (_, fact) in self.facts().take_while(|(place, _)| *place < at) {
            match fact {
                Fact::Version { record: of, version } if *of == record => {
                    stands = Some((*version, vec![0]));
                }
                Fact::Retracted(of) if *of == record => stands = None,
                Fact::Content { record: of, content } if *of == record => {
                    stands
                        .as_mut()
                        .expect("only content of a version is resealed")
                        .1
                        .push(*content);
                }
                _ => {}
            }
        }
        stands
    }

    pub(crate) fn version(&self, record: u8) -> Option<(u8, Vec<u8>)> {
        self.version_before(record, (u64::MAX, 0))
    }

    /// Accesses that count, oldest first. The same signature counts once, however often it is sent.
    fn accesses(&self, who: u8, consent: u8, record: u8) -> Vec<At> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for (at, fact) in self.facts() {
            let Fact::Accessed { who: by, consent: under, record: of, signature } = fact else {
                continue;
            };
            let counts = signature.is_none_or(|number| seen.insert((number, *of)));
            if counts && (*by, *under, *of) == (who, consent, record) {
                found.push(at);
            }
        }
        found
    }

    /// What may be answered, or why nothing may.
    pub(crate) fn right(&self, asked: &Question) -> Result<Right, &'static str> {
        if asked.who == MEMBER && self.is_suspended() {
            return Err("suspended");
        }
        // The third consent names nobody: members only.
        if asked.consent == 3 && asked.who != MEMBER {
            return Err("no member");
        }
        if !self.live().contains(&asked.consent) || asked.now >= asked.expiry {
            return Err("not live");
        }
        let accesses = self.accesses(asked.who, asked.consent, asked.record);
        let last = accesses.iter().rfind(|at| at.0 <= asked.final_block);
        let at = *last.ok_or(if accesses.is_empty() { "not logged" } else { "not final" })?;
        let time = self.blocks[usize::try_from(at.0).unwrap()].time;
        if asked.now - time > asked.window {
            return Err("too long ago");
        }
        if self.version(asked.record).is_none() {
            return Err("retracted");
        }
        let (version, contents) =
            self.version_before(asked.record, at).ok_or("nothing stood then")?;
        let newest = contents.iter().rev().take(3).map(|content| (version, *content)).collect();
        Ok(Right { at, contents: newest })
    }

    /// Records that a log names, in the order of its words.
    pub(crate) fn records(mask: u8) -> impl Iterator<Item = u8> {
        (0..RECORDS).filter(move |record| mask >> record & 1 == 1)
    }
}
