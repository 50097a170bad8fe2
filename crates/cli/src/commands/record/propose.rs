//! `galen record propose`: seals documents and proposes them, and takes up what was interrupted.

use std::{
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use galen_chain::CosignPolicy;
use galen_crypto::MediaType;
use galen_fhir::Violation;
use galen_sdk::{
    AttachedFile, Contact, Error, Import, ImportInput, ImportProgress, ImportReport, Organization,
    Reject,
};
use galen_types::{ErrorKind, ProposalId, RecordId};
use serde::Serialize;

use super::{contact, cosign::encoded, journal, policy, sources::Sources};
use crate::{
    args::ProposeArgs,
    asked::AskError,
    commands::{
        fhir::chosen_keys,
        shown::{Horizon, Moment, Party, cannot, organization},
    },
    error::CliError,
    session::Session,
    site::Site,
    table::{NONE, row},
    ui::Ui,
};

/// Between two status lines where there is no terminal.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The result of `galen record propose`, `amend` and `retract` with `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) patient: Party,
    pub(super) proposals: Vec<Proposed>,
    /// Inputs that were proposed before, now or in an earlier run.
    pub(super) known: usize,
    /// How many inputs were refused.
    pub(super) rejected: usize,
    /// The first 1,000 of them.
    pub(super) rejects: Vec<Rejected>,
}

/// A proposal that was announced.
#[derive(Debug, Serialize)]
pub(super) struct Proposed {
    pub(super) id: ProposalId,
    pub(super) records: Vec<RecordId>,
    pub(super) at: Moment,
    /// The line for the cosigners, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sheet: Option<String>,
}

/// An input that was refused.
#[derive(Debug, Serialize)]
pub(super) struct Rejected {
    /// The file, with `:` and the line for NDJSON.
    input: String,
    /// The cause in words.
    cause: String,
    /// The element, if the document has the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The byte, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<usize>,
    /// Rules of the site that it breaks, the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation>,
}

pub(super) async fn run(
    args: &ProposeArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let organization = organization(session)?;
    let patient = session.resolve(&args.to)?;
    let policy = policy(session, patient, &args.cosigners, args.threshold)?;
    let media_type = args.media_type.as_deref().map(media_type).transpose()?;
    // Looked at before anything is asked of the network.
    let site = session.site()?;
    let cards = chosen_keys(&args.issuer, session.settings().timeout.value, ui).await?;
    let sources = Sources::new(&args.inputs)?.with_cards(cards);
    let contact = contact(session, &organization, patient).await?;
    let mut answer = Answer::new(Party::new(session, patient));
    let attached = args.attach.clone().zip(media_type).zip(args.category);
    let attached = attached.map(|((path, media_type), category)| AttachedFile {
        path,
        media_type,
        category: category.index(),
    });
    let organization = organization.with_signing_policy(site.signing.clone());
    let (organization, contact, policy) = (&organization, &contact, &policy);
    let job = Job { organization, contact, policy, site: &site, session, ui };
    let report = job.import(sources, attached, args.again).await?;
    for id in &report.proposals {
        let found = proposed(organization, *id, patient, policy, session).await?;
        answer.proposals.push(found);
    }
    answer.known = report.progress.known;
    answer.rejected = report.progress.rejected;
    answer.rejects = report.rejects.iter().map(Rejected::new).collect();
    answer.print(ui)?;
    let refused = answer.rejected > 0;
    let invalid = ExitCode::from(ErrorKind::Invalid.exit_code());
    Ok(if refused { invalid } else { ExitCode::SUCCESS })
}

fn media_type(text: &str) -> Result<MediaType, CliError> {
    text.parse().map_err(|_| {
        let shown = crate::table::cell(text);
        CliError::invalid(
            format!("{shown} is not a media type"),
            "a media type is for example application/pdf or image/jpeg",
        )
    })
}

/// One import.
struct Job<'a> {
    organization: &'a Organization,
    contact: &'a Contact,
    policy: &'a CosignPolicy,
    site: &'a Site,
    session: &'a Session,
    ui: &'a Ui,
}

impl Job<'_> {
    async fn import(
        &self,
        sources: Sources,
        attached: Option<AttachedFile>,
        again: bool,
    ) -> Result<ImportReport, CliError> {
        let (place, ledger) = (self.session.place(), self.session.galen().ledger().id());
        let (mut journal, mut past) = journal::open(&place, ledger, self.contact.patient())?;
        let files = sources.files() + usize::from(attached.is_some());
        let documents = sources.map(|source| {
            let name = match source.line {
                Some(line) => format!("{}:{line}", source.input),
                None => source.input,
            };
            ImportInput::document(name, source.bytes.map_err(unread))
        });
        let attached =
            attached.map(|file| ImportInput::file(file.path.display().to_string(), file));
        let inputs = documents.chain(attached);
        let mut shown = Shown::new(self.ui, files);
        let name = galen_chain::clear::inert(&self.session.display(self.contact.patient()));
        let first = format!("Their proposal to {name} follows and needs a signature, too.");
        let rest = format!("More documents and proposals of this import for {name} follow.");
        self.session.asking().allow_documents(self.contact.patient(), &first, &rest);
        if again && !past.is_empty() {
            // What was signed is sent before it is forgotten.
            self.take_up(&past, &mut journal, &mut shown, Vec::new()).await?;
            journal.forget()?;
            past.clear();
        }
        if past.len() > 1 {
            self.ui.status("going on where the last import for this patient stopped");
        }
        let report = self.take_up(&past, &mut journal, &mut shown, inputs).await;
        shown.finish();
        let report = report?;
        let ImportProgress { known, .. } = report.progress;
        if known > 0 {
            self.ui.status(&format!(
                "{known} inputs were proposed before and are skipped; --again proposes them again"
            ));
        }
        Ok(report)
    }

    async fn take_up(
        &self,
        past: &[galen_sdk::JournalEntry],
        journal: &mut crate::journal::JournalFile,
        shown: &mut Shown,
        inputs: impl IntoIterator<Item = ImportInput>,
    ) -> Result<ImportReport, CliError> {
        let failed = cannot("propose the documents");
        let mut tell = |progress: &ImportProgress| shown.tell(progress);
        let Self { organization, contact, policy, .. } = self;
        let begun = Import::begin(organization, contact, policy, past, journal, &mut tell).await;
        let import = begun
            .map_err(&failed)?
            .checked_by(self.site.compliance.clone())
            .with_parts(self.site.parts.clone())
            .sorted_by(self.site.table.clone());
        import.run(inputs).await.map_err(&failed)
    }
}

