//! The store as its users see it: what goes in comes out, and nothing else ever does.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use alloy_primitives::{B256, hex};
use galen_storage::{
    Addresser, Addresses, LocalStore, MAX_RANGE_LEN, Storage, StorageError,
    ipfs::{self, IpfsHasher},
    swarm::SwarmHasher,
};
use galen_types::{ContentRef, ErrorKind, Store};
use proptest::prelude::*;
use tempfile::TempDir;

const CHUNK: usize = 4096;
const LEAF: usize = 1 << 20;

fn content(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn new_store() -> (TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path().join("store")).unwrap();
    (dir, store)
}

/// Keeps content and returns its Swarm address.
fn keep(store: &LocalStore, content: impl Read) -> ContentRef {
    store.put(content).unwrap().of(Store::Swarm)
}

fn file_of(dir: &Path, at: &ContentRef) -> PathBuf {
    let name = hex::encode(at.digest);
    let kind = if at.store == Store::Swarm { "store/swarm" } else { "store/ipfs" };
    dir.join(kind).join(&name[..2]).join(name)
}

fn unfinished(dir: &Path) -> usize {
    fs::read_dir(dir.join("store/tmp")).unwrap().count()
}

#[tokio::test]
async fn storage_keeps_its_contract() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::local(dir.path().join("deep/er/store")).await.unwrap();
    for len in [0, 1, 31, 4095, 4096, 4097, 65_536, 128 * CHUNK, 128 * CHUNK + 1, 300 * CHUNK + 7] {
        let content = content(len);
        let len = len as u64;
        let at = SwarmHasher::digest(&content);
        assert!(!storage.contains(&at).await.unwrap());
        assert!(matches!(storage.get(&at, len).await, Err(StorageError::NotFound(_))));
        assert!(matches!(storage.len(&at).await, Err(StorageError::NotFound(_))));
        assert!(!storage.remove(&at).await.unwrap());

        let source = io::Cursor::new(content.clone());
        assert_eq!(storage.put(source).await.unwrap(), at);
        assert_eq!(storage.put_bytes(content.clone()).await.unwrap(), at, "again");
        assert!(storage.contains(&at).await.unwrap());
        assert_eq!(storage.len(&at).await.unwrap(), len);
        assert_eq!(storage.get(&at, len).await.unwrap(), content);
        assert_eq!(storage.read_range(&at, 0..len).await.unwrap(), content);
        assert!(storage.read_range(&at, len..len).await.unwrap().is_empty());
        let beyond = storage.read_range(&at, 0..len + 1).await.unwrap_err();
        assert_eq!(beyond.kind(), ErrorKind::Invalid, "{beyond}");
        if len > 0 {
            let short = storage.get(&at, len - 1).await.unwrap_err();
            assert!(matches!(short, StorageError::TooLong { limit } if limit == len - 1));
        }

        let reader = storage.open(&at).await.unwrap();
        let read = io::read_to_string(reader.take(0)).map(|_| ());
        assert!(read.is_ok());
        assert!(storage.remove(&at).await.unwrap());
        assert!(!storage.contains(&at).await.unwrap());
        assert!(matches!(storage.open(&at).await, Err(StorageError::NotFound(_))));
    }
}

/// One content, two addresses: whichever is asked for.
#[test]
fn content_is_found_by_either_address() {
    for len in [0, 1, CHUNK + 1, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF + 5] {
        let (dir, store) = new_store();
        let content = content(len);
        let kept = store.put(content.as_slice()).unwrap();
        assert_eq!(kept, Addresser::digest(&content));
        let both = [kept.of(Store::Swarm), kept.of(Store::Ipfs)];
        for at in &both {
            assert!(store.contains(at).unwrap());
            assert_eq!(store.addresses(at).unwrap(), kept);
            assert_eq!(store.len(at).unwrap(), len as u64);
            assert_eq!(store.get(at, len as u64).unwrap(), content);
            for (start, end) in
                [(0, len), (len / 2, len / 2), (len / 3, len / 2), (len - len.min(3), len)]
            {
                let range = store.read_range(at, start as u64..end as u64).unwrap();
                assert_eq!(range, content[start..end], "{at}: {start}..{end}");
            }
        }
        let name = fs::read_to_string(file_of(dir.path(), &both[1])).unwrap();
        assert_eq!(name, format!("{:x}\n", kept.swarm));
        for at in both {
            store.put(content.as_slice()).unwrap();
            assert!(store.remove(&at).unwrap());
            assert!(!store.remove(&at).unwrap());
            for at in &both {
                assert!(!store.contains(at).unwrap());
                assert!(!file_of(dir.path(), at).exists());
                let error = store.addresses(at).unwrap_err();
                assert!(matches!(error, StorageError::NotFound(missing) if missing == *at));
            }
        }
    }
}

