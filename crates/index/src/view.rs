//! Follows the chain and keeps every chart up to date.

use std::sync::Arc;

use alloy_primitives::Address;
use galen_chain::{
    Batch, BlockReader, ChainError, HistoryMode, Ledger, LedgerBlock, LedgerEvent, Point, Stamped,
};

use crate::{
    cache::{Cache, Mark, push_mark},
    chart::Chart,
    history::{Confirmed, HistoryOptions, SyncReport},
    records::Proposal,
    state::{Organization, State},
};

/// How often a chain may be reorganized under one [`View::sync`] before it gives up.
const MAX_RESTARTS: usize = 3;

/// How many blocks a node may be behind what was verified, as one of several behind one address is.
const MAX_LAG: u64 = 64;

/// All charts of a ledger, as of the last verified block that was read.
#[derive(Debug)]
pub struct View {
    options: HistoryOptions,
    origin: BlockReader,
    reader: BlockReader,
    state: State,
    /// Verified blocks to go back to, ascending; the last is the newest block that was read.
    marks: Vec<Mark>,
    /// Highest block that is known to be final.
    final_point: Option<Point>,
    /// The node's newest block when it was last asked.
    head: u64,
    cache: Option<Cache>,
    /// The cache was not read yet.
    cold: bool,
}

impl View {
    /// An empty view of a ledger that keeps nothing on disk; [`View::sync`] fills it.
    pub fn new(ledger: &Ledger) -> Self {
        Self::open(ledger, HistoryOptions::default())
    }

    /// A view of a ledger. Nothing is read before the first [`View::sync`].
    pub fn open(ledger: &Ledger, options: HistoryOptions) -> Self {
        let origin = ledger.blocks().with_mode(options.mode);
        let cache = options.directory.as_ref().map(|directory| {
            Cache::new(directory, ledger.id(), ledger.deployed_in(), options.mode)
        });
        Self {
            options,
            reader: origin.clone(),
            origin,
            state: State::default(),
            marks: Vec::new(),
            final_point: None,
            head: 0,
            cold: cache.is_some(),
            cache,
        }
    }

    /// Reads every block that came since the last call, or since the cache was written.
    ///
    /// After a reorganization the view goes back to the newest block that it knows to stand.
    ///
    /// # Errors
    ///
    /// As [`BlockReader::read`]; what was read until then is kept. Also:
    ///
    /// - [`ChainError::FinalityBroken`]: a block that was final is another one now.
    /// - [`ChainError::Behind`]: the node lacks more than a few of the blocks that were verified before.
    pub async fn sync(&mut self) -> Result<SyncReport, ChainError> {
        let mut report = SyncReport::default();
        if std::mem::take(&mut self.cold) {
            self.load(&mut report);
        }
        let mut restarts = 0;
        let result = loop {
            match self.follow(&mut report).await {
                Err(ChainError::Reorganized { .. }) if restarts < MAX_RESTARTS => restarts += 1,
                other => break other,
            }
        };
        report.cache_failed |= !self.keep();
        result.map(|()| report)
    }

    /// From where the view stands to the node's newest block.
    async fn follow(&mut self, report: &mut SyncReport) -> Result<(), ChainError> {
        self.head = self.reader.head().await?;
        report.head = self.head;
        self.check_tip(report).await?;
        let start = self.reader.next_number();
        let total = (self.head + 1).saturating_sub(start);
        let read_before = report.blocks;
        while let Some(batch) = self.reader.read(self.head).await? {
            self.apply(batch);
            // A long read that is cut off goes on where it was. The end is kept with what is final.
            if self.reader.next_number() <= self.head {
                report.cache_failed |= !self.keep();
            }
            let done = self.reader.next_number() - start;
            report.blocks = read_before + done;
            if let Some(progress) = &self.options.progress {
                progress.tell(done, total);
            }
        }
        let tip = self.marks.last().map(|mark| mark.point.number);
        if tip.is_some() && self.state.organizations.is_empty() {
            // The constructor names the founders, so a history without them is cut off at its start, or
            // of a chain that leaves its blooms empty.
            let block = self.origin.next_number();
            return Err(ChainError::Inconsistent { what: "no founders", block });
        }
        self.note_final(tip).await
    }

    /// A node that cannot say what is final is no reason not to read on; whoever asks is told.
    async fn note_final(&mut self, tip: Option<u64>) -> Result<(), ChainError> {
        let Some(tip) = tip else { return Ok(()) };
        let number = match self.reader.final_block(self.options.finality, self.head).await {
            Ok(number) => number.min(tip),
            Err(ChainError::NoFinalBlock) => return Ok(()),
            Err(error) => return Err(error),
        };
        let known = self.final_point.map(|point| point.number);
        if number >= self.origin.next_number() && known.is_none_or(|known| known < number) {
            self.final_point = self.reader.point(number).await?;
        }
        Ok(())
    }

    /// Goes back if the newest block that was read is no longer on the chain.
    async fn check_tip(&mut self, report: &mut SyncReport) -> Result<(), ChainError> {
        let known = self.marks.partition_point(|mark| mark.point.number <= self.head);
        let stands = match known.checked_sub(1) {
            Some(place) => self.stands(self.marks[place].point).await?,
            None => true,
        };
        if !stands {
            let kept = self.newest_standing(known - 1).await?;
            return self.roll_back(kept, report).await;
        }
        match self.marks.last() {
            Some(tip) if tip.point.number > self.head + MAX_LAG => {
                Err(ChainError::Behind { head: self.head, verified: tip.point.number })
            }
            _ => Ok(()),
        }
    }

