//! Who signs: an id and its controller, be it a key, a device or a contract.

use std::{fmt, sync::Arc};

use alloy::{
    consensus::SignableTransaction,
    dyn_abi::TypedData,
    signers::{
        SignerSync,
        local::{
            MnemonicBuilder, PrivateKeySigner,
            coins_bip39::{English, Mnemonic},
        },
    },
    sol_types::{Eip712Domain, SolStruct},
};
use alloy_primitives::{Address, B256, Bytes, Signature};
use async_trait::async_trait;
use galen_types::{Consent, ConsentRoot, ConsentTree, DelegateTerms, ErrorKind, LedgerId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    ledger::{CosignPolicy, GuardianSet},
    safe, typed,
};

/// A transaction on its way to a [`Signer`].
pub type TransactionToSign = dyn SignableTransaction<Signature> + Send;

/// Signs for an account: a key, a device, a contract wallet, or one of these behind a person who is
/// asked first.
#[async_trait]
pub trait Signer: fmt::Debug + Send + Sync {
    /// The account whose signature this is.
    fn address(&self) -> Address;

    /// Signs typed data: 64 bytes in the form of ERC-2098, or what a contract wallet takes by ERC-1271.
    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError>;

    /// Signs a transaction, whose gas the account pays.
    async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError>;
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The person said no.
    #[error("it was not signed: the answer was no")]
    Declined,
    /// There is nobody to ask.
    #[error("it was not signed: {0}")]
    Unasked(&'static str),
    /// The signer signs only what it can show.
    #[error("it is not signed: {0}")]
    Refused(String),
    /// The device or the other owners of a wallet did not sign in time.
    #[error("the signature is not there: {0}")]
    Unavailable(String),
}

impl SignError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Declined | Self::Unasked(_) => ErrorKind::Declined,
            Self::Refused(_) => ErrorKind::Invalid,
            Self::Unavailable(_) => ErrorKind::Unavailable,
        }
    }
}

/// Typed data on its way to a [`Signer`], with what a person needs to understand it.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    /// The id in whose name is signed.
    pub id: Address,
    /// Domain, types and message, from which anybody can compute the digest.
    pub typed: TypedData,
    /// What is signed.
    pub digest: B256,
    /// What stands behind the hashes in the message.
    pub evidence: Evidence,
    /// The contract wallet in whose name the digest counts: its owners sign a message of the wallet that
    /// holds the digest, see [`SigningRequest::to_sign`].
    pub wallet: Option<Address>,
}

/// What stands behind the hashes in a message. Whoever shows it must check that it hashes to what the
/// message says.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Openings of the consent leaves that the message names.
    pub consents: Vec<Consent>,
    /// The consent tree after the change.
    pub tree: Option<ConsentTree>,
    /// Openings of the delegations that the message grants.
    pub delegates: Vec<DelegateTerms>,
    /// The consent root that the chain has before the change, as read from the signer's own node.
    pub root: Option<ConsentRoot>,
    /// The proposal that is answered or cosigned.
    pub proposal: Option<typed::Proposal>,
    /// Who must sign the proposal beside author and patient.
    pub policy: Option<CosignPolicy>,
    /// How many documents an attestation stands for. The word of the program that asks: the root hides it.
    pub documents: Option<usize>,
    /// Who gets the envelopes of a [`typed::Sharing`] or [`typed::Pieces`], in the message's order.
    pub envelopes: Vec<EnvelopeFor>,
    /// How many proxies are needed, of how many. Required where proxies get shares or pieces, and for a
    /// [`typed::Offer`]. The word of the program that asks: the seal hides how keys were split.
    pub proxies: Option<(u8, usize)>,
    /// The opening of the commitment that [`typed::Pieces`] or a [`typed::GuardianChange`] names.
    pub guardians: Option<GuardianSet>,
}

/// An envelope that a [`typed::Sharing`] or [`typed::Pieces`] names by its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeFor {
    /// The consent, or the commitment to the guardians.
    pub scope: B256,
    /// To whom it is sealed: reader, proxy, guardian.
    pub holder: Address,
    /// `keccak256` of the holder's identity public key.
    pub recipient_key: B256,
    /// `keccak256` of what was sealed.
    pub ciphertext: B256,
    /// What is in it is useless without the proxies' or, for a proxy, the others' part. Always true for proxies. The
    /// word of the program that asks: the seal hides it.
    pub keys_split: bool,
}

impl EnvelopeFor {
    /// What the message names it by.
    pub fn leaf(&self) -> B256 {
        typed::envelope_leaf(self.scope, self.holder, self.recipient_key, self.ciphertext)
    }
}

