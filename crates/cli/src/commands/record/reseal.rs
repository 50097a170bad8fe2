//! `galen record reseal`.

use galen_types::{ContentRef, RecordId};
use serde::Serialize;

use crate::{
    args::ResealArgs,
    asked::pick,
    commands::shown::{Horizon, Landed, cannot, patient, sending, waiting},
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen record reseal --json`.
#[derive(Debug, Serialize)]
struct Answer {
    records: Vec<Line>,
    sent: Vec<Landed>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: RecordId,
    before: ContentRef,
    after: ContentRef,
}

pub(super) async fn run(args: &ResealArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let patient = patient(session)?;
    let records = if args.records.is_empty() {
        waiting(ui, "find the records that were read", patient.accessed()).await?
    } else {
        let ids = |chart: &galen_index::Chart| {
            chart.records().map(|record| record.key.id()).collect::<Vec<RecordId>>()
        };
        let ids = session.galen().with_chart(patient.id(), ids).await;
        let ids = ids.map_err(cannot("list the records"))?;
        let pick = |text: &String| pick("record", text, ids.iter().copied());
        args.records.iter().map(pick).collect::<Result<_, _>>()?
    };
    let (resealed, sent) = if records.is_empty() {
        ui.status("no record was read since it was last sealed");
        (Vec::new(), Vec::new())
    } else {
        sending(ui, "seal the records anew", patient.reseal(&records)).await?
    };
    let horizon = Horizon::now(session).await?;
    let landed = sent.iter().map(|sent| horizon.landed(sent)).collect();
    let line = |one: &galen_sdk::ResealedRecord| Line {
        id: one.record,
        before: one.before,
        after: one.after,
    };
    let answer = Answer { records: resealed.iter().map(line).collect(), sent: landed };
    if ui.json() {
        return ui.object(&answer);
    }
    answer.records.iter().try_for_each(|line| row(ui, &[&line.id, &line.before, &line.after]))
}
