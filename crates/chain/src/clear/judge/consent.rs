//! Who may read.

use alloy_primitives::{Address, B256, U256};
use galen_types::{Consent, ConsentId, ConsentRoot, ConsentTree, DelegateTerms, Purpose, Segment};

use super::{DAY, LONG, Verdict};
use crate::{
    account::SignError,
    clear::{
        message::refused,
        show::{View, caution, danger, join, purposes},
        time::{plural, utc},
    },
    typed,
};

/// A consent that begins later than this many seconds from now is said to.
const SOON: u64 = DAY;

/// Bits of a record's word that mean nothing.
const RECORD_GAP: std::ops::Range<usize> = 72..96;

/// Every granted leaf must open to terms, and the new root must be that of a tree in which nothing but
/// the named leaves changes.
pub(super) fn change(m: &typed::ConsentChange, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let evidence = &view.request.evidence;
    let tree =
        evidence.tree.as_ref().ok_or_else(|| refused("the consents after it are missing"))?;
    if tree.root().0 != m.root {
        return Err(refused("the new root is not that of the consents shown"));
    }
    let granted: Vec<ConsentId> = m.granted.iter().copied().map(ConsentId).collect();
    let revoked: Vec<ConsentId> = m.revoked.iter().copied().map(ConsentId).collect();
    if granted.iter().any(|leaf| !tree.contains(*leaf)) {
        return Err(refused("a consent that it grants is not under the new root"));
    }
    if revoked.iter().any(|leaf| tree.contains(*leaf)) {
        return Err(refused("a consent that it revokes is still under the new root"));
    }
    let has_duplicates = |leaves: &[ConsentId]| {
        let set: ConsentTree = leaves.iter().copied().collect();
        set.leaves().len() != leaves.len()
    };
    if has_duplicates(&granted) || has_duplicates(&revoked) {
        return Err(refused("it names a consent twice"));
    }
    let (mut lets, mut ends) = (Vec::new(), Vec::new());
    for leaf in granted {
        lets.push(grant(m.patient, leaf, view, &mut verdict)?);
    }
    let reads = evidence.consents.iter().any(|consent| m.granted.contains(&consent.id().0));
    for leaf in revoked {
        ends.push(end(m.patient, leaf, view, &mut verdict));
    }
    rest_unchanged(m, tree, view, &mut verdict)?;
    by_delegate(m.patient, m.signer, view, &mut verdict);
    let ends_all = tree.leaves().len() == 0;
    effects(reads, ends_all || !ends.is_empty(), &mut verdict);
    verdict.sentence = Some(sentence(&lets, &ends, tree, view.who(m.patient)));
    Ok(verdict)
}

fn sentence(lets: &[String], ends: &[String], tree: &ConsentTree, patient: String) -> String {
    if tree.leaves().len() == 0 {
        return format!("End every consent for the records of {patient}.");
    }
    match (lets, ends) {
        ([one], []) => format!("Let {one}."),
        ([], [one]) => format!("End {one}."),
        ([], []) => format!("Replace the root of the consents of {patient}."),
        _ => format!(
            "Grant {} and end {}, listed below.",
            plural(lets.len() as u64, "consent"),
            plural(ends.len() as u64, "consent"),
        ),
    }
}

fn effects(grants: bool, ends: bool, verdict: &mut Verdict) {
    if grants {
        verdict.effect(
            "Readers log each access on chain before they can read; you see every one of them.",
        );
        verdict.effect(
            "It covers records that are added to these segments later. At the first access its \
             purposes and its end become public.",
        );
        verdict
            .effect("You can end it at any time, but copies already opened cannot be taken back.");
    }
    if ends {
        verdict.effect(
            "What is ended can no longer be used for a new access. Copies already opened cannot be \
             taken back.",
        );
    }
}

