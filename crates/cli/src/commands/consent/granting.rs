//! Granting: the terms are kept, the keys sealed, the chain changed, and the shares brought to proxies.

use alloy_primitives::Bytes;
use galen_chain::Sent;
use galen_crypto::ProxyPlace;
use galen_sdk::{
    Patient,
    proxies::{ProxySet, Renewed},
};
use galen_types::{Consent, ErrorKind};
use serde::Serialize;

use crate::{
    book::{Delivery, KnownConsent, KnownProxies, Through},
    commands::{
        consent::deliver::{self, Delivered},
        shown::{Party, sending},
    },
    error::CliError,
    session::Session,
    ui::Ui,
};

/// How the keys of consents reach their readers.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Whole, to the reader.
    Direct,
    /// One half to the reader, the other in shares to these proxies.
    Through(ProxySet),
}

/// What came of it.
pub(crate) struct Made {
    /// For each consent the line for its reader; none for a consent to every organization.
    pub(crate) envelopes: Vec<Option<Bytes>>,
    pub(crate) sent: Sent,
    /// None in direct mode.
    pub(crate) through: Option<Shares>,
}

/// What became of the shares of a grant.
#[derive(Debug, Serialize)]
pub(crate) struct Shares {
    /// How many proxies must answer for a read.
    threshold: u8,
    shares: Vec<Delivered>,
}

impl Shares {
    /// Whether a proxy has what the reader needs to find its own keys.
    pub(crate) fn reached_one(&self) -> bool {
        self.shares.iter().any(Delivered::is_delivered)
    }
}

impl Way {
    /// Through the proxies of the book, if there are any and nothing else was asked for.
    pub(crate) fn of(session: &Session, direct: bool) -> Self {
        match set(&session.book().proxies) {
            Some(set) if !direct => Self::Through(set),
            _ => Self::Direct,
        }
    }

    /// Said before anything is signed.
    pub(crate) fn show(&self, session: &Session, ui: &Ui) {
        let Self::Through(set) = self else { return };
        let name = |place: &ProxyPlace| {
            let known = session.book().proxies.by_id(place.id).map(|proxy| proxy.alias.clone());
            known.unwrap_or_else(|| format!("{:#x}", place.id))
        };
        let names: Vec<String> = set.places.iter().map(name).collect();
        ui.show(&format!(
            "Through proxies: for each read {} of these {} must answer, and they answer only what is \
             logged: {}",
            set.threshold,
            names.len(),
            names.join(", ")
        ));
    }

    fn through(&self) -> Option<Through> {
        match self {
            Self::Direct => None,
            Self::Through(set) => Some(through_of(set)),
        }
    }
}

/// The set as the book keeps it with a consent.
pub(super) fn through_of(set: &ProxySet) -> Through {
    let places = set.places.iter().map(|place| (place.id, place.url.clone())).collect();
    Through { threshold: set.threshold, places }
}

/// The proxies of the book as the set that grants go through.
pub(crate) fn set(known: &KnownProxies) -> Option<ProxySet> {
    let places = known.places.iter().map(|it| ProxyPlace { id: it.id, url: it.url.clone() });
    let places: Vec<ProxyPlace> = places.collect();
    (!places.is_empty()).then(|| ProxySet { places, threshold: known.threshold() })
}

