//! Reading content that is verified before any of it is handed out.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use alloy_primitives::B256;
use galen_types::ContentRef;

use super::{MAX_CONTENT_LEN, files};
use crate::{
    StorageError,
    shape::Shape,
    swarm::{self, CHUNK_LEN, GROUP_LEN, REFERENCE_LEN, chunk_address},
};

/// How many leaves are read and verified at a time: 64 KiB, one block of sealed content.
const PIECE_LEAVES: u64 = 16;

const CHUNK: u64 = CHUNK_LEN as u64;
const FOOTER_LEN: u64 = 8;

/// Content of a [`LocalStore`](crate::LocalStore), open for reading and seeking.
///
/// Each byte is checked against the address before it is handed out: a leaf against its address in the
/// tree, that against the group above, up to the root. A read hashes only what it touches, in
/// constant memory. The file may change or vanish meanwhile; the answer is then an error or the right bytes.
///
/// As [`Read`] and [`Seek`] it fails with [`io::Error`]; [`StorageError::behind`] gives the cause.
pub struct ContentReader {
    at: ContentRef,
    file: File,
    shape: Shape,
    /// For each level below the root the group of addresses that was verified last.
    groups: Vec<Option<Group>>,
    piece: Piece,
    position: u64,
}

struct Group {
    index: u64,
    references: Vec<u8>,
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
    /// Opens the file and verifies the root of its tree, and with it the length.
    pub(super) fn open(path: &Path, at: &ContentRef) -> Result<Self, StorageError> {
        let mut file = match files::open_plain(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Err(StorageError::Integrity(*at)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::NotFound(*at));
            }
            Err(error) => return Err(StorageError::io("open content")(error)),
        };
        let shape = read_shape(&mut file, at)?;
        let groups = (0..shape.top()).map(|_| None).collect();
        let mut reader =
            Self { at: *at, file, shape, groups, piece: Piece::default(), position: 0 };
        match reader.shape.top() {
            0 => reader.load(0, 1)?,
            top => drop(reader.node(top - 1, 0)?),
        }
        Ok(reader)
    }

    /// Length of the content in bytes, verified.
    pub const fn content_len(&self) -> u64 {
        self.shape.len()
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
            return Err(StorageError::OutOfRange { at: self.at, start, end, len });
        };
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let position = start + bytes.len() as u64;
            if self.piece.from(position).is_empty() {
                let leaf = position / CHUNK;
                self.load(leaf, end.div_ceil(CHUNK) - leaf)?;
            }
            let verified = self.piece.from(position);
            bytes.extend_from_slice(&verified[..verified.len().min(wanted - bytes.len())]);
        }
        Ok(bytes)
    }

    /// Reads and verifies up to [`PIECE_LEAVES`] leaves; on any fault nothing of them stays.
    fn load(&mut self, leaf: u64, leaves: u64) -> Result<(), StorageError> {
        let start = leaf * CHUNK;
        let end = self.content_len().min((leaf + leaves.min(PIECE_LEAVES)) * CHUNK);
        let mut bytes = std::mem::take(&mut self.piece.bytes);
        bytes.resize(usize_len(end - start), 0);
        self.read_at(start, &mut bytes)?;
        let leaves = leaf..leaf + (end - start).div_ceil(CHUNK).max(1);
        for (index, from) in leaves.zip((0..).step_by(CHUNK_LEN)) {
            let payload = &bytes[from..bytes.len().min(from + CHUNK_LEN)];
            self.check(self.shape.span(0, index), payload, 0, index)?;
        }
        self.piece = Piece { start, bytes };
        Ok(())
    }

    /// The verified address of a node.
    pub(crate) fn node(&mut self, level: usize, index: u64) -> Result<B256, StorageError> {
        if level == self.shape.top() {
            return Ok(self.at.digest);
        }
        let group = index / GROUP_LEN as u64;
        if self.groups[level].as_ref().is_none_or(|kept| kept.index != group) {
            self.groups[level] = Some(self.read_group(level, group)?);
        }
        let kept = self.groups[level].as_ref().expect("it was read just now");
        let from = usize_len(index % GROUP_LEN as u64) * REFERENCE_LEN;
        Ok(B256::from_slice(&kept.references[from..from + REFERENCE_LEN]))
    }

    fn read_group(&mut self, level: usize, index: u64) -> Result<Group, StorageError> {
        let first = index * GROUP_LEN as u64;
        let count = (self.shape.count(level) - first).min(GROUP_LEN as u64);
        let mut references = vec![0; usize_len(count) * REFERENCE_LEN];
        let offset = self.content_len()
            + self.shape.count_below(level) * REFERENCE_LEN as u64
            + first * REFERENCE_LEN as u64;
        self.read_at(offset, &mut references)?;
        if count == 1 {
            // A lone last node moved up unchanged.
            if references != self.node(level + 1, index)?.as_slice() {
                return Err(StorageError::Integrity(self.at));
            }
        } else {
            self.check(self.shape.span(level + 1, index), &references, level + 1, index)?;
        }
        Ok(Group { index, references })
    }

    /// Whether a chunk has the address that the tree gives the node.
    fn check(
        &mut self,
        span: u64,
        payload: &[u8],
        level: usize,
        index: u64,
    ) -> Result<(), StorageError> {
        if chunk_address(span, payload) == self.node(level, index)? {
            Ok(())
        } else {
            Err(StorageError::Integrity(self.at))
        }
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        read_at(&mut self.file, offset, bytes, &self.at)
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.content_len() {
            return Ok(0);
        }
        if self.piece.from(self.position).is_empty() {
            self.load(self.position / CHUNK, PIECE_LEAVES)?;
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
        write!(f, "ContentReader({}, {} bytes)", self.at, self.content_len())
    }
}

/// Reads the length at the end of the file; a file that is not exactly as long as that says is damaged.
fn read_shape(file: &mut File, at: &ContentRef) -> Result<Shape, StorageError> {
    let file_len = file.metadata().map_err(StorageError::io("read content"))?.len();
    let footer = file_len.checked_sub(FOOTER_LEN).ok_or(StorageError::Integrity(*at))?;
    let mut len = [0; 8];
    read_at(file, footer, &mut len, at)?;
    let len = u64::from_le_bytes(len);
    if len > MAX_CONTENT_LEN {
        return Err(StorageError::Integrity(*at));
    }
    let shape = swarm::shape(len);
    if len + shape.count_below(shape.top()) * REFERENCE_LEN as u64 != footer {
        return Err(StorageError::Integrity(*at));
    }
    Ok(shape)
}

fn read_at(
    file: &mut File,
    offset: u64,
    bytes: &mut [u8],
    at: &ContentRef,
) -> Result<(), StorageError> {
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(bytes));
    read.map_err(|error| match error.kind() {
        // The file was cut after it was opened.
        io::ErrorKind::UnexpectedEof => StorageError::Integrity(*at),
        _ => StorageError::io("read content")(error),
    })
}

fn usize_len(len: u64) -> usize {
    usize::try_from(len).expect("a piece or a group is a few KiB long")
}
