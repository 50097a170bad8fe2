//! Nothing is signed before its explanation was shown and answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use alloy_primitives::{Address, Bytes, Signature};
use async_trait::async_trait;
use galen_chain::{
    SignError, Signer, SigningRequest, TransactionToSign,
    clear::{Explanation, KnownName, KnownNetwork, LineKind, Names, explain},
};
use galen_crypto::{ContactEnvelope, GrantEnvelope, PatientKeys};
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
    /// The contract wallet whose owners sign.
    wallet: Option<Address>,
}

/// Signatures that were allowed together.
#[derive(Debug)]
enum Allowed {
    /// This many more of one kind.
    Left { primary_type: &'static str, count: usize },
    /// Documents that are signed by parts and then proposed.
    Documents(Documents),
}

/// What is said of documents on their way to one patient.
#[derive(Debug)]
struct Documents {
    patient: Address,
    /// In the first question.
    first: String,
    /// In the second, which is for all that follow.
    rest: String,
    seen: usize,
    /// The documents were asked for together with their proposal, which has not come yet.
    paired: bool,
    granted: bool,
}

/// What was allowed says of a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Covered,
    /// It was asked for with the one before, and is shown in full.
    CoveredInFull,
    /// It and the one that follows are asked for together.
    AskForBoth(String),
    /// It and all that follow are asked for together.
    AskForRest(String),
    AskInFull,
}

impl Documents {
    /// Says of a message of this kind, and for this patient, what was said of it.
    fn take(&mut self, kind: &str, patient: Option<Address>) -> Verdict {
        if patient.is_some_and(|patient| patient != self.patient) {
            return Verdict::AskInFull;
        }
        let is_proposal = kind == PROPOSAL;
        if is_proposal && std::mem::take(&mut self.paired) {
            return Verdict::CoveredInFull;
        }
        if self.granted {
            return Verdict::Covered;
        }
        self.seen += 1;
        match (self.seen, is_proposal) {
            (1, true) => Verdict::AskInFull,
            (1, false) => Verdict::AskForBoth(self.first.clone()),
            _ => Verdict::AskForRest(self.rest.clone()),
        }
    }
}

const PROPOSAL: &str = "Proposal";
const ATTESTATION: &str = "Attestation";

impl Asking {
    /// `names` is what the person knows: contacts, categories, the network.
    pub(crate) fn new(inner: Arc<dyn Signer>, ui: Ui, names: impl Names + 'static) -> Self {
        Self { inner, ui, names: Arc::new(names), allowed: Arc::default(), wallet: None }
    }

    /// What is asked for is signed by owners of a contract wallet: they see what their keys sign, too.
    pub(crate) fn for_wallet(self, wallet: Option<Address>) -> Self {
        Self { wallet, ..self }
    }

    /// The contract wallet whose owners sign, if it is one.
    pub(crate) const fn wallet(&self) -> Option<Address> {
        self.wallet
    }

