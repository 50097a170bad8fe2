//! Keys that are handed out in parts: to readers, proxies and guardians.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use galen_types::Consent;

use super::{
    DAY, Verdict,
    consent::{opened, records, show_terms, terms},
    control::guardian_set,
};
use crate::{
    account::{EnvelopeFor, SignError},
    clear::{
        message::refused,
        show::{View, caution, danger, join, purposes},
        time::{plural, utc},
    },
    typed,
};

/// Most envelopes that one message names: 256 consents of one reader and 15 proxies each.
const MAX_ENVELOPES: usize = 4_096;

/// Most proxies of a grant: shares have indexes up to it.
const MAX_PROXIES: usize = 32;

/// Most records of a request for keys.
const MAX_RECORDS: usize = 64;

/// Who gets what of the keys under one consent.
struct Handed<'a> {
    terms: &'a Consent,
    reader: Option<&'a EnvelopeFor>,
    proxies: Vec<Address>,
}

/// Every envelope must be shown, and every consent must open to terms that name the reader.
pub(super) fn sharing(m: &typed::Sharing, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let mut by_consent: BTreeMap<B256, Vec<&EnvelopeFor>> = BTreeMap::new();
    for envelope in named(&m.envelopes, view)? {
        by_consent.entry(envelope.scope).or_default().push(envelope);
    }
    let mut all = Vec::new();
    for (consent, envelopes) in by_consent {
        let handed = handed(consent, &envelopes, view)?;
        terms(m.patient, handed.terms, view, &mut verdict)?;
        show_handed(&handed, view, &mut verdict);
        all.push(handed);
    }
    let split = all.iter().any(|handed| !handed.proxies.is_empty());
    if split {
        let needed = needed(view)?;
        let readers = all.iter().any(|handed| handed.reader.is_some_and(|it| it.keys_split));
        let network = all.iter().any(|handed| handed.terms.is_network());
        by_proxies(needed, readers, network, &mut verdict);
    }
    if all.iter().any(|handed| handed.proxies.is_empty()) {
        if split {
            let text = "One of the readers gets whole keys: its reads need no proxy and no log.";
            verdict.warn(caution("direct_keys", text));
        }
        verdict.effect(
            "With whole keys the reader can open what it gets hold of, without Galen being able to \
             force a log.",
        );
    }
    verdict.effect("Keys that were handed over cannot be taken back.");
    verdict.sentence = Some(match all.as_slice() {
        [one] => sentence(m.patient, one, view),
        many => format!(
            "Hand out keys under {} to readers and proxies, listed below.",
            plural(many.len() as u64, "consent"),
        ),
    });
    Ok(verdict)
}

/// The envelopes that stand behind the leaves of a message, in its order.
fn named<'a>(leaves: &[B256], view: &View<'a>) -> Result<&'a [EnvelopeFor], SignError> {
    let envelopes = &view.request.evidence.envelopes;
    if leaves.is_empty() || leaves.len() > MAX_ENVELOPES {
        return Err(refused("it names no envelope, or too many"));
    }
    if !envelopes.iter().map(EnvelopeFor::leaf).eq(leaves.iter().copied()) {
        return Err(refused("the envelopes shown are not those that it names"));
    }
    if leaves.iter().collect::<BTreeSet<_>>().len() != leaves.len() {
        return Err(refused("it names an envelope twice"));
    }
    Ok(envelopes)
}

/// How many proxies are needed, of how many.
fn needed(view: &View<'_>) -> Result<(u8, usize), SignError> {
    let proxies = view.request.evidence.proxies;
    let (threshold, count) =
        proxies.ok_or_else(|| refused("it is not said how many proxies are needed"))?;
    if threshold == 0 || usize::from(threshold) > count || count > MAX_PROXIES {
        return Err(refused("so many proxies cannot be needed"));
    }
    Ok((threshold, count))
}

/// A reader gets its own envelope first; every other one is for a proxy, and each proxy gets one.
fn handed<'a>(
    consent: B256,
    envelopes: &[&'a EnvelopeFor],
    view: &View<'a>,
) -> Result<Handed<'a>, SignError> {
    let consents = &view.request.evidence.consents;
    let terms = consents.iter().find(|terms| terms.id().0 == consent);
    let terms = terms.ok_or_else(|| refused("the terms of a consent are not shown"))?;
    let reader = envelopes.iter().position(|it| it.holder == terms.grantee);
    let others = envelopes.iter().enumerate().filter(|(index, _)| Some(*index) != reader);
    let others: Vec<&EnvelopeFor> = others.map(|(_, envelope)| *envelope).collect();
    let reader = reader.map(|index| envelopes[index]);
    if others.iter().any(|share| !share.keys_split || share.holder.is_zero()) {
        return Err(refused("whole keys would go to somebody whom the consent does not name"));
    }
    let proxies: Vec<Address> = others.iter().map(|share| share.holder).collect();
    if !proxies.is_empty() && needed(view)?.1 != proxies.len() {
        return Err(refused("not as many proxies get a share as it says"));
    }
    if proxies.iter().collect::<BTreeSet<_>>().len() != proxies.len() {
        return Err(refused("a proxy gets two shares under one consent"));
    }
    let fits = match reader {
        _ if terms.is_network() => reader.is_none(),
        Some(reader) => reader.keys_split != proxies.is_empty(),
        None => false,
    };
    if !fits {
        return Err(refused("what the reader gets does not fit what the proxies get"));
    }
    Ok(Handed { terms, reader, proxies })
}

