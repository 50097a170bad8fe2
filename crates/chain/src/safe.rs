//! A contract wallet of the Safe kind as an id: its owners sign, and it judges by ERC-1271.
//!
//! The owners sign the wallet's own typed data, `SafeMessage(bytes message)` under the domain of chain id
//! and wallet, where the message is the 32-byte digest. The wallet's fallback handler takes their
//! signatures joined in ascending order of the owners. Owners that are contracts themselves are not
//! supported.

mod text;

use std::{collections::BTreeMap, fmt, sync::Arc};

use alloy::{
    network::{Ethereum, TransactionBuilder},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    sol_types::{Eip712Domain, SolCall, eip712_domain},
};
use alloy_primitives::{Address, Bytes, Signature};
use async_trait::async_trait;

use crate::{
    ChainError,
    account::{SignError, Signer, SigningRequest, TransactionToSign},
};

pub use text::{decode_request, decode_signature, encode_request, encode_signature};

/// Most owners of one wallet.
const MAX_OWNERS: usize = 64;

/// Most signatures that are looked at for one request.
const MAX_COLLECTED: usize = 256;

alloy::sol! {
    #![sol(all_derives, extra_derives(serde::Serialize))]

    /// What the owners of a Safe sign, by its fallback handler.
    struct SafeMessage {
        bytes message;
    }

    function getThreshold() external view returns (uint256 threshold);
    function getOwners() external view returns (address[] memory owners);
}

/// Who owns a contract wallet, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeRules {
    /// The owners, in the wallet's order.
    pub owners: Vec<Address>,
    /// How many of them must sign.
    pub threshold: usize,
}

impl SafeRules {
    /// Asks a contract wallet. `None` if there is no contract, or one that does not answer as a Safe does.
    ///
    /// # Errors
    ///
    /// What a node can do wrong.
    pub async fn of(
        provider: &DynProvider<Ethereum>,
        wallet: Address,
    ) -> Result<Option<Self>, ChainError> {
        let (Some(threshold), Some(owners)) = (
            ask(provider, wallet, &getThresholdCall {}).await?,
            ask(provider, wallet, &getOwnersCall {}).await?,
        ) else {
            return Ok(None);
        };
        let threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
        Ok(Some(Self { owners, threshold }))
    }
}

