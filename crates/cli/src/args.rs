//! The command line: one file for each noun.

mod access;
mod audit;
mod card;
mod chart;
mod config;
mod consent;
mod consent_fhir;
mod contact;
mod content;
mod custodian;
mod demo;
mod deploy;
mod dev;
mod doctor;
mod fhir;
mod grant;
mod guardian;
mod init;
mod network;
mod proxy;
mod record;
mod recovery;
mod relay;
mod request;
mod share;
mod shell;
mod verify;
mod wallet;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

pub(crate) use self::{
    access::{AccessArgs, AccessCommand, AccessLogArgs},
    audit::AuditArgs,
    card::{CardFilesArgs, IssuerArgs},
    chart::ChartArgs,
    config::ConfigCommand,
    consent::{ConsentCommand, ConsentGrantArgs, ConsentRevokeArgs, ConsentRotateArgs},
    consent_fhir::{ConsentExportArgs, ConsentImportArgs, ConsentScopesArgs, FlavourArg},
    contact::{AddContactArgs, CardArgs, ContactCommand, IntroduceArgs},
    content::{
        ContentCheckArgs, ContentCommand, ContentCopyArgs, ContentListArgs, ContentPruneArgs,
    },
    custodian::CustodianArgs,
    demo::DemoArgs,
    deploy::DeployArgs,
    dev::{DevArgs, DevCommand},
    doctor::DoctorArgs,
    fhir::{ExportArgs, ExportKind, FhirCommand, PullArgs, PushArgs, ServerArgs},
    grant::{GrantAddArgs, GrantCommand, GrantFetchArgs},
    guardian::{
        GuardianAcceptArgs, GuardianApproveArgs, GuardianCommand, GuardianGiveArgs,
        GuardianPiecesArgs, GuardianSetArgs,
    },
    init::{InitArgs, role},
    network::{AddNetworkArgs, NetworkCommand},
    proxy::{
        ProxyAddArgs, ProxyCommand, ProxyRemoveArgs, ProxyReportArgs, ProxyServeArgs,
        ProxyStatusArgs,
    },
    record::{
        AcceptArgs, AmendArgs, CorrectArgs, CosignArgs, EraseArgs, ExtractArgs, GetArgs, InboxArgs,
        ListArgs, ProposeArgs, RecordCommand, RejectArgs, RepliesArgs, ResealArgs, RetractArgs,
        ShowArgs, SignArgs, StateFilter, WithdrawArgs, WordsArgs,
    },
    recovery::{
        RecoveryAskArgs, RecoveryCommand, RecoveryFinishArgs, RecoveryPiecesArgs,
        RecoveryRestoreArgs, RecoveryStartArgs, RecoveryStatusArgs,
    },
    relay::RelayArgs,
    request::{RequestCommand, RequestGrantArgs, RequestRefuseArgs, RequestSendArgs},
    share::{
        ShareArgs, ShareCommand, ShareListArgs, ShareNewArgs, ShareOpenArgs, ShareServeArgs,
        ShareStopArgs,
    },
    shell::{CompletionsArgs, ManArgs},
    verify::VerifyArgs,
    wallet::{BackupArgs, ImportWalletArgs, RestoreArgs, RotateArgs, WalletCommand},
};

