//! Lists swept by this thread alone, and by several.
//!
//! Threads take turns at claiming the next stretch of the list, so many bytes whatever tensors they
//! lie in. The caller is one of them: it starts at once, and if the others are late it has done the
//! work when they come.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::level::Run;
use super::{Finding, List, Piece, Task};

/// From how many bytes on a list is shared: below, another thread wakes up too late to help much.
const SHARED: usize = 1 << 20;
/// The bytes of a claim, at least and at most.
const CLAIM: Range<usize> = 128 << 10..4 << 20;
/// Claims per thread, so that all end at about the same time.
const CLAIMS: usize = 8;
/// A piece is cut where this many elements end, which is where lines of cache and strips end.
const CUT: usize = 1024;

/// A place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    piece: usize,
    element: usize,
}

fn bytes_of(list: &impl List) -> usize {
    let bytes = (0..list.count()).map(|number| list.piece(number)).map(|p| p.len * p.kind.bytes());
    bytes.sum()
}

/// How many threads the list is worth, if more than one.
pub(super) fn threads(list: &impl List) -> Option<usize> {
    let bytes = bytes_of(list);
    // Asking for the threads may start them.
    let threads = if bytes < SHARED { 1 } else { rayon::current_num_threads() };
    (threads > 1).then(|| threads.min(bytes.div_ceil(CLAIM.start)))
}

/// Does the task to every piece here and now.
pub(super) fn alone(list: &impl List, mut task: Task, run: Run) -> Option<Finding> {
    let mut first = None;
    for number in 0..list.count() {
        // SAFETY: it is a piece of a list; the level is one that this processor can run.
        if let Some((element, bad)) = unsafe { run(list.piece(number), task) } {
            first = Some(Finding { piece: number, element, bad });
            task = task.unchecked();
        }
    }
    first
}

/// Does the task to every piece with so many threads.
pub(super) fn run(list: &impl List, task: Task, run: Run, threads: usize) -> Option<Finding> {
    let claim = (bytes_of(list) / (threads * CLAIMS)).clamp(CLAIM.start, CLAIM.end);
    let place = Mutex::new(Place { piece: 0, element: 0 });
    let first = Mutex::new(None::<Finding>);
    let work = || {
        let mut task = task;
        loop {
            let claimed = {
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                let from = *place;
                *place = after(list, from, claim);
                from..*place
            };
            if claimed.start.piece == list.count() {
                return;
            }
            if let Some(found) = stretch(list, claimed, task, run) {
                // What this thread claims next lies behind.
                task = task.unchecked();
                let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                let key = |finding: &Finding| (finding.piece, finding.element);
                *first = first.iter().copied().chain([found]).min_by_key(key);
            }
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
    });
    first.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The place so many bytes behind another, or the list's end.
fn after(list: &impl List, from: Place, mut bytes: usize) -> Place {
    let mut place = from;
    while place.piece < list.count() {
        let piece = list.piece(place.piece);
        let rest = (piece.len - place.element) * piece.kind.bytes();
        if rest > bytes {
            place.element += bytes / piece.kind.bytes() / CUT * CUT;
            break;
        }
        bytes -= rest;
        place = Place { piece: place.piece + 1, element: 0 };
    }
    place
}

/// Does the task to what lies between two places.
fn stretch(list: &impl List, places: Range<Place>, mut task: Task, run: Run) -> Option<Finding> {
    let Range { start, end } = places;
    let mut first = None;
    let last = if end.element == 0 { end.piece } else { end.piece + 1 };
    for number in start.piece..last {
        let piece = list.piece(number);
        let from = if number == start.piece { start.element } else { 0 };
        let to = if number == end.piece { end.element } else { piece.len };
        let part = Piece {
            start: piece.start.wrapping_add(from * piece.kind.bytes()),
            len: to - from,
            ..piece
        };
        // SAFETY: the part lies in a piece of a list, and no place is claimed twice, so nobody else
        // has it; the level is one that this processor can run.
        if let Some((element, bad)) = unsafe { run(part, task) } {
            first = Some(Finding { piece: number, element: from + element, bad });
            task = task.unchecked();
        }
    }
    first
}