/// The part of the sentence about one granted leaf.
fn grant(
    patient: Address,
    leaf: ConsentId,
    view: &View<'_>,
    verdict: &mut Verdict,
) -> Result<String, SignError> {
    let evidence = &view.request.evidence;
    if let Some(consent) = evidence.consents.iter().find(|consent| consent.id() == leaf) {
        terms(patient, consent, view, verdict)?;
        return Ok(said(patient, consent, view));
    }
    if let Some(terms) = evidence.delegates.iter().find(|terms| terms.id() == leaf) {
        return Ok(delegation(terms, view, verdict));
    }
    Err(refused("it grants a consent whose terms are not shown"))
}

/// `"St Anna" (0x…) read laboratory until … for treatment`.
fn said(patient: Address, consent: &Consent, view: &View<'_>) -> String {
    let later = if consent.not_before > view.names.now().saturating_add(SOON) {
        format!("from {} ", utc(consent.not_before))
    } else {
        String::new()
    };
    format!(
        "{} read {} {later}until {} for {}",
        view.who(consent.grantee),
        view.segments(patient, consent.segments),
        utc(consent.expiry),
        purposes(consent.purposes.0),
    )
}

/// Details and warnings about the terms of a consent that is granted.
pub(super) fn terms(
    patient: Address,
    consent: &Consent,
    view: &View<'_>,
    verdict: &mut Verdict,
) -> Result<(), SignError> {
    if consent.expiry >> 48 != 0 || consent.not_before >> 48 != 0 {
        return Err(refused("a consent's times have more than 48 bits"));
    }
    show_terms("", patient, consent, view, verdict);
    if consent.is_network() {
        verdict.warn(danger(
            "network_wide",
            "It names no reader: EVERY active organization of the network may use it.",
        ));
    } else {
        verdict.meet(view, consent.grantee);
    }
    if consent.segments.len() == 256 {
        verdict.warn(danger("all_segments", "It covers EVERYTHING, whatever is added later."));
    }
    if consent.segments.is_empty() {
        verdict.warn(caution("no_segment", "It names nothing to read."));
    }
    let unnamed = |segment: &Segment| view.names.segment(patient, *segment).is_none();
    let unnamed = consent.segments.iter().filter(unnamed).count() as u64;
    if unnamed > 0 {
        let text = format!("It covers {} without a name.", plural(unnamed, "segment"));
        verdict.warn(danger("unknown_segment", text));
    }
    if consent.purposes.0 == 0 {
        verdict.warn(danger("no_purpose", "It names no purpose of use."));
    }
    if consent.purposes.0 >> Purpose::ALL.len() != 0 {
        verdict.warn(danger("unknown_purpose", "It names a purpose that Galen has no word for."));
    }
    let begins = consent.not_before.max(view.names.now());
    if consent.expiry.saturating_sub(begins) > LONG {
        verdict.warn(danger("long_term", "It holds for longer than a year."));
    }
    if consent.expiry <= begins {
        verdict.warn(caution("past_expiry", "It ends before it begins, or has ended already."));
    }
    Ok(())
}

pub(super) fn show_terms(
    prefix: &str,
    patient: Address,
    consent: &Consent,
    view: &View<'_>,
    verdict: &mut Verdict,
) {
    verdict.detail(format!("{prefix}Reader"), view.who(consent.grantee));
    verdict.detail(format!("{prefix}May read"), view.all_segments(patient, consent.segments));
    verdict.detail(format!("{prefix}Purpose"), purposes(consent.purposes.0));
    verdict.detail(format!("{prefix}From"), utc(consent.not_before));
    verdict.detail(format!("{prefix}Until"), utc(consent.expiry));
    verdict.detail(format!("{prefix}Consent"), consent.id().to_string());
}

