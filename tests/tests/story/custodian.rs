//! The custodian at work, cut off at every step, beside another one, over stores that lie and chains that turn; and
//! records that are forgotten.

use std::{
    collections::BTreeSet,
    fs,
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use alloy_primitives::hex;
use galen_chain::{Finality, LedgerEvent};
use galen_crypto::{HEADER_LEN, Header, OpenKey, SealContext};
use galen_fhir::Category;
use galen_index::HistoryOptions;
use galen_sdk::{
    Custody, CustodyEntry, CustodyPolicy, CustodyReport, ErasedState, Error, Galen, Journal,
    Patient,
};
use galen_storage::{NodeOptions, PlaceKind, PlaceOptions, Storage, StorageOptions};
use galen_types::{ContentRef, ErrorKind, Purpose, RecordId};

use crate::{
    DAY, Network, document, fhir, identity,
    import::Break,
    kind,
    remote::at_a_node,
    remote::{bee::Bee, frame::Fault},
};

pub(crate) const WINDOW: u64 = 3_600;

/// When the old content of a read may go: the window and its grace.
pub(crate) const OVER: u64 = WINDOW + WINDOW / 4 + 1;

const ALWAYS: usize = usize::MAX;

/// What a custodian's machine keeps between two processes.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<CustodyEntry>>>);

struct Paper {
    notes: Notes,
    breaks: Break,
}

impl Journal<CustodyEntry> for Paper {
    fn append(&mut self, entry: &CustodyEntry) -> io::Result<()> {
        let mut notes = self.notes.0.lock().unwrap();
        let at = notes.len();
        if matches!(self.breaks, Break::Before(n) if n == at) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        notes.push(entry.clone());
        match self.breaks {
            Break::After(n) if n == at => Err(io::Error::other("broken")),
            _ => Ok(()),
        }
    }
}

impl Notes {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// What a new process has: the lines that were kept.
    pub(crate) fn open(
        &self,
        patient: &Patient,
        galen: &Galen,
        breaks: Break,
    ) -> Result<Custody, Error> {
        let lines: Vec<String> =
            self.0.lock().unwrap().iter().map(|it| serde_json::to_string(it).unwrap()).collect();
        let past: Vec<CustodyEntry> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let paper = Paper { notes: self.clone(), breaks };
        let custody = Custody::open(galen.ledger().id(), patient.id(), Box::new(paper), &past)?;
        // The short journal says what the long one does.
        let short = Paper { notes: Self::default(), breaks: Break::Never };
        let again =
            Custody::open(galen.ledger().id(), patient.id(), Box::new(short), &custody.entries())?;
        assert_eq!(again.entries(), custody.entries());
        Ok(custody)
    }
}

pub(crate) const POLICY: CustodyPolicy = CustodyPolicy { window: WINDOW, reseals: 256, moves: 2 };

/// Whose custodian works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Patient,
    Author,
}

/// When both have something to do for one read, if the other one does not.
pub(crate) const DUE: u64 = 2 * WINDOW + 1;

pub(crate) async fn pass_of(
    network: &Network,
    who: Who,
    notes: &Notes,
    breaks: Break,
) -> Result<CustodyReport, Error> {
    let custody = notes.open(&network.patient, &network.galen, breaks)?;
    match who {
        Who::Patient => network.patient.custody(&custody, &POLICY).await,
        Who::Author => network.author.custody(&network.contact, &custody, &POLICY).await,
    }
}

async fn pass_with(
    network: &Network,
    notes: &Notes,
    breaks: Break,
) -> Result<CustodyReport, Error> {
    pass_of(network, Who::Patient, notes, breaks).await
}

async fn pass(network: &Network, notes: &Notes) -> CustodyReport {
    pass_with(network, notes, Break::Never).await.unwrap()
}

pub(crate) async fn author_pass(network: &Network, notes: &Notes) -> CustodyReport {
    pass_of(network, Who::Author, notes, Break::Never).await.unwrap()
}

pub(crate) fn later(network: &Network, seconds: u64) {
    network.chain.advance_time(seconds).unwrap();
    network.chain.mine().unwrap();
}

pub(crate) async fn contents(network: &Network, id: RecordId) -> Vec<ContentRef> {
    network.record(id).await.current().contents.iter().map(|it| it.content).collect()
}

pub(crate) async fn newest(network: &Network, id: RecordId) -> ContentRef {
    *contents(network, id).await.last().unwrap()
}

