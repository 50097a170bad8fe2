//! `galen custodian`: seals anew what was read.

use std::{process::ExitCode, time::Duration};

use galen_sdk::{CustodyPolicy, CustodyReport, Patient};
use galen_types::{ContentRef, ErrorKind, RecordId};
use serde::Serialize;

use super::{dev::interrupted, relay::now, shown};
use crate::{
    args::{CustodianArgs, Globals},
    commands::shown::{Horizon, Landed, cannot, causes},
    contacts::unix_now,
    custody,
    error::CliError,
    session::Session,
    table::{self, row},
    ui::Ui,
};

/// Longest time between two passes after failures.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// What one pass did.
#[derive(Debug, Serialize)]
struct Answer {
    /// Unix second at which the pass ended.
    time: u64,
    resealed: Vec<Resealed>,
    released: Vec<Old>,
    left: Vec<Old>,
    dropped: Vec<ContentRef>,
    /// Old contents whose time has not come.
    waiting: usize,
    failed: Vec<Failed>,
    sent: Vec<Landed>,
}

#[derive(Debug, Serialize)]
struct Resealed {
    record: RecordId,
    before: ContentRef,
    after: ContentRef,
}

#[derive(Debug, Serialize)]
struct Old {
    record: RecordId,
    content: ContentRef,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Failed {
    record: RecordId,
    error: String,
    kind: &'static str,
    #[serde(skip)]
    of: ErrorKind,
}

pub(crate) async fn run(
    args: &CustodianArgs,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    // From here on, so that nobody who sees it start waits for an end that it did not hear of.
    let stop = interrupted();
    let session = Session::open(globals, ui).await?;
    let patient = shown::patient(&session)?;
    let window = args.window.seconds();
    let policy = CustodyPolicy { window, moves: args.moves, ..CustodyPolicy::default() };
    let covers = "Announcements of new content of your own records, as they become due. The text of a record and \
                  who may read it stay the same.";
    let asked = tokio::task::block_in_place(|| session.asking().allow_all("Reseal", covers));
    asked.map_err(|error| cannot("seal the records anew")(error.into()))?;
    let custodian = Custodian { session: &session, patient, policy, ui };
    let done = if args.once {
        custodian.once().await
    } else {
        ui.status(&format!("Custodian of {:#x}. Ctrl-C ends it.", session.id()));
        let every = Duration::from_secs(args.every.seconds());
        tokio::select! {
            done = custodian.go_on(every) => done,
            () = stop => {
                ui.status("Stopped. What was under way is taken up next time.");
                Ok(ExitCode::SUCCESS)
            }
        }
    };
    session.finish().await;
    done
}

struct Custodian<'a> {
    session: &'a Session,
    patient: Patient,
    policy: CustodyPolicy,
    ui: &'a Ui,
}

impl Custodian<'_> {
    async fn once(&self) -> Result<ExitCode, CliError> {
        let report = self.pass().await?;
        let answer = self.answer(&report).await?;
        if self.ui.json() {
            self.ui.object(&answer)?;
        } else {
            answer.print(self.ui)?;
        }
        if answer.waiting > 0 {
            self.ui.status(&format!("{} old contents wait for their time.", answer.waiting));
        }
        Ok(answer.exit())
    }

    /// Pass after pass. What fails is told and tried again; only who is asked and says no ends it.
    async fn go_on(&self, every: Duration) -> Result<ExitCode, CliError> {
        let mut rest = every;
        loop {
            let went_well = match self.pass().await {
                Ok(report) => {
                    if !report.is_quiet() {
                        self.tell(&report).await?;
                    }
                    report.faults.is_empty() && report.left.is_empty()
                }
                Err(error) if error.kind() == ErrorKind::Declined => return Err(error),
                Err(error) => {
                    self.ui.warn(&format!("{} {}", now(), causes(&error)));
                    false
                }
            };
            rest = if went_well { every } else { (rest * 2).min(LONGEST_REST.max(every)) };
            tokio::time::sleep(rest).await;
        }
    }

    async fn pass(&self) -> Result<CustodyReport, CliError> {
        let (place, ledger) = (self.session.place(), self.session.galen().ledger().id());
        let opened = custody::open(&place, ledger, self.session.id())?;
        // What an earlier process signed and sent is on the chain first, so that it is not told twice.
        let doing = "see to earlier transactions";
        let resumed = self.session.payer().resume().await;
        resumed.map_err(|source| CliError::Chain { doing, source })?;
        let done = self.patient.custody(&opened.custody, &self.policy).await;
        custody::touch(&place, ledger, self.session.id());
        done.map_err(cannot("seal the records anew"))
    }

    async fn tell(&self, report: &CustodyReport) -> Result<(), CliError> {
        let answer = self.answer(report).await?;
        if self.ui.json() {
            return self.ui.object_line(&answer);
        }
        answer.print(self.ui)
    }

    async fn answer(&self, report: &CustodyReport) -> Result<Answer, CliError> {
        let sent = if report.sent.is_empty() {
            Vec::new()
        } else {
            let horizon = Horizon::now(self.session).await?;
            report.sent.iter().map(|sent| horizon.landed(sent)).collect()
        };
        let resealed = report.resealed.iter().map(|one| Resealed {
            record: one.record,
            before: one.before,
            after: one.after,
        });
        let old = |(record, content): &(RecordId, ContentRef), places: &[String]| Old {
            record: *record,
            content: *content,
            places: places.to_vec(),
        };
        let failed = report.faults.iter().map(|(record, error)| Failed {
            record: *record,
            error: causes(error),
            kind: error.kind().as_str(),
            of: error.kind(),
        });
        Ok(Answer {
            time: unix_now(),
            resealed: resealed.collect(),
            released: report.released.iter().map(|one| old(one, &[])).collect(),
            left: report.left.iter().map(|(id, at, places)| old(&(*id, *at), places)).collect(),
            dropped: report.dropped.clone(),
            waiting: report.waiting,
            failed: failed.collect(),
            sent,
        })
    }
}

impl Answer {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        for Resealed { record, before, after } in &self.resealed {
            row(ui, &[&"resealed", record, before, after])?;
        }
        for Old { record, content, .. } in &self.released {
            row(ui, &[&"released", record, content])?;
        }
        for Old { record, content, places } in &self.left {
            row(ui, &[&"left", record, content, &table::list(places)])?;
        }
        for content in &self.dropped {
            row(ui, &[&"dropped", content])?;
        }
        for Failed { record, error, .. } in &self.failed {
            row(ui, &[&"failed", record, error])?;
        }
        Ok(())
    }

    /// Wrong bytes before what did not answer.
    fn exit(&self) -> ExitCode {
        let left = self.left.iter().map(|_| ErrorKind::Unavailable);
        super::content::exit(self.failed.iter().map(|one| one.of).chain(left))
    }
}
