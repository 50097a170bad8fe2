//! What goes to proxies and comes from them: JSON over HTTP, bytes as `0x…`, contents as `swarm:…` or `ipfs:…`.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/shares` | a share envelope, as its bytes | 204 |
//! | `POST /v1/pieces` | a piece envelope, as its bytes | 204 |
//! | `POST /v1/keys` | [`KeyAsk`] | [`KeyAnswers`] |
//! | `POST /v1/offers` | [`KeyAsk`] without records and consent | [`Offers`] |
//! | `POST /v1/report` | [`ReportAsk`] | [`Report`] |
//! | `POST /v1/release` | [`PieceAsk`] | [`PieceAnswer`] |
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /healthz` | | 200 while the proxy would answer, else 503 |
//! | `GET /metrics` | | counts in the text format of Prometheus |
//!
//! What is refused is answered with [`Refused`] and a status of HTTP; 425 means that the log is not final yet.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

/// Longest body of a JSON request, in bytes: 64 records and a signature of a contract wallet.
pub const MAX_ASK_LEN: usize = 32 * 1024;

/// Longest JSON answer, in bytes.
pub const MAX_ANSWER_LEN: usize = 4 * 1024 * 1024;

/// Asks for the keys of records whose reads are logged: the fields of `KeyRequest`, signed by the grantee's
/// controller. The same one goes to every proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyAsk {
    /// Pseudonym of the patient.
    pub patient: Address,
    /// Who asks.
    pub grantee: Address,
    /// The consent that the reads are logged under; zero asks for offers.
    pub consent: B256,
    /// Words as in `Access.records`, at most 64; none asks for offers.
    pub records: Vec<U256>,
    /// Last Unix second at which the request is answered.
    pub deadline: u64,
    /// By the grantee's controller.
    pub signature: Bytes,
}

/// What a proxy answers to [`KeyAsk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyAnswers {
    /// For a named grantee: useless without its half.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<KeyAnswer>,
    /// For a segment that is open to all: the same list as JSON, sealed to the caller's published key under the
    /// label `galen.proxy.keys.v1`, with the digest of the request as its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Bytes>,
}

/// A proxy's answer for one content of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyAnswer {
    /// Which of the words of the request it is for.
    pub record: U256,
    /// The content whose header the proxy fetched: the newest, or one of a few before it, as of the block of the
    /// access.
    pub content: String,
    /// The version that was current in that block.
    pub version: B256,
    /// Epoch of that header.
    pub epoch: u32,
    /// `galen_crypto::Answer`, 97 bytes.
    pub answer: Bytes,
    /// The proxy's piece of the segment's X-Wing seed (index ‖ 32 bytes), under a consent that names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kem_piece: Option<Bytes>,
}

/// What is kept for a caller, each sealed to its published key.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offers {
    /// Where grant envelopes for the caller lie, newest last.
    pub grants: Vec<GrantAt>,
    /// Signed offers to every organization (encoded `galen_crypto::Offer`s), if the caller is an active one: JSON list
    /// of `0x…`, sealed under the label `galen.proxy.offers.v1` with the digest of the request as its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Bytes>,
}

/// Where a grant envelope lies, and what it is signed by.
///
/// The share envelope names where it lies, and both are signed together. So what is kept there is the grant envelope
/// without siblings, deadline and signature: a proxy gives those of the share envelope that it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantAt {
    /// The consent.
    pub consent: B256,
    /// The epoch.
    pub epoch: u32,
    /// The content.
    pub content: String,
    /// `ShareEnvelope::siblings` of the share envelope that named the content.
    pub siblings: Vec<B256>,
    /// Its deadline.
    pub deadline: u64,
    /// Its signature.
    pub signature: Bytes,
}

/// A patient asks what a proxy served and refused: the fields of `ReportRequest`, signed by the patient's
/// controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportAsk {
    /// Pseudonym of the patient.
    pub patient: Address,
    /// From this Unix second on.
    pub since: u64,
    /// Last Unix second at which the request is answered.
    pub deadline: u64,
    /// By the patient's controller.
    pub signature: Bytes,
}

