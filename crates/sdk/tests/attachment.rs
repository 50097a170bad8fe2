//! A scan goes through its whole life in constant memory: 24 MiB of it, or as many as `GALEN_ATTACHMENT_MIB` says.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use alloy_primitives::{B256, U256};
use galen_chain::{Account, CosignPolicy, Ledger, deploy};
use galen_crypto::RootSeed;
use galen_devchain::{Config, DevChain};
use galen_fhir::Category;
use galen_sdk::{AttachedFile, Galen, GrantRequest, Identity};
use galen_storage::Storage;
use galen_types::{ErrorKind, Purpose};

/// Most bytes by which the resident set may grow, however long the content is.
const MAX_GROWTH: usize = 16 << 20;

fn scan_len() -> u64 {
    let mib = std::env::var("GALEN_ATTACHMENT_MIB").map_or(24, |text| text.parse().unwrap_or(24));
    mib << 20
}

fn identity() -> Identity {
    Identity::new(Account::random(), &RootSeed::generate().expect("randomness"))
}

/// Bytes that do not repeat within any block.
fn write_scan(path: &Path) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..scan_len() / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).expect("room");
    }
    file.flush().expect("room");
}

/// Whether two files have the same bytes; holds a mebibyte of each.
fn same(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) =
        (File::open(one).expect("a file"), File::open(other).expect("a file"));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        for (file, bytes) in [(&mut one, &mut left), (&mut other, &mut right)] {
            bytes.clear();
            file.take(1 << 20).read_to_end(bytes).expect("readable");
        }
        if left != right || left.is_empty() {
            return left == right;
        }
    }
}

/// Largest resident set so far, in bytes.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap_or(0) << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attachment_is_content_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let (relayer, hospital) = (Account::random(), identity());
    let accounts = vec![(relayer.controller(), U256::from(10).pow(U256::from(18)))];
    let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
    let founders = [hospital.id()];
    let founded = deploy(chain.provider(), &relayer, &founders, B256::ZERO).await.unwrap();
    let ledger = Ledger::connect(chain.provider(), founded.ledger, founded.block).await.unwrap();
    let storage = Storage::local(directory.path().join("store")).await.unwrap();
    let galen = Galen::new(ledger.paid_by(&relayer), storage);
    let (hospital, patient) = (galen.organization(hospital), galen.patient(identity()));
    let clinic = galen.grantee(identity());
    hospital.publish_keys().await.unwrap();
    patient.publish_keys().await.unwrap();
    clinic.publish_keys().await.unwrap();
    let contact = hospital.meet(&patient.introduce(hospital.id()).await.unwrap()).await.unwrap();

    let scan = directory.path().join("scan.dcm");
    write_scan(&scan);
    let before = peak_memory();
    let (imaging, free) = (Category::Imaging.index(), CosignPolicy::default());
    let media_type = "application/dicom".parse().unwrap();
    let file = AttachedFile { path: scan.clone(), media_type, category: imaging };
    let announced = hospital.attach(&contact, &file, &free).await.unwrap();
    let record = announced.records[0].id();

    let inbox = patient.inbox().await.unwrap();
    let manifest = patient.examine_attachment(&inbox[0], 0).await.unwrap();
    assert_eq!(manifest.media_type.as_str(), "application/dicom");
    assert_eq!(manifest.committed.len, scan_len());
    patient.answer(announced.proposal, [0], [], &free, &Default::default()).await.unwrap();

    let request = GrantRequest {
        grantee: clinic.id(),
        categories: vec![imaging],
        purposes: [Purpose::Treatment].into_iter().collect(),
        not_before: None,
        lifetime: 3_600,
    };
    let granted = patient.grant(&request).await.unwrap();
    let grant = clinic.accept(&granted.envelope).await.unwrap();
    let copy = directory.path().join("copy.dcm");
    let sink = File::create(&copy).unwrap();
    let (_, read, _) = clinic.export(&grant, Purpose::Treatment, record, sink).await.unwrap();
    assert_eq!(read.committed, manifest.committed, "its SHA-256 too");

    let (resealed, _) = patient.reseal(&[record]).await.unwrap();
    assert_ne!(resealed[0].before, resealed[0].after);
    assert!(!galen.storage().contains(&resealed[0].before).await.unwrap());
    let (_, again) = patient.export(record, io::sink()).await.unwrap();
    assert_eq!(again.committed, manifest.committed);
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "{grown} bytes for a content of {}", scan_len());

    assert!(same(&scan, &copy), "byte for byte");
    patient.revoke(granted.consent.id()).await.unwrap();
    let refused = clinic.export(&grant, Purpose::Treatment, record, io::sink()).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Denied));
}