fn show_handed(handed: &Handed<'_>, view: &View<'_>, verdict: &mut Verdict) {
    if let Some(reader) = handed.reader {
        let what = if reader.keys_split { "its half" } else { "the WHOLE keys" };
        verdict.detail("Gets", format!("{}: {what}", view.who(reader.holder)));
        if handed.proxies.contains(&reader.holder) {
            let who = view.who(reader.holder);
            verdict.warn(danger(
                "reader_is_proxy",
                format!(
                    "{who} reads and is a proxy too: it needs one proxy fewer to read unlogged."
                ),
            ));
        }
    }
    for proxy in &handed.proxies {
        verdict.meet(view, *proxy);
        verdict.detail("Gets", format!("{}: a proxy's share", view.who(*proxy)));
    }
}

/// What proxies do, and what enough of them could do together.
fn by_proxies(
    (threshold, count): (u8, usize),
    readers: bool,
    network: bool,
    verdict: &mut Verdict,
) {
    verdict.detail("Proxies needed", format!("{threshold} of {count}"));
    verdict.effect(format!(
        "{threshold} of {count} proxies are needed for each read, and each answers only for a read \
         that is logged on chain first.",
    ));
    if readers {
        verdict.effect(format!(
            "Proxies without a reader open nothing. {threshold} of them together with a reader could \
             open all of these segments without a log, also after its consent has ended, until new \
             keys are in use.",
        ));
    }
    if network {
        verdict.effect(format!(
            "The proxies hold all of the keys to what names no reader: {threshold} of them together \
             could open it without anybody.",
        ));
    }
    if threshold == 1 {
        let text = "One proxy alone is enough: nobody stands against it if it reads without a log.";
        verdict.warn(danger("one_proxy", text));
    }
}

fn sentence(patient: Address, handed: &Handed<'_>, view: &View<'_>) -> String {
    let terms = handed.terms;
    let what = format!(
        "{} until {} for {}",
        view.segments(patient, terms.segments),
        utc(terms.expiry),
        purposes(terms.purposes.0),
    );
    let proxies: Vec<String> = handed.proxies.iter().map(|proxy| view.who(*proxy)).collect();
    let proxies = join(&proxies);
    match handed.reader {
        None => format!("Hand the keys to {what} to proxies for all who may read: {proxies}."),
        Some(reader) if !reader.keys_split => {
            format!("Hand {} the keys to {what}.", view.who(reader.holder))
        }
        Some(reader) => format!(
            "Hand {} its half of the keys to {what}, and the other half to proxies: {proxies}.",
            view.who(reader.holder),
        ),
    }
}

pub(super) fn offer(m: &typed::Offer, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let consents = &view.request.evidence.consents;
    let opening = consents.iter().find(|consent| consent.id().0 == m.consent);
    let opening = opening.ok_or_else(|| refused("the terms of the consent are not shown"))?;
    if !opening.is_network() {
        return Err(refused("the consent names a reader: nothing is to be offered to all"));
    }
    terms(m.patient, opening, view, &mut verdict)?;
    by_proxies(needed(view)?, false, true, &mut verdict);
    dated(m.issued.to(), view, &mut verdict);
    verdict.sentence = Some(format!(
        "Offer every active organization to read {} of {} through proxies until {} for {}.",
        view.segments(m.patient, opening.segments),
        view.who(m.patient),
        utc(opening.expiry),
        purposes(opening.purposes.0),
    ));
    verdict.effect("The proxies show the terms to every active organization that asks.");
    Ok(verdict)
}

fn dated(issued: u64, view: &View<'_>, verdict: &mut Verdict) {
    if issued > view.names.now().saturating_add(DAY) {
        verdict.warn(caution("late_deadline", "It is dated in the future."));
    }
}

pub(super) fn keys(m: &typed::KeyRequest, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    if m.records.is_empty() && m.consent.is_zero() {
        let whose = if m.patient.is_zero() { "anybody".to_owned() } else { view.who(m.patient) };
        verdict.sentence = Some(format!("Ask the proxies what {whose} left there for you."));
        verdict.effect("Nothing is read with it.");
        return Ok(verdict);
    }
    if m.records.is_empty() || m.records.len() > MAX_RECORDS {
        return Err(refused("it names no record, or too many"));
    }
    let terms = opened(m.consent, m.grantee, view)?;
    records(&m.records, m.patient, terms, view, &mut verdict)?;
    show_terms("Consent: ", m.patient, terms, view, &mut verdict);
    if !terms.holds_at(view.names.now()) {
        verdict.warn(caution("consent_not_live", "The consent does not hold now."));
    }
    verdict.sentence = Some(format!(
        "Ask the proxies for the keys of {} of {}, whose read you log.",
        plural(m.records.len() as u64, "record"),
        view.who(m.patient),
    ));
    verdict.effect(
        "Each proxy answers only if it finds the read in the log. The patient sees what was asked \
         for, also what was refused.",
    );
    Ok(verdict)
}