/// Calls a view function; `None` for a revert and for an answer that is none.
async fn ask<C: SolCall>(
    provider: &DynProvider<Ethereum>,
    wallet: Address,
    call: &C,
) -> Result<Option<C::Return>, ChainError> {
    let request = TransactionRequest::default().with_to(wallet).with_input(call.abi_encode());
    match provider.call(request).await {
        Ok(answer) => Ok(C::abi_decode_returns(&answer).ok()),
        // A contract without the function reverts, and gives no data that would tell more.
        Err(error) if error.as_error_resp().is_some_and(|said| said.message.contains("revert")) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The account whose signature over a request this is; `None` if it is none, or not in its one form.
pub fn signer_of(request: &SigningRequest, signature: &Bytes) -> Option<Address> {
    parse(signature)?.recover_address_from_prehash(&request.to_sign()).ok()
}

/// The wallet's message that holds a request's digest, and the wallet's domain.
pub(crate) fn message(request: &SigningRequest, wallet: Address) -> (SafeMessage, Eip712Domain) {
    let domain = eip712_domain! {
        chain_id: request.typed.domain.chain_id.map_or(0, |chain_id| chain_id.saturating_to()),
        verifying_contract: wallet,
    };
    (SafeMessage { message: request.digest.to_vec().into() }, domain)
}

/// Where signatures of owners come from that are not at hand.
#[async_trait]
pub trait Owners: fmt::Debug + Send + Sync {
    /// Hands out the text of a request and returns texts of signatures, at least `missing` of them if
    /// it can. Whoever implements it must end in bounded time.
    async fn collect(&self, request: &str, missing: usize) -> Result<Vec<String>, SignError>;
}

/// Signs for a contract wallet with the signatures of its owners.
#[derive(Clone, Debug)]
pub struct SafeSigner {
    wallet: Address,
    chain_id: u64,
    owners: Vec<Address>,
    threshold: usize,
    signers: Vec<Arc<dyn Signer>>,
    elsewhere: Option<Arc<dyn Owners>>,
}

impl SafeSigner {
    /// A wallet on a chain, its owners and how many of them must sign, as the wallet itself says.
    ///
    /// # Errors
    ///
    /// [`SignError::Refused`] for no owner, one twice, more than 64, or a threshold that they cannot meet.
    pub fn new(
        wallet: Address,
        chain_id: u64,
        mut owners: Vec<Address>,
        threshold: usize,
    ) -> Result<Self, SignError> {
        let count = owners.len();
        owners.sort_unstable();
        owners.dedup();
        if count != owners.len() || count > MAX_OWNERS || !(1..=count).contains(&threshold) {
            let why =
                "a contract wallet has 1 to 64 different owners and needs at most all of them";
            return Err(SignError::Refused(why.to_owned()));
        }
        Ok(Self { wallet, chain_id, owners, threshold, signers: Vec::new(), elsewhere: None })
    }

    /// Adds an owner that is at hand.
    #[must_use]
    pub fn with_signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signers.push(signer);
        self
    }

    /// Asks elsewhere for the signatures that are missing.
    #[must_use]
    pub fn with_elsewhere(mut self, owners: Arc<dyn Owners>) -> Self {
        self.elsewhere = Some(owners);
        self
    }

    /// Takes a signature if it is that of an owner over the request; an owner's second one is the first.
    fn take(
        &self,
        request: &SigningRequest,
        signature: &Bytes,
        collected: &mut BTreeMap<Address, Signature>,
    ) -> Result<(), SignError> {
        let wrong =
            || SignError::Refused("a signature is not that of an owner over this".to_owned());
        let owner = signer_of(request, signature).filter(|owner| self.owners.contains(owner));
        let (owner, signature) = owner.zip(parse(signature)).ok_or_else(wrong)?;
        collected.insert(owner, signature);
        Ok(())
    }
}

/// 64 bytes of ERC-2098, or 65 bytes; neither with a high s.
fn parse(bytes: &Bytes) -> Option<Signature> {
    let signature = match bytes.len() {
        64 => Signature::from_erc2098(bytes),
        65 => Signature::from_raw(bytes).ok()?,
        _ => return None,
    };
    signature.normalize_s().is_none().then_some(signature)
}

#[async_trait]
impl Signer for SafeSigner {
    fn address(&self) -> Address {
        self.wallet
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        let chain_id = request.typed.domain.chain_id;
        if request.wallet.is_some() || chain_id.is_none_or(|id| id != self.chain_id) {
            return Err(SignError::Refused(
                "it is not for this contract wallet's chain".to_owned(),
            ));
        }
        let request = SigningRequest { wallet: Some(self.wallet), ..request.clone() };
        let mut collected = BTreeMap::new();
        for signer in &self.signers {
            if collected.len() < self.threshold {
                let signature = signer.sign(&request).await?;
                self.take(&request, &signature, &mut collected)?;
            }
        }
        if let (Some(elsewhere), true) = (&self.elsewhere, collected.len() < self.threshold) {
            let missing = self.threshold - collected.len();
            let texts = elsewhere.collect(&encode_request(&request)?, missing).await?;
            for text in texts.iter().take(MAX_COLLECTED) {
                self.take(&request, &decode_signature(text)?, &mut collected)?;
            }
        }
        if collected.len() < self.threshold {
            return Err(SignError::Unavailable(format!(
                "{} of {} owners of the contract wallet have signed",
                collected.len(),
                self.threshold,
            )));
        }
        let joined = collected.values().take(self.threshold).flat_map(Signature::as_bytes);
        Ok(joined.collect::<Vec<u8>>().into())
    }

    async fn sign_transaction(
        &self,
        _transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError> {
        let why = "a contract wallet cannot pay: name a relay or another account that pays";
        Err(SignError::Refused(why.to_owned()))
    }
}
