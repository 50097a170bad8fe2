//! Many documents under one signature.

use alloy_primitives::B256;

use super::{
    PartsError, Seed,
    hash::{Draw, node},
};

/// Roots of one batch.
pub const MAX_BATCH: usize = 256;

/// Levels of a batch of more than one root.
///
/// Odd, where the tree of a document is even: a path through both is never as long as one through a document,
/// so that two documents of a batch cannot be shown as one.
pub const BATCH_DEPTH: usize = 9;

/// The root to sign for these documents' roots, and for each the path to it, lowest hash first.
///
/// One root stands for itself, with an empty path. Else all stand in a tree of [`BATCH_DEPTH`] levels, filled with
/// decoys from `seed`, so that a path does not tell how many there are.
///
/// # Errors
///
/// [`PartsError::Batch`] for no root or more than [`MAX_BATCH`].
pub fn batch(roots: &[B256], seed: &Seed) -> Result<(B256, Vec<Vec<B256>>), PartsError> {
    match roots {
        [] => return Err(PartsError::Batch { limit: MAX_BATCH }),
        [only] => return Ok((*only, vec![Vec::new()])),
        _ if roots.len() > MAX_BATCH => return Err(PartsError::Batch { limit: MAX_BATCH }),
        _ => {}
    }
    let mut level = roots.to_vec();
    level.extend((roots.len()..1 << BATCH_DEPTH).map(|at| seed.draw(Draw::Decoy, at)));
    let mut paths = vec![Vec::with_capacity(BATCH_DEPTH); roots.len()];
    for height in 0..BATCH_DEPTH {
        for (at, path) in paths.iter_mut().enumerate() {
            path.push(level[(at >> height) ^ 1]);
        }
        level = level.chunks(2).map(|pair| node(pair[0], pair[1])).collect();
    }
    Ok((level[0], paths))
}

/// The signed root above a document's root.
///
/// # Errors
///
/// [`PartsError::Nodes`] for a path that is neither empty nor [`BATCH_DEPTH`] long.
pub fn batch_root(root: B256, path: &[B256]) -> Result<B256, PartsError> {
    if !path.is_empty() && path.len() != BATCH_DEPTH {
        return Err(PartsError::Nodes);
    }
    Ok(path.iter().fold(root, |below, beside| node(below, *beside)))
}