/// How often the ledger was told of new content, repetitions too.
pub(crate) async fn reseals(network: &Network) -> usize {
    let count = |chart: &galen_index::Chart| {
        let events = chart.events().iter();
        events.filter(|it| matches!(it.event, LedgerEvent::Resealed(_))).count()
    };
    network.galen.with_chart(network.patient.id(), count).await.unwrap()
}

/// Files of sealed content anywhere below a directory.
pub(crate) fn kept(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_content = |path: &Path| {
            path.parent().and_then(Path::parent).is_some_and(|it| it.ends_with("swarm"))
        };
        if path.is_dir() {
            found.extend(kept(&path));
        } else if is_content(&path) {
            found.insert(path);
        }
    }
    found
}

pub(crate) async fn opens(network: &Network, id: RecordId) {
    let expected = document(Category::Vitals).payload;
    assert_eq!(fhir(&network.patient.open(id).await.unwrap()), expected.expose());
}

/// A record that was read, and its reader's grant.
pub(crate) async fn read_once() -> (Network, RecordId, galen_sdk::Grant) {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Vitals, 300 * DAY).await;
    network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
    (network, id, grant)
}

/// Whether a reader that holds the segment's key opens content: what one does whom proxies answered.
pub(crate) async fn reader_opens(network: &Network, id: RecordId, content: &ContentRef) -> bool {
    let Ok(sealed) = network.galen.storage().get(content, 1 << 20).await else { return false };
    let record = network.record(id).await;
    let commitment = record.current().leaf.commitment;
    let context = SealContext { ledger: network.galen.ledger().id(), record: id, commitment };
    let epoch = Header::parse(&sealed).unwrap().epoch();
    let key = network.keys.segment(record.key.segment, epoch);
    galen_crypto::open(&sealed, context, OpenKey::Segment(&key)).is_ok()
}

#[tokio::test]
async fn old_content_stays_while_its_reader_may_come_and_then_goes() {
    let (network, id, grant) = read_once().await;
    let notes = Notes::default();
    let files = kept(network.directory.path()).len();
    let first = newest(&network, id).await;
    assert!(network.patient.due(WINDOW).await.unwrap().is_empty());
    assert!(pass(&network, &notes).await.is_quiet(), "nothing before the window is over");

    later(&network, WINDOW + 1);
    assert_eq!(network.patient.due(WINDOW).await.unwrap(), [id]);
    let report = pass(&network, &notes).await;
    let [resealed] = &report.resealed[..] else { panic!("{report:?}") };
    assert_eq!((resealed.record, resealed.before), (id, first));
    assert_eq!((report.waiting, report.sent.len()), (1, 1), "{report:?}");
    // Whoever was answered in the last second of the window still has what was answered for.
    assert!(reader_opens(&network, id, &first).await);
    assert!(reader_opens(&network, id, &resealed.after).await);
    assert_eq!(contents(&network, id).await, [first, resealed.after]);

    later(&network, OVER - WINDOW);
    let report = pass(&network, &notes).await;
    assert_eq!(report.released, [(id, first)], "{report:?}");
    assert!(!reader_opens(&network, id, &first).await);
    assert_eq!(kept(network.directory.path()).len(), files, "one for one");
    opens(&network, id).await;
    assert!(pass(&network, &notes).await.is_quiet(), "once");

    // A record that is read again and again is sealed anew after four windows, and all that was read stays.
    let mut seen = Vec::new();
    for _ in 0..9 {
        seen.push(newest(&network, id).await);
        network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
        later(&network, WINDOW / 2 + 1);
        let report = pass(&network, &notes).await;
        assert!(report.released.is_empty(), "{report:?}");
    }
    seen.dedup();
    assert_eq!(contents(&network, id).await.len(), 3, "{seen:?}");
    assert!(reader_opens(&network, id, &seen[0]).await);
    later(&network, OVER);
    pass(&network, &notes).await;
    assert_eq!(kept(network.directory.path()).len(), files);
    opens(&network, id).await;
}

/// The journal breaks before and after each of its lines, as a full disk or a killed process does.
#[tokio::test]
async fn a_pass_that_breaks_at_any_line_loses_nothing_and_leaves_nothing() {
    for who in [Who::Patient, Who::Author] {
        breaks_at_any_line(who).await;
    }
}

