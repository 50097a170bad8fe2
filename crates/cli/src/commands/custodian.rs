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

/// What came of seeing to some charts, one after the other.
#[derive(Default)]
struct Round {
    passes: Vec<(Address, Result<CustodyReport, CliError>)>,
    /// What ended it before every chart was seen to.
    ended: Option<CliError>,
}

impl Custodian<'_> {
    async fn once(&self) -> Result<ExitCode, CliError> {
        let patients = self.charts.patients(self.session)?;
        if patients.is_empty() {
            self.ui.status("No patient has introduced themselves to this organization.");
        }
        let round = self.round(&patients).await;
        if round.passes.is_empty()
            && let Some(error) = round.ended
        {
            return Err(error);
        }
        let answer = self.answer(&round).await?;
        if self.ui.json() {
            self.ui.object(&answer)?;
        } else {
            answer.print(self.ui, &answer.uncopied())?;
        }
        if answer.waiting > 0 {
            self.ui.status(&format!("{} old contents wait for their time.", answer.waiting));
        }
        answer.explain(self.ui, answer.uncopied().len());
        round.ended.map_or_else(|| Ok(answer.exit()), Err)
    }

    /// Round after round. What fails is told and tried again; only who is asked and says no ends it.
    async fn go_on(&self, every: Duration) -> Result<ExitCode, CliError> {
        let mut pace = Pace::new(every);
        let mut told = BTreeSet::new();
        loop {
            match self.charts.patients(self.session) {
                Ok(mut patients) => {
                    patients.retain(|patient| pace.is_due(*patient, Instant::now()));
                    let round = self.round(&patients).await;
                    for patient in patients {
                        pace.note(patient, round.went_well(patient), Instant::now());
                    }
                    self.tell(&round, &mut told).await?;
                    match round.ended {
                        Some(error) if error.kind() == ErrorKind::Declined => return Err(error),
                        Some(error) => self.warn(&error),
                        None => {}
                    }
                }
                Err(error) => self.warn(&error),
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Sees to each of some charts. What fails in one does not keep it from the others.
    async fn round(&self, patients: &[Address]) -> Round {
        let mut round = Round::default();
        if patients.is_empty() {
            return round;
        }
        // What an earlier process signed and sent is on the chain first, so that it is not told twice.
        if let Err(source) = self.session.payer().resume().await {
            let doing = "see to earlier transactions";
            round.ended = Some(CliError::Chain { doing, source });
            return round;
        }
        for patient in patients {
            match self.charts.pass(self.session, *patient, &self.policy).await {
                Err(error) if self.is_end(&error).await => {
                    round.ended = Some(error);
                    break;
                }
                done => round.passes.push((*patient, done)),
            }
        }
        round
    }

    /// Whether what failed in one chart would fail in the others: nobody signs, or the node is away.
    async fn is_end(&self, error: &CliError) -> bool {
        match error.kind() {
            _ if !self.charts.are_many() => true,
            ErrorKind::Declined => true,
            ErrorKind::Unavailable => self.session.galen().ledger().now().await.is_err(),
            _ => false,
        }
    }

    /// Tells of a round that did something. What cannot be sealed anew here is told once.
    async fn tell(&self, round: &Round, told: &mut BTreeSet<RecordId>) -> Result<(), CliError> {
        let answer = match self.answer(round).await {
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

    async fn answer(&self, round: &Round) -> Result<Answer, CliError> {
        let mut answer = Answer::now();
        let mut sent = Vec::new();
        for (patient, done) in &round.passes {
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

impl Round {
    /// Whether a chart was seen to, and nothing in it has to be tried again.
    fn went_well(&self, patient: Address) -> bool {
        let mut passes = self.passes.iter();
        passes.find(|(of, _)| *of == patient).is_some_and(|(_, done)| {
            done.as_ref().is_ok_and(|it| it.faults.is_empty() && it.left.is_empty())
        })
    }
}
