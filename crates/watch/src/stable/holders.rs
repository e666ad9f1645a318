//! Who holds live memory: by scope where scopes are recorded, by size otherwise.

use std::collections::BTreeMap;

use freeboard_snapshot::{BlockState, Snapshot};
use freeboard_units::Bytes;

/// Live bytes and blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
}

/// Who held what at the end of a step.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) step: u64,
    /// Whether any block had a tag.
    pub(super) is_tagged: bool,
    pub(super) by_tag: BTreeMap<String, Held>,
    pub(super) by_size: BTreeMap<u32, Held>,
}

impl Table {
    pub(super) fn of(snapshot: &Snapshot, step: u64) -> Self {
        let mut table = Self { step, ..Self::default() };
        let mut by_number: BTreeMap<_, Held> = BTreeMap::new();
        let blocks = snapshot.segments.iter().flat_map(|segment| &segment.blocks);
        for block in blocks.filter(|block| block.state == BlockState::Allocated) {
            let class = block.size.get().max(1).ilog2();
            for held in
                [by_number.entry(block.tag).or_default(), table.by_size.entry(class).or_default()]
            {
                held.bytes += block.size.get();
                held.blocks += 1;
            }
        }
        table.is_tagged = by_number.keys().any(|tag| !tag.is_zero());
        let named = |tag| match snapshot.names.get(tag) {
            "" => "(no scope)".to_owned(),
            name => name.to_owned(),
        };
        table.by_tag = by_number.into_iter().map(|(tag, held)| (named(tag), held)).collect();
        table
    }

    /// What holds more in each of these tables than in the one before, and how many bytes a step; the
    /// fastest first.
    pub(super) fn growers(tables: &[Self]) -> Vec<Grower> {
        let (Some(first), Some(last)) = (tables.first(), tables.last()) else { return Vec::new() };
        let steps = last.step.saturating_sub(first.step).max(1);
        let mut growers = if last.is_tagged {
            let tables: Vec<_> = tables.iter().map(|table| &table.by_tag).collect();
            grown(&tables, steps, Clone::clone)
        } else {
            let tables: Vec<_> = tables.iter().map(|table| &table.by_size).collect();
            grown(&tables, steps, |&class| class_name(class))
        };
        growers.sort_by_key(|grower| std::cmp::Reverse(grower.per_step));
        growers
    }
}

/// Whoever holds more after every step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grower {
    /// The scope, or the size of the blocks where no scope is known.
    pub name: String,
    /// Bytes it grows by in a step.
    pub per_step: Bytes,
    /// Bytes it holds now.
    pub bytes: Bytes,
    /// Blocks it holds now.
    pub blocks: u64,
}

fn grown<K: Ord>(
    tables: &[&BTreeMap<K, Held>],
    steps: u64,
    name: impl Fn(&K) -> String,
) -> Vec<Grower> {
    let Some(last) = tables.last() else { return Vec::new() };
    let grower = |(key, now): (&K, &Held)| {
        let bytes = |table: &&BTreeMap<K, Held>| table.get(key).map_or(0, |held| held.bytes);
        let all: Vec<u64> = tables.iter().map(bytes).collect();
        let grows = all.len() > 1 && all.windows(2).all(|two| two[0] < two[1]);
        grows.then(|| Grower {
            name: name(key),
            per_step: Bytes::new((now.bytes - all[0]).div_ceil(steps)),
            bytes: Bytes::new(now.bytes),
            blocks: now.blocks,
        })
    };
    last.iter().filter_map(grower).collect()
}

/// Blocks from a power of two up to the next.
fn class_name(class: u32) -> String {
    let from = Bytes::new(1 << class);
    match 1_u64.checked_shl(class + 1) {
        Some(to) => format!("blocks of {from} up to {}", Bytes::new(to)),
        None => format!("blocks of {from} and more"),
    }
}
