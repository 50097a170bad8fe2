//! `galen doctor`: what is set, reachable, out of date or unsafe, and what to do about it.

mod custodian;
mod guardians;
mod proxies;
mod stores;

use std::{path::Path, process::ExitCode};

use alloy::providers::Provider;
use alloy_primitives::utils::format_ether;
use galen_types::ErrorKind;
use serde::Serialize;

use crate::{
    args::Globals,
    commands::block_on,
    connect,
    contacts::unix_now,
    error::CliError,
    home::open_to_others,
    profile::Profile,
    session::Session,
    settings::{Settings, shown_url},
    site::Site,
    ui::Ui,
    unlock::read_password_file,
    wallet,
};

/// Seconds that the newest block may be away from this machine's clock.
const MAX_SKEW: u64 = 600;

/// Seconds after which a backup is old.
const MAX_BACKUP_AGE: u64 = 90 * 24 * 3_600;

/// A wallet with less than this, in wei, cannot pay for much: about 100 settlements at 1 gwei.
const LOW_BALANCE: u64 = 5_000_000_000_000_000;

pub(crate) fn run(globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut report = Report::default();
    block_on(async {
        examine(globals, ui, &mut report).await;
        Ok(())
    })?;
    report.print(ui)?;
    Ok(ExitCode::from(report.worst.map_or(0, ErrorKind::exit_code)))
}

/// The result of `galen doctor --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
    #[serde(skip)]
    worst: Option<ErrorKind>,
}

#[derive(Debug, Serialize)]
struct Finding {
    state: &'static str,
    check: &'static str,
    found: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    help: String,
}

impl Report {
    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.push("ok", check, found.into(), String::new());
    }

    fn warn(&mut self, check: &'static str, found: impl Into<String>, help: &str) {
        self.push("warning", check, found.into(), help.to_owned());
    }

    fn error(&mut self, check: &'static str, error: &CliError) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let found = format!("{error}{}", cause.unwrap_or_default());
        self.push("error", check, found, error.help().to_owned());
        let gravity = |kind: ErrorKind| match kind {
            ErrorKind::Integrity => 3,
            ErrorKind::Unavailable => 2,
            _ => 1,
        };
        let kind = error.kind();
        if self.worst.is_none_or(|worst| gravity(kind) > gravity(worst)) {
            self.worst = Some(kind);
        }
    }

    fn push(&mut self, state: &'static str, check: &'static str, found: String, help: String) {
        self.findings.push(Finding { state, check, found, help });
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        self.findings.iter().try_for_each(|Finding { state, check, found, help }| {
            ui.line(&format!("{state}\t{check}\t{found}\t{help}"))
        })
    }
}

async fn examine(globals: &Globals, ui: &Ui, report: &mut Report) {
    let settings = match Settings::resolve(globals) {
        Ok(settings) => settings,
        Err(error) => return report.error("settings", &error),
    };
    report.ok("home", settings.home.value.root().display().to_string());
    let profile = match settings.require_profile() {
        Ok(profile) => profile,
        Err(error) => return report.error("profile", &error),
    };
    let name = &settings.profile.value;
    report.ok("profile", format!("{name}: {} {:#x}", profile.role, profile.id));
    files(&settings, report);
    backup(profile, report);
    site(&settings, report);
    stores::examine(&settings, ui, report).await;
    let network = match settings.require_network() {
        Ok((name, network)) => {
            let id = network.id();
            report.ok("network", format!("{name}: {id}"));
            network.clone()
        }
        Err(error) => return report.error("network", &error),
    };
    if settings.allow_plain_http.value {
        report.warn(
            "plain_http",
            "nodes and relays on other machines are spoken to without encryption",
            "right only inside a VPN; `galen network add NAME --allow-plain-http=false` takes it back",
        );
    }
    if !chain(&settings, &network, report).await {
        return;
    }
    payer(&settings, &network, profile, report).await;
    keys(globals, ui, report).await;
}

fn files(settings: &Settings, report: &mut Report) {
    let home = &settings.home.value;
    let place = home.profile(&settings.profile.value);
    let private = [
        home.root().to_owned(),
        home.networks(),
        home.keystores(),
        place.path().to_owned(),
        place.settings(),
        place.seed(),
        place.book(),
    ];
    let open: Vec<_> =
        private.iter().filter(|path| path.exists() && open_to_others(path).is_some()).collect();
    for path in &open {
        let help = format!("chmod go-rwx {}", path.display());
        report.warn("permissions", format!("others can read {}", path.display()), &help);
    }
    if open.is_empty() {
        report.ok("permissions", "only you can read the folder");
    }
    if let Some(file) = &settings.password_file {
        match read_password_file(&file.value) {
            Ok(_) => report.ok("password_file", file.value.display().to_string()),
            Err(error) => report.error("password_file", &error),
        }
    }
    keystore(&place.seed(), "seed", report);
    match wallet::locate(settings) {
        Ok(path) => keystore(&path, "wallet", report),
        Err(error) => report.error("wallet", &error),
    }
}

