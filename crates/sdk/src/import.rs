//! Import: many documents for one patient, interrupted at any point and taken up again.
//!
//! What is done is written to a [`Journal`] before the next step: a leaf after its content is kept, a
//! proposal after it is signed and before it is sent. Taken up again, nothing is proposed twice: a
//! proposal that the ledger has is not sent again, a leaf that was sealed is not sealed again, and an
//! input is known by a salted hash of its bytes. One document and the leaves of one proposal are in memory.
//!
//! A journal is for one author, one patient and one ledger, and for one process at a time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
};

use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_chain::{CosignPolicy, SignedProposal, typed};
use galen_crypto::random_salt;
use galen_fhir::Document;
use galen_types::{
    Leaf, LeafKind, LedgerId, Plaintext, ProposalId, RecordKey, Salt, Segment, VersionId,
};
use serde::{Deserialize, Serialize};

use crate::{
    Contact, Error, MAX_LEAVES, NewRecord, Organization, Prepared, organization::Batch,
    patient::u48,
};

/// Inputs that a report names as refused; more are only counted.
pub const MAX_REJECTS: usize = 1_000;

/// One document to import: a file, or a line of a file.
#[derive(Debug)]
pub struct ImportInput {
    /// What the report calls it: a path, or a path and a line.
    pub name: String,
    /// Its bytes, or why they could not be read.
    pub bytes: io::Result<Plaintext>,
}

/// A line of a journal. Holds no health data and no secret: hashes of inputs are salted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum JournalEntry {
    /// The first line.
    Begun {
        /// The ledger.
        ledger: LedgerId,
        /// Whose chart.
        patient: Address,
        /// Who imports.
        author: Address,
        /// Salt of the inputs' hashes.
        salt: Salt,
    },
    /// Sealed content of a part of an input is in the store.
    Sealed {
        /// keccak256(salt ‖ bytes of the input).
        input: B256,
        /// Which of the input's records.
        part: u32,
        /// How many it has.
        parts: u32,
        /// The leaf to be proposed.
        leaf: Leaf,
        /// Bytes of sealed content.
        len: u64,
    },
    /// A proposal is signed; it may have been sent.
    Signed {
        /// Rotations of the author that the signature is bound to.
        rotations: u32,
        /// Last Unix second at which the signature holds.
        deadline: u64,
        /// Hash of the policy.
        policy: B256,
        /// The leaves.
        leaves: Vec<Leaf>,
        /// The author's signature.
        signature: Bytes,
    },
    /// The ledger has the proposal.
    Announced {
        /// Its id.
        proposal: ProposalId,
    },
}

/// Where an import writes down what it did.
pub trait Journal: Send {
    /// Keeps an entry, durably: when this returns, the entry survives a crash.
    ///
    /// # Errors
    ///
    /// If it cannot be kept; the import stops there.
    fn append(&mut self, entry: &JournalEntry) -> io::Result<()>;
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Inputs seen.
    pub inputs: usize,
    /// Inputs that are in the journal already, or twice among the inputs.
    pub known: usize,
    /// Inputs that were refused.
    pub rejected: usize,
    /// Records sealed now.
    pub records: usize,
    /// Bytes of sealed content kept now.
    pub sealed_bytes: u64,
    /// Records announced now.
    pub announced: usize,
}

/// An input that was refused as a whole.
#[derive(Debug)]
pub struct Reject {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: Error,
}

/// What an import did.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// Counts at the end.
    pub progress: ImportProgress,
    /// Proposals that were announced now, or found to be announced.
    pub proposals: Vec<ProposalId>,
    /// The first [`MAX_REJECTS`] inputs that were refused.
    pub rejects: Vec<Reject>,
}

/// A part of an input.
type Part = (B256, u32);

/// An import of documents for one patient.
pub struct Import<'a> {
    organization: &'a Organization,
    contact: &'a Contact,
    policy: &'a CosignPolicy,
    journal: &'a mut dyn Journal,
    progress: &'a mut (dyn FnMut(&ImportProgress) + Send),
    salt: Salt,
    parts: HashMap<B256, u32>,
    done: HashSet<Part>,
    numbers: BTreeMap<Segment, u64>,
    batch: Batch,
    report: ImportReport,
}

impl std::fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").field("report", &self.report).finish_non_exhaustive()
    }
}

