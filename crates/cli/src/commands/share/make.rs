//! `galen share`: encrypts what is shared, and writes the link.

use std::{fmt::Write as _, path::Path};

use galen_crypto::{Opened, PasscodeHash, jose::LinkKey};
use galen_fhir::{Document, chart::ExportTerms};
use galen_sdk::{
    fhir_document,
    health_card::{is_card_input, read_cards},
    health_link::{CARD_FILE, FHIR_JSON, HealthLink, LinkError, is_safe},
};
use galen_services::share::{NewShare, ShareStore, StoredFile};
use galen_types::{Plaintext, RecordKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{passcode, store};
use crate::{
    args::{Globals, ShareNewArgs},
    asked::pick,
    commands::{
        fhir::read_input,
        shown::{patient, waiting},
    },
    contacts::unix_now,
    error::CliError,
    home, outfile,
    qr::{Correction, Qr},
    session::Session,
    settings::Settings,
    ui::Ui,
    when::Instant,
};

/// Media type of a presentation of a document that is signed by parts.
const PRESENTATION: &str = "application/vnd.galen.presentation+json";

/// The result of `galen share --json`. The link holds the key.
#[derive(Debug, Serialize)]
struct Shared {
    /// Names the link in `galen share list`; missing for a host of somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    link: String,
    url: String,
    media_type: &'static str,
    bytes: usize,
    resources: usize,
    expires: Option<u64>,
    passcode: bool,
    once: bool,
    /// The encrypted file to upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// What is shared, in the clear.
struct Content {
    media_type: &'static str,
    bytes: Plaintext,
    resources: usize,
}

pub(super) async fn run(args: &ShareNewArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let base = base_url(args)?;
    let settings = Settings::resolve(globals)?;
    let content = content(args, globals, ui).await?;
    warn(args, &content, ui);
    ui.require_yes("Share it?")?;
    let passcode = passcode(args.passcode_file.as_deref(), args.ask_passcode, ui)?;
    let failed = |source| CliError::Crypto { doing: "encrypt what is shared", source };
    let key = LinkKey::generate().map_err(failed)?;
    let jwe = key.seal(content.media_type, content.bytes.expose()).map_err(failed)?;
    let now = unix_now();
    let expires = Some(now.saturating_add(args.expires.seconds()));
    let hash = passcode.as_ref().map(|text| PasscodeHash::new(text)).transpose().map_err(failed)?;
    let kept = match &args.out {
        Some(folder) => upload(folder, &base, &jwe)?,
        None => {
            let share = NewShare {
                files: vec![StoredFile { content_type: content.media_type.to_owned(), jwe }],
                label: args.label.clone(),
                passcode: hash,
                attempts: args.attempts,
                created: now,
                expires,
                once: args.once,
                direct: false,
            };
            serve(&store(&settings), &base, share)?
        }
    };
    let link = HealthLink {
        url: kept.url.clone(),
        key,
        expires,
        long_term: false,
        passcode: passcode.is_some(),
        direct: args.out.is_some(),
        label: args.label.clone(),
    };
    let text = link.to_text(args.viewer.as_deref())?;
    write_link(args, &text, ui)?;
    if ui.json() {
        return ui.object(&Shared {
            id: kept.id,
            link: text.as_str().to_owned(),
            url: kept.url,
            media_type: content.media_type,
            bytes: content.bytes.expose().len(),
            resources: content.resources,
            expires,
            passcode: link.passcode,
            once: args.once,
            file: kept.file,
        });
    }
    if let Some(file) = kept.file {
        ui.status(&format!("upload {file} to {base}/"));
    }
    if args.link_out.is_none() { ui.line(&text) } else { Ok(()) }
}

/// Where the encrypted file went.
struct Kept {
    id: Option<String>,
    url: String,
    file: Option<String>,
}

/// Adds a link to those that this profile serves.
fn serve(store: &ShareStore, base: &str, share: NewShare) -> Result<Kept, CliError> {
    // As long as any that comes out.
    checked(format!("{base}/{}", "x".repeat(43)))?;
    let id = store.add(share)?;
    let url = format!("{base}/{}", id.expose());
    Ok(Kept { id: Some(id.short().to_owned()), url, file: None })
}

/// Writes the encrypted file for a host.
fn upload(folder: &Path, base: &str, jwe: &str) -> Result<Kept, CliError> {
    let failed = |source| CliError::Crypto { doing: "name the file", source };
    let name = format!("{}.jwe", LinkKey::generate().map_err(failed)?.to_text().as_str());
    let url = checked(format!("{base}/{name}"))?;
    outfile::folder(folder)?;
    let path = folder.join(name);
    home::create_private(&path, jwe.as_bytes())?;
    Ok(Kept { id: None, url, file: Some(path.display().to_string()) })
}

/// Checked before anything is encrypted.
fn base_url(args: &ShareNewArgs) -> Result<String, CliError> {
    if args.records.is_empty() && args.file.is_none() && !args.ips {
        let help =
            "name records (`galen record list`), the whole chart with --ips, or a file with --file";
        return Err(CliError::invalid("nothing to share is named", help));
    }
    let base = args.base_url.as_deref().map(|url| url.trim_end_matches('/'));
    let base = base.ok_or_else(|| {
        let help = "say where readers reach the files: --base-url https://…";
        CliError::invalid("the address of the files is missing", help)
    })?;
    if !is_safe(base) || base.contains(['?', '#']) {
        let help =
            "give an https address without ? and #; http only on this machine, to try it out";
        return Err(CliError::invalid("readers could not reach this base URL safely", help));
    }
    Ok(base.to_owned())
}

/// A link's address may not be longer than others read.
fn checked(url: String) -> Result<String, CliError> {
    if url.len() > galen_sdk::health_link::MAX_URL_LEN {
        let help = "choose a base URL of 80 characters at most";
        return Err(CliError::invalid("the base URL is too long for a link", help));
    }
    Ok(url)
}

async fn content(args: &ShareNewArgs, globals: &Globals, ui: &Ui) -> Result<Content, CliError> {
    if let Some(path) = &args.file {
        return of_file(path);
    }
    let session = &Session::open(globals, ui).await?;
    let content = if args.ips {
        summary(session, ui).await
    } else {
        of_records(&args.records, session, ui).await
    };
    session.finish().await;
    content
}

/// A file as it is: what it is, is seen by what it holds.
fn of_file(path: &Path) -> Result<Content, CliError> {
    #[derive(Deserialize)]
    struct Top {
        galen: String,
    }
    let bytes = Plaintext::new(read_input(path)?);
    if is_card_input(bytes.expose()) {
        let cards = read_cards(&[bytes.expose()])?;
        let tokens: Vec<&str> = cards.iter().map(|card| card.as_str()).collect();
        let file = serde_json::json!({ "verifiableCredential": tokens }).to_string();
        return Ok(Content {
            media_type: CARD_FILE,
            resources: cards.len(),
            bytes: file.into_bytes().into(),
        });
    }
    if serde_json::from_slice::<Top>(bytes.expose()).is_ok_and(|top| top.galen == "presentation/1")
    {
        return Ok(Content { media_type: PRESENTATION, resources: 1, bytes });
    }
    let refused = |source| CliError::Refused { path: path.display().to_string(), source };
    let resources = Document::read(bytes.expose()).map_err(refused)?.len();
    Ok(Content { media_type: FHIR_JSON, resources, bytes })
}

/// The chart as an International Patient Summary. A chart with holes is not shared: nobody would see them.
async fn summary(session: &Session, ui: &Ui) -> Result<Content, CliError> {
    let patient = patient(session)?;
    let failed = |source| CliError::Chain { doing: "read the time of the chain", source };
    let now = session.galen().time().await.map_err(failed)?;
    let times = [now];
    let work = patient.chart_records(&times);
    let mut records = waiting(ui, "open the records of the chart", work).await?;
    let book = session.book();
    records.name_authors(|id| book.contact(id).map(|contact| contact.alias.clone()));
    let read = records.read();
    let missing = records.missing.len() + read.missing.len();
    if missing > 0 {
        return Err(CliError::unavailable(
            format!("{missing} records are missing from the chart"),
            "`galen chart` says which and why; share the others by their ids",
        ));
    }
    let chart = read.chart_at(now, &session.site()?.ingredients);
    let terms = ExportTerms { title: "Patient summary".to_owned(), made: now };
    let bytes = Plaintext::new(chart.to_ips(&terms));
    let refused = |source| CliError::Refused { path: "the summary".to_owned(), source };
    let resources = Document::read(bytes.expose()).map_err(refused)?.len();
    Ok(Content { media_type: FHIR_JSON, resources, bytes })
}

async fn of_records(records: &[String], session: &Session, ui: &Ui) -> Result<Content, CliError> {
    let patient = patient(session)?;
    let keys =
        |chart: &galen_index::Chart| chart.records().map(|it| it.key).collect::<Vec<RecordKey>>();
    let look = session.galen().with_chart(patient.id(), keys);
    let keys = waiting(ui, "look the records up", look).await?;
    let mut opened: Vec<Opened> = Vec::new();
    for text in records {
        let id = pick("record", text, keys.iter().map(RecordKey::id))?;
        opened.push(waiting(ui, "open the record", patient.open(id)).await?);
    }
    let not_fhir = || {
        let help = "`galen record get --out` writes it to a file; links of other programs carry FHIR alone";
        CliError::invalid("a record is not FHIR", help)
    };
    let documents: Option<Vec<&[u8]>> = opened.iter().map(fhir_document).collect();
    joined(&documents.ok_or_else(not_fhir)?)
}

/// One document as it is; several as a Bundle of their resources, each byte for byte.
fn joined(documents: &[&[u8]]) -> Result<Content, CliError> {
    let refused = |source| CliError::Refused { path: "a record".to_owned(), source };
    let read = documents.iter().map(|bytes| Document::read(bytes)).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(refused)?;
    if let ([bytes], [document]) = (documents, &read[..]) {
        let bytes = Plaintext::new(bytes.to_vec());
        return Ok(Content { media_type: FHIR_JSON, resources: document.len(), bytes });
    }
    let mut names = std::collections::BTreeMap::new();
    let mut entries = Zeroizing::new(String::new());
    let mut resources = 0;
    for resource in read.iter().flat_map(Document::resources) {
        let raw = resource.node.raw();
        let mut name = resource.full_url;
        if let Some(url) = &name {
            match names.insert(url.clone(), raw) {
                // The same resource in two records is in the Bundle once.
                Some(before) if before == raw => continue,
                // Two versions of one resource: a Bundle may name only one of them so.
                Some(before) => {
                    names.insert(url.clone(), before);
                    name = None;
                }
                None => {}
            }
        }
        if resources > 0 {
            entries.push(',');
        }
        resources += 1;
        match name {
            Some(url) => {
                let url = serde_json::to_string(&url).map_err(std::io::Error::from)?;
                let _ = write!(entries, "{{\"fullUrl\":{url},\"resource\":{raw}}}");
            }
            None => {
                let _ = write!(entries, "{{\"resource\":{raw}}}");
            }
        }
    }
    let bundle = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{}]}}",
        entries.as_str()
    );
    let bytes = Plaintext::new(bundle.into_bytes());
    Document::read(bytes.expose()).map_err(refused)?;
    Ok(Content { media_type: FHIR_JSON, resources, bytes })
}

