//! `galen record sign`: a clinician signs documents by parts, for an organization to propose.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use galen_fhir::Document;
use galen_sdk::Reject;
use galen_types::{ErrorKind, Plaintext};
use serde::Serialize;

use super::{
    propose::Rejected,
    sources::{Source, Sources},
};
use crate::{
    args::SignArgs,
    commands::shown::{category, sending},
    error::CliError,
    outfile,
    session::Session,
    site::Site,
    table::row,
    ui::Ui,
};

/// Documents under one signature, and bytes of them in memory.
const MAX_BATCH: usize = galen_fhir::parts::MAX_BATCH;
const MAX_WAITING_LEN: usize = 64 << 20;

/// The result of `galen record sign --json`.
#[derive(Debug, Default, Serialize)]
struct Answer {
    documents: Vec<Line>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejects: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Line {
    input: String,
    file: String,
    category: String,
    /// Bytes of the document itself.
    bytes: usize,
}

/// A document that waits for the signature.
struct Waiting {
    line: Line,
    path: PathBuf,
    document: Plaintext,
}

pub(super) async fn run(args: &SignArgs, session: &Session, ui: &Ui) -> Result<ExitCode, CliError> {
    let site = session.site()?;
    let sources = Sources::new(&args.inputs)?;
    outfile::folder(&args.out)?;
    let mut answer = Answer::default();
    let (mut waiting, mut len, mut number) = (Vec::new(), 0, 0);
    for source in sources {
        let (name, drafts) = drafts(source);
        let drafts = match drafts {
            Ok(drafts) => drafts,
            Err(reason) => {
                answer.rejects.push(Rejected::new(&Reject { name, reason }));
                continue;
            }
        };
        for (category, document) in drafts {
            let path = args.out.join(file_name(&name, number, &category));
            // Said before anybody is asked to sign.
            if std::fs::symlink_metadata(&path).is_ok() {
                return Err(CliError::Exists { path: path.display().to_string() });
            }
            number += 1;
            let (input, file) = (name.clone(), path.display().to_string());
            let bytes = document.expose().len();
            len += bytes;
            waiting.push(Waiting { line: Line { input, file, category, bytes }, path, document });
            if waiting.len() == MAX_BATCH || len >= MAX_WAITING_LEN {
                len = 0;
                sign(std::mem::take(&mut waiting), &mut answer, &site, session, ui).await?;
            }
        }
    }
    sign(waiting, &mut answer, &site, session, ui).await?;
    answer.print(ui)?;
    let refused = !answer.rejects.is_empty();
    let invalid = ExitCode::from(ErrorKind::Invalid.exit_code());
    Ok(if refused { invalid } else { ExitCode::SUCCESS })
}

async fn sign(
    waiting: Vec<Waiting>,
    answer: &mut Answer,
    site: &Site,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let (places, documents): (Vec<_>, Vec<_>) =
        waiting.into_iter().map(|it| ((it.line, it.path), it.document)).unzip();
    let work = session.sign_documents(documents, &site.signing);
    let signed = sending(ui, "sign the documents", work).await?;
    for ((line, path), signed) in places.into_iter().zip(signed) {
        outfile::write(&path, signed.encode().expose(), false)?;
        answer.documents.push(line);
    }
    Ok(())
}

/// What an input is called, and its documents with their categories.
fn drafts(source: Source) -> (String, Result<Vec<(String, Plaintext)>, galen_sdk::Error>) {
    let Source { input, line, bytes } = source;
    let name = line.map_or_else(|| input.clone(), |line| format!("{input}:{line}"));
    let read = || {
        let bytes =
            bytes.map_err(|error| galen_crypto::Error::Read(super::propose::unread(error)))?;
        let document = Document::read(bytes.expose())?;
        let drafts = document.split();
        let drafts = drafts.iter().map(|it| (category(it.category().index()), it.payload()));
        Ok(drafts.collect())
    };
    (name, read())
}

/// `note-000-notes.signed`.
fn file_name(input: &str, number: usize, category: &str) -> String {
    let stem = Path::new(input).file_stem().and_then(|stem| stem.to_str());
    let stem = stem.filter(|stem| *stem != "-").unwrap_or("document");
    format!("{stem}-{number:03}-{category}.{}", outfile::extension(galen_sdk::SIGNED_DOCUMENT))
}

impl Answer {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        for Line { input, file, category, bytes } in &self.documents {
            row(ui, &[&"signed", input, file, category, bytes])?;
        }
        self.rejects.iter().try_for_each(|rejected| rejected.print(ui))
    }
}
