//! Forgetting a record: every copy of its content that can be reached goes, and with them its keys and salts.
//!
//! The data key of sealed content lies nowhere but in the header of that content, wrapped, and the salt of its
//! commitment nowhere but inside. So where no copy is left, what the ledger says of the record opens nothing and
//! tells nothing: a salted hash and addresses of bytes that are gone. Whoever kept a copy keeps it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use galen_storage::{Depth, Presence, Storage, StorageError};
use galen_types::{Commitment, ContentRef, RecordId};

use crate::{
    Contact, Custody, CustodyEntry, Error, Galen, Organization, Patient, custodian::Keeper,
};

/// What the chain and this machine know of a record that is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The record.
    pub record: RecordId,
    /// Its author, who may keep the document in systems of its own.
    pub author: Address,
    /// Every content of it that the chain names or that is under way to be named.
    pub contents: Vec<ContentRef>,
    /// Those of them that another record or a key bundle needs too: they stay.
    pub shared: Vec<ContentRef>,
    /// Who read it and when last, in Unix seconds: they have seen it, and may have kept it.
    pub readers: Vec<(Address, u64)>,
}

/// What became of one content at one place.
#[derive(Debug)]
pub struct ErasedContent {
    /// The content.
    pub content: ContentRef,
    /// The place.
    pub place: String,
    /// What became of it.
    pub state: ErasedState,
}

/// What a place did.
#[derive(Debug)]
pub enum ErasedState {
    /// It was a file on this machine, and is removed.
    Removed,
    /// The place keeps it for us no longer, and does not have it any more.
    LetGo,
    /// The place keeps it for us no longer, but still hands it out: others may keep it there, or it has not yet
    /// thrown it away.
    StillThere,
    /// It was not there.
    NotThere,
    /// The place is only read from, and has it: nothing can be removed there.
    ReadOnly,
    /// The place refused, or did not answer.
    Failed(StorageError),
}

impl ErasedState {
    /// The word for machines: stable, lowercase.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::LetGo => "let-go",
            Self::StillThere => "still-there",
            Self::NotThere => "not-there",
            Self::ReadOnly => "read-only",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the content is gone from the place.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Removed | Self::LetGo | Self::NotThere)
    }
}

/// What came of forgetting one record.
#[derive(Debug)]
pub struct Erased {
    /// What there was.
    pub erasure: Erasure,
    /// By content and place.
    pub contents: Vec<ErasedContent>,
    /// Copies of its own that an author removed.
    pub copies: usize,
}

impl Patient {
    /// What forgetting a record would concern. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`], [`Error::Chain`].
    pub async fn erasure(&self, record: RecordId, custody: &Custody) -> Result<Erasure, Error> {
        erasure(self, record, custody).await
    }

    /// Forgets a record: writes down that it is to go, then removes every content of it from every place that lets
    /// us, from what is staged and from what is under way. What did not let go is asked again by the custodian.
    ///
    /// Nothing brings the record back, and the chain goes on saying that there was one.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`], [`Error::Journal`]: nothing was removed then. What places did is in the result.
    pub async fn erase(&self, record: RecordId, custody: &Custody) -> Result<Erased, Error> {
        let erasure = erasure(self, record, custody).await?;
        custody.note(&CustodyEntry::Erased { record }).map_err(Error::Journal)?;
        let contents = erase_contents(self.galen(), &erasure, custody).await?;
        Ok(Erased { erasure, contents, copies: 0 })
    }
}

impl Organization {
    /// As [`Patient::erasure`], for one of the organization's own records in a patient's chart.
    ///
    /// # Errors
    ///
    /// As [`Patient::erasure`]; [`Error::Invalid`] if the record is another author's.
    pub async fn erasure(
        &self,
        contact: &Contact,
        record: RecordId,
        custody: &Custody,
    ) -> Result<Erasure, Error> {
        erasure(&self.author(contact).await?, record, custody).await
    }

