//! `galen access`: reads what was granted. Every read is logged on chain first, then opened.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy_primitives::Address;
use galen_crypto::Manifest;
use galen_fhir::Category;
use galen_index::{AccessEntry, Record};
use galen_sdk::{ConsentStatus, Grant, Grantee, MAX_READS, SIGNED_DOCUMENT};
use galen_types::{ConsentId, Purpose, RecordId, RecordKey};
use serde::Serialize;

use crate::{
    args::{AccessArgs, AccessCommand, AccessLogArgs},
    asked::{AskError, pick},
    commands::{
        grant::kept,
        shown::{
            self, Horizon, Landed, Moment, Party, SignedBy, cannot, document, landed, sending,
            waiting,
        },
    },
    error::CliError,
    outfile::{self, OutFile},
    session::Session,
    table::row,
    ui::Ui,
};

/// Sealed content longer than this many bytes is opened alone, through a pipe.
const STREAMED_LEN: u64 = 16 << 20;

pub(crate) async fn run(
    args: &AccessArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(AccessCommand::Log(args)) => log(args, session, ui).await,
        None => read(args, session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The result of `galen access --json`.
#[derive(Debug, Serialize)]
struct Answer {
    patient: Party,
    purpose: Purpose,
    /// In the order in which they were read.
    records: Vec<Line>,
}

/// A record that was logged and opened.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) id: RecordId,
    pub(crate) category: String,
    pub(crate) author: Party,
    pub(crate) media_type: String,
    pub(crate) bytes: u64,
    /// Where the document was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// Who signed it by parts, unless it was too long to be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<SignedBy>,
    pub(crate) consent: ConsentId,
    /// The transaction that logged the read.
    pub(crate) logged: Landed,
}

/// What one grant is to be used for.
struct Task {
    grant: Grant,
    records: Vec<RecordKey>,
}

async fn read(args: &AccessArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let (Some(patient), Some(purpose)) = (&args.patient, args.purpose) else {
        return Err(AskError::Nothing("a patient and a purpose are needed").into());
    };
    let patient = session.resolve(patient)?;
    let grantee = session.grantee();
    let tasks = tasks(args, patient, purpose, &grantee, session, ui).await?;
    let folder = args.out.as_deref();
    folder.map(outfile::folder).transpose()?;
    let mut records = Vec::new();
    for task in &tasks {
        let (grantee, grant, signed) = (&grantee, &task.grant, args.signed);
        let reader = Reader { grantee, grant, purpose, signed, session, ui };
        records.extend(reader.read_all(&task.records, folder).await?);
    }
    let answer = Answer { patient: Party::new(session, patient), purpose, records };
    if ui.json() {
        return ui.object(&answer);
    }
    answer.records.iter().try_for_each(|line| line.print(ui))
}

impl Line {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        row(
            ui,
            &[
                &self.id,
                &self.category,
                &self.author,
                &self.media_type,
                &self.bytes,
                &self.file.as_deref().unwrap_or_default(),
                &format!("{:#x}", self.logged.transaction),
                &self.logged.finality,
            ],
        )
    }
}

