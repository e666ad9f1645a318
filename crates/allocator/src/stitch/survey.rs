//! Which handles are whole and free, so that they can serve anywhere?

use freeboard_device::Device;
use freeboard_units::{Address, AddressRange};

use super::mappings::Number;
use crate::block::{Block, BlockId};
use crate::policy::placement::PAGE;
use crate::policy::stitching::SHARED_POOLS;
use crate::request::Request;
use crate::state::State;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thoroughness {
    /// Around free blocks of at least a page: all there are, with one stream.
    Quick,
    /// Every free block: pieces of several streams, each below a page, may make up a handle.
    Complete,
}

/// Which free blocks a request may use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Usable {
    /// All: other streams' in order of an event.
    All,
    /// Those of this stream: while a graph is captured, events cannot be recorded.
    Of(u16),
}

impl Usable {
    pub(super) fn is_usable(self, block: &Block) -> bool {
        match self {
            Self::All => block.is_free(),
            Self::Of(stream) => block.is_free() && block.stream == stream,
        }
    }
}

/// Neighbouring free blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: BlockId,
    pub(super) last: BlockId,
    pub(crate) range: AddressRange,
}

/// A handle without a live byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub(super) number: Number,
    /// Where it is awake.
    pub(crate) range: AddressRange,
    /// The free blocks it lies in.
    pub(super) run: Run,
}

impl<D: Device> State<D> {
    /// What a request may use of what is free.
    pub(super) fn usable(&self, request: &Request) -> Usable {
        if self.is_capturing() { Usable::Of(request.stream) } else { Usable::All }
    }

    /// Every handle that is whole and free; those in the smallest runs first.
    pub(crate) fn whole_handles(&self, thoroughness: Thoroughness, usable: Usable) -> Vec<Whole> {
        let mut runs = Vec::new();
        for pool in 0..SHARED_POOLS {
            match thoroughness {
                Thoroughness::Quick => self.runs_around_pages(pool, usable, &mut runs),
                Thoroughness::Complete => self.all_runs(pool, usable, &mut runs),
            }
        }
        let mut whole = Vec::new();
        for run in runs {
            let slots = self.stitch.mappings.overlapping(run.range);
            whole.extend(
                slots
                    .filter(|slot| slot.is_awake && run.range.covers(slot.range))
                    .map(|slot| Whole { number: slot.number, range: slot.range, run }),
            );
        }
        whole.sort_unstable_by_key(|whole| (whole.run.range.size(), whole.range.start()));
        whole
    }

    fn runs_around_pages(&self, pool: usize, usable: Usable, runs: &mut Vec<Run>) {
        let large = |id: BlockId| self.blocks[id].size >= PAGE;
        for list in &self.pools[pool].free {
            for entry in list.iter_from(PAGE) {
                if !usable.is_usable(&self.blocks[entry.block]) {
                    continue;
                }
                let run = self.run_around(entry.block, usable);
                // A run with several such blocks is found by its first.
                let mut id = run.first;
                while !large(id) {
                    id = self.blocks[id].next;
                }
                if id == entry.block {
                    runs.push(run);
                }
            }
        }
    }

    fn all_runs(&self, pool: usize, usable: Usable, runs: &mut Vec<Run>) {
        let mut low = Address::new(u64::MAX);
        for id in self.arena_blocks(pool) {
            let block = &self.blocks[id];
            let known = low <= block.address
                && runs.last().is_some_and(|run| run.range.contains(block.address));
            if usable.is_usable(block) && !known {
                let run = self.run_around(id, usable);
                low = run.range.start();
                if run.range.size() >= PAGE {
                    runs.push(run);
                }
            }
        }
    }

    /// The free blocks around one of them.
    pub(super) fn run_around(&self, block: BlockId, usable: Usable) -> Run {
        let step = |from: BlockId, to: fn(&Block) -> BlockId| {
            let mut id = from;
            loop {
                let next = to(&self.blocks[id]);
                if next.is_none() || !usable.is_usable(&self.blocks[next]) {
                    return id;
                }
                id = next;
            }
        };
        let (first, last) = (step(block, |block| block.prev), step(block, |block| block.next));
        let start = self.blocks[first].address;
        let range = AddressRange::new(start, self.blocks[last].end().offset_from(start));
        Run { first, last, range }
    }

    /// The blocks from one to another.
    pub(super) fn between(&self, first: BlockId, last: BlockId) -> impl Iterator<Item = BlockId> {
        let next = move |&id: &BlockId| (id != last).then(|| self.blocks[id].next);
        std::iter::successors(Some(first), next)
    }
}
