//! What proxies say that they did: each report is signed by its proxy.

use alloy_primitives::{Address, keccak256};
use galen_chain::{Evidence, typed};
use galen_crypto::ProxyPlace;

use super::{
    ProxyClient, ProxyError,
    wire::{Report, ReportAsk, ReportEntry, report_counts},
};
use crate::{Error, Patient, patient::u48};

/// Seconds within which a report is given after it was asked for.
const LIFETIME: u64 = 600;

/// A report that its proxy signed. What was served can be held against the chain, what was refused rests on the
/// word of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyReport {
    /// The proxy.
    pub proxy: Address,
    /// From this Unix second on.
    pub since: u64,
    /// To this one.
    pub until: u64,
    /// What it served and refused, in its order.
    pub entries: Vec<ReportEntry>,
}

impl Patient {
    /// Asks a proxy what it served and refused of this patient since a Unix second, and checks that it signed the
    /// answer.
    ///
    /// # Errors
    ///
    /// - [`Error::Proxy`]: it refused or did not answer; of kind integrity if the report is about something else,
    ///   does not parse, or is not signed by who controls the proxy's id.
    /// - [`Error::Chain`], [`Error::Sign`].
    pub async fn proxy_report(
        &self,
        client: &ProxyClient,
        place: &ProxyPlace,
        since: u64,
    ) -> Result<ProxyReport, Error> {
        let ledger = &self.galen().ledger;
        let deadline = self.galen().time().await? + LIFETIME;
        let rotations = ledger.participant(self.id()).await?.rotations;
        let (patient, asked) = (self.id(), u48(since));
        let message =
            typed::ReportRequest { patient, rotations, since: asked, deadline: u48(deadline) };
        let signature = self.account().sign(&message, ledger.id(), Evidence::default()).await?;
        let ask = ReportAsk { patient, since, deadline, signature };
        let report = client.report(&place.url, &ask).await?;
        if (report.proxy, report.patient, report.since) != (place.id, patient, since) {
            return Err(ProxyError::Wrong("a report about something else").into());
        }
        let entries: Vec<ReportEntry> = serde_json::from_str(&report.entries)
            .map_err(|_| ProxyError::Answer("no list of what was served and refused"))?;
        self.require_own_word(&report, &entries).await?;
        let Report { proxy, since, until, .. } = report;
        Ok(ProxyReport { proxy, since, until, entries })
    }

    /// Whether who controls the proxy's id today signed the report.
    async fn require_own_word(
        &self,
        report: &Report,
        entries: &[ReportEntry],
    ) -> Result<(), Error> {
        let ledger = &self.galen().ledger;
        let participant = ledger.participant(report.proxy).await?;
        let (served, refused) = report_counts(entries);
        let message = typed::ProxyReport {
            proxy: report.proxy,
            rotations: participant.rotations,
            patient: report.patient,
            since: u48(report.since),
            until: u48(report.until),
            served,
            refused,
            entries: keccak256(&report.entries),
        };
        let digest = typed::digest(&message, ledger.id());
        if ledger.has_signed(participant.controller, digest, &report.signature).await {
            return Ok(());
        }
        Err(ProxyError::Wrong("a report that it did not sign").into())
    }
}