async fn breaks_at_any_line(who: Who) {
    let (network, id, grant) = read_once().await;
    let notes = Notes::default();
    let pass = || async { pass_of(&network, who, &notes, Break::Never).await.unwrap() };
    pass().await;
    let files = kept(network.directory.path()).len();
    let (mut lines, mut runs) = (0, 0);
    loop {
        for is_after in [false, true] {
            let told = reseals(&network).await;
            network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
            later(&network, DUE);
            let at = notes.count() + lines;
            let breaks = if is_after { Break::After(at) } else { Break::Before(at) };
            let broken = pass_of(&network, who, &notes, breaks).await;
            opens(&network, id).await;
            let newest = newest(&network, id).await;
            assert!(
                reader_opens(&network, id, &newest).await,
                "what is named is there: {who:?} {breaks:?}"
            );
            let is_through = broken.is_ok();
            pass().await;
            let report = pass().await;
            assert!(report.is_quiet() && report.waiting == 0, "{who:?} {breaks:?}: {report:?}");
            assert_eq!(reseals(&network).await, told + 1, "announced once: {who:?} {breaks:?}");
            assert_eq!(kept(network.directory.path()).len(), files, "{who:?} {breaks:?}");
            opens(&network, id).await;
            if is_through {
                assert!(runs >= 8, "only {runs} lines");
                return;
            }
            runs += 1;
        }
        lines += 1;
    }
}

/// What comes of a future that is dropped after some of its steps.
async fn cut<T>(steps: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = steps;
    poll_fn(move |context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Dropped wherever it waits, for the disk, the chain or a node: a process that is killed there.
#[tokio::test]
async fn a_pass_that_is_cut_off_while_it_waits_goes_on() {
    for who in [Who::Patient, Who::Author] {
        cut_off(who).await;
    }
}

async fn cut_off(who: Who) {
    let (network, bee) = at_a_node().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Vitals, 3_000 * DAY).await;
    let notes = Notes::default();
    let pass = || async { pass_of(&network, who, &notes, Break::Never).await.unwrap() };
    let pins = bee.store().pins.len();
    let (mut steps, mut cuts) = (0, 0);
    loop {
        network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
        later(&network, DUE);
        let done = cut(steps, pass_of(&network, who, &notes, Break::Never)).await;
        bee.idle().await;
        opens(&network, id).await;
        let is_through = done.map(Result::unwrap).is_some();
        // What was signed and sent may not have been seen to land.
        pass().await;
        later(&network, DUE);
        pass().await;
        let report = pass().await;
        assert!(
            report.is_quiet() && report.waiting == 0,
            "{who:?} after {steps} steps: {report:?}"
        );
        assert_eq!(bee.store().pins.len(), pins, "one for one {who:?} after {steps} steps");
        opens(&network, id).await;
        if is_through {
            break;
        }
        cuts += 1;
        // The first steps are many and alike: each that is tried takes a second.
        steps += 1 + steps / 6;
    }
    assert!(cuts > 8, "only {cuts} cuts");
    let staged = kept(&network.directory.path().join("state"));
    assert!(staged.is_empty(), "{staged:?}");
}

/// A store that hands out other bytes, or kept nothing, stops the announcement, from whichever answer on.
#[tokio::test]
async fn a_store_that_lies_on_reading_back_stops_the_announcement() {
    for who in [Who::Patient, Who::Author] {
        lied_to(who).await;
    }
}

async fn lied_to(who: Who) {
    let (network, bee) = at_a_node().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Vitals, 3_000 * DAY).await;
    let notes = Notes::default();
    let pass = || async { pass_of(&network, who, &notes, Break::Never).await.unwrap() };
    let pins = bee.store().pins.len();
    let mut stopped = 0;
    for (call, fault) in [
        ("GET chunks", Fault::OtherBytes),
        ("GET bytes", Fault::OtherBytes),
        ("POST bytes", Fault::Forget),
    ] {
        for spared in 0..12 {
            network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
            later(&network, DUE);
            let told = reseals(&network).await;
            bee.fail_later(call, fault, ALWAYS, spared);
            let report = pass().await;
            bee.heal();
            let what = format!("{who:?} {call} {fault:?} after {spared}: {report:?}");
            if report.resealed.is_empty() {
                assert_eq!(reseals(&network).await, told, "{what}");
                assert!(!report.faults.is_empty(), "{what}");
                stopped += 1;
            }
            let newest = newest(&network, id).await;
            assert!(reader_opens(&network, id, &newest).await, "{what}");
            pass().await;
            pass().await;
            assert_eq!(reseals(&network).await, told + 1, "{what}");
            assert_eq!(bee.store().pins.len(), pins, "{what}");
            opens(&network, id).await;
        }
    }
    assert!(stopped > 5, "only {stopped} lies were told in time");
}

