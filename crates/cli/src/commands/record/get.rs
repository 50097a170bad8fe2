//! `galen record get`: the document itself, of one's own chart or under a grant.

use galen_crypto::Opened;
use galen_index::Chart;
use galen_sdk::{Grant, Patient, Role};
use galen_types::{RecordId, RecordKey};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    args::GetArgs,
    asked::{AskError, pick},
    commands::{
        access::{Line, Reader, end, ranked},
        grant::kept,
        proxy::asking,
        shown::{Party, SignedBy, category, document, waiting},
    },
    error::CliError,
    outfile::OutFile,
    session::Session,
    ui::Ui,
};

/// The result of `galen record get --json`.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    source: Source,
    /// The document, byte for byte, if it is JSON and was not written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Source {
    Own(Box<Own>),
    Granted(Box<Line>),
}

#[derive(Debug, Serialize)]
struct Own {
    id: RecordId,
    category: String,
    author: Party,
    media_type: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Who signed it by parts, unless it was too long to be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<SignedBy>,
}

pub(super) async fn run(args: &GetArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    if session.role() == Role::Patient {
        let patient = session.patient();
        let keys =
            |chart: &Chart| chart.records().map(|record| record.key).collect::<Vec<RecordKey>>();
        let look = session.galen().with_chart(patient.id(), keys);
        let keys = waiting(ui, "look the record up", look).await?;
        match pick("record", &args.record, keys.iter().map(RecordKey::id)) {
            Ok(id) => {
                let key = keys.iter().find(|key| key.id() == id);
                let key = key.ok_or(AskError::Nothing("the record is gone"))?;
                return own(args, key, &patient, session, ui).await;
            }
            // A patient may have been granted something too.
            Err(AskError::NoSuch { .. }) if !session.book().grants.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    granted(args, session, ui).await
}

async fn own(
    args: &GetArgs,
    key: &RecordKey,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let doing = "open the record";
    let category = category(patient.category(key.segment));
    let author = Party::new(session, key.author);
    let made = |media_type: &str, bytes, file, signature| {
        let media_type = media_type.to_owned();
        Own { id: key.id(), category, author, media_type, bytes, file, signature }
    };
    if let Some(path) = &args.out {
        let file = OutFile::create(path, args.force)?;
        let work = patient.export(key.id(), file.writer()?);
        let (_, manifest) = waiting(ui, doing, work).await?;
        let (media_type, bytes, path) = end(file, &manifest, args.signed)?;
        let path = Some(path.display().to_string());
        return finish(Source::Own(Box::new(made(&media_type, bytes, path, None))), None, ui);
    }
    let opened = waiting(ui, doing, patient.open(key.id())).await?;
    let signature = waiting(ui, "check who signed it", session.galen().signature_of(&opened));
    let signature = signature.await?.map(|signature| SignedBy::new(session, &signature));
    if !ui.json() {
        return print(&opened, args.signed, ui);
    }
    let (media_type, bytes) = document(&opened, args.signed);
    let own = made(media_type, bytes.len() as u64, None, signature);
    finish(Source::Own(Box::new(own)), Some(raw(bytes)?), ui)
}

async fn granted(args: &GetArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let purpose = args.purpose.ok_or(AskError::NoPurpose)?;
    let grantee = asking(session, ui)?;
    let mut covered: Vec<(Grant, RecordKey)> = Vec::new();
    for grant in kept(session, &grantee, ui) {
        let keys = grantee.covered(grant.patient(), grant.consent());
        let keys = waiting(ui, "list what the grants cover", keys).await?;
        covered.extend(keys.into_iter().map(|key| (grant.clone(), key)));
    }
    let id = pick("record", &args.record, covered.iter().map(|(_, key)| key.id()));
    let id = id.map_err(|error| match error {
        AskError::NoSuch { .. } => AskError::NotGranted,
        other => other,
    })?;
    let key = covered.iter().find(|(_, key)| key.id() == id).map(|(_, key)| *key);
    let key = key.ok_or(AskError::NotGranted)?;
    let grants = ranked(key.patient, purpose, &grantee, session, ui).await?;
    let covers = |grant: &&Grant| grant.consent().segments.contains(key.segment);
    let grant = grants.iter().find(covers).ok_or(AskError::NotGranted)?;
    let signed = args.signed;
    let (grantee, logged) = (&grantee, false);
    let reader = Reader { grantee, grant, purpose, signed, logged, session, ui };
    if let Some(path) = &args.out {
        let line = reader.read_large(&key, Some(path), (args.force, args.signed)).await?;
        return finish(Source::Granted(Box::new(line)), None, ui);
    }
    let batch = [key.id()];
    let (read, logged) = reader.open(&batch).await?;
    let Some(one) = read.first() else { return Err(AskError::NotGranted.into()) };
    let logged = reader.logged_at(&key, logged).await?;
    ui.status(&format!("the patient sees this read: transaction {:#x}", logged.transaction));
    if !ui.json() {
        return print(&one.opened, args.signed, ui);
    }
    let (media_type, bytes) = document(&one.opened, args.signed);
    let mut line = reader.line(&key, media_type, bytes.len() as u64, None, logged);
    line.signature = one.signature.map(|signature| SignedBy::new(session, &signature));
    finish(Source::Granted(Box::new(line)), Some(raw(bytes)?), ui)
}

fn finish(source: Source, document: Option<Box<RawValue>>, ui: &Ui) -> Result<(), CliError> {
    if ui.json() {
        return ui.object(&Answer { source, document });
    }
    let file = match &source {
        Source::Own(own) => own.file.as_deref(),
        Source::Granted(line) => line.file.as_deref(),
    };
    ui.line(&crate::table::cell(file.unwrap_or_default()))
}

/// The document as a value of the answer. Numbers keep their text.
fn raw(document: &[u8]) -> Result<Box<RawValue>, CliError> {
    serde_json::from_slice(document).map_err(|_| AskError::NotText.into())
}

/// The document as it is, on standard output. What could act on a terminal goes there only in files.
pub(super) fn print(opened: &Opened, signed: bool, ui: &Ui) -> Result<(), CliError> {
    let (_, bytes) = document(opened, signed);
    let text = std::str::from_utf8(bytes).is_ok_and(|text| {
        text.split(['\n', '\r', '\t']).all(|line| crate::table::cell(line) == line)
    });
    if !text && ui.is_terminal() {
        return Err(AskError::NotText.into());
    }
    ui.document(bytes)
}
