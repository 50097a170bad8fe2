//! Links as their readers meet them: over HTTP, from a folder that outlives the server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use galen_crypto::{PasscodeHash, jose::LinkKey};
use galen_sdk::health_link::{FHIR_JSON, HealthLink, LinkError, LinkReader};
use galen_services::{
    http::serve,
    share::{
        Claim, MAX_LOG_LINES, NewShare, Refusal, ShareError, ShareId, ShareServer, ShareStatus,
        ShareStore, StoredFile,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

const DOCUMENT: &[u8] = br#"{"resourceType":"Patient","birthDate":"1951-01-20"}"#;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A share of one document with these rules changed.
fn share(key: &LinkKey, change: impl FnOnce(&mut NewShare)) -> NewShare {
    let jwe = key.seal(FHIR_JSON, DOCUMENT).unwrap();
    let mut share = NewShare {
        files: vec![StoredFile { content_type: FHIR_JSON.into(), jwe }],
        label: None,
        passcode: None,
        attempts: 10,
        created: now(),
        expires: None,
        once: false,
        direct: false,
    };
    change(&mut share);
    share
}

struct Stage {
    store: ShareStore,
    base: String,
    log: Arc<Mutex<Vec<String>>>,
    client: reqwest::Client,
    _stop: oneshot::Sender<()>,
}

impl Stage {
    async fn on(folder: &Path) -> Self {
        let store = ShareStore::new(folder);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        let told = move |event: &galen_services::share::ShareEvent| {
            lines.lock().unwrap().push(event.to_string())
        };
        let server = ShareServer::new(store.clone(), &base, told).unwrap();
        let (stop, stopped) = oneshot::channel();
        let limits = ShareServer::http_limits();
        tokio::spawn(serve(listener, server.router(), limits, async { drop(stopped.await) }));
        Self { store, base, log, client: reqwest::Client::new(), _stop: stop }
    }

    fn add(&self, change: impl FnOnce(&mut NewShare)) -> (ShareId, HealthLink) {
        let key = LinkKey::generate().unwrap();
        let share = share(&key, change);
        let (passcode, direct, expires) = (share.passcode.is_some(), share.direct, share.expires);
        let id = self.store.add(share).unwrap();
        let url = format!("{}/{}", self.base, id.expose());
        (id, HealthLink { url, key, expires, long_term: false, passcode, direct, label: None })
    }

    async fn post(&self, id: &ShareId, body: Value) -> (u16, Value) {
        let sent = self
            .client
            .post(format!("{}/{}", self.base, id.expose()))
            .json(&body)
            .send()
            .await
            .unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap_or(Value::Null))
    }

    async fn get(&self, url: &str) -> (u16, String) {
        let got = self.client.get(url).send().await.unwrap();
        (got.status().as_u16(), got.text().await.unwrap())
    }
}

async fn read(link: &HealthLink, passcode: Option<&str>) -> Result<Vec<u8>, LinkError> {
    let reader = LinkReader::new("Dr. Weiß", Duration::from_secs(30)).unwrap();
    let files = reader.open(link, passcode, now()).await?;
    assert_eq!((files.len(), files[0].content_type.as_str()), (1, FHIR_JSON));
    Ok(files[0].content.expose().to_vec())
}

#[tokio::test]
async fn links_are_read_as_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::on(folder.path()).await;
    let (id, link) = stage.add(|_| {});
    assert_eq!(read(&link, None).await.unwrap(), DOCUMENT);
    let (direct_id, direct) = stage.add(|it| it.direct = true);
    assert_eq!(read(&direct, None).await.unwrap(), DOCUMENT);
    // The one way in is not the other, and a look at the head counts for nothing.
    assert_eq!(stage.post(&direct_id, json!({"recipient": "x"})).await.0, 404);
    assert_eq!(stage.get(&format!("{}?recipient=x", link.url)).await.0, 404);
    let head = stage.client.head(format!("{}?recipient=x", direct.url)).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 405);
    assert_eq!(stage.get(&direct.url).await.0, 400);
    assert_eq!(stage.store.state(&direct_id, now()).unwrap().opened, 1);
    // Another key opens nothing.
    let other = HealthLink { key: LinkKey::generate().unwrap(), ..link.clone() };
    assert!(matches!(read(&other, None).await, Err(LinkError::Jose(_))));
    // Pages of other sites may ask.
    let url = format!("{}/{}", stage.base, id.expose());
    let asked = stage.client.request(reqwest::Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(asked.status().as_u16(), 204);
    assert_eq!(asked.headers()["access-control-allow-origin"], "*");
    // What a reader calls itself ends up in the log, and moves nothing there.
    let (status, _) =
        stage.post(&id, json!({"recipient": "\u{1b}[2J\u{202e}evil\nnew line"})).await;
    assert_eq!(status, 200);
    let state = stage.store.state(&id, now()).unwrap();
    let last = &state.log.last().unwrap().recipient;
    assert!(last.contains("evil") && !last.contains(['\u{1b}', '\n', '\u{202e}']), "{last:?}");
    assert!(stage.log.lock().unwrap().iter().all(|line| !line.contains(['\u{1b}', '\n'])));
    for body in [json!({}), json!({"recipient": " "}), json!({"recipient": 1}), json!([])] {
        assert_eq!(stage.post(&id, body).await.0, 400);
    }
}

