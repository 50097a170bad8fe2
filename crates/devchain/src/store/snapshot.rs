//! Snapshots: the whole chain at one place of the log, so that opening replays only what follows.
//!
//! A file `snapshot-<offset in the log>` holds `GALENSNP`, the Keccak-256 of what follows, and an RLP list.
//! A snapshot only saves time. One that is damaged, or that does not lie on this log, is passed
//! over; the log has everything.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::primitives::{B256, keccak256};
use alloy_rlp::{Decodable as _, Encodable as _, RlpDecodable, RlpEncodable};

use super::{files, log::Position};
use crate::{
    chain::{
        Chain,
        block::Block,
        world::{StoredWorld, World},
    },
    config::Config,
    error::Error,
};

const MAGIC: &[u8; 8] = b"GALENSNP";
const PREFIX: &str = "snapshot-";
/// The newest and one before it, should the newest be damaged.
const KEPT: usize = 2;

#[derive(Debug, RlpEncodable, RlpDecodable)]
struct Content {
    fingerprint: B256,
    log_offset: u64,
    log_sum: B256,
    clock_offset: u64,
    branch: u64,
    world: StoredWorld,
    blocks: Vec<Block>,
}

/// A chain as a snapshot has it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) chain: Chain,
    /// Seconds that the clock was moved forward.
    pub(crate) clock_offset: u64,
    /// The log up to here is in the chain.
    pub(crate) position: Position,
}

/// Writes the chain as it is at `position`, then removes snapshots that are no longer needed.
pub(crate) fn write(
    directory: &Path,
    config: &Config,
    chain: &Chain,
    clock_offset: u64,
    position: Position,
) -> Result<(), Error> {
    let content = Content {
        fingerprint: config.fingerprint(),
        log_offset: position.offset,
        log_sum: position.sum,
        clock_offset,
        branch: chain.branch,
        world: chain.world.to_stored(),
        blocks: chain.blocks().to_vec(),
    };
    let mut body = Vec::with_capacity(content.length());
    content.encode(&mut body);
    let hash = keccak256(&body);
    // Named by its place in the log: heights come again after a reorganization.
    let name = format!("{PREFIX}{:016}", position.offset);
    files::write_atomically(directory, &name, &[MAGIC, hash.as_slice(), &body])?;
    for old in list(directory)?.iter().skip(KEPT) {
        fs::remove_file(old).map_err(files::error("remove", old))?;
    }
    Ok(())
}

/// The newest snapshot that is whole and lies on the log at `log`, whose records end at `positions`.
///
/// # Errors
///
/// [`Error::Damaged`] if a whole snapshot was taken further on: the log has lost its end then.
pub(crate) fn load(
    directory: &Path,
    config: &Config,
    log: &Path,
    positions: &[Position],
) -> Result<Option<Snapshot>, Error> {
    let end = positions.last().map_or(0, |position| position.offset);
    for path in list(directory)? {
        let bytes = fs::read(&path).map_err(files::error("read", &path))?;
        let Some(snapshot) = decode(config, &bytes) else { continue };
        if snapshot.position.offset > end {
            let what = "the log ends before a snapshot of it";
            return Err(Error::Damaged { path: log.to_owned(), offset: end, what });
        }
        if positions.contains(&snapshot.position) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

fn decode(config: &Config, bytes: &[u8]) -> Option<Snapshot> {
    let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
    let (hash, mut body) = rest.split_at_checked(32)?;
    if magic != MAGIC || keccak256(body).as_slice() != hash {
        return None;
    }
    let content = Content::decode(&mut body).ok()?;
    if content.fingerprint != config.fingerprint() || content.blocks.is_empty() {
        return None;
    }
    Some(Snapshot {
        chain: Chain::restore(config, World::from(content.world), content.blocks, content.branch),
        clock_offset: content.clock_offset,
        position: Position { offset: content.log_offset, sum: content.log_sum },
    })
}

/// All snapshots, newest first.
fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(files::error("read", directory))? {
        let entry = entry.map_err(files::error("read", directory))?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}
