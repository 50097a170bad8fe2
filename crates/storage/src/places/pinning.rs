//! A pinning service: it fetches content from IPFS nodes by its CID, and keeps it.
//!
//! The service hands out nothing and sees nothing but sealed blocks. That it keeps them is its word.
//!
//! Source: IPFS Pinning Service API, version 1.0.0.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use galen_types::{ContentRef, Store};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use super::ipfs::{Asked, IpfsPlace};
use crate::{
    Health, NodeFault, StorageError,
    http::{Answer, Ask, Http, inert},
    ipfs::{self, Cid},
    place::{Opened, Place, Upload},
};

/// Longest answer, in bytes.
const MAX_ANSWER_LEN: usize = 256 << 10;

/// Most pins of one content that are looked at; more are never made.
const MAX_PINS: usize = 10;

/// Most addresses of the service that our node is connected with.
const MAX_DELEGATES: usize = 8;

/// Longest number of a pin, in bytes.
const MAX_ID_LEN: usize = 200;

/// The pause before the service is first asked how far it is; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How many requests' time the service has to fetch content, besides what its length allows.
const PATIENCE: u32 = 20;

/// How many bytes the service fetches in a second, at least.
const SLOWEST_FETCH: u64 = 1 << 20;

/// A pinning service under a name.
#[derive(Debug)]
pub(crate) struct PinningPlace {
    name: String,
    http: Http,
    /// Whom the service fetches from.
    from: Arc<IpfsPlace>,
}

#[derive(Serialize)]
struct NewPin<'a> {
    cid: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
}

#[derive(Deserialize)]
struct Pin {
    requestid: String,
    status: Status,
    pin: Pinned,
    #[serde(default)]
    delegates: Vec<String>,
}

#[derive(Deserialize)]
struct Pinned {
    cid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Queued,
    Pinning,
    Pinned,
    Failed,
}

#[derive(Deserialize)]
struct Pins {
    results: Vec<Pin>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
    #[serde(default)]
    details: String,
}

impl PinningPlace {
    pub(crate) fn new(name: String, http: Http, from: Arc<IpfsPlace>) -> Self {
        Self { name, http, from }
    }

    /// The pin that was asked for before, by us or by another machine, or a new one.
    async fn ask_for(&self, upload: &Upload<'_>, root: &Cid) -> Result<Pin, StorageError> {
        if let Some(pin) = self.known(upload, root).await? {
            return Ok(pin);
        }
        let name = format!("galen {:x}", upload.addresses.swarm);
        // Without addresses the service finds the node through the network, if at all.
        let origins = self.from.peers().await.unwrap_or_default();
        let pin = self.create(&NewPin { cid: root.to_string(), name: &name, origins }).await?;
        for peer in pin.delegates.iter().take(MAX_DELEGATES) {
            // A node behind a router is reached only over a connection that it opens itself. Whether that helped
            // shows in the status.
            let _ = self.from.connect(peer).await;
        }
        Ok(pin)
    }

    async fn known(&self, upload: &Upload<'_>, root: &Cid) -> Result<Option<Pin>, StorageError> {
        if let Some(id) = upload.marks.note()
            && let Some(pin) = self.look_up(&id).await?
            && pin.pin.cid == root.to_string()
            && pin.status != Status::Failed
        {
            return Ok(Some(pin));
        }
        let pins = self.list(&[*root], "queued,pinning,pinned").await?;
        Ok(pins.into_iter().max_by_key(|pin| pin.status == Status::Pinned))
    }

    /// Waits until the service has everything.
    async fn wait_for(&self, mut pin: Pin, upload: &Upload<'_>) -> Result<(), StorageError> {
        const ACTION: &str = "fetch content to keep it";
        let patience = self.http.timeout() * PATIENCE
            + Duration::from_secs(upload.addresses.len / SLOWEST_FETCH);
        let end = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        let failed = |fault| StorageError::Node { node: self.name.clone(), action: ACTION, fault };
        loop {
            match pin.status {
                Status::Pinned => return Ok(()),
                Status::Failed => return Err(failed(NodeFault::PinFailed)),
                Status::Queued | Status::Pinning if Instant::now() + pause > end => {
                    return Err(failed(NodeFault::TimedOut(patience)));
                }
                Status::Queued | Status::Pinning => sleep(pause).await,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
            let again = self.look_up(&pin.requestid).await?;
            pin = again.ok_or_else(|| failed(NodeFault::PinFailed))?;
        }
    }

    async fn create(&self, pin: &NewPin<'_>) -> Result<Pin, StorageError> {
        const ACTION: &str = "take a pin";
        let answer = self.call(ACTION, Method::POST, &["pins"], &[], Some(pin)).await?;
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::CREATED => {
                let made: Pin = parse(ACTION, &answer)?;
                let is_ours = made.pin.cid == pin.cid && is_id(&made.requestid);
                let fault = || answer.fault(ACTION, NodeFault::Malformed("the pin asked for"));
                is_ours.then_some(made).ok_or_else(fault)
            }
            _ => Err(refusal(ACTION, &answer)),
        }
    }

