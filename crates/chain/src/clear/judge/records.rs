//! Proposals, their answers, and where content lies.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use galen_types::{LeafKind, Segment};

use super::{
    DAY, Verdict,
    consent::{store, within},
};
use crate::{
    account::SignError,
    clear::{
        message::refused,
        show::{View, caution, danger, join},
        time::plural,
    },
    typed,
};

/// Numbers of records that are listed for one group of leaves.
const MAX_NUMBERS: usize = 12;

/// Most leaves of a proposal.
const MAX_LEAVES: usize = 256;

pub(super) fn proposal(m: &typed::Proposal, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    well_formed(m)?;
    group_leaves("Proposes", m, |_| true, view, &mut verdict);
    policy(m, view, &mut verdict)?;
    if view.names.name(m.patient).is_none() {
        verdict.warn(caution("unknown_id", format!("{:#x} is not in your contacts.", m.patient)));
    }
    verdict.sentence = Some(format!(
        "Propose {} to {} in the name of {}.",
        plural(m.leaves.len() as u64, "record"),
        view.who(m.patient),
        view.who(m.author),
    ));
    verdict.effect("The patient can accept or reject each of them until the day below.");
    verdict.effect(
        "What the patient accepts stays under your name. It can only be changed by a new version \
         that both sign. You can withdraw the proposal before it is answered.",
    );
    Ok(verdict)
}

/// What the contract would refuse is not asked for.
fn well_formed(m: &typed::Proposal) -> Result<(), SignError> {
    if m.leaves.is_empty() || m.leaves.len() > MAX_LEAVES || usize::from(m.count) != m.leaves.len()
    {
        return Err(refused("the proposal does not hold as many records as it says"));
    }
    if m.author == m.patient {
        return Err(refused("patient and author are the same"));
    }
    for leaf in &m.leaves {
        let kind = LeafKind::from_u8(leaf.kind);
        let kind = kind.ok_or_else(|| refused("a record is of no kind that Galen knows"))?;
        store(leaf.store)?;
        if (kind == LeafKind::New) != leaf.previous.is_zero() {
            return Err(refused("a record follows a version that it must not, or none"));
        }
    }
    Ok(())
}

/// Says which leaves a verb is about: grouped by kind and segment, so that 256 fit on a screen and none
/// is left out.
fn group_leaves(
    verb: &str,
    m: &typed::Proposal,
    chosen: impl Fn(usize) -> bool,
    view: &View<'_>,
    verdict: &mut Verdict,
) {
    let mut groups: BTreeMap<(u8, u8), Vec<String>> = BTreeMap::new();
    let leaves = m.leaves.iter().enumerate().filter(|(index, _)| chosen(*index));
    for (_, leaf) in leaves {
        groups.entry((leaf.kind, leaf.segment)).or_default().push(leaf.number.to_string());
    }
    for ((kind, segment), mut numbers) in groups {
        let what = match LeafKind::from_u8(kind) {
            Some(LeafKind::New) => "new record",
            Some(LeafKind::Amendment) => "amendment",
            _ => "retraction",
        };
        let count = numbers.len();
        if count > MAX_NUMBERS {
            numbers.truncate(MAX_NUMBERS);
            numbers.push(format!("{} more", count - MAX_NUMBERS));
        }
        let text = format!(
            "{} in {}: no. {}",
            plural(count as u64, what),
            view.segment(m.patient, Segment(segment)),
            join(&numbers),
        );
        verdict.detail(verb, text);
    }
}

/// Who must sign beside author and patient.
fn policy(m: &typed::Proposal, view: &View<'_>, verdict: &mut Verdict) -> Result<(), SignError> {
    match &view.request.evidence.policy {
        _ if m.policy.is_zero() => {}
        Some(policy) if policy.hash() == m.policy => {
            let names: Vec<String> =
                policy.cosigners.iter().map(|cosigner| view.who(*cosigner)).collect();
            let text = format!("{} of {}", policy.threshold, join(&names));
            verdict.detail("Cosigners", text);
            policy.cosigners.iter().for_each(|cosigner| verdict.meet(view, *cosigner));
        }
        Some(_) => return Err(refused("the cosigners shown are not those of the proposal")),
        None => verdict.warn(caution(
            "hidden_cosigners",
            "Others must sign too; who they are is behind a hash and not shown here.",
        )),
    }
    Ok(())
}

