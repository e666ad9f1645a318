//! [`Recorder`]: the latest requests of a program, in a ring.

use crate::Key;

/// The most records a ring may have.
const LARGEST: usize = 1 << 24;
/// Marks kept: a repetition may span one fewer marked steps.
const MARKS: usize = 65;
/// The time of a free that has not come.
const LIVE: u64 = u64::MAX;

/// One request. Half a cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) key: Key,
    /// The serial number of the first request after its free.
    pub(crate) freed: u64,
    /// Units live just before it, counted from an arbitrary origin.
    pub(crate) live: i64,
    pub(crate) discarded: bool,
}

/// The latest requests of a program with their frees; what is older falls out.
///
/// Requests are numbered, and these serial numbers are the clock: a block is live from its own
/// request up to the first request after its free. Recording is a few stores: no heap allocation,
/// no hash, no clock.
#[derive(Clone, Debug)]
pub struct Recorder {
    ring: Box<[Record]>,
    /// The first serial number since the beginning or the last [`clear`](Self::clear).
    origin: u64,
    next: u64,
    live: i64,
    /// Newest last; the first `marked` count.
    marks: [u64; MARKS],
    marked: usize,
}

impl Recorder {
    /// As many requests as a recorder keeps unless told otherwise: two steps of up to 131,072.
    pub const DEFAULT_CAPACITY: usize = 1 << 18;

