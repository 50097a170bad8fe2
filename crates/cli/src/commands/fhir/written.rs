//! Galen's own events and versions as FHIR resources, and the files that they go to.

use std::{collections::BTreeSet, path::Path};

use alloy_primitives::{Address, B256, Bytes, Signature, aliases::U48};
use galen_chain::{Evidence, SigningRequest, typed};
use galen_crypto::Opened;
use galen_fhir::out::{
    Act, AuditInput, Party, PartyKind, SignatureInput, audit_events, collection,
};
use galen_fhir::parts::batch_root;
use galen_index::{AuditReport, Proposal};
use galen_sdk::{SIGNED_DOCUMENT, SignedDocument};
use galen_types::LedgerId;
use serde_json::{Value, json};

use crate::{
    commands::{audit::is_break_glass, shown::cannot},
    error::CliError,
    outfile,
    session::Session,
};

/// Media type of a signature with everything that verifies it.
const SIGNATURE: &str = "application/vnd.galen.signature+json";

/// What is known of a ledger's people when something of it is written as FHIR.
pub(super) struct Writer<'a> {
    pub(super) session: &'a Session,
    pub(super) ledger: LedgerId,
    patient: Address,
    organizations: BTreeSet<Address>,
}

impl<'a> Writer<'a> {
    pub(super) async fn new(session: &'a Session, patient: Address) -> Result<Self, CliError> {
        let members =
            session.galen().with_view(|view| view.organizations().map(|it| it.id).collect());
        let organizations = members.await.map_err(cannot("read who is a member"))?;
        Ok(Self { session, ledger: session.network().id(), patient, organizations })
    }

    /// Somebody by id, called what the private book calls them.
    pub(super) fn party(&self, id: Address) -> Party {
        let kind = if id == self.patient {
            PartyKind::Patient
        } else if self.organizations.contains(&id) {
            PartyKind::Organization
        } else {
            PartyKind::Unknown
        };
        let name = self.session.book().contact(id).map(|contact| contact.alias.clone());
        Party { id, kind, name }
    }

    pub(super) fn patient(&self) -> Party {
        self.party(self.patient)
    }

    /// AuditEvents of a whole audit, in its order.
    pub(super) fn audit(&self, report: &AuditReport, since: u64) -> Vec<Value> {
        let recent = report.entries.iter().filter(|entry| entry.at.time >= since);
        let input = recent.map(|entry| AuditInput {
            ledger: self.ledger,
            patient: self.patient(),
            act: act(entry.what),
            what: entry.what,
            who: entry.who.map(|id| self.party(id)),
            subject: entry.record.map(Into::<B256>::into).or(entry.proposal.map(Into::into)),
            purpose: entry.purpose.clone(),
            consent: entry.consent,
            break_glass: is_break_glass(entry),
            time: entry.at.time,
            block: entry.at.block,
            log: entry.at.log,
            transaction: entry.at.transaction,
            in_head: entry.in_head,
        });
        input.flat_map(|input| audit_events(&input)).collect()
    }

    /// The author's signature of a proposal with what verifies it: EIP-712 typed data as wallets take it. `None` if
    /// the author sent the call itself: then the transaction is the signature.
    pub(super) fn proposed(&self, proposal: &Proposal) -> Result<Option<SignatureInput>, CliError> {
        let event = &proposal.event;
        if event.signature.is_empty() {
            return Ok(None);
        }
        let message = typed::Proposal {
            patient: event.patient,
            author: event.author,
            rotations: event.rotations,
            count: u16::try_from(event.leaves.len()).unwrap_or(u16::MAX),
            deadline: U48::saturating_from(event.deadline),
            policy: event.policy,
            leaves: event.leaves.iter().map(typed::Leaf::from).collect(),
        };
        let domain = typed::ledger_domain(self.ledger);
        let request = SigningRequest::new(event.author, &message, domain, Evidence::default());
        let when = proposal.announced.time;
        signature(&request, &event.signature, when).map(Some)
    }

    /// The author's signature of the document in a record, as the document carries it; `None` if it is not signed
    /// by parts. It covers a root of salted hashes, so it tells nothing of the document.
    pub(super) fn attested(&self, opened: &Opened) -> Result<Option<SignatureInput>, CliError> {
        if opened.media_type.as_str() != SIGNED_DOCUMENT {
            return Ok(None);
        }
        let failed = cannot("read who signed the document");
        let signed = SignedDocument::decode(opened.payload.expose()).map_err(&failed)?;
        let root = signed.tree().map_err(&failed)?.root();
        let attestation = signed.attestation();
        let root = batch_root(root, &attestation.batch_path);
        let message = typed::Attestation {
            author: attestation.author,
            rotations: attestation.rotations,
            root: root.map_err(|error| failed(error.into()))?,
            issued: U48::saturating_from(attestation.issued),
        };
        let domain = typed::ledger_domain(attestation.ledger);
        let request =
            SigningRequest::new(attestation.author, &message, domain, Evidence::default());
        signature(&request, &attestation.signature, attestation.issued).map(Some)
    }
}

/// A signature, and all that verifies it.
fn signature(
    request: &SigningRequest,
    signature: &Bytes,
    when: u64,
) -> Result<SignatureInput, CliError> {
    let data = serde_json::to_vec(&json!({
        "galen": "signature/1",
        "author": request.id,
        "signature": full(signature),
        "typedData": request.typed,
    }));
    Ok(SignatureInput { when, format: SIGNATURE, data: data.map_err(std::io::Error::from)? })
}

/// A compact signature (ERC-2098) in the 65 bytes that every library takes; any other as it is.
fn full(signature: &Bytes) -> Bytes {
    if signature.len() != 64 {
        return signature.clone();
    }
    Signature::from_erc2098(signature).as_bytes().into()
}

/// Which of BALP's patterns an entry of the audit follows.
fn act(what: &str) -> Act {
    match what {
        "accessed" => Act::Disclosure,
        "proposed" | "access-requested" => Act::Create,
        "withdrawn" => Act::Delete,
        _ => Act::Update,
    }
}

/// Writes resources to one new file: a Bundle, or NDJSON if the name ends so. Only its owner can read it.
pub(crate) fn write(path: &Path, resources: &[Value], overwrite: bool) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "ndjson") {
        for resource in resources {
            serde_json::to_writer(&mut bytes, resource).map_err(std::io::Error::from)?;
            bytes.push(b'\n');
        }
    } else {
        serde_json::to_writer(&mut bytes, &collection(resources)).map_err(std::io::Error::from)?;
        bytes.push(b'\n');
    }
    Ok(outfile::write(path, &bytes, overwrite)?.display().to_string())
}

/// Writes the AuditEvents of an audit.
pub(crate) async fn write_audit(
    path: &Path,
    report: &AuditReport,
    since: u64,
    session: &Session,
) -> Result<(String, usize), CliError> {
    let events = Writer::new(session, report.patient).await?.audit(report, since);
    Ok((write(path, &events, false)?, events.len()))
}
