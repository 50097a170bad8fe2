//! Who somebody says they are, and where their network is.
//!
//! A card is handed over by file, text or QR code. It is signed by the controller of its id under the
//! ledger's domain. Deterministic CBOR (RFC 8949, section 4.2.1), at most [`MAX_CARD_LEN`] bytes:
//!
//! ```text
//! { 0: 1,                  format
//!   1: chain id,           unsigned
//!   2: ledger,             byte string, 20
//!   3: id,                 byte string, 20
//!   4: name,               text, at most 64 bytes, without control characters
//!   5: role,               1 patient, 2 organization, 3 reader
//!   6: key bundle id,      byte string, 32
//!   7: deployed in,        block, below 2^48
//!   8: code hash,          byte string, 32
//!   9: salt,               byte string, 32
//!   10: RPC URL, 11: relay, 12: store,    texts of at most 256 bytes; empty for none
//!   13: issued,            Unix second, below 2^48
//!   14: signature }        byte string, at most 4,096
//! ```

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_chain::{Account, Evidence, Ledger, SignError, clear, typed};
use galen_types::{KeyBundleId, LedgerId};
use minicbor::Decoder;
use serde::{Deserialize, Serialize};

use crate::{Error, cbor, patient::u48};

/// Longest encoded card, in bytes.
pub const MAX_CARD_LEN: usize = 6_144;

/// Longest name on a card, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// Longest URL or store on a card, in bytes.
pub const MAX_PLACE_LEN: usize = 256;

/// Words of a fingerprint: 88 bits.
pub const FINGERPRINT_WORDS: usize = 8;

const MAX_SIGNATURE_LEN: usize = 4_096;
const FORMAT: u8 = 1;
const MAX_U48: u64 = (1 << 48) - 1;

/// What somebody does in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Role {
    /// Owns a chart under a pseudonym.
    Patient = 1,
    /// Proposes records; a member of the network.
    Organization = 2,
    /// Reads what it was granted.
    Reader = 3,
}

impl Role {
    /// From the number on a card.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Patient),
            2 => Some(Self::Organization),
            3 => Some(Self::Reader),
            _ => None,
        }
    }

    /// The word for people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Organization => "organization",
            Self::Reader => "reader",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A card. Nothing on it is to be believed before [`Card::verify`], and the name not even then: compare the
/// [`fingerprint`] with its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    /// The network.
    pub ledger: LedgerId,
    /// Whose card it is.
    pub id: Address,
    /// What they call themselves.
    pub name: String,
    /// What they do.
    pub role: Role,
    /// Their current key bundle.
    pub bundle: KeyBundleId,
    /// Block of the ledger's deployment.
    pub deployed_in: u64,
    /// keccak256 of the ledger's code.
    pub code_hash: B256,
    /// Salt of the ledger's deployment.
    pub salt: B256,
    /// A node, or empty.
    pub rpc_url: String,
    /// A relay, or empty.
    pub relay: String,
    /// A content store, or empty.
    pub store: String,
    /// Unix second at which the card was made.
    pub issued: u64,
    /// Signature of the id's controller.
    pub signature: Bytes,
}

impl Card {
    /// Signs the card.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if a text is too long or holds control characters, or a number is too large.
    /// - [`Error::Sign`].
    pub async fn sign(mut self, account: &Account) -> Result<Self, Error> {
        self.check().map_err(Error::Invalid)?;
        if account.id() != self.id {
            return Err(Error::Invalid("a card is signed by the one whose card it is"));
        }
        let signed = account.sign(&self.message(), self.ledger, Evidence::default()).await;
        self.signature = signed.map_err(|error: SignError| Error::Sign(error))?;
        Ok(self)
    }

    /// Whether the card was signed by who controls its id today, on the ledger that it names.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if the card is of another ledger; [`Error::Chain`] if it was not signed so.
    pub async fn verify(&self, ledger: &Ledger) -> Result<(), Error> {
        if ledger.id() != self.ledger {
            return Err(Error::Envelope("the card is of another network"));
        }
        let digest = typed::digest(&self.message(), self.ledger);
        Ok(ledger.require_signed(self.id, digest, &self.signature).await?)
    }

