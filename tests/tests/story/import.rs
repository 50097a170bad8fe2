//! Imports that are cut off at every step: nothing is lost and nothing proposed twice.

use std::{collections::BTreeMap, fs, future::poll_fn, io, path::PathBuf, pin::pin, task::Poll};

use galen_chain::CosignPolicy;
use galen_fhir::{Category, parts::PartRule};
use galen_index::LeafState;
use galen_sdk::{
    AttachedFile, Error, Import, ImportInput, ImportProgress, ImportReport, Journal, JournalEntry,
    PRESENTATION, Presentation,
};
use galen_types::{ErrorKind, Plaintext};

use crate::{Network, document, fhir};

/// Where a journal breaks, as a process that is killed there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Break {
    Never,
    /// Before entry number n is kept.
    Before(usize),
    /// After it is kept, and before the import knows.
    After(usize),
}

struct Paper<'a> {
    entries: &'a mut Vec<JournalEntry>,
    breaks: Break,
}

impl Journal for Paper<'_> {
    fn append(&mut self, entry: &JournalEntry) -> io::Result<()> {
        let broken = Err(io::Error::other("broken"));
        match self.breaks {
            Break::Before(n) if n == self.entries.len() => broken,
            Break::After(n) if n == self.entries.len() => {
                self.entries.push(entry.clone());
                broken
            }
            _ => {
                self.entries.push(entry.clone());
                Ok(())
            }
        }
    }
}

/// Two records: a condition and a bill.
fn input(run: usize, n: usize) -> ImportInput {
    let text = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[
        {{"resource":{{"resourceType":"Condition","id":"run{run}-input{n}",
            "subject":{{"display":"somebody"}}}}}},
        {{"resource":{{"resourceType":"Coverage","id":"run{run}-input{n}","status":"active",
            "beneficiary":{{"display":"somebody"}},"payor":[{{"display":"an insurer"}}]}}}}]}}"#
    );
    ImportInput::document(format!("line {n}"), Ok(Plaintext::new(text.into_bytes())))
}

/// A scan of three megabytes and a bit, different for each run.
pub(crate) fn scan(network: &Network, run: usize) -> (AttachedFile, Vec<u8>) {
    let path = network.files.path().join(format!("run{run}.dcm"));
    let bytes: Vec<u8> =
        (0..3_000_017_usize).map(|n| ((n * (run + 3)) >> 7).to_le_bytes()[0]).collect();
    fs::write(&path, &bytes).unwrap();
    let media_type = "application/dicom".parse().unwrap();
    (AttachedFile { path, media_type, category: Category::Imaging.index() }, bytes)
}

