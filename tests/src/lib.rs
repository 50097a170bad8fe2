//! What the end to end tests share.

use std::path::{Path, PathBuf};

/// The top of the repository, where `abi/`, `contracts/` and `tests/vectors/` lie.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies one folder below the top")
        .to_owned()
}