/// The proposal behind a hash.
fn behind<'a>(
    hash: alloy_primitives::B256,
    view: &View<'a>,
) -> Result<&'a typed::Proposal, SignError> {
    let proposal = view.request.evidence.proposal.as_ref();
    let proposal = proposal.ok_or_else(|| refused("the proposal behind it is not shown"))?;
    if proposal.id().0 != hash {
        return Err(refused("the proposal shown is not the one behind it"));
    }
    well_formed(proposal)?;
    Ok(proposal)
}

pub(super) fn withdrawal(m: &typed::Withdrawal, view: &View<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    if view.names.name(m.patient).is_none() {
        verdict.warn(caution("unknown_id", format!("{:#x} is not in your contacts.", m.patient)));
    }
    verdict.effect(
        "The patient can no longer accept it. This cannot be undone; propose again if needed.",
    );
    verdict
}

pub(super) fn attestation(m: &typed::Attestation, view: &View<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let documents = view.request.evidence.documents.unwrap_or(1);
    let what = plural(documents as u64, "document");
    verdict.sentence =
        Some(format!("As {}, stand behind {what} as their author.", view.who(m.author)));
    verdict.effect(
        "Whoever is shown a part of them can check that it is yours and unchanged. This does not expire and \
         cannot be taken back.",
    );
    if m.issued.to::<u64>() > view.names.now().saturating_add(DAY) {
        verdict.warn(caution("late_deadline", "It is dated in the future."));
    }
    verdict
}

pub(super) fn reply(m: &typed::Reply, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let effect = match m.kind {
        0 => "The author learns why you rejected. It does not reject by itself.",
        1 => "The author learns what you want corrected. Nothing is answered by it.",
        _ => return Err(refused("there is no such reply")),
    };
    if m.leaves.is_zero() {
        return Err(refused("it is about no record"));
    }
    verdict.meet(view, m.author);
    verdict.effect(effect);
    verdict.effect("Only the author can read the text. It shows that it came from you.");
    Ok(verdict)
}

pub(super) fn settlement(m: &typed::Settlement, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let proposal = behind(m.proposal, view)?;
    let count = proposal.leaves.len();
    if proposal.patient != m.patient {
        return Err(refused("the proposal is for another patient"));
    }
    if !within(m.accepted, count) || !within(m.rejected, count) {
        return Err(refused("it answers records that the proposal does not hold"));
    }
    if !(m.accepted & m.rejected).is_zero() {
        return Err(refused("it accepts and rejects the same record"));
    }
    let accepted = m.accepted.count_ones();
    let rejected = m.rejected.count_ones();
    if accepted + rejected == 0 {
        return Err(refused("it answers nothing"));
    }
    group_leaves("Accepts", proposal, |leaf| m.accepted.bit(leaf), view, &mut verdict);
    group_leaves("Rejects", proposal, |leaf| m.rejected.bit(leaf), view, &mut verdict);
    let open = |leaf: usize| !(m.accepted | m.rejected).bit(leaf);
    group_leaves("Leaves open", proposal, open, view, &mut verdict);
    policy(proposal, view, &mut verdict)?;
    verdict.meet(view, proposal.author);
    if m.signer != m.patient {
        let text = format!("You sign in the name of {}, as a delegate.", view.who(m.patient));
        verdict.warn(caution("as_delegate", text));
    }
    warn_unnamed(proposal, m.accepted, view, &mut verdict);
    let whose = view.who(proposal.author);
    let of = plural(count as u64, "record");
    verdict.sentence = Some(match (accepted, rejected) {
        (a, 0) => format!("Accept {a} of {of} proposed by {whose}."),
        (0, r) => format!("Reject {r} of {of} proposed by {whose}."),
        (a, r) => format!("Accept {a} and reject {r} of {of} proposed by {whose}."),
    });
    answer_effects(accepted, rejected, &mut verdict);
    Ok(verdict)
}

