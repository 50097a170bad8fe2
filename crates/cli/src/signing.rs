//! Nothing is signed before its explanation was shown and answered.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use alloy_primitives::{Address, Bytes, Signature};
use async_trait::async_trait;
use galen_chain::{
    SignError, Signer, SigningRequest, TransactionToSign,
    clear::{Explanation, KnownName, KnownNetwork, LineKind, Names, explain},
};
use galen_crypto::SegmentMap;
use galen_fhir::Category;
use galen_types::{LedgerId, Segment};

use crate::{book::Book, error::CliError, networks::Network, ui::Ui};

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// A signer behind a person: what it cannot explain it refuses, what it can it shows on stderr and asks.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    inner: Arc<dyn Signer>,
    ui: Ui,
    names: Arc<dyn Names>,
    allowed: Arc<Mutex<Option<Allowed>>>,
}

/// Signatures that were allowed together.
#[derive(Debug)]
struct Allowed {
    primary_type: &'static str,
    left: usize,
}

impl Asking {
    /// `names` is what the person knows: contacts, categories, the network.
    pub(crate) fn new(inner: Arc<dyn Signer>, ui: Ui, names: impl Names + 'static) -> Self {
        Self { inner, ui, names: Arc::new(names), allowed: Arc::default() }
    }

    /// Asks once for the next `count` messages of one kind. `covers` says in one line what they are.
    ///
    /// Each is still read and checked, and shown by its sentence; one that has a grave warning is asked
    /// for by itself. What is not used up is void after the next call with another kind.
    #[allow(dead_code, reason = "an import that signs many proposals asks once by it")]
    pub(crate) fn allow_next(
        &self,
        count: usize,
        primary_type: &'static str,
        covers: &str,
    ) -> Result<(), SignError> {
        let kind = primary_type;
        self.ui.show(&format!("{BOLD}{covers}{PLAIN}"));
        self.ui
            .show(&format!("This takes {count} signatures ({kind}). Each is checked by itself."));
        self.confirm(&format!("Sign all {count}?"))?;
        *self.lock() = Some(Allowed { primary_type, left: count });
        Ok(())
    }

    /// Whether the message is covered by [`Asking::allow_next`]; if so, one less is left.
    fn take_allowed(&self, explanation: &Explanation) -> bool {
        let mut allowed = self.lock();
        match allowed.as_mut() {
            Some(batch) if batch.primary_type != explanation.primary_type => {
                *allowed = None;
                false
            }
            Some(batch) if batch.left > 0 && !explanation.is_dangerous() => {
                batch.left -= 1;
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Allowed>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirm(&self, question: &str) -> Result<(), SignError> {
        match self.ui.confirm(question) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SignError::Declined),
            Err(CliError::Told { .. }) => {
                Err(SignError::Unasked("there is no terminal to ask at; --yes answers yes"))
            }
            Err(_) => Err(SignError::Unasked("the terminal cannot be read; --yes answers yes")),
        }
    }

    fn ask(&self, request: &SigningRequest) -> Result<(), SignError> {
        let explanation = explain(request, &*self.names)?;
        // A session speaks to one network. What asks it to sign for another is not the session.
        if explanation.network.is_none() {
            show(&self.ui, &explanation);
            return Err(SignError::Refused("it is for another network than yours".to_owned()));
        }
        if self.take_allowed(&explanation) {
            self.ui.status(&explanation.sentence);
            return Ok(());
        }
        show(&self.ui, &explanation);
        self.confirm("Sign this?")
    }
}

/// Prints an explanation on stderr.
fn show(ui: &Ui, explanation: &Explanation) {
    for line in explanation.lines() {
        let text = &line.text;
        ui.show(&match line.kind {
            LineKind::Danger => format!("{RED}{text}{PLAIN}"),
            LineKind::Caution => format!("{YELLOW}{text}{PLAIN}"),
            LineKind::Sentence | LineKind::Head => format!("{BOLD}{text}{PLAIN}"),
            LineKind::Plain => text.clone(),
        });
    }
}

#[async_trait]
impl Signer for Asking {
    fn address(&self) -> Address {
        self.inner.address()
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        // People take their time; other tasks go on meanwhile.
        tokio::task::block_in_place(|| self.ask(request))?;
        self.inner.sign(request).await
    }

