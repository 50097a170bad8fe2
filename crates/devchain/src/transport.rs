//! The chain as an alloy transport, and as JSON-RPC text for whoever serves it over HTTP.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use alloy::{
    primitives::Bytes,
    providers::{Identity, ProviderBuilder, RootProvider},
    rpc::{
        client::RpcClient,
        json_rpc::{
            ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload,
            SerializedRequest,
        },
    },
    transports::{TransportError, TransportFut},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::to_raw_value};
use tower::Service;

use crate::{
    devchain::DevChain,
    rpc::{Answer, RpcError, clip},
};

/// Longest request, in bytes (go-ethereum, default of its HTTP server).
pub const MAX_REQUEST_LEN: usize = 5 * 1024 * 1024;

/// Most requests in one batch (go-ethereum).
pub const MAX_BATCH_LEN: usize = 1_000;

/// How often a client asks for a new block while it waits for one. Blocks are made at once, so
/// that it hardly ever waits.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Who asks over HTTP, which decides what may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A program on this machine: every method.
    Program,
    /// A web page or an extension of a browser: the standard methods (`eth_`, `net_`, `web3_`), not
    /// those that move the clock or the head.
    Page,
}

impl Caller {
    fn may(self, method: &str) -> bool {
        const STANDARD: [&str; 3] = ["eth_", "net_", "web3_"];
        self == Self::Program || STANDARD.iter().any(|prefix| method.starts_with(prefix))
    }
}

impl DevChain {
    /// An RPC client whose requests are answered in this process.
    pub fn client(&self) -> RpcClient {
        RpcClient::new(self.clone(), true).with_poll_interval(POLL_INTERVAL)
    }

    /// A provider without wallet and fillers. For one with both:
    /// `ProviderBuilder::new().wallet(…).connect_client(chain.client())`.
    pub fn provider(&self) -> RootProvider {
        ProviderBuilder::<Identity, Identity>::default().connect_client(self.client())
    }

    /// Answers the body of an HTTP request: one JSON-RPC request or a batch.
    ///
    /// Returns the body of the response; empty if there is nothing to say (only notifications).
    /// At most [`MAX_REQUEST_LEN`] bytes and [`MAX_BATCH_LEN`] requests; more is an error response.
    pub fn handle_json(&self, body: &[u8]) -> Vec<u8> {
        self.handle_json_for(Caller::Program, None, body)
    }

    /// As [`handle_json`](Self::handle_json), for a caller that may not do everything. Requests of a
    /// batch that have not begun at the deadline are answered with an error.
    pub fn handle_json_for(
        &self,
        caller: Caller,
        deadline: Option<Instant>,
        body: &[u8],
    ) -> Vec<u8> {
        let refuse =
            |code, message: &str| reply(&Value::Null, Err(RpcError::new(code, message))).into();
        if body.len() > MAX_REQUEST_LEN {
            return refuse(RpcError::INVALID_REQUEST, "request too large");
        }
        match serde_json::from_slice(body) {
            Ok(Value::Array(batch)) if batch.is_empty() => {
                refuse(RpcError::INVALID_REQUEST, "empty batch")
            }
            Ok(Value::Array(batch)) if batch.len() > MAX_BATCH_LEN => {
                refuse(RpcError::INVALID_REQUEST, "batch too large")
            }
            Ok(Value::Array(batch)) => {
                let answer = |request| self.answer_text(caller, deadline, request);
                let answers: Vec<_> = batch.into_iter().filter_map(answer).collect();
                if answers.is_empty() {
                    return Vec::new();
                }
                format!("[{}]", answers.join(",")).into()
            }
            Ok(request) => {
                self.answer_text(caller, deadline, request).map_or_else(Vec::new, String::into)
            }
            Err(_) => refuse(RpcError::PARSE, "parse error"),
        }
    }

    fn answer_text(
        &self,
        caller: Caller,
        deadline: Option<Instant>,
        request: Value,
    ) -> Option<String> {
        let Ok(Request { id, method, params }) = serde_json::from_value(request) else {
            let error = RpcError::new(RpcError::INVALID_REQUEST, "invalid request");
            return Some(reply(&Value::Null, Err(error)));
        };
        let answer = if !caller.may(&method) {
            let message = format!("the method {} is not for web pages", clip(&method));
            Err(RpcError::new(RpcError::NO_METHOD, message))
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Err(RpcError::new(RpcError::TIMED_OUT, "request timed out"))
        } else {
            self.answer(&method, &params)
        };
        // A request without an id is a notification; nobody waits for its answer.
        id.map(|id| reply(&id, answer))
    }

    fn answer_packet(&self, request: &SerializedRequest) -> Response {
        let payload = match self.answer_request(request) {
            Ok(value) => ResponsePayload::Success(value),
            Err(error) => ResponsePayload::Failure(ErrorPayload {
                code: error.code,
                message: error.message.into(),
                data: error.data.and_then(|data| to_raw_value(&data).ok()),
            }),
        };
        Response { id: request.id().clone(), payload }
    }

    fn answer_request(&self, request: &SerializedRequest) -> Result<Answer, RpcError> {
        if request.serialized().get().len() > MAX_REQUEST_LEN {
            return Err(RpcError::new(RpcError::INVALID_REQUEST, "request too large"));
        }
        let params =
            request.params().map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()));
        let params =
            params.map_err(|_| RpcError::new(RpcError::PARAMS, "params must be an array"))?;
        self.answer(request.method(), &params)
    }
}

impl Service<RequestPacket> for DevChain {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let chain = self.clone();
        Box::pin(async move {
            let requests = packet.requests();
            if requests.len() > MAX_BATCH_LEN {
                let refuse = |request: &SerializedRequest| Response {
                    id: request.id().clone(),
                    payload: ResponsePayload::Failure(ErrorPayload {
                        code: RpcError::INVALID_REQUEST,
                        message: "batch too large".into(),
                        data: None,
                    }),
                };
                return Ok(ResponsePacket::Batch(requests.iter().map(refuse).collect()));
            }
            Ok(match packet {
                RequestPacket::Single(request) => {
                    ResponsePacket::Single(chain.answer_packet(&request))
                }
                RequestPacket::Batch(batch) => ResponsePacket::Batch(
                    batch.iter().map(|request| chain.answer_packet(request)).collect(),
                ),
            })
        })
    }
}

#[derive(Deserialize)]
struct Request {
    /// Absent in a notification; null is an id, if a poor one.
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Serialize)]
struct Failure {
    code: i64,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Bytes>,
}

fn reply(id: &Value, answer: Result<Answer, RpcError>) -> String {
    let (result, error) = match answer {
        Ok(result) => (Some(result), None),
        Err(RpcError { code, message, data }) => (None, Some(Failure { code, message, data })),
    };
    serde_json::to_string(&Reply { jsonrpc: "2.0", id, result, error })
        .expect("strings, numbers and JSON always have a JSON form")
}
