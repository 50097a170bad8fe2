//! `galen completions` and `galen man`.

use std::path::PathBuf;

use clap_complete::Shell;

#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  galen completions bash >~/.local/share/bash-completion/completions/galen\n  \
    galen completions zsh >~/.zfunc/_galen"
)]
pub(crate) struct CompletionsArgs {
    /// bash, elvish, fish, powershell or zsh.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  galen man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Directory, which is made if it is not there.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
