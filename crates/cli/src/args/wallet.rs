//! `galen wallet`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Make a key and keep it under a password.
    #[command(after_help = "Examples:\n  galen wallet new payer\n  \
        galen wallet new payer --password-file payer.pass --json\n\n\
        The file is a V3 keystore: `cast wallet address --keystore FILE` reads it.\n\n\
        Text output: name, address, file; separated by tabs.")]
    New(NewWalletArgs),
    /// Keep a key that exists: typed, from a mnemonic, or from a keystore of another program.
    #[command(
        after_help = "Examples:\n  galen wallet import payer                        the key is asked\n  \
        galen wallet import me --mnemonic --mnemonic-index 1\n  \
        galen wallet import old --from UTC--2024-01-01--abcd\n\n\
        Text output: name, address, file; separated by tabs."
    )]
    Import(ImportWalletArgs),
    /// List the wallets in Galen's folder and in cast's.
    #[command(after_help = "Examples:\n  galen wallet list\n\n\
        Text output: name, address or `-`, file; separated by tabs.")]
    List,
    /// Write everything of the profile into one encrypted file, or show the seed as words.
    #[command(after_help = "Examples:\n  galen wallet backup --out st-anna.backup\n  \
        galen wallet backup --words          at a terminal only: 24 words to write on paper\n\n\
        The file holds wallet, seed, settings, network and private book. Keep it apart from its passphrase.\n\n\
        Text output: the file.")]
    Backup(BackupArgs),
    /// Bring a profile back from the file of `galen wallet backup`.
    #[command(after_help = "Examples:\n  galen wallet restore st-anna.backup\n  \
        galen wallet restore st-anna.backup --profile st-anna\n\n\
        Text output: profile, id; separated by tabs.")]
    Restore(RestoreArgs),
    /// Sign a request from another machine, as an owner of a contract wallet.
    #[command(
        after_help = "Examples:\n  galen wallet sign request.txt\n  galen wallet sign - <request.txt\n\n\
        It is explained and asked like every signature.\n\nText output: the line of the signature."
    )]
    Sign(SignArgs),
    /// Keep the private book in the content store, so that wallet and seed words bring it back.
    ///
    /// For patients and readers this happens by itself after each change.
    #[command(
        after_help = "Examples:\n  galen wallet archive\n\nText output: `archived` or `unchanged`."
    )]
    Archive,
    /// Hand the profile's id to another wallet: the old one signs for it no more.
    ///
    /// Everything that the old wallet signed and that has not landed is void. The seed stays, and so does
    /// everything that was sealed. With guardians set, the change waits as long as they said.
    #[command(
        after_help = "Examples:\n  galen wallet new second\n  galen wallet rotate --to second\n\n\
        The wallet that pays must have coins, or a relay pays. If the command was cut off, give it again.\n\n\
        Text output: id, `rotated` or `waiting`, wallet, its address; separated by tabs."
    )]
    Rotate(RotateArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RotateArgs {
    /// Name of the new wallet.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NewWalletArgs {
    /// Name of the wallet.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Accept a weak password.
    #[arg(long)]
    pub(crate) weak: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ImportWalletArgs {
    /// Name of the wallet.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Type the words of a BIP-39 mnemonic instead of a key.
    #[arg(long, conflicts_with = "from")]
    pub(crate) mnemonic: bool,
    /// Account of the mnemonic: m/44'/60'/0'/0/INDEX.
    #[arg(long, value_name = "INDEX", default_value_t = 0, requires = "mnemonic")]
    pub(crate) mnemonic_index: u32,
    /// Keystore of another program; its password is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Private file with the key or the words; without it they are asked.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Accept a weak password.
    #[arg(long)]
    pub(crate) weak: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE", required_unless_present = "words")]
    pub(crate) out: Option<PathBuf>,
    /// Show the seed as 24 words, at a terminal only.
    #[arg(long, conflicts_with = "out")]
    pub(crate) words: bool,
    /// Private file with the passphrase of the backup; without it it is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Accept a weak passphrase.
    #[arg(long)]
    pub(crate) weak: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// File of `galen wallet backup`.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Private file with the passphrase of the backup; without it it is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// File, PNG, line that begins with galen:sign:, or `-` for standard input.
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
}
