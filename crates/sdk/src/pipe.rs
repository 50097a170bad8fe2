//! A pipe between two threads of this process, whose reader knows a writer that stopped from one that ended.
//!
//! A pipe of the operating system ends in the same way for both, and a store would then keep a torso.

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use galen_types::Plaintext;

/// Bytes that travel together.
const BUFFER_LEN: usize = 256 << 10;

/// Buffers that wait between the two ends.
const BUFFERS: usize = 4;

/// Makes a pipe that holds at most 1 MiB and what either end has in its hands. What it carries is wiped after use.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = sync_channel(BUFFERS);
    let writer = PipeWriter { sender, buffer: Vec::new() };
    let reader = PipeReader { receiver, buffer: Plaintext::new(Vec::new()), at: 0, ended: false };
    (writer, reader)
}

/// The end that is written to. Without [`PipeWriter::end`] the reader gets an error after what was written.
pub(crate) struct PipeWriter {
    sender: SyncSender<Option<Plaintext>>,
    buffer: Vec<u8>,
}

impl PipeWriter {
    /// Says that this is all.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(None)
    }

    fn send(&self, message: Option<Plaintext>) -> io::Result<()> {
        self.sender.send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Room for all of it, so that no copy stays behind when a vector grows.
        self.buffer.reserve_exact(BUFFER_LEN - self.buffer.len());
        let taken = bytes.len().min(BUFFER_LEN - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == BUFFER_LEN {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = Plaintext::new(std::mem::take(&mut self.buffer));
        self.send(Some(buffer))
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        drop(Plaintext::new(std::mem::take(&mut self.buffer)));
    }
}

/// The end that is read from.
pub(crate) struct PipeReader {
    receiver: Receiver<Option<Plaintext>>,
    buffer: Plaintext,
    at: usize,
    ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.expose().len() {
            if self.ended || into.is_empty() {
                return Ok(0);
            }
            match self.receiver.recv() {
                Ok(Some(buffer)) => (self.buffer, self.at) = (buffer, 0),
                Ok(None) => self.ended = true,
                Err(_) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the writer stopped"));
                }
            }
        }
        let rest = &self.buffer.expose()[self.at..];
        let taken = rest.len().min(into.len());
        into[..taken].copy_from_slice(&rest[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use std::thread;

    use super::*;

    #[test]
    fn pipe_carries_everything_in_order_and_tells_an_end_from_a_stop() {
        for (len, ends) in [
            (0, true),
            (1, true),
            (BUFFER_LEN, true),
            (3_000_000, true),
            (0, false),
            (3_000_000, false),
        ] {
            let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
            let (mut writer, mut reader) = pipe();
            let sent = bytes.clone();
            let thread = thread::spawn(move || {
                sent.chunks(65_537).for_each(|chunk| writer.write_all(chunk).unwrap());
                if ends {
                    writer.end().unwrap();
                }
            });
            let mut got = Vec::new();
            let end = reader.read_to_end(&mut got);
            thread.join().unwrap();
            assert_eq!(end.is_ok(), ends, "{len}");
            if ends {
                assert!(got == bytes, "{len}");
            }
        }
    }

    #[test]
    fn a_pipe_without_a_reader_refuses() {
        let (mut writer, reader) = pipe();
        drop(reader);
        let error = writer.write_all(&[0; BUFFER_LEN]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
