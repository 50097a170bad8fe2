//! What a message does, what stands behind its hashes, and what to beware of.

mod consent;
mod control;
mod records;
mod sharing;

use alloy_primitives::Address;

use super::{
    Fact, Warning,
    message::Message,
    show::{View, caution, danger},
    time::{duration, utc},
};
use crate::account::SignError;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// A consent that holds longer is worth a warning.
const LONG: u64 = 366 * DAY;

/// Signatures over proposals, cards' envelopes and votes wait for others; the rest is for now.
const USUAL_WAIT: u64 = 181 * DAY;
const USUAL_LIFETIME: u64 = 2 * HOUR;

/// What was found out about a message.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The sentence, if what stands behind the message gives a better one than the descriptor.
    pub(super) sentence: Option<String>,
    pub(super) details: Vec<Fact>,
    pub(super) effects: Vec<String>,
    pub(super) warnings: Vec<Warning>,
}

impl Verdict {
    fn detail(&mut self, label: impl Into<String>, value: impl Into<String>) {
        self.details.push(Fact { label: label.into(), value: value.into() });
    }

    fn effect(&mut self, text: impl Into<String>) {
        self.effects.push(text.into());
    }

    fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Warns about an id that the person does not know well.
    fn meet(&mut self, view: &View<'_>, id: Address) {
        match view.names.name(id) {
            None => self.warn(danger(
                "unknown_id",
                format!("{id:#x} is not in your contacts: make sure who it is."),
            )),
            Some(known) if known.own => {}
            Some(known) => {
                if known.first_time {
                    let who = view.who(id);
                    self.warn(caution("first_time", format!("It is the first time with {who}.")));
                }
                if !known.verified {
                    self.warn(caution(
                        "unverified_id",
                        format!("You have not compared the words of {}.", view.who(id)),
                    ));
                }
            }
        }
    }
}

/// Judges a message by its kind, then by what every message has.
pub(super) fn judge(message: &Message, view: &View<'_>) -> Result<Verdict, SignError> {
    let mut verdict = match message {
        Message::Proposal(m) => records::proposal(m, view)?,
        Message::Withdrawal(m) => records::withdrawal(m, view),
        Message::Settlement(m) => records::settlement(m, view)?,
        Message::Cosignature(m) => records::cosignature(m, view)?,
        Message::Reseal(m) => records::reseal(m, view)?,
        Message::Attestation(m) => records::attestation(m, view),
        Message::Reply(m) => records::reply(m, view)?,
        Message::BulkAnchor(m) => records::bulk(m)?,
        Message::ConsentChange(m) => consent::change(m, view)?,
        Message::Access(m) => consent::access(m, view)?,
        Message::AccessRequest(m) => consent::request(m, view)?,
        Message::Envelope(m) => consent::envelope(m, view)?,
        Message::Contact(m) => consent::contact(m, view),
        Message::Sharing(m) => sharing::sharing(m, view)?,
        Message::Offer(m) => sharing::offer(m, view)?,
        Message::KeyRequest(m) => sharing::keys(m, view)?,
        Message::ReportRequest(_) => sharing::report_request(),
        Message::ProxyReport(m) => sharing::report(m, view)?,
        Message::Pieces(m) => sharing::pieces(m, view)?,
        Message::PieceRequest(m) => sharing::piece_request(m, view)?,
        Message::Rotation(m) => control::rotation(m, view),
        Message::KeyBundle(m) => control::keys(m)?,
        Message::GuardianChange(m) => control::guardians(m, view)?,
        Message::Recovery(m) => control::recovery(m, view),
        Message::Cancellation(_) => control::cancellation(),
        Message::Vote(m) => control::vote(m, view)?,
        Message::Card(m) => control::card(m, view)?,
    };
    let usual = match message {
        Message::Proposal(_) | Message::Cosignature(_) | Message::Vote(_) => USUAL_WAIT,
        Message::Recovery(_)
        | Message::Envelope(_)
        | Message::Contact(_)
        | Message::Reply(_)
        | Message::Sharing(_)
        | Message::Pieces(_)
        // Guardians need days to answer; it is bound to one key all the same.
        | Message::PieceRequest(_) => 31 * DAY,
        _ => USUAL_LIFETIME,
    };
    common(message, usual, view, &mut verdict);
    Ok(verdict)
}

fn common(message: &Message, usual: u64, view: &View<'_>, verdict: &mut Verdict) {
    match (view.names.network(), view.network_name()) {
        (_, Some(_)) => {}
        (None, _) => verdict.warn(danger("other_network", "You have not chosen a network.")),
        (Some(_), None) => verdict.warn(danger(
            "other_network",
            format!(
                "This is for contract {:#x} on chain {}, which is NOT the network you work on.",
                view.contract(),
                view.chain_id(),
            ),
        )),
    }
    if let Some(wallet) = view.request.wallet {
        let text = format!(
            "You sign as one of the owners of the contract wallet {wallet:#x}. With enough of them the \
             message counts.",
        );
        verdict.effects.push(text);
    }
    let Some(deadline) = message.deadline() else { return };
    let now = view.names.now();
    if deadline < now {
        let text = format!("It ended on {}: the signature would not count.", utc(deadline));
        verdict.warn(caution("past_deadline", text));
    } else if deadline - now > usual {
        let text = format!(
            "The signature would stay usable for {}, longer than Galen ever asks for.",
            duration(deadline - now),
        );
        verdict.warn(danger("late_deadline", text));
    }
}
