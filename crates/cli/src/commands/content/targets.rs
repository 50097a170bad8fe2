//! What a command is about: contents that are named, or those of records.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use galen_sdk::{ContentStanding, Role};
use galen_types::{ContentRef, RecordId, Segment};

use super::Keeper;
use crate::{
    asked::{AskError, pick},
    commands::shown::{self, cannot},
    error::CliError,
    places::Places,
    session::Session,
};

/// One content, and where it belongs.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) content: ContentRef,
    pub(super) record: Option<RecordId>,
    pub(super) patient: Option<Address>,
    /// Its category by name.
    pub(super) category: Option<String>,
    pub(super) standing: Option<&'static str>,
    /// Places that should have it.
    pub(super) wanted: BTreeSet<String>,
}

/// Whether all of them are contents, and there is one: then no chain needs to be asked.
pub(super) fn are_contents(texts: &[String]) -> bool {
    !texts.is_empty() && texts.iter().all(|text| text.contains(':'))
}

/// A chart that the profile can look into.
pub(super) struct Chart {
    pub(super) patient: Address,
    /// For an organization: what it knows of the patient.
    pub(super) contact: Option<galen_sdk::Contact>,
}

impl Chart {
    /// The patient's own chart, or those of the organization's patients.
    pub(super) async fn all(
        session: &Session,
        patient: Option<&str>,
    ) -> Result<Vec<Self>, CliError> {
        match session.role() {
            Role::Patient => Ok(vec![Self { patient: session.id(), contact: None }]),
            Role::Reader => {
                Err(AskError::Role { needs: "a patient or an organization", is: "a reader" }.into())
            }
            Role::Organization => {
                let organization = session.organization();
                let book = session.book();
                let patients: Vec<_> = match patient {
                    Some(text) => vec![session.resolve(text)?],
                    None => book.introduced().collect(),
                };
                let mut charts = Vec::new();
                for patient in patients {
                    let contact = crate::commands::record::contact(session, &organization, patient);
                    charts.push(Self { patient, contact: Some(contact.await?) });
                }
                Ok(charts)
            }
        }
    }

    fn category(&self, session: &Session, segment: Segment) -> Option<u8> {
        match &self.contact {
            None => Some(session.patient().category(segment)),
            Some(contact) => contact.category(segment).ok(),
        }
    }
}

impl Keeper<'_> {
    /// Contents as they are named, and of records what readers need: the current content of each version, and what
    /// waits for an answer.
    pub(super) async fn targets(
        &self,
        texts: &[String],
        patient: Option<&str>,
    ) -> Result<Vec<Target>, CliError> {
        let mut targets = Vec::new();
        let (contents, records): (Vec<_>, Vec<_>) = texts.iter().partition(|it| it.contains(':'));
        for text in contents {
            let content = text.parse().map_err(|error: galen_types::ParseError| {
                let shown = crate::table::cell(text);
                let help = format!("give {}, as the lists show it", error.expected);
                CliError::invalid(format!("{shown} names no content"), help)
            })?;
            targets.push(Target {
                content,
                record: None,
                patient: None,
                category: None,
                standing: None,
                wanted: BTreeSet::new(),
            });
        }
        if texts.is_empty() || !records.is_empty() {
            targets.extend(self.of_records(&records, patient).await?);
        }
        let doing = "look up where copies were made";
        let copies = self.storage.copies().await.map_err(super::cannot(doing))?;
        let pending = self.storage.pending().await.map_err(super::cannot(doing))?;
        let kept = copies.iter().map(|it| (&it.addresses, &it.place));
        let places = self.storage.places();
        for (addresses, place) in kept.chain(pending.iter().map(|it| (&it.addresses, &it.place))) {
            // What a place had that is set up no more is not asked for.
            if !places.iter().any(|it| it.name == *place) {
                continue;
            }
            for target in targets.iter_mut().filter(|it| addresses.include(&it.content)) {
                target.wanted.insert(place.clone());
            }
        }
        Ok(targets)
    }

    async fn of_records(
        &self,
        records: &[&String],
        patient: Option<&str>,
    ) -> Result<Vec<Target>, CliError> {
        let session = self.session()?;
        let mut targets: Vec<Target> = Vec::new();
        for chart in Chart::all(session, patient).await? {
            let contents = session.galen().contents(chart.patient).await;
            for record in contents.map_err(cannot("look up the contents of records"))? {
                let key = record.record;
                // What other organizations wrote is theirs to keep.
                if chart.contact.is_some() && key.author != session.id() {
                    continue;
                }
                let category = chart.category(session, key.segment);
                for one in record.contents {
                    let needed =
                        matches!(one.standing, ContentStanding::Current | ContentStanding::Waiting);
                    if !needed || targets.iter().any(|target| target.content == one.content) {
                        continue;
                    }
                    let own = one.by == session.id();
                    targets.push(Target {
                        content: one.content,
                        record: Some(key.id()),
                        patient: Some(chart.patient),
                        category: category.map(shown::category),
                        standing: Some(one.standing.as_str()),
                        wanted: if own {
                            wanted(&self.settings.places, category)
                        } else {
                            BTreeSet::new()
                        },
                    });
                }
            }
        }
        if records.is_empty() {
            return Ok(targets);
        }
        let mut chosen = BTreeSet::new();
        let ids: BTreeSet<_> = targets.iter().filter_map(|target| target.record).collect();
        for text in records {
            chosen.insert(pick("record", text, ids.iter().copied())?);
        }
        targets.retain(|target| target.record.is_some_and(|record| chosen.contains(&record)));
        Ok(targets)
    }
}

/// Where new content of a category goes.
fn wanted(places: &Places, category: Option<u8>) -> BTreeSet<String> {
    let route =
        category.and_then(|category| places.routes().find(|(it, _)| it.index() == category));
    let names = route.map_or(places.keep_in(), |(_, names)| names);
    names.iter().map(ToString::to_string).collect()
}
