//! Whose charts a custodian sees to, and one pass over one of them.

use alloy_primitives::Address;
use galen_sdk::{CustodyPolicy, CustodyReport, Organization, Patient, Role};

use crate::{
    asked::AskError,
    commands::{record, shown::cannot},
    custody,
    error::CliError,
    session::Session,
};

/// The charts of a profile.
pub(super) enum Charts {
    /// A patient's own.
    Own(Box<Patient>),
    /// Those of an organization's patients, of whom `only` some may be meant.
    Met { organization: Box<Organization>, only: Vec<Address> },
}

impl Charts {
    /// The charts of the session's profile. `only` names patients of an organization.
    pub(super) fn of(session: &Session, only: &[String]) -> Result<Self, CliError> {
        match session.role() {
            Role::Patient if only.is_empty() => Ok(Self::Own(Box::new(session.patient()))),
            Role::Patient => Err(CliError::invalid(
                "a patient's custodian sees to the patient's own chart",
                "leave --patient out; it is for organizations",
            )),
            Role::Organization => {
                let organization = Box::new(session.organization_with_copies());
                let mut named = Vec::new();
                for text in only {
                    let patient = session.resolve(text)?;
                    if !named.contains(&patient) {
                        named.push(patient);
                    }
                }
                Ok(Self::Met { organization, only: named })
            }
            Role::Reader => {
                Err(AskError::Role { needs: "a patient or an organization", is: "a reader" }.into())
            }
        }
    }

    /// Whether there may be more than one of them.
    pub(super) const fn are_many(&self) -> bool {
        matches!(self, Self::Met { .. })
    }

    /// What is signed in the course of it, in one line.
    pub(super) const fn covers(&self) -> &'static str {
        match self {
            Self::Own(_) => {
                "Announcements of new content of your own records, as they become due. The text of a record and who \
                 may read it stay the same."
            }
            Self::Met { .. } => {
                "Announcements of new content of the records that this organization wrote, as they become due. The \
                 text of a record and who may read it stay the same."
            }
        }
    }

    /// Who is seen to now: an organization meets new patients while it runs.
    pub(super) fn patients(&self, session: &Session) -> Result<Vec<Address>, CliError> {
        match self {
            Self::Own(patient) => Ok(vec![patient.id()]),
            Self::Met { only, .. } if !only.is_empty() => Ok(only.clone()),
            Self::Met { .. } => Ok(session.read_book()?.introduced().collect()),
        }
    }

    /// One pass over one chart.
    pub(super) async fn pass(
        &self,
        session: &Session,
        patient: Address,
        policy: &CustodyPolicy,
    ) -> Result<CustodyReport, CliError> {
        let (place, ledger) = (session.place(), session.galen().ledger().id());
        let opened = custody::open(&place, ledger, patient)?;
        // What an earlier process signed and sent is on the chain first, so that it is not told twice.
        let doing = "see to earlier transactions";
        let resumed = session.payer().resume().await;
        resumed.map_err(|source| CliError::Chain { doing, source })?;
        let done = match self {
            Self::Own(own) => own.custody(&opened.custody, policy).await,
            Self::Met { organization, .. } => {
                match organization.is_idle(patient, &opened.custody, policy).await {
                    Ok(true) => Ok(CustodyReport::default()),
                    Ok(false) => {
                        let contact = record::contact(session, organization, patient).await?;
                        organization.custody(&contact, &opened.custody, policy).await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if done.is_ok() {
            custody::touch(&place, ledger, patient);
        }
        done.map_err(cannot("seal the records anew"))
    }
}
