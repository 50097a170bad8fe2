//! Everything that is signed, as EIP-712 typed data.
//!
//! The type strings are those of the contracts; `tests/vectors/eip712.json` pins their digests.
#![allow(missing_docs, reason = "the fields are documented in docs/protocol.md")]

use alloy::sol_types::{Eip712Domain, SolStruct, SolValue as _, eip712_domain};
use alloy_primitives::{Address, B256, keccak256};
use galen_types::{LedgerId, ProposalId};

alloy::sol! {
    #![sol(all_derives, extra_derives(serde::Serialize, serde::Deserialize))]

    struct Leaf {
        uint8 kind;
        uint8 segment;
        uint64 number;
        uint8 store;
        bytes32 content;
        bytes32 commitment;
        bytes32 previous;
    }

    struct Proposal {
        address patient;
        address author;
        uint32 rotations;
        uint16 count;
        uint48 deadline;
        bytes32 policy;
        Leaf[] leaves;
    }

    struct Withdrawal {
        address patient;
        address author;
        uint32 rotations;
        bytes32 proposal;
        uint48 deadline;
    }

    struct Settlement {
        address patient;
        address signer;
        uint32 rotations;
        uint32 sequence;
        bytes32 proposal;
        uint256 accepted;
        uint256 rejected;
        uint48 deadline;
    }

    struct Cosignature {
        address cosigner;
        uint32 rotations;
        bytes32 proposal;
        uint48 deadline;
    }

    struct ConsentChange {
        address patient;
        address signer;
        uint32 rotations;
        uint32 version;
        bytes28 root;
        bytes32[] revoked;
        bytes32[] granted;
        uint48 deadline;
    }

    struct Resealed {
        uint8 segment;
        uint64 number;
        uint8 store;
        bytes32 content;
        bytes32 previous;
    }

    struct Reseal {
        address patient;
        address author;
        address signer;
        uint32 rotations;
        Resealed[] items;
        uint48 deadline;
    }

    struct BulkAnchor {
        address author;
        uint32 rotations;
        bytes32 root;
        uint32 count;
        uint8 store;
        bytes32 manifest;
        uint48 deadline;
    }

    struct Access {
        address patient;
        address grantee;
        uint32 rotations;
        uint8 purpose;
        bytes32 consent;
        uint256[] records;
        uint48 deadline;
    }

    struct AccessRequest {
        address patient;
        address organization;
        uint32 rotations;
        uint32 purposes;
        uint8 store;
        bytes32 message;
        uint48 deadline;
    }

    struct Rotation {
        address id;
        address controller;
        uint32 sequence;
        uint32 nonce;
        uint48 deadline;
    }

    struct KeyBundle {
        address id;
        uint32 rotations;
        bytes32 previous;
        bytes32 bundle;
        uint8 store;
        bytes32 content;
        uint48 deadline;
    }

    struct GuardianChange {
        address id;
        uint32 rotations;
        bytes32 commitment;
        uint32 delay;
        uint32 nonce;
        uint48 deadline;
    }

    struct Recovery {
        address id;
        address guardian;
        uint32 guardianRotations;
        address controller;
        bool isFinal;
        uint32 nonce;
        uint48 deadline;
    }

    struct Cancellation {
        address id;
        uint32 rotations;
        uint32 nonce;
        uint48 deadline;
    }

    struct Vote {
        uint8 motion;
        address organization;
        uint32 counter;
        address voter;
        uint32 rotations;
        uint48 deadline;
    }

    /// The author of documents that are signed by parts stands behind them. Has no deadline: what a
    /// clinician signed stays signed.
    struct Attestation {
        address author;
        uint32 rotations;
        bytes32 root;
        uint48 issued;
    }

    /// Why a patient rejects records or what they ask to be corrected, sealed to the author. Never sent to
    /// the chain.
    struct Reply {
        address patient;
        address author;
        bytes32 proposal;
        uint256 leaves;
        uint8 kind;
        bytes32 ciphertext;
        uint48 deadline;
    }

    /// Keys of granted segments, sealed to a grantee (direct mode). Never sent to the chain.
    struct Envelope {
        address patient;
        address grantee;
        bytes32 consent;
        bytes32 recipientKey;
        bytes32 ciphertext;
        uint48 deadline;
    }

    /// Envelopes for grantees and shares for proxies, all that one grant or one new epoch needs: the leaves of
    /// [`envelope_leaf`], in the order in which they are sent. Never sent to the chain.
    struct Sharing {
        address patient;
        uint32 epoch;
        bytes32[] envelopes;
        uint48 deadline;
    }

    /// What a patient opens to every organization through proxies: the consent and whom to ask. The proxies
    /// show it to active organizations. Never sent to the chain.
    struct Offer {
        address patient;
        bytes32 consent;
        uint32 epoch;
        bytes32 offer;
        uint48 issued;
    }

    /// A grantee asks proxies for the keys of records whose reads it logs. Words as in `Access.records`; no
    /// record and a zero consent ask what is kept for the grantee. Never sent to the chain.
    struct KeyRequest {
        address patient;
        address grantee;
        uint32 rotations;
        bytes32 consent;
        uint256[] records;
        uint48 deadline;
    }

    /// A patient asks a proxy what it served and refused. Never sent to the chain.
    struct ReportRequest {
        address patient;
        uint32 rotations;
        uint48 since;
        uint48 deadline;
    }

    /// What a proxy says that it served and refused. Never sent to the chain.
    struct ProxyReport {
        address proxy;
        uint32 rotations;
        address patient;
        uint48 since;
        uint48 until;
        uint32 served;
        uint32 refused;
        bytes32 entries;
    }

    /// Pieces of a root seed, sealed to guardians and proxies: leaves as in `Sharing`, with the commitment to the
    /// guardians in place of a consent. Never sent to the chain.
    struct Pieces {
        address id;
        bytes32 guardians;
        bytes32[] envelopes;
        uint48 deadline;
    }

    /// Who controls an id after a recovery asks proxies for their pieces of its seed. Never sent to the chain.
    struct PieceRequest {
        address id;
        address controller;
        uint32 rotations;
        bytes32 recipientKey;
        uint48 deadline;
    }

    /// What an author needs at first contact, sealed to it. Never sent to the chain.
    struct Contact {
        address patient;
        address author;
        bytes32 bundle;
        bytes32 ciphertext;
        uint48 deadline;
    }

    /// Who somebody says they are, and where their network is. Never sent to the chain.
    struct Card {
        address id;
        string name;
        uint8 role;
        bytes32 bundle;
        uint48 deployedIn;
        bytes32 codeHash;
        bytes32 salt;
        string rpcUrl;
        string relay;
        string store;
        uint48 issued;
    }
}

