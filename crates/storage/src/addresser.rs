//! All addresses in one pass.

use std::fmt;

use crate::{
    Addresses,
    ipfs::{Block, IpfsHasher},
    parallel::Piece,
    swarm::{Node, SwarmHasher},
};

/// How many bytes each hasher takes in turn: the second finds them in the cache.
const STEP_LEN: usize = 64 << 10;

/// Computes all addresses of content of any length in one pass and in constant memory.
///
/// ```
/// use galen_storage::Addresser;
///
/// let addresses = Addresser::digest(b"foo");
/// assert_eq!(addresses.len, 3);
/// assert!(addresses.swarm.to_string().starts_with("0x2387e8e7d8a48c2a9339"));
/// assert!(addresses.ipfs.to_string().starts_with("0x2c26b46b68ffc68ff99b"));
/// ```
#[derive(Clone, Default)]
pub struct Addresser {
    swarm: SwarmHasher,
    ipfs: IpfsHasher,
    len: u64,
}

impl Addresser {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses of content that is in memory.
    pub fn digest(content: &[u8]) -> Addresses {
        let mut addresser = Self::new();
        addresser.update(content);
        addresser.finalize()
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        for step in bytes.chunks(STEP_LEN) {
            self.swarm.update(step);
            self.ipfs.update(step);
        }
        self.len += bytes.len() as u64;
    }

    /// The addresses of all bytes taken.
    pub fn finalize(self) -> Addresses {
        let Self { swarm, ipfs, len } = self;
        Addresses { swarm: swarm.finalize().digest, ipfs: ipfs.finalize().digest, len }
    }

    /// Takes the next bytes of the content and announces each node and each block that they finish.
    ///
    /// # Errors
    ///
    /// Whatever `node` and `block` return. The addresser is of no use after that.
    pub fn update_with<E>(
        &mut self,
        bytes: &[u8],
        node: &mut impl FnMut(Node<'_>) -> Result<(), E>,
        block: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for step in bytes.chunks(STEP_LEN) {
            self.swarm.update_with(step, node)?;
            self.ipfs.update_with(step, block)?;
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// As [`update_with`](Self::update_with), for a piece whose leaves have their addresses already.
    pub(crate) fn add_piece<E>(
        &mut self,
        piece: &Piece,
        node: &mut impl FnMut(Node<'_>) -> Result<(), E>,
        block: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let bytes = piece.bytes();
        self.swarm.add_leaves(bytes, piece.swarm_leaves(), node)?;
        self.ipfs.add_leaf(piece.ipfs_leaf(), bytes.len(), block)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The addresses of all bytes taken; announces the nodes and blocks that were still open.
    ///
    /// # Errors
    ///
    /// Whatever `node` and `block` return.
    pub fn finalize_with<E>(
        self,
        node: &mut impl FnMut(Node<'_>) -> Result<(), E>,
        block: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<Addresses, E> {
        let swarm = self.swarm.finalize_with(node)?.digest;
        let ipfs = self.ipfs.finalize_with(block)?.digest;
        Ok(Addresses { swarm, ipfs, len: self.len })
    }
}

impl fmt::Debug for Addresser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addresser({} bytes)", self.len)
    }
}
