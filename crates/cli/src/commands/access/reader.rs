//! Reading under one grant: the read is logged, then opened, with the help of proxies where it takes them.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use galen_crypto::Manifest;
use galen_index::{AccessEntry, Record};
use galen_sdk::{Grant, Grantee, MAX_READS, ReadRecord, SIGNED_DOCUMENT};
use galen_types::{ConsentId, Purpose, RecordId, RecordKey};
use serde::Serialize;

use crate::{
    asked::AskError,
    commands::proxy::called,
    commands::shown::{self, Horizon, Landed, Party, SignedBy, cannot, document, landed, sending},
    error::CliError,
    outfile::{self, OutFile},
    session::Session,
    table::row,
    ui::Ui,
};

/// Sealed content longer than this many bytes is opened alone, through a pipe.
const STREAMED_LEN: u64 = 16 << 20;

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

impl Line {
    pub(super) fn print(&self, ui: &Ui) -> Result<(), CliError> {
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
    /// Whether what was logged before is opened, and nothing logged.
    pub(crate) logged: bool,
    pub(crate) session: &'a Session,
    pub(crate) ui: &'a Ui,
}

impl Reader<'_> {
    /// Logs and opens records, as many in one transaction as it takes.
    pub(super) async fn read_all(
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
        let (read, logged) = self.open(batch).await?;
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
            let logged = self.logged_at(&one.record, logged).await?;
            let mut line = self.line(&one.record, media_type, bytes, file, logged);
            line.signature = one.signature.map(|it| SignedBy::new(self.session, &it));
            lines.push(line);
        }
        Ok(lines)
    }

    /// Logs reads, unless they are logged, and opens the records. With where it was logged now.
    pub(crate) async fn open(
        &self,
        batch: &[RecordId],
    ) -> Result<(Vec<ReadRecord>, Option<Landed>), CliError> {
        if self.logged {
            let work = self.grantee.open_logged(self.grant, batch);
            let read = sending(self.ui, "open the records", work).await;
            return Ok((self.told(read)?, None));
        }
        let work = self.grantee.read(self.grant, self.purpose, batch);
        let read = sending(self.ui, "log the reads and open the records", work).await;
        let (read, sent) = self.told(read)?;
        Ok((read, Some(landed(self.session, &sent).await?)))
    }

    /// Logs, unless it is logged, and opens one record in constant memory. Without a path it is only checked.
    pub(crate) async fn read_large(
        &self,
        key: &RecordKey,
        path: Option<&Path>,
        (overwrite, signed): (bool, bool),
    ) -> Result<Line, CliError> {
        let Some(path) = path else {
            let (_, manifest, logged) = self.export(key, std::io::sink()).await?;
            let (media_type, bytes) = (manifest.media_type.as_str(), manifest.committed.len);
            return Ok(self.line(key, media_type, bytes, None, logged));
        };
        let file = OutFile::create(path, overwrite)?;
        let (_, manifest, logged) = self.export(key, file.writer()?).await?;
        let (media_type, bytes, file) = end(file, &manifest, signed)?;
        Ok(self.line(key, &media_type, bytes, Some(file), logged))
    }

    async fn export<W: Write + Send + 'static>(
        &self,
        key: &RecordKey,
        sink: W,
    ) -> Result<(W, Manifest, Landed), CliError> {
        let (grantee, grant) = (self.grantee, self.grant);
        if self.logged {
            let work = grantee.export_logged(grant, key.id(), sink);
            let (sink, manifest) = self.told(sending(self.ui, "open the record", work).await)?;
            return Ok((sink, manifest, self.logged_at(key, None).await?));
        }
        let work = grantee.export(grant, self.purpose, key.id(), sink);
        let doing = "log the read and open the record";
        let (sink, manifest, sent) = self.told(sending(self.ui, doing, work).await)?;
        Ok((sink, manifest, landed(self.session, &sent).await?))
    }

    /// Says what each proxy said where too few of them helped.
    fn told<T>(&self, done: Result<T, CliError>) -> Result<T, CliError> {
        if let Err(CliError::Sdk { source: galen_sdk::Error::TooFewProxies { said, .. }, .. }) =
            &done
        {
            for (place, error) in said {
                self.ui.warn(&format!("the proxy {}: {error}", called(self.session, place)));
            }
        }
        done
    }

    /// Where the read of a record is logged: now, or the last time before.
    pub(crate) async fn logged_at(
        &self,
        key: &RecordKey,
        now: Option<Landed>,
    ) -> Result<Landed, CliError> {
        if let Some(now) = now {
            return Ok(now);
        }
        let (id, consent) = (key.id(), self.grant.consent().id());
        let accesses = self.grantee.accesses(key.patient).await.map_err(cannot("read the log"))?;
        let of = |it: &&AccessEntry| it.event.record == id && it.event.consent == consent;
        let last = accesses.iter().rfind(of).ok_or(AskError::NotLogged)?;
        Ok(Horizon::now(self.session).await?.landed_at(last.at))
    }

    pub(crate) fn line(
        &self,
        key: &RecordKey,
        media_type: &str,
        bytes: u64,
        file: Option<PathBuf>,
        logged: Landed,
    ) -> Line {
        Line {
            id: key.id(),
            category: self.category(key),
            author: Party::new(self.session, key.author),
            media_type: media_type.to_owned(),
            bytes,
            file: file.map(|file| file.display().to_string()),
            signature: None,
            consent: self.grant.consent().id(),
            logged,
        }
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
