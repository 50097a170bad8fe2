//! The key of a profile on a hardware wallet, which is looked for at the first signature.

use alloy_primitives::{Address, Bytes, Signature};
use async_trait::async_trait;
use galen_chain::{SignError, Signer, SigningRequest, TransactionToSign, hardware::DeviceSigner};
use tokio::sync::OnceCell;

use crate::profile::{Device, DeviceKind};

/// A device that need not be plugged in before something is signed.
#[derive(Debug)]
pub(crate) struct LazyDevice {
    device: Device,
    opened: OnceCell<DeviceSigner>,
}

impl LazyDevice {
    pub(crate) const fn new(device: Device) -> Self {
        Self { device, opened: OnceCell::const_new() }
    }

    async fn opened(&self) -> Result<&DeviceSigner, SignError> {
        let found = self.opened.get_or_try_init(|| open(self.device.kind, self.device.index));
        let found = found.await?;
        if found.address() == self.device.address {
            return Ok(found);
        }
        let why = format!("the device holds {:#x}, not the key of this profile", found.address());
        Err(SignError::Refused(why))
    }
}

/// Finds a device.
pub(crate) async fn open(kind: DeviceKind, index: usize) -> Result<DeviceSigner, SignError> {
    match kind {
        DeviceKind::Ledger => DeviceSigner::ledger(index).await,
        DeviceKind::Trezor => DeviceSigner::trezor(index).await,
    }
}

#[async_trait]
impl Signer for LazyDevice {
    fn address(&self) -> Address {
        self.device.address
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        self.opened().await?.sign(request).await
    }

    async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError> {
        self.opened().await?.sign_transaction(transaction).await
    }
}
