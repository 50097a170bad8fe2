//! Plays stories against a proxy and compares each of its answers with the truth.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use galen_chain::{Finality, HistoryMode, Ledger, Standing};
use galen_index::{Chart, HistoryOptions, View};
use galen_services::proxy::rules::{Asked, Now, Policy, rule};

use crate::{
    steps::{Step, Story},
    truth::{Fact, Question, Right, Truth},
    world::{Base, Surprise, World, consent, patient, reader, record},
};

/// What a proxy says while its node has fewer blocks than it had: another branch won that is shorter still, or the
/// node lags. Nobody can tell which, so nothing is answered.
const BEHIND: &str = "chain";

/// What a proxy may be asked in a story.
pub(crate) struct Ask {
    pub(crate) who: u8,
    pub(crate) consent: u8,
    pub(crate) records: u8,
    /// Unix second of the proxy's clock.
    pub(crate) clock: u64,
    /// The highest head that the proxy can have seen since it started.
    pub(crate) seen: u64,
}

/// What it answered for one record.
pub(crate) struct Answered {
    /// The access that it names, if it names one.
    pub(crate) at: Option<(u64, usize)>,
    pub(crate) contents: Vec<(u8, u8)>,
}

impl Answered {
    fn is(&self, right: &Right) -> bool {
        self.at.is_none_or(|at| at == right.at) && self.contents == right.contents
    }
}

/// A line of what a proxy says that it served: who, consent, record, and the access.
pub(crate) type Line = (Address, B256, B256, (u64, u64));

/// A proxy: what it answers for each record, or a word why it does not. What it goes by is the chain; the truth is for
/// the patient's program, which knows what it granted.
pub(crate) trait Subject: Sized {
    /// Whether its clock is that of the story.
    const CLOCK: bool;

    async fn start(world: &World<'_>, base: &Base, story: &Story) -> Self;

    /// Is killed, and starts with what it has on disk.
    async fn crash(self, world: &World<'_>, base: &Base, story: &Story) -> Self;

    /// Does what it does by itself.
    async fn rest(&mut self);

    async fn ask(&mut self, base: &Base, truth: &Truth, ask: &Ask)
    -> Result<Vec<Answered>, String>;

    /// What it says that it served.
    async fn served(&mut self) -> Option<Vec<Line>>;
}

/// The rule of the real proxy over the real view of the real chain, without HTTP and disk.
pub(crate) struct Ruled {
    view: View,
    chain: galen_devchain::DevChain,
    policy: Policy,
}

impl Subject for Ruled {
    const CLOCK: bool = true;

    async fn crash(self, world: &World<'_>, base: &Base, story: &Story) -> Self {
        Self::start(world, base, story).await
    }

    async fn rest(&mut self) {}

    async fn served(&mut self) -> Option<Vec<Line>> {
        None
    }

    async fn start(world: &World<'_>, base: &Base, story: &Story) -> Self {
        let ledger = connect(world, base).await;
        let options = HistoryOptions {
            mode: HistoryMode::Blocks,
            finality: Finality::Depth(story.finality.into()),
            ..HistoryOptions::default()
        };
        let window = story.window.into();
        let policy = Policy { window, max_head_age: None, ..Policy::default() };
        Self { view: View::open(&ledger, options), chain: world.chain.clone(), policy }
    }

    async fn ask(&mut self, base: &Base, _: &Truth, ask: &Ask) -> Result<Vec<Answered>, String> {
        self.view.sync().await.map_err(|error| error.to_string())?;
        if self.view.next_block() != self.chain.head().number + 1 {
            return Err(BEHIND.to_owned());
        }
        let who = reader(ask.who).address();
        let organization = self.view.organizations().find(|it| it.id == who);
        let now = Now {
            clock: ask.clock,
            head_time: self.chain.head().timestamp,
            final_block: self.view.final_block(),
            standing: organization.map_or(Standing::None, |it| it.standing),
        };
        let asked = Asked {
            patient: patient(),
            grantee: who,
            consent: consent(ask.consent).id(),
            expiry: consent(ask.consent).expiry,
            records: Truth::records(ask.records).map(record).collect(),
        };
        let nothing = Chart::default();
        let chart = self.view.chart(patient()).unwrap_or(&nothing);
        let allowed = rule(chart, &asked, &now, &self.policy);
        let allowed = allowed.map_err(|cause| cause.as_str().to_owned())?;
        allowed
            .iter()
            .zip(Truth::records(ask.records))
            .map(|(it, number)| {
                let contents = it.contents.iter().map(|at| base.content(at).ok_or("elsewhere"));
                let contents: Result<Vec<_>, _> = contents.collect();
                let contents = contents?;
                if contents.iter().any(|content| content.0 != number) {
                    return Err("content of another record".to_owned());
                }
                let contents = contents.iter().map(|it| (it.1, it.2)).collect();
                let at = (it.access.block, usize::try_from(it.access.log).unwrap());
                Ok(Answered { at: Some(at), contents })
            })
            .collect()
    }
}

pub(crate) async fn connect(world: &World<'_>, base: &Base) -> Ledger {
    let ledger = base.ledger.id().contract;
    Ledger::connect(world.chain.provider(), ledger, base.ledger.deployed_in()).await.unwrap()
}

/// What came of many stories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) served: usize,
    /// How often the truth forbade it, by its reason.
    pub(crate) refused: BTreeMap<&'static str, usize>,
    pub(crate) crashes: usize,
    /// Depths of reorganizations.
    pub(crate) depths: BTreeSet<u64>,
    pub(crate) steps: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.served += other.served;
        self.crashes += other.crashes;
        self.steps += other.steps;
        self.depths.extend(other.depths);
        for (cause, count) in other.refused {
            *self.refused.entry(cause).or_default() += count;
        }
    }
}

