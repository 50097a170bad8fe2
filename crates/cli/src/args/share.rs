//! `galen share`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use crate::when::Lifetime;

/// Share records with people who do not have Galen, as a SMART Health Link: text or a QR code.
///
/// The files are encrypted with a key that is in the link alone. Other programs that read SMART Health Links
/// open it. Such a read is not logged on chain, and what somebody has opened cannot be taken back.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    galen share 0x91b03c7e --label 'Blood tests' --base-url https://me.example/l --ask-passcode --png link.png\n  \
    galen share serve --base-url https://me.example/l\n  \
    galen share --file summary.json --base-url https://files.example/me --out ./upload\n\n\
    Without --out the files wait in the profile's folder for `galen share serve`, which answers at the base URL and \
    sees to passcode, end and --once. With --out they are for any HTTPS host: upload the folder to the base URL. \
    Such a host sees to nothing, so whoever has the link reads until the file is deleted there.\n\n\
    Text output: the link, alone on standard output, unless --link-out is given. Whoever has it can read. JSON: id, \
    link, url, files, resources, bytes, expires, passcode, once, file."
)]
pub(crate) struct ShareArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ShareCommand>,
    #[command(flatten)]
    pub(crate) new: ShareNewArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShareNewArgs {
    /// Records of the own chart. Several become one Bundle, each resource byte for byte.
    #[arg(value_name = "RECORD")]
    pub(crate) records: Vec<String>,
    /// The chart as an International Patient Summary: medication, problems, allergies, immunizations.
    #[arg(long, conflicts_with_all = ["records", "file"])]
    pub(crate) ips: bool,
    /// A file instead: FHIR in JSON, a presentation of `galen record extract`, or SMART Health Cards.
    #[arg(long, value_name = "FILE", conflicts_with = "records")]
    pub(crate) file: Option<PathBuf>,
    /// Where readers reach the files, without the name that is put behind it.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Write the encrypted file into this folder, for any HTTPS host.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["once", "ask_passcode", "passcode_file"])]
    pub(crate) out: Option<PathBuf>,
    /// What it is, in at most 80 characters. Readers see it before they open anything.
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// How long the link is answered, such as 12h or 7d.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) expires: Lifetime,
    /// Ask for a passcode that readers must know.
    #[arg(long)]
    pub(crate) ask_passcode: bool,
    /// File that holds the passcode, readable by you alone.
    #[arg(long, value_name = "FILE", conflicts_with = "ask_passcode")]
    pub(crate) passcode_file: Option<PathBuf>,
    /// Wrong passcodes until the link is dead.
    #[arg(long, value_name = "N", default_value_t = galen_services::share::DEFAULT_ATTEMPTS,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) attempts: u32,
    /// Answer one reader, once. The server sees to it.
    #[arg(long)]
    pub(crate) once: bool,
    /// Put the address of a viewer before the link, for people who open it in a browser.
    #[arg(long, value_name = "URL")]
    pub(crate) viewer: Option<String>,
    /// Write the link to a file that only you can read.
    #[arg(long, value_name = "FILE")]
    pub(crate) link_out: Option<PathBuf>,
    /// Show it as a QR code on the terminal (stderr).
    #[arg(long)]
    pub(crate) qr: bool,
    /// Write it as a QR code in a PNG.
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<PathBuf>,
    /// Write it as a QR code in an SVG.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShareCommand {
    Serve(ShareServeArgs),
    List(ShareListArgs),
    Stop(ShareStopArgs),
    Open(ShareOpenArgs),
}

/// Answer the links of this profile.
///
/// The server holds ciphertext and hashes of passcodes alone. Put a reverse proxy with TLS before it, which passes
/// what is behind the base URL on to the root here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen share serve --base-url https://me.example/l\n  \
    galen share serve --listen 127.0.0.1:0 --json\n\n\
    The log on stderr has time, what was done, the beginning of the link's id and what the reader called itself. With \
    --json one object on one line (url, folder) says that it answers; nothing follows it. Ctrl-C ends it. Counts \
    are on disk before they are answered, so it may be killed at any time.")]
pub(crate) struct ShareServeArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8601")]
    pub(crate) listen: SocketAddr,
    /// How readers reach it from outside [default: the address that it listens on]
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
}

/// List the links that this profile serves, or who opened one of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen share list\n  galen share list 3Kfdg-Xw\n\n\
    Text output, separated by tabs: beginning of the id, state (active, expired, used, locked, stopped), made, end, \
    files, `passcode` or `-`, `once` or `-`, how often opened, passcodes left to try, label. With an id: time, \
    `opened` or `tried`, reader. Links written with --out are not listed: nobody counts them.")]
pub(crate) struct ShareListArgs {
    /// The beginning of a link's id, 8 characters or more.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
}

/// Stop links of this profile and delete their files here. Who has opened one keeps what it read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen share stop 3Kfdg-Xw\n\n\
    Text output, separated by tabs: beginning of the id, `stopped`.")]
pub(crate) struct ShareStopArgs {
    /// The beginning of a link's id, 8 characters or more.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
}

/// Open somebody's SMART Health Link and write what is behind it into a folder.
///
/// Nobody vouches for what the files say unless they are signed: `galen fhir card` and `galen verify` check that.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen share open link.png --out ./from-anna --passcode-file ./code\n  \
    galen share open - --recipient 'Dr. Weiss, St. Anna' --out ./from-anna <link.txt\n\n\
    A link holds the key: as an argument it stays in the history of the shell, so a file is better. Fetched over \
    https alone (http on this machine), without redirects, 64 MiB at most.\n\n\
    Text output, separated by tabs: file, media type, bytes, `fhir`, `card`, `presentation` or `other`."
)]
pub(crate) struct ShareOpenArgs {
    /// A file, a PNG with the QR code, the link itself, or `-` for standard input.
    #[arg(value_name = "LINK|FILE")]
    pub(crate) link: String,
    /// Folder for the files, which only you can read.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Who you are, for the eyes of who shares.
    #[arg(long, value_name = "TEXT", default_value = "somebody with Galen")]
    pub(crate) recipient: String,
    /// File that holds the passcode, readable by you alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) passcode_file: Option<PathBuf>,
    /// Ask for the passcode.
    #[arg(long, conflicts_with = "passcode_file")]
    pub(crate) ask_passcode: bool,
}
