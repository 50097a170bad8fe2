//! What work that can be taken up again writes down.

use std::io;

use alloy_primitives::{Address, B256, Bytes};
use galen_types::{Leaf, LedgerId, ProposalId, Salt};
use serde::{Deserialize, Serialize};

/// A line of a journal. Holds no health data and no secret: hashes of inputs are salted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum JournalEntry {
    /// The first line.
    Begun {
        /// The ledger.
        ledger: LedgerId,
        /// Whose chart.
        patient: Address,
        /// Who imports.
        author: Address,
        /// Salt of the inputs' hashes.
        salt: Salt,
    },
    /// The roots of documents are signed. Written before the first of them is sealed.
    Attested {
        /// Rotations of the author that the signature is bound to.
        rotations: u32,
        /// Unix second at which they were signed.
        issued: u64,
        /// Roots of the documents' trees, in the order in which they were signed. Their salts are not here:
        /// they are derived from the author's own seed.
        roots: Vec<B256>,
        /// The author's signature.
        signature: Bytes,
    },
    /// Sealed content of a part of an input is staged on this machine.
    Sealed {
        /// Which input: keccak256(salt ‖ bytes of a document), or of a file keccak256(salt ‖
        /// keccak256("galen.import.file.v1") ‖ SHA-256 of its bytes ‖ length u64 ‖ category u8 ‖ media type).
        input: B256,
        /// Which of the input's records.
        part: u32,
        /// How many it has.
        parts: u32,
        /// The leaf to be proposed.
        leaf: Leaf,
        /// Bytes of sealed content.
        len: u64,
    },
    /// A proposal is signed, and all its content is where it belongs. It may have been sent.
    Signed {
        /// Rotations of the author that the signature is bound to.
        rotations: u32,
        /// Last Unix second at which the signature holds.
        deadline: u64,
        /// Hash of the policy.
        policy: B256,
        /// The leaves.
        leaves: Vec<Leaf>,
        /// The author's signature.
        signature: Bytes,
    },
    /// The ledger has the proposal.
    Announced {
        /// Its id.
        proposal: ProposalId,
    },
}

/// Where an import writes down what it did; or a custodian, with entries of its own.
pub trait Journal<Entry = JournalEntry>: Send {
    /// Keeps an entry, durably: when this returns, the entry survives a crash.
    ///
    /// # Errors
    ///
    /// If it cannot be kept; the work stops there.
    fn append(&mut self, entry: &Entry) -> io::Result<()>;
}