    /// A pin by its number; `None` if the service does not know it.
    async fn look_up(&self, id: &str) -> Result<Option<Pin>, StorageError> {
        const ACTION: &str = "say how far a pin is";
        if !is_id(id) {
            return Ok(None);
        }
        let answer = self.call(ACTION, Method::GET, &["pins", id], &[], None).await?;
        match answer.status {
            StatusCode::OK => parse(ACTION, &answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(ACTION, &answer)),
        }
    }

    async fn list(&self, roots: &[Cid], status: &str) -> Result<Vec<Pin>, StorageError> {
        const ACTION: &str = "list its pins";
        let cids: Vec<_> = roots.iter().map(Cid::to_string).collect();
        let limit = MAX_PINS.to_string();
        let query = [("cid", &*cids.join(",")), ("status", status), ("limit", &*limit)];
        let answer = self.call(ACTION, Method::GET, &["pins"], &query, None).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(ACTION, &answer));
        }
        let Pins { mut results } = parse(ACTION, &answer)?;
        // A service that does not filter would have others' content deleted.
        results.retain(|pin| cids.contains(&pin.pin.cid) && is_id(&pin.requestid));
        Ok(results)
    }

    async fn delete(&self, id: &str) -> Result<(), StorageError> {
        const ACTION: &str = "delete a pin";
        let answer = self.call(ACTION, Method::DELETE, &["pins", id], &[], None).await?;
        match answer.status {
            StatusCode::ACCEPTED
            | StatusCode::OK
            | StatusCode::NO_CONTENT
            | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(refusal(ACTION, &answer)),
        }
    }

    async fn call(
        &self,
        action: &'static str,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&NewPin<'_>>,
    ) -> Result<Answer, StorageError> {
        let build = |client: &Client, base: &Url| -> RequestBuilder {
            let mut url = base.clone();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(path);
            }
            for (key, value) in query {
                url.query_pairs_mut().append_pair(key, value);
            }
            let request = client.request(method.clone(), url);
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        };
        let limit = MAX_ANSWER_LEN;
        self.http.ask(&Ask { action, build: &build, limit, says_no_with_500: false }).await
    }
}

#[async_trait]
impl Place for PinningPlace {
    fn name(&self) -> &str {
        &self.name
    }

    fn understands(&self, store: Store) -> bool {
        matches!(store, Store::Ipfs)
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn is_readable(&self) -> bool {
        false
    }

    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError> {
        Err(StorageError::Unsupported(*at))
    }

    /// The marks are those of the blocks on the way to the node that the service fetches from; the note is the
    /// number of the pin.
    async fn send(&self, upload: &Upload<'_>) -> Result<(), StorageError> {
        // Mostly our node keeps the content already.
        self.from.send_and_pin(upload, Asked::Unmarked).await?;
        let root = ipfs::root(upload.addresses.ipfs, upload.addresses.len);
        let pin = self.ask_for(upload, &root).await?;
        upload.marks.set_note(&pin.requestid)?;
        self.wait_for(pin, upload).await
    }

    async fn release(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let roots = ipfs::candidates(at.digest);
        let pins = self.list(&roots, "queued,pinning,pinned,failed").await?;
        for pin in &pins {
            self.delete(&pin.requestid).await?;
        }
        Ok(!pins.is_empty())
    }

    async fn keeps(&self, at: &ContentRef) -> Result<Option<bool>, StorageError> {
        let pins = self.list(&ipfs::candidates(at.digest), "pinned").await?;
        Ok(Some(!pins.is_empty()))
    }

    async fn health(&self) -> Result<Health, StorageError> {
        self.list(&[Cid::raw(ipfs::IpfsHasher::digest(&[]).digest)], "pinned").await?;
        Ok(Health::default())
    }
}

fn parse<T: DeserializeOwned>(action: &'static str, answer: &Answer) -> Result<T, StorageError> {
    let malformed = |_| answer.fault(action, NodeFault::Malformed("the status of a pin"));
    serde_json::from_slice(&answer.body).map_err(malformed)
}

/// What the service says of a request that it does not take.
fn refusal(action: &'static str, answer: &Answer) -> StorageError {
    let refused = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(Refusal { error: Reason { reason, details } }) if !refused => {
            answer.fault(action, NodeFault::Said(inert(&format!("{reason} {details}"))))
        }
        _ => answer.unexpected(action),
    }
}

/// Whether this can be the number of a pin: it goes into URLs and into a line of the marks.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID_LEN).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text != "."
        && text != ".."
}