pub(super) fn report_request() -> Verdict {
    let mut verdict = Verdict::default();
    verdict
        .effect("Whoever has this signature can ask proxies who read your records, until it ends.");
    verdict
}

pub(super) fn report(m: &typed::ProxyReport, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    if m.since > m.until {
        return Err(refused("the report ends before it begins"));
    }
    dated(m.until.to(), view, &mut verdict);
    verdict.warn(danger(
        "hidden_entries",
        "The entries are behind a hash and not shown here: sign only what your own proxy wrote.",
    ));
    verdict.effect("The patient can hold this against the log for ever.");
    Ok(verdict)
}

/// The guardians must open the commitment, and each of them must get one piece.
pub(super) fn pieces(m: &typed::Pieces, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let envelopes = named(&m.envelopes, view)?;
    if envelopes.iter().any(|envelope| envelope.scope != m.guardians) {
        return Err(refused("an envelope is for other guardians"));
    }
    let set = guardian_set(m.guardians, view, &mut verdict)?;
    let mut left: BTreeSet<Address> = set.guardians.iter().copied().collect();
    let others = envelopes.iter().filter(|envelope| !left.remove(&envelope.holder));
    let proxies: Vec<&EnvelopeFor> = others.collect();
    if !left.is_empty() {
        return Err(refused("a guardian gets no piece"));
    }
    let halves = !proxies.is_empty();
    if envelopes.iter().any(|envelope| envelope.keys_split != halves) {
        return Err(refused("what the guardians get does not fit what the proxies get"));
    }
    for proxy in &proxies {
        verdict.meet(view, proxy.holder);
        verdict.detail("Proxy", view.who(proxy.holder));
        if set.guardians.contains(&proxy.holder) {
            let who = view.who(proxy.holder);
            verdict.warn(danger("guardian_is_proxy", format!("{who} is guardian and proxy.")));
        }
    }
    let of = set.guardians.len();
    together(set.threshold, of, &proxies, view, &mut verdict)?;
    let and = match proxies.len() {
        0 => String::new(),
        1 => " and 1 proxy".to_owned(),
        count => format!(" and {count} proxies"),
    };
    verdict.sentence = Some(format!(
        "Give pieces of the root of the keys of {} to {}{and}.",
        view.who(m.id),
        plural(of as u64, "guardian"),
    ));
    verdict
        .effect("Pieces that were given cannot be taken back: only new keys end what they open.");
    Ok(verdict)
}

/// What enough holders of pieces can do, as they should and as they should not.
fn together(
    guardians: u8,
    of: usize,
    proxies: &[&EnvelopeFor],
    view: &View<'_>,
    verdict: &mut Verdict,
) -> Result<(), SignError> {
    if guardians == 1 {
        let text = "One guardian alone is enough: it needs nobody else among them.";
        verdict.warn(danger("one_guardian", text));
    }
    if proxies.is_empty() {
        verdict.warn(danger(
            "guardians_alone",
            format!(
                "Any {guardians} of the {of} guardians together could open ALL your records, now and \
                 later, without a recovery and without anybody seeing it.",
            ),
        ));
        verdict.effect(format!("{guardians} of {of} guardians can give you your keys back."));
        return Ok(());
    }
    let (threshold, count) = needed(view)?;
    if count != proxies.len() {
        return Err(refused("not as many proxies get a piece as it says"));
    }
    verdict.detail("Proxies needed", format!("{threshold} of {count}"));
    verdict.effect(format!(
        "{guardians} of {of} guardians and {threshold} of {count} proxies give you your keys back, the \
         proxies only after a recovery that finished on chain.",
    ));
    verdict.effect(format!(
        "Guardians without proxies, and proxies without guardians, open nothing. {guardians} guardians \
         and {threshold} proxies together could open ALL your records without a recovery.",
    ));
    Ok(())
}

pub(super) fn piece_request(
    m: &typed::PieceRequest,
    view: &View<'_>,
) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    if m.recipientKey.is_zero() || m.controller.is_zero() {
        return Err(refused("it says not whom the pieces are for"));
    }
    verdict.warn(danger(
        "seed_pieces",
        "Whoever holds the key below and the guardians' pieces opens EVERYTHING of this id for ever: \
         sign only where you restore your own records.",
    ));
    verdict.effect(format!(
        "The proxies hand out their pieces of the keys of {} only after a recovery that finished on \
         chain. Each time stands in their reports.",
        view.who(m.id),
    ));
    Ok(verdict)
}