    /// As [`Patient::erase`], for one of the organization's own records in a patient's chart: its own copies of it go
    /// first, then every content of it at every place of its own settings. What the patient keeps elsewhere stays.
    ///
    /// # Errors
    ///
    /// As [`Organization::erasure`]; [`Error::Journal`], [`Error::Copy`].
    pub async fn erase(
        &self,
        contact: &Contact,
        record: RecordId,
        custody: &Custody,
    ) -> Result<Erased, Error> {
        let erasure = self.erasure(contact, record, custody).await?;
        custody.note(&CustodyEntry::Erased { record }).map_err(Error::Journal)?;
        let copied = |chart: &galen_index::Chart| -> BTreeSet<Commitment> {
            let own = chart.proposals().filter(|it| it.event.author == self.id());
            let leaves = own.flat_map(|it| &it.event.leaves);
            let of_it = leaves.filter(|it| it.key(contact.patient(), self.id()).id() == record);
            of_it.map(|leaf| leaf.commitment).collect()
        };
        let copied = self.galen().with_chart(contact.patient(), copied).await?;
        let copies = self.remove_copies(contact.patient(), &copied)?;
        let contents = erase_contents(self.galen(), &erasure, custody).await?;
        Ok(Erased { erasure, contents, copies })
    }
}

async fn erasure(
    keeper: &impl Keeper,
    record: RecordId,
    custody: &Custody,
) -> Result<Erasure, Error> {
    let galen = keeper.galen();
    let named = galen.contents(keeper.patient()).await?;
    let named = named.into_iter().find(|it| it.record.id() == record);
    let named = named.ok_or(Error::NoRecord(record))?;
    if !keeper.whose().keeps(&named.record) {
        return Err(Error::Invalid("only the author of a record does this"));
    }
    let underway = custody.underway().into_iter().filter(|one| one.record == record);
    let all: BTreeSet<ContentRef> =
        named.contents.iter().map(|one| one.content).chain(underway.map(|one| one.after)).collect();
    let shared = named.contents.iter().filter(|one| one.shared).map(|one| one.content);
    let shared: BTreeSet<ContentRef> = shared.collect();
    let readers = galen.with_chart(keeper.patient(), |chart| {
        let mut readers = BTreeMap::new();
        for access in chart.accesses().iter().filter(|it| it.event.record == record) {
            readers.insert(access.event.grantee, access.at.time);
        }
        readers.into_iter().collect()
    });
    Ok(Erasure {
        record,
        author: named.record.author,
        contents: all.difference(&shared).copied().collect(),
        shared: shared.into_iter().collect(),
        readers: readers.await?,
    })
}

async fn erase_contents(
    galen: &Galen,
    erasure: &Erasure,
    custody: &Custody,
) -> Result<Vec<ErasedContent>, Error> {
    let mut contents = Vec::new();
    for content in &erasure.contents {
        let found = erase_content(galen.storage(), content).await?;
        if found.iter().all(|one| one.state.is_gone()) {
            let entry = CustodyEntry::Released { content: *content };
            custody.note(&entry).map_err(Error::Journal)?;
        }
        contents.extend(found);
    }
    Ok(contents)
}

async fn erase_content(
    storage: &Storage,
    content: &ContentRef,
) -> Result<Vec<ErasedContent>, Error> {
    let mut asked = Vec::new();
    for place in storage.places() {
        let released = match place.writable {
            true => Some(storage.release(content, &place.name).await),
            false => None,
        };
        asked.push((place, released));
    }
    storage.unstage(content).await?;
    // What a place says it let go of is not what it has no more.
    let mut erased = Vec::new();
    for (place, released) in asked {
        let there = match place.readable {
            true => storage.check_at(content, &place.name, Depth::Root).await?,
            false => Presence::Missing,
        };
        let state = state(place.local, released, there);
        erased.push(ErasedContent { content: *content, place: place.name, state });
    }
    Ok(erased)
}

/// What a place did, from what it said when it was asked to let go and what it has now.
fn state(
    local: bool,
    released: Option<Result<bool, StorageError>>,
    there: Presence,
) -> ErasedState {
    let is_there = matches!(there, Presence::Whole | Presence::Present | Presence::Damaged);
    match (released, there) {
        (None, _) if is_there => ErasedState::ReadOnly,
        (Some(Err(StorageError::NotFound(_) | StorageError::Unsupported(_)) | Ok(_)), _)
            if is_there =>
        {
            ErasedState::StillThere
        }
        (Some(Err(StorageError::NotFound(_) | StorageError::Unsupported(_))), _) => {
            ErasedState::NotThere
        }
        (Some(Err(error)), _) | (_, Presence::Failed(error)) => ErasedState::Failed(error),
        (Some(Ok(true)), _) if local => ErasedState::Removed,
        (Some(Ok(true)), _) => ErasedState::LetGo,
        (None | Some(Ok(false)), _) => ErasedState::NotThere,
    }
}
