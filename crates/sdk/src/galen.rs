//! The front door, and what all roles share.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use alloy_primitives::{Address, B256, Bytes};
use galen_chain::{Account, ChainError, Ledger, Sent};
use galen_crypto::{
    Header, IdentityPublic, KeyBundle, MediaType, OpenError, OpenKey, Opened, PatientKeys,
    RootSeed, SealContext,
};
use galen_index::{
    AuditReport, Chart, ContentEntry, HistoryOptions, KeyEntry, Organization as Member, Version,
    View,
};
use galen_storage::Storage;
use galen_types::{ContentRef, ErrorKind, KeyBundleId, LedgerId, RecordKey};
use tokio::sync::Mutex;

use crate::{
    Error, attachment::ReaderKey, grantee::Grantee, organization::Organization, patient::Patient,
};

/// Longest record that is opened in memory, in bytes of sealed content.
pub const MAX_RECORD_LEN: u64 = 256 << 20;

/// Seconds that a signature holds which is sent to the chain at once.
const SIGNATURE_LIFETIME: u64 = 3_600;

/// Seconds that an envelope may be on its way: people carry it by mail, paper or hand.
pub const ENVELOPE_LIFETIME: u64 = 30 * 24 * 3_600;

/// Longest key bundle that is fetched, in bytes.
const MAX_BUNDLE_LEN: u64 = 330_000;

/// Key bundles that are kept in memory.
const MAX_BUNDLES: usize = 32;

/// Media type of the records that Galen itself makes.
pub(crate) const FHIR_JSON: &str = "application/fhir+json";

/// Who somebody is: an account that signs, and the seed of all their other keys.
///
/// The two are independent: the account's key never encrypts, the seed never signs.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) account: Account,
    pub(crate) keys: PatientKeys,
}

impl Identity {
    /// Joins an account and a seed. One seed serves many pseudonyms, since each key takes the
    /// pseudonym as an input.
    pub fn new(account: Account, seed: &RootSeed) -> Self {
        let keys = seed.pseudonym(account.id());
        Self { account, keys }
    }

    /// The id.
    pub const fn id(&self) -> Address {
        self.account.id()
    }

    /// The account that signs.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The keys that are derived from the seed.
    pub const fn keys(&self) -> &PatientKeys {
        &self.keys
    }

    /// Whether a published bundle names the keys of this identity, and not those of another seed.
    pub fn is_of(&self, bundle: &KeyBundle) -> bool {
        bundle.id == self.id() && bundle.identity == *self.keys.identity().public()
    }
}

/// One network: a ledger, a content store, and what the ledger says so far. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Galen {
    pub(crate) ledger: Ledger,
    pub(crate) storage: Storage,
    /// Where new content of a category goes, if not where `storage` sends it.
    routes: Arc<BTreeMap<u8, Storage>>,
    view: Arc<Mutex<View>>,
    /// Key bundles that were fetched: what a name stands for never changes.
    bundles: Arc<Mutex<BTreeMap<KeyBundleId, Arc<KeyBundle>>>>,
}

impl Galen {
    /// A network. `ledger` must have somebody who pays, see [`Ledger::paid_by`], for everything but
    /// reading.
    pub fn new(ledger: Ledger, storage: Storage) -> Self {
        Self::with_history(ledger, storage, HistoryOptions::default())
    }

    /// As [`Galen::new`], with a say in how the history is read and where it is kept.
    pub fn with_history(ledger: Ledger, storage: Storage, options: HistoryOptions) -> Self {
        let view = Arc::new(Mutex::new(View::open(&ledger, options)));
        Self { ledger, storage, routes: Arc::default(), view, bundles: Arc::default() }
    }

    /// Sends new content of a category elsewhere: `storage` is [`Storage::keeping_in`] of the store that the
    /// network was made with. All content is read from the places of that one.
    #[must_use]
    pub fn with_route(mut self, category: u8, storage: Storage) -> Self {
        Arc::make_mut(&mut self.routes).insert(category, storage);
        self
    }

    /// What an organization does.
    pub fn organization(&self, identity: Identity) -> Organization {
        Organization::new(self.clone(), identity)
    }

    /// What a patient does under one pseudonym.
    pub fn patient(&self, identity: Identity) -> Patient {
        Patient::new(self.clone(), identity)
    }

    /// What somebody does who was granted something.
    pub fn grantee(&self, identity: Identity) -> Grantee {
        Grantee::new(self.clone(), identity)
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The content store.
    pub const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The store that new content of a category goes to.
    pub fn storage_for(&self, category: u8) -> &Storage {
        self.routes.get(&category).unwrap_or(&self.storage)
    }

    /// The history of a chart, compared with its head on chain.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn audit(&self, patient: Address) -> Result<AuditReport, Error> {
        // The slot is read between two looks at the blocks, so that an entry in between is not
        // mistaken for a gap.
        for _ in 0..3 {
            let slot = self.ledger.chart(patient).await?;
            let consents = self.ledger.consents(patient).await?;
            let report = self
                .with_view(|view| {
                    let nothing = Chart::default();
                    let chart = view.chart(patient).unwrap_or(&nothing);
                    AuditReport::new(patient, chart, &slot, &consents, view.mode())
                })
                .await?;
            let unchanged = self.ledger.chart(patient).await? == slot
                && self.ledger.consents(patient).await? == consents;
            if report.complete || unchanged {
                return Ok(report);
            }
        }
        Err(Error::Invalid("the chart changes faster than it can be read"))
    }

