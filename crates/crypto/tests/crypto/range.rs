//! Reading parts.

use std::ops::Range;

use galen_crypto::{Error, Header, Layout, OpenError, OpenKey, Opener};
use proptest::prelude::*;

use crate::fixture::{FIXTURE, payload};

struct Stored {
    sealed: Vec<u8>,
    payload: Vec<u8>,
    opener: Opener,
    layout: Layout,
}

fn stored(len: usize) -> Stored {
    let payload = payload(len);
    let (context, sealed) = FIXTURE.seal(&payload);
    let header = Header::parse(&sealed).unwrap();
    let opener = Opener::new(&header, context, OpenKey::Segment(&FIXTURE.segment)).unwrap();
    let end = sealed.len().min(Layout::FIRST_FETCH.end as usize);
    let layout = opener.layout(&sealed[4096..end]).unwrap();
    Stored { sealed, payload, opener, layout }
}

impl Stored {
    fn check(&self, range: Range<usize>) {
        let plan = self.layout.plan(range.start as u64..range.end as u64).unwrap();
        let sealed = plan.sealed().start as usize..plan.sealed().end as usize;
        assert!(sealed.len() <= (range.len() / 65_520 + 2) * 65_536, "fetches too much");
        let part = self.opener.open_range(&self.layout, &plan, &self.sealed[sealed]).unwrap();
        assert_eq!(part.expose(), &self.payload[range]);
    }
}

#[test]
fn ranges_at_borders_are_exact() {
    let full = 65_520 - 62;
    for len in [0, 1, full, full + 1, full + 65_520, 200_000] {
        let stored = stored(len);
        let places = [0, 1, full - 1, full, full + 1, full + 65_520, len];
        for start in places.iter().filter(|at| **at <= len) {
            for end in places.iter().filter(|at| **at <= len && *at >= start) {
                stored.check(*start..*end);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_is_exact(a in 0..300_000_usize, b in 0..300_000_usize) {
        static STORED: std::sync::LazyLock<Stored> = std::sync::LazyLock::new(|| stored(300_000));
        STORED.check(a.min(b)..a.max(b));
    }
}

#[test]
fn bad_blocks_and_wrong_plans_give_nothing() {
    let stored = stored(200_000);
    let plan = stored.layout.plan(70_000..140_000).unwrap();
    let sealed = plan.sealed().start as usize..plan.sealed().end as usize;
    let good = &stored.sealed[sealed];
    for at in (0..good.len()).step_by(9_973).chain([good.len() - 1]) {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        assert_eq!(stored.opener.open_range(&stored.layout, &plan, &bad), Err(OpenError), "{at}");
    }
    let short = &good[..good.len() - 1];
    assert_eq!(stored.opener.open_range(&stored.layout, &plan, short), Err(OpenError));
    let swapped = [&good[65_536..], &good[..65_536]].concat();
    assert_eq!(stored.opener.open_range(&stored.layout, &plan, &swapped), Err(OpenError));
    let other = self::stored(100_000);
    let other_plan = other.layout.plan(0..100_000).unwrap();
    assert_eq!(stored.opener.open_range(&stored.layout, &other_plan, good), Err(OpenError));
    for (start, end) in [(0, 200_001), (5, 4), (u64::MAX, u64::MAX)] {
        assert!(matches!(stored.layout.plan(start..end), Err(Error::Range { .. })));
    }
    let second_block = &stored.sealed[4096 + 65_536..4096 + 2 * 65_536];
    assert_eq!(stored.opener.layout(second_block), Err(OpenError));
    assert_eq!(stored.opener.layout(&stored.sealed[4096..4096 + 65_535]), Err(OpenError));
    assert_eq!(stored.opener.layout(&[]), Err(OpenError));
}