/// Every file of sealed content that the store has.
fn kept(network: &Network) -> Vec<PathBuf> {
    let folders = fs::read_dir(network.directory.path().join("swarm")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

pub(crate) async fn import(
    network: &Network,
    inputs: Vec<ImportInput>,
    entries: &mut Vec<JournalEntry>,
    breaks: Break,
) -> Result<(ImportReport, Vec<ImportProgress>), Error> {
    import_with(network, inputs, entries, breaks, Vec::new()).await
}

/// Each bill gives a third record, which shows its id and status to every organization.
fn shown() -> Vec<PartRule> {
    let elements = ["id", "status", "dependent"].map(str::to_owned).to_vec();
    let rule =
        PartRule { resource_type: "Coverage".to_owned(), elements, category: Category::Network };
    let nothing = PartRule { elements: vec!["dependent".to_owned()], ..rule.clone() };
    vec![rule, nothing]
}

async fn import_with(
    network: &Network,
    inputs: Vec<ImportInput>,
    entries: &mut Vec<JournalEntry>,
    breaks: Break,
    rules: Vec<PartRule>,
) -> Result<(ImportReport, Vec<ImportProgress>), Error> {
    // What was kept is all that a new process has.
    let past: Vec<JournalEntry> = entries
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap())
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(past, *entries);
    let mut paper = Paper { entries, breaks };
    let (mut seen, policy) = (Vec::new(), CosignPolicy::default());
    let mut progress = |progress: &ImportProgress| seen.push(*progress);
    let (author, contact) = (&network.author, &network.contact);
    let import = Import::begin(author, contact, &policy, &past, &mut paper, &mut progress).await?;
    let report = import.with_parts(rules).run(inputs).await?;
    Ok((report, seen))
}

/// Accepts everything that waits, and says how often each input of a run is in the chart.
async fn settled(network: &Network, run: usize) -> BTreeMap<String, usize> {
    let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
    for proposal in network.patient.inbox().await.unwrap() {
        let (id, leaves) = (proposal.event.proposal, proposal.event.leaves.len());
        for index in 0..leaves {
            network.patient.examine(&proposal, index).await.unwrap();
        }
        network.patient.answer(id, 0..leaves, [], &policy, &nobody).await.unwrap();
        let states = |chart: &galen_index::Chart| chart.proposal(id).unwrap().states.clone();
        let states = network.galen.with_chart(network.patient.id(), states).await.unwrap();
        assert_eq!(states, vec![LeafState::Accepted; leaves], "run {run}: no number twice");
    }
    let mut found = BTreeMap::new();
    let records = |chart: &galen_index::Chart| -> Vec<_> {
        chart.records().map(|record| record.key).collect()
    };
    for key in network.galen.with_chart(network.patient.id(), records).await.unwrap() {
        let opened = network.patient.open(key.id()).await.unwrap();
        let shows = opened.media_type.as_str() == PRESENTATION;
        let text = if shows {
            let view =
                Presentation::decode(opened.payload.expose()).unwrap().verify().unwrap().view;
            String::from_utf8(view.expose().to_vec()).unwrap()
        } else {
            String::from_utf8(fhir(&opened).to_vec()).unwrap()
        };
        let Some(at) = text.find(&format!("run{run}-")) else { continue };
        assert!(!shows || text.contains("active") && !text.contains("somebody"), "{text}");
        let kind = match (shows, text.contains("Coverage")) {
            (true, _) => "extract",
            (false, true) => "bill",
            (false, false) => "condition",
        };
        let name: String = text[at..].chars().take_while(|char| *char != '"').collect();
        *found.entry(format!("{name} {kind}")).or_default() += 1;
    }
    found
}

fn each_once(run: usize, inputs: usize, kinds: &[&str]) -> BTreeMap<String, usize> {
    let of = |n: usize| kinds.iter().map(move |kind| (format!("run{run}-input{n} {kind}"), 1));
    (0..inputs).flat_map(of).collect()
}

/// What becomes of an input.
const KINDS: [&str; 2] = ["bill", "condition"];

/// With the rules of [`shown`].
const KINDS_AND_EXTRACT: [&str; 3] = ["bill", "condition", "extract"];

#[tokio::test]
async fn an_import_that_breaks_at_any_step_proposes_everything_once() {
    let network = Network::new().await;
    // Begun, attested, four sealed records and two extracts, signed, announced.
    const ENTRIES: usize = 10;
    let breaks = (0..ENTRIES).flat_map(|n| [Break::Before(n), Break::After(n)]);
    for (run, breaks) in breaks.enumerate() {
        let inputs = || vec![input(run, 0), input(run, 1)];
        let mut entries = Vec::new();
        let broken = import_with(&network, inputs(), &mut entries, breaks, shown()).await;
        assert!(matches!(broken, Err(Error::Journal(_))), "{breaks:?}: {broken:?}");
        let (report, _) =
            import_with(&network, inputs(), &mut entries, Break::Never, shown()).await.unwrap();
        assert!(report.rejects.is_empty());
        assert_eq!(entries.len(), ENTRIES, "{breaks:?}: nothing is done twice");
        assert_eq!(
            settled(&network, run).await,
            each_once(run, 2, &KINDS_AND_EXTRACT),
            "{breaks:?}"
        );
        // Once more changes nothing.
        let (report, _) =
            import_with(&network, inputs(), &mut entries, Break::Never, shown()).await.unwrap();
        assert_eq!((report.progress.known, report.progress.records), (2, 0), "{breaks:?}");
        assert!(network.patient.inbox().await.unwrap().is_empty(), "{breaks:?}");
    }
}

/// The same, cut off wherever it happens to wait, the chain and the store included.
#[tokio::test]
async fn an_import_that_is_dropped_while_it_waits_proposes_everything_once() {
    let network = Network::new().await;
    let (run, mut drops) = (99, 0);
    let mut entries = Vec::new();
    let inputs = || (0..3).map(|n| input(run, n)).collect();
    loop {
        let work = import_with(&network, inputs(), &mut entries, Break::Never, shown());
        match dropped_after(drops, work).await {
            Some(done) => break assert!(done.unwrap().0.rejects.is_empty()),
            None => drops += 1,
        }
    }
    assert!(drops > 1, "{drops}");
    assert_eq!(settled(&network, run).await, each_once(run, 3, &KINDS_AND_EXTRACT));
}

/// Drops `work` when it waits for the `waits`-th time after the first; `None` then.
async fn dropped_after<T>(mut waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if waits == 0 => Poll::Ready(None),
        Poll::Pending => {
            waits -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A scan is sealed once, whatever happens after it: what is staged is taken up.
#[tokio::test]
async fn an_attachment_that_breaks_at_any_step_is_sealed_and_proposed_once() {
    let network = Network::new().await;
    // Begun, sealed, signed, announced.
    const ENTRIES: usize = 4;
    let breaks = (0..ENTRIES).flat_map(|n| [Break::Before(n), Break::After(n)]);
    for (run, breaks) in breaks.enumerate() {
        let (file, bytes) = scan(&network, run);
        let inputs = || vec![ImportInput::file("scan", file.clone())];
        let (before, mut entries) = (kept(&network).len(), Vec::new());
        let broken = import(&network, inputs(), &mut entries, breaks).await;
        assert!(matches!(broken, Err(Error::Journal(_))), "{breaks:?}: {broken:?}");
        let was_sealed = entries.len() > 1;
        let (report, _) = import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
        assert!(report.rejects.is_empty(), "{breaks:?}: {:?}", report.rejects);
        assert_eq!(entries.len(), ENTRIES, "{breaks:?}: nothing is done twice");
        assert_eq!(report.progress.records, usize::from(!was_sealed), "{breaks:?}");
        // Only what was sealed and never written down is sealed twice.
        let unwritten = usize::from(matches!(breaks, Break::Before(1)));
        assert_eq!(kept(&network).len(), before + 1 + unwritten, "{breaks:?}");
        accept_scan(&network, &bytes).await;
        let (report, _) = import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
        assert_eq!((report.progress.known, report.progress.records), (1, 0), "{breaks:?}");
    }
}

/// The patient examines and accepts the one proposal that waits, and gets the very bytes.
pub(crate) async fn accept_scan(network: &Network, bytes: &[u8]) {
    let (patient, nobody) = (&network.patient, CosignPolicy::default());
    let inbox = patient.inbox().await.unwrap();
    let [proposal] = &inbox[..] else { panic!("{} proposals", inbox.len()) };
    let manifest = patient.examine_attachment(proposal, 0).await.unwrap();
    assert_eq!(manifest.committed.len, bytes.len() as u64);
    let id = proposal.event.proposal;
    patient.answer(id, [0], [], &nobody, &BTreeMap::new()).await.unwrap();
    let record = proposal.event.leaves[0].key(patient.id(), network.author.id()).id();
    let path = network.files.path().join("copy");
    patient.export(record, fs::File::create(&path).unwrap()).await.unwrap();
    assert!(fs::read(path).unwrap() == bytes, "byte for byte");
}

/// Content that is gone from this machine before it was anywhere else is sealed anew.
#[tokio::test]
async fn an_import_seals_again_what_was_staged_and_is_gone() {
    let network = Network::new().await;
    let (file, _) = scan(&network, 1);
    let inputs = || vec![input(1, 0), ImportInput::file("scan", file.clone())];
    let (before, mut entries) = (kept(&network), Vec::new());
    import(&network, inputs(), &mut entries, Break::Before(5)).await.unwrap_err();
    let new = |path: &PathBuf| !before.contains(path);
    for path in kept(&network).iter().filter(|path| new(path)) {
        fs::remove_file(path).unwrap();
    }
    let (report, _) = import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
    assert_eq!((report.progress.records, report.progress.announced), (3, 3));
    let inbox = network.patient.inbox().await.unwrap();
    let leaves = inbox[0].event.leaves.len();
    for index in 0..leaves {
        network.patient.examine_attachment(&inbox[0], index).await.unwrap();
    }
    assert_eq!((inbox.len(), leaves), (1, 3));
}

/// A file is read twice; what differs then is refused as a whole, and so is what cannot be read.
#[tokio::test]
async fn files_that_are_refused_are_named_and_stop_nobody() {
    let network = Network::new().await;
    let (file, _) = scan(&network, 1);
    let missing = AttachedFile { path: network.files.path().join("missing"), ..file.clone() };
    let elsewhere = AttachedFile { category: 200, ..file.clone() };
    let report = AttachedFile { media_type: "application/pdf".parse().unwrap(), ..file.clone() };
    // Linux gives other bytes whenever somebody opens this.
    let unsteady = AttachedFile { path: "/proc/sys/kernel/random/uuid".into(), ..file.clone() };
    let before = kept(&network).len();
    let inputs = vec![
        ImportInput::file("unsteady", unsteady),
        ImportInput::file("missing", missing),
        ImportInput::file("elsewhere", elsewhere),
        ImportInput::file("scan", file.clone()),
        ImportInput::file("again", file),
        ImportInput::file("another type", report),
    ];
    let mut entries = Vec::new();
    let (report, _) = import(&network, inputs, &mut entries, Break::Never).await.unwrap();
    let rejects: Vec<(&str, ErrorKind)> =
        report.rejects.iter().map(|it| (it.name.as_str(), it.reason.kind())).collect();
    let (denied, unavailable) = (ErrorKind::Denied, ErrorKind::Unavailable);
    let expected =
        [("unsteady", ErrorKind::Stale), ("missing", unavailable), ("elsewhere", denied)];
    assert_eq!(rejects, expected);
    assert_eq!(kept(&network).len(), before + 2, "nothing of what was refused");
    assert_eq!((report.progress.known, report.progress.records), (1, 2));
    let journal = serde_json::to_string(&entries).unwrap();
    assert!(!journal.contains("scan") && !journal.contains("dicom"), "no health data");
}

#[tokio::test]
async fn inputs_that_are_refused_are_named_and_stop_nobody() {
    let network = Network::new().await;
    let broken = |name: &str, bytes: io::Result<&str>| {
        ImportInput::document(name, bytes.map(|text| Plaintext::new(text.as_bytes().to_vec())))
    };
    let inputs = vec![
        broken("empty", Ok("")),
        input(1, 0),
        broken("ghost", Ok(r#"{"resourceType":"Ghost"}"#)),
        input(1, 0),
        broken("unreadable", Err(io::ErrorKind::PermissionDenied.into())),
        input(1, 1),
    ];
    let mut entries = Vec::new();
    let (report, seen) = import(&network, inputs, &mut entries, Break::Never).await.unwrap();
    let rejects: Vec<(&str, ErrorKind)> =
        report.rejects.iter().map(|it| (it.name.as_str(), it.reason.kind())).collect();
    let (invalid, unavailable) = (ErrorKind::Invalid, ErrorKind::Unavailable);
    assert_eq!(rejects, [("empty", invalid), ("ghost", invalid), ("unreadable", unavailable)]);
    let progress = report.progress;
    assert_eq!((progress.inputs, progress.known, progress.rejected), (6, 1, 3));
    assert_eq!((progress.records, progress.announced), (4, 4));
    assert_eq!(seen.len(), 7, "after each input and each proposal");
    assert_eq!(settled(&network, 1).await, each_once(1, 2, &KINDS));
    // The journal is this author's, for this patient.
    let elsewhere = match entries[0].clone() {
        JournalEntry::Begun { ledger, patient, salt, .. } => {
            JournalEntry::Begun { ledger, patient, author: patient, salt }
        }
        other => panic!("{other:?}"),
    };
    let another = import(&network, Vec::new(), &mut vec![elsewhere], Break::Never).await;
    assert_eq!(another.unwrap_err().kind(), ErrorKind::Invalid);
    let journal = serde_json::to_string(&entries).unwrap();
    assert!(!journal.contains("somebody") && !journal.contains("line 0"), "no health data");
}

/// Between two attempts the author's other work takes the numbers that the import had chosen.
#[tokio::test]
async fn an_import_yields_numbers_that_were_taken_meanwhile() {
    let network = Network::new().await;
    let inputs = || vec![input(5, 0)];
    let mut entries = Vec::new();
    import(&network, inputs(), &mut entries, Break::Before(4)).await.unwrap_err();
    let other = [document(Category::Problems), document(Category::Billing)];
    let policy = CosignPolicy::default();
    network.author.propose(&network.contact, other, &policy).await.unwrap();
    import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
    assert_eq!(settled(&network, 5).await, each_once(5, 1, &KINDS));
}

/// A signature that nobody could send in time is made again; the sealed content stays.
#[tokio::test]
async fn an_import_signs_again_what_is_out_of_date() {
    let network = Network::new().await;
    let inputs = || vec![input(6, 0)];
    let mut entries = Vec::new();
    import(&network, inputs(), &mut entries, Break::After(4)).await.unwrap_err();
    assert!(matches!(entries[4], JournalEntry::Signed { .. }));
    network.chain.advance_time(200 * crate::DAY).unwrap();
    network.chain.mine().unwrap();
    let (report, _) = import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
    assert_eq!((report.progress.records, report.progress.announced), (0, 2));
    assert_eq!(settled(&network, 6).await, each_once(6, 1, &KINDS));
}
