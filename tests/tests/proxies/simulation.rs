//! Thousands of stories: grants, revocations, logs, new versions, reorganizations, crashes, and requests in between.
//!
//! `GALEN_STORIES` says how many (10,000; `GALEN_WHOLE_STORIES` 200 through the routes), `GALEN_STORY_SEED` from which seed on (1). A story that goes wrong is cut
//! down and printed in the language of `steps.rs`; `GALEN_STORY` plays one such line.

use std::time::Instant;

use crate::{
    play::{Ruled, Subject, Tally, play},
    steps::Story,
    whole::Whole,
    world::{Base, SEALED, Surprise},
};

/// Stories that went wrong once, or that must not.
const KEPT: &[&str] = &[
    // As it should be.
    "story 2 300; grant 0; log 0 0 1 0; mine 2; ask 0 0 1",
    // The branch with the revocation wins while it is shorter than what the proxy has read.
    "story 5 3600; grant 1; log 0 1 4 1; mine 5; ask 0 1 4; revoke-all; reorg 3 2; ask 0 1 4",
    // A member that logged its read is suspended before it asks.
    "story 1 300; grant 2; log 1 2 1 0; mine 1; ask 1 2 1; suspend; ask 1 2 1",
    "story 1 300; grant 3; log 1 3 1 0; mine 1; ask 1 3 1; suspend; ask 1 3 1",
    // Sent once more, a signed log is no younger; a new one is.
    "story 1 300; grant 0; log 0 0 1 1; wait 301; replay 0; mine 1; ask 0 0 1; log 0 0 1 1; mine 1; ask 0 0 1",
    // What counts is the version and the content of the moment of the log.
    "story 1 300; grant 0; reseal 0; log 0 0 1 0; reseal 0; amend 0; mine 1; ask 0 0 1",
    // Of five contents the newest three.
    "story 1 300; grant 0; reseal 0; reseal 0; reseal 0; reseal 0; log 0 0 1 0; mine 1; ask 0 0 1",
    // Taken back after the log.
    "story 1 300; grant 0; log 0 0 1 0; mine 1; ask 0 0 1; retract 0; ask 0 0 1",
    // The consent ends between log and request.
    "story 1 3600; grant 4; wait 599; log 0 4 1 0; mine 1; ask 0 4 1; wait 301; mine 1; ask 0 4 1",
];

pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Plays a story on a runtime of its own.
fn run<S: Subject>(base: &Base, story: &Story) -> Result<Tally, Surprise> {
    wait(play::<S>(base, story))
}

/// Plays a story; one that goes wrong is cut down until nothing can be left out.
fn must<S: Subject>(base: &Base, story: &Story, name: &str) -> Tally {
    run::<S>(base, story).unwrap_or_else(|surprise| {
        let short = story.clone().shrink(|shorter| run::<S>(base, shorter).is_err());
        let last = run::<S>(base, &short).unwrap_err();
        panic!("{name}: {surprise}\nGALEN_STORY='{short}'\n{last}");
    })
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// Plays the kept stories and then as many as `count` says, on all cores.
fn stories<S: Subject>(base: &Base, count: u64) -> Option<Tally> {
    if let Ok(text) = std::env::var("GALEN_STORY") {
        must::<S>(base, &Story::read(&text).expect("a story"), "GALEN_STORY");
        return None;
    }
    for text in KEPT {
        must::<S>(base, &Story::read(text).unwrap(), text);
    }
    let (first, began) = (setting("GALEN_STORY_SEED", 1), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let part = |lane: u64| {
            let mut tally = Tally::default();
            for seed in (first + lane..first + count).step_by(usize::try_from(threads).unwrap()) {
                tally.add(must::<S>(base, &Story::new(seed), &format!("seed {seed}")));
            }
            tally
        };
        let lanes: Vec<_> = (0..threads).map(|lane| scope.spawn(move || part(lane))).collect();
        lanes.into_iter().for_each(|lane| all.add(lane.join().unwrap()));
    });
    eprintln!("{count} stories in {:?}: {all:?}", began.elapsed());
    Some(all)
}

/// The rules over the real history of the real contract.
#[test]
fn nothing_is_served_without_a_log_under_a_live_consent_in_the_final_chain() {
    let base = wait(Base::new());
    let count = setting("GALEN_STORIES", 10_000);
    let Some(all) = stories::<Ruled>(&base, count) else { return };
    if count < 10_000 {
        return;
    }
    // Enough of each, or the stories say little.
    assert!(all.served as u64 > count && all.crashes as u64 > count / 5);
    assert!(all.depths.len() >= 60 && all.depths.contains(&64), "{:?}", all.depths);
    let rare = all.refused.iter().filter(|(_, times)| **times < 20).collect::<Vec<_>>();
    assert!(all.refused.len() >= 8 && rare.is_empty(), "{rare:?}");
}

/// The same through the routes, with shares, headers, answers, and what lies on disk when it is killed.
#[test]
fn the_whole_proxy_serves_what_is_right_and_writes_it_down() {
    let base = &*SEALED;
    let count = setting("GALEN_WHOLE_STORIES", 200);
    let Some(all) = stories::<Whole>(base, count) else { return };
    if count >= 200 {
        assert!(all.served as u64 > count && all.crashes as u64 > count / 5, "{all:?}");
    }
}
