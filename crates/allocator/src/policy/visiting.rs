//! In which order are streams asked whether they have finished?
//!
//! `PyTorch` keeps its queues of events in a hash table and walks the table, so the order in which
//! blocks become free follows from where the table happened to put each stream, and with it which
//! blocks merge first. Any order is sound; to make the same decisions we put streams where that
//! table puts them: an open-addressing table of a power of two, at most half full, indexed by
//! Fibonacci hashing, where an entry gives way to one that is further from home.

use freeboard_units::StreamId;

/// Where each entry stands, by the rules of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct VisitingOrder {
    slots: Vec<Option<Entry>>,
    /// 64 less the binary logarithm of the table's size; 0 while there is no table.
    shift: u32,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    stream: u16,
    hash: u64,
    /// Slots past the one its hash asks for.
    distance: usize,
}

/// 2⁶⁴ divided by the golden ratio.
const FIBONACCI: u64 = 11_400_714_819_323_198_485;

impl VisitingOrder {
    /// Adds a stream, unless it is there.
    pub(crate) fn insert(&mut self, stream: u16, id: StreamId) {
        if self.position(stream).is_none() {
            self.place(Entry { stream, hash: hash(id), distance: 0 });
        }
    }

    /// Takes a stream out; entries behind it move up towards their homes.
    pub(crate) fn remove(&mut self, stream: u16) {
        let Some(mut slot) = self.position(stream) else { return };
        self.slots[slot] = None;
        self.len -= 1;
        while let Some(Some(next)) = self.slots.get(slot + 1).copied()
            && next.distance > 0
        {
            self.slots[slot] = Some(Entry { distance: next.distance - 1, ..next });
            self.slots[slot + 1] = None;
            slot += 1;
        }
    }

    /// The slot of a stream.
    pub(crate) fn position(&self, stream: u16) -> Option<usize> {
        self.slots.iter().position(|slot| slot.is_some_and(|entry| entry.stream == stream))
    }

    /// All streams, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        self.slots.iter().flatten().map(|entry| entry.stream)
    }

    fn size(&self) -> usize {
        if self.shift == 0 { 0 } else { 1 << (64 - self.shift) }
    }

    /// How far from home an entry may stand before the table grows.
    fn reach(&self) -> usize {
        (64 - self.shift as usize).max(4)
    }

    fn place(&mut self, mut entry: Entry) {
        if self.shift == 0 || (self.len + 1) * 2 > self.size() {
            self.grow();
        }
        #[expect(clippy::cast_possible_truncation, reason = "below the table's size")]
        let home = (FIBONACCI.wrapping_mul(entry.hash) >> self.shift) as usize;
        entry.distance = 0;
        let mut slot = home;
        loop {
            if entry.distance == self.reach() {
                self.grow();
                return self.place(entry);
            }
            match &mut self.slots[slot] {
                free @ None => {
                    *free = Some(entry);
                    self.len += 1;
                    return;
                }
                Some(there) if there.distance < entry.distance => std::mem::swap(there, &mut entry),
                Some(_) => {}
            }
            entry.distance += 1;
            slot += 1;
        }
    }

    fn grow(&mut self) {
        let size = (self.size() * 2).max(4);
        self.shift = 64 - size.ilog2();
        let length = size + self.reach();
        let old = std::mem::replace(&mut self.slots, vec![None; length]);
        self.len = 0;
        for entry in old.into_iter().flatten() {
            self.place(entry);
        }
    }
}

/// The number that `PyTorch` hashes for a stream of the first CUDA device: the default stream is 0,
/// stream n is the n-th of its pool of 32.
fn hash(id: StreamId) -> u64 {
    let number = match id.get() {
        0 => 0,
        n => ((n - 1) % 32) << 5 | 3,
    };
    1 << 56 | number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_and_go_without_losing_one_another() {
        let mut order = VisitingOrder::default();
        for n in 0..40 {
            order.insert(n, StreamId::new(n.into()));
            order.insert(n, StreamId::new(n.into()));
        }
        let mut seen: Vec<u16> = order.iter().collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..40));
        for n in (0..40).step_by(3) {
            order.remove(n);
            assert_eq!(order.position(n), None);
        }
        assert_eq!(order.iter().count(), 26);
        for entry in order.slots.iter().flatten() {
            let home = FIBONACCI.wrapping_mul(entry.hash) >> order.shift;
            let slot = order.position(entry.stream).unwrap();
            assert_eq!(slot, usize::try_from(home).unwrap() + entry.distance);
        }
    }
}
