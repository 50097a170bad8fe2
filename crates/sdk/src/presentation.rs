//! A presentation: parts of a signed document, and what proves who signed them.
//!
//! Holds nothing of what is hidden but hashes. `docs/protocol.md`, section "Presentation".

use std::fmt;

use alloy_primitives::{Address, B256, Bytes};
use galen_crypto::Opened;
use galen_fhir::parts::{
    ElementProof, MAX_SHOWN_LEN, ProofParts, Shown, ShownElement, Verified, verify,
};
use galen_types::{LedgerId, Plaintext, hash_pair};
use serde::{Deserialize, Serialize};

use crate::{Attestation, Error, SignedDocument};

/// Media type of a presentation.
pub const PRESENTATION: &str = "application/vnd.galen.presentation+json";

/// Longest presentation, in bytes.
pub const MAX_PRESENTATION_LEN: usize = MAX_SHOWN_LEN;

const FORMAT: &str = "presentation/1";

/// Parts of a signed document, with what proves who signed them.
#[derive(Clone)]
pub struct Presentation {
    attestation: Attestation,
    parts: ProofParts,
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    galen: String,
    chain_id: u64,
    contract: Address,
    author: Address,
    signer: Address,
    rotations: u32,
    issued: u64,
    signature: Bytes,
    batch_path: Vec<B256>,
    depth: u8,
    elements: Vec<ShownElement>,
    nodes: Vec<B256>,
}

impl Presentation {
    /// What is shown of a document. `shown` must be of the tree of the same document.
    pub fn new(signed: &SignedDocument, shown: &Shown<'_, '_>) -> Self {
        Self { attestation: signed.attestation().clone(), parts: shown.proof_parts() }
    }

    /// Who signed it, as it says itself.
    pub const fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// The elements, each with its paths and values.
    pub fn elements(&self) -> &[ShownElement] {
        &self.parts.elements
    }

    /// Whether the parts hold together, and what they show.
    ///
    /// # Errors
    ///
    /// [`Error::Parts`]: a value, a place or a hash was changed, or a part was taken out of what it belongs to.
    pub fn verify(&self) -> Result<Verified, Error> {
        Ok(verify(&self.parts)?)
    }

    /// What the contract needs to prove one shown element, if there is one with this number; see
    /// [`galen_chain::Ledger::proves_element`]. Of a presentation that [`Presentation::verify`] accepted.
    pub fn proof(&self, index: usize) -> Option<ElementProof> {
        let shown = self.parts.elements.get(index)?;
        let (mut own, mut path) = (shown.slot, Vec::new());
        let mut level: Vec<(u32, B256)> =
            self.parts.elements.iter().map(|element| (element.slot, element.leaf())).collect();
        let mut given = self.parts.nodes.iter();
        for _ in 0..self.parts.depth {
            let mut above = Vec::with_capacity(level.len());
            let mut rest = level.iter().copied().peekable();
            while let Some((at, hash)) = rest.next() {
                let pair = rest.next_if(|(next, _)| *next == at ^ 1);
                let beside = pair.map_or_else(|| given.next().copied(), |(_, hash)| Some(hash))?;
                // Of two shown neighbours the first is met first, whichever is the one asked for.
                if at == own {
                    path.push(beside);
                } else if at ^ 1 == own {
                    path.push(hash);
                }
                above.push((at / 2, hash_pair(hash, beside)));
            }
            own /= 2;
            level = above;
        }
        path.extend(&self.attestation.batch_path);
        let (salt, label, parent) = (shown.salt, shown.label, shown.parent);
        Some(ElementProof { salt, label, parent, content: shown.content(), path })
    }

    /// As JSON, one value on one line.
    pub fn encode(&self) -> Plaintext {
        let it = &self.attestation;
        let file = File {
            galen: FORMAT.to_owned(),
            chain_id: it.ledger.chain_id,
            contract: it.ledger.contract,
            author: it.author,
            signer: it.signer,
            rotations: it.rotations,
            issued: it.issued,
            signature: it.signature.clone(),
            batch_path: it.batch_path.clone(),
            depth: self.parts.depth,
            elements: self.parts.elements.clone(),
            nodes: self.parts.nodes.clone(),
        };
        let mut bytes = serde_json::to_vec(&file).expect("every field has a JSON form");
        bytes.push(b'\n');
        Plaintext::new(bytes)
    }

    /// Reads the JSON form. Unknown and repeated fields are refused; nothing is verified here.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] with the kind of malformed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::Crypto(galen_crypto::Error::Malformed { what: "presentation" });
        if bytes.len() > MAX_PRESENTATION_LEN {
            return Err(malformed());
        }
        let file: File = serde_json::from_slice(bytes).map_err(|_| malformed())?;
        if file.galen != FORMAT {
            return Err(malformed());
        }
        let attestation = Attestation {
            ledger: LedgerId { chain_id: file.chain_id, contract: file.contract },
            author: file.author,
            signer: file.signer,
            rotations: file.rotations,
            issued: file.issued,
            batch_path: file.batch_path,
            signature: file.signature,
        };
        attestation.check().map_err(|_| malformed())?;
        let (depth, elements, nodes) = (file.depth, file.elements, file.nodes);
        Ok(Self { attestation, parts: ProofParts { depth, elements, nodes } })
    }

    /// Of a record's payload, if that is one.
    pub(crate) fn of(opened: &Opened) -> Option<Result<Self, Error>> {
        let is = opened.media_type.as_str() == PRESENTATION;
        is.then(|| Self::decode(opened.payload.expose()))
    }
}

impl fmt::Debug for Presentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, author) = (self.parts.elements.len(), self.attestation.author);
        write!(f, "Presentation({count} elements by {author:#x})")
    }
}
