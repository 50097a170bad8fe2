//! `galen record reseal`.

use std::collections::BTreeSet;

use galen_types::{ContentRef, RecordId};
use serde::Serialize;

use super::own::Own;
use crate::{
    args::ResealArgs,
    asked::pick,
    commands::shown::{Horizon, Landed, cannot, sending, waiting},
    error::CliError,
    session::Session,
    table::{self, row},
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
    /// Stores that may still have the content from before; `galen content prune` asks them again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_at: Vec<String>,
}

pub(super) async fn run(args: &ResealArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let own = Own::of(session, args.patient.as_deref()).await?;
    let records = if args.records.is_empty() {
        waiting(ui, "find the records that were read", own.accessed()).await?
    } else {
        let ids = |chart: &galen_index::Chart| {
            let keys = chart.records().map(|record| record.key).filter(|key| own.keeps(key));
            keys.map(|key| key.id()).collect::<Vec<RecordId>>()
        };
        let ids = session.galen().with_chart(own.patient(), ids).await;
        let ids = ids.map_err(cannot("list the records"))?;
        let pick = |text: &String| pick("record", text, ids.iter().copied());
        args.records.iter().map(pick).collect::<Result<_, _>>()?
    };
    let (resealed, sent) = if records.is_empty() {
        ui.status("no record was read since it was last sealed");
        (Vec::new(), Vec::new())
    } else {
        sending(ui, "seal the records anew", own.reseal(&records)).await?
    };
    let horizon = Horizon::now(session).await?;
    let landed = sent.iter().map(|sent| horizon.landed(sent)).collect();
    let line = |one: &galen_sdk::ResealedRecord| Line {
        id: one.record,
        before: one.before,
        after: one.after,
        left_at: one.left_at.clone(),
    };
    let answer = Answer { records: resealed.iter().map(line).collect(), sent: landed };
    let left: BTreeSet<_> = answer.records.iter().flat_map(|line| &line.left_at).collect();
    if !left.is_empty() {
        ui.warn(&format!(
            "content from before may still be in {}; `galen content prune` asks again",
            table::list(left)
        ));
    }
    if ui.json() {
        return ui.object(&answer);
    }
    answer.records.iter().try_for_each(|line| row(ui, &[&line.id, &line.before, &line.after]))
}
