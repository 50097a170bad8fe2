//! Several places behind one front door: who is asked, what is sent where, and what is left when one fails.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use alloy_primitives::hex;
use galen_storage::{
    Addresser, Depth, LocalStore, PlaceKind, PlaceOptions, Presence, Storage, StorageError,
    StorageOptions,
};
use galen_types::{ContentRef, ErrorKind, Store};
use tempfile::TempDir;

fn content(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn file_of(store: &Path, at: &ContentRef) -> PathBuf {
    let name = hex::encode(at.digest);
    store.join("swarm").join(&name[..2]).join(name)
}

/// Places `a` and `b` in directories of these names, and a state directory beside them.
async fn two_places(dir: &TempDir, keep_in: &[&str]) -> Storage {
    let place = |name: &str| PlaceOptions {
        name: name.to_owned(),
        kind: PlaceKind::Local { directory: dir.path().join(name) },
    };
    Storage::connect(StorageOptions {
        directory: Some(dir.path().join("state")),
        places: vec![place("a"), place("b")],
        keep_in: keep_in.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn content_is_staged_then_published_to_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    for len in [0, 1, 4096, 4097, 1_048_577] {
        let content = content(len);
        let addresses = storage.stage_bytes(content.clone()).await.unwrap();
        assert_eq!(addresses, Addresser::digest(&content));
        let at = addresses.of(Store::Swarm);
        let there = LocalStore::open(dir.path().join("b")).unwrap();
        assert!(!there.contains(&at).unwrap(), "staged is not sent");

        assert_eq!(storage.publish(&at).await.unwrap(), at);
        assert_eq!(storage.publish(&at).await.unwrap(), at, "again");
        assert_eq!(there.get(&at, u64::MAX).unwrap(), content);
        assert_eq!(storage.pending().await.unwrap(), []);
        for found in storage.check(&at, Depth::Whole).await.unwrap() {
            assert!(matches!(found.presence, Presence::Whole), "{found:?}");
        }
        let copies = storage.copies().await.unwrap();
        let of: Vec<_> = copies.iter().filter(|copy| copy.addresses == addresses).collect();
        assert_eq!(of.iter().map(|copy| copy.place.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}

/// A place whose copy is damaged, cut or gone is passed over, also half way, and mended from the other one.
#[tokio::test]
async fn damaged_copy_is_passed_over_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    let content = content(3_000_000);
    let at = storage.put_bytes(content.clone()).await.unwrap();
    let file = file_of(&dir.path().join("a"), &at);
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[2_000_000] ^= 1;
    let damages: [(&str, Option<Vec<u8>>); 4] = [
        ("flipped", Some(flipped)),
        ("cut", Some(good[..1_000_000].to_vec())),
        ("empty", Some(Vec::new())),
        ("gone", None),
    ];
    for (what, bytes) in damages {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        assert_eq!(storage.get(&at, u64::MAX).await.unwrap(), content, "{what}");
        let range = storage.read_range(&at, 1_999_000..2_001_000).await.unwrap();
        assert_eq!(range, content[1_999_000..2_001_000], "{what}");
        let mut reader = storage.open(&at).await.unwrap();
        let (read, reader) = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| (read, reader))
        })
        .await
        .unwrap()
        .unwrap();
        assert_eq!(read, content, "{what}");
        drop(reader);

        let found = storage.check(&at, Depth::Whole).await.unwrap();
        assert!(matches!(found[0].presence, Presence::Damaged | Presence::Missing), "{found:?}");
        assert!(matches!(found[1].presence, Presence::Whole), "{found:?}");
        assert!(storage.copy(&at, "a").await.unwrap(), "{what}");
        assert!(!storage.copy(&at, "a").await.unwrap(), "{what}: it is there");
        assert_eq!(fs::read(&file).unwrap(), good, "{what}");
    }
}

/// With no right copy left, nothing is handed out, and the error says what each place said.
#[tokio::test]
async fn content_that_is_right_nowhere_is_an_error_that_names_all_places() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    let at = storage.put_bytes(content(2_000_000)).await.unwrap();
    fs::remove_file(file_of(&dir.path().join("a"), &at)).unwrap();
    let file = file_of(&dir.path().join("b"), &at);
    let mut bytes = fs::read(&file).unwrap();
    bytes[1_500_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = storage.get(&at, u64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let StorageError::Everywhere { failures, .. } = &error else { panic!("{error:?}") };
    let places: Vec<_> = failures.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["a", "b"], "{error}");
    assert_eq!(storage.read_range(&at, 0..1000).await.unwrap(), content(2_000_000)[..1000]);
    assert!(storage.copy(&at, "a").await.is_err());
}

#[tokio::test]
async fn released_content_is_gone_from_that_place_alone() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    let at = storage.put_bytes("sealed").await.unwrap();
    assert!(storage.release(&at, "a").await.unwrap());
    assert!(!storage.release(&at, "a").await.unwrap());
    let copies = storage.copies().await.unwrap();
    assert_eq!(copies.iter().map(|copy| copy.place.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(storage.get(&at, 10).await.unwrap(), "sealed");
    assert!(storage.remove(&at).await.unwrap());
    assert!(!storage.contains(&at).await.unwrap());
    assert!(!storage.remove(&at).await.unwrap());
}

/// What is known about copies survives the program, and a log that was torn is read as far as it goes.
#[tokio::test]
async fn log_of_copies_survives_and_may_be_torn() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a"]).await;
    let first = storage.put_bytes("first").await.unwrap();
    let log = dir.path().join("state/copies");
    let whole = fs::read(&log).unwrap();
    for torn in [&b"+ 12"[..], b"\0\0\0\0", b"- "] {
        fs::write(&log, [whole.as_slice(), torn].concat()).unwrap();
        let storage = two_places(&dir, &["a"]).await;
        assert_eq!(storage.copies().await.unwrap().len(), 1);
        assert!(storage.addresses(&first).await.unwrap().is_some());
        let second = storage.put_bytes("second").await.unwrap();
        assert_eq!(storage.copies().await.unwrap().len(), 2);
        assert!(storage.addresses(&second).await.unwrap().is_some());
        assert!(storage.remove(&second).await.unwrap());
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let local = |name: &str| PlaceOptions {
        name: name.to_owned(),
        kind: PlaceKind::Local { directory: dir.path().join("place") },
    };
    let cases: [(Vec<PlaceOptions>, Vec<&str>); 4] = [
        (vec![local("")], vec![]),
        (vec![local("two words")], vec![]),
        (vec![local("twice"), local("twice")], vec![]),
        (vec![local("here")], vec!["there"]),
    ];
    for (places, keep_in) in cases {
        let keep_in = keep_in.into_iter().map(str::to_owned).collect();
        let options = StorageOptions { places, keep_in, ..Default::default() };
        let error = Storage::connect(options).await.unwrap_err();
        assert!(matches!(error, StorageError::Setting { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let nowhere = Storage::connect(StorageOptions::default()).await.unwrap();
    let error = nowhere.put_bytes("sealed").await.unwrap_err();
    assert!(matches!(error, StorageError::NowhereToKeep), "{error:?}");
}

#[tokio::test]
async fn reader_seeks_over_places() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a"]).await;
    let content = content(100_000);
    let at = storage.put_bytes(content.clone()).await.unwrap();
    let mut reader = storage.open(&at).await.unwrap();
    let mut bytes = [0; 10];
    reader.seek(SeekFrom::End(-10)).unwrap();
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, content[99_990..]);
    assert_eq!(reader.range(5..15).unwrap(), content[5..15]);
    assert!(matches!(reader.range(5..100_001), Err(StorageError::OutOfRange { .. })));
}
