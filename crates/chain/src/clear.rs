//! What is about to be signed, in plain words.
//!
//! [`explain`] reads a [`SigningRequest`], refuses everything that is not to the letter one of Galen's
//! messages with a digest that recomputes, checks what stands behind the hashes, and says what the
//! signature does. The labels come from the ERC-7730 descriptors in `abi/erc7730`, so that a hardware
//! wallet shows the same words.

mod descriptor;
mod inert;
mod judge;
mod message;
mod show;
mod time;
mod words;

use std::fmt;

use alloy_primitives::{Address, B256};
use galen_types::{ConsentRoot, LedgerId, Segment};
use serde::Serialize;

use crate::account::{SignError, SigningRequest};
use message::{Message, Read, refused};
use show::View;

pub use inert::inert;
pub use time::utc;
pub use words::words;

/// Words of a digest that are read aloud: 66 bits.
const DIGEST_WORDS: usize = 6;

/// What the person who signs knows already: their address book, their network, their clock.
pub trait Names: fmt::Debug + Send + Sync {
    /// Who an id is.
    fn name(&self, id: Address) -> Option<KnownName>;

    /// What a segment of a patient's chart stands for.
    fn segment(&self, patient: Address, segment: Segment) -> Option<String>;

    /// The network that the person works on.
    fn network(&self) -> Option<KnownNetwork>;

    /// The consent root of a patient as the person's own node gives it now, if it was asked.
    fn consent_root(&self, _patient: Address) -> Option<ConsentRoot> {
        None
    }

    /// Unix seconds, by block time or clock.
    fn now(&self) -> u64;
}

/// An id in the address book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownName {
    /// The name under which the person knows it. It is shown in quotation marks and made inert.
    pub name: String,
    /// The id is the person's own.
    pub own: bool,
    /// Its fingerprint was compared over another channel.
    pub verified: bool,
    /// Nothing was signed for it or answered before.
    pub first_time: bool,
}

/// The network that the person works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNetwork {
    /// Its name in the address book.
    pub name: String,
    /// Chain and contract.
    pub ledger: LedgerId,
    /// The contract that votes are for, if it was asked for.
    pub consortium: Option<Address>,
}

/// A request in plain words. Its fields are the stable JSON form; [`Explanation::lines`] is the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The EIP-712 struct.
    pub primary_type: String,
    /// What it is, as the descriptor says.
    pub intent: String,
    /// What it does, in one sentence.
    pub sentence: String,
    /// What to think about before saying yes, the gravest first.
    pub warnings: Vec<Warning>,
    /// What stands behind the hashes, checked.
    pub details: Vec<Fact>,
    /// The effect, and what cannot be undone.
    pub effects: Vec<String>,
    /// The message field by field, as the descriptor labels it.
    pub fields: Vec<Fact>,
    /// Name of the network, if the request is for the one that the person works on.
    pub network: Option<String>,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The contract that takes the signature.
    pub contract: Address,
    /// Last Unix second at which the signature counts; what only states something has none.
    pub deadline: Option<u64>,
    /// EIP-712 domain separator.
    pub domain_hash: B256,
    /// EIP-712 struct hash.
    pub message_hash: B256,
    /// What is signed.
    pub digest: B256,
    /// The contract wallet for which an owner signs.
    pub wallet: Option<Address>,
    /// What the key itself signs: the digest, or the digest of the wallet's message that holds it.
    pub to_sign: B256,
    /// The first 66 bits of what the key signs, to compare by voice with another screen.
    pub words: Vec<&'static str>,
}

/// A label and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The label.
    pub label: String,
    /// One line of inert text.
    pub value: String,
}

/// Something to think about before saying yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Stable word for machines.
    pub code: &'static str,
    /// Shown in red: a person should stop here.
    pub danger: bool,
    /// One sentence.
    pub text: String,
}

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What the line is, for colour.
    pub kind: LineKind,
    /// Inert text without a line break.
    pub text: String,
}

