//! Addressing on all cores.
//!
//! Leaves need nothing of each other. So one thread reads content in pieces and takes them back in
//! order, and as many workers as there are cores address the pieces in between. What is left to the one
//! thread are the nodes above the leaves: one hash in 128.

use std::{
    io::{self, ErrorKind, Read},
    num::NonZero,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use alloy_primitives::B256;

use crate::{StorageError, ipfs, swarm};

/// Bytes of a piece, of which only the last may be shorter: one IPFS leaf, 256 Swarm leaves.
pub(crate) const PIECE_LEN: usize = ipfs::LEAF_LEN;

/// Most workers for one content. Together with [`DEPTH`] it bounds the memory: 16 MiB.
const MAX_WORKERS: usize = 8;

/// Pieces that a worker has at most: one under way, and one so that it need not wait for the next.
const DEPTH: usize = 2;

/// How many bytes are hashed in turn for Swarm and for IPFS: the second finds them in the cache.
const STEP_LEN: usize = 32 << 10;

/// A piece of content and the addresses of its leaves.
pub(crate) struct Piece {
    buffer: Vec<u8>,
    len: usize,
    swarm_leaves: Vec<B256>,
    ipfs_leaf: B256,
}

impl Piece {
    fn new() -> Self {
        Self {
            buffer: vec![0; PIECE_LEN],
            len: 0,
            swarm_leaves: Vec::with_capacity(PIECE_LEN / swarm::CHUNK_LEN),
            ipfs_leaf: B256::ZERO,
        }
    }

    /// The bytes, never none.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The addresses of the Swarm leaves, one after the other.
    pub(crate) fn swarm_leaves(&self) -> &[B256] {
        &self.swarm_leaves
    }

    /// The digest of the one IPFS leaf.
    pub(crate) const fn ipfs_leaf(&self) -> B256 {
        self.ipfs_leaf
    }

    /// Reads on until the piece is full or the source ends.
    fn fill(&mut self, source: &mut impl Read) -> Result<(), StorageError> {
        self.len = 0;
        while self.len < PIECE_LEN {
            match source.read(&mut self.buffer[self.len..]) {
                Ok(0) => break,
                Ok(read) => self.len += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(StorageError::Source(error)),
            }
        }
        Ok(())
    }

    fn address(&mut self) {
        self.swarm_leaves.clear();
        let mut ipfs_leaf = ipfs::LeafHasher::new();
        for step in self.buffer[..self.len].chunks(STEP_LEN) {
            swarm::leaf_addresses(step, &mut self.swarm_leaves);
            ipfs_leaf.update(step);
        }
        self.ipfs_leaf = ipfs_leaf.finish();
    }
}

/// Reads a source to its end and hands its pieces to `sink`, addressed and in order, in constant memory.
/// Content of one piece is addressed on the calling thread.
///
/// # Errors
///
/// [`StorageError::Source`], and whatever `sink` returns.
pub(crate) fn pieces(
    source: impl Read,
    sink: &mut impl FnMut(&Piece) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    pieces_on(cores.min(MAX_WORKERS), source, sink)
}

/// For benches alone: all addresses of content, computed by so many workers.
///
/// # Panics
///
/// If the source fails.
#[cfg(feature = "bench")]
pub fn addresses_on(workers: usize, source: impl Read) -> crate::Addresses {
    let mut addresser = crate::Addresser::new();
    let (mut node, mut block) = (|_: swarm::Node<'_>| Ok(()), |_: ipfs::Block<'_>| Ok(()));
    pieces_on(workers, source, &mut |piece| addresser.add_piece(piece, &mut node, &mut block))
        .expect("the source of a bench does not fail");
    addresser.finalize()
}

fn pieces_on(
    workers: usize,
    mut source: impl Read,
    sink: &mut impl FnMut(&Piece) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut piece = Piece::new();
    loop {
        piece.fill(&mut source)?;
        if piece.len == PIECE_LEN && workers > 1 {
            return spread(workers, piece, source, sink);
        }
        if piece.len > 0 {
            piece.address();
            sink(&piece)?;
        }
        if piece.len < PIECE_LEN {
            return Ok(());
        }
    }
}

/// [`pieces_on`] several threads, from the first piece on, which is full.
fn spread(
    workers: usize,
    first: Piece,
    mut source: impl Read,
    sink: &mut impl FnMut(&Piece) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    thread::scope(|scope| {
        let mut spawn = |_| Worker::spawn(scope);
        let workers = (0..workers).map(&mut spawn).collect::<io::Result<Vec<_>>>();
        let workers = workers.map_err(StorageError::io("begin to address content"))?;
        // Piece n goes to worker n modulo their number, so they come back in order without more ado.
        let (mut sent, mut taken) = (0, 0);
        let mut next = Some(first);
        while let Some(piece) = next.take() {
            let is_last = piece.len < PIECE_LEN;
            if piece.len > 0 {
                workers[sent % workers.len()].send(piece);
                sent += 1;
            }
            if is_last {
                break;
            }
            let mut piece = if sent - taken < DEPTH * workers.len() {
                Piece::new()
            } else {
                let piece = workers[taken % workers.len()].take();
                taken += 1;
                sink(&piece)?;
                piece
            };
            piece.fill(&mut source)?;
            next = Some(piece);
        }
        (taken..sent).try_for_each(|at| sink(&workers[at % workers.len()].take()))
    })
}

/// A thread that addresses pieces. It ends when this is dropped.
struct Worker {
    jobs: SyncSender<Piece>,
    done: Receiver<Piece>,
}

impl Worker {
    fn spawn<'scope>(scope: &'scope thread::Scope<'scope, '_>) -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Piece>(DEPTH);
        let (outbox, done) = sync_channel(DEPTH);
        thread::Builder::new().name("galen-address".to_owned()).spawn_scoped(scope, move || {
            for mut piece in inbox {
                piece.address();
                if outbox.send(piece).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, done })
    }

    /// Never waits: a worker has at most [`DEPTH`] pieces.
    fn send(&self, piece: Piece) {
        self.jobs.send(piece).expect(WORKS);
    }

    fn take(&self) -> Piece {
        self.done.recv().expect(WORKS)
    }
}

