//! What a custodian writes down, so that whatever ends it, it goes on where it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::Address;
use galen_types::{ContentRef, LedgerId, RecordId, VersionId};
use serde::{Deserialize, Serialize};

use crate::{Error, Journal};

/// A line of a custodian's journal. Holds no health data and no secret: the ledger names the same things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum CustodyEntry {
    /// The first line.
    Begun {
        /// The ledger.
        ledger: LedgerId,
        /// Whose chart.
        patient: Address,
    },
    /// New content is sealed. It gets its name on this machine only after this line, so that none is forgotten.
    Sealed {
        /// The record.
        record: RecordId,
        /// The version that it is content of.
        version: VersionId,
        /// The newest content of that version then.
        before: ContentRef,
        /// The new content.
        after: ContentRef,
        /// The epoch that it is sealed under.
        epoch: u32,
    },
    /// These contents lie where they belong and open. Their announcement may have been sent.
    Announcing {
        /// The new contents.
        contents: Vec<ContentRef>,
        /// Last Unix second at which the announcement can still land.
        deadline: u64,
    },
    /// The ledger names the new content.
    Announced {
        /// The new content.
        content: ContentRef,
    },
    /// Nobody needs the content, and every place has let go of it.
    Released {
        /// The content.
        content: ContentRef,
    },
    /// A record was erased by whose journal this is: it is never sealed again, and places that kept its content are asked again.
    Erased {
        /// The record.
        record: RecordId,
    },
}

/// New content that the ledger does not name yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Underway {
    pub(crate) record: RecordId,
    pub(crate) version: VersionId,
    pub(crate) before: ContentRef,
    pub(crate) after: ContentRef,
    pub(crate) epoch: u32,
    /// Until when an announcement can land; 0 if none was sent.
    pub(crate) until: u64,
}

/// What a custodian has under way for one chart, with the journal that survives it. Cheap to clone.
#[derive(Clone)]
pub struct Custody {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    ledger: LedgerId,
    patient: Address,
    journal: Box<dyn Journal<CustodyEntry>>,
    underway: BTreeMap<ContentRef, Underway>,
    released: BTreeSet<ContentRef>,
    erased: BTreeSet<RecordId>,
    /// Why a line could not be written. It may be there in half, so none follows it.
    broken: Option<io::ErrorKind>,
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let counts = (inner.underway.len(), inner.released.len(), inner.erased.len());
        write!(f, "Custody({} under way, {} released, {} erased)", counts.0, counts.1, counts.2)
    }
}

impl Custody {
    /// Takes up what a journal says, or begins one. Only one process may have a journal at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the journal is of another chart, [`Error::Journal`].
    pub fn open(
        ledger: LedgerId,
        patient: Address,
        journal: Box<dyn Journal<CustodyEntry>>,
        past: &[CustodyEntry],
    ) -> Result<Self, Error> {
        let begun = CustodyEntry::Begun { ledger, patient };
        let mut inner = Inner {
            ledger,
            patient,
            journal,
            underway: BTreeMap::new(),
            released: BTreeSet::new(),
            erased: BTreeSet::new(),
            broken: None,
        };
        match past.first() {
            None => inner.journal.append(&begun).map_err(Error::Journal)?,
            Some(first) if *first == begun => past.iter().for_each(|entry| inner.apply(entry)),
            Some(_) => return Err(Error::Invalid("the custodian's journal is of another chart")),
        }
        Ok(Self { inner: Arc::new(Mutex::new(inner)) })
    }

    /// The shortest journal that says the same.
    pub fn entries(&self) -> Vec<CustodyEntry> {
        let inner = self.lock();
        let (ledger, patient) = (inner.ledger, inner.patient);
        let mut entries = vec![CustodyEntry::Begun { ledger, patient }];
        for Underway { record, version, before, after, epoch, until } in
            inner.underway.values().copied()
        {
            entries.push(CustodyEntry::Sealed { record, version, before, after, epoch });
            if until > 0 {
                let contents = vec![after];
                entries.push(CustodyEntry::Announcing { contents, deadline: until });
            }
        }
        let released = inner.released.iter();
        entries.extend(released.map(|content| CustodyEntry::Released { content: *content }));
        entries.extend(inner.erased.iter().map(|record| CustodyEntry::Erased { record: *record }));
        entries
    }

    /// New contents that the ledger does not name yet: nobody else knows that they are needed.
    pub fn unfinished(&self) -> Vec<ContentRef> {
        self.lock().underway.keys().copied().collect()
    }

    /// Whether a record was erased.
    pub fn is_erased(&self, record: RecordId) -> bool {
        self.lock().erased.contains(&record)
    }

    pub(crate) fn has_erased(&self) -> bool {
        !self.lock().erased.is_empty()
    }

    pub(crate) fn underway(&self) -> Vec<Underway> {
        self.lock().underway.values().copied().collect()
    }

    pub(crate) fn is_released(&self, content: &ContentRef) -> bool {
        self.lock().released.contains(content)
    }

    /// Writes an entry down durably; only then it holds. After a failure nothing more is written: what is on disk is
    /// to be read anew first.
    pub(crate) fn note(&self, entry: &CustodyEntry) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(kind) = inner.broken {
            return Err(kind.into());
        }
        inner.journal.append(entry).inspect_err(|error| inner.broken = Some(error.kind()))?;
        inner.apply(entry);
        Ok(())
    }

    /// Why the journal can no longer be written, if it cannot.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        self.lock().broken.map(Into::into)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn apply(&mut self, entry: &CustodyEntry) {
        match entry {
            CustodyEntry::Begun { .. } => {}
            CustodyEntry::Sealed { record, version, before, after, epoch } => {
                let (record, version, before, after) = (*record, *version, *before, *after);
                let underway = Underway { record, version, before, after, epoch: *epoch, until: 0 };
                self.underway.insert(after, underway);
            }
            CustodyEntry::Announcing { contents, deadline } => {
                for content in contents {
                    if let Some(underway) = self.underway.get_mut(content) {
                        // An earlier announcement may still be on its way, too.
                        underway.until = underway.until.max(*deadline);
                    }
                }
            }
            CustodyEntry::Announced { content } => {
                self.underway.remove(content);
            }
            CustodyEntry::Released { content } => {
                self.underway.remove(content);
                self.released.insert(*content);
            }
            CustodyEntry::Erased { record } => {
                self.erased.insert(*record);
            }
        }
    }
}
