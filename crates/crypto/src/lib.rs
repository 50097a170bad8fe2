//! Sealed content, key wraps, key derivation, envelopes and keystores of Galen.
//!
//! Plain functions: no files, no network, no clock. Bytes come from and go to what the caller gives
//! ([`std::io::Read`], [`std::io::Write`]); randomness comes from the operating system. All integers
//! in byte layouts are big endian, `‖` joins bytes, labels are ASCII without a terminator.
//!
//! | part | what it does | module documentation |
//! |---|---|---|
//! | [`seal`], [`open`], [`Opener`] | encrypt a payload to recipients and back | [`content`] |
//! | [`Header`], [`Capsule`] | the clear part of sealed content and its wraps | [`header`] |
//! | [`RootSeed`], [`PatientKeys`] | everything an id ever needs, from 32 bytes | [`keys`] |
//! | [`KeyBundle`] | the published halves | [`bundle`] |
//! | [`GrantEnvelope`], [`ContactEnvelope`], [`ReplyEnvelope`] | keys, maps and words on their way to one reader | [`envelope`] |
//! | [`ShareEnvelope`], [`PieceEnvelope`], [`seal_note`] | shares and pieces on their way to proxies and guardians, and anything to a published key | [`envelope`] |
//! | [`KeySplit`], [`ProxyShare`], [`Answer`], [`Offer`] | what lets proxies share while the patient is away | [`proxy`] |
//! | [`split_secret`], [`join_secret`] | a seed in pieces | [`proxy`] |
//! | [`keystore`] | secrets at rest, in files that other wallets read | [`keystore`] |
//! | [`VaultKey`] | private data at rest, such as contacts | [`vault`] |
//! | [`jose::LinkKey`], [`jose::CompactJws`] | what people without Galen read and sign: JWE and JWS | [`jose`] |
//! | [`PasscodeHash`] | the passcode of a link, as a server keeps it | |

mod error;
mod primitives;

mod cbor;
mod hpke_box;
mod passcode;

pub mod bundle;
pub mod content;
pub mod envelope;
pub mod header;
pub mod jose;
pub mod keys;
pub mod keystore;
pub mod proxy;
pub mod vault;

pub use bundle::KeyBundle;
pub use content::{
    Committed, Layout, Manifest, MediaType, OpenKey, Opened, Opener, RangePlan, SealContext,
    SealRequest, commit, commitment, open, random_salt, seal, seal_bytes, seal_with_key,
};
pub use envelope::{
    ContactEnvelope, ContactTerms, GrantEnvelope, GrantTerms, GrantText, GrantedKey,
    GrantedSegment, GuardianTerms, MAX_REPLY_LEN, PieceEnvelope, PieceTerms, PieceText, ProxyPlace,
    ReplyEnvelope, ReplyTerms, ShareEnvelope, ShareTerms, ShareText, SharedSegment, open_note,
    seal_note,
};
pub use error::{Error, OpenError};
pub use header::{Capsule, DataKey, HEADER_LEN, Header};
pub use keys::{
    IdentityKey, IdentityPublic, PatientKeys, RootSeed, SegmentKey, SegmentMap, SegmentPublic,
};
pub use keystore::Keystore;
pub use passcode::PasscodeHash;
pub use proxy::{
    Answer, KeySplit, Offer, OfferedSegment, PieceDigests, ProxyShare, ReaderHalf, SecretPiece,
    ShareKeys, join_secret, split_secret,
};
pub use vault::VaultKey;

#[cfg(test)]
mod tests;