/// Whatever a name says, it leads to the right bytes or to none.
#[test]
fn wrong_name_never_leads_to_other_bytes() {
    let (dir, store) = new_store();
    let (ours, others) = (content(5000), content(5001));
    let kept = store.put(ours.as_slice()).unwrap();
    let other = store.put(others.as_slice()).unwrap();
    let at = kept.of(Store::Ipfs);
    let name = file_of(dir.path(), &at);
    let good = fs::read_to_string(&name).unwrap();
    let missing = format!("{:x}\n", B256::repeat_byte(9));
    for (what, text, kind) in [
        ("another's", format!("{:x}\n", other.swarm), ErrorKind::Integrity),
        ("nobody's", missing, ErrorKind::NotFound),
        ("empty", String::new(), ErrorKind::Integrity),
        ("cut", good[..64].to_owned(), ErrorKind::Integrity),
        ("grown", format!("{good}\n"), ErrorKind::Integrity),
        ("in capitals", good.to_uppercase(), ErrorKind::Integrity),
        ("a path", format!("../{}", &good[3..]), ErrorKind::Integrity),
    ] {
        fs::write(&name, &text).unwrap();
        assert_eq!(store.get(&at, 10_000).unwrap_err().kind(), kind, "{what}");
        assert_eq!(store.addresses(&at).unwrap_err().kind(), kind, "{what}");
        match store.remove(&at) {
            Ok(removed) => assert!(!removed && kind == ErrorKind::NotFound, "{what}"),
            Err(error) => assert_eq!(error.kind(), kind, "{what}"),
        }
        assert_eq!(store.get(&other.of(Store::Swarm), 10_000).unwrap(), others, "{what}");
        // By the file's own name nothing has changed, and what the name lost is computed.
        assert_eq!(store.addresses(&kept.of(Store::Swarm)).unwrap(), kept, "{what}");
        assert_eq!(store.put(ours.as_slice()).unwrap(), kept);
        assert_eq!(store.get(&at, 10_000).unwrap(), ours, "{what}: healed");
    }
    fs::remove_file(&name).unwrap();
    fs::create_dir(&name).unwrap();
    assert_eq!(store.get(&at, 10_000).unwrap_err().kind(), ErrorKind::Integrity);
}

/// A block that is a root on IPFS means the content below it, so it is no content.
#[test]
fn root_of_other_content_is_not_kept() {
    let (dir, store) = new_store();
    let long = content(LEAF + 1);
    let mut block = Vec::new();
    let mut sink = |made: ipfs::Block<'_>| {
        block.extend_from_slice(made.payload.unwrap_or_default());
        Ok::<_, std::convert::Infallible>(())
    };
    let mut hasher = IpfsHasher::new();
    let Ok(()) = hasher.update_with(&long, &mut sink);
    let Ok(at) = hasher.finalize_with(&mut sink);
    let error = store.put(block.as_slice()).unwrap_err();
    assert!(matches!(error, StorageError::ReadsAsNode), "{error:?}");
    assert_eq!((error.kind(), store.list().count()), (ErrorKind::Invalid, 0));

    // Somebody puts the block there nevertheless, with all that belongs to it.
    let swarm = SwarmHasher::digest(&block);
    let len = (block.len() as u64).to_le_bytes();
    let file = [&block[..], at.digest.as_slice(), &len].concat();
    fs::write(file_of(dir.path(), &swarm), file).unwrap();
    fs::write(file_of(dir.path(), &at), format!("{:x}\n", swarm.digest)).unwrap();
    assert_eq!(store.get(&swarm, 1000).unwrap(), block);
    assert_eq!(store.get(&at, 1000).unwrap_err().kind(), ErrorKind::Integrity);
    store.put(long.as_slice()).unwrap();
    assert_eq!(store.get(&at, 2 << 20).unwrap(), long);
}