/// What cannot be undone, before the question.
fn warn(args: &ShareNewArgs, content: &Content, ui: &Ui) {
    let end = Instant::from_unix(unix_now().saturating_add(args.expires.seconds()));
    let (count, bytes) = (content.resources, content.bytes.expose().len());
    let keeper = match (&args.out, args.ask_passcode || args.passcode_file.is_some(), args.once) {
        (Some(_), ..) => {
            "The host sees to nothing: no passcode, no end, no count. Delete the file there to end it.".to_owned()
        }
        (None, true, once) => format!(
            "`galen share serve` answers until {end}, for the right passcode alone{}.",
            if once { ", and once" } else { "" }
        ),
        (None, false, true) => format!("`galen share serve` answers one reader, once, until {end}."),
        (None, false, false) => format!("`galen share serve` answers everybody who has the link until {end}."),
    };
    ui.show(&format!(
        "This shares {count} {} ({bytes} bytes) with people who do not have Galen.\n  \
         Whoever gets the link can read them. It cannot be taken back from who has opened it.\n  \
         These reads are NOT logged on chain: the ledger, your consents and `galen audit` know nothing of them.\n  \
         {keeper}",
        if count == 1 { "document" } else { "resources" },
    ));
}

fn write_link(args: &ShareNewArgs, link: &str, ui: &Ui) -> Result<(), CliError> {
    if let Some(path) = &args.link_out {
        home::create_private(path, format!("{link}\n").as_bytes())?;
    }
    if !args.qr && args.png.is_none() && args.svg.is_none() {
        return Ok(());
    }
    let qr =
        Qr::new(link, Correction::Medium).ok_or(LinkError::Link("it is too long for a QR code"))?;
    if let Some(path) = &args.png {
        home::create_private(path, &qr.to_png()?)?;
    }
    if let Some(path) = &args.svg {
        home::create_private(path, qr.to_svg().as_bytes())?;
    }
    if args.qr {
        ui.show(&qr.to_terminal());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    /// Several records become one Bundle in which every resource is what it was, and nothing is there twice.
    #[test]
    fn records_are_joined_byte_for_byte() {
        let patient = r#"{ "resourceType":"Patient","birthDate":"1951-01-20" }"#;
        let value = r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.0100}}"#;
        let other = value.replace("1.0100", "1.01");
        let entry =
            |name: &str, raw: &str| format!(r#"{{"fullUrl":"urn:uuid:{name}","resource":{raw}}}"#);
        let bundle = |entries: &[String]| {
            format!(
                r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#,
                entries.join(",")
            )
        };
        let first = bundle(&[entry("1", patient), entry("2", value)]);
        let second = bundle(&[entry("1", patient), entry("2", &other)]);
        let all = joined(&[first.as_bytes(), second.as_bytes(), patient.as_bytes()]).unwrap();
        let expected = bundle(&[
            entry("1", patient),
            entry("2", value),
            format!(r#"{{"resource":{other}}}"#),
            format!(r#"{{"resource":{patient}}}"#),
        ]);
        assert_eq!(std::str::from_utf8(all.bytes.expose()).unwrap(), expected);
        assert_eq!(all.resources, 4);
        assert_eq!(joined(&[first.as_bytes()]).unwrap().bytes.expose(), first.as_bytes());
    }
}
