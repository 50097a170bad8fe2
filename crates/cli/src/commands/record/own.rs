//! Whose records a command is about that patients and authors both give.

use alloy_primitives::Address;
use galen_chain::Sent;
use galen_sdk::{
    Contact, Custody, Erased, Erasure, Error, Organization, Patient, ResealedRecord, Role,
};
use galen_types::{RecordId, RecordKey};

use super::contact;
use crate::{asked::AskError, commands::shown, error::CliError, session::Session};

/// A patient's own chart, or what an organization wrote in somebody's.
pub(super) enum Own {
    Patient(Box<Patient>),
    Author(Box<Organization>, Box<Contact>),
}

impl Own {
    /// By the profile's role. `patient` names whose chart an organization means.
    pub(super) async fn of(session: &Session, patient: Option<&str>) -> Result<Self, CliError> {
        match (session.role(), patient) {
            (Role::Organization, None) => {
                Err(AskError::Nothing("an author names a --patient").into())
            }
            (Role::Organization, Some(text)) => {
                let organization = session.organization_with_copies();
                let patient = session.resolve(text)?;
                let contact = contact(session, &organization, patient).await?;
                Ok(Self::Author(Box::new(organization), Box::new(contact)))
            }
            (Role::Patient, Some(_)) => Err(CliError::invalid(
                "a patient's records are those of the patient's own chart",
                "leave --patient out; it is for organizations",
            )),
            _ => Ok(Self::Patient(Box::new(shown::patient(session)?))),
        }
    }

    pub(super) fn patient(&self) -> Address {
        match self {
            Self::Patient(patient) => patient.id(),
            Self::Author(_, contact) => contact.patient(),
        }
    }

    /// Whether a record of the chart is one of them.
    pub(super) fn keeps(&self, record: &RecordKey) -> bool {
        match self {
            Self::Patient(_) => true,
            Self::Author(organization, _) => record.author == organization.id(),
        }
    }

    pub(super) async fn accessed(&self) -> Result<Vec<RecordId>, Error> {
        match self {
            Self::Patient(patient) => patient.accessed().await,
            Self::Author(organization, contact) => organization.accessed(contact.patient()).await,
        }
    }

    pub(super) async fn reseal(
        &self,
        records: &[RecordId],
    ) -> Result<(Vec<ResealedRecord>, Vec<Sent>), Error> {
        match self {
            Self::Patient(patient) => patient.reseal(records).await,
            Self::Author(organization, contact) => organization.reseal(contact, records).await,
        }
    }

    pub(super) async fn erasure(
        &self,
        record: RecordId,
        custody: &Custody,
    ) -> Result<Erasure, Error> {
        match self {
            Self::Patient(patient) => patient.erasure(record, custody).await,
            Self::Author(organization, contact) => {
                organization.erasure(contact, record, custody).await
            }
        }
    }

    pub(super) async fn erase(&self, record: RecordId, custody: &Custody) -> Result<Erased, Error> {
        match self {
            Self::Patient(patient) => patient.erase(record, custody).await,
            Self::Author(organization, contact) => {
                organization.erase(contact, record, custody).await
            }
        }
    }
}