/// The content, the Swarm nodes, the length: what version 1 of the store kept.
fn make_version_1(dir: &Path) {
    for shard in fs::read_dir(dir.join("store/swarm")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let file = fs::read(&path).unwrap();
            let (rest, len) = file.split_last_chunk().unwrap();
            let leaves = u64::from_le_bytes(*len).div_ceil(LEAF as u64).max(1);
            let without = &rest[..rest.len() - 32 * usize::try_from(leaves).unwrap()];
            fs::write(&path, [without, len].concat()).unwrap();
        }
    }
    fs::remove_dir_all(dir.join("store/ipfs")).unwrap();
    fs::write(dir.join("store/galen-store"), "galen store 1\n").unwrap();
}

#[test]
fn store_of_version_1_becomes_one_of_version_2() {
    let (dir, store) = new_store();
    let contents = [0, 4096, 5000, LEAF, LEAF + 1].map(content);
    let kept: Vec<Addresses> =
        contents.iter().map(|content| store.put(content.as_slice()).unwrap()).collect();
    make_version_1(dir.path());
    let store = LocalStore::open(dir.path().join("store")).unwrap();
    let marker = fs::read_to_string(dir.path().join("store/galen-store")).unwrap();
    assert_eq!(marker, "galen store 2\n");
    for (content, kept) in contents.iter().zip(&kept) {
        let (swarm, ipfs) = (kept.of(Store::Swarm), kept.of(Store::Ipfs));
        let len = content.len() as u64;
        assert_eq!(store.get(&swarm, len).unwrap(), *content);
        assert_eq!(store.get(&ipfs, len).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.addresses(&swarm).unwrap(), *kept, "computed");
        let file = file_of(dir.path(), &swarm);
        let good = fs::read(&file).unwrap();
        for position in [0, good.len() / 2, good.len() - 8, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[position] ^= 1;
            fs::write(&file, bytes).unwrap();
            assert!(check_damaged(&store, &swarm, content, "version 1"));
        }
        fs::write(&file, good).unwrap();
        assert_eq!(store.put(content.as_slice()).unwrap(), *kept);
        assert_eq!(store.get(&ipfs, len).unwrap(), *content);
    }
    assert_eq!(store.list().count(), contents.len());
}

#[test]
fn storage_says_so_when_the_runtime_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let storage = runtime().block_on(Storage::local(dir.path())).unwrap();
    let gone = runtime();
    let handle = gone.handle().clone();
    gone.shutdown_background();
    let _context = handle.enter();
    let put = storage.put_bytes("never kept");
    let error = tokio::runtime::Builder::new_current_thread()
        .build()
        .map(|_| futures_ready(put))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Polls a future that must be ready at once.
fn futures_ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the future waits for a runtime that is gone"),
    }
}

#[test]
fn range_longer_than_the_limit_is_refused() {
    let (_dir, store) = new_store();
    let at = keep(&store, &[1; 10][..]);
    let error = store.read_range(&at, 0..MAX_RANGE_LEN + 1).unwrap_err();
    assert!(matches!(error, StorageError::TooLong { limit: MAX_RANGE_LEN }));
    #[expect(clippy::reversed_empty_ranges, reason = "a careless caller's range")]
    let reversed = 5..2;
    let error = store.read_range(&at, reversed).unwrap_err();
    assert!(matches!(error, StorageError::OutOfRange { start: 5, end: 2, len: 10, .. }));
    assert!(store.read_range(&at, u64::MAX - 1..u64::MAX).is_err());
}

