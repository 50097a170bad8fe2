//! Several places for content, as their owner sets them, sees them, loses them and mends them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

const PROFILE: &str = r#"
id = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23"
role = "organization"
account = "nobody"
"#;

/// A folder with one profile.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(settings: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(machine.profile()).unwrap();
        fs::write(machine.profile().join("profile.toml"), format!("{settings}\n")).unwrap();
        machine
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    fn profile(&self) -> PathBuf {
        self.home().join("profiles/default")
    }

    /// Exit code, standard output, standard error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_galen"));
        for name in ["ETH_RPC_URL", "ETH_PASSWORD", "GALEN_PROFILE", "GALEN_HOME"] {
            command.env_remove(name);
        }
        command.args(args).arg("--home").arg(self.home()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Settings by name: value and origin.
    fn shown(&self, args: &[&str]) -> impl Fn(&str) -> (String, String) + use<> {
        let (code, stdout, stderr) = self.run(&[&["config", "show", "--json"], args].concat());
        assert_eq!(code, 0, "{stderr}");
        let shown: Value = serde_json::from_str(&stdout).unwrap();
        move |name| {
            let setting = &shown["settings"][name];
            let text = |key: &str| setting[key].as_str().unwrap_or_default().to_owned();
            (text("value"), text("origin"))
        }
    }

    fn refuses(&self, args: &[&str], says: &str) {
        let (code, stdout, stderr) = self.run(&[&["config", "show"], args].concat());
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.contains("help: "), "{says}: {stderr}");
    }
}

#[test]
fn places_are_shown_with_where_they_came_from() {
    let batch = "5c".repeat(32);
    let machine = Machine::new(&format!(
        "{PROFILE}
store = \"bee,ipfs,/srv/galen\"
[stores.bee]
kind = \"swarm\"
urls = [\"https://bee-1.example/api?key=hunter2\", \"https://bee-2.example\"]
batch = \"0x{batch}\"
token_file = \"bee.token\"
[stores.far]
kind = \"pinning\"
urls = [\"https://pin.example\"]
token_file = \"/etc/pin\"
from = \"ipfs\"
[stores.usb]
kind = \"local\"
directory = \"usb\"
[content]
imaging = \"ipfs,usb\""
    ));
    let file = machine.profile().join("profile.toml").display().to_string();
    let beside = |name: &str| machine.profile().join(name).display().to_string();
    let shown = machine.shown(&[]);
    for (setting, value) in [
        ("store", "bee,ipfs,local:/srv/galen"),
        ("stores.bee.kind", "swarm"),
        ("stores.bee.urls", "https://bee-1.example/… https://bee-2.example"),
        ("stores.bee.batch", &batch),
        ("stores.bee.token_file", &beside("bee.token")),
        ("stores.ipfs.kind", "ipfs"),
        ("stores.ipfs.urls", "http://127.0.0.1:5001"),
        ("stores.local.directory", "/srv/galen"),
        ("stores.far.from", "ipfs"),
        ("stores.far.token_file", "/etc/pin"),
        ("stores.usb.directory", &beside("usb")),
        ("content.imaging", "ipfs,usb"),
    ] {
        assert_eq!(shown(setting), (value.to_owned(), file.clone()), "{setting}");
    }

    // What is said now holds for all content; what lies elsewhere is still read.
    let shown =
        machine.shown(&["--store", "swarm:http://127.0.0.1:1+https://b.example,ipfs,/a,,b"]);
    let said = ("swarm:http://127.0.0.1:1+https://b.example,ipfs,local:/a,b", "--store");
    let pair = |(value, origin): (&str, &str)| (value.to_owned(), origin.to_owned());
    assert_eq!(shown("store"), pair(said));
    assert_eq!(
        shown("stores.swarm.urls"),
        pair(("http://127.0.0.1:1 https://b.example", "--store"))
    );
    assert_eq!(shown("stores.local.directory"), pair(("/a,b", "--store")));
    assert_eq!(shown("stores.usb.kind").0, "local");
    assert_eq!(shown("content.imaging"), pair(("", "")));
}

#[test]
fn wrong_places_are_refused_with_what_to_do() {
    let plain = Machine::new(PROFILE);
    for (list, says) in [
        ("archive", "there is no store archive"),
        ("swarm,,ipfs", "is not a content store"),
        ("swarm:bee.example", "does not begin with http:// or https://"),
        ("folder:https://me:hunter2@a.example", "has a user or password in it"),
        ("ipfs,ipfs", "named twice"),
    ] {
        plain.refuses(&["--store", list], says);
    }
    for (table, says) in [
        ("[stores.a]\nkind = \"swarm\"\ntoken = \"hunter2\"", "line 7: unknown field"),
        ("[stores.a]\nkind = \"folder\"", "[stores.a] of kind folder needs urls"),
        (
            "[stores.a]\nkind = \"ipfs\"\nurls = [\"https://me:hunter2@a.example\"]",
            "a user or password",
        ),
        (
            "[stores.a]\nkind = \"pinning\"\nurls = [\"https://a.example\"]\ntoken_file = \"t\"\nfrom = \"swarm\"",
            "fetches from swarm, which is no IPFS node",
        ),
        (
            "[content]\nimaging = \"ipfs-gateway:https://a.example\"",
            "[content] imaging: nothing can be kept",
        ),
        ("[content]\nimagination = \"ipfs\"", "category"),
        ("[content]\nimaging = \"archive\"", "there is no store archive"),
    ] {
        let machine = Machine::new(&format!("{PROFILE}{table}"));
        machine.refuses(&[], says);
        let (_, stdout, stderr) = machine.run(&["config", "show"]);
        assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
    }
}