    /// A recorder of the latest `capacity` requests, rounded up to a power of two, and at most
    /// 2²⁴. Each takes 32 bytes, all allocated here.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(LARGEST).next_power_of_two();
        let blank = Record { key: Key::default(), freed: LIVE, live: 0, discarded: false };
        let ring = vec![blank; capacity].into_boxed_slice();
        Self { ring, origin: 0, next: 0, live: 0, marks: [0; MARKS], marked: 0 }
    }

    /// A recorder of another capacity that takes over from this one: it holds nothing yet, and serial
    /// numbers go on, so that frees of requests recorded here are ignored there.
    #[must_use]
    pub fn successor(&self, capacity: usize) -> Self {
        Self { origin: self.next, next: self.next, ..Self::new(capacity) }
    }

    /// Records a request that was served; returns its serial number.
    #[inline]
    pub fn allocated(&mut self, key: Key) -> u64 {
        let serial = self.next;
        let index = self.index(serial);
        self.ring[index] = Record { key, freed: LIVE, live: self.live, discarded: false };
        self.live = self.live.wrapping_add_unsigned(key.units());
        self.next += 1;
        serial
    }

    /// Records the free of the block of request `serial`; ignored if that fell out of the ring.
    #[inline]
    pub fn freed(&mut self, serial: u64) {
        let next = self.next;
        let Some(record) = self.record_mut(serial) else { return };
        if record.freed == LIVE {
            record.freed = next;
            let units = record.key.units();
            self.live = self.live.wrapping_sub_unsigned(units);
        }
    }

    /// Notes that the block of request `serial` cannot be planned, because it was used on another
    /// stream, say; ignored if that fell out of the ring.
    #[inline]
    pub fn discard(&mut self, serial: u64) {
        if let Some(record) = self.record_mut(serial) {
            record.discarded = true;
        }
    }

    /// Notes that a step ends here.
    pub fn mark_step(&mut self) {
        if self.marks().last() == Some(&self.next) {
            return;
        }
        if self.marked == MARKS {
            self.marks.rotate_left(1);
            self.marked -= 1;
        }
        self.marks[self.marked] = self.next;
        self.marked += 1;
    }

    /// Forgets everything but the serial number to come; frees of earlier requests are ignored.
    pub fn clear(&mut self) {
        self.origin = self.next;
        self.marked = 0;
    }

    /// The serial number of the next request.
    #[inline]
    #[must_use]
    pub const fn next_serial(&self) -> u64 {
        self.next
    }

    /// The oldest serial number in the ring, or the next one if it is empty.
    pub(crate) fn first_serial(&self) -> u64 {
        self.origin.max(self.next.saturating_sub(self.ring.len() as u64))
    }

    /// The marks in the ring, newest last.
    pub(crate) fn marks(&self) -> &[u64] {
        let marks = &self.marks[..self.marked];
        &marks[marks.partition_point(|&mark| mark < self.first_serial())..]
    }

    pub(crate) fn record(&self, serial: u64) -> Option<&Record> {
        self.holds(serial).then(|| &self.ring[self.index(serial)])
    }

    #[inline]
    fn record_mut(&mut self, serial: u64) -> Option<&mut Record> {
        let index = self.index(serial);
        self.holds(serial).then(|| &mut self.ring[index])
    }

    #[inline]
    fn holds(&self, serial: u64) -> bool {
        serial < self.next && serial >= self.origin && self.next - serial <= self.ring.len() as u64
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves less")]
    fn index(&self, serial: u64) -> usize {
        serial as usize & (self.ring.len() - 1)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freeboard_units::Bytes;

    fn key(units: u64) -> Key {
        Key::new(Bytes::new(units * 512), 0)
    }

    #[test]
    fn what_fell_out_of_the_ring_or_was_cleared_is_left_alone() {
        let mut recorder = Recorder::new(3); // four
        let serials: Vec<u64> = (1..=5).map(|units| recorder.allocated(key(units))).collect();
        assert_eq!(serials, [0, 1, 2, 3, 4]);
        assert_eq!(recorder.first_serial(), 1);
        for serial in [0, 5, u64::MAX] {
            recorder.freed(serial);
            recorder.discard(serial);
            assert!(recorder.record(serial).is_none());
        }
        assert_eq!(recorder.live, 15);
        recorder.freed(4);
        recorder.freed(4);
        assert_eq!(recorder.live, 10);
        recorder.clear();
        recorder.freed(3);
        assert_eq!((recorder.live, recorder.first_serial(), recorder.next_serial()), (10, 5, 5));
    }

    #[test]
    fn a_successor_ignores_what_came_before_it() {
        let mut first = Recorder::new(4);
        let old: Vec<u64> = (1..=6).map(|units| first.allocated(key(units))).collect();
        let mut second = first.successor(16);
        assert_eq!((second.next_serial(), second.first_serial()), (6, 6));
        let new: Vec<u64> = (1..=16).map(|units| second.allocated(key(units))).collect();
        assert_eq!(new, (6..22).collect::<Vec<_>>());
        let live = second.live;
        for serial in old {
            second.freed(serial);
        }
        assert_eq!(second.live, live);
        second.freed(new[0]);
        assert_eq!(second.live, live - 1);
    }

    #[test]
    fn records_know_when_they_were_freed_and_what_was_live() {
        let mut recorder = Recorder::new(8);
        let one = recorder.allocated(key(3));
        let two = recorder.allocated(key(4));
        recorder.freed(one);
        let three = recorder.allocated(key(5));
        recorder.discard(two);
        let of = |serial| {
            let record = recorder.record(serial).unwrap();
            (record.live, record.freed, record.discarded)
        };
        assert_eq!(
            [of(one), of(two), of(three)],
            [(0, 2, false), (3, LIVE, true), (4, LIVE, false)]
        );
    }

    #[test]
    fn the_latest_marks_are_kept_as_long_as_the_ring_reaches_back() {
        let mut recorder = Recorder::new(128);
        for _ in 0..200 {
            recorder.mark_step();
            recorder.mark_step();
            recorder.allocated(key(1));
        }
        let marks: Vec<u64> = (135..200).collect();
        assert_eq!(recorder.marks(), marks);
        for _ in 0..100 {
            recorder.allocated(key(1));
        }
        assert_eq!(recorder.marks().first(), Some(&172));
        recorder.clear();
        assert!(recorder.marks().is_empty());
    }
}