    /// Without a question: a transaction only carries messages that were asked for, or pays for a
    /// command that asks by itself, within the fee ceiling.
    async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<Signature, SignError> {
        self.inner.sign_transaction(transaction).await
    }
}

/// What the person knows: their private book, and what their own segments stand for.
pub(crate) struct Known {
    own: Address,
    segments: SegmentMap,
    book: Arc<RwLock<Arc<Book>>>,
    network: KnownNetwork,
}

impl Known {
    /// `own` is the id that signs and `segments` the map of its own chart.
    pub(crate) fn new(
        own: Address,
        segments: SegmentMap,
        book: Arc<RwLock<Arc<Book>>>,
        name: &str,
        network: &Network,
    ) -> Self {
        let ledger = LedgerId { chain_id: network.chain_id, contract: network.ledger };
        // The ledger's constructor creates the consortium first of all.
        let consortium = Some(network.ledger.create(1));
        let network = KnownNetwork { name: name.to_owned(), ledger, consortium };
        Self { own, segments, book, network }
    }
}

impl Names for Known {
    fn name(&self, id: Address) -> Option<KnownName> {
        if id == self.own {
            let name = "self".to_owned();
            return Some(KnownName { name, own: true, verified: true, first_time: false });
        }
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner).clone();
        let contact = book.contact(id)?;
        let granted = book.consents.iter().any(|known| known.consent.grantee == id);
        Some(KnownName {
            name: contact.alias.clone(),
            own: false,
            verified: contact.verified,
            first_time: !granted && contact.introduction.is_none(),
        })
    }

    fn segment(&self, patient: Address, segment: Segment) -> Option<String> {
        if patient != self.own {
            return None;
        }
        let category = Category::from_index(self.segments.category(segment))?;
        Some(category.name().to_owned())
    }

    fn network(&self) -> Option<KnownNetwork> {
        Some(self.network.clone())
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({:#x})", self.own)
    }
}

#[cfg(test)]
mod tests {
    use galen_chain::{Evidence, KeySigner, typed};
    use galen_types::ErrorKind;

    use super::*;

    const LEDGER: LedgerId = LedgerId { chain_id: 1, contract: Address::repeat_byte(0xcc) };

    /// Knows the network and nobody.
    #[derive(Debug)]
    struct Stranger;

    impl Names for Stranger {
        fn name(&self, _id: Address) -> Option<KnownName> {
            None
        }

        fn segment(&self, _patient: Address, _segment: Segment) -> Option<String> {
            None
        }

        fn network(&self) -> Option<KnownNetwork> {
            Some(KnownNetwork { name: "test".to_owned(), ledger: LEDGER, consortium: None })
        }

        fn now(&self) -> u64 {
            1_000
        }
    }

    fn asking() -> (Asking, Address) {
        let key = KeySigner::random();
        let id = key.address();
        (Asking::new(Arc::new(key), Ui::new(false, true, true), Stranger), id)
    }

    fn cancellation(id: Address, ledger: LedgerId, nonce: u32) -> SigningRequest {
        let deadline = alloy_primitives::aliases::U48::from(2_000_u64);
        let message = typed::Cancellation { id, rotations: 0, nonce, deadline };
        SigningRequest::new(id, &message, typed::ledger_domain(ledger), Evidence::default())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_explained_and_answered_is_signed_and_nothing_else() {
        let (asking, id) = asking();
        let request = cancellation(id, LEDGER, 0);
        let bytes = asking.sign(&request).await.unwrap();
        let signature = Signature::from_erc2098(&bytes);
        assert_eq!(signature.recover_address_from_prehash(&request.digest).unwrap(), id);

        // Not even --yes signs for another chain, or what does not add up.
        let elsewhere = LedgerId { chain_id: 2, ..LEDGER };
        let mut forged = cancellation(id, LEDGER, 1);
        forged.digest = cancellation(id, LEDGER, 2).digest;
        for request in [cancellation(id, elsewhere, 0), forged] {
            let error = asking.sign(&request).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
    }

    #[test]
    fn what_was_allowed_together_is_counted_and_of_one_kind() {
        let (asking, id) = asking();
        let shown = |nonce| explain(&cancellation(id, LEDGER, nonce), &Stranger).unwrap();
        assert!(!asking.take_allowed(&shown(0)));
        asking.allow_next(2, "Cancellation", "Two cancellations").unwrap();
        assert!(asking.take_allowed(&shown(0)));
        assert!(asking.take_allowed(&shown(1)));
        assert!(!asking.take_allowed(&shown(2)), "no more than were allowed");
        asking.allow_next(2, "Proposal", "Two proposals").unwrap();
        assert!(!asking.take_allowed(&shown(0)), "another kind");
        asking.allow_next(1, "Cancellation", "One cancellation").unwrap();
        let mut grave = shown(0);
        let text = "Stop.".to_owned();
        grave.warnings.push(galen_chain::clear::Warning { code: "new_key", danger: true, text });
        assert!(!asking.take_allowed(&grave), "a grave warning is asked for by itself");
    }
}
