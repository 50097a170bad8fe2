//! `galen doctor`.

/// Look at everything that a profile needs, and say what to do.
///
/// Exits 0 if nothing is wrong, else with the code of the gravest finding: 5 if something does not match,
/// 6 if something does not answer, 2 for the rest. Warnings do not change the exit code.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  galen doctor\n  galen doctor --json | jq '.findings[] | select(.state != \"ok\")'\n\n\
    Text output: `ok`, `warning` or `error`, what was looked at, what was found, what to do; separated by \
    tabs. JSON: findings with state, check, found, help."
)]
pub(crate) struct DoctorArgs {}
