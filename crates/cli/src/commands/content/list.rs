//! `galen content list`.

use std::process::ExitCode;

use galen_storage::{Addresses, KeptCopy, Pending};
use galen_types::{ContentRef, Store};
use serde::Serialize;

use super::{Keeper, cannot};
use crate::{args::ContentListArgs, error::CliError, table::row, when::Instant};

/// The result of `galen content list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    copies: Vec<Copy>,
    pending: Vec<Unfinished>,
}

#[derive(Debug, Serialize)]
struct Copy {
    #[serde(flatten)]
    content: Content,
    place: String,
    /// Unix second.
    since: u64,
}

#[derive(Debug, Serialize)]
struct Unfinished {
    #[serde(flatten)]
    content: Content,
    place: String,
    /// Bytes that the place has confirmed.
    done: u64,
}

/// Both addresses of the same bytes.
#[derive(Debug, Serialize)]
struct Content {
    swarm: ContentRef,
    ipfs: ContentRef,
    bytes: u64,
}

impl From<Addresses> for Content {
    fn from(addresses: Addresses) -> Self {
        let of = |store| addresses.of(store);
        Self { swarm: of(Store::Swarm), ipfs: of(Store::Ipfs), bytes: addresses.len }
    }
}

pub(super) async fn run(args: &ContentListArgs, keeper: &Keeper<'_>) -> Result<ExitCode, CliError> {
    let failed = cannot("list the copies");
    let mut copies = keeper.storage.copies().await.map_err(&failed)?;
    let mut pending = keeper.storage.pending().await.map_err(&failed)?;
    // A place may have had content before it was taken out of the settings.
    if let Some(name) = &args.place {
        let known =
            copies.iter().any(|it| it.place == *name) || pending.iter().any(|it| it.place == *name);
        if !known {
            keeper.place(name)?;
        }
        copies.retain(|it| it.place == *name);
        pending.retain(|it| it.place == *name);
    }
    copies.sort_by(|a, b| (a.since, &a.place).cmp(&(b.since, &b.place)));
    let listed = Listed {
        copies: copies
            .into_iter()
            .map(|KeptCopy { addresses, place, since }| Copy {
                content: addresses.into(),
                place,
                since,
            })
            .collect(),
        pending: pending
            .into_iter()
            .map(|Pending { addresses, place, done }| Unfinished {
                content: addresses.into(),
                place,
                done,
            })
            .collect(),
    };
    if keeper.ui.json() {
        keeper.ui.object(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Copy { content: Content { swarm, ipfs, bytes }, place, since } in &listed.copies {
        row(keeper.ui, &[&"kept", swarm, ipfs, bytes, place, &Instant::from_unix(*since)])?;
    }
    for Unfinished { content: Content { swarm, ipfs, bytes }, place, done } in &listed.pending {
        row(keeper.ui, &[&"pending", swarm, ipfs, bytes, place, done])?;
    }
    Ok(ExitCode::SUCCESS)
}