fn answer_effects(accepted: usize, rejected: usize, verdict: &mut Verdict) {
    if accepted > 0 {
        verdict.effect(
            "What you accept becomes part of your chart. An accepted record can only be changed by \
             a new version that its author and you both sign.",
        );
    }
    if rejected > 0 {
        verdict.effect(
            "What you reject stays out of your chart and is shown as rejected. The first answer \
             counts: it cannot be accepted later.",
        );
    }
}

/// A record in a segment without a name lands where the patient never looks.
fn warn_unnamed(m: &typed::Proposal, accepted: U256, view: &View<'_>, verdict: &mut Verdict) {
    let leaves = m.leaves.iter().enumerate().filter(|(index, _)| accepted.bit(*index));
    let mut segments = leaves.map(|(_, leaf)| Segment(leaf.segment));
    if segments.any(|segment| view.names.segment(m.patient, segment).is_none()) {
        let text = "It accepts a record in a segment that has no name for you.";
        verdict.warn(caution("unknown_segment", text));
    }
}

pub(super) fn cosignature(m: &typed::Cosignature, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let proposal = behind(m.proposal, view)?;
    if m.deadline != proposal.deadline {
        return Err(refused("its deadline is not that of the proposal"));
    }
    if m.cosigner == proposal.patient || m.cosigner == proposal.author {
        return Err(refused("patient and author do not cosign"));
    }
    if proposal.policy.is_zero() {
        return Err(refused("the proposal asks for no cosigner"));
    }
    let named = view.request.evidence.policy.as_ref();
    if named.is_some_and(|policy| !policy.cosigners.contains(&m.cosigner)) {
        return Err(refused("the proposal does not name you as a cosigner"));
    }
    group_leaves("Vouches for", proposal, |_| true, view, &mut verdict);
    policy(proposal, view, &mut verdict)?;
    verdict.meet(view, proposal.author);
    verdict.sentence = Some(format!(
        "Vouch for {} that {} proposes to {}.",
        plural(proposal.leaves.len() as u64, "record"),
        view.who(proposal.author),
        view.who(proposal.patient),
    ));
    verdict.effect(
        "Your name stands beside the author's on what the patient accepts. It cannot be taken back.",
    );
    Ok(verdict)
}

pub(super) fn reseal(m: &typed::Reseal, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    if m.items.is_empty() {
        return Err(refused("it names no record"));
    }
    m.items.iter().try_for_each(|item| store(item.store))?;
    let mut by_segment: BTreeMap<u8, u64> = BTreeMap::new();
    m.items.iter().for_each(|item| *by_segment.entry(item.segment).or_default() += 1);
    for (segment, count) in by_segment {
        let name = view.segment(m.patient, Segment(segment));
        verdict.detail("Moves", format!("{} in {name}", plural(count, "record")));
    }
    if m.items.iter().any(|item| item.content.is_zero()) {
        return Err(refused("it names no new content"));
    }
    if m.signer != m.patient && m.signer != m.author {
        let text = format!("You sign in the name of {}, as a delegate.", view.who(m.patient));
        verdict.warn(caution("as_delegate", text));
    }
    other_party(m.author, view, &mut verdict);
    other_party(m.patient, view, &mut verdict);
    verdict.sentence = Some(format!(
        "Say where newly sealed content of {} of {} by {} lies.",
        plural(m.items.len() as u64, "record"),
        view.who(m.patient),
        view.who(m.author),
    ));
    verdict.effect(
        "The text of the records stays the same: content that does not open to it does not count.",
    );
    Ok(verdict)
}

fn other_party(id: Address, view: &View<'_>, verdict: &mut Verdict) {
    if view.names.name(id).is_none() {
        verdict.warn(caution("unknown_id", format!("{id:#x} is not in your contacts.")));
    }
}

pub(super) fn bulk(m: &typed::BulkAnchor) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    store(m.store)?;
    if m.count == 0 || m.root.is_zero() {
        return Err(refused("it anchors nothing"));
    }
    verdict.warn(danger(
        "hidden_records",
        "The records are behind a hash and not shown here: sign only what your own system made.",
    ));
    verdict.effect("The records can be proven to have existed. It cannot be undone. No patient has accepted them.");
    Ok(verdict)
}
