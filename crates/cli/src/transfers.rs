//! How far bytes are on their way to and from places: a bar for each at a terminal, else a line now and then.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use galen_storage::{Progress, Transfer, Way};
use galen_types::ContentRef;
use indicatif::ProgressBar;

use crate::ui::Ui;

/// What is over sooner is not worth a bar.
const BAR_AFTER: Duration = Duration::from_millis(700);

/// Between two lines where there is no terminal, and before the first.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How far back the rate looks.
const RATE_WINDOW: Duration = Duration::from_secs(15);

/// Between two points of the rate.
const RATE_STEP: Duration = Duration::from_millis(500);

/// Tells the person how far transfers are.
pub(crate) fn told_by(ui: &Ui) -> Progress {
    let (ui, lanes) = (ui.clone(), Arc::new(Mutex::new(BTreeMap::new())));
    Progress::new(move |transfer| {
        let mut lanes: std::sync::MutexGuard<'_, Lanes> =
            lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (transfer.place.to_owned(), transfer.way == Way::Up);
        let now = Instant::now();
        let lane = lanes.entry(key.clone()).or_insert_with(|| Lane::new(now));
        lane.take(transfer, now);
        lane.tell(&title(&key), &ui, now);
        if lane.is_over() {
            lanes.remove(&key);
        }
    })
}

/// By place, and whether they go there.
type Lanes = BTreeMap<(String, bool), Lane>;

fn title((place, up): &(String, bool)) -> String {
    if *up { format!("to {place}") } else { format!("from {place}") }
}

/// Everything on its way to or from one place.
struct Lane {
    /// Done and total of each content that is not there yet.
    open: HashMap<ContentRef, (u64, u64)>,
    /// Bytes of those that are.
    finished: u64,
    /// Bytes that went over the line in this process.
    moved: u64,
    /// When how many had gone.
    points: VecDeque<(Instant, u64)>,
    began: Instant,
    line_at: Instant,
    bar: Option<ProgressBar>,
}

impl Lane {
    fn new(now: Instant) -> Self {
        Self {
            open: HashMap::new(),
            finished: 0,
            moved: 0,
            points: VecDeque::from([(now, 0)]),
            began: now,
            line_at: now,
            bar: None,
        }
    }

    fn take(&mut self, transfer: &Transfer<'_>, now: Instant) {
        let Transfer { content, done, total, .. } = *transfer;
        let before = self.open.get(&content).map(|(done, _)| *done);
        // Where a transfer takes up an earlier one, what was there before did not move now.
        self.moved += before.map_or(0, |before| done.saturating_sub(before));
        if done < total {
            self.open.insert(content, (done, total));
        } else {
            self.open.remove(&content);
            self.finished += total;
        }
        if self.points.back().is_none_or(|(at, _)| now.duration_since(*at) >= RATE_STEP) {
            self.points.push_back((now, self.moved));
        }
        while self.points.len() > 2
            && self.points.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW)
        {
            self.points.pop_front();
        }
    }

    fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    fn done(&self) -> u64 {
        self.finished + self.open.values().map(|(done, _)| done).sum::<u64>()
    }

    fn total(&self) -> u64 {
        self.finished + self.open.values().map(|(_, total)| total).sum::<u64>()
    }

    /// Bytes a second, once there is something to tell it from.
    fn rate(&self, now: Instant) -> Option<u64> {
        let (at, moved) = self.points.front()?;
        let millis = u64::try_from(now.duration_since(*at).as_millis()).unwrap_or(u64::MAX);
        let bytes = self.moved.saturating_sub(*moved).saturating_mul(1_000);
        // Too little to tell it from is told as nothing.
        Some(bytes.checked_div(millis)?).filter(|rate| *rate > 0 && millis >= 200)
    }

    /// For example: `12.0 MiB of 100.0 MiB, 4.1 MiB/s, 22 s left`.
    fn text(&self, now: Instant) -> String {
        let (done, total) = (self.done(), self.total());
        let so_far = format!("{} of {}", bytes(done), bytes(total));
        match self.rate(now) {
            Some(rate) => {
                let left = Duration::from_secs((total - done) / rate);
                format!("{so_far}, {}/s, {} left", bytes(rate), span(left))
            }
            None => so_far,
        }
    }

    fn tell(&mut self, title: &str, ui: &Ui, now: Instant) {
        if self.is_over() {
            if let Some(bar) = &self.bar {
                bar.finish_and_clear();
            }
            return;
        }
        if self.bar.is_none() && now.duration_since(self.began) >= BAR_AFTER {
            self.bar = Some(ui.bytes_bar(title.to_owned()));
        }
        match self.bar.as_ref().filter(|bar| !bar.is_hidden()) {
            Some(bar) => {
                bar.set_length(self.total());
                bar.set_position(self.done());
                bar.set_message(self.text(now));
            }
            None if now.duration_since(self.line_at) >= LINE_INTERVAL => {
                self.line_at = now;
                ui.bytes_status(&format!("Content {title}: {}.", self.text(now)));
            }
            None => {}
        }
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1_024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        // What would be shown as 1024.0 is 1.0 of the next one.
        if value < 1_023.95 {
            break;
        }
        value /= 1_024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// A length of time for people, in its two largest units.
pub(crate) fn span(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = time.as_secs();
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[first];
    let rest = seconds % unit;
    match UNITS.get(first + 1) {
        Some((smaller, small)) if rest >= *smaller => {
            format!("{} {name} {} {small}", seconds / unit, rest / smaller)
        }
        _ => format!("{} {name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn transfer(content: u8, done: u64, total: u64) -> Transfer<'static> {
        let content = ContentRef::swarm(B256::repeat_byte(content));
        Transfer { place: "swarm", content, way: Way::Up, done, total }
    }

    #[test]
    fn rate_and_rest_leave_out_what_an_earlier_process_sent() {
        let start = Instant::now();
        let mut lane = Lane::new(start);
        lane.take(&transfer(1, 60 << 20, 100 << 20), start);
        assert_eq!(lane.text(start), "60.0 MiB of 100.0 MiB");
        for second in 1..=5 {
            lane.take(
                &transfer(1, (60 + 2 * second) << 20, 100 << 20),
                start + Duration::from_secs(second),
            );
        }
        let now = start + Duration::from_secs(5);
        assert_eq!(lane.text(now), "70.0 MiB of 100.0 MiB, 2.0 MiB/s, 15 s left");
        lane.take(&transfer(2, 0, 50 << 20), now);
        assert_eq!(lane.text(now), "70.0 MiB of 150.0 MiB, 2.0 MiB/s, 40 s left");
        lane.take(&transfer(1, 100 << 20, 100 << 20), now);
        assert!(!lane.is_over());
        lane.take(&transfer(2, 50 << 20, 50 << 20), now);
        assert!(lane.is_over());
    }

    #[test]
    fn sizes_and_spans_are_in_words() {
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (11_300_000, "10.8 MiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_725, "1 h 2 min"),
            (86_400 * 30 + 3_600, "30 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
