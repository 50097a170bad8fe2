//! `galen record extract`: parts of a signed document, with what proves who signed them.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path, process::ExitCode};

use galen_fhir::parts::{PartsError, Selection, Shown, ShownElement};
use galen_index::Chart;
use galen_sdk::{MAX_SIGNED_LEN, Presentation, SIGNED_DOCUMENT, SignedDocument};
use galen_types::{Plaintext, RecordKey};
use serde::Serialize;

use crate::{
    args::ExtractArgs,
    asked::pick,
    commands::shown::{cannot, patient, waiting},
    error::CliError,
    outfile,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen record extract --json`.
#[derive(Debug, Serialize)]
struct Answer {
    file: String,
    bytes: usize,
    /// Elements that are shown.
    shown: usize,
    /// Elements that are hidden; the file does not tell it.
    hidden: usize,
    /// Shown elements by name, and how often.
    elements: BTreeMap<String, usize>,
    /// Hidden, since they mean nothing without what was to be hidden.
    also_hidden: Vec<String>,
    /// Shown, since what was to be shown means nothing without them.
    also_shown: Vec<String>,
    /// Narratives that are hidden because something is.
    narratives_hidden: usize,
    /// Patterns that fit nothing in this document.
    without_effect: Vec<String>,
}

/// Whether a file is meant. An id begins with `0x` and is never taken for one.
pub(in crate::commands) fn is_file(args: &ExtractArgs) -> bool {
    !args.source.starts_with("0x") && Path::new(&args.source).is_file()
}

/// Of a signed document in a file.
pub(in crate::commands) fn from_file(args: &ExtractArgs, ui: &Ui) -> Result<ExitCode, CliError> {
    let failed = |source| CliError::Read { path: args.source.clone(), source };
    let file = File::open(&args.source).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIGNED_LEN as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let bytes = Plaintext::new(bytes);
    let signed = SignedDocument::decode(bytes.expose()).map_err(|_| {
        CliError::invalid(
            format!("{} is not a signed document", args.source),
            "get it with `galen record get --signed --out FILE` or `galen access --signed --out DIR`",
        )
    })?;
    extract(args, &signed, ui)?;
    Ok(ExitCode::SUCCESS)
}

/// Of a record of the patient's own chart.
pub(super) async fn run(args: &ExtractArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    if !args.source.starts_with("0x") {
        return Err(CliError::not_found(
            format!("no file and no record {}", args.source),
            "give a file, or the id of a record as `galen record list` shows it",
        ));
    }
    let patient = patient(session)?;
    let keys = |chart: &Chart| chart.records().map(|record| record.key).collect::<Vec<_>>();
    let look = session.galen().with_chart(patient.id(), keys);
    let keys = waiting(ui, "look the record up", look).await?;
    let id = pick("record", &args.source, keys.iter().map(RecordKey::id))?;
    let opened = waiting(ui, "open the record", patient.open(id)).await?;
    if opened.media_type.as_str() != SIGNED_DOCUMENT {
        return Err(CliError::invalid(
            "the record is not signed by parts",
            "ask its author for an amendment: what it proposes now is",
        ));
    }
    let signed = SignedDocument::decode(opened.payload.expose());
    extract(args, &signed.map_err(cannot("read the record"))?, ui)
}

fn extract(args: &ExtractArgs, signed: &SignedDocument, ui: &Ui) -> Result<(), CliError> {
    let failed = cannot("make the presentation");
    let selection = Selection {
        only: args.only.clone(),
        hide: args.hide.clone(),
        keep_narratives: args.keep_narratives,
    };
    let tree = signed.tree().map_err(&failed)?;
    let shown = tree.select(&selection).map_err(refused)?;
    let presentation = Presentation::new(signed, &shown);
    // Nobody gets a file that does not hold together.
    presentation.verify().map_err(&failed)?;
    let bytes = presentation.encode();
    let file = outfile::write(&args.out, bytes.expose(), args.force)?;
    let answer =
        Answer::new(&presentation, &shown, (file.display().to_string(), bytes.expose().len()));
    if shown.hidden() > 0 {
        ui.status("What is hidden cannot be found out from the file. Whoever has the record has all of it.");
    }
    if ui.json() { ui.object(&answer) } else { answer.print(ui) }
}

/// A pattern is the person's to mend.
fn refused(error: PartsError) -> CliError {
    let help = match &error {
        PartsError::NotCut { .. } => "name the whole element",
        PartsError::NothingShown => "hide less",
        _ => "name types and elements as FHIR R4 does, for example Patient.address or '*.note'",
    };
    CliError::invalid(error.to_string(), help)
}

impl Answer {
    fn new(
        presentation: &Presentation,
        shown: &Shown<'_, '_>,
        (file, bytes): (String, usize),
    ) -> Self {
        let mut elements = BTreeMap::new();
        for element in presentation.elements() {
            *elements.entry(name(element)).or_default() += 1;
        }
        Self {
            file,
            bytes,
            shown: shown.len(),
            hidden: shown.hidden(),
            elements,
            also_hidden: shown.also_hidden().to_vec(),
            also_shown: shown.also_shown().to_vec(),
            narratives_hidden: shown.narratives_hidden(),
            without_effect: shown.unmatched().to_vec(),
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        row(ui, &[&"presentation", &self.file, &self.bytes, &self.shown, &self.hidden])?;
        for (element, count) in &self.elements {
            row(ui, &[&"shown", element, count])?;
        }
        let lists = [
            ("also-hidden", &self.also_hidden),
            ("also-shown", &self.also_shown),
            ("without-effect", &self.without_effect),
        ];
        for (what, list) in lists {
            list.iter().try_for_each(|place| row(ui, &[&what, place]))?;
        }
        match self.narratives_hidden {
            0 => Ok(()),
            count => row(ui, &[&"also-hidden", &"*.text", &count]),
        }
    }
}

/// What an element is called: `entry.resource.status`, of several fragments all; `document` for the hash of all
/// bytes. Without positions, so that equal ones are counted together.
fn name(element: &ShownElement) -> String {
    if element.is_document() {
        return "document".to_owned();
    }
    let names = |path: &str| {
        let names = path.split('/').filter(|step| !step.starts_with('~'));
        names.collect::<Vec<_>>().join(".")
    };
    let mut all: Vec<String> = element.fragments.iter().map(|(path, _)| names(path)).collect();
    all.dedup();
    all.join("+")
}
