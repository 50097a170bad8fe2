//! Asking all nodes and counting what they say.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider as _},
    rpc::json_rpc::ErrorPayload,
    transports::RpcError,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, value::to_raw_value};

use super::Inner;
use crate::ChainError;

/// How long the rest of the nodes is waited for when those that answered first name different heights: a fast node
/// that lags must not hide what the others know already.
const GRACE: Duration = Duration::from_secs(1);

/// A node that has one voice.
#[derive(Clone)]
pub(super) struct Voter {
    /// Scheme and host.
    pub(super) name: String,
    pub(super) provider: DynProvider<Ethereum>,
}

/// What one node said.
pub(super) enum Said {
    Value(Value),
    Refused(ErrorPayload),
    Fault(ChainError),
}

/// What enough nodes said.
#[derive(Debug)]
pub(super) enum Answered<T> {
    Said(T),
    /// An error object of JSON-RPC.
    Refused(ErrorPayload),
}

impl<T> Answered<T> {
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Answered<U> {
        match self {
            Self::Said(value) => Answered::Said(map(value)),
            Self::Refused(error) => Answered::Refused(error),
        }
    }
}

impl Said {
    pub(super) fn answered(self) -> Result<Answered<Value>, ChainError> {
        match self {
            Self::Value(value) => Ok(Answered::Said(value)),
            Self::Refused(error) => Ok(Answered::Refused(error)),
            Self::Fault(error) => Err(error),
        }
    }

    pub(super) fn into_value(self, voter: &Voter) -> Result<Value, ChainError> {
        match self.answered()? {
            Answered::Said(value) => Ok(value),
            Answered::Refused(_) => Err(voter.malformed("a refusal")),
        }
    }
}

impl Voter {
    /// Asks this node, once.
    pub(super) async fn ask(&self, method: &str, params: &[Value], timeout: Duration) -> Said {
        let Ok(params) = to_raw_value(params) else {
            return Said::Fault(ChainError::Invalid("the request has no JSON form"));
        };
        let asking = self.provider.raw_request_dyn(method.to_owned().into(), &params);
        match tokio::time::timeout(timeout, asking).await {
            Err(_) => Said::Fault(ChainError::TimedOut { node: self.name.clone(), after: timeout }),
            Ok(Ok(raw)) => match serde_json::from_str(raw.get()) {
                Ok(value) => Said::Value(value),
                Err(_) => Said::Fault(self.malformed("not JSON")),
            },
            Ok(Err(RpcError::ErrorResp(error))) => Said::Refused(error),
            Ok(Err(error)) => Said::Fault(error.into()),
        }
    }

    pub(super) fn malformed(&self, what: &'static str) -> ChainError {
        ChainError::Malformed { node: self.name.clone(), what }
    }
}

/// What was said so far.
struct Tally<T> {
    method: String,
    asked: usize,
    quorum: usize,
    answers: BTreeMap<String, (usize, T)>,
    /// What contracts reverted with: as good as an answer, so it needs as many.
    reverts: BTreeMap<String, (usize, ErrorPayload)>,
    refusals: Vec<ErrorPayload>,
    faults: Vec<ChainError>,
}

