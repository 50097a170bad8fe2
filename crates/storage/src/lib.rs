//! Where sealed content lies: bytes kept under an address computed from the bytes themselves.
//!
//! [`Storage`] is the front door. It hands out nothing that was not checked against its address, and
//! the address that it returns for new content is the one that the code in [`swarm`] computed. Behind it
//! stand places: directories ([`LocalStore`]), bee and kubo nodes, gateways, folders on web servers, pinning services.
//!
//! The store never sees plaintext and holds no keys; what it keeps is sealed before it comes here.

mod addresser;
mod addresses;
mod blocking;
mod error;
mod health;
mod http;
pub mod ipfs;
mod local;
mod options;
mod parallel;
mod place;
mod places;
mod reader;
mod shape;
mod state;
mod storage;
pub mod swarm;

pub use addresser::Addresser;
pub use addresses::Addresses;
pub use error::{NodeFault, PostageFault, StorageError};
pub use health::{Health, Postage};
pub use http::{HttpOptions, Token};
pub use local::{
    ContentReader as LocalReader, Contents, LocalStore, MAX_CONTENT_LEN, MAX_RANGE_LEN,
};
pub use options::{NodeOptions, PlaceKind, PlaceOptions, Progress, StorageOptions, Transfer, Way};
#[cfg(feature = "bench")]
pub use parallel::addresses_on;
pub use reader::ContentReader;
pub use state::{KeptCopy, Pending};
pub use storage::{Depth, Found, Notice, PlaceHealth, PlaceInfo, Presence, Resumed, Storage};
