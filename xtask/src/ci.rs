//! Every check of this repository, as a table.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use eyre::{OptionExt as _, Result, WrapErr as _, bail, ensure};
use serde_json::Value;

use crate::tools::Tools;

/// One named check.
struct Step {
    name: &'static str,
    /// The longest it may take on two cores, cold; then it is ended and has failed.
    limit: Duration,
    run: fn(&Shop) -> Result<()>,
}

/// The checks in order, quick ones first. A new check is a new row.
const STEPS: &[Step] = &[
    step("fmt", 2, |shop| {
        shop.cargo(&["fmt", "--all", "--check"])?;
        shop.cargo_beside(&["fmt", "--all", "--check"])
    }),
    step("forge-fmt", 2, |shop| shop.forge("default", &["fmt", "--check"])),
    step("abi", 5, |shop| {
        let me = std::env::current_exe().wrap_err("cannot find this program")?;
        // `cargo run` would say where this package lies; see `root`.
        let here = shop.root.join("xtask");
        shop.run(shop.command(me).args(["abi", "--check"]).env("CARGO_MANIFEST_DIR", here))
    }),
    step("oracles", 5, |shop| {
        for check in ["eip712.py", "parts.py", "proxy.py", "shc.py"] {
            let check = format!("tests/oracles/python/{check}");
            shop.run(shop.command(shop.tools.python()).arg(check))?;
        }
        Ok(())
    }),
    step("clippy", 25, |shop| {
        shop.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
        shop.cargo_beside(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }),
    step("doc", 15, |shop| {
        let mut command = shop.command(cargo());
        shop.run(
            command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"),
        )
    }),
    step("features", 10, |shop| {
        let hardware = [
            "--workspace",
            "--all-targets",
            "--features",
            "galen-cli/hardware,galen-storage/bench",
        ];
        shop.cargo(&[&["clippy"][..], &hardware, &["--", "-D", "warnings"]].concat())
    }),
    step("xtask", 5, |shop| shop.cargo(&["test", "--manifest-path", "xtask/Cargo.toml"])),
    step("test", 40, |shop| shop.cargo(&["test", "--workspace"])),
    step("rust-oracles", 20, |shop| {
        shop.cargo(&["test", "--workspace", "--manifest-path", "tests/oracles/Cargo.toml"])
    }),
    // What it found before lies in `target/fuzz`, and each run goes on from there.
    step("fuzz", 15, |shop| shop.run(shop.command("scripts/fuzz").args(["--seconds", "10"]))),
    // A FHIR server of others takes what Galen writes; so does a library of others.
    step("standards", 15, |shop| {
        let out = shop.root.join("target/fhir-out");
        let mut test = shop.command("scripts/fhir-server");
        test.arg("run").arg(cargo()).args(shop.stories(&["standards", "fhir_server"])?);
        test.env("GALEN_FHIR_OUT", &out).env("GALEN_REQUIRE_FHIR_SERVER", "1");
        shop.run(&mut test)?;
        let check = "tests/oracles/python/standards.py";
        shop.run(shop.command(shop.tools.python()).arg(check).arg(&out))
    }),
    step("chart", 10, |shop| {
        let out = shop.root.join("target/chart-out");
        let mut test = shop.command(cargo());
        shop.run(
            test.args(["test", "-p", "galen-fhir", "--test", "chart"]).env("GALEN_CHART_OUT", &out),
        )?;
        let check = "tests/oracles/python/chart.py";
        shop.run(shop.command(shop.tools.python()).arg(check).arg(&out))
    }),
    step("consents", 10, |shop| {
        let out = shop.root.join("target/consent-out");
        let mut test = shop.command(cargo());
        shop.run(test.args(shop.stories(&["consent_fhir"])?).env("GALEN_CONSENT_OUT", &out))?;
        let check = "tests/oracles/python/consent.py";
        shop.run(shop.command(shop.tools.python()).arg(check).arg(&out))
    }),
    step("demo", 30, |shop| {
        shop.cargo(&["build", "--release"])?;
        shop.demo(&[], 10.0)?;
        shop.demo(&["--bundle", &shop.bundle()?], 60.0)
    }),
    // geth, kubo and bee are built from source the first time: 2 to 4 minutes each, once.
    step("nodes", 25, |shop| shop.run(&mut shop.command("scripts/nodes"))),
    step("walkthrough", 15, |shop| {
        shop.run(shop.command("scripts/walkthrough").arg("selftest"))?;
        // Nothing to do after the demo.
        shop.cargo(&["build", "--release"])?;
        for chain in ["dev", "anvil", "geth"] {
            shop.run(shop.command("scripts/walkthrough").arg(chain))?;
        }
        Ok(())
    }),
    step("stores", 25, |shop| {
        shop.run(shop.command("scripts/stores").arg("selftest"))?;
        let mut command = shop.command("scripts/stores");
        command.arg("run").arg(cargo()).args(["test", "--package", "galen-storage"]);
        // The real nodes are there, so a test that skips them has failed.
        shop.run(
            command.args(["--test", "address", "--test", "nodes"]).env("GALEN_REQUIRE_NODES", "1"),
        )?;
        shop.cargo(&["build", "--release"])?;
        // bee signs for each 4 KiB, which is most of the time.
        let mut command = shop.command("scripts/stores");
        command.args(["run", "--anvil", "bash", "-c", DEMO_ON_NODES]).arg(cargo());
        Shop::check_demo(command.arg(shop.bundle()?), 300.0)
    }),
    step("forge-build", 15, |shop| {
        // A warning fails, and so does a contract that is too large to be deployed.
        shop.forge("default", &["build", "--deny", "warnings"])?;
        shop.forge("src", &["build", "--sizes"])
    }),
    step("forge-test", 15, |shop| shop.forge("ci", &["test"])),
    step("halmos", 20, |shop| {
        let mut command = shop.command(shop.tools.program("halmos"));
        // Finding no such contract is an error.
        command.args(["--match-contract", "Halmos$", "--function", "check_", "--no-status"]);
        shop.run(command.args(["--forge-build-out", HALMOS_OUT]).env("FOUNDRY_PROFILE", "halmos"))
    }),
    step("slither", 8, |shop| {
        shop.forge("src", &["build", "--build-info", "--force"])?;
        let mut command = shop.command(shop.tools.program("slither"));
        // Any finding is an error; what is not one is said in the source or in slither.config.json.
        command.args([
            ".",
            "--ignore-compile",
            "--foundry-out-directory",
            "contracts/cache/src/out",
        ]);
        shop.run(
            command.args(["--config-file", "slither.config.json"]).env("FOUNDRY_PROFILE", "src"),
        )
    }),
];

/// The demo on the chain and the stores that `scripts/stores` started. The shell knows where they are.
const DEMO_ON_NODES: &str = r#"exec "$0" run --release --quiet -- --quiet --json demo --bundle "$1" \
    --rpc-url "$GALEN_RPC_URL" --store "swarm:$GALEN_BEE_URL#batch=$GALEN_BEE_BATCH,ipfs:$GALEN_IPFS_URL""#;

/// The output folder of the profile `halmos`.
const HALMOS_OUT: &str = "contracts/cache/halmos/out";

/// The workspaces beside the main one.
const BESIDE: &[&str] = &["xtask/Cargo.toml", "tests/fuzz/Cargo.toml", "tests/oracles/Cargo.toml"];

const fn step(name: &'static str, minutes: u64, run: fn(&Shop) -> Result<()>) -> Step {
    Step { name, limit: Duration::from_secs(minutes * 60), run }
}

/// Which steps to run.
pub(crate) struct Selection {
    list: bool,
    only: Vec<String>,
    skip: Vec<String>,
    /// The longest that all steps together may take.
    limit: Option<Duration>,
}

impl Selection {
    /// Reads `--list`, `--minutes N`, `--only NAME` and `--skip NAME`; a name that is no step is an error.
    pub(crate) fn parse(args: &[&str]) -> Result<Self> {
        let mut selection = Self { list: false, only: Vec::new(), skip: Vec::new(), limit: None };
        let mut args = args.iter();
        while let Some(&flag) = args.next() {
            let names = match flag {
                "--list" => {
                    selection.list = true;
                    continue;
                }
                "--minutes" => {
                    let minutes = args.next().ok_or_eyre("ci: --minutes needs a number")?;
                    let minutes: u32 = minutes.parse().wrap_err("ci: --minutes needs a number")?;
                    selection.limit = Some(Duration::from_secs(60 * u64::from(minutes)));
                    continue;
                }
                "--only" => &mut selection.only,
                "--skip" => &mut selection.skip,
                _ => bail!("ci: unknown argument {flag}"),
            };
            let Some(&name) = args.next() else { bail!("ci: {flag} needs a name") };
            ensure!(STEPS.iter().any(|step| step.name == name), "ci: there is no step {name}");
            names.push(name.to_owned());
        }
        Ok(selection)
    }

    fn takes(&self, step: &Step) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// Runs the selected steps, all of them even when one fails, and prints a table at the end.
pub(crate) fn run(root: &Path, selection: &Selection) -> Result<()> {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| selection.takes(step)).collect();
    ensure!(!steps.is_empty(), "ci: no step is left to run");
    if selection.list {
        steps.iter().for_each(|step| println!("{}", step.name));
        return Ok(());
    }
    let tools = Tools::install(root)?;
    let mut table = String::new();
    let mut failed = 0_usize;
    let last = selection.limit.map(|limit| Instant::now() + limit);
    for step in steps {
        println!("==> {}", step.name);
        let start = Instant::now();
        let end = last.map_or(start + step.limit, |last| last.min(start + step.limit));
        let result = (step.run)(&Shop { root, tools: &tools, end });
        let seconds = start.elapsed().as_secs_f64();
        let verdict = match result {
            Ok(()) => "ok".to_owned(),
            Err(report) => {
                failed += 1;
                format!("FAILED: {report:#}")
            }
        };
        println!("<== {} {verdict}", step.name);
        table += &format!("{:<14}{seconds:>8.1} s  {verdict}\n", step.name);
    }
    print!("\n{table}");
    ensure!(failed == 0, "ci: {failed} failed");
    Ok(())
}

/// Where a step runs its commands.
struct Shop<'a> {
    root: &'a Path,
    tools: &'a Tools,
    end: Instant,
}

