//! Who signs for an id, with which keys, and who belongs to the network.

use alloy_primitives::B256;

use super::{DAY, Verdict, consent::store};
use crate::{
    account::SignError,
    clear::{
        message::refused,
        show::{View, caution, danger},
        time::duration,
    },
    ledger::GuardianSet,
    typed,
};

/// Delays that the contract takes for guardians.
const DELAYS: std::ops::RangeInclusive<u64> = 3 * DAY..=21 * DAY;

/// Roles of a card: patient, organization, reader.
const ROLES: std::ops::RangeInclusive<u8> = 1..=3;

/// A card's node, relay and store are this long at most.
const MAX_TEXT_LEN: usize = 256;

pub(super) fn rotation(m: &typed::Rotation, view: &View<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.warn(danger(
        "new_controller",
        format!("From then on {:#x} alone signs for {:#x}.", m.controller, m.id),
    ));
    verdict.meet(view, m.controller);
    verdict.effect(
        "Everything that the key before has signed and that is not on chain yet becomes void. Who \
         lost the new key cannot turn it back.",
    );
    verdict
}

pub(super) fn keys(m: &typed::KeyBundle) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    store(m.store)?;
    if m.bundle.is_zero() {
        return Err(refused("it names no keys"));
    }
    if !m.previous.is_zero() {
        verdict.warn(danger(
            "new_key",
            "It REPLACES encryption keys: your contacts will see that they changed.",
        ));
    }
    verdict.effect("From then on others seal to these keys. What was sealed before stays with the keys before.");
    Ok(verdict)
}

pub(super) fn guardians(m: &typed::GuardianChange, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    if m.commitment.is_zero() != (m.delay == 0) {
        return Err(refused("guardians and delay do not fit each other"));
    }
    if m.commitment.is_zero() {
        verdict.warn(danger("no_guardians", "Nobody could recover the id any more."));
    } else if !DELAYS.contains(&u64::from(m.delay)) {
        return Err(refused("the delay is not between 3 and 21 days"));
    } else if view.request.evidence.guardians.is_some() {
        let set = guardian_set(m.commitment, view, &mut verdict)?;
        verdict.warn(danger(
            "guardians",
            format!("Any {} of these guardians together can take the id over.", set.threshold),
        ));
    } else {
        verdict.warn(danger(
            "hidden_guardians",
            "Who the guardians are is behind a hash and not shown here: they can take the id over.",
        ));
    }
    verdict.effect(format!(
        "Guardians can hand the id to a new key after {}; the first guardians take effect at once.",
        duration(m.delay.into()),
    ));
    Ok(verdict)
}

/// The guardians behind a commitment, each of whom the person should know.
pub(super) fn guardian_set<'a>(
    commitment: B256,
    view: &View<'a>,
    verdict: &mut Verdict,
) -> Result<&'a GuardianSet, SignError> {
    let set = view.request.evidence.guardians.as_ref();
    let set = set.filter(|set| set.commitment() == commitment);
    let set = set.ok_or_else(|| refused("the guardians shown are not those that it names"))?;
    let quorum = 1..=set.guardians.len();
    // What the contract would never take cannot help anybody either.
    if !quorum.contains(&usize::from(set.threshold))
        || !set.guardians.is_sorted_by(|one, next| one < next)
    {
        return Err(refused("the guardians are not a set that could ever act"));
    }
    for guardian in &set.guardians {
        verdict.meet(view, *guardian);
        verdict.detail("Guardian", view.who(*guardian));
    }
    let of = set.guardians.len();
    verdict.detail("Needed", format!("{} of {of}", set.threshold));
    let last = usize::from(set.final_threshold);
    let last = if quorum.contains(&last) { format!("{last} of {of}") } else { "never".to_owned() };
    verdict.detail("Cannot be cancelled", last);
    Ok(set)
}

pub(super) fn recovery(m: &typed::Recovery, view: &View<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.warn(danger(
        "new_controller",
        format!(
            "{:#x} would sign for {:#x}: speak to the person before you help.",
            m.controller, m.id
        ),
    ));
    verdict.meet(view, m.id);
    if m.isFinal {
        verdict.warn(danger("final", "Nobody could cancel this recovery."));
    }
    verdict
        .effect("With enough guardians the new key takes the id over once the delay has passed.");
    verdict
}

pub(super) fn cancellation() -> Verdict {
    let mut verdict = Verdict::default();
    verdict.effect("What waits is dropped. A recovery can be cancelled once in 30 days.");
    verdict
}

pub(super) fn vote(m: &typed::Vote, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    let (verb, effect) = match m.motion {
        0 => ("admit", "With two thirds of all members it becomes a member after 2 days."),
        1 => ("admit again", "With two thirds of all members it is active again after 2 days."),
        2 => ("suspend", "With more than half of all members it can do nothing, at once."),
        3 => ("remove", "With two thirds of all members it stops being one, at once."),
        _ => return Err(refused("there is no such motion")),
    };
    verdict.meet(view, m.organization);
    verdict.sentence =
        Some(format!("As {}, vote to {verb} {}.", view.who(m.voter), view.who(m.organization),));
    verdict.effect(effect);
    verdict.effect("A vote that was given cannot be taken back; it ends with its deadline.");
    Ok(verdict)
}

pub(super) fn card(m: &typed::Card, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = Verdict::default();
    if !ROLES.contains(&m.role) {
        return Err(refused("there is no such role"));
    }
    if [&m.name, &m.rpcUrl, &m.relay, &m.store].iter().any(|text| text.len() > MAX_TEXT_LEN) {
        return Err(refused("a text is longer than 256 bytes"));
    }
    let issued = m.issued.to::<u64>();
    if issued > view.names.now().saturating_add(DAY) {
        verdict.warn(caution("late_deadline", "It is dated in the future."));
    }
    if !view.names.name(m.id).is_some_and(|known| known.own) {
        verdict.warn(danger("unknown_id", format!("{:#x} is not an id of yours.", m.id)));
    }
    verdict
        .effect("Whoever has the card sees this name beside the id and can link the two for ever.");
    Ok(verdict)
}