#[test]
fn reader_seeks_like_a_file() {
    let (_dir, store) = new_store();
    let content = content(20 * CHUNK);
    let at = keep(&store, content.as_slice());
    let mut reader = store.reader(&at).unwrap();
    let mut buffer = [0; 100];
    for (to, expected) in [
        (SeekFrom::Start(70_000), 70_000),
        (SeekFrom::Current(-50), 70_050),
        (SeekFrom::End(-100), content.len() - 100),
        (SeekFrom::Start(5), 5),
    ] {
        assert_eq!(reader.seek(to).unwrap(), expected as u64);
        reader.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer[..], content[expected..expected + 100]);
    }
    reader.seek(SeekFrom::End(10)).unwrap();
    assert_eq!(reader.read(&mut buffer).unwrap(), 0, "past the end there is nothing");
    assert!(reader.seek(SeekFrom::Current(i64::MIN)).is_err());
    assert_eq!(format!("{reader:?}"), format!("ContentReader({at}, 81920 bytes)"));
}

#[test]
fn failed_put_keeps_nothing() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the line is dead"));
            }
            let read = buffer.len().min(self.0);
            self.0 -= read;
            Ok(read)
        }
    }
    let (dir, store) = new_store();
    let error = store.put(Failing(200_000)).unwrap_err();
    assert!(matches!(error, StorageError::Source(_)), "{error:?}");
    let error = store.put_limited(io::repeat(1), 100_000).unwrap_err();
    assert!(matches!(error, StorageError::TooLong { limit: 100_000 }));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(store.put_limited(&[1; 10][..], 10).unwrap(), Addresser::digest(&[1; 10]));
    assert_eq!(store.list().count(), 1);
    assert_eq!(unfinished(dir.path()), 0);
}

#[test]
fn list_names_what_is_kept_and_nothing_else() {
    let (dir, store) = new_store();
    let mut kept: Vec<ContentRef> =
        (0..50).map(|len| keep(&store, content(len * 97).as_slice())).collect();
    fs::write(dir.path().join("store/swarm/00/notes.txt"), "not ours").unwrap();
    kept.sort();
    let mut listed = store.list().collect::<Result<Vec<_>, _>>().unwrap();
    listed.sort();
    assert_eq!(listed, kept);
}

#[test]
fn store_is_private() {
    let (dir, store) = new_store();
    let at = keep(&store, content(9000).as_slice());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = file_of(dir.path(), &at);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&dir.path().join("store/galen-store")), 0o600);
    for part in
        ["store", "store/tmp", "store/swarm", "store/swarm/7f", "store/ipfs", "store/ipfs/00"]
    {
        assert_eq!(mode(&dir.path().join(part)), 0o700, "{part}");
    }
}

