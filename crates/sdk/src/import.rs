//! Import: many documents for one patient, interrupted at any point and taken up again.
//!
//! What is done is written to a [`Journal`] before the next step: a leaf after its content is staged on this
//! machine, a proposal after its content is where it belongs and it is signed, and before it is sent. Taken up
//! again, nothing is proposed twice: a proposal that the ledger has is not sent again, a leaf that was sealed is
//! not sealed again, an upload that was interrupted goes on where it was, and an input is known by a salted hash
//! of its bytes.
//!
//! FHIR documents are signed by parts before they are sealed, as many with one signature as go into one proposal.
//! That signature is written down, too. The salts of a document's tree are derived from the author's seed, the
//! journal's salt and the input, so that the same tree comes out again and its signature still fits.
//!
//! One input, the leaves of one proposal and at most 64 MiB of documents that wait for their signature are in
//! memory; a file of any other type never is.
//!
//! A journal is for one author, one patient and one ledger, and for one process at a time.

mod resume;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use alloy_primitives::{B256, Keccak256, keccak256};
use galen_chain::{CosignPolicy, SignedProposal};
use galen_crypto::{Committed, MediaType, random_salt};
use galen_fhir::{
    CodeTable, Compliance, Document, Draft,
    parts::{PartRule, PartsError, Seed},
};
use galen_types::{Leaf, LeafKind, Plaintext, ProposalId, RecordKey, Salt, Segment, VersionId};

use crate::{
    Contact, Error, Journal, JournalEntry, MAX_LEAVES, NewRecord, Organization, Prepared,
    Presentation, SignedDocument,
    attest::{Attested, Unsigned},
    batch::Batch,
    propose::MAX_WAITING_LEN,
    signed::starts_signed,
};

/// Inputs that a report names as refused; more are only counted.
pub const MAX_REJECTS: usize = 1_000;

/// One thing to import: a document, or a file of any type.
#[derive(Debug)]
pub struct ImportInput {
    /// What the report calls it: a path, or a path and a line.
    pub name: String,
    /// What it is, or why it could not be read.
    pub body: io::Result<ImportBody>,
}

/// What is imported.
#[derive(Debug)]
pub enum ImportBody {
    /// A FHIR document, which is split into one record per encounter and category; or a signed document, see
    /// [`SignedDocument`], which becomes one record as it is.
    Document(Plaintext),
    /// A file of any type and size, which becomes one record. It is read in constant memory.
    File(AttachedFile),
}

/// A file that becomes a record as it is.
#[derive(Clone, Debug)]
pub struct AttachedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub media_type: MediaType,
    /// Index of the category, see `galen_fhir::Category`.
    pub category: u8,
}

impl ImportInput {
    /// A document.
    pub fn document(name: impl Into<String>, bytes: io::Result<Plaintext>) -> Self {
        Self { name: name.into(), body: bytes.map(ImportBody::Document) }
    }

