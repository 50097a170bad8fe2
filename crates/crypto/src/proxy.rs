//! Unidirectional proxy re-encryption by secret splitting (Ivan and Dodis 2003), the proxies' half shared
//! `t` of `n` (Shamir 1979, with the public values of Feldman 1987).
//!
//! A segment's secret of one epoch is a scalar `a` of ristretto255 (RFC 9496) and an X-Wing key; see
//! [`crate::keys`]. `G` is the generator, `A = a·G` is public, and a capsule `E = r·G` stands for the secret
//! `S = r·A = a·E` (see [`crate::header`]).
//!
//! # Splitting
//!
//! Each grant is a fresh split: `b` and the coefficients `f_1 … f_(t-1)` are uniform.
//!
//! ```text
//! a   = b + f_0                             the reader's half, and the proxies'
//! p_i = f_0 + f_1·i + … + f_(t-1)·i^(t-1)   share of proxy i, 1 ≤ i ≤ n
//! C_j = f_j·G                               public: so is the key P_i = p_i·G of each share
//! ```
//!
//! For a segment that is open to a network, `b` is zero: the proxies hold the whole secret.
//!
//! # Answering
//!
//! Proxy `i` checks the capsule's proof of knowledge and answers with `D_i = p_i·E` and a proof that the same
//! `p_i` stands in `P_i` and `D_i` (Chaum and Pedersen 1992), with `k` uniform:
//!
//! ```text
//! c     = SHA-512( "galen.proxy.answer.v1" ‖ context (92) ‖ segment u8 ‖ epoch u32 ‖ i u8
//!                  ‖ P_i ‖ E ‖ D_i ‖ k·G ‖ k·E ) mod ℓ
//! s     = k + c·p_i mod ℓ
//! proof = c ‖ s                             valid if c is that hash with s·G - c·P_i and s·E - c·D_i
//! ```
//!
//! The reader checks each answer and adds `t` of them, with Lagrange's coefficients at 0, to `b·E`: that is `S`.
//!
//! # What it gives, and what not
//!
//! - Fewer than `t` proxies with any readers, of one grant or many, open nothing that enough proxies did not answer
//!   for; all proxies without a reader open nothing at all.
//! - `t` proxies and one reader of the same grant know `a`, and so everything of that segment and epoch. Under a
//!   consent that names nobody `t` proxies need no reader.
//! - An answer opens one capsule, for ever.
//! - The elliptic curve falls to a quantum computer; then whoever has an X-Wing secret of the segment, that
//!   is any reader of the epoch, opens everything. Without one, nobody does.
//!
//! What is assumed for it and how it is argued: `docs/protocol.md`, section 14.

mod answer;
mod offer;
mod pieces;
mod share;

pub use answer::Answer;
pub use offer::{Offer, OfferedSegment};
pub use pieces::{MAX_PIECES, PieceDigests, SecretPiece, join_secret, split_secret};
pub use share::{KeySplit, MAX_PROXIES, ProxyShare, ReaderHalf, ShareKeys};
