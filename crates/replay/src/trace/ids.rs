//! [`Ids`]: from the ids of a trace to dense slots.

use rustc_hash::FxHashMap;

const NO_SLOT: u32 = u32::MAX;

/// A map from id to slot; slots are given in the order of first appearance.
///
/// Recorders number allocations from 0 on, so most ids index an array. An id belongs in the array
/// or in the map by its value alone, so that no id is ever in both.
pub(super) struct Ids {
    dense: Vec<u32>,
    dense_limit: u64,
    sparse: FxHashMap<u64, u32>,
    count: u32,
}

impl Ids {
    /// For a text of this many bytes: the array stays in proportion to it.
    pub(super) fn for_text(bytes: usize) -> Self {
        Self {
            dense: Vec::new(),
            dense_limit: bytes as u64 / 2,
            sparse: FxHashMap::default(),
            count: 0,
        }
    }

    /// The slot of an id seen before.
    pub(super) fn find(&self, id: u64) -> Option<u32> {
        if id < self.dense_limit {
            let index = usize::try_from(id).ok()?;
            return self.dense.get(index).copied().filter(|&slot| slot != NO_SLOT);
        }
        self.sparse.get(&id).copied()
    }

    /// The slot of an id, a new one if it was not seen before.
    ///
    /// There are fewer slots than lines, and lines are counted in `u32`, so the count cannot wrap.
    pub(super) fn find_or_add(&mut self, id: u64) -> u32 {
        let next = self.count;
        let slot = match usize::try_from(id) {
            Ok(index) if id < self.dense_limit => {
                if index >= self.dense.len() {
                    self.dense.resize(index + 1, NO_SLOT);
                }
                let slot = &mut self.dense[index];
                if *slot == NO_SLOT {
                    *slot = next;
                }
                *slot
            }
            _ => *self.sparse.entry(id).or_insert(next),
        };
        self.count += u32::from(slot == next);
        slot
    }
}
