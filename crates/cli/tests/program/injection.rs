//! What others choose to call themselves, their files and their errors moves nothing on a terminal: no escape
//! codes, no turned direction, no line that looks like the program's own.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::Value;

use crate::{
    common::Said,
    world::{Person, Strangers},
};

/// Each does something to a terminal or a reader that text should not.
const PAYLOADS: [&str; 10] = [
    "\x1b[2J\x1b[1;1Hgone",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\u{9b}31mred",
    "name\nerror: forged\n  help: send money",
    "name\r\rover",
    "a\tb\tc",
    "\u{202e}txet denrut",
    "\u{2066}isolated\u{2069}\u{200b}",
    "back\x08\x08\x08\x7f",
];

/// No character that a terminal acts on or that turns text, but for the ends of lines and the tabs between values.
fn is_inert(text: &str) -> bool {
    !text.chars().any(|c| {
        let moves = c.is_control() && c != '\n' && c != '\t';
        moves || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}')
    })
}

/// The program's own colors.
const COLORS: [&str; 4] = ["\x1b[1;31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"];

/// Runs a command as at a terminal, where escape codes are not taken out.
fn run(person: &Person, args: &[&str]) -> Said {
    let said = Said::by(person.command(args).env("CLICOLOR_FORCE", "1"));
    let text = |text| COLORS.iter().fold(text, |text: String, color| text.replace(color, ""));
    Said { code: said.code, stdout: text(said.stdout), stderr: text(said.stderr) }
}

fn check(said: &Said, payload: &str) {
    let shown = format!("{payload:?} is shown: {:?} {:?}", said.stdout, said.stderr);
    assert!(is_inert(&said.stdout) && is_inert(&said.stderr), "{shown}");
    let forged = |text: &str| text.lines().any(|line| line.starts_with("error: forged"));
    assert!(!forged(&said.stdout) && !forged(&said.stderr), "{shown}");
    assert!(!said.stderr.contains("panicked"), "{shown}");
}

fn both(person: &Person, args: &[&str], payload: &str) {
    check(&run(person, args), payload);
    let said = run(person, &[args, &["--json"]].concat());
    check(&said, payload);
    // JSON escapes by itself; what it holds is what a script may print.
    for text in [said.stdout.as_str(), said.stderr.lines().last().unwrap_or_default()] {
        assert!(
            text.is_empty()
                || !text.starts_with('{')
                || serde_json::from_str::<Value>(text).is_ok()
        );
    }
}

/// A node whose every answer is an error with this text.
fn lying_node(text: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = serde_json::json!({ "code": -32000, "message": text, "data": text });
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 65_536];
            let Ok(len) = connection.read(&mut request) else { continue };
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            let body = request.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
            let id =
                serde_json::from_str::<Value>(body).map_or(Value::from(1), |it| it["id"].clone());
            let body =
                serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let _ = write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

#[test]
fn what_others_write_is_inert() {
    let Strangers { world, hospital, patient, .. } = Strangers::new();
    patient.ok(&["init"]);
    for (number, payload) in PAYLOADS.iter().enumerate() {
        // A name on a card.
        let card = world.path(&format!("{number}.card"));
        let made = run(&hospital, &["contact", "card", "--name", payload, "--out", &card]);
        check(&made, payload);
        if made.code == 0 {
            both(&patient, &["contact", "add", &card], payload);
            both(&patient, &["contact", "list"], payload);
            both(&patient, &["contact", "show", &format!("{:#x}", hospital.id)], payload);
            patient.run(&["contact", "remove", &format!("{:#x}", hospital.id)]);
        }
        // The names of files, of contacts, and what is no command.
        let name = payload.replace(['/', '\0'], "_");
        let file = world.write(&name, "{\"resourceType\":\"Patient\",\"birthDate\":1}");
        both(&hospital, &["fhir", "check", &file], payload);
        both(&hospital, &["fhir", "check", &world.path(&format!("no {name}"))], payload);
        both(&patient, &["contact", "show", payload], payload);
        both(&patient, &["contact", "add", payload], payload);
        both(&patient, &["record", "get", payload], payload);
        // What a node says.
        let liar = Person { url: lying_node(payload), ..patient.clone() };
        both(&liar, &["contact", "list", "--timeout", "2"], payload);
    }
}
