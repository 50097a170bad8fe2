//! Where sealed content lies: bytes kept under an address computed from the bytes themselves.
//!
//! [`Storage`] is the front door. It hands out nothing that was not checked against its address, and
//! the address that it returns for new content is the one that the code in [`swarm`] computed. Behind it
//! stands [`LocalStore`], a directory that addresses content as Swarm would.
//!
//! The store never sees plaintext and holds no keys; what it keeps is sealed before it comes here.

mod error;
mod local;
mod storage;
pub mod swarm;

pub use error::StorageError;
pub use local::{ContentReader, Contents, LocalStore, MAX_CONTENT_LEN, MAX_RANGE_LEN};
pub use storage::Storage;
