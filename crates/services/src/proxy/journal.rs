//! What was served and refused: written before the answer leaves, told to the patient, signed.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{Address, B256, aliases::U48, keccak256};
use galen_chain::{Evidence, typed};
use galen_sdk::proxies::wire::{Report, ReportAsk, ReportEntry, report_counts};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Proxy, StoreError,
    limits::OpenRead,
    look::{Signer, clock, require_in_time},
    refusal::Refusal,
    rules::Cause,
    store::{Entry, Kind},
};

/// Seconds within which equal refusals are one line.
const FOLD: u64 = 3_600;

/// Different refusals of one patient that are kept within [`FOLD`].
const MAX_REFUSED: usize = 256;

/// Most lines of one report. Asked again from where it ends, it goes on.
const MAX_LINES: usize = 5_000;

/// Rows that are read for one report: one more than it can tell, so that it is noticed that there are more.
const MAX_ROWS: usize = MAX_LINES + 1;

/// Answers of the last day that limits are restored from.
const MAX_RESTORED: usize = 100_000;

/// What one request was answered with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServedRow {
    /// Under a consent that names nobody: what counts against the limits.
    pub(super) open: Option<OpenRead>,
    pub(super) entries: Vec<ReportEntry>,
}

/// Names of rows that no two answers share, also not those of two processes in the same second.
#[derive(Debug)]
pub(super) struct Names {
    started: u64,
    next: AtomicU64,
}

impl Names {
    pub(super) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let started = now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(0));
        Self { started, next: AtomicU64::new(0) }
    }

    fn key(&self, time: u64) -> Vec<u8> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        [time, self.started, next].iter().flat_map(|number| number.to_be_bytes()).collect()
    }
}

/// What limits start from.
pub(super) fn restore(
    store: &super::store::Store,
    since: u64,
) -> Result<Vec<OpenRead>, StoreError> {
    let rows = store.list(Kind::Served, None, since, MAX_RESTORED)?;
    let read = |text: &[u8]| {
        let row: ServedRow = serde_json::from_slice(text).map_err(|_| StoreError::Damaged)?;
        Ok(row.open)
    };
    rows.iter().filter_map(|text| read(text).transpose()).collect()
}

impl Proxy {
    /// Writes down what is about to be answered. The answer leaves only after this returned.
    pub(super) async fn journal_served(
        &self,
        patient: Address,
        row: &ServedRow,
    ) -> Result<(), Refusal> {
        let time = row.entries.first().map_or_else(clock, |entry| entry.time);
        let text = serde_json::to_vec(row).map_err(|_| Refusal::from(Cause::Internal))?;
        let (kind, key) = (Kind::Served, self.0.names.key(time));
        let text = Zeroizing::new(text);
        let entry = Entry { kind, key, owner: patient, time, text };
        self.in_store(move |store| store.put(&[entry])).await
    }

    /// Writes down that somebody who proved who they are was refused. Of patients that are known here only: a
    /// stranger's inventions do not fill the disk.
    pub(super) async fn journal_refused(
        &self,
        patient: Address,
        entries: Vec<ReportEntry>,
    ) -> Result<(), Refusal> {
        let known = self.holdings().of(patient).next().is_some();
        let Some(time) = entries.first().map(|entry| entry.time).filter(|_| known) else {
            return Ok(());
        };
        let hour = time - time % FOLD;
        let key = [patient.as_slice(), &hour.to_be_bytes()].concat();
        let _alone = self.0.refusing.lock().await;
        self.in_store(move |store| {
            let mut rows: Vec<ReportEntry> = match store.get(Kind::Refused, &key)? {
                Some(text) => serde_json::from_slice(&text).map_err(|_| StoreError::Damaged)?,
                None => Vec::new(),
            };
            entries.into_iter().for_each(|entry| fold(&mut rows, entry));
            let text = serde_json::to_vec(&rows).map_err(|_| StoreError::Damaged)?;
            let (kind, text) = (Kind::Refused, Zeroizing::new(text));
            // Found by the end of the hour, so that nothing of it is missed.
            let entry = Entry { kind, key, owner: patient, time: hour + FOLD, text };
            store.put(&[entry])
        })
        .await
    }

