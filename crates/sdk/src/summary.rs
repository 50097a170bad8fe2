//! The patient's records, opened for one chart: [`galen_fhir::chart`] reconciles them.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use galen_crypto::{OpenKey, Opened};
use galen_fhir::{
    Category, Document,
    chart::{Author, Departed, Ingredients, Origin, ReconciledChart, SignatureState, Source},
};
use galen_index::{Chart, LeafState, Record, Version};
use galen_types::{ErrorKind, LeafKind, RecordId, RecordKey};
use tokio::task::JoinSet;

use crate::{Error, Patient, SignatureState as Signed, fhir_document, galen::joined};

/// Most records that are opened at once.
const MAX_OPENING: usize = 8;

/// Most versions of records in one chart.
pub const MAX_CHART_DOCUMENTS: usize = 100_000;

/// Categories that are not sensitive and hold what a chart shows. The sensitive ones may hold all of it.
const SHOWN: [Category; 5] = [
    Category::Identity,
    Category::Problems,
    Category::Allergies,
    Category::Medications,
    Category::Immunizations,
];

/// One opened version of a record.
#[derive(Debug)]
struct Kept {
    opened: Opened,
    origin: Origin,
    /// Unix second since which it no longer stands.
    until: Option<u64>,
}

/// A record that is missing from a chart, since it does not open.
#[derive(Debug)]
pub struct MissingRecord {
    /// The record.
    pub record: RecordId,
    /// Its author.
    pub author: Address,
    /// Why.
    pub error: Error,
}

/// Opened records of one or more pseudonyms of a patient.
#[derive(Debug, Default)]
pub struct ChartRecords {
    kept: Vec<Kept>,
    /// What does not open.
    pub missing: Vec<MissingRecord>,
    /// Records that left the chart: retracted, or followed by a version that holds something else.
    departed: Vec<Departed>,
    /// Proposed records that nobody has answered: they are not in the chart.
    pub unanswered: usize,
    /// Records in categories of the chart that hold no FHIR, and so stand in no line.
    pub other_content: usize,
}

/// A version that is to be opened.
struct Wanted {
    key: RecordKey,
    version: Version,
    /// Unix second of its proposal.
    proposed: u64,
    until: Option<u64>,
    state: &'static str,
}

impl Patient {
    /// Opens the records of this pseudonym that a chart is made of, in every version that stood at one of
    /// `times`, in Unix seconds. What was accepted later is not among them.
    ///
    /// What does not open is told in [`ChartRecords::missing`] and does not end it.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`]; [`Error::Invalid`] for more than [`MAX_CHART_DOCUMENTS`].
    pub async fn chart_records(&self, times: &[u64]) -> Result<ChartRecords, Error> {
        let map = self.keys().segment_map();
        let needed = |key: &RecordKey| {
            let category = Category::from_index(map.category(key.segment));
            category.is_none_or(|it| SHOWN.contains(&it) || it.is_sensitive())
        };
        let mut records = ChartRecords::default();
        let look = |chart: &Chart| {
            let own = chart.records().filter(|record| needed(&record.key));
            let own: Vec<&Record> = own.collect();
            let wanted: Vec<Wanted> = own.iter().flat_map(|it| wanted(chart, it, times)).collect();
            let departed = own.iter().flat_map(|record| departed(record)).collect();
            let open = chart.proposals().filter(|proposal| proposal.is_open());
            let states = open.flat_map(|proposal| &proposal.states);
            (wanted, departed, states.filter(|it| **it == LeafState::Unconfirmed).count())
        };
        let (wanted, departed, unanswered) = self.galen().with_chart(self.id(), look).await?;
        if wanted.len() > MAX_CHART_DOCUMENTS {
            return Err(Error::Invalid("the chart has too many records"));
        }
        (records.departed, records.unanswered) = (departed, unanswered);
        let mut running = JoinSet::new();
        for wanted in wanted {
            while running.len() >= MAX_OPENING {
                records.take(running.join_next().await)?;
            }
            let patient = self.clone();
            running.spawn(async move {
                let identity = patient.keys().identity();
                let key = OpenKey::Identity(&identity);
                let opened = patient.galen().open_version(&wanted.key, &wanted.version, key).await;
                let judged = match opened {
                    Ok((_, opened)) => patient.judged(wanted.key.author, opened).await,
                    Err(error) => Err(error),
                };
                (wanted, judged)
            });
        }
        while !running.is_empty() {
            records.take(running.join_next().await)?;
        }
        Ok(records)
    }

    /// An opened record, and what is known of the signature of its document.
    async fn judged(
        &self,
        author: Address,
        opened: Opened,
    ) -> Result<(Opened, SignatureState), Error> {
        let state = match self.galen().signature_of(&opened).await {
            Ok(None) => SignatureState::InProposal,
            Ok(Some(found)) => match found.state {
                Signed::Valid if found.author == author => SignatureState::ByParts,
                Signed::Valid | Signed::NotController | Signed::OtherLedger => {
                    SignatureState::OtherSigner
                }
                Signed::NotSigned => SignatureState::Broken,
            },
            Err(error) if matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Invalid) => {
                SignatureState::Broken
            }
            Err(error) => return Err(error),
        };
        Ok((opened, state))
    }
}