/// Grants consents whose terms are made, with their categories, as one change of the chain.
pub(crate) async fn grant_all(
    wanted: &[(Consent, Vec<u8>)],
    way: &Way,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Made, CliError> {
    way.show(session, ui);
    let consents: Vec<Consent> = wanted.iter().map(|(consent, _)| *consent).collect();
    let made = match way {
        Way::Direct => direct(wanted, &consents, patient, session, ui).await,
        Way::Through(set) => through(wanted, &consents, set, way, patient, session, ui).await,
    };
    if let Err(error) = &made {
        forget(session, error, &consents, patient).await?;
    }
    made
}

async fn direct(
    wanted: &[(Consent, Vec<u8>)],
    consents: &[Consent],
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Made, CliError> {
    let mut envelopes = Vec::new();
    for consent in consents {
        envelopes.push(if consent.is_network() {
            ui.warn(
                "every active organization can log reads under this consent; the keys that open \
                 records are not handed out by it: for that you need proxies (`galen proxy add`)",
            );
            None
        } else {
            let doing = "seal the keys to the reader";
            Some(Bytes::from(sending(ui, doing, patient.envelope(consent)).await?))
        });
    }
    for ((consent, categories), envelope) in wanted.iter().zip(&envelopes) {
        keep(session, consent, categories, envelope.clone(), None)?;
    }
    let sent = sending(ui, doing(consents), patient.grant_terms(consents)).await?;
    note_block(session, consents, sent.block)?;
    Ok(Made { envelopes, sent, through: None })
}

async fn through(
    wanted: &[(Consent, Vec<u8>)],
    consents: &[Consent],
    set: &ProxySet,
    way: &Way,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Made, CliError> {
    let work = patient.renew(consents, set);
    let renewed = sending(ui, "split the keys between reader and proxies", work).await?;
    let envelope =
        |one: &Renewed| (!one.envelope.is_empty()).then(|| Bytes::from(one.envelope.clone()));
    let envelopes: Vec<Option<Bytes>> = renewed.iter().map(envelope).collect();
    // All into the book before the chain changes: nothing that the consent needs is lost with this process.
    for ((consent, categories), envelope) in wanted.iter().zip(&envelopes) {
        keep(session, consent, categories, envelope.clone(), way.through())?;
    }
    await_delivery(session, renewed)?;
    let sent = sending(ui, doing(consents), patient.grant_terms(consents)).await?;
    note_block(session, consents, sent.block)?;
    let shares = deliver::all(session, ui, deliver::PATIENCE).await?;
    Ok(Made { envelopes, sent, through: Some(Shares { threshold: set.threshold, shares }) })
}

/// Puts shares into the book until their proxies have them. Those of the same consent from before are void.
pub(super) fn await_delivery(session: &Session, renewed: Vec<Renewed>) -> Result<(), CliError> {
    session.change_book(|book| {
        for Renewed { consent, shares, .. } in renewed {
            book.deliveries.retain(|kept| kept.consent != consent.id());
            book.deliveries.extend(shares.into_iter().map(|share| Delivery {
                consent: share.consent,
                proxy: share.proxy.id,
                url: share.proxy.url,
                envelope: share.envelope.into(),
            }));
        }
        Ok(())
    })
}

fn doing(consents: &[Consent]) -> &'static str {
    if consents.len() == 1 { "grant the consent" } else { "grant the consents" }
}

/// The terms are on chain only as a salted hash: without the book nobody could say them again.
fn keep(
    session: &Session,
    consent: &Consent,
    categories: &[u8],
    envelope: Option<Bytes>,
    through: Option<Through>,
) -> Result<(), CliError> {
    let known = KnownConsent {
        consent: *consent,
        grantee: Party::new(session, consent.grantee).to_string(),
        categories: categories.to_vec(),
        granted_in: 0,
        envelope,
        through,
    };
    session.change_book(|book| {
        book.consents.push(known);
        Ok(())
    })
}

fn note_block(session: &Session, consents: &[Consent], block: u64) -> Result<(), CliError> {
    session.change_book(|book| {
        let granted = book.consents.iter_mut().filter(|known| consents.contains(&known.consent));
        granted.for_each(|known| known.granted_in = block);
        Ok(())
    })
}

/// Takes terms out of the book that certainly did not reach the chain.
async fn forget(
    session: &Session,
    error: &CliError,
    consents: &[Consent],
    patient: &Patient,
) -> Result<(), CliError> {
    let surely = matches!(
        error.kind(),
        ErrorKind::Declined | ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::NotFound
    );
    if !surely {
        return Ok(());
    }
    // Something may have failed after the change of the chain.
    let live = |chart: &galen_index::Chart| {
        consents.iter().any(|consent| chart.consents().tree.contains(consent.id()))
    };
    if !matches!(session.galen().with_chart(patient.id(), live).await, Ok(false)) {
        return Ok(());
    }
    session.change_book(|book| {
        book.consents.retain(|known| !consents.contains(&known.consent));
        book.deliveries.retain(|kept| !consents.iter().any(|it| it.id() == kept.consent));
        Ok(())
    })
}