fn delegation(terms: &DelegateTerms, view: &View<'_>, verdict: &mut Verdict) -> String {
    let known = ["answer proposals", "change consents and name delegates", "reseal content"];
    let powers: Vec<String> = (0..u32::BITS)
        .filter(|bit| terms.powers.0 >> bit & 1 == 1)
        .map(|bit| {
            known
                .get(bit as usize)
                .map_or_else(|| format!("power {bit}"), |&power| power.to_owned())
        })
        .collect();
    verdict.meet(view, terms.delegate);
    verdict.warn(danger(
        "delegate",
        format!("{} would sign in the patient's name.", view.who(terms.delegate)),
    ));
    if terms.expiry.saturating_sub(view.names.now()) > LONG {
        verdict.warn(danger("long_term", "It holds for longer than a year."));
    }
    verdict
        .effect("A delegate's signature counts like the patient's. What it has done stays done.");
    let who = view.who(terms.delegate);
    verdict.detail("Delegate", who.clone());
    verdict.detail("May", join(&powers));
    verdict.detail("Until", utc(terms.expiry));
    format!("{who} {} in the patient's name until {}", join(&powers), utc(terms.expiry))
}

/// The part of the sentence about one revoked leaf.
fn end(patient: Address, leaf: ConsentId, view: &View<'_>, verdict: &mut Verdict) -> String {
    let evidence = &view.request.evidence;
    if let Some(consent) = evidence.consents.iter().find(|consent| consent.id() == leaf) {
        show_terms("Ended: ", patient, consent, view, verdict);
        return format!("the consent under which {}", said_may(patient, consent, view));
    }
    verdict.detail("Ended: consent", leaf.to_string());
    verdict.warn(caution("unknown_terms", "It ends a consent whose terms are not known here."));
    format!("consent {leaf}")
}

fn said_may(patient: Address, consent: &Consent, view: &View<'_>) -> String {
    format!(
        "{} may read {} for {}",
        view.who(consent.grantee),
        view.segments(patient, consent.segments),
        purposes(consent.purposes.0),
    )
}

/// The tree after the change, without what is granted and with what is revoked, must be the tree that
/// the chain has now. Otherwise the new root hides a consent, or drops one, that nobody named.
fn rest_unchanged(
    m: &typed::ConsentChange,
    tree: &ConsentTree,
    view: &View<'_>,
    verdict: &mut Verdict,
) -> Result<(), SignError> {
    let stays = tree.leaves().len() - m.granted.len();
    if tree.leaves().len() == 0 {
        return Ok(());
    }
    if stays > 0 {
        verdict.detail("Unchanged", plural(stays as u64, "other consent"));
    }
    let now = view.names.consent_root(m.patient).or(view.request.evidence.root);
    let mut before = tree.clone();
    m.granted.iter().for_each(|leaf| _ = before.remove(ConsentId(*leaf)));
    m.revoked.iter().for_each(|leaf| _ = before.insert(ConsentId(*leaf)));
    match now {
        Some(now) if same(now, &before) => Ok(()),
        Some(_) => Err(refused("the new root changes more consents than the message names")),
        None => {
            verdict.warn(danger(
                "unchecked_root",
                "Nobody has checked against the chain that no other consent comes or goes with it.",
            ));
            Ok(())
        }
    }
}

fn same(root: ConsentRoot, tree: &ConsentTree) -> bool {
    tree.root() == root
}

fn by_delegate(patient: Address, signer: Address, view: &View<'_>, verdict: &mut Verdict) {
    if signer != patient {
        let text = format!("You sign in the name of {}, as a delegate.", view.who(patient));
        verdict.warn(caution("as_delegate", text));
    }
}

/// The consent that an access or an envelope names must open to terms that allow it.
pub(super) fn opened<'a>(
    consent: B256,
    grantee: Address,
    view: &View<'a>,
) -> Result<&'a Consent, SignError> {
    let consents = &view.request.evidence.consents;
    let found = consents.iter().find(|terms| terms.id().0 == consent);
    let terms = found.ok_or_else(|| refused("the terms of the consent are not shown"))?;
    if terms.grantee != grantee && !terms.is_network() {
        return Err(refused("the consent is for another reader"));
    }
    Ok(terms)
}

