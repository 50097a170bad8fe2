//! The story itself, one step after the other. Each says what happens and what it proves.

mod clinical;
mod reading;
mod records;
mod teller;

use galen_fhir::Document;
use galen_index::Record;
use galen_sdk::Error;
use galen_storage::{Depth, Found, Presence};

use crate::{
    commands::demo::{
        cast::Cast,
        proxies::Proxies,
        report::{Report, StoreUse},
        stage::{Stage, Wish},
        story::teller::Teller,
    },
    error::CliError,
};

/// Tells the story of one bundle and counts what happens.
pub(crate) async fn tell(
    name: &str,
    bundle: Vec<u8>,
    wish: &Wish<'_>,
    report: &mut Report,
) -> Result<(), CliError> {
    let mut teller = Teller::new(wish.ui, report);
    let document = Document::read(&bundle)
        .map_err(|source| CliError::Refused { path: name.to_owned(), source })?;
    if document.is_empty() {
        return Err(CliError::Empty { path: name.to_owned() });
    }
    let stage = wish.set().await?;
    let mut cast = Cast::gather(&stage, wish.place, teller.report).await?;
    teller.step(
        "A network",
        &[
            format!("{}; {}.", stage.chain, stage.stores),
            "Two hospitals founded the network. One wallet pays all gas:".into(),
            "the patient owns no ether.".into(),
        ],
    )?;
    records::meet(&cast, &mut teller).await?;
    let chart = records::propose_and_answer(&cast, &document, &mut teller).await?;
    drop(document);
    drop(bundle);
    records::amend(&cast, &chart, &mut teller).await?;
    let ledger = cast.galen.ledger();
    let mut proxies = Proxies::start(ledger, &stage.storage, wish.place).await?;
    let grants = reading::grant(&cast, &proxies, &mut teller).await?;
    cast.close_profile();
    reading::read(&cast, &grants, &mut proxies, &mut teller).await?;
    reading::reseal(&cast, &chart.contact, &mut teller).await?;
    cast.open_profile()?;
    records::second_hospital(&cast, &mut teller).await?;
    clinical::chart(&cast, &mut teller).await?;
    clinical::extract(&cast, &mut teller).await?;
    reading::refuse(&cast, &grants, &mut teller).await?;
    reading::revoke(&cast, &grants, &mut teller).await?;
    reading::audit(&cast, &mut teller).await?;
    look_up(&cast, &stage, &mut teller).await
}

/// Where the records' content lies in the end, every byte read back and checked.
async fn look_up(cast: &Cast, stage: &Stage, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let failed = |source| CliError::Storage { doing: "look up where content lies", source };
    let storage = &stage.storage;
    if let Some(notice) = storage.notices().into_iter().next() {
        return Err(CliError::Storage {
            doing: "keep content in every store",
            source: notice.error,
        });
    }
    let kept_in: Vec<_> = storage.places().into_iter().filter(|place| place.kept_in).collect();
    let progress = teller.ui.spinner("checking every copy");
    let records = chart_records(cast).await?;
    let current = records.iter().filter_map(|record| record.versions.last()?.contents.last());
    for entry in current {
        for Found { place, presence } in
            storage.check(&entry.content, Depth::Whole).await.map_err(failed)?
        {
            match presence {
                Presence::Whole | Presence::Present => teller.report.copies_checked += 1,
                Presence::Failed(error) => return Err(failed(error)),
                _ if kept_in.iter().any(|kept| kept.name == place) => {
                    return Err(CliError::Demo("a store does not have what it took"));
                }
                _ => {}
            }
        }
    }
    progress.finish_and_clear();
    let copies = storage.copies().await.map_err(failed)?;
    let uses = kept_in.into_iter().map(|place| {
        let here = copies.iter().filter(|copy| copy.place == place.name);
        let lens: Vec<u64> = here.map(|copy| copy.addresses.len).collect();
        let (contents, bytes) = (lens.len(), lens.iter().sum());
        StoreUse { place: place.name, kind: place.kind, contents, bytes }
    });
    teller.report.stores = uses.collect();
    let mut told: Vec<_> = teller.report.stores.iter().map(ToString::to_string).collect();
    told.push(format!(
        "{} copies of the records were read back from there, and every byte is the one that the chain names.",
        teller.report.copies_checked
    ));
    teller.list("Where the content lies", &told)
}

async fn chart_records(cast: &Cast) -> Result<Vec<Record>, CliError> {
    cast.galen
        .with_chart(cast.patient_id, |chart| chart.records().cloned().collect())
        .await
        .map_err(sdk("read the chart"))
}

fn sdk(doing: &'static str) -> impl Fn(Error) -> CliError {
    move |source| CliError::Sdk { doing, source }
}