#[tokio::test]
async fn long_files_come_by_an_address_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::on(folder.path()).await;
    let (id, link) = stage.add(|_| {});
    let (_, manifest) = stage.post(&id, json!({"recipient": "x", "embeddedLengthMax": 10})).await;
    let location = manifest["files"][0]["location"].as_str().unwrap().to_owned();
    assert!(manifest["files"][0].get("embedded").is_none());
    let (status, jwe) = stage.get(&location).await;
    assert_eq!(status, 200);
    assert_eq!(link.key.open(&jwe, 1_000).unwrap().plaintext.expose(), DOCUMENT);
    let wrong = format!("{}/{}/0/{}", stage.base, id.expose(), "A".repeat(43));
    assert_eq!(stage.get(&wrong).await.0, 404);
    assert_eq!(stage.get(&location.replace("/0/", "/1/")).await.0, 404);
    stage.store.stop(&id).unwrap();
    assert_eq!(stage.get(&location).await.0, 404);
    assert!(matches!(read(&link, None).await, Err(LinkError::Gone)));
    assert!(!folder.path().join(id.expose()).join("0.jwe").exists());
}

/// Fifty guesses at the same moment are no more than ten, the right passcode among the late ones does not help,
/// and a server that starts anew knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn passcodes_are_tried_so_often_and_not_more() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::on(folder.path()).await;
    let (id, link) = stage.add(|it| it.passcode = Some(PasscodeHash::new("4711").unwrap()));
    assert_eq!(read(&link, Some("4711")).await.unwrap(), DOCUMENT);
    // None at all is not a guess.
    assert_eq!(
        stage.post(&id, json!({"recipient": "x"})).await,
        (401, json!({"remainingAttempts": 10}))
    );
    let guesses = (0..50).map(|guess| {
        let (client, url) = (stage.client.clone(), link.url.clone());
        tokio::spawn(async move {
            let body = json!({"recipient": "x", "passcode": guess.to_string()});
            let sent = client.post(url).json(&body).send().await.unwrap();
            (sent.status().as_u16(), sent.json::<Value>().await.unwrap())
        })
    });
    let mut remaining = Vec::new();
    for guess in guesses.collect::<Vec<_>>() {
        match guess.await.unwrap() {
            (401, answer) => remaining.push(answer["remainingAttempts"].as_u64().unwrap()),
            (404, _) => {}
            other => panic!("{other:?}"),
        }
    }
    remaining.sort_unstable();
    assert_eq!(remaining, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(stage.store.state(&id, now()).unwrap().status, ShareStatus::Locked);
    assert!(matches!(read(&link, Some("4711")).await, Err(LinkError::Gone)));
    drop(stage);
    let again = ShareStore::new(folder.path());
    let claim = Claim { recipient: "x", passcode: Some("4711"), direct: false, now: now() };
    assert!(matches!(again.claim(&id, &claim), Err(Refusal::Gone)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_link_to_be_viewed_once_answers_one_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::on(folder.path()).await;
    let (id, link) = stage.add(|it| it.once = true);
    let readers = (0..20).map(|_| {
        let link = link.clone();
        tokio::spawn(async move { read(&link, None).await.is_ok() })
    });
    let mut opened = 0;
    for reader in readers.collect::<Vec<_>>() {
        opened += usize::from(reader.await.unwrap());
    }
    assert_eq!(opened, 1);
    let state = stage.store.state(&id, now()).unwrap();
    assert_eq!((state.status, state.opened), (ShareStatus::Used, 1));
}

/// A process that dies between the count and the answer: the line is there, whole or cut off.
#[test]
fn counts_survive_a_crash_at_any_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShareStore::new(folder.path());
    let key = LinkKey::generate().unwrap();
    let passcode = Some(PasscodeHash::new("4711").unwrap());
    let id = store.add(share(&key, |it| (it.passcode, it.attempts) = (passcode, 3))).unwrap();
    let claim = |passcode| {
        store.claim(&id, &Claim { recipient: "x", passcode: Some(passcode), direct: false, now: 5 })
    };
    assert!(matches!(claim("1"), Err(Refusal::Passcode { remaining: 2 })));
    let journal = folder.path().join(id.expose()).join("journal");
    let whole = fs::read(&journal).unwrap();
    // The process died in the middle of writing the second try: nobody learned anything from it.
    for cut in 0..whole.len() {
        fs::write(&journal, [&whole[..], &whole[..cut]].concat()).unwrap();
        let remaining = store.state(&id, 5).unwrap().remaining;
        assert!(remaining == 2 || (remaining == 1 && cut >= whole.len() - 1), "{cut}: {remaining}");
        assert!(
            matches!(claim("2"), Err(Refusal::Passcode { remaining: left }) if left == remaining - 1),
            "{cut}"
        );
    }
    // The process died after the line and before the answer: the try is gone.
    fs::write(&journal, [&whole[..], &whole[..], &whole[..]].concat()).unwrap();
    assert!(matches!(claim("4711"), Err(Refusal::Gone)));
    assert_eq!(store.state(&id, 5).unwrap().status, ShareStatus::Locked);
}

#[test]
fn links_end_and_are_checked_before_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShareStore::new(folder.path());
    let key = LinkKey::generate().unwrap();
    let id = store.add(share(&key, |it| it.expires = Some(100))).unwrap();
    let claim =
        |now| store.claim(&id, &Claim { recipient: "x", passcode: None, direct: false, now });
    assert!(claim(99).is_ok());
    assert!(matches!(claim(100), Err(Refusal::Gone)));
    assert_eq!(store.list(100).unwrap()[0].status, ShareStatus::Expired);
    let hash = || Some(PasscodeHash::new("1").unwrap());
    let broken: [(&str, NewShare); 5] = [
        ("P and U", share(&key, |it| (it.passcode, it.direct) = (hash(), true))),
        (
            "two direct files",
            share(&key, |it| {
                it.files.push(it.files[0].clone());
                it.direct = true;
            }),
        ),
        ("no file", share(&key, |it| it.files.clear())),
        ("no attempt", share(&key, |it| (it.passcode, it.attempts) = (hash(), 0))),
        ("a long label", share(&key, |it| it.label = Some("x".repeat(81)))),
    ];
    for (what, share) in broken {
        assert!(matches!(store.add(share), Err(ShareError::Invalid(_))), "{what}");
    }
    assert!(matches!("../../etc/passwd".parse::<ShareId>(), Err(ShareError::Unknown)));
    // No plaintext, no passcode and no key in the folder.
    for entry in fs::read_dir(folder.path().join(id.expose())).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("1951") && !text.contains(key.to_text().as_str()));
    }
    let server = ShareServer::new(store.clone(), "http://localhost", |_| {}).unwrap();
    assert!(matches!(
        ShareServer::new(store.clone(), "http://localhost", |_| {}),
        Err(ShareError::Busy)
    ));
    drop(server);
    ShareServer::new(store, "http://localhost", |_| {}).unwrap();
}

#[test]
fn logs_are_counted_and_do_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShareStore::new(folder.path());
    let id = store.add(share(&LinkKey::generate().unwrap(), |_| {})).unwrap();
    let journal = folder.path().join(id.expose()).join("journal");
    let line = r#"{"opened":{"at":1,"recipient":"x","opened":true}}"#;
    fs::write(&journal, format!("{line}\n").repeat(2 * MAX_LOG_LINES)).unwrap();
    let claim = |now| {
        store.claim(&id, &Claim { recipient: "y", passcode: None, direct: false, now }).unwrap()
    };
    claim(7);
    let state = store.state(&id, 7).unwrap();
    assert_eq!((state.opened, state.log.len()), (2 * MAX_LOG_LINES as u64 + 1, MAX_LOG_LINES + 1));
    assert_eq!(state.log.last().unwrap().recipient, "y");
    claim(8);
    assert_eq!(store.state(&id, 8).unwrap().opened, 2 * MAX_LOG_LINES as u64 + 2);
}
