//! `galen config`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting and where it came from.
    ///
    /// A setting is a flag, else the environment, else the profile's file, else the address book of networks or
    /// a default. URLs are shown without user, password, path and query, which may be secret.
    #[command(
        after_help = "Examples:\n  galen config show\n  galen config show --profile st-anna --json\n\n\
        Text output: setting, value, origin; separated by tabs. JSON: an object `settings` with \
        `value` and `origin` by setting; a value that is not set is null."
    )]
    Show,
}
