//! `galen custodian`: seals anew what was read.

mod answer;
mod charts;
mod pace;

use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use galen_sdk::{CustodyPolicy, CustodyReport};
use galen_types::{ErrorKind, RecordId};

use self::{answer::Answer, charts::Charts, pace::Pace};
use super::{dev::interrupted, relay::now};
use crate::{
    args::{CustodianArgs, Globals},
    commands::shown::{Horizon, Party, cannot, causes},
    error::CliError,
    session::Session,
    ui::Ui,
};

pub(crate) async fn run(
    args: &CustodianArgs,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    // From here on, so that nobody who sees it start waits for an end that it did not hear of.
    let stop = interrupted();
    let session = Session::open(globals, ui).await?;
    let charts = Charts::of(&session, &args.patients)?;
    let window = args.window.seconds();
    let policy = CustodyPolicy { window, moves: args.moves, ..CustodyPolicy::default() };
    let asked =
        tokio::task::block_in_place(|| session.asking().allow_all("Reseal", charts.covers()));
    asked.map_err(|error| cannot("seal the records anew")(error.into()))?;
    let custodian = Custodian { session: &session, charts, policy, ui };
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
    charts: Charts,
    policy: CustodyPolicy,
    ui: &'a Ui,
}

/// What came of a pass over a chart.
struct Pass {
    patient: Address,
    done: Result<CustodyReport, CliError>,
}

impl Pass {
    /// Whether nothing has to be tried again.
    fn went_well(&self) -> bool {
        self.done.as_ref().is_ok_and(|it| it.faults.is_empty() && it.left.is_empty())
    }
}

impl Custodian<'_> {
    async fn once(&self) -> Result<ExitCode, CliError> {
        let patients = self.charts.patients(self.session)?;
        if patients.is_empty() {
            self.ui.status("No patient has introduced themselves to this organization.");
        }
        let (mut passes, mut ended) = (Vec::new(), None);
        for patient in patients {
            match self.pass(patient).await {
                Ok(pass) => passes.push(pass),
                Err(error) if passes.is_empty() => return Err(error),
                Err(error) => {
                    ended = Some(error);
                    break;
                }
            }
        }
        let answer = self.answer(&passes).await?;
        if self.ui.json() {
            self.ui.object(&answer)?;
        } else {
            answer.print(self.ui, &answer.uncopied())?;
        }
        if answer.waiting > 0 {
            self.ui.status(&format!("{} old contents wait for their time.", answer.waiting));
        }
        answer.explain(self.ui, answer.uncopied().len());
        ended.map_or_else(|| Ok(answer.exit()), Err)
    }

    /// Round after round. What fails is told and tried again; only who is asked and says no ends it, and who hears
    /// nothing any more.
    async fn go_on(&self, every: Duration) -> Result<ExitCode, CliError> {
        let mut pace = Pace::new(every);
        let mut told = BTreeSet::new();
        loop {
            match self.round(&mut pace, &mut told).await {
                Ok(()) => {}
                Err(error @ CliError::Output(_)) => return Err(error),
                Err(error) if error.kind() == ErrorKind::Declined => return Err(error),
                Err(error) => self.warn(&error),
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Sees to each chart whose time it is. If nobody can be seen to, all of them rest.
    async fn round(&self, pace: &mut Pace, told: &mut BTreeSet<RecordId>) -> Result<(), CliError> {
        let mut patients = self.charts.patients(self.session)?;
        patients.retain(|patient| pace.is_due(*patient, Instant::now()));
        if patients.is_empty() {
            return Ok(());
        }
        let mut patients = patients.into_iter();
        let done = self.see_to(&mut patients, pace, told).await;
        if done.is_err() {
            patients.for_each(|patient| pace.note(patient, false, Instant::now()));
        }
        done
    }

    async fn see_to(
        &self,
        patients: &mut impl Iterator<Item = Address>,
        pace: &mut Pace,
        told: &mut BTreeSet<RecordId>,
    ) -> Result<(), CliError> {
        for patient in patients {
            let pass = self.pass(patient).await;
            pace.note(patient, pass.as_ref().is_ok_and(Pass::went_well), Instant::now());
            self.tell(&pass?, told).await?;
        }
        Ok(())
    }

    /// Sees to a chart. What fails there does not keep the custodian from the others, unless it would fail there, too.
    async fn pass(&self, patient: Address) -> Result<Pass, CliError> {
        match self.charts.pass(self.session, patient, &self.policy).await {
            Err(error) if self.is_end(&error).await => Err(error),
            done => Ok(Pass { patient, done }),
        }
    }

    /// Whether what failed in one chart would fail in the others: nobody signs, the wallet's queue is stuck, or the
    /// node is away.
    async fn is_end(&self, error: &CliError) -> bool {
        if !self.charts.are_many() || matches!(error, CliError::Chain { .. }) {
            return true;
        }
        match error.kind() {
            ErrorKind::Declined => true,
            ErrorKind::Unavailable => self.session.galen().ledger().now().await.is_err(),
            _ => false,
        }
    }

    /// Tells of a pass that did something. What cannot be sealed anew here is told once.
    async fn tell(&self, pass: &Pass, told: &mut BTreeSet<RecordId>) -> Result<(), CliError> {
        let answer = match self.answer(std::slice::from_ref(pass)).await {
            Ok(answer) => answer,
            Err(error) => {
                self.warn(&error);
                return Ok(());
            }
        };
        let mut fresh = answer.uncopied();
        fresh.retain(|record| told.insert(*record));
        if answer.is_quiet() && fresh.is_empty() {
            return Ok(());
        }
        if self.ui.json() {
            self.ui.object_line(&answer)?;
        } else {
            answer.print(self.ui, &fresh)?;
        }
        answer.explain(self.ui, fresh.len());
        Ok(())
    }

    async fn answer(&self, passes: &[Pass]) -> Result<Answer, CliError> {
        let mut answer = Answer::now();
        let mut sent = Vec::new();
        for Pass { patient, done } in passes {
            let party = self.charts.are_many().then(|| Party::new(self.session, *patient));
            match done {
                Ok(report) => {
                    sent.extend(&report.sent);
                    answer.add(party, report);
                }
                Err(error) => answer.fail(party, error),
            }
        }
        if !sent.is_empty() {
            let horizon = Horizon::now(self.session).await?;
            answer.sent = sent.into_iter().map(|sent| horizon.landed(sent)).collect();
        }
        Ok(answer)
    }

    fn warn(&self, error: &CliError) {
        self.ui.warn(&format!("{} {}", now(), causes(error)));
    }
}
