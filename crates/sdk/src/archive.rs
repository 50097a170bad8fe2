//! The private book of a person, kept where a new machine finds it.
//!
//! From wallet and seed alone a new machine must find whom the person knows and what they granted. So the
//! book is sealed under the seed, kept in the content store, and announced on the ledger by an id of its own:
//! the account of [`galen_crypto::PatientKeys::archive_key`], which publishes the keccak256 of the sealed
//! bytes as if it were a key bundle, each extending the last.
//!
//! The archive's id cannot be computed from the pseudonym without the seed. What can still link the two: who
//! pays for both transactions (a relay with many callers hides that, an own wallet does not), and when. Its
//! length is padded to a power of two.

use alloy_primitives::keccak256;
use galen_chain::{Account, Sent};
use galen_types::KeyBundleId;

use crate::{Error, Galen, Identity};

/// Longest archive, in bytes.
pub const MAX_ARCHIVE_LEN: u64 = 33 << 20;

impl Galen {
    /// Keeps sealed bytes as the archive of an identity. Says `None` if they are what is kept already.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], [`Error::Chain`]. The archive before stays readable then.
    pub async fn keep_archive(
        &self,
        identity: &Identity,
        sealed: Vec<u8>,
    ) -> Result<Option<Sent>, Error> {
        let account = archive_account(identity)?;
        let bundle = KeyBundleId(keccak256(&sealed));
        let kept = self.with_chart(account.id(), |chart| chart.keys().to_vec()).await?;
        let previous = kept.last().map_or_else(KeyBundleId::default, |entry| entry.bundle);
        if previous == bundle {
            return Ok(None);
        }
        let content = self.storage().put_bytes(sealed).await?;
        let deadline = self.deadline().await?;
        let sent =
            self.ledger().publish_keys(&account, previous, bundle, content, deadline).await?;
        // The one before the last is no longer needed, even if the chain takes the last back.
        if let Some(old) = kept.iter().rev().nth(1) {
            self.release(&old.content).await;
        }
        Ok(Some(sent))
    }

    /// The newest archive of an identity whose bytes are still there.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if there is one that cannot be read, [`Error::Chain`].
    pub async fn find_archive(&self, identity: &Identity) -> Result<Option<Vec<u8>>, Error> {
        let account = archive_account(identity)?;
        let kept = self.with_chart(account.id(), |chart| chart.keys().to_vec()).await?;
        let mut unread = None;
        for entry in kept.iter().rev().take(2) {
            match self.storage().get(&entry.content, MAX_ARCHIVE_LEN).await {
                Ok(sealed) if KeyBundleId(keccak256(&sealed)) == entry.bundle => {
                    return Ok(Some(sealed.to_vec()));
                }
                Ok(_) => unread = Some(Error::Envelope("the archive is not what was announced")),
                Err(error) => unread = Some(error.into()),
            }
        }
        unread.map_or(Ok(None), Err)
    }
}

fn archive_account(identity: &Identity) -> Result<Account, Error> {
    let key = identity.keys.archive_key();
    Account::from_key(&key).ok_or(Error::Invalid("the seed gives no key for the archive"))
}