#[test]
fn open_touches_no_directory_that_is_not_a_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let error = LocalStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StorageError::NotAStore(_)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn open_refuses_another_version() {
    let (dir, _store) = new_store();
    fs::write(dir.path().join("store/galen-store"), "galen store 3\n").unwrap();
    let error = LocalStore::open(dir.path().join("store")).unwrap_err();
    assert!(matches!(error, StorageError::UnknownVersion(_)));
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Copying tools drop empty directories; a store survives that.
#[test]
fn open_restores_lost_directories() {
    let (dir, store) = new_store();
    let at = keep(&store, &b"kept"[..]);
    for names in ["store/swarm", "store/ipfs"] {
        for shard in fs::read_dir(dir.path().join(names)).unwrap() {
            drop(fs::remove_dir(shard.unwrap().path()));
        }
    }
    fs::remove_dir(dir.path().join("store/tmp")).unwrap();
    let store = LocalStore::open(dir.path().join("store")).unwrap();
    assert_eq!(store.get(&at, 10).unwrap(), b"kept");
    for len in 0..20 {
        keep(&store, content(len).as_slice());
    }
}

/// What a dead process left is removed, what a living one is writing is not.
#[test]
fn open_removes_only_what_nobody_writes() {
    let (dir, store) = new_store();
    fs::write(dir.path().join("store/tmp/put-dead"), "half").unwrap();
    let (to_put, from_test) = io::pipe().unwrap();
    std::thread::scope(|scope| {
        let put = scope.spawn(|| store.put(to_put));
        while unfinished(dir.path()) < 2 {
            std::thread::yield_now();
        }
        // The writer may be between making its file and locking it; opening must not disturb that.
        LocalStore::open(dir.path().join("store")).unwrap();
        assert_eq!(unfinished(dir.path()), 1);
        assert!(!dir.path().join("store/tmp/put-dead").exists());
        io::Write::write_all(&mut &from_test, b"whole").unwrap();
        drop(from_test);
        assert_eq!(put.join().unwrap().unwrap(), Addresser::digest(b"whole"));
    });
    assert_eq!(unfinished(dir.path()), 0);
}

/// Bytes or an error: wrong bytes never. Checks every way of reading.
fn check_damaged(store: &LocalStore, at: &ContentRef, content: &[u8], what: &str) -> bool {
    let len = content.len() as u64;
    let mut noticed = false;
    let mut judge = |result: Result<Vec<u8>, StorageError>, expected: &[u8]| match result {
        Ok(bytes) => assert!(bytes == expected, "wrong bytes: {what}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Integrity, "{what}: {error:?}");
            noticed = true;
        }
    };
    judge(store.get(at, len), content);
    judge(store.read_range(at, len / 3..len / 2), &content[content.len() / 3..content.len() / 2]);
    judge(store.len(at).map(|kept| kept.to_be_bytes().to_vec()), &len.to_be_bytes());
    let streamed = store.reader(at).and_then(|mut reader| {
        let mut bytes = Vec::new();
        let result = reader.read_to_end(&mut bytes);
        assert!(content.starts_with(&bytes), "released before it was verified: {what}");
        result.map_err(|error| match StorageError::behind(&error) {
            Some(StorageError::Integrity(at)) => StorageError::Integrity(*at),
            other => panic!("{what}: {other:?}"),
        })?;
        Ok(bytes)
    });
    judge(streamed, content);
    noticed
}

/// In content and length by either address, in a tree by the address that it belongs to.
#[test]
fn every_flipped_byte_is_noticed() {
    for len in [0, 1, 33, 5000, 3 * CHUNK] {
        let (dir, store) = new_store();
        let content = content(len);
        let kept = store.put(content.as_slice()).unwrap();
        let (swarm, ipfs) = (kept.of(Store::Swarm), kept.of(Store::Ipfs));
        let file = file_of(dir.path(), &swarm);
        let good = fs::read(&file).unwrap();
        let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        for position in 0..good.len() {
            open.write_all_at(&[good[position] ^ (1 << (position % 8))], position as u64).unwrap();
            let what = format!("byte {position} of {len}");
            let by_swarm = check_damaged(&store, &swarm, &content, &what);
            let by_ipfs = check_damaged(&store, &ipfs, &content, &what);
            let ipfs_part = good.len() - 40..good.len() - 8;
            let swarm_part = len..ipfs_part.start;
            assert_eq!(by_swarm, !ipfs_part.contains(&position), "by Swarm: {what}");
            assert_eq!(by_ipfs, !swarm_part.contains(&position), "by IPFS: {what}");
            open.write_all_at(&good[position..=position], position as u64).unwrap();
        }
        assert!(!check_damaged(&store, &swarm, &content, "restored"));
    }
}

#[test]
fn cut_grown_and_swapped_files_are_noticed() {
    let (dir, store) = new_store();
    let long = content(130 * CHUNK + 5);
    let at = keep(&store, long.as_slice());
    let other = keep(&store, content(130 * CHUNK + 6).as_slice());
    let same_len: Vec<u8> = long.iter().map(|byte| !byte).collect();
    let same_len = keep(&store, same_len.as_slice());
    let file = file_of(dir.path(), &at);
    let good = fs::read(&file).unwrap();
    let half = good.len() / 2;
    let mut damaged: Vec<(&str, Vec<u8>)> = vec![
        ("emptied", Vec::new()),
        ("seven bytes", good[..7].to_vec()),
        ("last byte cut", good[..good.len() - 1].to_vec()),
        ("half cut", good[..half].to_vec()),
        ("first byte cut", good[1..].to_vec()),
        ("grown", [good.as_slice(), &[0]].concat()),
        ("grown by a length", [good.as_slice(), &good[good.len() - 8..]].concat()),
        ("doubled", good.repeat(2)),
        ("another's file", fs::read(file_of(dir.path(), &other)).unwrap()),
        ("another's file of the same length", fs::read(file_of(dir.path(), &same_len)).unwrap()),
        ("longest length", [&good[..good.len() - 8], &[0xff; 8]].concat()),
    ];
    // A well-formed file for the first leaves alone.
    let mut shorter = good[..CHUNK].to_vec();
    shorter.extend_from_slice(&4096_u64.to_le_bytes());
    damaged.push(("one leaf with its own length", shorter));
    for (what, bytes) in damaged {
        fs::write(&file, bytes).unwrap();
        assert!(check_damaged(&store, &at, &long, what), "unnoticed: {what}");
        assert!(store.contains(&at).unwrap());
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(check_damaged(&store, &at, &long, "a directory"));
}

#[test]
fn swapped_leaves_with_swapped_addresses_are_noticed() {
    let (dir, store) = new_store();
    let whole = content(3 * CHUNK);
    let at = keep(&store, whole.as_slice());
    let file = file_of(dir.path(), &at);
    let mut bytes = fs::read(&file).unwrap();
    let (first, rest) = bytes.split_at_mut(CHUNK);
    first.swap_with_slice(&mut rest[..CHUNK]);
    let (first, rest) = rest[2 * CHUNK..].split_at_mut(32);
    first.swap_with_slice(&mut rest[..32]);
    fs::write(&file, bytes).unwrap();
    assert!(check_damaged(&store, &at, &whole, "swapped"));
}

/// A file that changes under an open reader gives an error, not other bytes.
#[test]
fn reader_notices_a_change_after_opening() {
    let (dir, store) = new_store();
    let content = content(64 * CHUNK);
    let at = keep(&store, content.as_slice());
    let file = fs::OpenOptions::new().write(true).open(file_of(dir.path(), &at)).unwrap();
    let mut reader = store.reader(&at).unwrap();
    let mut first = vec![0; CHUNK];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(first, content[..CHUNK]);
    file.write_all_at(&[content[40 * CHUNK] ^ 1], 40 * CHUNK as u64).unwrap();
    let mut rest = Vec::new();
    let error = reader.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(rest.len() <= 39 * CHUNK && content[CHUNK..].starts_with(&rest));
    assert!(reader.read(&mut first).is_err(), "the fault stays");
    file.set_len(50 * CHUNK as u64).unwrap();
    reader.seek(SeekFrom::Start(60 * CHUNK as u64)).unwrap();
    let error = reader.read(&mut first).unwrap_err();
    assert_eq!(StorageError::behind(&error).unwrap().kind(), ErrorKind::Integrity);
}

/// A range is judged by the chunks it touches alone: damage elsewhere does not stand in its way.
#[test]
fn range_reads_only_what_it_touches() {
    let (dir, store) = new_store();
    let content = content(200 * CHUNK);
    let at = keep(&store, content.as_slice());
    let file = fs::OpenOptions::new().write(true).open(file_of(dir.path(), &at)).unwrap();
    for damaged in [9, 12, 150] {
        file.write_all_at(&[!content[damaged * CHUNK]], (damaged * CHUNK) as u64).unwrap();
    }
    let bytes = |from: usize, to: usize| {
        let range = (from * CHUNK) as u64..(to * CHUNK) as u64;
        store.read_range(&at, range)
    };
    assert_eq!(bytes(10, 12).unwrap(), content[10 * CHUNK..12 * CHUNK]);
    assert_eq!(bytes(151, 200).unwrap(), content[151 * CHUNK..]);
    assert_eq!(bytes(9, 12).unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn range_by_ipfs_address_reads_only_what_it_touches() {
    let (dir, store) = new_store();
    let content = content(4 * LEAF + 99);
    let kept = store.put(content.as_slice()).unwrap();
    let path = file_of(dir.path(), &kept.of(Store::Swarm));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[!content[LEAF + 5]], LEAF as u64 + 5).unwrap();
    file.write_all_at(&[!content[4 * LEAF]], 4 * LEAF as u64).unwrap();
    let bytes =
        |from: usize, to: usize| store.read_range(&kept.of(Store::Ipfs), from as u64..to as u64);
    assert_eq!(bytes(0, LEAF).unwrap(), content[..LEAF]);
    assert_eq!(bytes(2 * LEAF, 4 * LEAF).unwrap(), content[2 * LEAF..4 * LEAF]);
    assert_eq!(bytes(3 * LEAF - 1, 3 * LEAF + 1).unwrap(), content[3 * LEAF - 1..3 * LEAF + 1]);
    for (from, to) in [(LEAF - 1, LEAF + 1), (2 * LEAF - 1, 2 * LEAF), (4 * LEAF, 4 * LEAF + 99)] {
        assert_eq!(bytes(from, to).unwrap_err().kind(), ErrorKind::Integrity);
    }
}

#[test]
fn put_heals_a_damaged_file() {
    let (dir, store) = new_store();
    let content = content(10_000);
    let at = keep(&store, content.as_slice());
    let file = file_of(dir.path(), &at);
    let mut bytes = fs::read(&file).unwrap();
    bytes[77] ^= 1;
    for damage in [bytes.as_slice(), &bytes[..100], &[]] {
        fs::write(&file, damage).unwrap();
        assert_eq!(store.get(&at, 10_000).unwrap_err().kind(), ErrorKind::Integrity);
        assert_eq!(keep(&store, content.as_slice()), at);
        assert_eq!(store.get(&at, 10_000).unwrap(), content);
    }
}

#[test]
fn threads_may_keep_read_and_remove_the_same_content() {
    let (dir, store) = new_store();
    let contents: Vec<Vec<u8>> = [0, 100, 5000, 70_000, 600_000].map(content).into();
    let steady = keep(&store, contents[4].as_slice());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|turn| {
                let (store, contents) = (&store, &contents);
                scope.spawn(move || {
                    for content in contents.iter().cycle().skip(turn).take(40) {
                        keep(store, content.as_slice());
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.remove(&SwarmHasher::digest(&contents[2])).unwrap();
                LocalStore::open(dir.path().join("store")).unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(store.get(&steady, 600_000).unwrap(), contents[4]);
                match store.get(&SwarmHasher::digest(&contents[2]), 5000) {
                    Ok(bytes) => assert_eq!(bytes, contents[2]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    for content in contents {
        let at = keep(&store, content.as_slice());
        assert_eq!(store.get(&at, content.len() as u64).unwrap(), content);
    }
    assert_eq!(unfinished(dir.path()), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_and_ranges_round_trip(
        content in prop::collection::vec(any::<u8>(), 0..20_000),
        repeat in prop_oneof![Just(1_usize), 1..40_usize],
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let content = content.repeat(repeat);
        let (_dir, store) = new_store();
        let at = keep(&store, content.as_slice());
        prop_assert_eq!(store.get(&at, content.len() as u64).unwrap(), content.as_slice());
        let mut reader = store.reader(&at).unwrap();
        for (a, b) in ranges {
            let (a, b) = (a.index(content.len() + 1), b.index(content.len() + 1));
            let (start, end) = (a.min(b), a.max(b));
            let expected = &content[start..end];
            prop_assert_eq!(store.read_range(&at, start as u64..end as u64).unwrap(), expected);
            reader.seek(SeekFrom::Start(start as u64)).unwrap();
            let mut read = vec![0; end - start];
            reader.read_exact(&mut read).unwrap();
            prop_assert_eq!(read, expected);
        }
    }

    /// No changed byte of a larger file, wherever it lies, leads to wrong bytes.
    #[test]
    fn any_damage_is_noticed(
        chunks in 1..140_usize,
        at_byte: prop::sample::Index,
        change in 1..=255_u8,
    ) {
        let (dir, store) = new_store();
        let content = content(chunks * CHUNK + 17);
        let kept = store.put(content.as_slice()).unwrap();
        let at = kept.of(Store::Swarm);
        let file = file_of(dir.path(), &at);
        let mut bytes = fs::read(&file).unwrap();
        let position = at_byte.index(bytes.len());
        bytes[position] ^= change;
        fs::write(&file, bytes).unwrap();
        let what = format!("byte {position}");
        let by_swarm = check_damaged(&store, &at, &content, &what);
        let by_ipfs = check_damaged(&store, &kept.of(Store::Ipfs), &content, &what);
        prop_assert!(by_swarm || by_ipfs, "unnoticed: {}", what);
        prop_assert!(position >= content.len() || (by_swarm && by_ipfs), "half noticed: {}", what);
    }
}