/// Two machines with one seed, each with a journal of its own, at the same time.
#[tokio::test]
async fn two_custodians_at_once_agree_in_the_end() {
    let (network, id, grant) = read_once().await;
    let (one, other) = (Notes::default(), Notes::default());
    let files = kept(network.directory.path()).len();
    for _ in 0..3 {
        network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
        later(&network, OVER);
        let (first, second) = tokio::join!(pass(&network, &one), pass(&network, &other));
        assert!(first.faults.is_empty() && second.faults.is_empty(), "{first:?} {second:?}");
        opens(&network, id).await;
        let newest = newest(&network, id).await;
        assert!(reader_opens(&network, id, &newest).await);
        for notes in [&one, &other, &one] {
            pass(&network, notes).await;
        }
        assert_eq!(kept(network.directory.path()).len(), files);
        opens(&network, id).await;
    }
}

/// A chain that takes the announcement back: what was sealed is announced again, and the old was not let go of.
#[tokio::test]
async fn a_chain_that_turns_back_costs_no_content() {
    let (network, id, _) = read_once().await;
    let options = HistoryOptions { finality: Finality::Depth(4), ..HistoryOptions::default() };
    let ledger = network.galen.ledger().clone();
    let galen = Galen::with_history(ledger, network.galen.storage().clone(), options);
    let patient = galen.patient(identity(3));
    let notes = Notes::default();
    let pass = || async {
        let custody = notes.open(&patient, &galen, Break::Never).unwrap();
        patient.custody(&custody, &POLICY).await.unwrap()
    };
    let first = newest(&network, id).await;
    later(&network, OVER);
    let report = pass().await;
    let after = report.resealed[0].after;
    assert_eq!((report.released.len(), report.waiting), (0, 1), "{report:?}");
    network.chain.reorg(1).unwrap();
    network.chain.mine().unwrap();
    assert_eq!(newest(&network, id).await, first);
    assert!(reader_opens(&network, id, &first).await);
    let report = pass().await;
    assert_eq!(report.resealed[0].after, after, "sealed once, told again: {report:?}");
    for _ in 0..5 {
        network.chain.mine().unwrap();
    }
    let report = pass().await;
    assert_eq!(report.released, [(id, first)]);
    assert!(notes.open(&patient, &galen, Break::Never).unwrap().unfinished().is_empty());
    opens(&network, id).await;
}

/// What lies under an older epoch moves by and by, though nobody read it.
#[tokio::test]
async fn content_of_older_epochs_moves() {
    let network = Network::new().await;
    let categories = [Category::Vitals, Category::Laboratory, Category::Billing];
    let ids = network.accepted(&categories).await;
    let notes = Notes::default();
    assert!(pass(&network, &notes).await.is_quiet());
    network.patient.next_epoch().await.unwrap();
    for moved in [2, 1, 0] {
        let report = pass(&network, &notes).await;
        assert_eq!(report.resealed.len(), moved, "{report:?}");
    }
    for id in ids {
        let header = newest(&network, id).await;
        let header = network.galen.storage().read_range(&header, 0..HEADER_LEN as u64).await;
        assert_eq!(Header::parse(&header.unwrap()).unwrap().epoch(), 2);
        network.patient.open(id).await.unwrap();
    }
}

/// Every file below a directory that holds one of these bytes.
pub(crate) fn holders(directory: &Path, needles: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, needles));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let has = |needle: &Vec<u8>| bytes.windows(needle.len()).any(|window| window == needle);
        if needles.iter().any(has) {
            found.push(path);
        }
    }
    found
}

fn local(directory: &Path, name: &str) -> PlaceOptions {
    let directory = directory.join(name);
    PlaceOptions { name: name.to_owned(), kind: PlaceKind::Local { directory } }
}

