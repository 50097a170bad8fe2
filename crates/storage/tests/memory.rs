//! Content of any length goes in and out in constant memory.
//!
//! Alone in its file: the peak of a process is measured, and another test would count as well.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
};

use galen_storage::{LocalStore, Storage};
use galen_types::Store;

const LEN: u64 = 32 << 20;
const MAX_GROWTH: u64 = 8 << 20;

/// Bytes that never repeat a block, made as they are read.
struct Pattern(u64);

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

/// The most memory this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn long_content_needs_constant_memory() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::local(dir.path()).await.unwrap();
    storage.put_bytes("warm").await.unwrap();
    let before = peak();

    let at = storage.put(Pattern(0).take(LEN)).await.unwrap();
    let mut reader = storage.open(&at).await.unwrap();
    assert_eq!(reader.content_len(), LEN);
    let (mut expected, mut got) = (vec![0; 100_000], vec![0; 100_000]);
    let mut pattern = Pattern(0).take(LEN);
    loop {
        let read = reader.read(&mut got).unwrap();
        if read == 0 {
            break;
        }
        pattern.read_exact(&mut expected[..read]).unwrap();
        assert_eq!(got[..read], expected[..read]);
    }
    assert_eq!(pattern.limit(), 0, "all was read");
    reader.seek(SeekFrom::Start(LEN - 10)).unwrap();
    assert_eq!(reader.read(&mut got).unwrap(), 10);

    // By the other address as well.
    let store = LocalStore::open(dir.path()).unwrap();
    let addresses = store.addresses(&at).unwrap();
    let mut reader = store.reader(&addresses.of(Store::Ipfs)).unwrap();
    let mut read = 0;
    let mut pattern = Pattern(0);
    while read < LEN {
        let filled = reader.read(&mut got).unwrap();
        pattern.read_exact(&mut expected[..filled]).unwrap();
        assert_eq!(got[..filled], expected[..filled]);
        read += filled as u64;
    }

    let growth = peak() - before;
    assert!(growth < MAX_GROWTH, "{growth} bytes more at the peak");
}