/// Which record is read under which grant: the best one that covers it.
async fn tasks(
    args: &AccessArgs,
    patient: Address,
    purpose: Purpose,
    grantee: &Grantee,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Task>, CliError> {
    let grants = ranked(patient, purpose, grantee, session, ui).await?;
    let doing = "list what the grants cover";
    let mut tasks = Vec::new();
    let mut taken = BTreeSet::new();
    for grant in grants {
        let covered = grantee.covered(patient, grant.consent());
        let mut records = waiting(ui, doing, covered).await?;
        records.retain(|key| {
            let category = grant.category(key.segment).and_then(Category::from_index);
            let wanted = |category: Category| args.category.contains(&category);
            args.category.is_empty() || category.is_some_and(wanted)
        });
        records.retain(|key| taken.insert(key.id()));
        tasks.push(Task { grant, records });
    }
    if !args.records.is_empty() {
        let ids: Vec<RecordId> = taken.into_iter().collect();
        let mut wanted = BTreeSet::new();
        for text in &args.records {
            wanted.insert(pick("record", text, ids.iter().copied()).map_err(not_granted)?);
        }
        tasks.iter_mut().for_each(|task| task.records.retain(|key| wanted.contains(&key.id())));
    }
    tasks.retain(|task| !task.records.is_empty());
    if tasks.is_empty() {
        return Err(AskError::NotGranted.into());
    }
    Ok(tasks)
}

/// A record that no grant covers looks like one that is not there.
fn not_granted(error: AskError) -> AskError {
    match error {
        AskError::NoSuch { .. } => AskError::NotGranted,
        other => other,
    }
}

/// The grants of a patient for a purpose, the most useful first. One that is revoked or out of date comes
/// last and is left to the contract, which says exactly why.
pub(crate) async fn ranked(
    patient: Address,
    purpose: Purpose,
    grantee: &Grantee,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Grant>, CliError> {
    let mut ranked = Vec::new();
    for grant in kept(session, grantee, ui).into_iter().filter(|it| it.patient() == patient) {
        let status = grantee.status(&grant).await.map_err(cannot("look the grants up"))?;
        let rank = (status != ConsentStatus::Live, status == ConsentStatus::Revoked);
        ranked.push((rank, grant));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    if ranked.is_empty() {
        return Err(AskError::NotGranted.into());
    }
    ranked.retain(|(_, grant)| grant.consent().purposes.contains(purpose));
    if ranked.is_empty() {
        return Err(AskError::OtherPurpose { purpose }.into());
    }
    Ok(ranked.into_iter().map(|(_, grant)| grant).collect())
}

/// Puts a file that was opened as a stream in its place: of a signed document only the document, unless all of it
/// was asked for. Gives what it is now, and its length.
pub(crate) fn end(
    file: OutFile,
    manifest: &Manifest,
    signed: bool,
) -> Result<(String, u64, PathBuf), CliError> {
    let media_type = manifest.media_type.as_str();
    if media_type == SIGNED_DOCUMENT && !signed {
        let bytes = file.unwrap_signed()?;
        return Ok(("application/fhir+json".to_owned(), bytes, file.finish()?));
    }
    Ok((media_type.to_owned(), manifest.committed.len, file.finish()?))
}

/// Reads under one grant for one purpose.
pub(crate) struct Reader<'a> {
    pub(crate) grantee: &'a Grantee,
    pub(crate) grant: &'a Grant,
    pub(crate) purpose: Purpose,
    /// Whether signed documents are written as they are, with what proves their parts.
    pub(crate) signed: bool,
    pub(crate) session: &'a Session,
    pub(crate) ui: &'a Ui,
}

impl Reader<'_> {
    /// Logs and opens records, as many in one transaction as it takes.
    async fn read_all(
        &self,
        records: &[RecordKey],
        folder: Option<&Path>,
    ) -> Result<Vec<Line>, CliError> {
        let mut lines = Vec::new();
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for key in records {
            if self.is_large(key).await? { large.push(*key) } else { small.push(key.id()) }
        }
        for batch in small.chunks(MAX_READS) {
            lines.extend(self.read_batch(batch, folder).await?);
        }
        for key in large {
            let path = folder.map(|folder| folder.join(self.name(&key, "bin")));
            lines.push(self.read_large(&key, path.as_deref(), (false, self.signed)).await?);
        }
        Ok(lines)
    }

    pub(crate) async fn is_large(&self, key: &RecordKey) -> Result<bool, CliError> {
        let newest = |chart: &galen_index::Chart| {
            let record: Option<&Record> = chart.record(key.id());
            record.and_then(|record| record.current().contents.last().map(|entry| entry.content))
        };
        let galen = self.session.galen();
        let content = galen.with_chart(key.patient, newest).await;
        let Some(content) = content.map_err(cannot("look the record up"))? else {
            return Ok(false);
        };
        // What is not there is the reading's to say, after the log.
        Ok(galen.storage().len(&content).await.is_ok_and(|len| len > STREAMED_LEN))
    }

    async fn read_batch(
        &self,
        batch: &[RecordId],
        folder: Option<&Path>,
    ) -> Result<Vec<Line>, CliError> {
        let work = self.grantee.read(self.grant, self.purpose, batch);
        let (read, sent) = sending(self.ui, "log the reads and open the records", work).await?;
        let mut lines = Vec::new();
        for one in read {
            let (media_type, payload) = document(&one.opened, self.signed);
            let file = match folder {
                Some(folder) => {
                    let name = self.name(&one.record, outfile::extension(media_type));
                    Some(outfile::write(&folder.join(name), payload, true)?)
                }
                None => None,
            };
            let bytes = payload.len() as u64;
            let mut line = self.line(&one.record, media_type, bytes, file, &sent).await?;
            line.signature = one.signature.map(|it| SignedBy::new(self.session, &it));
            lines.push(line);
        }
        Ok(lines)
    }

    /// Logs and opens one record in constant memory. Without a path it is only checked.
    pub(crate) async fn read_large(
        &self,
        key: &RecordKey,
        path: Option<&Path>,
        (overwrite, signed): (bool, bool),
    ) -> Result<Line, CliError> {
        let doing = "log the read and open the record";
        let (grantee, grant, purpose) = (self.grantee, self.grant, self.purpose);
        let Some(path) = path else {
            let work = grantee.export(grant, purpose, key.id(), std::io::sink());
            let (_, manifest, sent) = sending(self.ui, doing, work).await?;
            let (media_type, bytes) = (manifest.media_type.as_str(), manifest.committed.len);
            return self.line(key, media_type, bytes, None, &sent).await;
        };
        let file = OutFile::create(path, overwrite)?;
        let work = grantee.export(grant, purpose, key.id(), file.writer()?);
        let (_, manifest, sent) = sending(self.ui, doing, work).await?;
        let (media_type, bytes, file) = end(file, &manifest, signed)?;
        self.line(key, &media_type, bytes, Some(file), &sent).await
    }

    pub(crate) async fn line(
        &self,
        key: &RecordKey,
        media_type: &str,
        bytes: u64,
        file: Option<PathBuf>,
        sent: &galen_chain::Sent,
    ) -> Result<Line, CliError> {
        Ok(Line {
            id: key.id(),
            category: self.category(key),
            author: Party::new(self.session, key.author),
            media_type: media_type.to_owned(),
            bytes,
            file: file.map(|file| file.display().to_string()),
            signature: None,
            consent: self.grant.consent().id(),
            logged: landed(self.session, sent).await?,
        })
    }

    fn category(&self, key: &RecordKey) -> String {
        self.grant.category(key.segment).map_or_else(String::new, shown::category)
    }

    /// `laboratory-91b03c7e5a112233.json`: the same record has the same name each time.
    fn name(&self, key: &RecordKey, extension: &str) -> String {
        let id = key.id().to_string();
        format!("{}-{}.{extension}", self.category(key), &id[2..18])
    }
}

/// The result of `galen access log --json`.
#[derive(Debug, Serialize)]
struct Logged {
    accesses: Vec<LogLine>,
}

#[derive(Debug, Serialize)]
struct LogLine {
    at: Moment,
    patient: Party,
    record: RecordId,
    purpose: String,
    consent: ConsentId,
    /// Under a consent for every active organization.
    network: bool,
}

async fn log(args: &AccessLogArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let own = session.id();
    let of = args.patient.as_deref().map(|text| session.resolve(text)).transpose()?;
    let look = session.galen().with_view(|view| {
        let charts = view.charts().filter(|(patient, _)| of.is_none_or(|of| of == *patient));
        let accesses = charts.flat_map(|(_, chart)| chart.accesses());
        let mut accesses: Vec<AccessEntry> =
            accesses.filter(|access| access.event.grantee == own).copied().collect();
        accesses.sort_unstable_by_key(|access| access.at);
        accesses
    });
    let mut accesses = Vec::new();
    let found = waiting(ui, "read the log", look).await?;
    let horizon = Horizon::now(session).await?;
    for AccessEntry { at, event } in found {
        accesses.push(LogLine {
            at: horizon.moment(at),
            patient: Party::new(session, event.patient),
            record: event.record,
            purpose: shown::purpose(event.purpose),
            consent: event.consent,
            network: event.network,
        });
    }
    if ui.json() {
        return ui.object(&Logged { accesses });
    }
    accesses.iter().try_for_each(|line| {
        row(
            ui,
            &[
                &line.at.instant(),
                &line.patient,
                &line.record,
                &line.purpose,
                &line.consent,
                &format!("{:#x}", line.at.transaction),
                &line.at.finality,
            ],
        )
    })
}