/// Two directories and a node; all content goes to each of them.
async fn at_three_places() -> (Network, Bee) {
    let bee = Bee::start().await;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    let node = NodeOptions { urls: vec![bee.url.clone()], token: None };
    let swarm = PlaceKind::Swarm { node, batch: None };
    let options = StorageOptions {
        directory: Some(root.join("state")),
        places: vec![
            local(&root, "a"),
            local(&root, "b"),
            PlaceOptions { name: "swarm".to_owned(), kind: swarm },
        ],
        keep_in: ["a", "b", "swarm"].map(str::to_owned).to_vec(),
        ..StorageOptions::default()
    };
    let storage = Storage::connect(options).await.unwrap();
    (Network::keeping(directory, storage, &[]).await, bee)
}

/// What tells of a record wherever it lies: its salt, its text, and headers and bodies of its sealed content.
pub(crate) async fn traces(network: &Network, id: RecordId) -> Vec<Vec<u8>> {
    let opened = network.patient.open(id).await.unwrap();
    let salt = opened.salt.as_bytes();
    let mut traces =
        vec![salt.to_vec(), hex::encode(salt).into_bytes(), fhir(&opened)[..64].to_vec()];
    for content in contents(network, id).await {
        let sealed = network.galen.storage().get(&content, 1 << 20).await.unwrap();
        traces.push(sealed[..64].to_vec());
        traces.push(sealed[HEADER_LEN..HEADER_LEN + 64].to_vec());
    }
    traces
}

#[tokio::test]
async fn what_is_erased_is_nowhere_and_what_was_not_reached_is_told() {
    let (network, bee) = at_three_places().await;
    let root = network.directory.path().to_owned();
    let ids = network.accepted(&[Category::Vitals, Category::Billing]).await;
    let (id, other) = (ids[0], ids[1]);
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
    later(&network, WINDOW + 1);
    let notes = Notes::default();
    pass(&network, &notes).await;
    let all = contents(&network, id).await;
    assert_eq!(all.len(), 2, "the old one waits, and must go as well");

    let needles = traces(&network, id).await;
    assert!(holders(&root, &needles).len() >= 4, "they are found where they are");

    // One place is away, and the swarm goes on handing it out: both are told.
    fs::rename(root.join("b"), root.join("away")).unwrap();
    fs::write(root.join("b"), "not a directory").unwrap();
    let custody = notes.open(&network.patient, &network.galen, Break::Never).unwrap();
    let erased = network.patient.erase(id, &custody).await.unwrap();
    assert_eq!(erased.erasure.readers.len(), 1);
    assert_eq!(erased.erasure.readers[0].0, network.physician.id());
    for content in &all {
        let of = |place: &str| {
            let mut found = erased.contents.iter();
            &found.find(|it| it.content == *content && it.place == place).unwrap().state
        };
        assert!(matches!(of("a"), ErasedState::Removed), "{erased:?}");
        assert!(matches!(of("b"), ErasedState::Failed(_)), "{erased:?}");
        assert!(matches!(of("swarm"), ErasedState::StillThere), "{erased:?}");
    }
    fs::remove_file(root.join("b")).unwrap();
    fs::rename(root.join("away"), root.join("b")).unwrap();
    let left = holders(&root, &needles);
    assert!(left.iter().all(|path| path.starts_with(root.join("b"))), "{left:?}");
    assert!(!left.is_empty());

    // The custodian asks the place again, and never seals the record anew, though it was read.
    bee.collect_garbage();
    let key = network.record(id).await.key;
    let (patient, consent) = (network.patient.id(), grant.consent());
    network.physician.log(patient, consent, Purpose::Treatment, &[key]).await.unwrap();
    later(&network, OVER);
    drop(custody);
    let report = pass(&network, &notes).await;
    let released: BTreeSet<ContentRef> = report.released.iter().map(|it| it.1).collect();
    assert_eq!(released, all.iter().copied().collect(), "{report:?}");
    assert!(report.resealed.is_empty() && report.faults.is_empty(), "{report:?}");
    assert_eq!(holders(&root, &needles), Vec::<PathBuf>::new());
    assert_eq!(kind(network.patient.open(id).await), ErrorKind::NotFound);
    let read = network.physician.read(&grant, Purpose::Treatment, &[id]).await;
    assert_eq!(kind(read), ErrorKind::NotFound);
    // All else is as it was.
    network.patient.open(other).await.unwrap();
    assert!(network.patient.audit().await.unwrap().complete);
    let again = notes.open(&network.patient, &network.galen, Break::Never).unwrap();
    let again = network.patient.erase(id, &again).await.unwrap();
    assert!(again.contents.iter().all(|it| it.state.is_gone()), "{again:?}");
}
