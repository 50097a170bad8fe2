//! Sources for those who verify what lies on chain: the compiler's input, and the services that compile it anew
//! and compare.
//!
//! Sourcify's API version 2 and Etherscan's, which others speak too. Settings leave the hash of the sources out
//! of the code, so that Sourcify's best answer is `match` and not `exact_match`: the code is the same, and
//! comments and names of variables are not proven.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use alloy::sol_types::SolValue as _;
use alloy_primitives::{Address, B256, Bytes, hex};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    ChainError,
    error::shown,
    rpc::{self, Node},
};

/// The compiler's standard JSON input: every source, and the settings. Compiled by [`compiler_version`] it gives
/// [`contract::HealthLedger::BYTECODE`](crate::contract::HealthLedger::BYTECODE).
pub const STANDARD_JSON: &str = include_str!("../../../abi/standard-json.json");

/// File and name of the ledger in [`STANDARD_JSON`].
pub const CONTRACT_NAME: &str = "contracts/src/HealthLedger.sol:HealthLedger";

/// What the compiler made, of which only its version is read here.
const ARTIFACT: &str = include_str!("../../../abi/HealthLedger.json");

/// The longest answer of a service, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Between two questions whether a service is done.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// Version of the compiler with its commit, as `0.8.37+commit.f401782d`.
pub fn compiler_version() -> String {
    #[derive(Deserialize)]
    struct Artifact {
        compiler: String,
    }
    let artifact: Artifact =
        serde_json::from_str(ARTIFACT).expect("a test reads the committed file");
    artifact.compiler
}

/// What follows the code of the constructor in the transaction that deploys: the founders.
pub fn constructor_arguments(founders: &[Address]) -> Bytes {
    (founders.to_vec(),).abi_encode_params().into()
}

/// Which language a service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verifier {
    /// Sourcify, API version 2.
    #[default]
    Sourcify,
    /// Etherscan, API version 2, and what is compatible with it.
    Etherscan,
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sourcify => "sourcify",
            Self::Etherscan => "etherscan",
        })
    }
}

impl FromStr for Verifier {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        match text {
            "sourcify" => Ok(Self::Sourcify),
            "etherscan" => Ok(Self::Etherscan),
            _ => Err(ChainError::Invalid("a verifier is `sourcify` or `etherscan`")),
        }
    }
}

/// What a service found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceMatch {
    /// Code and hash of the sources are the same.
    ExactMatch,
    /// The code is the same; it names no hash of the sources.
    Match,
    /// The service says that it verified, and not how well.
    Verified,
    /// Somebody had it verified before.
    AlreadyVerified,
}

impl fmt::Display for SourceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactMatch => "exact_match",
            Self::Match => "match",
            Self::Verified => "verified",
            Self::AlreadyVerified => "already_verified",
        })
    }
}

/// A ledger that lies on chain.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The chain.
    pub chain_id: u64,
    /// The ledger.
    pub ledger: Address,
    /// Its founders, ascending.
    pub founders: Vec<Address>,
    /// The transaction that deployed it, if it is known.
    pub transaction: Option<B256>,
}

/// A service that verifies sources.
pub struct VerificationService {
    client: Client,
    node: Node,
    verifier: Verifier,
    key: Option<Zeroizing<String>>,
    deadline: Duration,
}

impl fmt::Debug for VerificationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationService({} at {})", self.verifier, self.node.name)
    }
}

/// One look at a job.
enum Look {
    Done(SourceMatch),
    Pending,
    /// The service's node has not seen the contract yet.
    NotSeen,
}

impl VerificationService {
    /// A service at a URL: for Sourcify the one before `/v2/verify`, for Etherscan the whole one, without query.
    /// The key goes to the service alone.
    ///
    /// # Errors
    ///
    /// - [`ChainError::Invalid`]: not a URL of http or https.
    /// - [`ChainError::PlainHttp`]: plain HTTP to another machine.
    pub fn new(
        verifier: Verifier,
        url: &str,
        key: Option<Zeroizing<String>>,
        deadline: Duration,
    ) -> Result<Self, ChainError> {
        let node = Node::parse(url, false)?;
        Ok(Self { client: rpc::client(deadline)?, node, verifier, key, deadline })
    }