/// Why a channel is open at both ends.
const WORKS: &str = "a worker ends before its channels only by a panic";

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::{Addresser, Addresses};

    /// A source that gives as much at a time as it likes, and now and then nothing but an interruption.
    struct Moody<'a> {
        content: &'a [u8],
        state: u64,
    }

    impl Read for Moody<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.state =
                self.state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            if self.state >> 60 == 0 {
                return Err(ErrorKind::Interrupted.into());
            }
            let most = 1 + usize::try_from(self.state >> 33).unwrap() % 300_000;
            let most = most.min(buffer.len());
            self.content.read(&mut buffer[..most])
        }
    }

    fn content(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut words = vec![[0; 8]; len.div_ceil(8)];
        for word in &mut words {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            *word = (state ^ state >> 29).to_le_bytes();
        }
        words.as_flattened()[..len].to_vec()
    }

    /// What goes out on the way: level, digest and span of each node and of each block.
    type Announced = (Vec<(usize, B256, u64)>, Vec<(usize, B256, u64)>);

    /// The addresses, by workers or, without a number, one after the other.
    fn addresses(content: &[u8], workers: Option<usize>, seed: u64) -> (Addresses, Announced) {
        let (mut nodes, mut blocks) = (Vec::new(), Vec::new());
        let mut node = |node: swarm::Node<'_>| {
            nodes.push((node.level, node.address, node.span));
            Ok::<_, Infallible>(())
        };
        let mut block = |block: ipfs::Block<'_>| {
            blocks.push((block.level, block.cid.digest, block.span));
            Ok::<_, Infallible>(())
        };
        let mut addresser = Addresser::new();
        match workers {
            None => {
                let Ok(()) = addresser.update_with(content, &mut node, &mut block);
            }
            Some(workers) => {
                let mut read = Vec::new();
                pieces_on(workers, Moody { content, state: seed }, &mut |piece| {
                    let Ok(()) = addresser.add_piece(piece, &mut node, &mut block);
                    read.extend_from_slice(piece.bytes());
                    Ok(())
                })
                .unwrap();
                assert!(read == content, "all bytes come by, in order");
            }
        }
        let Ok(addresses) = addresser.finalize_with(&mut node, &mut block);
        (addresses, (nodes, blocks))
    }

    fn check(len: usize, seed: u64) {
        let content = content(len, seed);
        let expected = addresses(&content, None, seed);
        for workers in [1, 2, 3] {
            assert!(
                addresses(&content, Some(workers), seed) == expected,
                "{len} bytes, seed {seed}, {workers} workers"
            );
        }
    }

    /// However many work on it: the addresses and all that is announced are those of one thread.
    #[test]
    fn pieces_have_the_addresses_of_the_whole_at_every_border() {
        let chunk = swarm::CHUNK_LEN;
        for pieces in [0, 1, 2, 4, 5, 17] {
            for change in [-4097, -4096, -1, 0, 1, 4095, 4096, 4097] {
                if let Some(len) = (pieces * PIECE_LEN).checked_add_signed(change) {
                    check(len, len as u64);
                }
            }
        }
        check(7 * chunk + 9, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

        #[test]
        fn pieces_have_the_addresses_of_the_whole(len in 0..9 * PIECE_LEN, seed: u64) {
            check(len, seed);
        }
    }

    /// Whatever fails, at whatever moment, ends the work with that error and all threads.
    #[test]
    fn a_fault_of_source_or_sink_ends_the_work() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let len = buffer.len().min(self.0);
                self.0 -= len;
                if len == 0 { Err(ErrorKind::BrokenPipe.into()) } else { Ok(len) }
            }
        }
        for len in [0, 1, PIECE_LEN, PIECE_LEN + 1, 9 * PIECE_LEN + 1] {
            for workers in [1, 3] {
                let failed = pieces_on(workers, Failing(len), &mut |_| Ok(()));
                assert!(matches!(failed, Err(StorageError::Source(_))), "{len} bytes");
            }
        }
        for good in 0..9 {
            let mut left = good;
            let failed = pieces_on(3, io::repeat(1).take(9 << 20), &mut |_| {
                left = usize::checked_sub(left, 1).ok_or(StorageError::ShutDown)?;
                Ok(())
            });
            assert!(matches!(failed, Err(StorageError::ShutDown)), "after {good} pieces");
        }
    }
}