impl Shop<'_> {
    /// A command at the top of the repository that finds the tools.
    ///
    /// It runs under `timeout` of coreutils, which ends all that the command started.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let left = self.end.saturating_duration_since(Instant::now()).as_secs().max(1);
        let mut command = Command::new("timeout");
        command.arg("--kill-after=10").arg(left.to_string()).arg(program);
        command.current_dir(self.root).stdin(Stdio::null());
        self.tools.apply(&mut command);
        // The real node, wallet and Safe are there, so a test that skips them has failed.
        for name in ["ANVIL", "CAST", "SAFE"] {
            command.env(format!("GALEN_REQUIRE_{name}"), "1");
        }
        // `cargo run` describes this package to its children; another cargo must not take it for its own.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        // The first two arguments belong to `timeout`.
        let shown: Vec<_> = command.get_args().skip(2).map(OsStr::to_string_lossy).collect();
        let shown = shown.join(" ");
        println!("$ {shown}");
        let status = command.status().wrap_err("cannot run `timeout` of coreutils")?;
        ensure!(status.code() != Some(TIMED_OUT), "took too long: {shown}");
        ensure!(status.success(), "{status}: {shown}");
        Ok(())
    }

    fn cargo(&self, args: &[&str]) -> Result<()> {
        self.run(self.command(cargo()).args(args))
    }

    /// The same cargo command in the workspaces beside the main one.
    fn cargo_beside(&self, args: &[&str]) -> Result<()> {
        let (verb, rest) = args.split_first().expect("callers name a verb");
        for manifest in BESIDE {
            let mut command = self.command(cargo());
            self.run(command.args([*verb, "--manifest-path", *manifest]).args(rest))?;
        }
        Ok(())
    }

    /// Arguments by which cargo runs these modules of the program's tests. One that is not there would match no
    /// test and pass, so it is an error.
    fn stories(&self, modules: &[&str]) -> Result<Vec<String>> {
        let folder = self.root.join("crates/cli/tests/program");
        let mut args =
            ["test", "-p", "galen-cli", "--test", "program", "--"].map(str::to_owned).to_vec();
        for module in modules {
            let file = folder.join(module).with_extension("rs");
            ensure!(file.is_file(), "there is no test module {module}");
            args.push(format!("{module}::"));
        }
        Ok(args)
    }

    /// The README's demo.
    fn demo(&self, args: &[&str], seconds: f64) -> Result<()> {
        let demo = ["run", "--release", "--quiet", "--", "--quiet", "--json", "demo"];
        Self::check_demo(self.command(cargo()).args(demo).args(args), seconds)
    }

    /// Runs a demo, which must account for every read and end in time.
    fn check_demo(command: &mut Command, seconds: f64) -> Result<()> {
        let output = command.output().wrap_err("cannot run `timeout` of coreutils")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).wrap_err("no JSON")?;
        let took = report["seconds"].as_f64().ok_or_eyre("no `seconds`")?;
        println!("{} records, {took:.1} s", report["records_proposed"]);
        ensure!(report["audit_complete"] == true, "the audit is not complete");
        ensure!(report["accesses_logged"] == report["reads_granted"], "a read is not in the log");
        ensure!(took < seconds, "{took:.1} s, and {seconds} s are allowed");
        Ok(())
    }

    /// The largest bundle of the shared FHIR data.
    fn bundle(&self) -> Result<String> {
        let data = std::env::var_os("GALEN_FHIR").unwrap_or_else(|| "../shared/fhir".into());
        let bundle = largest_file(&self.root.join(data).join("synthea"))?;
        bundle.into_os_string().into_string().ok().ok_or_eyre("a path that is not UTF-8")
    }

    fn forge(&self, profile: &str, args: &[&str]) -> Result<()> {
        let mut command = self.command(self.tools.program("forge"));
        self.run(command.args(args).env("FOUNDRY_PROFILE", profile))
    }
}

