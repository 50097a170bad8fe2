//! What a custodian's passes did, as it is told.

use std::{collections::BTreeSet, process::ExitCode};

use galen_sdk::CustodyReport;
use galen_types::{ContentRef, ErrorKind, RecordId};
use serde::Serialize;

use crate::{
    commands::{
        content,
        shown::{Landed, Party, causes},
    },
    contacts::unix_now,
    error::CliError,
    table::{self, row},
    ui::Ui,
};

/// What passes did. Rows name the patient where a custodian sees to several.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    /// Unix second at which they ended.
    time: u64,
    resealed: Vec<Resealed>,
    released: Vec<Old>,
    left: Vec<Old>,
    dropped: Vec<ContentRef>,
    /// Old contents whose time has not come.
    pub(super) waiting: usize,
    /// Records that were read and that an author has no copy of.
    uncopied: Vec<Uncopied>,
    /// An author's copies of versions that never will count, removed.
    forgotten: usize,
    failed: Vec<Failed>,
    pub(super) sent: Vec<Landed>,
}

#[derive(Debug, Serialize)]
struct Resealed {
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Party>,
    record: RecordId,
    before: ContentRef,
    after: ContentRef,
}

#[derive(Debug, Serialize)]
struct Old {
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Party>,
    record: RecordId,
    content: ContentRef,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Uncopied {
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Party>,
    record: RecordId,
}

#[derive(Debug, Serialize)]
struct Failed {
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Party>,
    /// None: the whole chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordId>,
    error: String,
    kind: &'static str,
    /// What to do, where it is the whole chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip)]
    of: ErrorKind,
}

impl Answer {
    pub(super) fn now() -> Self {
        Self { time: unix_now(), ..Self::default() }
    }

    /// What a pass over a chart did, but for its transactions.
    pub(super) fn add(&mut self, patient: Option<Party>, report: &CustodyReport) {
        let of = || patient.clone();
        let old = |record: RecordId, content: ContentRef, places: &[String]| Old {
            patient: of(),
            record,
            content,
            places: places.to_vec(),
        };
        self.resealed.extend(report.resealed.iter().map(|one| Resealed {
            patient: of(),
            record: one.record,
            before: one.before,
            after: one.after,
        }));
        self.released.extend(report.released.iter().map(|(id, at)| old(*id, *at, &[])));
        self.left.extend(report.left.iter().map(|(id, at, places)| old(*id, *at, places)));
        self.dropped.extend(&report.dropped);
        self.waiting += report.waiting;
        let uncopied = report.uncopied.iter();
        self.uncopied.extend(uncopied.map(|record| Uncopied { patient: of(), record: *record }));
        self.forgotten += report.forgotten;
        self.failed.extend(report.faults.iter().map(|(record, error)| Failed {
            patient: of(),
            record: Some(*record),
            error: causes(error),
            kind: error.kind().as_str(),
            help: None,
            of: error.kind(),
        }));
    }

    /// A chart that could not be seen to.
    pub(super) fn fail(&mut self, patient: Option<Party>, error: &CliError) {
        let (of, help) = (error.kind(), Some(error.help().to_owned()));
        let error = causes(error);
        self.failed.push(Failed { patient, record: None, error, kind: of.as_str(), help, of });
    }

    /// Records that were read and that cannot be sealed anew here.
    pub(super) fn uncopied(&self) -> BTreeSet<RecordId> {
        self.uncopied.iter().map(|one| one.record).collect()
    }

    /// Whether nothing was changed and nothing failed.
    pub(super) const fn is_quiet(&self) -> bool {
        self.resealed.is_empty()
            && self.released.is_empty()
            && self.left.is_empty()
            && self.dropped.is_empty()
            && self.failed.is_empty()
            && self.forgotten == 0
    }

    /// The rows; of what cannot be sealed anew here only some.
    pub(super) fn print(&self, ui: &Ui, uncopied: &BTreeSet<RecordId>) -> Result<(), CliError> {
        for Resealed { patient, record, before, after } in &self.resealed {
            of(ui, patient, &[&"resealed", record, before, after])?;
        }
        for Old { patient, record, content, .. } in &self.released {
            of(ui, patient, &[&"released", record, content])?;
        }
        for Old { patient, record, content, places } in &self.left {
            of(ui, patient, &[&"left", record, content, &table::list(places)])?;
        }
        for content in &self.dropped {
            row(ui, &[&"dropped", content])?;
        }
        for Uncopied { patient, record } in &self.uncopied {
            if uncopied.contains(record) {
                of(ui, patient, &[&"uncopied", record])?;
            }
        }
        for Failed { patient, record, error, .. } in &self.failed {
            let record = record.map(|record| record.to_string()).unwrap_or_default();
            of(ui, patient, &[&"failed", &record, error])?;
        }
        Ok(())
    }

    /// What the rows mean where they do not say it.
    pub(super) fn explain(&self, ui: &Ui, uncopied: usize) {
        for Failed { patient, error, help, .. } in &self.failed {
            if let (Some(patient), Some(help)) = (patient, help) {
                ui.warn(&format!("{}: {error}\n  help: {help}", table::cell(&patient.to_string())));
            }
        }
        if uncopied > 0 {
            ui.status(&format!(
                "{uncopied} records that were read stay sealed as they are: this profile has no copy of them. They \
                 were sealed before copies were kept, with `copies = false`, or on another machine. Their patients' \
                 custodians can seal them anew; this one can once that machine's folder `copies` is here."
            ));
        }
        if self.forgotten > 0 {
            ui.status(&format!(
                "{} copies of versions that never will count were removed.",
                self.forgotten
            ));
        }
    }

    /// Wrong bytes before what did not answer.
    pub(super) fn exit(&self) -> ExitCode {
        let left = self.left.iter().map(|_| ErrorKind::Unavailable);
        content::exit(self.failed.iter().map(|one| one.of).chain(left))
    }
}

/// A row, with its patient last where there may be several.
fn of(ui: &Ui, patient: &Option<Party>, cells: &[&dyn std::fmt::Display]) -> Result<(), CliError> {
    let mut cells = cells.to_vec();
    cells.extend(patient.iter().map(|patient| patient as &dyn std::fmt::Display));
    row(ui, &cells)
}