    /// Looks at a chart as of the newest block.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn with_chart<T>(
        &self,
        patient: Address,
        look: impl FnOnce(&Chart) -> T,
    ) -> Result<T, Error> {
        let nothing = Chart::default();
        self.with_view(|view| look(view.chart(patient).unwrap_or(&nothing))).await
    }

    /// Looks at everything that the ledger says, as of the newest block.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn with_view<T>(&self, look: impl FnOnce(&View) -> T) -> Result<T, Error> {
        let mut view = self.view.lock().await;
        view.sync().await?;
        Ok(look(&view))
    }

    /// As [`Galen::with_view`], with the Unix second of the newest block. Fails if the view could not be brought to
    /// the block that the node named as its newest, for whoever must not look at an older one.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn with_head<T>(&self, look: impl FnOnce(&View, u64) -> T) -> Result<T, Error> {
        let mut view = self.view.lock().await;
        let head = view.sync().await?.head;
        let tip = view.tip().filter(|tip| tip.number >= head);
        let tip = tip.ok_or(ChainError::Behind { head: view.next_block(), verified: head })?;
        let time = self.ledger.blocks().time(tip).await?;
        let time = time.ok_or(ChainError::Reorganized { block: tip.number })?;
        Ok(look(&view, time))
    }

    /// Members and former members of the network.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        self.with_view(|view| view.organizations().collect()).await
    }

    /// The current key bundle of an id, checked against the hash on the ledger.
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if there is none, or the store has another one.
    pub async fn keys_of(&self, id: Address) -> Result<KeyBundle, Error> {
        self.bundle_of(id).await.map(Arc::unwrap_or_clone)
    }

    /// As [`Galen::keys_of`].
    pub(crate) async fn bundle_of(&self, id: Address) -> Result<Arc<KeyBundle>, Error> {
        let entry = self.with_chart(id, |chart| chart.keys().last().copied()).await?;
        self.bundle_at(id, entry.ok_or(Error::NoKeys(id))?).await
    }

    /// A key bundle that an id published, the current one or one before it.
    pub(crate) async fn keys_named(
        &self,
        id: Address,
        name: KeyBundleId,
    ) -> Result<Arc<KeyBundle>, Error> {
        let find = |chart: &Chart| chart.keys().iter().rfind(|it| it.bundle == name).copied();
        self.bundle_at(id, self.with_chart(id, find).await?.ok_or(Error::NoKeys(id))?).await
    }

    async fn bundle_at(&self, id: Address, entry: KeyEntry) -> Result<Arc<KeyBundle>, Error> {
        let known = self.bundles.lock().await.get(&entry.bundle).cloned();
        if let Some(bundle) = known.filter(|bundle| bundle.id == id) {
            return Ok(bundle);
        }
        let bytes = self.storage.get(&entry.content, MAX_BUNDLE_LEN).await?;
        let bundle = KeyBundle::decode(&bytes)?;
        if bundle.id != id || bundle.id() != entry.bundle {
            return Err(Error::NoKeys(id));
        }
        let bundle = Arc::new(bundle);
        let mut bundles = self.bundles.lock().await;
        if bundles.len() >= MAX_BUNDLES {
            bundles.clear();
        }
        bundles.insert(entry.bundle, Arc::clone(&bundle));
        Ok(bundle)
    }

    pub(crate) async fn identity_of(&self, id: Address) -> Result<IdentityPublic, Error> {
        Ok(self.keys_of(id).await?.identity)
    }

    /// Publishes the public key of somebody who has no segments.
    pub(crate) async fn publish_identity(&self, identity: &Identity) -> Result<(), Error> {
        let bundle = KeyBundle {
            id: identity.id(),
            epoch: 0,
            identity: identity.keys.identity().public().clone(),
            segments: BTreeMap::new(),
        };
        self.publish(&identity.account, &bundle).await?;
        Ok(())
    }

    /// Publishes a bundle that extends the current one of its id, if it is not the current one.
    pub(crate) async fn publish(
        &self,
        account: &Account,
        bundle: &KeyBundle,
    ) -> Result<Option<Sent>, Error> {
        let id = bundle.id();
        let current = self.with_chart(account.id(), |chart| chart.keys().last().copied()).await?;
        let previous = current.map_or_else(KeyBundleId::default, |entry| entry.bundle);
        if previous == id {
            return Ok(None);
        }
        let content = self.storage.put_bytes(bundle.encode()).await?;
        let deadline = self.deadline().await?;
        Ok(Some(self.ledger.publish_keys(account, previous, id, content, deadline).await?))
    }

    /// What holds for every envelope: it is for this ledger, in time, and signed by the patient.
    pub(crate) async fn require_envelope(
        &self,
        ledger: LedgerId,
        patient: Address,
        digest: B256,
        deadline: u64,
        signature: &Bytes,
    ) -> Result<(), Error> {
        if ledger != self.id() {
            return Err(Error::Envelope("it is for another ledger"));
        }
        if self.time().await? > deadline {
            return Err(Error::Envelope("its signature is out of date"));
        }
        Ok(self.ledger.require_signed(patient, digest, signature).await?)
    }

    /// Hands an id to another key or wallet, which signs too. The controller before is powerless from then
    /// on, and so is everything that it signed and that has not landed. If the id has guardians, this
    /// starts the wait.
    ///
    /// The seed stays: the id goes on as `Identity::new(successor.for_id(id), seed)`.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Sign`].
    pub async fn rotate(&self, identity: &Identity, successor: &Account) -> Result<Sent, Error> {
        let deadline = self.deadline().await?;
        Ok(self.ledger.rotate(&identity.account, successor, deadline).await?)
    }

    /// Keeps an envelope in the content store, so that a short text tells where it lies. Only its
    /// recipient can open it; see [`Grantee::accept_at`].
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn deliver(&self, envelope: Vec<u8>) -> Result<ContentRef, Error> {
        Ok(self.storage.put_bytes(envelope).await?)
    }

    /// Unix second to count deadlines from: the time of the newest block or of this machine, whichever
    /// is later.
    ///
    /// The newest block of an idle development chain is old, and the next one is not; a chain whose time
    /// was advanced is ahead of the machine.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn time(&self) -> Result<u64, ChainError> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Ok(self.ledger.now().await?.max(clock))
    }

    /// Last Unix second at which a signature made now holds.
    pub(crate) async fn deadline(&self) -> Result<u64, ChainError> {
        Ok(self.time().await? + SIGNATURE_LIFETIME)
    }

    /// Last Unix second at which an envelope made now is believed.
    pub(crate) async fn envelope_deadline(&self) -> Result<u64, ChainError> {
        Ok(self.time().await? + ENVELOPE_LIFETIME)
    }

    pub(crate) const fn id(&self) -> LedgerId {
        self.ledger.id()
    }

    pub(crate) fn context(&self, record: &RecordKey, version: &galen_types::Leaf) -> SealContext {
        SealContext { ledger: self.id(), record: record.id(), commitment: version.commitment }
    }

    /// Opens the newest content of a version that opens to its commitment.
    pub(crate) async fn open_version(
        &self,
        record: &RecordKey,
        version: &Version,
        key: OpenKey<'_>,
    ) -> Result<(ContentRef, Opened), Error> {
        self.open_newest(record, version, |_, _| Ok(key)).await
    }

    /// As [`Galen::open_version`], with keys of which each opens some contents.
    pub(crate) async fn open_with(
        &self,
        record: &RecordKey,
        version: &Version,
        key: &ReaderKey,
    ) -> Result<(ContentRef, Opened), Error> {
        self.open_newest(record, version, |content, header| key.open_key(content, header)).await
    }

    async fn open_newest<'k>(
        &self,
        record: &RecordKey,
        version: &Version,
        key: impl Fn(&ContentRef, &Header) -> Result<OpenKey<'k>, OpenError>,
    ) -> Result<(ContentRef, Opened), Error> {
        let context = self.context(record, &version.leaf);
        let mut failed = None;
        for ContentEntry { content, .. } in version.contents.iter().rev() {
            match self.storage.get(content, MAX_RECORD_LEN).await {
                Ok(sealed) => {
                    let key = Header::parse(&sealed).and_then(|header| key(content, &header));
                    if let Ok(opened) =
                        key.and_then(|key| galen_crypto::open(&sealed, context, key))
                    {
                        return Ok((*content, opened));
                    }
                }
                Err(error) => failed = Some(graver(failed, error.into())),
            }
        }
        Err(failed.unwrap_or(Error::DoesNotOpen(context.record)))
    }
}

/// Which of two faults is to be told: that bytes are wrong rather than that a place is silent, and that rather than
/// that old content is gone, which is as it should be after a reseal.
pub(crate) fn graver(first: Option<Error>, second: Error) -> Error {
    let weight = |error: &Error| match error.kind() {
        ErrorKind::Integrity => 3,
        ErrorKind::Unavailable => 2,
        ErrorKind::NotFound => 0,
        _ => 1,
    };
    match first {
        Some(first) if weight(&first) >= weight(&second) => first,
        _ => second,
    }
}

/// What a thread or task gave back. A panic there goes on here.
pub(crate) fn joined<T>(work: Result<T, tokio::task::JoinError>) -> Result<T, Error> {
    work.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Error::Invalid("the runtime shuts down"),
    })
}

pub(crate) fn fhir_json() -> MediaType {
    FHIR_JSON.parse().expect("a printable ASCII text of less than 128 bytes")
}
