//! A stream of resources of any length is checked in constant memory.
//!
//! Alone in its file: the peak of a process is measured, and another test would count as well.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufReader, Read},
};

use galen_fhir::check_ndjson;

const LEN: usize = 200 << 20;
const MAX_GROWTH: u64 = 8 << 20;

/// An observation a line, another number in each, one of 1,000 refused; made as they are read.
struct Lines {
    number: usize,
    line: Vec<u8>,
    left: usize,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.line.is_empty() && self.left > 0 {
            self.number += 1;
            let status = if self.number.is_multiple_of(1_000) { "finished" } else { "final" };
            // One long text in place of many short ones: the size is what matters here.
            self.line = format!(
                "{{\"resourceType\":\"Observation\",\"status\":\"{status}\",\"code\":{{\"text\":\"c\"}},\
                 \"valueQuantity\":{{\"value\":{}.50}},\"note\":[{{\"text\":\"{}\"}}]}}\n",
                self.number,
                "x".repeat(2_000)
            )
            .into_bytes();
            self.left = self.left.saturating_sub(self.line.len());
        }
        let len = self.line.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.line[..len]);
        self.line.drain(..len);
        Ok(len)
    }
}

/// The most memory this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn long_streams_need_constant_memory() {
    let lines = |left| BufReader::new(Lines { number: 0, line: Vec::new(), left });
    check_ndjson(lines(1 << 20)).unwrap();
    let before = peak();
    let summary = check_ndjson(lines(LEN)).unwrap();
    let growth = peak() - before;
    let refused = summary.refused.len() + summary.more_refused;
    assert_eq!(refused, (summary.accepted + refused) / 1_000);
    assert!(summary.accepted > 90_000, "{} lines", summary.accepted);
    assert!(growth < MAX_GROWTH, "{growth} bytes more for {LEN} bytes");
}
