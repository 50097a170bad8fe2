//! `galen custodian`.

use clap::Args;

use crate::when::Lifetime;

/// Seal content anew after it was read, as the patient's agent or the author's.
///
/// Once the window of a read is over, the record gets a new data key and a new address: it is sealed under the
/// patient's current keys, sent to where its category says, read back, checked, and announced with one signature for
/// up to 64 records. Old content stays until that is final and every read that was logged before it is over; then each
/// store is asked to let go of it.
///
/// A patient's custodian sees to the patient's own chart. What lies under older keys (`galen consent rotate`) moves by
/// and by, without a read. An organization's sees to what the organization wrote, in the chart of each patient who has
/// introduced themselves, one after the other. It cannot open what it sealed to a patient, so it seals anew from a
/// sealed copy of its own, and it waits one window longer, so that the patient's custodian goes first.
///
/// Each step is written down first. Whatever ends the program, the next run goes on; the last good copy is never
/// given up. Run one for each profile, all the time: in a terminal, or as a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen custodian\n  \
    galen custodian --once --json\n\n\
    Examples of an organization:\n  \
    galen custodian --yes --password-file ./password --window 2h --every 5m\n  \
    galen custodian --once --patient anna --patient mrn:12345\n\n\
    The window must not be shorter than that of the proxies. A record that is read again and again is sealed anew \
    after four windows. It asks once before it signs anything; --yes answers.\n\n\
    Text output, separated by tabs: `resealed`, record id, old address, new address; `released` or `left`, record id, \
    old address, and for the second the stores that did not let go, which are asked again; `dropped`, address: new \
    content that was not needed any more; `uncopied`, record id: it was read, and this organization has no copy of it; \
    `failed`, record id or - for a whole chart, cause. For an organization the patient is last, but for `dropped`. \
    JSON: one object on one line for each pass that did something, with --once one for all passes: time, resealed (record, \
    before, after), released (record, content), left (record, content, places), dropped, waiting (old contents whose \
    time has not come), uncopied (record), forgotten (copies of versions that never will count, removed), failed \
    (record, error, kind, and for a whole chart help), sent; for an organization each row has its patient (id, name).\n\n\
    What fails in one chart does not keep the custodian from the others. With --once it exits with the code of the \
    gravest failure. Ctrl-C ends it.")]
pub(crate) struct CustodianArgs {
    /// One pass over each chart, then end.
    #[arg(long)]
    pub(crate) once: bool,
    /// How long after a read its reader may come for the content, such as 1h.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) window: Lifetime,
    /// Between two passes. After a pass that met a failure the time doubles for that chart, up to an hour.
    #[arg(long, value_name = "TIME", default_value = "1m", conflicts_with = "once")]
    pub(crate) every: Lifetime,
    /// Most records that one pass moves to the current keys though nobody read them. Patients only.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) moves: usize,
    /// Only this patient, for an organization. May be given more than once.
    #[arg(long = "patient", value_name = "PATIENT")]
    pub(crate) patients: Vec<String>,
}