    /// Asks once for the next `count` messages of one kind. `covers` says in one line what they are.
    ///
    /// Each is still read and checked, and shown by its sentence; one that has a grave warning is asked
    /// for by itself. What is not used up is void after the next call with another kind.
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
        *self.lock() = Some(Allowed::Left { primary_type, count });
        Ok(())
    }

    /// Asks once for all messages of one kind that follow. `covers` says in one line what they are. Each is shown and
    /// checked as by [`Asking::allow_next`].
    pub(crate) fn allow_all(
        &self,
        primary_type: &'static str,
        covers: &str,
    ) -> Result<(), SignError> {
        self.ui.show(&format!("{BOLD}{covers}{PLAIN}"));
        self.ui
            .show(&format!("Each takes a signature ({primary_type}), and is checked by itself."));
        self.confirm("Sign all of them, as long as this runs?")?;
        *self.lock() = Some(Allowed::Left { primary_type, count: usize::MAX });
        Ok(())
    }

    /// Asks for documents that are signed by parts and then proposed to `patient`, where nobody knows how many
    /// there will be, as in an import. The first signature over documents is asked for together with their
    /// proposal, which is shown in full when it is there; the second once for it and all that follow. `first` and
    /// `rest` say in one line what these are.
    pub(crate) fn allow_documents(&self, patient: Address, first: &str, rest: &str) {
        let (first, rest) = (first.to_owned(), rest.to_owned());
        let documents = Documents { patient, first, rest, seen: 0, paired: false, granted: false };
        *self.lock() = Some(Allowed::Documents(documents));
    }

    /// Whether the message is covered by [`Asking::allow_next`] or [`Asking::allow_documents`].
    fn take_allowed(&self, explanation: &Explanation, patient: Option<Address>) -> Verdict {
        let mut allowed = self.lock();
        let kind = explanation.primary_type.as_str();
        let fits = match &*allowed {
            None => false,
            Some(Allowed::Left { primary_type, .. }) => *primary_type == kind,
            Some(Allowed::Documents(_)) => matches!(kind, PROPOSAL | ATTESTATION),
        };
        if !fits {
            *allowed = None;
        }
        match &mut *allowed {
            None => Verdict::AskInFull,
            Some(_) if explanation.is_dangerous() => Verdict::AskInFull,
            Some(Allowed::Left { count: 0, .. }) => Verdict::AskInFull,
            Some(Allowed::Left { count, .. }) => {
                *count -= 1;
                Verdict::Covered
            }
            Some(Allowed::Documents(documents)) => documents.take(kind, patient),
        }
    }

    /// The person said yes to more than one.
    fn grant(&self, rest: bool) {
        if let Some(Allowed::Documents(documents)) = &mut *self.lock() {
            documents.paired = !rest;
            documents.granted = rest;
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
        let wallet = request.wallet.or(self.wallet);
        let request = &SigningRequest { wallet, ..request.clone() };
        let explanation = explain(request, &*self.names)?;
        // A session speaks to one network. What asks it to sign for another is not the session.
        if explanation.network.is_none() {
            show(&self.ui, &explanation);
            return Err(SignError::Refused("it is for another network than yours".to_owned()));
        }
        let patient = request.typed.message.get("patient").and_then(|patient| patient.as_str());
        let patient = patient.and_then(|patient| patient.parse().ok());
        match self.take_allowed(&explanation, patient) {
            Verdict::Covered => {
                self.ui.status(&explanation.sentence);
                Ok(())
            }
            Verdict::CoveredInFull => {
                show(&self.ui, &explanation);
                Ok(())
            }
            Verdict::AskForBoth(covers) => {
                show(&self.ui, &explanation);
                self.ui.show(&format!("{BOLD}{covers}{PLAIN}"));
                self.confirm("Sign both? The proposal is shown and checked by itself.")?;
                self.grant(false);
                Ok(())
            }
            Verdict::AskForRest(covers) => {
                show(&self.ui, &explanation);
                self.ui.show(&format!("{BOLD}{covers}{PLAIN}"));
                self.confirm("Sign this and all that follow? Each is checked by itself.")?;
                self.grant(true);
                Ok(())
            }
            Verdict::AskInFull => {
                show(&self.ui, &explanation);
                self.confirm("Sign this?")
            }
        }
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
    keys: PatientKeys,
    book: Arc<RwLock<Arc<Book>>>,
    network: KnownNetwork,
    /// Categories of others' segments, by patient, as far as somebody asked.
    others: Mutex<BTreeMap<Address, Arc<BTreeMap<Segment, u8>>>>,
}

impl Known {
    /// `own` is the id that signs and `keys` its own, which open what the book keeps sealed.
    pub(crate) fn new(
        own: Address,
        keys: PatientKeys,
        book: Arc<RwLock<Arc<Book>>>,
        name: &str,
        network: &Network,
    ) -> Self {
        let ledger = LedgerId { chain_id: network.chain_id, contract: network.ledger };
        // The ledger's constructor creates the consortium first of all.
        let consortium = Some(network.ledger.create(1));
        let network = KnownNetwork { name: name.to_owned(), ledger, consortium };
        Self { own, keys, book, network, others: Mutex::default() }
    }

    /// What another's segments stand for: as they introduced themselves, or as they granted.
    fn others(&self, patient: Address) -> Arc<BTreeMap<Segment, u8>> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.entry(patient).or_insert_with(|| Arc::new(self.open(patient))).clone()
    }

    fn open(&self, patient: Address) -> BTreeMap<Segment, u8> {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner).clone();
        let key = self.keys.identity();
        let introduction = book.contact(patient).and_then(|contact| contact.introduction.as_ref());
        let introduced = introduction
            .and_then(|sealed| ContactEnvelope::decode(sealed).ok())
            .filter(|envelope| envelope.terms().patient == patient)
            .and_then(|envelope| envelope.open(&key).ok());
        let mut found: BTreeMap<Segment, u8> = introduced
            .into_iter()
            .flatten()
            .map(|(category, segment)| (segment, category))
            .collect();
        let grants = book.grants.iter().filter_map(|sealed| GrantEnvelope::decode(sealed).ok());
        for envelope in grants.filter(|envelope| envelope.terms().patient == patient) {
            let Ok(text) = envelope.open(&key) else { continue };
            found.extend(
                text.segments.iter().map(|granted| (granted.key.segment(), granted.category)),
            );
        }
        found
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
        let category = if patient == self.own {
            self.keys.segment_map().category(segment)
        } else {
            *self.others(patient).get(&segment)?
        };
        Some(Category::from_index(category)?.name().to_owned())
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
        use Verdict::{AskInFull, Covered};
        let take = |nonce| asking.take_allowed(&shown(nonce), None);
        assert_eq!(take(0), AskInFull);
        asking.allow_next(2, "Cancellation", "Two cancellations").unwrap();
        assert_eq!((take(0), take(1)), (Covered, Covered));
        assert_eq!(take(2), AskInFull, "no more than were allowed");
        asking.allow_next(2, "Proposal", "Two proposals").unwrap();
        assert_eq!(take(0), AskInFull, "another kind");
        asking.allow_next(1, "Cancellation", "One cancellation").unwrap();
        let mut grave = shown(0);
        let text = "Stop.".to_owned();
        grave.warnings.push(galen_chain::clear::Warning { code: "new_key", danger: true, text });
        assert_eq!(
            asking.take_allowed(&grave, None),
            AskInFull,
            "a grave warning is asked for by itself"
        );

        assert_eq!(take(1), Covered, "and uses none up");
    }

    /// Each row: what comes, for whom, what is said of it, and what the person's yes is for.
    #[test]
    fn documents_and_their_proposal_are_one_question_and_all_others_a_second() {
        use Verdict::{AskForBoth, AskForRest, AskInFull, Covered, CoveredInFull};
        let (patient, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let (first, rest) = (|| AskForBoth("first".into()), || AskForRest("rest".into()));
        let rows = [
            vec![
                (ATTESTATION, None, first(), Some(false)),
                (PROPOSAL, Some(patient), CoveredInFull, None),
                (ATTESTATION, None, rest(), Some(true)),
                (PROPOSAL, Some(patient), Covered, None),
                (ATTESTATION, None, Covered, None),
                (PROPOSAL, Some(other), AskInFull, None),
            ],
            // Attachments alone.
            vec![
                (PROPOSAL, Some(patient), AskInFull, None),
                (PROPOSAL, Some(patient), rest(), Some(true)),
                (PROPOSAL, Some(patient), Covered, None),
            ],
            // Documents that were signed before the import was interrupted.
            vec![
                (PROPOSAL, Some(patient), AskInFull, None),
                (ATTESTATION, None, rest(), None),
                (PROPOSAL, Some(patient), rest(), None),
            ],
            // A proposal for somebody else is not the one that was asked for.
            vec![
                (ATTESTATION, None, first(), Some(false)),
                (PROPOSAL, Some(other), AskInFull, None),
                (PROPOSAL, Some(patient), CoveredInFull, None),
                (PROPOSAL, Some(patient), rest(), None),
            ],
        ];
        let (asking, id) = asking();
        let mut shown = explain(&cancellation(id, LEDGER, 0), &Stranger).unwrap();
        for (number, row) in rows.into_iter().enumerate() {
            asking.allow_documents(patient, "first", "rest");
            for (at, (kind, patient, expected, yes)) in row.into_iter().enumerate() {
                shown.primary_type = kind.to_owned();
                assert_eq!(asking.take_allowed(&shown, patient), expected, "row {number}, {at}");
                if let Some(rest) = yes {
                    asking.grant(rest);
                }
            }
        }
        asking.allow_documents(patient, "first", "rest");
        shown.primary_type = "Cancellation".to_owned();
        assert_eq!(asking.take_allowed(&shown, None), AskInFull, "another kind");
        shown.primary_type = ATTESTATION.to_owned();
        assert_eq!(asking.take_allowed(&shown, None), AskInFull, "void after another kind");
    }
}