pub(super) fn access(m: &typed::Access, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let terms = opened(m.consent, m.grantee, view)?;
    let purpose = Purpose::from_u8(m.purpose);
    let purpose = purpose.ok_or_else(|| refused("Galen has no word for its purpose"))?;
    if !terms.purposes.contains(purpose) {
        return Err(refused("the consent does not name this purpose"));
    }
    if m.records.is_empty() {
        return Err(refused("it names no record"));
    }
    records(&m.records, m.patient, terms, view, &mut verdict)?;
    show_terms("Consent: ", m.patient, terms, view, &mut verdict);
    if !terms.holds_at(view.names.now()) {
        verdict.warn(caution("consent_not_live", "The consent does not hold now."));
    }
    let emergency = matches!(purpose, Purpose::EmergencyTreatment | Purpose::BreakTheGlass);
    if terms.is_network() && emergency {
        verdict.warn(danger("break_glass", "This breaks the glass: every audit shows it first."));
    }
    verdict.sentence = Some(format!(
        "Log a read of {} of {} by {} for {}.",
        plural(m.records.len() as u64, "record"),
        view.who(m.patient),
        view.who(m.grantee),
        purposes(1 << purpose.bit()),
    ));
    verdict
        .effect("The access is written on chain for ever, for the patient and everybody to see.");
    Ok(verdict)
}

/// Each word must name a record in a segment of the consent.
pub(super) fn records(
    words: &[U256],
    patient: Address,
    terms: &Consent,
    view: &View<'_>,
    verdict: &mut Verdict,
) -> Result<(), SignError> {
    for word in words {
        if RECORD_GAP.clone().any(|bit| word.bit(bit)) {
            return Err(refused("a record's word has a bit that means nothing"));
        }
        let low = word.as_limbs();
        let segment = Segment(low[1].to_le_bytes()[0]);
        if !terms.segments.contains(segment) {
            return Err(refused("the consent does not cover one of the records"));
        }
        let author = Address::from_word((*word >> 96_usize).into());
        let record = format!(
            "no. {} in {} by {}",
            low[0],
            view.segment(patient, segment),
            view.who(author),
        );
        verdict.detail("Record", record);
    }
    Ok(())
}

pub(super) fn request(m: &typed::AccessRequest, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    store(m.store)?;
    if m.purposes == 0 {
        verdict.warn(danger("no_purpose", "It names no purpose of use."));
    }
    if m.purposes >> Purpose::ALL.len() != 0 {
        verdict.warn(danger("unknown_purpose", "It names a purpose that Galen has no word for."));
    }
    verdict.meet(view, m.patient);
    verdict.sentence = Some(format!(
        "Ask {} for consent in the name of {} for {}.",
        view.who(m.patient),
        view.who(m.organization),
        purposes(m.purposes),
    ));
    verdict.effect("The request is public: everybody sees who asked whom, and for which purposes.");
    Ok(verdict)
}

pub(super) fn envelope(m: &typed::Envelope, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let terms = opened(m.consent, m.grantee, view)?;
    if terms.is_network() {
        return Err(refused("keys are not handed over under a consent without a reader"));
    }
    self::terms(m.patient, terms, view, &mut verdict)?;
    verdict.sentence = Some(format!(
        "Hand {} the keys to {} until {} for {}.",
        view.who(m.grantee),
        view.segments(m.patient, terms.segments),
        utc(terms.expiry),
        purposes(terms.purposes.0),
    ));
    verdict.effect(
        "With these keys the reader can open what it gets hold of, without Galen being able to \
         force a log. Keys that were handed over cannot be taken back.",
    );
    Ok(verdict)
}

pub(super) fn contact(m: &typed::Contact, view: &View<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.meet(view, m.author);
    verdict.effect(
        "The author learns which of your segments stands for which category, and can propose \
         records to you. It cannot read any. This cannot be unlearned.",
    );
    verdict
}

/// A store that Galen has.
pub(super) fn store(number: u8) -> Result<(), SignError> {
    galen_types::Store::from_u8(number).map(|_| ()).ok_or_else(|| refused("it names no store"))
}

/// Whether a number of leaves needs no bit beyond them.
pub(super) fn within(mask: U256, count: usize) -> bool {
    mask.bit_len() <= count
}
