//! How somebody gets into the book.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, Bytes};
use galen_chain::clear::inert;
use galen_crypto::ContactEnvelope;
use galen_sdk::{Card, Role, fingerprint};
use galen_types::KeyBundleId;
use serde::Serialize;

use crate::{
    book::{Book, Contact},
    error::CliError,
    session::{Session, short},
    ui::Ui,
};

/// Longest alias or MRN, in bytes.
const MAX_ALIAS_LEN: usize = 64;

/// What the person says about somebody new.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) alias: Option<String>,
    pub(crate) mrn: Option<String>,
    pub(crate) verified: bool,
    pub(crate) accept_changed_key: bool,
}

/// What became of a card or an introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    New,
    Same,
    Changed,
    Introduced,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Introduced => "introduced",
        }
    }
}

/// One contact, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) alias: String,
    pub(crate) id: Address,
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) verified: bool,
    pub(crate) introduced: bool,
    pub(crate) mrn: Option<String>,
    pub(crate) fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
}

impl Shown {
    pub(crate) fn new(contact: &Contact, state: Option<State>) -> Self {
        Self {
            alias: contact.alias.clone(),
            id: contact.id,
            role: contact.role,
            name: contact.name.clone(),
            verified: contact.verified,
            introduced: contact.introduction.is_some(),
            mrn: contact.mrn.clone(),
            fingerprint: fingerprint(contact.id, contact.bundle),
            state,
        }
    }
}

/// Takes a card into the book: signed by its owner, for this network, with the keys that the ledger names. Other
/// keys than before are never taken silently.
pub(crate) async fn add_card(
    session: &Session,
    card: &Card,
    wish: &Wish,
    ui: &Ui,
) -> Result<Shown, CliError> {
    let failed = |source| CliError::Sdk { doing: "check the card", source };
    card.verify(session.galen().ledger()).await.map_err(failed)?;
    require_current(session, card).await?;
    if card.id == session.id() {
        return Err(CliError::invalid("this is your own card", "add the cards of others"));
    }
    let book = session.book();
    let known = book.contact(card.id);
    let state = match known {
        Some(known) if known.bundle == card.bundle => State::Same,
        Some(_) => State::Changed,
        None => State::New,
    };
    let verified = match known {
        Some(known) if state == State::Changed => {
            confirm_change(known, card, wish, ui)?;
            wish.verified
        }
        Some(known) => known.verified || compare(card, known.verified, wish, ui)?,
        None => compare(card, false, wish, ui)?,
    };
    let shown = session.change_book(|book| {
        let alias = match (book.contact(card.id), &wish.alias) {
            (Some(known), None) => known.alias.clone(),
            (_, Some(alias)) => require_free(book, alias, card.id)?,
            (None, None) => free_alias(book, &card.name, card.id),
        };
        let mrn = require_free_mrn(book, wish.mrn.as_deref(), card.id)?;
        let contact = entry(book, card.id, &alias);
        contact.alias = alias;
        contact.role = card.role;
        contact.name.clone_from(&card.name);
        contact.bundle = card.bundle;
        contact.verified = verified;
        contact.mrn = mrn.or(contact.mrn.take());
        Ok(Shown::new(contact, Some(state)))
    })?;
    Ok(shown)
}

/// Takes a patient's introduction, which lets this organization propose records.
pub(crate) async fn add_introduction(
    session: &Session,
    envelope: &[u8],
    wish: &Wish,
) -> Result<Shown, CliError> {
    let failed = |source| CliError::Sdk { doing: "take the introduction", source };
    if session.role() != Role::Organization {
        let help = "an introduction is for the organization that it names; use its profile";
        return Err(CliError::invalid("only an organization takes introductions", help));
    }
    let met = session.organization().meet(envelope).await.map_err(failed)?;
    let terms = ContactEnvelope::decode(envelope).map(|envelope| *envelope.terms());
    let terms =
        terms.map_err(|source| CliError::Crypto { doing: "read the introduction", source })?;
    session.change_book(|book| {
        let alias = match (book.contact(met.patient()), &wish.alias) {
            (Some(known), None) => known.alias.clone(),
            (_, Some(alias)) => require_free(book, alias, met.patient())?,
            (None, None) => free_alias(book, "patient", met.patient()),
        };
        let mrn = require_free_mrn(book, wish.mrn.as_deref(), met.patient())?;
        let contact = entry(book, met.patient(), &alias);
        contact.verified = wish.verified || (contact.verified && contact.bundle == terms.bundle);
        contact.alias = alias;
        contact.role = Role::Patient;
        contact.bundle = terms.bundle;
        contact.introduction = Some(Bytes::copy_from_slice(envelope));
        contact.mrn = mrn.or(contact.mrn.take());
        Ok(Shown::new(contact, Some(State::Introduced)))
    })
}

