//! A FHIR server that keeps versions, pages and refuses as real ones do, and misbehaves where it is told to.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

/// How a server misbehaves, or says no.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A status with an OperationOutcome of this text.
    Status(u16, &'static str),
    /// A status that asks for patience, in seconds.
    Later(u16, u64),
    /// A redirect.
    Redirect(String),
    /// No answer.
    Stall,
    /// Half an answer; nothing is done.
    Cut,
    /// The request is done and its answer lost.
    Lost,
    /// A length of a terabyte.
    Huge,
    /// A web page with status 200.
    Html,
    /// JSON that is no FHIR.
    Nonsense,
    /// A page whose next page is there.
    NextTo(String),
}

#[derive(Clone, Debug)]
struct Kept {
    key: String,
    version: u64,
    /// As it is served; may be spread over lines.
    text: String,
    /// `system|value`.
    identifier: Option<String>,
}

/// What a test sees of a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    page_len: usize,
    token: Option<String>,
    version: &'static str,
    everything: bool,
    /// Faults for requests whose method and path contain the text; how often.
    faults: VecDeque<(&'static str, Fault, usize)>,
    asked: Vec<Asked>,
    created: u64,
}

/// The server; ends with the process.
pub(crate) struct Twin {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Twin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/fhir", listener.local_addr().unwrap());
        let state = State { page_len: 3, version: "4.0.1", everything: true, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let (shared, base) = (state.clone(), url.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, base) = (shared.clone(), base.clone());
                std::thread::spawn(move || serve(stream, &shared, &base));
            }
        });
        Self { url, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a resource as it is written.
    pub(crate) fn keep(&self, key: &str, text: &str) {
        let kept =
            Kept { key: key.to_owned(), version: 1, text: text.to_owned(), identifier: None };
        self.state().kept.push(kept);
    }

    /// A patient with this many observations.
    pub(crate) fn with_patient(self, observations: usize) -> Self {
        self.keep(
            "Patient/anna",
            r#"{"resourceType":"Patient","id":"anna","birthDate":"1980-02-29"}"#,
        );
        for n in 0..observations {
            self.keep(&format!("Observation/o{n}"), &observation(n));
        }
        self
    }

    pub(crate) fn with_token(self, token: &str) -> Self {
        self.state().token = Some(token.to_owned());
        self
    }

    pub(crate) fn with_version(self, version: &'static str) -> Self {
        self.state().version = version;
        self
    }

    pub(crate) fn without_everything(self) -> Self {
        self.state().everything = false;
        self
    }

    /// The next `times` requests whose method and path contain `what` fail so.
    pub(crate) fn fail(&self, what: &'static str, fault: Fault, times: usize) {
        self.state().faults.push_back((what, fault, times));
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// How many requests had this in method and path.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|it| format!("{} {}", it.method, it.path).contains(what)).count()
    }

    pub(crate) fn kept(&self, key: &str) -> Option<String> {
        self.state().kept.iter().find(|it| it.key == key).map(|it| it.text.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.state().kept.len()
    }
}

/// Written as some servers do: over lines, with numbers whose text matters.
pub(crate) fn observation(n: usize) -> String {
    format!(
        "{{\n  \"resourceType\" : \"Observation\",\n  \"id\" : \"o{n}\",\n  \"status\" : \"final\",\n  \"code\" : {{\n    \"text\" : \"Magnesium \\u00e9  \\\" x\"\n  }},\n  \"subject\" : {{\n    \"reference\" : \"Patient/anna\"\n  }},\n  \"valueQuantity\" : {{\n    \"value\" : 1.0{n}00\n  }}\n}}"
    )
}

/// The same on one line.
pub(crate) fn observation_line(n: usize) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{"text":"Magnesium \u00e9  \" x"}},"subject":{{"reference":"Patient/anna"}},"valueQuantity":{{"value":1.0{n}00}}}}"#
    )
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, base: &str) {
    let Some(asked) = request(&stream) else { return };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.asked.push(asked.clone());
    let line = format!("{} {}", asked.method, asked.path);
    let found = state.faults.iter_mut().find(|(what, _, times)| line.contains(what) && *times > 0);
    let fault = found.map(|(_, fault, times)| {
        *times -= 1;
        fault.clone()
    });
    let (status, extra, body) = match fault {
        Some(Fault::Status(status, text)) => (status, String::new(), outcome(text)),
        Some(Fault::Later(status, seconds)) => {
            (status, format!("Retry-After: {seconds}\r\n"), outcome("later"))
        }
        Some(Fault::Redirect(to)) => (302, format!("Location: {to}\r\n"), String::new()),
        Some(Fault::Stall) => {
            drop(state);
            std::thread::sleep(Duration::from_secs(20));
            return;
        }
        Some(Fault::Cut) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 500\r\n\r\n{\"res";
            let _ = stream.write_all(head.as_bytes());
            return;
        }
        Some(Fault::Lost) => {
            let _ = state.answer(&asked, base);
            return;
        }
        Some(Fault::Huge) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 1099511627776\r\n\r\n{";
            let _ = stream.write_all(head.as_bytes());
            return;
        }
        Some(Fault::Html) => {
            let text = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
            let _ = stream.write_all(text.as_bytes());
            return;
        }
        Some(Fault::Nonsense) => (200, String::new(), r#"{"hello":1}"#.to_owned()),
        Some(Fault::NextTo(url)) => {
            let link = json!([{ "relation": "next", "url": url }]);
            (
                200,
                String::new(),
                json!({ "resourceType": "Bundle", "type": "searchset", "link": link }).to_string(),
            )
        }
        None => state.answer(&asked, base),
    };
    drop(state);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/fhir+json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut head = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let length = header(&head, "content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, head, body: String::from_utf8(body).ok()? })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn outcome(text: &str) -> String {
    let issue = json!([{ "severity": "error", "code": "processing", "diagnostics": text }]);
    json!({ "resourceType": "OperationOutcome", "issue": issue }).to_string()
}

type Reply = (u16, String, String);

impl State {
    fn answer(&mut self, asked: &Asked, base: &str) -> Reply {
        let refused = |status, text| (status, String::new(), outcome(text));
        let bearer = header(&asked.head, "authorization").and_then(|it| it.strip_prefix("Bearer "));
        if asked.path == "/fhir/metadata" {
            return (200, String::new(), self.capability());
        }
        if self.token.is_some() && bearer != self.token.as_deref() {
            return refused(401, "no token");
        }
        let path = asked.path.strip_prefix("/fhir/").unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["Patient", "anna", "$everything"]) if self.everything => {
                self.page(path, query, base, |_| true)
            }
            ("GET", [kind]) => {
                let start = format!("{kind}/");
                self.page(path, query, base, |kept| kept.key.starts_with(&start))
            }
            ("PUT", [kind, id]) => self.put(asked, &format!("{kind}/{id}")),
            ("POST", [kind]) => self.create(asked, kind),
            ("POST", []) => {
                let bundle: Value = serde_json::from_str(&asked.body).unwrap();
                let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
                let done = json!({ "response": { "status": "201 Created" } });
                let response = json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": vec![done; entries.len()] });
                (200, String::new(), response.to_string())
            }
            _ => refused(404, "nothing here"),
        }
    }

    fn capability(&self) -> String {
        let everything =
            if self.everything { json!([{ "name": "everything" }]) } else { json!([]) };
        json!({
            "resourceType": "CapabilityStatement", "status": "active", "fhirVersion": self.version,
            "rest": [{ "mode": "server", "interaction": [{ "code": "transaction" }], "resource": [
                { "type": "Patient", "operation": everything, "searchParam": [{ "name": "_id" }] },
                { "type": "Observation", "searchParam": [{ "name": "subject" }] },
                { "type": "Organization" },
            ] }],
        })
        .to_string()
    }

    fn page(&self, path: &str, query: &str, base: &str, wanted: impl Fn(&Kept) -> bool) -> Reply {
        let from = query.split('&').find_map(|it| it.strip_prefix("from=")?.parse().ok());
        let from: usize = from.unwrap_or(0);
        let found: Vec<&Kept> = self.kept.iter().filter(|kept| wanted(kept)).collect();
        let entries = found.iter().skip(from).take(self.page_len);
        let entries: Vec<String> = entries
            .map(|kept| {
                format!("{{ \"fullUrl\": \"{base}/{}\",\n \"resource\": {} }}", kept.key, kept.text)
            })
            .collect();
        let next = from + self.page_len;
        // Relative on even pages, absolute on odd ones: both are allowed.
        let link = match next < found.len() {
            true if from.is_multiple_of(2) => {
                format!(r#"{{"relation":"next","url":"{path}?from={next}"}}"#)
            }
            true => format!(r#"{{"relation":"next","url":"{base}/{path}?from={next}"}}"#),
            false => format!(r#"{{"relation":"self","url":"{base}/{path}"}}"#),
        };
        let entry = if entries.is_empty() {
            String::new()
        } else {
            format!(",\"entry\":[{}]", entries.join(","))
        };
        let body =
            format!(r#"{{"resourceType":"Bundle","type":"searchset","link":[{link}]{entry}}}"#);
        (200, String::new(), body)
    }

    fn put(&mut self, asked: &Asked, key: &str) -> Reply {
        let old = self.kept.iter().position(|it| it.key == key);
        let version = old.map_or(0, |at| self.kept[at].version);
        if let Some(wanted) = header(&asked.head, "if-match")
            && wanted != format!("W/\"{version}\"")
        {
            return (412, String::new(), outcome("another version"));
        }
        let kept = Kept {
            key: key.to_owned(),
            version: version + 1,
            text: asked.body.clone(),
            identifier: None,
        };
        match old {
            Some(at) => self.kept[at] = kept,
            None => self.kept.push(kept),
        }
        let status = if old.is_some() { 200 } else { 201 };
        (status, format!("ETag: W/\"{}\"\r\n", version + 1), String::new())
    }

    fn create(&mut self, asked: &Asked, kind: &str) -> Reply {
        let identifier = header(&asked.head, "if-none-exist").map(str::to_owned);
        if identifier.is_some() && self.kept.iter().any(|it| it.identifier == identifier) {
            return (200, String::new(), String::new());
        }
        self.created += 1;
        let key = format!("{kind}/new{}", self.created);
        self.kept.push(Kept { key, version: 1, text: asked.body.clone(), identifier });
        (201, "ETag: W/\"1\"\r\n".to_owned(), String::new())
    }
}
