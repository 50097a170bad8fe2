//! Asking places what they have, and how they do.

use std::sync::Arc;

use futures_util::future;
use galen_types::{ContentRef, ErrorKind};

use super::{Candidate, Site, Storage, read::other_kind};
use crate::{Health, StorageError};

/// How thoroughly content is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That the place has the root, and with it the length.
    Root,
    /// Every byte.
    Whole,
}

/// What a place has of one content.
#[derive(Debug)]
pub struct Found {
    /// The place.
    pub place: String,
    /// What it has.
    pub presence: Presence,
}

/// Whether content lies at a place.
#[derive(Debug)]
pub enum Presence {
    /// Every byte is there and right.
    Whole,
    /// The root is there and right; nothing else was looked at.
    Present,
    /// It is not there.
    Missing,
    /// It is there, but changed, cut or with holes.
    Damaged,
    /// The place knows content by its other address, which is not known here.
    AddressUnknown,
    /// The place could not say.
    Failed(StorageError),
}

/// How a place does.
#[derive(Debug)]
pub struct PlaceHealth {
    /// The place.
    pub place: String,
    /// What it says about itself, or why it does not.
    pub health: Result<Health, StorageError>,
}

impl Storage {
    /// Asks every place whether it has the content, all at the same time. In the order of [`places`](Self::places).
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`]: this machine does not know what it should know. What places say is in the result.
    pub async fn check(&self, at: &ContentRef, depth: Depth) -> Result<Vec<Found>, StorageError> {
        // Whatever goes wrong here would go wrong for each place.
        self.addresses(at).await?;
        let each = self.shared.sites.iter().map(|site| async move {
            let presence = self.presence(at, site, depth).await;
            Found { place: site.name().to_owned(), presence }
        });
        Ok(future::join_all(each).await)
    }

    /// Asks one place whether it has the content.
    ///
    /// # Errors
    ///
    /// [`StorageError::Setting`] if no place has this name. What the place says is in the result.
    pub async fn check_at(
        &self,
        at: &ContentRef,
        place: &str,
        depth: Depth,
    ) -> Result<Presence, StorageError> {
        Ok(self.presence(at, &self.shared.sites[self.index(place)?], depth).await)
    }

    /// Asks every place whether it answers and what it is, all at the same time.
    pub async fn health(&self) -> Vec<PlaceHealth> {
        let each = self.shared.sites.iter().map(|site| async move {
            let health = site.place.health().await;
            match &health {
                Ok(_) => site.answered(),
                Err(error) => site.failed(error),
            }
            PlaceHealth { place: site.name().to_owned(), health }
        });
        future::join_all(each).await
    }

    /// What one place has of the content.
    pub(super) async fn presence(
        &self,
        at: &ContentRef,
        site: &Arc<Site>,
        depth: Depth,
    ) -> Presence {
        let there = if site.place.understands(at.store) {
            *at
        } else {
            match self.addresses(at).await {
                Ok(Some(addresses)) => addresses.of(other_kind(at)),
                Ok(None) => return Presence::AddressUnknown,
                Err(error) => return Presence::Failed(error),
            }
        };
        if !site.info.readable {
            return match site.place.keeps(&there).await {
                Ok(Some(true)) => Presence::Present,
                Ok(_) => Presence::Missing,
                Err(error) => judged(error, false),
            };
        }
        let candidates = vec![Candidate { site: Arc::clone(site), at: there }];
        let mut source = self.source(at, candidates, Vec::new());
        let len = match source.content_len().await {
            Ok(len) => len,
            Err(error) => return judged(error, false),
        };
        if depth == Depth::Root {
            return Presence::Present;
        }
        let mut position = 0;
        while position < len {
            match source.piece(position, len).await {
                Ok((start, piece)) => position = start + piece.len() as u64,
                Err(error) => return judged(error, true),
            }
        }
        Presence::Whole
    }
}

/// What an error says about the content. `begun`: the root was there.
fn judged(error: StorageError, begun: bool) -> Presence {
    match error.kind() {
        ErrorKind::Integrity => Presence::Damaged,
        ErrorKind::NotFound if begun => Presence::Damaged,
        ErrorKind::NotFound => Presence::Missing,
        _ => Presence::Failed(error),
    }
}