    /// How many of the first `upper` marks stand. If one does, those before it do.
    async fn newest_standing(&self, upper: usize) -> Result<usize, ChainError> {
        let (mut low, mut high) = (0, upper);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.stands(self.marks[middle].point).await? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    async fn stands(&self, point: Point) -> Result<bool, ChainError> {
        match self.reader.point(point.number).await? {
            Some(now) => Ok(now == point),
            // The node just said that it has more blocks: one of several behind one address.
            None => Err(ChainError::Behind { head: point.number - 1, verified: point.number }),
        }
    }

    async fn roll_back(&mut self, kept: usize, report: &mut SyncReport) -> Result<(), ChainError> {
        let point = kept.checked_sub(1).map(|place| self.marks[place].point);
        // Where not even the first block stands, it is another chain: what was known is about nothing.
        if let (Some(point), Some(last)) = (point, self.final_point)
            && point.number < last.number
            && !self.stands(last).await?
        {
            return Err(ChainError::FinalityBroken { block: last.number });
        }
        self.marks.truncate(kept);
        self.state.roll_back(point.map(|point| point.number));
        self.reader = match point {
            Some(point) => self.reader.clone().after(point),
            None => self.origin.clone(),
        };
        if point.is_none() {
            self.final_point = None;
            report.cache_discarded = self.cache.is_some();
        }
        report.rolled_back_to =
            Some(point.map_or_else(|| self.origin.next_number(), |point| point.number));
        if let Some(cache) = &mut self.cache {
            cache.roll_back();
        }
        Ok(())
    }

    fn apply(&mut self, batch: Batch) {
        for mut block in batch.blocks {
            self.apply_events(&mut block);
            push_mark(&mut self.marks, Mark { point: block.point(), eventful: true });
            if let Some(cache) = &mut self.cache {
                cache.add(block);
            }
        }
        if self.marks.last().is_none_or(|mark| mark.point != batch.tip) {
            push_mark(&mut self.marks, Mark { point: batch.tip, eventful: false });
        }
    }

    fn apply_events(&mut self, block: &mut LedgerBlock) {
        for stamped in std::mem::take(&mut block.events) {
            self.state.apply(Arc::new(stamped));
        }
    }

    fn load(&mut self, report: &mut SyncReport) {
        let Some(cache) = &mut self.cache else { return };
        let Some(loaded) = cache.load() else {
            report.cache_discarded = cache.is_damaged();
            return;
        };
        report.cached = loaded.blocks.len();
        self.final_point = loaded.final_point;
        self.marks = loaded.marks;
        for mut block in loaded.blocks {
            self.apply_events(&mut block);
        }
        if let Some(mark) = self.marks.last() {
            self.reader = self.reader.clone().after(mark.point);
        }
    }

    /// Writes what is new to the cache; `false` if that failed. A view works without.
    fn keep(&mut self) -> bool {
        let Some(cache) = &mut self.cache else { return true };
        cache.keep(&self.marks, self.final_point).is_ok()
    }

    /// The chart of a pseudonym, if the ledger says anything about it.
    pub fn chart(&self, patient: Address) -> Option<&Chart> {
        self.state.charts.get(&patient)
    }

    /// Every chart, in no particular order.
    pub fn charts(&self) -> impl ExactSizeIterator<Item = (Address, &Chart)> {
        self.state.charts.iter().map(|(patient, chart)| (*patient, chart))
    }

    /// Every event, in the order of the chain.
    pub fn events(&self) -> &[Arc<Stamped>] {
        self.state.events()
    }

    /// Events that somebody acted in as organization, author, grantee, signer or cosigner, in the order
    /// of the chain. What happened to a pseudonym is in its [`Chart::events`].
    pub fn acts(&self, party: Address) -> impl DoubleEndedIterator<Item = &Stamped> {
        self.state.acts(party).map(Arc::as_ref)
    }

    /// Proposals of an author, each once, in the order in which they were first announced.
    pub fn proposals_by(&self, author: Address) -> impl DoubleEndedIterator<Item = &Proposal> {
        self.acts(author).filter_map(move |stamped| {
            let LedgerEvent::Proposed(event) = &stamped.event else { return None };
            let proposal = self.chart(event.patient)?.proposal(event.proposal)?;
            (event.author == author && proposal.announced == stamped.at).then_some(proposal)
        })
    }

    /// Organizations that are or were members, by id.
    pub fn organizations(&self) -> impl Iterator<Item = Organization> {
        self.state
            .organizations
            .iter()
            .map(|(id, standing)| Organization { id: *id, standing: *standing })
    }

    /// Number of the next block to read.
    pub const fn next_block(&self) -> u64 {
        self.reader.next_number()
    }

    /// The newest block that was read.
    pub fn tip(&self) -> Option<Point> {
        self.marks.last().map(|mark| mark.point)
    }

    /// What the history rests on.
    pub const fn mode(&self) -> HistoryMode {
        self.options.mode
    }

    /// The highest block that was final at the last [`View::sync`]; `None` if the node does not say.
    pub fn final_block(&self) -> Option<u64> {
        self.final_point.map(|point| point.number)
    }

    /// Whether a block was final at the last [`View::sync`].
    pub fn confirmed(&self, block: u64) -> Confirmed {
        if self.final_block().is_some_and(|number| block <= number) {
            return Confirmed::Final;
        }
        let of = match self.options.finality {
            galen_chain::Finality::Depth(depth) => Some(depth),
            galen_chain::Finality::Finalized | galen_chain::Finality::Instant => None,
        };
        Confirmed::Waiting { blocks: self.head.saturating_sub(block), of }
    }
}