/// Longest time that `--timeout` may ask for.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Patient-held health records on any EVM chain.
#[derive(Debug, Parser)]
#[command(name = "galen", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 success, 1 a bug here, 2 the request is wrong, 3 not found, \
    4 denied, 5 a hash, tag or signature does not match, 6 unavailable, 7 stale, 8 declined."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes. Each setting is a flag, else the environment, else the profile, else a default.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Globals {
    /// Print one JSON object on stdout instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No status and no progress on stderr.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Answer every question with yes; needed where there is no terminal.
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
    /// Who acts: a person or organization set up by `galen init` [env: GALEN_PROFILE] [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Where profiles, keystores and networks lie [env: GALEN_HOME] [default: ~/.galen]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Rules of the site for its documents [env: GALEN_SITE] [default: site.toml beside the profile]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) site: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Where the network is and who signs. The profile holds these after `galen init`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Network of the address book (`galen network list`).
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// JSON-RPC of a node; commas separate several, of which the next is asked when one fails [env: ETH_RPC_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) rpc_url: Option<String>,
    /// Relay that pays the gas; `none` to pay from the wallet.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) relay: Option<String>,
    /// Where content is kept and read from; commas separate several, the first gives the address.
    ///
    /// A name of [stores.NAME] in profile.toml, `local`, `swarm`, `ipfs`, a path with a slash, or KIND:URL with kind
    /// swarm, ipfs, swarm-gateway, ipfs-gateway or folder (the last three are only read from); `+` joins URLs that
    /// stand for each other.
    #[arg(long, global = true, value_name = "LIST")]
    pub(crate) store: Option<String>,
    /// Keystore by name, in Galen's folder or in cast's.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Keystore by path.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "account")]
    pub(crate) keystore: Option<PathBuf>,
    /// File that holds the password of seed and wallet [env: ETH_PASSWORD]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Contract wallet: where lines of owners on other machines appear, a file or a folder.
    ///
    /// It is looked at until enough have signed or --timeout is over. Each run asks for new signatures.
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) signatures: Option<PathBuf>,
    /// Contract wallet: write each request for owners on other machines into this file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) request_out: Option<PathBuf>,
    /// Seconds to wait for a node, a relay, a transaction or an owner [default: 90]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set up a profile: wallet, seed, network; publish its keys.
    Init(InitArgs),
    /// Keys that sign and pay; backups.
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// People and organizations one knows.
    #[command(subcommand)]
    Contact(ContactCommand),
    /// The address book of networks.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Deploy the contracts and remember where.
    Deploy(DeployArgs),
    Doctor(DoctorArgs),
    /// Look at settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the whole life of a patient's records on an embedded chain and store.
    Demo(DemoArgs),
    Dev(DevArgs),
    /// Look at FHIR documents.
    #[command(subcommand)]
    Fhir(FhirCommand),
    #[command(subcommand)]
    Record(RecordCommand),
    #[command(subcommand)]
    Content(ContentCommand),
    #[command(subcommand)]
    Consent(ConsentCommand),
    #[command(subcommand)]
    Request(RequestCommand),
    #[command(subcommand)]
    Grant(GrantCommand),
    #[command(subcommand)]
    Guardian(GuardianCommand),
    #[command(subcommand)]
    Recovery(RecoveryCommand),
    Access(AccessArgs),
    Audit(AuditArgs),
    Chart(ChartArgs),
    Verify(VerifyArgs),
    Custodian(CustodianArgs),
    Relay(RelayArgs),
    #[command(subcommand)]
    Proxy(ProxyCommand),
    Share(ShareArgs),
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// Write man pages into a directory.
    Man(ManArgs),
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=MAX_TIMEOUT.as_secs()).contains(seconds));
    let range = || format!("expected whole seconds from 1 to {}", MAX_TIMEOUT.as_secs());
    seconds.map(Duration::from_secs).ok_or_else(range)
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, CommandFactory as _};

    use super::*;

    /// Every command that does something, with its words.
    fn leaves(command: &clap::Command, words: &[String], found: &mut Vec<(String, clap::Command)>) {
        let children: Vec<_> =
            command.get_subcommands().filter(|it| it.get_name() != "help").collect();
        if children.is_empty() || !command.is_subcommand_required_set() {
            found.push((words.join(" "), command.clone()));
        }
        for child in children {
            leaves(child, &[words, &[child.get_name().to_owned()]].concat(), found);
        }
    }

    fn tree() -> Vec<(String, clap::Command)> {
        let mut command = Cli::command();
        command.build();
        let mut found = Vec::new();
        leaves(&command, &["galen".to_owned()], &mut found);
        found
    }

    #[test]
    fn every_command_has_examples_and_says_what_comes_out() {
        // A daemon, files, or a table of its own.
        const ELSEWHERE: [&str; 7] = [
            "galen dev",
            "galen demo",
            "galen relay",
            "galen completions",
            "galen man",
            "galen contact remove",
            "galen network remove",
        ];
        let leaves = tree();
        assert!(leaves.len() > 40, "{} commands", leaves.len());
        for (words, mut command) in leaves {
            let help = command.render_long_help().to_string();
            let example = format!("\n  {words}");
            assert!(help.contains("Examples:") && help.contains(&example), "{words}: {help}");
            let output = ["Text output", "standard output", "JSON", "--json"];
            let told = output.iter().any(|text| command_text(&command).contains(text));
            assert!(
                told || ELSEWHERE.contains(&words.as_str()),
                "{words} says nothing of its output"
            );
            assert!(command.get_about().is_some(), "{words} is not described");
        }
    }

    /// What is said behind the arguments, where the flag `--json` of all commands does not count.
    fn command_text(command: &clap::Command) -> String {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        after + &about
    }

    /// A secret in an argument is in the history of the shell and in every list of processes.
    #[test]
    fn no_argument_takes_a_secret_itself() {
        for (words, command) in tree() {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str().replace('-', "_");
                let long = argument.get_long().unwrap_or_default().replace('-', "_");
                let names = format!("{id} {long}");
                let secret =
                    ["password", "passphrase", "secret", "mnemonic", "private", "seed", "key"];
                let sounds =
                    secret.iter().any(|word| names.split([' ', '_']).any(|it| it == *word));
                let value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
                if !sounds || !value || id == "mnemonic_index" {
                    continue;
                }
                let file = argument.get_value_names().is_some_and(|names| names == ["FILE"]);
                assert!(file && names.contains("file"), "{words} takes {names} as a value");
            }
        }
    }

    #[test]
    fn every_argument_is_described() {
        for (words, command) in tree() {
            for argument in command.get_arguments() {
                let described =
                    argument.get_help().is_some_and(|help| !help.to_string().is_empty());
                assert!(described, "{words}: {} is not described", argument.get_id());
            }
        }
    }
}
