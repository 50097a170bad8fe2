//! The program as people and scripts meet it: two channels, an exit code, and nothing left behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

fn galen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galen"));
    command.env_remove("NO_COLOR").env_remove("TERM").env_remove("CLICOLOR_FORCE");
    command
}

fn patient() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/patient.json").to_owned()
}

fn run(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

/// `tests/cmd/*.toml`: each channel and the exit code, apart.
#[test]
fn commands_answer_as_their_cases_say() {
    trycmd::TestCases::new().case("tests/cmd/*.toml").run();
}

#[test]
fn demo_reports_what_it_did() {
    let keep = tempfile::tempdir().unwrap();
    let (output, stdout, stderr) = run(galen().args(["demo", "--json", "--keep"]).arg(keep.path()));
    assert!(output.status.success(), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let number = |field: &str| report[field].as_u64().unwrap_or_else(|| panic!("{field}"));
    assert!(number("records_proposed") > 2);
    assert_eq!(number("records_proposed"), number("records_accepted") + number("records_rejected"));
    assert_eq!(number("records_rejected"), 1);
    assert_eq!(number("amended"), 1);
    assert!(number("reads_granted") > 0);
    assert_eq!(number("accesses_logged"), number("reads_granted"));
    // The insurer at a note, a stranger at each record, and hospital B after its revocation.
    let records = number("records_accepted") + number("second_hospital_records");
    assert_eq!(number("reads_refused"), 1 + records + 1);
    assert!((1..=number("reads_granted")).contains(&number("resealed")));
    assert!(number("bytes_sealed") > 0);
    assert_eq!(report["audit_complete"], Value::Bool(true));
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    for operation in
        ["deployment", "proposal", "settlement", "amendment", "consent", "access", "reseal"]
    {
        let gas = &report["gas"][operation];
        let number = |field: &str| gas[field].as_u64().unwrap_or_else(|| panic!("{operation}"));
        // A transaction costs at least 21,000 gas.
        assert!(number("least") > 21_000, "{operation}");
        assert!(number("total") >= number("least") * number("transactions"), "{operation}");
    }
    // With JSON the story is status, on stderr.
    assert!(stderr.starts_with("1. A network"), "{stderr}");
    assert!(keep.path().join("chain").is_dir() && keep.path().join("content").is_dir());
}

/// The sealed content and the chain hold no word of the document.
#[test]
fn demo_keeps_nothing_that_can_be_read() {
    let keep = tempfile::tempdir().unwrap();
    let (output, _, stderr) = run(galen().args(["demo", "--quiet", "--keep"]).arg(keep.path()));
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let document: Value = serde_json::from_slice(&fs::read(patient()).unwrap()).unwrap();
    let mut words = Vec::new();
    texts(&document, &mut words);
    words.retain(|word| word.len() >= 12);
    assert!(words.len() > 100);
    let mut files = 0;
    each_file(keep.path(), &mut |bytes| {
        files += 1;
        for word in &words {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "a file holds {word:?}");
        }
    });
    assert!(files > 20, "{files} files");
}

/// Every different text in a document, without the words of FHIR itself.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if !text.starts_with("http") && !found.contains(text) => {
            found.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}

fn each_file(directory: &Path, look: &mut impl FnMut(&[u8])) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { each_file(&path, look) } else { look(&fs::read(path).unwrap()) }
    }
}

#[test]
fn demo_leaves_nothing_of_a_refused_bundle() {
    let keep = tempfile::tempdir().unwrap();
    let place = keep.path().join("new");
    let bundle = "tests/cmd/input/doubled-key.json";
    let (output, stdout, _) = run(galen().args(["demo", "--bundle", bundle, "--keep"]).arg(&place));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout, "");
    assert!(!place.exists() || fs::read_dir(&place).unwrap().next().is_none());
}

/// `galen … | head` ends well: whoever closed the pipe has what they wanted.
#[test]
fn closed_stdout_ends_the_command_quietly() {
    let files = vec![patient(); 50];
    let mut child = galen()
        .args(["fhir", "check"])
        .args(&files)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before the first line can be written, or right after it.
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stderr, "");
}

#[test]
fn output_has_escape_codes_only_where_they_are_wanted() {
    type Variables = &'static [(&'static str, &'static str)];
    let rows: [(&str, Variables, bool); 4] = [
        ("asked for", &[("CLICOLOR_FORCE", "1")], true),
        ("no terminal", &[("TERM", "xterm-256color")], false),
        ("NO_COLOR", &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false),
        ("TERM=dumb", &[("TERM", "dumb")], false),
    ];
    for (row, variables, expected) in rows {
        let (_, stdout, stderr) = run(galen().arg("--help").envs(variables.iter().copied()));
        assert_eq!(stdout.contains('\x1b'), expected, "{row}");
        assert_eq!(stderr, "", "{row}");
        let (_, _, stderr) = run(galen().arg("cure").envs(variables.iter().copied()));
        assert_eq!(stderr.contains('\x1b'), expected, "{row}");
    }
}

/// Each command that does something has a man page of its own, and each shell completes its words.
#[test]
fn man_pages_and_completions_know_every_command() {
    const COMMANDS: [&str; 20] = [
        "init",
        "doctor",
        "config-show",
        "wallet-import",
        "wallet-backup",
        "wallet-restore",
        "wallet-sign",
        "contact-card",
        "contact-introduce",
        "network-add",
        "deploy",
        "dev-fund",
        "relay",
        "record-propose",
        "record-cosign",
        "consent-revoke-all",
        "request-refuse",
        "grant-add",
        "access-log",
        "audit",
    ];
    let folder = tempfile::tempdir().unwrap();
    let (output, ..) = run(galen().arg("man").arg(folder.path()));
    assert!(output.status.success());
    let pages: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(pages.len() > 50, "{} pages", pages.len());
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains(".SH SYNOPSIS") && text.contains(".SH NAME"), "{}", page.display());
    }
    for command in COMMANDS {
        let page = fs::read_to_string(folder.path().join(format!("galen-{command}.1"))).unwrap();
        assert!(page.contains("Examples:"), "{command}");
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (_, script, stderr) = run(galen().args(["completions", shell]));
        assert_eq!(stderr, "", "{shell}");
        for word in COMMANDS.iter().flat_map(|command| command.split('-')) {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
}

/// 30 ms in a release build; a debug build is larger and slower.
#[test]
fn help_and_version_are_there_at_once() {
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 300 } else { 30 });
    for argument in ["--help", "--version"] {
        let look = || {
            let started = Instant::now();
            let (output, stdout, _) = run(galen().arg(argument));
            assert!(output.status.success() && stdout.starts_with(['g', 'P']), "{stdout}");
            started.elapsed()
        };
        // The quickest of some: what else the machine does only adds to it.
        let quickest = (0..10).map(|_| look()).min().unwrap();
        assert!(quickest < limit, "{argument} takes {quickest:?}");
    }
}
