//! `galen share open`: reads what is behind somebody's link.

use galen_fhir::Document;
use galen_sdk::{
    health_card::is_card_input,
    health_link::{HealthLink, LinkError, LinkReader, SharedFile},
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::passcode;
use crate::{
    args::{Globals, ShareOpenArgs},
    code::file_text,
    contacts::unix_now,
    error::CliError,
    home, outfile,
    settings::Settings,
    table::row,
    ui::Ui,
};

/// The result of `galen share open --json`.
#[derive(Debug, Serialize)]
struct Received {
    label: Option<String>,
    files: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Written {
    file: String,
    media_type: String,
    bytes: usize,
    kind: &'static str,
}

pub(super) async fn run(args: &ShareOpenArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let text = Zeroizing::new(if args.link.contains("shlink:/") {
        args.link.clone()
    } else {
        file_text(&args.link)?
    });
    let link = HealthLink::parse(&text)?;
    let mut passcode = passcode(args.passcode_file.as_deref(), args.ask_passcode, ui)?;
    if link.passcode && passcode.is_none() {
        if !ui.can_ask() {
            return Err(LinkError::PasscodeNeeded.into());
        }
        passcode = super::passcode(None, true, ui)?;
    }
    let timeout = Settings::resolve(globals)?.timeout.value;
    let reader = LinkReader::new(&args.recipient, timeout)?;
    let work = reader.open(&link, passcode.as_ref().map(|text| text.as_str()), unix_now());
    let files = ui.waiting("the server of the link", work).await?;
    outfile::folder(&args.out)?;
    let mut written = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let kind = kind(file);
        let ending = match kind {
            "card" => "smart-health-card",
            "fhir" | "presentation" => "json",
            _ => "bin",
        };
        let path = args.out.join(format!("{}.{ending}", index + 1));
        home::create_private(&path, file.content.expose())?;
        let media_type = file.content_type.chars().take(127).collect();
        let bytes = file.content.expose().len();
        written.push(Written { file: path.display().to_string(), media_type, bytes, kind });
    }
    if ui.json() {
        return ui.object(&Received { label: link.label, files: written });
    }
    written.iter().try_for_each(|it| row(ui, &[&it.file, &it.media_type, &it.bytes, &it.kind]))
}

/// What a file is, by what it holds: its media type is only what somebody says.
fn kind(file: &SharedFile) -> &'static str {
    let bytes = file.content.expose();
    if is_card_input(bytes) {
        "card"
    } else if Document::read(bytes).is_ok() {
        "fhir"
    } else if file.content_type == "application/vnd.galen.presentation+json" {
        "presentation"
    } else {
        "other"
    }
}
