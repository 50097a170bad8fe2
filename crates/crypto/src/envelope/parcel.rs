//! What envelopes with keys have alike: who sends what to whom, the box, and what the patient signs of it.

use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_types::LedgerId;
use minicbor::Decoder;

use crate::{
    cbor::{self, Malformed},
    envelope::{
        MAX_SIBLINGS, ciphertext_hash, read_box, read_bytes, read_ledger, read_signature,
        write_ledger,
    },
    hpke_box::HpkeBox,
};

/// The fields in clear.
#[derive(Clone, Copy)]
pub(super) struct Clear {
    pub(super) format: u8,
    pub(super) ledger: LedgerId,
    /// Whose keys they are.
    pub(super) owner: Address,
    /// Who gets them.
    pub(super) holder: Address,
    /// The consent, or the commitment to guardians.
    pub(super) scope: B256,
    /// The epoch, or which half.
    pub(super) number: u32,
}

impl Clear {
    pub(super) fn info(&self, label: &[u8], recipient_key: B256) -> Vec<u8> {
        [
            label,
            &self.ledger.chain_id.to_be_bytes(),
            self.ledger.contract.as_slice(),
            self.owner.as_slice(),
            self.holder.as_slice(),
            self.scope.as_slice(),
            &self.number.to_be_bytes(),
            recipient_key.as_slice(),
        ]
        .concat()
    }

    /// What `Sharing` and `Pieces` name the envelope by.
    pub(super) fn leaf(&self, recipient_key: B256, sealed: &HpkeBox) -> B256 {
        let ciphertext = ciphertext_hash(sealed);
        keccak256([self.scope, self.holder.into_word(), recipient_key, ciphertext].concat())
    }
}

/// A whole envelope.
pub(super) struct Parcel {
    pub(super) clear: Clear,
    pub(super) recipient_key: B256,
    pub(super) sealed: HpkeBox,
    pub(super) siblings: Vec<B256>,
    pub(super) deadline: u64,
    pub(super) signature: Bytes,
}

impl Parcel {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Clear { format, ledger, owner, holder, scope, number } = &self.clear;
        let capacity = 8192 + self.sealed.ciphertext.len() + 32 * self.siblings.len();
        cbor::encode(capacity, |writer| {
            writer.map(13)?.u8(0)?.u8(*format)?;
            write_ledger(writer, ledger)?;
            writer.u8(3)?.bytes(owner.as_slice())?.u8(4)?.bytes(holder.as_slice())?;
            writer.u8(5)?.bytes(scope.as_slice())?.u8(6)?.u32(*number)?;
            writer.u8(7)?.bytes(self.recipient_key.as_slice())?;
            writer.u8(8)?.bytes(&self.sealed.enc)?.u8(9)?.bytes(&self.sealed.ciphertext)?;
            writer.u8(10)?.bytes(&self.siblings.concat())?;
            writer.u8(11)?.u64(self.deadline)?.u8(12)?.bytes(&self.signature)?.ok()
        })
    }

    pub(super) fn read(reader: &mut Decoder<'_>, format: u8) -> Result<Self, Malformed> {
        cbor::map(reader, 13)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, format)?;
        let ledger = read_ledger(reader)?;
        let owner = read_bytes(reader, 3)?.into();
        let holder = read_bytes(reader, 4)?.into();
        let scope = read_bytes(reader, 5)?.into();
        cbor::key(reader, 6)?;
        let clear = Clear { format, ledger, owner, holder, scope, number: reader.u32()? };
        let recipient_key = read_bytes(reader, 7)?.into();
        let sealed = read_box(reader, 8)?;
        cbor::key(reader, 10)?;
        let (siblings, tail) = reader.bytes()?.as_chunks::<32>();
        if !tail.is_empty() || siblings.len() > MAX_SIBLINGS {
            return Err(Malformed);
        }
        let siblings = siblings.iter().map(B256::from).collect();
        let (deadline, signature) = read_signature(reader, 11)?;
        let signature = signature.into();
        Ok(Self { clear, recipient_key, sealed, siblings, deadline, signature })
    }
}