    /// Hands in the sources and waits for the answer. Safe to repeat.
    ///
    /// # Errors
    ///
    /// - [`ChainError::NotVerified`]: the service refused, or found other code.
    /// - [`ChainError::TimedOut`]: no answer before the deadline; the service may still go on.
    /// - [`ChainError::Unreachable`], [`ChainError::HttpStatus`], [`ChainError::Malformed`]: it did not answer as
    ///   it must.
    pub async fn verify(&self, deployed: &Deployed) -> Result<SourceMatch, ChainError> {
        let after = self.deadline;
        let timed_out = || ChainError::TimedOut { node: self.node.name.clone(), after };
        tokio::time::timeout(after, self.follow(deployed))
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }

    async fn follow(&self, deployed: &Deployed) -> Result<SourceMatch, ChainError> {
        let start = Instant::now();
        while start.elapsed() < self.deadline {
            let submitted = match self.verifier {
                Verifier::Sourcify => self.submit_to_sourcify(deployed).await?,
                Verifier::Etherscan => self.submit_to_etherscan(deployed).await?,
            };
            let job = match submitted {
                Ok(job) => job,
                Err(Look::Done(found)) => return Ok(found),
                Err(Look::Pending | Look::NotSeen) => {
                    tokio::time::sleep(ASK_INTERVAL).await;
                    continue;
                }
            };
            loop {
                let look = match self.verifier {
                    Verifier::Sourcify => self.ask_sourcify(&job).await?,
                    Verifier::Etherscan => self.ask_etherscan(&job, deployed).await?,
                };
                match look {
                    Look::Done(found) => return Ok(found),
                    Look::Pending => tokio::time::sleep(ASK_INTERVAL).await,
                    Look::NotSeen => break tokio::time::sleep(ASK_INTERVAL).await,
                }
            }
        }
        Err(ChainError::TimedOut { node: self.node.name.clone(), after: self.deadline })
    }

    /// Status and JSON of an answer.
    async fn exchange(&self, request: RequestBuilder) -> Result<(StatusCode, Value), ChainError> {
        let failed = |error| self.node.failure(error, self.deadline);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = self.node.body(response, MAX_ANSWER, self.deadline).await?;
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok((status, answer)),
            Err(_) if !status.is_success() => Err(self.http_status(status)),
            Err(_) => Err(self.malformed()),
        }
    }

    fn http_status(&self, status: StatusCode) -> ChainError {
        ChainError::HttpStatus { node: self.node.name.clone(), status: status.as_u16() }
    }

    fn malformed(&self) -> ChainError {
        ChainError::Malformed { node: self.node.name.clone(), what: "not the answer of a verifier" }
    }
}

/// Sourcify, <https://docs.sourcify.dev/docs/api>.
impl VerificationService {
    fn at(&self, path: &str) -> reqwest::Url {
        let mut url = self.node.url.clone();
        url.set_path(&format!("{}/v2/verify/{path}", url.path().trim_end_matches('/')));
        url
    }

    /// The job, or an answer without one.
    async fn submit_to_sourcify(
        &self,
        deployed: &Deployed,
    ) -> Result<Result<String, Look>, ChainError> {
        let Deployed { chain_id, ledger, transaction, .. } = deployed;
        let input: Value =
            serde_json::from_str(STANDARD_JSON).expect("a test reads the committed file");
        let mut body = json!({
            "stdJsonInput": input,
            "compilerVersion": compiler_version(),
            "contractIdentifier": CONTRACT_NAME,
        });
        if let Some(transaction) = transaction {
            body["creationTransactionHash"] = json!(transaction);
        }
        let request = self.client.post(self.at(&format!("{chain_id}/{ledger:#x}"))).json(&body);
        let (status, answer) = self.exchange(request).await?;
        if let Some(job) = answer["verificationId"].as_str().filter(|_| status.is_success()) {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let job = Some(job).filter(|job| !job.is_empty() && job.chars().all(plain));
            return job.map(|job| Ok(job.to_owned())).ok_or_else(|| self.malformed());
        }
        if status.is_success() {
            return Err(self.malformed());
        }
        self.sourcify_refusal(status, &answer).map(Err)
    }

    async fn ask_sourcify(&self, job: &str) -> Result<Look, ChainError> {
        let (status, answer) = self.exchange(self.client.get(self.at(job))).await?;
        if !status.is_success() {
            return self.sourcify_refusal(status, &answer);
        }
        if answer["error"].is_object() {
            return self.sourcify_refusal(StatusCode::BAD_REQUEST, &answer["error"]);
        }
        match (answer["isJobCompleted"].as_bool(), answer["contract"]["match"].as_str()) {
            (Some(false), _) => Ok(Look::Pending),
            (Some(true), Some("exact_match")) => Ok(Look::Done(SourceMatch::ExactMatch)),
            (Some(true), Some("match")) => Ok(Look::Done(SourceMatch::Match)),
            (Some(true), _) => refused("the service found other code"),
            (None, _) => Err(self.malformed()),
        }
    }