    /// A file of any type, for example a scan.
    pub fn file(name: impl Into<String>, file: AttachedFile) -> Self {
        Self { name: name.into(), body: Ok(ImportBody::File(file)) }
    }
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

/// A part that is sealed: its leaf, and the length of its sealed content in bytes.
type Sealed = (Part, Leaf, u64);

/// Parts that show elements of another part, and the rules that say which.
type Extracts = Vec<(Part, PartRule)>;

/// A part that waits for the signature that covers it.
struct Waiting {
    place: Place,
    unsigned: Unsigned,
}

/// Where a part of an input goes, and what is made of it beside.
struct Place {
    part: Part,
    parts: u32,
    category: u8,
    /// It was sealed before the import was interrupted; only extracts of it are missing.
    is_sealed: bool,
    /// What shows elements of it and is still to be made.
    extracts: Extracts,
}

/// An import of documents for one patient.
pub struct Import<'a> {
    organization: &'a Organization,
    contact: Contact,
    policy: &'a CosignPolicy,
    journal: &'a mut dyn Journal,
    progress: &'a mut (dyn FnMut(&ImportProgress) + Send),
    compliance: Compliance,
    codes: CodeTable,
    rules: Vec<PartRule>,
    salt: Salt,
    parts: HashMap<B256, u32>,
    done: HashSet<Part>,
    numbers: BTreeMap<Segment, u64>,
    waiting: Vec<Waiting>,
    waiting_len: usize,
    /// Signatures of an import that was interrupted, by the roots that they cover.
    attested: HashMap<B256, Arc<Attested>>,
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
            contact: organization.refreshed(contact).await?,
            policy,
            journal,
            progress,
            compliance: Compliance::default(),
            codes: CodeTable::default(),
            rules: Vec::new(),
            salt,
            parts: HashMap::new(),
            done: HashSet::new(),
            numbers: BTreeMap::new(),
            waiting: Vec::new(),
            waiting_len: 0,
            attested: HashMap::new(),
            batch: Batch::default(),
            report: ImportReport::default(),
        };
        import.take_up(past).await?;
        Ok(import)
    }

    /// Refuses documents that break a site's rules, before anything of them is sealed.
    #[must_use]
    pub fn checked_by(mut self, compliance: Compliance) -> Self {
        self.compliance = compliance;
        self
    }

    /// Sorts documents by a site's table of sensitive codes in place of the built-in one. A patient takes
    /// what is sorted more strictly than by their own table, and refuses what is sorted less so. The table
    /// must stay the same until an import that was interrupted is complete.
    #[must_use]
    pub fn sorted_by(mut self, codes: CodeTable) -> Self {
        self.codes = codes;
        self
    }

    /// Proposes elements of some types as records of their own, too: a presentation of them, which proves its
    /// author as the whole document does. The rules must stay the same until an import that was interrupted is
    /// complete.
    #[must_use]
    pub fn with_parts(mut self, rules: Vec<PartRule>) -> Self {
        self.rules = rules;
        self
    }

    /// Imports the documents, each split into one record per encounter and category. A document that is
    /// refused is named in the report and does not stop the others.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Copy`], [`Error::Storage`], [`Error::Chain`], [`Error::Sign`]: the import stopped.
    /// Begin it again with what the journal holds, and the same inputs.
    pub async fn run(
        mut self,
        inputs: impl IntoIterator<Item = ImportInput>,
    ) -> Result<ImportReport, Error> {
        for ImportInput { name, body } in inputs {
            self.report.progress.inputs += 1;
            let taken = match body {
                Ok(ImportBody::Document(bytes)) => self.take_document(&bytes).await?,
                Ok(ImportBody::File(file)) => self.take_file(&file).await?,
                Err(error) => Err(Error::Crypto(galen_crypto::Error::Read(error))),
            };
            if let Err(reason) = taken {
                self.report.progress.rejected += 1;
                if self.report.rejects.len() < MAX_REJECTS {
                    self.report.rejects.push(Reject { name, reason });
                }
            }
            (self.progress)(&self.report.progress);
        }
        self.sign_waiting().await?;
        self.flush().await?;
        Ok(self.report)
    }

    /// One document. The inner error is the document's own fault.
    async fn take_document(&mut self, bytes: &Plaintext) -> Result<Result<(), Error>, Error> {
        let input = keccak256([self.salt.as_bytes().as_slice(), bytes.expose()].concat());
        if self.is_known(input) {
            return Ok(Ok(()));
        }
        if starts_signed(bytes.expose()) {
            return self.take_signed(input, bytes).await;
        }
        let document = match Document::read_with(bytes.expose(), &self.codes) {
            Ok(document) => document,
            Err(fault) => return Ok(Err(Error::Fhir(fault))),
        };
        let report = self.compliance.check(&document);
        if !report.is_good() {
            return Ok(Err(Error::NotCompliant(report)));
        }
        let drafts = document.split();
        // All or nothing of an input, as far as its own faults go.
        for draft in &drafts {
            if let Err(error) = self.contact.segment(draft.category().index()) {
                return Ok(Err(error));
            }
        }
        let count = u32::try_from(drafts.len()).unwrap_or(u32::MAX);
        let (extracts, parts) = match self.extracts(input, &drafts, count) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let mut waiting = Vec::new();
        for ((number, draft), extracts) in (0..count).zip(&drafts).zip(extracts) {
            let part = (input, number);
            let is_sealed = self.done.contains(&part);
            if is_sealed && extracts.is_empty() {
                continue;
            }
            let seed = self.seed(input, number);
            let policy = self.organization.signing_policy();
            match Unsigned::new(draft.payload(), seed, policy) {
                Ok(unsigned) => {
                    let category = draft.category().index();
                    let place = Place { part, parts, category, is_sealed, extracts };
                    waiting.push(Waiting { place, unsigned });
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        self.parts.insert(input, parts);
        for waiting in waiting {
            self.take(waiting).await?;
        }
        Ok(Ok(()))
    }

    /// A document that somebody has signed already. The inner error is its own fault.
    async fn take_signed(
        &mut self,
        input: B256,
        bytes: &Plaintext,
    ) -> Result<Result<(), Error>, Error> {
        let signed = match SignedDocument::decode(bytes.expose()) {
            Ok(signed) => signed,
            Err(error) => return Ok(Err(error)),
        };
        match self.organization.require_signed(&signed).await {
            Err(Error::Chain(error)) => return Err(error.into()),
            Err(error) => return Ok(Err(error)),
            Ok(()) => {}
        }
        let document = signed.document().expose();
        let checked = Document::read_with(document, &self.codes).map_err(Error::Fhir);
        let category = checked.and_then(|document| {
            let report = self.compliance.check(&document);
            if report.is_good() { category_of(&document) } else { Err(Error::NotCompliant(report)) }
        });
        let category = match category {
            Ok(category) => category,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = self.contact.segment(category) {
            return Ok(Err(error));
        }
        let part = (input, 0);
        let place = Place { part, parts: 1, category, is_sealed: false, extracts: Vec::new() };
        self.seal_signed(place, &signed).await?;
        self.parts.insert(input, 1);
        Ok(Ok(()))
    }

    /// The extracts that are still to be made of each draft, and the number of parts with all extracts: they are
    /// counted behind the drafts.
    fn extracts(
        &self,
        input: B256,
        drafts: &[Draft<'_>],
        count: u32,
    ) -> Result<(Vec<Extracts>, u32), Error> {
        let mut next = count;
        let mut extracts = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let mut own = Vec::new();
            for rule in self.rules.iter().filter(|rule| rule.is_for(draft)) {
                self.contact.segment(rule.category.index())?;
                let part = (input, next);
                next =
                    next.checked_add(1).ok_or(Error::Invalid("the document has too many parts"))?;
                if !self.done.contains(&part) {
                    own.push((part, rule.clone()));
                }
            }
            extracts.push(own);
        }
        Ok((extracts, next))
    }

    /// A document that is to be signed: sealed at once if it was signed before the import was interrupted.
    async fn take(&mut self, waiting: Waiting) -> Result<(), Error> {
        self.done.insert(waiting.place.part);
        if let Some(attested) = self.attested.get(&waiting.unsigned.root).cloned() {
            return self.seal_attested(&attested, waiting).await;
        }
        self.waiting_len += waiting.unsigned.document.expose().len();
        self.waiting.push(waiting);
        self.make_room().await
    }

    /// Signs what waits once it is enough for a proposal, or too much for memory.
    async fn make_room(&mut self) -> Result<(), Error> {
        let full = self.waiting.len() + self.batch.len() >= MAX_LEAVES;
        if full || self.waiting_len >= MAX_WAITING_LEN { self.sign_waiting().await } else { Ok(()) }
    }

    /// Signs all that waits with one signature, writes that down, and seals it.
    async fn sign_waiting(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_len = 0;
        let roots: Vec<B256> = waiting.iter().map(|waiting| waiting.unsigned.root).collect();
        let (seed, account) = (self.batch_seed(&roots), self.organization.account());
        let attested = self.organization.galen().attest(account, &roots, &seed).await?;
        self.write(&JournalEntry::Attested {
            rotations: attested.rotations,
            issued: attested.issued,
            roots,
            signature: attested.signature.clone(),
        })?;
        for waiting in waiting {
            self.seal_attested(&attested, waiting).await?;
        }
        Ok(())
    }

    async fn seal_attested(&mut self, attested: &Attested, waiting: Waiting) -> Result<(), Error> {
        let Waiting { place, unsigned } = waiting;
        let signed = attested.seal_in(unsigned, self.organization.signing_policy());
        let signed = signed.ok_or(Error::Invalid("a document was not signed"))?;
        self.seal_signed(place, &signed).await
    }

    /// Seals a document, and the extracts of it.
    async fn seal_signed(&mut self, place: Place, signed: &SignedDocument) -> Result<(), Error> {
        let Place { part, parts, category, is_sealed, extracts } = place;
        if !is_sealed {
            self.seal_record(part, parts, NewRecord::signed(category, signed)).await?;
        }
        for (part, rule) in extracts {
            if let Some(shown) = extract(signed, &rule)? {
                let record = NewRecord::presentation(rule.category.index(), &shown);
                self.seal_record(part, parts, record).await?;
            }
        }
        Ok(())
    }

    async fn seal_record(
        &mut self,
        part: Part,
        parts: u32,
        record: NewRecord,
    ) -> Result<(), Error> {
        let key = self.next_key(record.category).await?;
        let first = (LeafKind::New, VersionId::default());
        let sealed = self.organization.seal(&self.contact, key, &record, first).await?;
        self.add(part, parts, record.category, sealed, key).await
    }

    /// The seed of a part's tree: the same again, as long as the journal lasts.
    fn seed(&self, input: B256, part: u32) -> Seed {
        Seed::new(*self.organization.keys().parts_seed(self.salt, input, part))
    }

    /// The seed of the tree over documents that are signed together.
    fn batch_seed(&self, roots: &[B256]) -> Seed {
        self.seed(keccak256(roots.concat()), u32::MAX)
    }

    /// One file of any type. The inner error is the file's own fault.
    async fn take_file(&mut self, file: &AttachedFile) -> Result<Result<(), Error>, Error> {
        if let Err(error) = self.contact.segment(file.category) {
            return Ok(Err(error));
        }
        let salt = random_salt()?;
        let committed = match self.organization.commit_file(file, salt).await {
            Err(error) if is_of_the_file(&error) => return Ok(Err(error)),
            other => other?,
        };
        // The pass that commits gives the hash that the file is known by, so that no other pass is needed.
        let input = file_hash(self.salt, file, &committed);
        if self.is_known(input) {
            return Ok(Ok(()));
        }
        let key = self.next_key(file.category).await?;
        let sealed =
            match self.organization.seal_file(&self.contact, key, file, salt, committed).await {
                Err(error) if is_of_the_file(&error) => return Ok(Err(error)),
                other => other?,
            };
        self.add((input, 0), 1, file.category, sealed, key).await?;
        self.parts.insert(input, 1);
        self.make_room().await?;
        Ok(Ok(()))
    }

    /// Whether all parts of an input are done; counts it then.
    fn is_known(&mut self, input: B256) -> bool {
        let known = self
            .parts
            .get(&input)
            .is_some_and(|parts| (0..*parts).all(|part| self.done.contains(&(input, part))));
        self.report.progress.known += usize::from(known);
        known
    }

    /// A new record in a category.
    async fn next_key(&mut self, category: u8) -> Result<RecordKey, Error> {
        let (segment, patient) = (self.contact.segment(category)?, self.contact.patient());
        let organization = self.organization;
        let number = organization.next_number(&mut self.numbers, patient, segment).await?;
        Ok(RecordKey { patient, author: organization.id(), segment, number })
    }

    /// Writes down a part that is sealed and staged, begins to send it, and proposes when there are enough.
    async fn add(
        &mut self,
        part: Part,
        parts: u32,
        category: u8,
        (leaf, len): (Leaf, u64),
        key: RecordKey,
    ) -> Result<(), Error> {
        let (input, index) = part;
        self.write(&JournalEntry::Sealed { input, part: index, parts, leaf, len })?;
        let storage = self.organization.galen().storage_for(category);
        self.batch.push(storage, (leaf, len), key).await?;
        self.done.insert(part);
        self.report.progress.records += 1;
        self.report.progress.sealed_bytes += len;
        if self.batch.len() == MAX_LEAVES { self.flush().await } else { Ok(()) }
    }

    /// Waits for the content of what is collected, signs, writes the signature down, sends it, and writes that
    /// down.
    async fn flush(&mut self) -> Result<(), Error> {
        if self.batch.len() == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let prepared = self.organization.sign(&self.contact, batch, self.policy).await?;
        let SignedProposal { message, signature } = &prepared.signed;
        self.write(&JournalEntry::Signed {
            rotations: message.rotations,
            deadline: message.deadline.to(),
            policy: message.policy,
            leaves: prepared.leaves.clone(),
            signature: signature.clone(),
        })?;
        self.announce(prepared).await?;
        // An import may last longer than an epoch.
        self.contact = self.organization.refreshed(&self.contact).await?;
        Ok(())
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
}

/// The category that a signed document belongs to, whole: it cannot be split any more.
fn category_of(document: &Document<'_>) -> Result<u8, Error> {
    let drafts = document.split();
    let whole = drafts.iter().map(Draft::category).find(|category| document.fits(*category));
    let whole = whole.ok_or(Error::Invalid("a signed document is of one category"))?;
    Ok(whole.index())
}

/// What a file is known by in the journal. The same bytes under another media type or category are another record.
fn file_hash(salt: Salt, file: &AttachedFile, committed: &Committed) -> B256 {
    let mut hash = Keccak256::new();
    hash.update(salt.as_bytes());
    hash.update(keccak256("galen.import.file.v1"));
    hash.update(committed.sha256);
    hash.update(committed.len.to_be_bytes());
    hash.update([file.category]);
    hash.update(file.media_type.as_str());
    hash.finalize()
}

/// Whether the file is at fault: unreadable, changed between the two passes over it, or too long.
const fn is_of_the_file(error: &Error) -> bool {
    use galen_crypto::Error as Fault;
    let Error::Crypto(fault) = error else { return false };
    matches!(fault, Fault::Read(_) | Fault::SourceChanged | Fault::PayloadTooLong { .. })
}

/// What a rule shows of a document; `None` if nothing of it is there.
fn extract(signed: &SignedDocument, rule: &PartRule) -> Result<Option<Presentation>, Error> {
    let tree = signed.tree()?;
    let shown = match tree.select(&rule.selection()) {
        Ok(shown) if shown.unmatched().len() < rule.elements.len() => shown,
        Ok(_) | Err(PartsError::NothingShown) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Presentation::new(signed, &shown)))
}
