//! An offline packing problem played as events, with the best answer known beforehand.
//!
//! A rectangle of time by memory is cut in two, and the parts again, until there are enough: each
//! part is an allocation with its lifetime. All of them together fill the rectangle without a gap,
//! so exactly its height is live at any time, and whoever knew the future would need no more.

use freeboard_units::Bytes;

use crate::Trace;

use super::random::Random;

pub(super) const ABOUT: &str = "2,000 lifetimes cut from a full rectangle of 16 GiB, as events: \
    an offline plan needs exactly 16 GiB, an online allocator is reported as a ratio to that";

const PARTS: usize = 2000;
const TICKS: u64 = 4096;
/// Sizes are whole pages, so that no rounding of an allocator blurs the ratio.
const PAGE: Bytes = Bytes::mib(2);
const PAGES: u64 = 8192;

/// An allocation of `pages` from tick `start` until just before tick `end`.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
    pages: u64,
}

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let parts = cut(&mut random);
    let mut trace = Trace::builder();
    trace.comment(ABOUT);
    // At each tick what ends goes first: otherwise more than the height would be live.
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * parts.len());
    for (index, part) in parts.iter().enumerate() {
        events.push((part.start, true, index));
        events.push((part.end, false, index));
    }
    events.sort_unstable();
    let mut ids = vec![None; parts.len()];
    for (_, begins, index) in events {
        if begins {
            ids[index] = Some(trace.alloc(PAGE * parts[index].pages, 0));
        } else if let Some(id) = ids[index].take() {
            trace.free(id);
        }
    }
    trace.finish("")
}

/// Cuts the rectangle; of three parts drawn the largest is cut, which keeps sizes comparable.
fn cut(random: &mut Random) -> Vec<Part> {
    let mut parts = vec![Part { start: 0, end: TICKS, pages: PAGES }];
    while parts.len() < PARTS {
        let drawn = [(); 3].map(|()| random.index(parts.len()));
        let area = |&index: &usize| (parts[index].end - parts[index].start) * parts[index].pages;
        let index = drawn.into_iter().max_by_key(area).unwrap_or(0);
        let Part { start, end, pages } = parts[index];
        if random.percent(50) {
            if end - start > 1 {
                let at = random.between(start + 1, end - 1);
                parts[index].end = at;
                parts.push(Part { start: at, end, pages });
            }
        } else if pages > 1 {
            let lower = random.between(1, pages - 1);
            parts[index].pages = lower;
            parts.push(Part { start, end, pages: pages - lower });
        }
    }
    parts
}
