//! What the nodes in memory share: where they answer, and what goes wrong with a call.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test fails where it stands, and uses its part"
)]

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode, header},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::{net::TcpListener, task::JoinHandle};

pub const FOR_EVER: Duration = Duration::from_secs(3600);

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, this status is answered.
    Status(u16),
    /// The same, and the wish to be left alone for so many seconds.
    RetryAfter(u16, u64),
    /// A refusal in words, as the node has them.
    Says(&'static str),
    /// The right answer with one bit of the content or the reference changed.
    OtherBytes,
    /// The right answer without its last byte.
    TooFew,
    /// The right answer and so many bytes more.
    TooMany(usize),
    /// The right answer after a while.
    Slow(Duration),
    /// Nothing is done, and there is no answer.
    Never,
    /// All is done, but there is no answer.
    Mute,
    /// The right answer elsewhere.
    Redirect,
    /// The connection ends in the middle of the right answer.
    Cut,
    /// The right answer, but nothing was stored.
    Forget,
    /// 200 and something that is no answer.
    Nonsense,
}

/// The faults of a node.
#[derive(Default)]
pub struct Faults {
    /// Those that wait: the call, the fault, how often still, how many calls are spared first.
    waiting: Vec<(String, Fault, usize, usize)>,
    /// How many calls never get an answer.
    pub hangs: usize,
}

impl Faults {
    pub fn add(&mut self, call: &str, fault: Fault, times: usize, spared: usize) {
        self.waiting.push((call.to_owned(), fault, times, spared));
    }

    /// From now on all goes well.
    pub fn heal(&mut self) {
        self.waiting.clear();
    }

    /// What goes wrong with this call.
    pub fn take(&mut self, call: &str) -> Option<Fault> {
        let found = self.waiting.iter_mut().find(|(on, _, times, _)| on == call && *times > 0)?;
        let (_, fault, times, spared) = found;
        if *spared > 0 {
            *spared -= 1;
            return None;
        }
        *times -= 1;
        Some(*fault)
    }
}

/// A node's URL, and the task that answers there.
pub async fn serve(router: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// An answer before anything goes wrong with it.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// What is sent. `elsewhere` is where a redirect leads, `more` what bytes that are too many are.
    pub fn with(self, fault: Option<Fault>, elsewhere: &str, more: u8) -> Response<Body> {
        let Self { status, mut body } = self;
        let middle = body.len() / 2;
        let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        match fault {
            // The lowest bit of a hex digit gives another digit for all of them but one; that is good enough here.
            Some(Fault::OtherBytes) if !body.is_empty() => body[middle] ^= 1,
            Some(Fault::TooFew) => drop(body.pop()),
            Some(Fault::TooMany(count)) => body.resize(body.len() + count, more),
            Some(Fault::RetryAfter(_, seconds)) => {
                response = response.header(header::RETRY_AFTER, seconds);
            }
            Some(Fault::Redirect) => response = response.header(header::LOCATION, elsewhere),
            _ => {}
        }
        let body = if fault == Some(Fault::Cut) {
            response = response.header(header::CONTENT_LENGTH, body.len().max(1));
            body.truncate(middle);
            let broken = Err(std::io::Error::other("cut"));
            Body::from_stream(stream::iter([Ok(Bytes::from(body)), broken]))
        } else {
            Body::from(body)
        };
        response.body(body).unwrap()
    }
}