impl SigningRequest {
    /// A request to sign `message` under `domain` for `id`.
    pub fn new<T: SolStruct + Serialize>(
        id: Address,
        message: &T,
        domain: Eip712Domain,
        evidence: Evidence,
    ) -> Self {
        let digest = message.eip712_signing_hash(&domain);
        Self {
            id,
            typed: TypedData::from_struct(message, Some(domain)),
            digest,
            evidence,
            wallet: None,
        }
    }
}

impl SigningRequest {
    /// The 32 bytes that the key itself signs: the digest, or for an owner of a contract wallet the
    /// digest of the wallet's message that holds it.
    pub fn to_sign(&self) -> B256 {
        let Some(wallet) = self.wallet else { return self.digest };
        let (message, domain) = safe::message(self, wallet);
        message.eip712_signing_hash(&domain)
    }

    /// The typed data whose digest [`SigningRequest::to_sign`] is.
    pub fn typed_to_sign(&self) -> TypedData {
        let Some(wallet) = self.wallet else { return self.typed.clone() };
        let (message, domain) = safe::message(self, wallet);
        TypedData::from_struct(&message, Some(domain))
    }
}

/// An id and who signs for it.
#[derive(Clone)]
pub struct Account {
    id: Address,
    signer: Arc<dyn Signer>,
}

impl Account {
    /// Who signs for the id that is the signer's own address.
    pub fn new(signer: impl Signer + 'static) -> Self {
        Self { id: signer.address(), signer: Arc::new(signer) }
    }

    /// As [`Account::new`], for a signer that is shared.
    pub fn of_signer(signer: Arc<dyn Signer>) -> Self {
        Self { id: signer.address(), signer }
    }

    /// A fresh random account that controls itself.
    pub fn random() -> Self {
        Self::new(KeySigner::random())
    }

    /// The account of a 32-byte secp256k1 key; `None` if the bytes are no key.
    pub fn from_key(key: &[u8; 32]) -> Option<Self> {
        KeySigner::from_key(key).map(Self::new)
    }

    /// The same signer, signing for another id that it controls after a rotation.
    pub fn for_id(self, id: Address) -> Self {
        Self { id, ..self }
    }

    /// The id that the account signs for.
    pub const fn id(&self) -> Address {
        self.id
    }

    /// The account whose signature counts.
    pub fn controller(&self) -> Address {
        self.signer.address()
    }

    /// Signs typed data under a ledger's domain.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub async fn sign<T: SolStruct + Serialize>(
        &self,
        message: &T,
        ledger: LedgerId,
        evidence: Evidence,
    ) -> Result<Bytes, SignError> {
        let domain = typed::ledger_domain(ledger);
        self.signer.sign(&SigningRequest::new(self.id, message, domain, evidence)).await
    }

    /// Signs a transaction.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError> {
        self.signer.sign_transaction(transaction).await
    }
}

impl From<PrivateKeySigner> for Account {
    fn from(key: PrivateKeySigner) -> Self {
        Self::new(KeySigner(key))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({:#x})", self.id)
    }
}

/// A secp256k1 key in memory. It signs whatever it is given and is never printed.
#[derive(Clone)]
pub struct KeySigner(PrivateKeySigner);

impl KeySigner {
    /// A fresh random key.
    pub fn random() -> Self {
        Self(PrivateKeySigner::random())
    }

    /// `None` if the bytes are no key.
    pub fn from_key(key: &[u8; 32]) -> Option<Self> {
        PrivateKeySigner::from_slice(key).ok().map(Self)
    }

    /// Signs a digest: deterministic (RFC 6979), 64 bytes in the form of ERC-2098, which costs less
    /// calldata than `r‖s‖v`.
    pub fn sign_digest(&self, digest: B256) -> Bytes {
        let signature = self.0.sign_hash_sync(&digest).expect("a local key signs every digest");
        signature.as_erc2098().into()
    }

    /// The 32 secret bytes, for a keystore.
    pub fn export_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().0)
    }
}

impl fmt::Debug for KeySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySigner({:#x})", self.0.address())
    }
}

#[async_trait]
impl Signer for KeySigner {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        Ok(self.sign_digest(request.to_sign()))
    }

    async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError> {
        let hash = transaction.signature_hash();
        Ok(self.0.sign_hash_sync(&hash).expect("a local key signs every digest"))
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

/// The key at `m/44'/60'/0'/0/index`. Patients use one index per organization, so that their
/// pseudonyms cannot be linked.
///
/// # Errors
///
/// [`MnemonicError`] if the words are not a mnemonic. The words are not repeated.
pub fn key_from_mnemonic(words: &str, index: u32) -> Result<KeySigner, MnemonicError> {
    MnemonicBuilder::<English>::default()
        .phrase(words)
        .index(index)
        .and_then(|builder| builder.build())
        .map(KeySigner)
        .map_err(|_| MnemonicError)
}