/// The largest file of a folder.
fn largest_file(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .wrap_err_with(|| format!("cannot read {}: the demo needs its data", folder.display()))?;
    let sized = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        Some((entry.metadata().ok()?.len(), entry.path()))
    };
    entries.filter_map(sized).max().map(|(_, path)| path).ok_or_eyre("no file to show")
}

/// What `timeout` exits with when time was up.
const TIMED_OUT: i32 = 124;

/// The cargo that started this program.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Vec<&'static str> {
        let selection = Selection::parse(args).unwrap();
        STEPS.iter().filter(|step| selection.takes(step)).map(|step| step.name).collect()
    }

    #[test]
    fn selection_takes_what_is_named() {
        let all: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        let but_test: Vec<_> = all.iter().copied().filter(|name| *name != "test").collect();
        assert_eq!(names(&[]), all);
        assert_eq!(names(&["--skip", "test"]), but_test);
        assert_eq!(names(&["--only", "doc", "--only", "fmt"]), ["fmt", "doc"]);
        assert_eq!(names(&["--only", "doc", "--skip", "doc"]), [""; 0]);
    }

    #[test]
    fn selection_refuses_what_it_does_not_know() {
        for args in
            [&["--only", "nope"][..], &["--only"], &["doc"], &["--skip", ""], &["--minutes", "x"]]
        {
            assert!(Selection::parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn shop_fails_what_fails_or_takes_too_long() {
        let tools = Tools::at("/nowhere");
        let shop = |seconds| Shop {
            root: Path::new("/"),
            tools: &tools,
            end: Instant::now() + Duration::from_secs(seconds),
        };
        let patient = shop(60);
        patient.run(&mut patient.command("true")).unwrap();
        assert!(patient.run(&mut patient.command("false")).is_err());
        assert!(patient.run(&mut patient.command("/nowhere/program")).is_err());
        let hasty = shop(1);
        let error = hasty.run(hasty.command("sleep").arg("50")).unwrap_err();
        assert_eq!(error.to_string(), "took too long: sleep 50");
    }
}