impl<T> Tally<T> {
    fn new(method: &str, inner: &Inner) -> Self {
        Self {
            method: method.to_owned(),
            asked: inner.voters.len(),
            quorum: inner.quorum,
            answers: BTreeMap::new(),
            reverts: BTreeMap::new(),
            refusals: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Counts an error. Gives it back if a quorum reverted with it.
    fn refuse(&mut self, error: ErrorPayload) -> Option<ErrorPayload> {
        let Some(data) = error.as_revert_data() else {
            self.refusals.push(error);
            return None;
        };
        let (count, error) = self.reverts.entry(data.to_string()).or_insert((0, error));
        *count += 1;
        (*count >= self.quorum).then(|| error.clone())
    }

    fn best(&self) -> usize {
        let answers = self.answers.values().map(|(count, _)| *count);
        answers.chain(self.reverts.values().map(|(count, _)| *count)).max().unwrap_or(0)
    }

    /// Why nobody was believed.
    fn fail<U>(mut self) -> Result<Answered<U>, ChainError> {
        // So many refused that the rest is no quorum: the caller may ask for less. Data would be the word of one.
        if self.asked - self.refusals.len() < self.quorum {
            let ErrorPayload { code, message, .. } = self.refusals.swap_remove(0);
            return Ok(Answered::Refused(ErrorPayload { code, message, data: None }));
        }
        let elsewhere = |fault: &ChainError| matches!(fault, ChainError::OtherChain { .. });
        let strangers = self.faults.iter().filter(|fault| elsewhere(fault)).count();
        let agreed = self.best();
        if self.asked - strangers < self.quorum || agreed == 0 && self.faults.len() == self.asked {
            let place = self.faults.iter().position(elsewhere).unwrap_or(0);
            return Err(self.faults.swap_remove(place));
        }
        Err(ChainError::Disagreement { method: self.method, asked: self.asked, agreed })
    }
}

impl Inner {
    /// Asks all at once; each answer with the node that gave it.
    fn ask_all<'a>(
        &'a self,
        method: &'a str,
        params: &'a [Value],
    ) -> FuturesUnordered<impl Future<Output = (&'a Voter, Said)>> {
        let timeout = self.options.timeout;
        self.voters
            .iter()
            .map(|voter| async move { (voter, voter.ask(method, params, timeout).await) })
            .collect()
    }

    /// What a quorum says. `read` gives what makes two answers the same, and the answer; `None` if it is none.
    pub(super) async fn agree<T>(
        &self,
        method: &str,
        params: &[Value],
        read: impl Fn(Value) -> Option<(String, T)>,
    ) -> Result<Answered<T>, ChainError> {
        let mut tally = Tally::new(method, self);
        let mut open = self.ask_all(method, params);
        while let Some((voter, said)) = open.next().await {
            match said {
                Said::Value(value) => match read(value) {
                    Some((key, answer)) => {
                        let (count, _) = tally.answers.entry(key.clone()).or_insert((0, answer));
                        *count += 1;
                        if *count >= self.quorum
                            && let Some((_, answer)) = tally.answers.remove(&key)
                        {
                            return Ok(Answered::Said(answer));
                        }
                    }
                    None => tally.faults.push(voter.malformed("not an answer to the question")),
                },
                Said::Refused(error) => {
                    if let Some(error) = tally.refuse(error) {
                        return Ok(Answered::Refused(error));
                    }
                }
                Said::Fault(error) => tally.faults.push(error),
            }
            // Who has not spoken yet cannot change it any more.
            if tally.best() + open.len() < self.quorum {
                break;
            }
        }
        tally.fail()
    }

    /// What each says, from as many as are needed: those that answered first if all of them, or a quorum, say the
    /// same, else all that answer soon. At least a quorum.
    pub(super) async fn survey<T>(
        &self,
        method: &str,
        params: &[Value],
        read: impl Fn(Value) -> Option<(String, T)>,
    ) -> Result<Answered<Vec<(String, T)>>, ChainError> {
        let mut tally: Tally<()> = Tally::new(method, self);
        let mut seen: Vec<(String, T)> = Vec::new();
        let mut open = self.ask_all(method, params);
        let mut until = None;
        loop {
            let next = match until {
                None => open.next().await,
                Some(until) => tokio::time::timeout_at(until, open.next()).await.ok().flatten(),
            };
            let Some((voter, said)) = next else { break };
            match said {
                Said::Value(value) => match read(value) {
                    Some(answer) => seen.push(answer),
                    None => tally.faults.push(voter.malformed("not an answer to the question")),
                },
                Said::Refused(error) => {
                    if let Some(error) = tally.refuse(error) {
                        return Ok(Answered::Refused(error));
                    }
                }
                Said::Fault(error) => tally.faults.push(error),
            }
            let same = |key: &str| seen.iter().filter(|(other, _)| other == key).count();
            if seen.iter().any(|(key, _)| same(key) >= self.quorum) {
                break;
            }
            if seen.len() >= self.quorum {
                until = until.or_else(|| Some(tokio::time::Instant::now() + GRACE));
            }
        }
        if seen.len() < self.quorum { tally.fail() } else { Ok(Answered::Said(seen)) }
    }

    pub(super) fn disagreement(&self, method: &str, agreed: usize) -> ChainError {
        ChainError::Disagreement { method: method.to_owned(), asked: self.voters.len(), agreed }
    }
}

/// A result as it is compared, and without what each node adds in its own way: null or absent, upper or lower case,
/// and the times of blocks that some put beside logs.
pub(super) fn equal(mut value: Value) -> Option<(String, Value)> {
    without_times(&mut value);
    let mut key = String::new();
    write_key(&value, &mut key)?;
    Some((key, value))
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("blockTimestamp");
            fields.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

fn write_key(value: &Value, key: &mut String) -> Option<()> {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_by_key(|(name, _)| *name);
            key.push('{');
            for (name, value) in fields {
                write!(key, "{name:?}:").ok()?;
                write_key(value, key)?;
                key.push(',');
            }
            key.push('}');
        }
        Value::Array(items) => {
            key.push('[');
            for item in items {
                write_key(item, key)?;
                key.push(',');
            }
            key.push(']');
        }
        Value::String(text) => write!(key, "{:?}", text.to_lowercase()).ok()?,
        other => write!(key, "{other}").ok()?,
    }
    Some(())
}
