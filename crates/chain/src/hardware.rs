//! Keys that never leave a device: Ledger and Trezor.
//!
//! A Ledger is given the two hashes of EIP-712, which its screen shows and which must equal the domain
//! hash and the message hash of [`crate::clear::Explanation`]; for a contract wallet they are those of the
//! wallet's message. A Trezor signs transactions only, so it can pay but not sign messages: its driver
//! has no EIP-712.

use std::{fmt, time::Duration};

use alloy::{
    network::TxSigner,
    signers::{
        Signer as _,
        ledger::{HDPath, LedgerSigner},
        trezor::{HDPath as TrezorPath, TrezorSigner},
    },
};
use alloy_primitives::{Address, Bytes, Signature};
use async_trait::async_trait;

use crate::account::{SignError, Signer, SigningRequest, TransactionToSign};

/// How long a person has to answer on the device.
const PATIENCE: Duration = Duration::from_secs(180);

/// A key on a device. It signs what the person confirms there.
pub struct DeviceSigner {
    address: Address,
    device: Device,
}

enum Device {
    Ledger(LedgerSigner),
    Trezor(TrezorSigner),
}

impl DeviceSigner {
    /// The key at `m/44'/60'/index'/0/0` of the first Ledger that is unlocked with its Ethereum app open.
    ///
    /// # Errors
    ///
    /// [`SignError::Unavailable`].
    pub async fn ledger(index: usize) -> Result<Self, SignError> {
        let found = in_time(LedgerSigner::new(HDPath::LedgerLive(index), None)).await?;
        let signer = found.map_err(|error| SignError::Unavailable(error.to_string()))?;
        let address = alloy::signers::Signer::address(&signer);
        Ok(Self { address, device: Device::Ledger(signer) })
    }

    /// The key at `m/44'/60'/index'/0/0` of the first Trezor.
    ///
    /// # Errors
    ///
    /// [`SignError::Unavailable`].
    pub async fn trezor(index: usize) -> Result<Self, SignError> {
        let found = in_time(TrezorSigner::new(TrezorPath::TrezorLive(index), None)).await?;
        let signer = found.map_err(|error| SignError::Unavailable(error.to_string()))?;
        let address = alloy::signers::Signer::address(&signer);
        Ok(Self { address, device: Device::Trezor(signer) })
    }
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, SignError> {
    let late = |_| SignError::Unavailable("the device was not answered in time".to_owned());
    tokio::time::timeout(PATIENCE, answer).await.map_err(late)
}

impl fmt::Debug for DeviceSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSigner({:#x})", self.address)
    }
}

#[async_trait]
impl Signer for DeviceSigner {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        let typed = request.typed_to_sign();
        let answer = match &self.device {
            Device::Ledger(device) => in_time(device.sign_dynamic_typed_data(&typed)).await?,
            Device::Trezor(_) => {
                let why = "a Trezor signs transactions only; use it to pay";
                return Err(SignError::Refused(why.to_owned()));
            }
        };
        let signature = answer.map_err(|error| SignError::Unavailable(error.to_string()))?;
        // A device that signed something else is not believed.
        match signature.recover_address_from_prehash(&request.to_sign()) {
            Ok(signer) if signer == self.address => Ok(signature.as_erc2098().into()),
            _ => Err(SignError::Refused("the device signed something else".to_owned())),
        }
    }

    async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError> {
        let answer = match &self.device {
            Device::Ledger(device) => in_time(device.sign_transaction(transaction)).await?,
            Device::Trezor(device) => in_time(device.sign_transaction(transaction)).await?,
        };
        answer.map_err(|error| SignError::Unavailable(error.to_string()))
    }
}
