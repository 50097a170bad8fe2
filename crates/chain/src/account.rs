//! Who signs: an id and the key of its controller.

use std::fmt;

use alloy::{
    signers::{
        SignerSync,
        k256::ecdsa::SigningKey,
        local::{
            MnemonicBuilder, PrivateKeySigner,
            coins_bip39::{English, Mnemonic},
        },
    },
    sol_types::SolStruct,
};
use alloy_primitives::{Address, B256, Bytes};
use galen_types::{ErrorKind, LedgerId};
use zeroize::Zeroizing;

use crate::typed;

/// An id and the key that signs for it. The key never leaves the value and is never printed.
#[derive(Clone)]
pub struct Account {
    id: Address,
    signer: PrivateKeySigner,
}

impl Account {
    /// A fresh random account that controls itself.
    pub fn random() -> Self {
        Self::from(PrivateKeySigner::random())
    }

    /// The account of a 32-byte secp256k1 key; `None` if the bytes are no key.
    pub fn from_key(key: &[u8; 32]) -> Option<Self> {
        PrivateKeySigner::from_slice(key).ok().map(Self::from)
    }

    /// The same key, signing for another id that it controls after a rotation.
    pub fn for_id(self, id: Address) -> Self {
        Self { id, ..self }
    }

    /// The id that the account signs for.
    pub const fn id(&self) -> Address {
        self.id
    }

    /// The account whose signature counts.
    pub const fn controller(&self) -> Address {
        self.signer.address()
    }

    /// Signs typed data under a ledger's domain: deterministic (RFC 6979), 64 bytes in the form of
    /// ERC-2098, which costs less calldata than `r‖s‖v`.
    pub fn sign<T: SolStruct>(&self, message: &T, ledger: LedgerId) -> Bytes {
        self.sign_digest(typed::digest(message, ledger))
    }

    /// Signs a digest.
    pub fn sign_digest(&self, digest: B256) -> Bytes {
        let signature =
            self.signer.sign_hash_sync(&digest).expect("a local key signs every digest");
        signature.as_erc2098().into()
    }

    /// The key, for a wallet that pays gas.
    pub(crate) fn signer(&self) -> PrivateKeySigner {
        self.signer.clone()
    }

    /// The 32 secret bytes, for a keystore.
    pub fn export_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signer.to_bytes().0)
    }
}

impl From<PrivateKeySigner> for Account {
    fn from(signer: PrivateKeySigner) -> Self {
        Self { id: signer.address(), signer }
    }
}

impl From<SigningKey> for Account {
    fn from(key: SigningKey) -> Self {
        Self::from(PrivateKeySigner::from_signing_key(key))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({:#x})", self.id)
    }
}

/// A text is not a BIP-39 mnemonic, or has no account at the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a BIP-39 mnemonic of English words with a right checksum")]
pub struct MnemonicError;

impl MnemonicError {
    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Twelve fresh words of the English BIP-39 list.
pub fn new_mnemonic() -> Zeroizing<String> {
    let mut entropy = Zeroizing::new([0_u8; 16]);
    entropy.copy_from_slice(&PrivateKeySigner::random().to_bytes()[..16]);
    let mnemonic = Mnemonic::<English>::new_from_entropy(
        alloy::signers::local::coins_bip39::Entropy::Sixteen(*entropy),
    );
    Zeroizing::new(mnemonic.to_phrase())
}

/// The account at `m/44'/60'/0'/0/index`. Patients use one index per organization, so that their
/// pseudonyms cannot be linked.
///
/// # Errors
///
/// [`MnemonicError`] if the words are not a mnemonic. The words are not repeated.
pub fn account_from_mnemonic(words: &str, index: u32) -> Result<Account, MnemonicError> {
    MnemonicBuilder::<English>::default()
        .phrase(words)
        .index(index)
        .and_then(|builder| builder.build())
        .map(Account::from)
        .map_err(|_| MnemonicError)
}