/// Why an input could not be read, as the SDK takes it.
pub(super) fn unread(error: CliError) -> io::Error {
    match error {
        CliError::Read { source, .. } => source,
        other => io::Error::other(other),
    }
}

/// Says how far an import is.
struct Shown {
    ui: Ui,
    bar: indicatif::ProgressBar,
    last: Instant,
}

impl Shown {
    fn new(ui: &Ui, files: usize) -> Self {
        Self { ui: ui.clone(), bar: ui.bar(files as u64, "sealing"), last: Instant::now() }
    }

    fn tell(&mut self, progress: &ImportProgress) {
        let ImportProgress { inputs, known, rejected, records, announced, .. } = progress;
        let text = format!(
            "{inputs} inputs, {records} records sealed, {announced} proposed, {known} skipped, \
            {rejected} refused"
        );
        if self.bar.is_hidden() {
            if self.last.elapsed() >= STATUS_INTERVAL {
                self.ui.status(&text);
                self.last = Instant::now();
            }
            return;
        }
        // A file of many lines counts as many inputs.
        let inputs = *inputs as u64;
        self.bar.set_length(self.bar.length().unwrap_or_default().max(inputs));
        self.bar.set_position(inputs);
        self.bar.set_message(text);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A proposal as the chain has it, with the sheet for its cosigners.
pub(super) async fn proposed(
    organization: &Organization,
    id: ProposalId,
    patient: Address,
    policy: &CosignPolicy,
    session: &Session,
) -> Result<Proposed, CliError> {
    let find = |chart: &galen_index::Chart| chart.proposal(id).cloned();
    let found = session.galen().with_chart(patient, find).await;
    let found = found.map_err(cannot("read the proposal back"))?;
    let found = found.ok_or(AskError::Nothing("the proposal is not on chain (any more)"))?;
    let event = &found.event;
    let sheet = if policy.cosigners.is_empty() || event.policy != policy.hash() {
        None
    } else {
        let sheet = organization.cosign_sheet(patient, id, policy).await;
        Some(encoded(&sheet.map_err(cannot("start the cosigners' sheet"))?))
    };
    Ok(Proposed {
        id,
        records: event.leaves.iter().map(|leaf| leaf.key(patient, event.author).id()).collect(),
        at: Horizon::now(session).await?.moment(found.announced),
        sheet,
    })
}

impl Answer {
    pub(super) const fn new(patient: Party) -> Self {
        Self { patient, proposals: Vec::new(), known: 0, rejected: 0, rejects: Vec::new() }
    }

    pub(super) fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        for proposed in &self.proposals {
            let transaction = format!("{:#x}", proposed.at.transaction);
            let records = proposed.records.len();
            let finality = &proposed.at.finality;
            row(ui, &[&"proposed", &proposed.id, &records, &transaction, finality])?;
            if let Some(sheet) = &proposed.sheet {
                row(ui, &[&"sheet", &proposed.id, sheet])?;
            }
        }
        self.rejects.iter().try_for_each(|rejected| rejected.print(ui))
    }
}

impl Rejected {
    pub(super) fn print(&self, ui: &Ui) -> Result<(), CliError> {
        for violation in &self.violations {
            let (input, path) = (&self.input, &violation.path);
            row(ui, &[&"refused", input, violation, path, &NONE, &violation.help()])?;
        }
        if !self.violations.is_empty() {
            return Ok(());
        }
        let path = self.path.as_deref().unwrap_or(NONE);
        let byte = self.byte.map(|byte| byte.to_string()).unwrap_or_default();
        row(ui, &[&"refused", &self.input, &self.cause, &path, &byte])
    }

    pub(super) fn new(reject: &Reject) -> Self {
        let bare = |cause| Self {
            input: reject.name.clone(),
            cause,
            path: None,
            byte: None,
            violations: Vec::new(),
        };
        match &reject.reason {
            Error::Fhir(fault) => Self {
                path: Some(fault.path().to_owned()).filter(|path| !path.is_empty()),
                byte: Some(fault.offset()),
                ..bare(fault.fault().to_string())
            },
            Error::NotCompliant(report) => {
                Self { violations: report.violations.clone(), ..bare(report.to_string()) }
            }
            Error::Crypto(galen_crypto::Error::Read(source)) => {
                bare(format!("cannot be read: {source}"))
            }
            other => bare(other.to_string()),
        }
    }
}