/// What `Sharing` and `Pieces` name an envelope by:
/// `keccak256(abi.encode(bytes32 scope, address holder, bytes32 recipientKey, bytes32 ciphertext))`. The scope is the
/// consent, or the commitment to the guardians.
pub fn envelope_leaf(scope: B256, holder: Address, recipient_key: B256, ciphertext: B256) -> B256 {
    keccak256((scope, holder, recipient_key, ciphertext).abi_encode())
}

/// Domain of everything that the ledger checks, and of what is only exchanged between people.
pub fn ledger_domain(ledger: LedgerId) -> Eip712Domain {
    eip712_domain! {
        name: "Galen",
        version: "1",
        chain_id: ledger.chain_id,
        verifying_contract: ledger.contract,
    }
}

/// Domain of votes.
pub fn consortium_domain(chain_id: u64, consortium: Address) -> Eip712Domain {
    eip712_domain! {
        name: "Galen Consortium",
        version: "1",
        chain_id: chain_id,
        verifying_contract: consortium,
    }
}

/// The digest that is signed.
pub fn digest<T: SolStruct>(message: &T, ledger: LedgerId) -> B256 {
    message.eip712_signing_hash(&ledger_domain(ledger))
}

impl From<&galen_types::Leaf> for Leaf {
    fn from(leaf: &galen_types::Leaf) -> Self {
        Self {
            kind: leaf.kind as u8,
            segment: leaf.segment.0,
            number: leaf.number,
            store: leaf.content.store as u8,
            content: leaf.content.digest,
            commitment: leaf.commitment.0,
            previous: leaf.previous.0,
        }
    }
}

impl Proposal {
    /// The id under which withdrawals and settlements name the proposal.
    pub fn id(&self) -> ProposalId {
        ProposalId(self.eip712_hash_struct())
    }
}