impl<'a> Import<'a> {
    /// Begins an import, or takes it up: `past` is what the journal holds. Proposals that were signed
    /// and not announced are announced now.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the journal is of another author, patient or ledger, or holds together in no
    /// way; otherwise as [`Import::run`].
    pub async fn begin(
        organization: &'a Organization,
        contact: &'a Contact,
        policy: &'a CosignPolicy,
        past: &[JournalEntry],
        journal: &'a mut dyn Journal,
        progress: &'a mut (dyn FnMut(&ImportProgress) + Send),
    ) -> Result<Self, Error> {
        let (ledger, patient) = (organization.galen().id(), contact.patient());
        let author = organization.id();
        let salt = match past.first() {
            None => {
                let salt = random_salt()?;
                let begun = JournalEntry::Begun { ledger, patient, author, salt };
                journal.append(&begun).map_err(Error::Journal)?;
                salt
            }
            Some(JournalEntry::Begun { ledger: l, patient: p, author: a, salt })
                if (*l, *p, *a) == (ledger, patient, author) =>
            {
                *salt
            }
            Some(_) => return Err(Error::Invalid("the journal is of another import")),
        };
        let mut import = Self {
            organization,
            contact,
            policy,
            journal,
            progress,
            salt,
            parts: HashMap::new(),
            done: HashSet::new(),
            numbers: BTreeMap::new(),
            batch: Batch::default(),
            report: ImportReport::default(),
        };
        import.take_up(past).await?;
        Ok(import)
    }

    /// Imports the documents, each split into one record per encounter and category. A document that is
    /// refused is named in the report and does not stop the others.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Storage`], [`Error::Chain`], [`Error::Sign`]: the import stopped.
    /// Begin it again with what the journal holds, and the same inputs.
    pub async fn run(
        mut self,
        inputs: impl IntoIterator<Item = ImportInput>,
    ) -> Result<ImportReport, Error> {
        for ImportInput { name, bytes } in inputs {
            self.report.progress.inputs += 1;
            if let Err(reason) = self.take(bytes).await? {
                self.report.progress.rejected += 1;
                if self.report.rejects.len() < MAX_REJECTS {
                    self.report.rejects.push(Reject { name, reason });
                }
            }
            (self.progress)(&self.report.progress);
        }
        self.flush().await?;
        Ok(self.report)
    }