/// A read that was answered.
struct Served {
    who: u8,
    consent: u8,
    record: u8,
    right: Right,
    /// The later of clock and head when it was answered.
    when: u64,
}

/// Plays a story.
///
/// # Errors
///
/// What was not as it must be, and at which step.
pub(crate) async fn play<S: Subject>(base: &Base, story: &Story) -> Result<Tally, Surprise> {
    let mut world = World::new(base, story.finality.into());
    let mut proxy = S::start(&world, base, story).await;
    let (mut tally, mut served, mut seen) = (Tally::default(), Vec::new(), 0);
    for (number, step) in story.steps.iter().enumerate() {
        tally.steps += 1;
        let at = |it: Surprise| format!("step {number}, {step}: {it}");
        match *step {
            Step::Crash => {
                proxy = proxy.crash(&world, base, story).await;
                tally.crashes += 1;
                seen = 0;
            }
            Step::Ask { who, consent, records } => {
                let clock = if S::CLOCK { world.clock } else { 0 };
                let ask = Ask { who, consent, records, clock, seen };
                seen = seen.max(world.truth.head());
                let answer = proxy.ask(base, &world.truth, &ask).await;
                let now = judge(&world, story, &ask, answer, &mut tally);
                served.extend(now.map_err(at)?);
            }
            other => world.take(other).map_err(at)?,
        }
        if matches!(step, Step::Crash | Step::Mine(_)) {
            proxy.rest().await;
            seen = seen.max(world.truth.head());
        }
    }
    // In the end every branch is the longest.
    let missing = seen.saturating_sub(world.truth.head());
    world.take(Step::Mine(u8::try_from(missing).expect("few blocks")))?;
    world.is_right(&connect(&world, base).await).await?;
    served.iter().try_for_each(|it| stands(&world.truth, story, it))?;
    if let Some(said) = proxy.served().await {
        is_said(said, &served)?;
    }
    tally.depths = world.depths;
    Ok(tally)
}

/// Whatever was served stands in the proxy's own journal, and nothing else does.
fn is_said(mut said: Vec<Line>, served: &[Served]) -> Result<(), Surprise> {
    let line = |it: &Served| {
        let (block, log) = it.right.at;
        let (consent, record) = (consent(it.consent).id().0, record(it.record).id().0);
        (reader(it.who).address(), consent, record, (block, log as u64))
    };
    let mut served: Vec<Line> = served.iter().map(line).collect();
    served.sort_unstable();
    said.sort_unstable();
    if said == served { Ok(()) } else { Err(format!("reported {said:?}, served {served:?}")) }
}

/// Compares one answer with what was right at that moment.
fn judge(
    world: &World<'_>,
    story: &Story,
    ask: &Ask,
    answer: Result<Vec<Answered>, String>,
    tally: &mut Tally,
) -> Result<Vec<Served>, Surprise> {
    let truth = &world.truth;
    let when = ask.clock.max(truth.blocks.last().unwrap().time);
    let right_until = |final_block| {
        let right = |record| {
            truth.right(&Question {
                who: ask.who,
                consent: ask.consent,
                record,
                now: when,
                final_block,
                window: story.window.into(),
                expiry: consent(ask.consent).expiry,
            })
        };
        Truth::records(ask.records).map(right).collect::<Result<Vec<_>, _>>()
    };
    // A proxy that just started may know less to be final than one that saw a longer chain. It never knows more.
    let least = truth.head().saturating_sub(story.finality.into());
    let rights = match answer {
        Ok(answer) => {
            let same = |rights: &Vec<Right>| {
                rights.len() == answer.len()
                    && answer.iter().zip(rights).all(|(it, right)| it.is(right))
            };
            let mut known = (least..=world.final_block()).filter_map(|it| right_until(it).ok());
            known.find(same).ok_or_else(|| {
                let what: Vec<_> = answer.iter().map(|it| (it.at, &it.contents)).collect();
                format!("served {what:?}, right is {:?}", right_until(least))
            })?
        }
        Err(cause) => {
            let reason = match right_until(least) {
                Err(reason) => reason,
                Ok(_) if cause == BEHIND && truth.head() < ask.seen => BEHIND,
                right => return Err(format!("refused as {cause:?}, but {right:?} is right")),
            };
            *tally.refused.entry(reason).or_default() += 1;
            return Ok(Vec::new());
        }
    };
    tally.served += rights.len();
    let (who, consent) = (ask.who, ask.consent);
    let served = Truth::records(ask.records).zip(rights);
    Ok(served.map(|(record, right)| Served { who, consent, record, right, when }).collect())
}

/// What was served has its log in the chain that there is in the end, under a consent that was live in its block and
/// that no change before it ended, inside the window.
fn stands(truth: &Truth, story: &Story, it: &Served) -> Result<(), Surprise> {
    let (block, index) = it.right.at;
    let found = truth.blocks.get(usize::try_from(block).unwrap());
    let fact = found.and_then(|block| block.facts.get(index));
    let logged = matches!(fact, Some(Fact::Accessed { who, consent, record, .. })
        if (*who, *consent, *record) == (it.who, it.consent, it.record));
    if !logged {
        return Err(format!("served for block {block}, which holds {found:?}"));
    }
    if !truth.live_before(it.right.at).contains(&it.consent) {
        return Err(format!("served for block {block}, when consent {} was over", it.consent));
    }
    let time = found.map_or(0, |block| block.time);
    if it.when - time > u64::from(story.window) {
        return Err(format!("served {} seconds after its log", it.when - time));
    }
    Ok(())
}