/// The versions of a record that stood at one of the times.
fn wanted(chart: &Chart, record: &Record, times: &[u64]) -> Vec<Wanted> {
    let all = record.versions.iter().enumerate();
    let held = all.filter_map(|(at, version)| {
        let since = version.accepted.time;
        let until = record.versions.get(at + 1).map(|next| next.accepted.time);
        let stood = |time: &u64| since <= *time && until.is_none_or(|until| *time < until);
        let retraction = version.leaf.kind == LeafKind::Retraction;
        let is_last = at + 1 == record.versions.len();
        let state = match (is_last, record.disowned) {
            (true, true) => "disowned",
            (true, false) => "current",
            _ => "superseded",
        };
        (!retraction && times.iter().any(stood)).then(|| Wanted {
            key: record.key,
            version: version.clone(),
            proposed: chart.proposal(version.proposal).map_or(since, |it| it.announced.time),
            until,
            state,
        })
    });
    held.collect()
}

/// When a record's content was followed by something else.
fn departed(record: &Record) -> impl Iterator<Item = Departed> {
    let author = Author { id: record.key.author, name: None };
    let id = record.key.id();
    let later = record.versions.iter().skip(1);
    later.map(move |next| Departed { record: id, author: author.clone(), at: next.accepted.time })
}

type Judged = Result<(Opened, SignatureState), Error>;
type Taken = Result<(Wanted, Judged), tokio::task::JoinError>;

impl ChartRecords {
    fn take(&mut self, taken: Option<Taken>) -> Result<(), Error> {
        let Some(taken) = taken else { return Ok(()) };
        let (Wanted { key, version, proposed, until, state }, opened) = joined(taken)?;
        match opened {
            Err(error) => {
                self.missing.push(MissingRecord { record: key.id(), author: key.author, error });
            }
            Ok((opened, _)) if fhir_document(&opened).is_none() => self.other_content += 1,
            Ok((opened, signature)) => {
                let origin = Origin {
                    record: key.id(),
                    version: version.id,
                    author: Author { id: key.author, name: None },
                    proposed,
                    entered: version.accepted.time,
                    state,
                    signature,
                };
                self.kept.push(Kept { opened, origin, until });
            }
        }
        Ok(())
    }

    /// Adds the records of another pseudonym of the same patient.
    pub fn join(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.missing.extend(other.missing);
        self.departed.extend(other.departed);
        self.unanswered += other.unanswered;
        self.other_content += other.other_content;
    }

    /// Gives authors the names that the reader knows them by.
    pub fn name_authors(&mut self, name: impl Fn(Address) -> Option<String>) {
        let mut known: BTreeMap<Address, Option<String>> = BTreeMap::new();
        let origins = self.kept.iter_mut().map(|kept| &mut kept.origin.author);
        for author in origins.chain(self.departed.iter_mut().map(|it| &mut it.author)) {
            let found = known.entry(author.id).or_insert_with(|| name(author.id));
            author.name = author.name.take().or_else(|| found.clone());
        }
    }

    /// What is known to have left the chart.
    pub fn departed(&self) -> &[Departed] {
        &self.departed
    }

    /// Reads the documents. One that is not acceptable FHIR any more is told as missing.
    pub fn read(&self) -> ReadRecords<'_> {
        let mut read = ReadRecords { documents: Vec::new(), missing: Vec::new() };
        for kept in &self.kept {
            let (record, author) = (kept.origin.record, kept.origin.author.id);
            match fhir_document(&kept.opened).map(Document::read) {
                Some(Ok(document)) => read.documents.push((document, kept)),
                Some(Err(error)) => {
                    let error = error.into();
                    read.missing.push(MissingRecord { record, author, error });
                }
                None => {}
            }
        }
        read
    }
}

/// Opened records as documents.
#[derive(Debug)]
pub struct ReadRecords<'a> {
    documents: Vec<(Document<'a>, &'a Kept)>,
    /// What is not acceptable FHIR.
    pub missing: Vec<MissingRecord>,
}

impl<'a> ReadRecords<'a> {
    /// The chart at one of the times for which the records were opened: what stood in it then, and what that says
    /// of that time.
    pub fn chart_at(&self, time: u64, ingredients: &Ingredients) -> ReconciledChart<'a> {
        let stood = self.documents.iter().filter(|(_, kept)| {
            kept.origin.entered <= time && kept.until.is_none_or(|until| time < until)
        });
        let sources: Vec<Source<'_, 'a>> = stood
            .map(|(document, kept)| Source { document, origin: kept.origin.clone() })
            .collect();
        ReconciledChart::new(&sources, ingredients, time)
    }
}

impl MissingRecord {
    /// What the reader can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}