/// What a line of an explanation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// The sentence.
    Sentence,
    /// A grave warning.
    Danger,
    /// A warning.
    Caution,
    /// A headline.
    Head,
    /// Anything else.
    Plain,
}

/// Says what a request asks to sign.
///
/// # Errors
///
/// [`SignError::Refused`] for everything that is not exactly one of Galen's messages, whose digest does
/// not recompute, or behind whose hashes does not stand what the request claims.
pub fn explain(request: &SigningRequest, names: &dyn Names) -> Result<Explanation, SignError> {
    let Read { message, encode_type, hash } = Message::read(request)?;
    if !message.signers().contains(&request.id) {
        return Err(refused("the message is to be signed by somebody else"));
    }
    let view = View::new(request, names, &encode_type)?;
    let verdict = judge::judge(&message, &view)?;
    let sentence = match verdict.sentence {
        Some(sentence) => sentence,
        None => view.interpolated()?,
    };
    let mut warnings = verdict.warnings;
    warnings.sort_by_key(|warning| !warning.danger);
    let contract = view.contract();
    Ok(Explanation {
        primary_type: request.typed.primary_type.clone(),
        intent: view.format.intent.clone(),
        sentence,
        warnings,
        details: verdict.details,
        effects: verdict.effects,
        fields: view.fields()?,
        network: view.network_name(),
        chain_id: view.chain_id(),
        contract,
        deadline: message.deadline(),
        domain_hash: request.typed.domain.separator(),
        message_hash: hash,
        digest: request.digest,
        wallet: request.wallet,
        to_sign: request.to_sign(),
        words: words(request.to_sign(), DIGEST_WORDS),
    })
}

impl Explanation {
    /// Whether a warning is grave.
    pub fn is_dangerous(&self) -> bool {
        self.warnings.iter().any(|warning| warning.danger)
    }

    /// The text form: sentence, warnings, details, effect, fields, network, hashes. Every line is inert.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = vec![line(LineKind::Sentence, &self.sentence)];
        for warning in &self.warnings {
            let kind = if warning.danger { LineKind::Danger } else { LineKind::Caution };
            lines.push(line(kind, &format!("! {}", warning.text)));
        }
        if !self.details.is_empty() {
            lines.push(line(LineKind::Head, "What stands behind it"));
            lines.extend(self.details.iter().map(fact_line));
        }
        if !self.effects.is_empty() {
            lines.push(line(LineKind::Head, "What it does"));
            let effects = self.effects.iter();
            lines.extend(effects.map(|effect| line(LineKind::Plain, &format!("  {effect}"))));
        }
        lines.push(line(LineKind::Head, &format!("{} ({})", self.intent, self.primary_type)));
        lines.extend(self.fields.iter().map(fact_line));
        lines.push(line(LineKind::Head, "Where it counts"));
        let network = self.network.as_deref().unwrap_or("not the one you work on");
        let place = [
            ("Network", network.to_owned()),
            ("Chain id", self.chain_id.to_string()),
            ("Contract", format!("{:#x}", self.contract)),
            ("Domain hash", format!("{:#x}", self.domain_hash)),
            ("Message hash", format!("{:#x}", self.message_hash)),
            ("Digest", format!("{:#x}", self.digest)),
        ];
        let wallet = self.wallet.into_iter().flat_map(|wallet| {
            [
                ("For contract wallet", format!("{wallet:#x}")),
                ("Wallet's digest", format!("{:#x}", self.to_sign)),
            ]
        });
        let words = [("Digest in words", self.words.join(" "))];
        let place = place.into_iter().chain(wallet).chain(words);
        lines.extend(place.map(|(label, value)| fact_line(&Fact { label: label.into(), value })));
        lines
    }
}

fn line(kind: LineKind, text: &str) -> Line {
    Line { kind, text: text.to_owned() }
}

fn fact_line(fact: &Fact) -> Line {
    line(LineKind::Plain, &format!("  {:24} {}", fact.label, fact.value))
}
