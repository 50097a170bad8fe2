//! `galen custodian`.

use clap::Args;

use crate::when::Lifetime;

/// Seal content anew after it was read, as the patient's agent.
///
/// Once the window of a read is over, the record gets a new data key and a new address: it is sealed under the
/// current keys, sent to where its category says, read back, opened, and announced with one signature for up to 64
/// records. Old content stays until that is final and every read that was logged before it is over; then each store
/// is asked to let go of it. What lies under older keys (`galen consent rotate`) moves by and by, without a read.
///
/// Each step is written down first. Whatever ends the program, the next run goes on; the last good copy is never
/// given up. Run one for each profile, all the time: in a terminal, or as a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen custodian\n  \
    galen custodian --once --json\n  \
    galen custodian --yes --password-file ./password --window 2h --every 5m\n\n\
    The window must not be shorter than that of the proxies. A record that is read again and again is sealed anew \
    after four windows. It asks once before it signs anything; --yes answers.\n\n\
    Text output, separated by tabs: `resealed`, record id, old address, new address; `released` or `left`, record id, \
    old address, and for the second the stores that did not let go, which are asked again; `dropped`, address: new \
    content that was not needed any more; `failed`, record id, cause. JSON: one object on one line for each pass that \
    did something, with --once for the pass: time, resealed (record, before, after), released (record, content), left \
    (record, content, places), dropped, waiting (old contents whose time has not come), failed (record, error, kind), \
    sent.\n\n\
    With --once it exits with the code of the gravest failure. Ctrl-C ends it.")]
pub(crate) struct CustodianArgs {
    /// One pass, then end.
    #[arg(long)]
    pub(crate) once: bool,
    /// How long after a read its reader may come for the content, such as 1h.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) window: Lifetime,
    /// Between two passes. After a pass that met a failure the time doubles, up to an hour.
    #[arg(long, value_name = "TIME", default_value = "1m", conflicts_with = "once")]
    pub(crate) every: Lifetime,
    /// Most records that one pass moves to the current keys though nobody read them.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) moves: usize,
}
