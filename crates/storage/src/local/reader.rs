//! Reading content that is verified before any of it is handed out.

mod ipfs;
mod swarm;

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use alloy_primitives::B256;
use galen_types::{ContentRef, Store};

use self::{ipfs::IpfsTree, swarm::SwarmTree};
use super::file::ContentFile;
use crate::{StorageError, ipfs::LEAF_LEN, swarm::CHUNK_LEN};

/// How much is read and verified at a time by a Swarm address: 64 KiB, one block of sealed content.
const SWARM_PIECE_LEN: u64 = 16 * CHUNK_LEN as u64;

/// Content of a [`LocalStore`](crate::LocalStore), open for reading and seeking.
///
/// Each byte is checked against the address before it is handed out, by the tree that the address names. By a
/// Swarm address a leaf is checked against its address in the tree, that against the group above, up
/// to the root; by an IPFS address a leaf of 1 MiB is, against digests that were checked up to the root. A
/// read hashes only the leaves that it touches, in constant memory. The file may change or vanish
/// meanwhile; the answer is then an error or the right bytes.
///
/// As [`Read`] and [`Seek`] it fails with [`io::Error`]; [`StorageError::behind`] gives the cause.
pub struct ContentReader {
    file: ContentFile,
    tree: Tree,
    piece: Piece,
    position: u64,
}

enum Tree {
    Swarm(SwarmTree),
    Ipfs(IpfsTree),
}

impl Tree {
    /// Bytes of a leaf, and how many are read at a time.
    const fn lens(&self) -> (u64, u64) {
        match self {
            Self::Swarm(_) => (CHUNK_LEN as u64, SWARM_PIECE_LEN),
            Self::Ipfs(_) => (LEAF_LEN as u64, LEAF_LEN as u64),
        }
    }
}

/// The verified bytes that were read last.
#[derive(Default)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    /// The verified bytes from a position on; empty if that lies outside.
    fn from(&self, position: u64) -> &[u8] {
        position
            .checked_sub(self.start)
            .and_then(|offset| self.bytes.get(usize::try_from(offset).ok()?..))
            .unwrap_or_default()
    }
}

impl ContentReader {
    /// Opens the file and verifies the root of the tree that the address names, and with it the length.
    pub(super) fn open(path: &Path, at: &ContentRef) -> Result<Self, StorageError> {
        Self::over(ContentFile::open(path, at)?)
    }

    /// Reads a file that is open already.
    pub(crate) fn over(mut file: ContentFile) -> Result<Self, StorageError> {
        let tree = match file.at().store {
            Store::Swarm => Tree::Swarm(SwarmTree::open(&mut file)?),
            Store::Ipfs => Tree::Ipfs(IpfsTree::open(&mut file)?),
        };
        let mut reader = Self { file, tree, piece: Piece::default(), position: 0 };
        if reader.content_len() <= reader.tree.lens().0 {
            // The only leaf is the root.
            reader.load(0, 0)?;
        }
        Ok(reader)
    }

    /// The address by which the content was asked for.
    pub const fn at(&self) -> &ContentRef {
        self.file.at()
    }

    /// Length of the content in bytes, verified.
    pub const fn content_len(&self) -> u64 {
        self.file.len()
    }

    /// The bytes of a range. Does not move the position.
    ///
    /// # Errors
    ///
    /// [`StorageError::OutOfRange`], [`StorageError::Integrity`], [`StorageError::Io`].
    pub fn range(&mut self, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let Range { start, end } = range;
        let len = self.content_len();
        let wanted = end.checked_sub(start).and_then(|wanted| usize::try_from(wanted).ok());
        let Some(wanted) = wanted.filter(|_| end <= len) else {
            return Err(StorageError::OutOfRange { at: *self.at(), start, end, len });
        };
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let position = start + bytes.len() as u64;
            if self.piece.from(position).is_empty() {
                self.load(position, end)?;
            }
            let verified = self.piece.from(position);
            bytes.extend_from_slice(&verified[..verified.len().min(wanted - bytes.len())]);
        }
        Ok(bytes)
    }

    /// Reads and verifies whole leaves from the one at `position` on, up to `end` or as much as is read at a
    /// time; on any fault nothing of them stays.
    fn load(&mut self, position: u64, end: u64) -> Result<(), StorageError> {
        let (leaf_len, piece_len) = self.tree.lens();
        let start = position - position % leaf_len;
        let end = end.min(start + piece_len).max(start + 1).next_multiple_of(leaf_len);
        let end = end.min(self.content_len());
        let mut bytes = std::mem::take(&mut self.piece.bytes);
        bytes.resize(usize::try_from(end - start).map_err(|_| self.file.damaged())?, 0);
        self.file.content(start, &mut bytes)?;
        match &mut self.tree {
            Tree::Swarm(tree) => tree.check(&mut self.file, start, &bytes)?,
            Tree::Ipfs(tree) => tree.check(&self.file, start, &bytes)?,
        }
        self.piece = Piece { start, bytes };
        Ok(())
    }

    /// The verified address of a node of the Swarm tree.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unsupported`] if the content was asked for by another kind of address.
    pub(crate) fn node(&mut self, level: usize, index: u64) -> Result<B256, StorageError> {
        match &mut self.tree {
            Tree::Swarm(tree) => tree.node(&mut self.file, level, index),
            Tree::Ipfs(_) => Err(StorageError::Unsupported(*self.file.at())),
        }
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.content_len() {
            return Ok(0);
        }
        if self.piece.from(self.position).is_empty() {
            self.load(self.position, self.content_len())?;
        }
        let verified = self.piece.from(self.position);
        let taken = verified.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&verified[..taken]);
        self.position += taken as u64;
        Ok(taken)
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.content_len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for ContentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentReader({}, {} bytes)", self.at(), self.content_len())
    }
}