    /// What was served and refused for a patient, signed.
    pub(super) async fn report(&self, ask: ReportAsk) -> Result<Report, Refusal> {
        let (head, signer, own) = self
            .look(|view, head| (*head, Signer::of(view, ask.patient), Signer::of(view, self.id())))
            .await?;
        require_in_time(ask.deadline, &head)?;
        let message = typed::ReportRequest {
            patient: ask.patient,
            rotations: signer.rotations,
            since: U48::saturating_from(ask.since),
            deadline: U48::saturating_from(ask.deadline),
        };
        let ledger = self.0.galen.ledger().id();
        self.require_signed(signer, typed::digest(&message, ledger), &ask.signature).await?;
        self.count_id(ask.patient)?;

        let (patient, since) = (ask.patient, ask.since);
        let lines = self.in_store(move |store| lines(store, patient, since)).await?;
        let (lines, until) = cut(lines, clock());
        let (served, refused) = report_counts(&lines);
        let entries = serde_json::to_string(&lines).map_err(|_| Refusal::from(Cause::Internal))?;
        let message = typed::ProxyReport {
            proxy: self.id(),
            rotations: own.rotations,
            patient,
            since: U48::saturating_from(since),
            until: U48::saturating_from(until),
            served,
            refused,
            entries: keccak256(&entries),
        };
        let account = self.0.identity.account();
        let signature = account.sign(&message, ledger, Evidence::default()).await;
        let signature = signature.map_err(|error| {
            self.tell(&super::Entry::fault(&error));
            Refusal::new(Cause::Internal, "the report could not be signed")
        })?;
        Ok(Report { proxy: self.id(), patient, since, until, entries, signature })
    }
}

/// Adds a refusal to those of its hour.
fn fold(rows: &mut Vec<ReportEntry>, entry: ReportEntry) {
    let same = |row: &&mut ReportEntry| {
        (row.grantee, row.consent, row.record, &row.cause)
            == (entry.grantee, entry.consent, entry.record, &entry.cause)
    };
    let found = rows.iter_mut().find(same);
    let more = Some(Cause::Limit.as_str().to_owned());
    if let Some(row) = found {
        row.times = Some(row.times.unwrap_or(1) + 1);
    } else if rows.len() < MAX_REFUSED {
        rows.push(entry);
    } else if let Some(last) = rows.last_mut().filter(|last| last.grantee.is_zero()) {
        last.times = Some(last.times.unwrap_or(1) + 1);
    } else {
        // One line for all that does not fit.
        let (grantee, consent, record) = (Address::ZERO, B256::ZERO, B256::ZERO);
        rows.push(ReportEntry { grantee, consent, record, cause: more, ..entry });
    }
}

/// All lines about a patient from a time on, oldest first.
fn lines(
    store: &super::store::Store,
    patient: Address,
    since: u64,
) -> Result<Vec<ReportEntry>, StoreError> {
    let mut lines = Vec::new();
    for text in store.list(Kind::Served, Some(patient), since, MAX_ROWS)? {
        let row: ServedRow = serde_json::from_slice(&text).map_err(|_| StoreError::Damaged)?;
        lines.extend(row.entries);
    }
    for text in store.list(Kind::Refused, Some(patient), since, MAX_ROWS)? {
        let rows: Vec<ReportEntry> =
            serde_json::from_slice(&text).map_err(|_| StoreError::Damaged)?;
        lines.extend(rows);
    }
    lines.sort_by_key(|line| line.time);
    Ok(lines)
}

/// As many lines as a report has, and the second that it goes to. What comes after is told next time.
fn cut(mut lines: Vec<ReportEntry>, now: u64) -> (Vec<ReportEntry>, u64) {
    let Some(next) = lines.get(MAX_LINES).map(|line| line.time) else { return (lines, now) };
    // A second is told whole or not at all, unless it alone is too much.
    let whole = lines.iter().position(|line| line.time == next).unwrap_or(0);
    if whole > 0 {
        lines.truncate(whole);
        return (lines, next - 1);
    }
    lines.truncate(MAX_LINES);
    (lines, next)
}