    fn sourcify_refusal(&self, status: StatusCode, answer: &Value) -> Result<Look, ChainError> {
        match answer["customCode"].as_str() {
            Some("already_verified") => Ok(Look::Done(SourceMatch::AlreadyVerified)),
            // Somebody asks for the same at the same time.
            Some("duplicate_verification_request") => Ok(Look::Pending),
            Some("contract_not_deployed") => Ok(Look::NotSeen),
            Some(code) => refused(answer["message"].as_str().unwrap_or(code)),
            None => Err(self.http_status(status)),
        }
    }
}

/// Etherscan, <https://docs.etherscan.io>: form fields, one misspelt, and a status in words.
impl VerificationService {
    /// The URL with what names chain and question.
    fn query(&self, fields: &[(&str, &str)]) -> reqwest::Url {
        let mut url = self.node.url.clone();
        url.query_pairs_mut().extend_pairs(fields);
        url
    }

    async fn submit_to_etherscan(
        &self,
        deployed: &Deployed,
    ) -> Result<Result<String, Look>, ChainError> {
        let (version, address) = (compiler_version(), format!("{:#x}", deployed.ledger));
        let arguments = hex::encode(constructor_arguments(&deployed.founders));
        let mut form = form(&[
            ("module", "contract"),
            ("action", "verifysourcecode"),
            ("contractaddress", &address),
            ("sourceCode", STANDARD_JSON.trim_end()),
            ("codeformat", "solidity-standard-json-input"),
            ("contractname", CONTRACT_NAME),
            ("compilerversion", &format!("v{version}")),
            ("constructorArguements", &arguments),
        ]);
        if let Some(key) = &self.key {
            form.query_pairs_mut().append_pair("apikey", key);
        }
        let url = self.query(&[("chainid", &deployed.chain_id.to_string())]);
        let body = form.query().unwrap_or_default().to_owned();
        let request = self.client.post(url).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let (good, words) = self.etherscan_answer(request).await?;
        if good {
            return Ok(Ok(words));
        }
        etherscan_words(&words).map(Err)
    }

    async fn ask_etherscan(&self, job: &str, deployed: &Deployed) -> Result<Look, ChainError> {
        let chain_id = deployed.chain_id.to_string();
        let mut url = self.query(&[
            ("chainid", &chain_id),
            ("module", "contract"),
            ("action", "checkverifystatus"),
            ("guid", job),
        ]);
        if let Some(key) = &self.key {
            url.query_pairs_mut().append_pair("apikey", key);
        }
        match self.etherscan_answer(self.client.get(url)).await? {
            (true, _) => Ok(Look::Done(SourceMatch::Verified)),
            (false, words) => etherscan_words(&words),
        }
    }

    /// Whether the answer is good, and its words.
    async fn etherscan_answer(
        &self,
        request: RequestBuilder,
    ) -> Result<(bool, String), ChainError> {
        let (status, answer) = self.exchange(request).await?;
        let words = answer["result"].as_str().or(answer["message"].as_str());
        match (answer["status"].as_str(), words) {
            (Some(good), Some(words)) => Ok((good == "1", words.to_owned())),
            _ if !status.is_success() => Err(self.http_status(status)),
            _ => Err(self.malformed()),
        }
    }
}

/// Fields as a form has them: the query of a URL that goes nowhere.
fn form(fields: &[(&str, &str)]) -> reqwest::Url {
    let mut url = reqwest::Url::parse("http://form").expect("a fixed text");
    url.query_pairs_mut().extend_pairs(fields);
    url
}

fn etherscan_words(words: &str) -> Result<Look, ChainError> {
    let lower = words.to_lowercase();
    if lower.contains("already verified") {
        return Ok(Look::Done(SourceMatch::AlreadyVerified));
    }
    if lower.contains("pending") || lower.contains("in progress") {
        return Ok(Look::Pending);
    }
    if lower.contains("unable to locate contractcode") {
        return Ok(Look::NotSeen);
    }
    refused(words)
}

fn refused<T>(words: &str) -> Result<T, ChainError> {
    Err(ChainError::NotVerified { message: shown(words) })
}