    /// Words to compare with the owner of the card.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.id, self.bundle)
    }

    /// The one encoding of the card.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(|writer| {
            writer.map(15)?.u8(0)?.u8(FORMAT)?;
            writer.u8(1)?.u64(self.ledger.chain_id)?;
            writer.u8(2)?.bytes(self.ledger.contract.as_slice())?;
            writer.u8(3)?.bytes(self.id.as_slice())?.u8(4)?.str(&self.name)?;
            writer.u8(5)?.u8(self.role as u8)?.u8(6)?.bytes(self.bundle.as_bytes())?;
            writer.u8(7)?.u64(self.deployed_in)?.u8(8)?.bytes(self.code_hash.as_slice())?;
            writer.u8(9)?.bytes(self.salt.as_slice())?.u8(10)?.str(&self.rpc_url)?;
            writer.u8(11)?.str(&self.relay)?.u8(12)?.str(&self.store)?;
            writer.u8(13)?.u64(self.issued)?.u8(14)?.bytes(&self.signature)?.ok()
        })
    }

    /// Reads what [`Card::encode`] writes and nothing else. Whether it is signed is not judged here.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] with the kind of malformed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        cbor::decode("card", bytes, MAX_CARD_LEN, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let malformed = minicbor::decode::Error::message;
        cbor::exactly(reader.map()?, 15)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)?;
        let chain_id = reader.u64()?;
        cbor::key(reader, 2)?;
        let contract = Address::new(cbor::bytes(reader)?);
        cbor::key(reader, 3)?;
        let id = Address::new(cbor::bytes(reader)?);
        let name = text(reader, 4)?;
        cbor::key(reader, 5)?;
        let role = Role::from_u8(reader.u8()?).ok_or_else(|| malformed("no such role"))?;
        cbor::key(reader, 6)?;
        let bundle = KeyBundleId(B256::new(cbor::bytes(reader)?));
        cbor::key(reader, 7)?;
        let deployed_in = reader.u64()?;
        cbor::key(reader, 8)?;
        let code_hash = B256::new(cbor::bytes(reader)?);
        cbor::key(reader, 9)?;
        let salt = B256::new(cbor::bytes(reader)?);
        let (rpc_url, relay) = (text(reader, 10)?, text(reader, 11)?);
        let store = text(reader, 12)?;
        cbor::key(reader, 13)?;
        let issued = reader.u64()?;
        cbor::key(reader, 14)?;
        let signature = Bytes::copy_from_slice(reader.bytes()?);
        let ledger = LedgerId { chain_id, contract };
        let card = Self {
            ledger,
            id,
            name,
            role,
            bundle,
            deployed_in,
            code_hash,
            salt,
            rpc_url,
            relay,
            store,
            issued,
            signature,
        };
        card.check().map_err(malformed)?;
        Ok(card)
    }

    fn check(&self) -> Result<(), &'static str> {
        let plain = |text: &str, max| text.len() <= max && !text.chars().any(char::is_control);
        let places = [&self.rpc_url, &self.relay, &self.store];
        if !plain(&self.name, MAX_NAME_LEN) {
            return Err("a name has at most 64 bytes and no control characters");
        }
        if !places.iter().all(|place| plain(place, MAX_PLACE_LEN)) {
            return Err("a URL or store has at most 256 bytes and no control characters");
        }
        if self.deployed_in > MAX_U48 || self.issued > MAX_U48 {
            return Err("a block or time is too large");
        }
        if self.signature.len() > MAX_SIGNATURE_LEN {
            return Err("a signature has at most 4,096 bytes");
        }
        Ok(())
    }

    fn message(&self) -> typed::Card {
        typed::Card {
            id: self.id,
            name: self.name.clone(),
            role: self.role as u8,
            bundle: self.bundle.0,
            deployedIn: u48(self.deployed_in),
            codeHash: self.code_hash,
            salt: self.salt,
            rpcUrl: self.rpc_url.clone(),
            relay: self.relay.clone(),
            store: self.store.clone(),
            issued: u48(self.issued),
        }
    }
}

impl fmt::Debug for Card {
    // A patient's name is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card({} {:#x} of {})", self.role, self.id, self.ledger)
    }
}

/// Words to read aloud that stand for an id and its keys: the first 88 bits of keccak256(id ‖ bundle id), as
/// eight words of the English list of BIP-39.
pub fn fingerprint(id: Address, bundle: KeyBundleId) -> String {
    let hash = keccak256([id.as_slice(), bundle.as_bytes()].concat());
    clear::words(hash, FINGERPRINT_WORDS).join(" ")
}

fn text(reader: &mut Decoder<'_>, key: u8) -> Result<String, minicbor::decode::Error> {
    cbor::key(reader, key)?;
    Ok(reader.str()?.to_owned())
}
