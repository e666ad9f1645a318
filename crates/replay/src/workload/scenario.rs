//! The short scenarios: patterns that are known to break caching allocators.
//!
//! Each `ABOUT` says what a good allocator makes of it, and on which device where that matters.

use freeboard_units::Bytes;

use crate::Trace;
use crate::trace::{Id, TraceBuilder};

use super::random::Random;

pub(super) const ABOUT_ORDER: &str =
    "8 x 16 MiB, all freed, then 4 x 32 MiB: 128 MiB reserved are enough";

pub(super) fn order(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_ORDER);
    let small = alloc_many(&mut trace, 8, Bytes::mib(16));
    free_all(&mut trace, small);
    alloc_many(&mut trace, 4, Bytes::mib(32));
    trace.finish("")
}

pub(super) const ABOUT_PINNED: &str = "4 x 16 MiB, the first and third freed, then 32 MiB while \
    the others stay: served without growing by moving free pages together";

pub(super) fn pinned_splits(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_PINNED);
    let blocks = alloc_many(&mut trace, 4, Bytes::mib(16));
    trace.free(blocks[0]);
    trace.free(blocks[2]);
    trace.alloc(Bytes::mib(32), 0);
    trace.finish("")
}

pub(super) const ABOUT_SLIVERS: &str = "56 layers keep two tensors each; batch 64, then 63, then \
    65: reserved stays below the peak of live bytes and a page per pool";

/// Tensors of one layer are A and A x B bytes a sample; both are no whole pages.
pub(super) fn batch_slivers(_seed: u64) -> Trace {
    const LAYERS: u64 = 56;
    const SAMPLE: Bytes = Bytes::new(24_000);
    const WIDER: u64 = 4;
    let mut trace = begin(ABOUT_SLIVERS);
    for (step, batch) in [64_u64, 63, 65, 64, 63, 65].into_iter().enumerate() {
        trace.step(&format!("{step} batch {batch}"));
        let mut kept = Vec::new();
        for _ in 0..LAYERS {
            kept.push(trace.alloc(SAMPLE * batch, 0));
            kept.push(trace.alloc(SAMPLE * (batch * WIDER), 0));
        }
        free_all(&mut trace, kept.into_iter().rev());
    }
    trace.finish("")
}

pub(super) const ABOUT_FRESH_STREAMS: &str = "2 GiB of buffers per weight synchronisation, each on \
    the next stream of 32: reserved stays flat instead of growing to 64 GiB";

pub(super) fn fresh_streams(_seed: u64) -> Trace {
    const STREAMS: u16 = 32;
    let mut trace = begin(ABOUT_FRESH_STREAMS);
    trace.alloc(Bytes::gib(4), 0); // the model that is synchronised
    for synchronisation in 0..3 * STREAMS {
        let stream = 1 + synchronisation % STREAMS;
        trace.step(&format!("{synchronisation} stream {stream}"));
        let buffers: Vec<Id> = (0..16).map(|_| trace.alloc(Bytes::mib(128), stream)).collect();
        free_all(&mut trace, buffers);
    }
    trace.finish("")
}

pub(super) const ABOUT_PENDING: &str = "1 GiB in use by another stream is freed and asked for \
    again, beside 256 MiB that stay: on a device of 1,280 MiB with late events the allocator \
    waits and uses it again, and never runs out";

pub(super) fn pending_block(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_PENDING);
    trace.alloc(Bytes::mib(256), 0);
    for round in 0..8 {
        trace.step(&round.to_string());
        let block = trace.alloc(Bytes::gib(1), 0);
        trace.record(block, 1);
        trace.free(block);
        let again = trace.alloc(Bytes::gib(1), 0);
        trace.free(again);
    }
    trace.finish("")
}

pub(super) const ABOUT_OVERSIZE: &str = "a block of 1,024 MiB is cached, then 500 MiB are asked \
    for twice: with blocks above 400 MiB not to be split, policy decides whether to hand out or release";