fn site(settings: &Settings, report: &mut Report) {
    let Some(file) = &settings.site else { return };
    match Site::read(settings) {
        Ok(site) => report.ok("site", format!("{}: {}", file.value.display(), site.summary())),
        Err(error) => report.error("site", &error),
    }
}

fn keystore(path: &Path, check: &'static str, report: &mut Report) {
    match crate::unlock::read_keystore(path) {
        Ok(keystore) if keystore.is_costly() => report.ok(check, path.display().to_string()),
        Ok(_) => report.warn(
            check,
            format!("{} is cheap to guess: its cost is below scrypt N = 2^17", path.display()),
            "`galen wallet import NAME --from FILE` keeps the key under a higher cost",
        ),
        Err(error) => report.error(check, &error),
    }
}

fn backup(profile: &Profile, report: &mut Report) {
    let help = "galen wallet backup --out FILE, and keep the file elsewhere";
    match profile.backed_up.map(|at| unix_now().saturating_sub(at)) {
        None => report.warn("backup", "there is none", help),
        Some(age) if age > MAX_BACKUP_AGE => {
            report.warn("backup", format!("{} days old", age / 86_400), help);
        }
        Some(age) => report.ok("backup", format!("{} days old", age / 86_400)),
    }
}

/// Whether node, chain and code are as they must be.
async fn chain(
    settings: &Settings,
    network: &crate::networks::Network,
    report: &mut Report,
) -> bool {
    let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.clone()).unwrap_or_default();
    let shown: Vec<_> = urls.iter().map(|url| shown_url(url)).collect();
    let ledger = match connect::node(settings, &urls, Some(network.chain_id)) {
        Ok(node) => connect::ledger(&node, network).await,
        Err(error) => Err(error),
    };
    let ledger = match ledger {
        Ok(ledger) => ledger,
        Err(error) => {
            report.error("node", &error);
            return false;
        }
    };
    report.ok("node", shown.join(" "));
    report.ok("contract", format!("{:#x} has the code of the address book", network.ledger));
    match ledger.now().await {
        Ok(time) if time.abs_diff(unix_now()) > MAX_SKEW => report.warn(
            "clock",
            format!(
                "the newest block is {} s away from this machine's clock",
                time.abs_diff(unix_now())
            ),
            "check the clock; if it is right, the node lags or the chain stands still",
        ),
        Ok(_) => report.ok("clock", "agrees with the newest block"),
        Err(source) => {
            report.error("clock", &CliError::Chain { doing: "read the newest block", source });
        }
    }
    true
}

async fn payer(
    settings: &Settings,
    network: &crate::networks::Network,
    profile: &Profile,
    report: &mut Report,
) {
    if let Some(relay) = &settings.relay.value {
        return report.ok("payer", format!("the relay {}", shown_url(relay)));
    }
    let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.clone()).unwrap_or_default();
    let Ok(node) = connect::node(settings, &urls, Some(network.chain_id)) else { return };
    let address = profile.payer();
    match node.get_balance(address).await {
        Ok(balance) if balance < alloy_primitives::U256::from(LOW_BALANCE) => report.warn(
            "payer",
            format!("{address:#x} has {} {}", format_ether(balance), network.currency),
            "send it some, or use a relay: --relay URL",
        ),
        Ok(balance) => {
            let amount = format_ether(balance);
            report.ok("payer", format!("{address:#x} has {amount} {}", network.currency));
        }
        Err(error) => report.error(
            "payer",
            &CliError::Chain { doing: "ask for the balance", source: error.into() },
        ),
    }
}

/// Opens the profile as every command does: password, store, history.
async fn keys(globals: &Globals, ui: &Ui, report: &mut Report) {
    let session = match Session::open(globals, ui).await {
        Ok(session) => session,
        Err(error) => return report.error("unlock", &error),
    };
    report.ok("unlock", "the password opens the seed, the book can be read");
    match session.published_bundle().await {
        Ok(Some(_)) => report.ok("keys", "published, and in the store"),
        Ok(None) => {
            report.warn("keys", "not published", "galen init publishes them; run it again");
        }
        Err(error) => report.error("keys", &error),
    }
    proxies::examine(&session, report).await;
    guardians::examine(&session, report).await;
    custodian::examine(&session, report);
    match session.payer().pending().await {
        Ok(pending) if pending.is_empty() => report.ok("transactions", "none waits"),
        Ok(pending) => report.warn(
            "transactions",
            format!("{} of this wallet wait for a block", pending.len()),
            "the next command that pays sends them again, with a higher fee if they are stuck",
        ),
        Err(source) => {
            report.error("transactions", &CliError::Chain { doing: "read the queue", source });
        }
    }
}