/// The ledger must name the card's keys as the current ones.
async fn require_current(session: &Session, card: &Card) -> Result<(), CliError> {
    let failed = |source| CliError::Sdk { doing: "look up the keys of the card", source };
    let newest = |chart: &galen_index::Chart| chart.keys().last().map(|entry| entry.bundle);
    match session.galen().with_chart(card.id, newest).await.map_err(failed)? {
        Some(bundle) if bundle == card.bundle => Ok(()),
        Some(_) => Err(CliError::integrity(
            "the card is out of date: its owner has published other keys since",
            "ask its owner for a new card",
        )),
        None => Err(CliError::not_found(
            "the owner of the card has published no keys",
            "ask them to run `galen contact card` again; then wait for its transaction",
        )),
    }
}

fn confirm_change(known: &Contact, card: &Card, wish: &Wish, ui: &Ui) -> Result<(), CliError> {
    ui.show_alarm(&format!(
        "CHANGED: the keys of \"{}\" are not the ones in your book.",
        known.alias
    ));
    ui.show(&format!("  before: {}", fingerprint(known.id, known.bundle)));
    ui.show(&format!("  now:    {}", card.fingerprint()));
    ui.show(
        "  Ask them, not by the channel that brought the card, whether they changed their keys.",
    );
    if wish.accept_changed_key {
        return Ok(());
    }
    // --yes is too easily said for this.
    if ui.ask_yes("Take the new keys?", "--accept-changed-key")? {
        return Ok(());
    }
    Err(CliError::declined("the keys have changed, and the answer was no", "nothing was changed"))
}

/// Shows the words and asks whether they were compared; where nobody can be asked they were not.
fn compare(card: &Card, before: bool, wish: &Wish, ui: &Ui) -> Result<bool, CliError> {
    if wish.verified {
        return Ok(true);
    }
    ui.show(&format!("{}, {}, {:#x}", inert(&card.name), card.role, card.id));
    ui.show(&format!("Words to compare with them: {}", card.fingerprint()));
    if !ui.can_ask() || before {
        return Ok(before);
    }
    ui.ask_yes("Have you compared them, not by the channel that brought the card?", "--verified")
}

/// The contact with an id; a blank one is added if there is none.
fn entry<'a>(book: &'a mut Book, id: Address, alias: &str) -> &'a mut Contact {
    let at = match book.contacts.iter().position(|contact| contact.id == id) {
        Some(at) => at,
        None => {
            book.contacts.push(Contact {
                alias: alias.to_owned(),
                id,
                role: Role::Reader,
                name: String::new(),
                bundle: KeyBundleId::default(),
                verified: false,
                since: unix_now(),
                introduction: None,
                mrn: None,
            });
            book.contacts.len() - 1
        }
    };
    &mut book.contacts[at]
}

/// An alias that a person chose: no other contact's, and not mistaken for an id.
/// Whether something may be called so.
pub(crate) fn require_alias(alias: &str) -> Result<(), CliError> {
    let plain = !alias.is_empty()
        && alias.len() <= MAX_ALIAS_LEN
        && !alias.starts_with('-')
        && !alias.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':');
    if !plain || alias.starts_with("0x") || alias == "self" {
        let help = "an alias has 1 to 64 bytes, no spaces and no colon, is not `self` and does not begin with \
                    - or 0x";
        return Err(CliError::invalid(format!("{} is not an alias", alias.escape_debug()), help));
    }
    Ok(())
}

fn require_free(book: &Book, alias: &str, id: Address) -> Result<String, CliError> {
    require_alias(alias)?;
    if book.by_alias(alias).is_some_and(|other| other.id != id) {
        let text = format!("the book has another contact called {alias}");
        return Err(CliError::invalid(text, "choose another alias with --as"));
    }
    Ok(alias.to_owned())
}

fn require_free_mrn(
    book: &Book,
    mrn: Option<&str>,
    id: Address,
) -> Result<Option<String>, CliError> {
    let Some(mrn) = mrn else { return Ok(None) };
    let plain = !mrn.is_empty() && mrn.len() <= MAX_ALIAS_LEN && !mrn.chars().any(char::is_control);
    if !plain {
        return Err(CliError::invalid("the MRN is not usable", "it has 1 to 64 bytes of text"));
    }
    if book.by_mrn(mrn).is_some_and(|other| other.id != id) {
        let help = "check the number; `galen contact show mrn:NUMBER` shows whose it is";
        return Err(CliError::invalid("the MRN is another patient's in the book", help));
    }
    Ok(Some(mrn.to_owned()))
}

/// An alias made from a name.
fn free_alias(book: &Book, name: &str, id: Address) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
    let text: String = name.to_lowercase().chars().take(24).map(plain).collect();
    let text = text.trim_matches('-');
    let taken = |alias: &str| book.by_alias(alias).is_some() || alias.starts_with("0x");
    if !text.is_empty() && text != "self" && text != "patient" && !taken(text) {
        return text.to_owned();
    }
    let base = if text.is_empty() { "contact" } else { text };
    let digits = format!("{id:x}");
    let lengths = [4, 8, 40].into_iter().map(|len| format!("{base}-{}", &digits[..len]));
    lengths.into_iter().find(|alias| !taken(alias)).unwrap_or_else(|| short(id))
}

/// The clock of this machine, in Unix seconds.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