pub(super) fn oversize_block(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_OVERSIZE);
    let oversize = trace.alloc(Bytes::mib(1024), 0);
    trace.free(oversize);
    let smaller = trace.alloc(Bytes::mib(500), 0);
    let second = trace.alloc(Bytes::mib(500), 0);
    free_all(&mut trace, [smaller, second]);
    trace.finish("")
}

pub(super) const ABOUT_SPLIT_RELEASE: &str = "550 MiB are cached, then blocks of 110 MiB fill the \
    device: on any device from 8,140 MiB on, with blocks above 500 MiB not to be split, the cached \
    one is released and nothing breaks";

pub(super) fn split_release(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_SPLIT_RELEASE);
    let cached = trace.alloc(Bytes::mib(550), 0);
    trace.free(cached);
    let blocks = alloc_many(&mut trace, 74, Bytes::mib(110));
    free_all(&mut trace, blocks);
    trace.finish("")
}

pub(super) const ABOUT_MAP_FAILURES: &str = "requests of several pages each that come and go, to \
    be run with mappings that fail at every k-th page: a request that fails changes nothing";

pub(super) fn map_failures(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut trace = begin(ABOUT_MAP_FAILURES);
    let mut live = Vec::new();
    for _ in 0..200 {
        live.push(trace.alloc(Bytes::mib(random.between(22, 190)), 0));
        while live.len() > 12 || !live.is_empty() && random.percent(30) {
            let index = random.index(live.len());
            trace.free(live.swap_remove(index));
        }
    }
    free_all(&mut trace, live);
    trace.finish("")
}

pub(super) const ABOUT_BOUNDARY: &str = "64 tensors of 1 MiB and a byte, freed, then 64 of 1 MiB: \
    the smaller tensors fit into what the larger ones left, so reserved does not rise";

pub(super) fn pool_boundary(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_BOUNDARY);
    for (step, size) in [(1 << 20) + 1, 1 << 20, (1 << 20) + 1, 1 << 20].into_iter().enumerate() {
        trace.step(&format!("{step} size {size}"));
        let tensors = alloc_many(&mut trace, 64, Bytes::new(size));
        free_all(&mut trace, tensors);
    }
    trace.finish("")
}

pub(super) const ABOUT_EXTEND: &str = "748 MiB reserved, 736 MiB of them free, then 784 MiB: \
    served by extending what is free, with 796 MiB in all";

pub(super) fn extend(_seed: u64) -> Trace {
    let mut trace = begin(ABOUT_EXTEND);
    trace.alloc(Bytes::mib(12), 0);
    let large = trace.alloc(Bytes::mib(736), 0);
    trace.free(large);
    trace.alloc(Bytes::mib(784), 0);
    trace.finish("")
}

pub(super) const ABOUT_FIFO: &str = "204,800 allocations of 1 MiB, first in first out, at most \
    4,000 live: for the time per operation, against CubeCL's benchmark of the same";

pub(super) fn fifo(_seed: u64) -> Trace {
    const LIVE_MAX: usize = 4000;
    let mut trace = begin(ABOUT_FIFO);
    let mut live = std::collections::VecDeque::with_capacity(LIVE_MAX);
    for _ in 0..204_800 {
        if live.len() == LIVE_MAX {
            live.pop_front().into_iter().for_each(|oldest| trace.free(oldest));
        }
        live.push_back(trace.alloc(Bytes::mib(1), 0));
    }
    free_all(&mut trace, live);
    trace.finish("")
}

fn begin(about: &str) -> TraceBuilder {
    let mut trace = Trace::builder();
    trace.comment(about);
    trace
}

fn alloc_many(trace: &mut TraceBuilder, count: usize, size: Bytes) -> Vec<Id> {
    (0..count).map(|_| trace.alloc(size, 0)).collect()
}

fn free_all(trace: &mut TraceBuilder, ids: impl IntoIterator<Item = Id>) {
    for id in ids {
        trace.free(id);
    }
}