/// What a proxy served and refused, signed as `ProxyReport`. `entries` of the signed struct is keccak256 of the
/// JSON text of [`Report::entries`] as it stands in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// The proxy.
    pub proxy: Address,
    /// Pseudonym of the patient.
    pub patient: Address,
    /// From this Unix second on.
    pub since: u64,
    /// To this one.
    pub until: u64,
    /// JSON list of [`ReportEntry`], as the text that was signed.
    pub entries: String,
    /// By the proxy's controller.
    pub signature: Bytes,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportEntry {
    /// Unix second of the proxy's clock.
    pub time: u64,
    /// Who asked.
    pub grantee: Address,
    /// Under which consent.
    pub consent: B256,
    /// The record id.
    pub record: B256,
    /// The access that was served: number of its block and index of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<(u64, u64)>,
    /// Why it was refused; see [`Refused::cause`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How often the same happened, if more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// How many reads the lines of a report say were served and refused, as `ProxyReport` counts them: each line as
/// often as it happened.
pub fn report_counts(entries: &[ReportEntry]) -> (u32, u32) {
    let count = |served: bool| {
        let lines = entries.iter().filter(|entry| entry.access.is_some() == served);
        let times = lines.map(|entry| entry.times.unwrap_or(1));
        u32::try_from(times.fold(0, u64::saturating_add)).unwrap_or(u32::MAX)
    };
    (count(true), count(false))
}

/// Who controls an id after a recovery asks for a piece of its seed: the fields of `PieceRequest`, signed by the
/// id's controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PieceAsk {
    /// The id that was recovered.
    pub id: Address,
    /// An X-Wing public key to seal the piece to, 1,216 bytes.
    pub recipient: Bytes,
    /// Last Unix second at which the request is answered.
    pub deadline: u64,
    /// By the id's controller.
    pub signature: Bytes,
}

/// A proxy's piece, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PieceAnswer {
    /// The text of the piece envelope, sealed under the label `galen.proxy.piece.v1` with the digest of the request
    /// as its place.
    pub sealed: Bytes,
}

/// Who a proxy is and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Id of the proxy; shares are sealed to its published key.
    pub proxy: Address,
    /// Chain id of the ledger.
    pub chain_id: u64,
    /// The ledger.
    pub ledger: Address,
    /// Newest block that enough nodes agree on.
    pub head: u64,
    /// Unix second of that block.
    pub head_time: u64,
    /// Highest final block.
    pub final_block: Option<u64>,
    /// How many nodes are asked, and how many must agree.
    pub nodes: (usize, usize),
    /// Seconds after its access for which a read is answered.
    pub window: u64,
    /// Whether it would answer now; if not, why.
    pub fault: Option<String>,
    /// Version of the program.
    pub version: String,
}

/// Why a proxy does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refused {
    /// A stable word:
    ///
    /// | cause | HTTP | meaning |
    /// |---|---|---|
    /// | `malformed` | 400 | not a request |
    /// | `elsewhere` | 400 | for another ledger or proxy |
    /// | `signature` | 403 | not signed by who it says |
    /// | `deadline` | 403 | out of date |
    /// | `not-logged` | 403 | no such access on the chain |
    /// | `not-final` | 425 | the access can still go away: ask again |
    /// | `window` | 403 | the access is too long ago |
    /// | `revoked` | 403 | the consent is not live at the head |
    /// | `not-accepted` | 403 | no accepted version of the record stood in that block, or it was retracted |
    /// | `standing` | 403 | the grantee is suspended, or not an active organization |
    /// | `no-share` | 404 | the proxy holds no share for this |
    /// | `stale` | 409 | an envelope older than what the proxy has |
    /// | `limit` | 429 | too many requests or records: wait |
    /// | `content` | 503 | the header could not be fetched, or its capsule is not of this record |
    /// | `chain` | 503 | nodes do not agree, are silent, or the head is too old |
    /// | `not-recovered` | 403 | no recovery of this id by its guardians has finished, or not for this controller |
    /// | `internal` | 500 | the proxy failed |
    pub cause: String,
    /// One sentence for people.
    pub error: String,
    /// Seconds after which it is worth asking again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<u64>,
}