    /// One input. The inner error is the input's own fault.
    async fn take(&mut self, bytes: io::Result<Plaintext>) -> Result<Result<(), Error>, Error> {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(Error::Crypto(galen_crypto::Error::Read(error)))),
        };
        let input = keccak256([self.salt.as_bytes().as_slice(), bytes.expose()].concat());
        if let Some(parts) = self.parts.get(&input)
            && (0..*parts).all(|part| self.done.contains(&(input, part)))
        {
            self.report.progress.known += 1;
            return Ok(Ok(()));
        }
        let document = match Document::read(bytes.expose()) {
            Ok(document) => document,
            Err(fault) => return Ok(Err(Error::Fhir(fault))),
        };
        let drafts = document.split();
        // All or nothing of an input, as far as its own faults go.
        for draft in &drafts {
            if let Err(error) = self.contact.segment(draft.category().index()) {
                return Ok(Err(error));
            }
        }
        let parts = u32::try_from(drafts.len()).unwrap_or(u32::MAX);
        for (part, draft) in (0..parts).zip(&drafts) {
            if !self.done.contains(&(input, part)) {
                self.add((input, part), parts, &NewRecord::from(draft)).await?;
            }
        }
        self.parts.insert(input, parts);
        Ok(Ok(()))
    }

    /// Seals a part, keeps it, writes it down, and proposes when there are enough.
    async fn add(&mut self, part: Part, parts: u32, record: &NewRecord) -> Result<(), Error> {
        let (organization, contact) = (self.organization, self.contact);
        let segment = contact.segment(record.category)?;
        let patient = contact.patient();
        let number = organization.next_number(&mut self.numbers, patient, segment).await?;
        let key = RecordKey { patient, author: organization.id(), segment, number };
        let first = (LeafKind::New, VersionId::default());
        let (leaf, len) = organization.seal(contact, key, record, first).await?;
        let (input, index) = part;
        self.write(&JournalEntry::Sealed { input, part: index, parts, leaf, len })?;
        self.batch.push((leaf, len), key);
        self.done.insert(part);
        self.report.progress.records += 1;
        self.report.progress.sealed_bytes += len;
        if self.batch.leaves.len() == MAX_LEAVES { self.flush().await } else { Ok(()) }
    }

    /// Signs what is collected, writes the signature down, sends it, and writes that down.
    async fn flush(&mut self) -> Result<(), Error> {
        if self.batch.leaves.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let prepared = self.organization.sign(self.contact, batch, self.policy).await?;
        let SignedProposal { message, signature } = &prepared.signed;
        self.write(&JournalEntry::Signed {
            rotations: message.rotations,
            deadline: message.deadline.to(),
            policy: message.policy,
            leaves: prepared.leaves.clone(),
            signature: signature.clone(),
        })?;
        self.announce(prepared).await
    }

    async fn announce(&mut self, prepared: Prepared) -> Result<(), Error> {
        let (proposal, count) = (prepared.proposal(), prepared.leaves.len());
        self.organization.announce(prepared).await?;
        self.write(&JournalEntry::Announced { proposal })?;
        self.report.proposals.push(proposal);
        self.report.progress.announced += count;
        (self.progress)(&self.report.progress);
        Ok(())
    }

    fn write(&mut self, entry: &JournalEntry) -> Result<(), Error> {
        self.journal.append(entry).map_err(Error::Journal)
    }

    /// Reads what was done before, and announces what was signed.
    async fn take_up(&mut self, past: &[JournalEntry]) -> Result<(), Error> {
        let mut sealed: Vec<(Part, Leaf, u64)> = Vec::new();
        let mut signed = Vec::new();
        let mut announced = HashSet::new();
        for entry in past.iter().skip(1) {
            match entry {
                JournalEntry::Begun { .. } => {
                    return Err(Error::Invalid("the journal begins twice"));
                }
                JournalEntry::Sealed { input, part, parts, leaf, len } => {
                    self.parts.insert(*input, *parts);
                    sealed.push(((*input, *part), *leaf, *len));
                }
                JournalEntry::Signed { .. } => signed.push(self.prepared(entry)?),
                JournalEntry::Announced { proposal } => {
                    announced.insert(*proposal);
                }
            }
        }
        let time = self.organization.galen().time().await?;
        let mut proposed: HashSet<VersionId> = HashSet::new();
        for prepared in signed {
            let (id, message) = (prepared.proposal(), &prepared.signed.message);
            let there = announced.contains(&id) || self.is_on_chain(id).await?;
            // A signature that is out of date is made again, over the same leaves.
            if !there && time > message.deadline.to::<u64>() {
                continue;
            }
            proposed.extend(prepared.leaves.iter().map(Leaf::version));
            if !announced.contains(&id) {
                self.announce(prepared).await?;
            }
        }
        self.collect(&sealed, &proposed).await
    }

    /// What was sealed and not proposed goes into the next proposal, unless its number was taken by
    /// another work of this author meanwhile: then it is sealed anew when its input comes.
    async fn collect(
        &mut self,
        sealed: &[(Part, Leaf, u64)],
        proposed: &HashSet<VersionId>,
    ) -> Result<(), Error> {
        let (patient, author) = (self.contact.patient(), self.organization.id());
        self.done
            .extend(sealed.iter().filter(|it| proposed.contains(&it.1.version())).map(|it| it.0));
        let galen = self.organization.galen();
        for (part, leaf, len) in sealed {
            let segment = leaf.segment;
            let taken = match self.numbers.get(&segment) {
                Some(last) => Some(*last),
                None => galen.with_chart(patient, |it| it.last_number(author, segment)).await?,
            };
            let is_free = taken.is_none_or(|taken| leaf.number > taken);
            if self.done.contains(part) || !is_free {
                continue;
            }
            self.numbers.insert(segment, leaf.number);
            self.batch.push((*leaf, *len), leaf.key(patient, author));
            self.done.insert(*part);
            if self.batch.leaves.len() == MAX_LEAVES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn is_on_chain(&self, id: ProposalId) -> Result<bool, Error> {
        let galen = self.organization.galen();
        galen.with_chart(self.contact.patient(), |chart| chart.proposal(id).is_some()).await
    }

    fn prepared(&self, entry: &JournalEntry) -> Result<Prepared, Error> {
        let JournalEntry::Signed { rotations, deadline, policy, leaves, signature } = entry else {
            return Err(Error::Invalid("not a signed proposal"));
        };
        let (patient, author) = (self.contact.patient(), self.organization.id());
        let message = typed::Proposal {
            patient,
            author,
            rotations: *rotations,
            count: u16::try_from(leaves.len()).unwrap_or(u16::MAX),
            deadline: u48(*deadline),
            policy: *policy,
            leaves: leaves.iter().map(typed::Leaf::from).collect(),
        };
        Ok(Prepared {
            signed: SignedProposal { message, signature: signature.clone() },
            leaves: leaves.clone(),
            records: leaves.iter().map(|leaf| leaf.key(patient, author)).collect(),
            sealed_bytes: 0,
        })
    }
}
