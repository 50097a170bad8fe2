//! What a proxy says of itself: log lines and counts. Ids, hashes, addresses and times; never a share, nor a
//! signature.

use std::{
    error::Error,
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use alloy_primitives::Address;
use galen_types::ConsentId;

use super::rules::Cause;

/// Characters of a fault in the log.
const MAX_WHY: usize = 300;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A request for keys was answered.
    Served {
        /// Pseudonym of the patient.
        patient: Address,
        /// Who read.
        grantee: Address,
        /// The consent.
        consent: ConsentId,
        /// How many records.
        records: usize,
        /// Whether the consent names nobody.
        network: bool,
        /// Whether it was break-glass.
        emergency: bool,
    },
    /// A request was not answered.
    Refused {
        /// Who called.
        caller: IpAddr,
        /// What for: `keys`, `shares`, …
        what: &'static str,
        /// Why not.
        cause: Cause,
        /// More words.
        detail: Option<&'static str>,
    },
    /// Shares were taken.
    Took {
        /// Pseudonym of the patient.
        patient: Address,
        /// The consent.
        consent: ConsentId,
        /// How many are held for it now.
        shares: usize,
    },
    /// A piece of a seed was taken.
    TookPiece {
        /// The id whose seed it is.
        id: Address,
    },
    /// A piece of a seed was given to who controls the id after a recovery.
    Released {
        /// The id.
        id: Address,
        /// Who controls it.
        controller: Address,
        /// How often it was given until now.
        times: usize,
    },
    /// Shares were deleted.
    Dropped {
        /// Pseudonym of the patient.
        patient: Address,
        /// The consent.
        consent: ConsentId,
        /// Why: `revoked`, `expired` or `never-live`.
        why: &'static str,
    },
    /// Chain, store or disk do not do what they should.
    Fault {
        /// What happened, without control characters.
        why: String,
    },
}

impl Entry {
    /// An error with its causes.
    pub(super) fn fault(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Fault { why: text.chars().filter(|c| !c.is_control()).take(MAX_WHY).collect() }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served { patient, grantee, consent, records, network, emergency } => {
                let how = match (network, emergency) {
                    (_, true) => " EMERGENCY",
                    (true, false) => " network",
                    (false, false) => "",
                };
                write!(
                    f,
                    "served{how} patient={patient:#x} grantee={grantee:#x} consent={consent} records={records}"
                )
            }
            Self::Refused { caller, what, cause, detail } => {
                write!(f, "refused {what} caller={caller} cause={}", cause.as_str())?;
                detail.map_or(Ok(()), |detail| write!(f, " detail=\"{detail}\""))
            }
            Self::Took { patient, consent, shares } => {
                write!(f, "took patient={patient:#x} consent={consent} shares={shares}")
            }
            Self::TookPiece { id } => write!(f, "took-piece id={id:#x}"),
            Self::Released { id, controller, times } => write!(
                f,
                "RELEASED a piece of the seed of id={id:#x} to controller={controller:#x} times={times}"
            ),
            Self::Dropped { patient, consent, why } => {
                write!(f, "dropped {why} patient={patient:#x} consent={consent}")
            }
            Self::Fault { why } => write!(f, "fault {why}"),
        }
    }
}

/// What was done since the process started.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) records: AtomicU64,
    pub(super) emergencies: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) released: AtomicU64,
    refused: [AtomicU64; Cause::ALL.len()],
    head: AtomicU64,
    head_time: AtomicU64,
}

impl Metrics {
    pub(super) fn saw(&self, head: u64, time: u64) {
        self.head.store(head, Ordering::Relaxed);
        self.head_time.store(time, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, cause: Cause) {
        let place = Cause::ALL.iter().position(|it| *it == cause);
        if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// In the text format of Prometheus, version 0.0.4.
    pub(super) fn text(&self, consents: usize) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused: String = Cause::ALL
            .iter()
            .zip(&self.refused)
            .map(|(cause, count)| {
                let (cause, count) = (cause.as_str(), read(count));
                format!("galen_proxy_refused_total{{cause=\"{cause}\"}} {count}\n")
            })
            .collect();
        let rows = [
            ("records_total", "counter", "Records answered for.", read(&self.records)),
            ("emergencies_total", "counter", "Answers for break-glass.", read(&self.emergencies)),
            ("taken_total", "counter", "Envelopes taken.", read(&self.taken)),
            (
                "dropped_total",
                "counter",
                "Consents whose shares were deleted.",
                read(&self.dropped),
            ),
            ("released_total", "counter", "Pieces of seeds given back.", read(&self.released)),
            ("consents", "gauge", "Consents that shares are held for.", consents as u64),
            ("head", "gauge", "Newest block that was looked at.", read(&self.head)),
            ("head_time_seconds", "gauge", "Its time.", read(&self.head_time)),
        ];
        let rows: String = rows
            .iter()
            .map(|(name, kind, help, value)| {
                format!(
                    "# HELP galen_proxy_{name} {help}\n# TYPE galen_proxy_{name} {kind}\n\
                     galen_proxy_{name} {value}\n"
                )
            })
            .collect();
        format!(
            "{rows}# HELP galen_proxy_refused_total Requests not answered, by cause.\n\
             # TYPE galen_proxy_refused_total counter\n{refused}"
        )
    }
}
