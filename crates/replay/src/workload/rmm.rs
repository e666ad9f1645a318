//! The random workload of RMM's benchmarks: no program, but a yardstick many allocators share.
//!
//! With 73 % chance an operation allocates a size drawn evenly from one byte to the largest,
//! else it frees a live allocation drawn evenly; above the cap on live bytes it always frees.

use freeboard_units::Bytes;

use crate::Trace;

use super::random::Random;

pub(super) const ABOUT: &str = "RMM's random benchmark: 100,000 operations, 73 % allocate \
    1 byte..64 MiB evenly, at most 16,000 MiB live";
pub(super) const ABOUT_LARGE: &str = "RMM's random benchmark with sizes up to 1,024 MiB, 10,000 \
    operations, at most 16,000 MiB live: fragmentation and time per operation are reported";

const ALLOCATE_PERCENT: u64 = 73;
const LIVE_MAX: Bytes = Bytes::mib(16_000);

pub(super) fn make(seed: u64) -> Trace {
    draw(seed, ABOUT, Bytes::mib(64), 100_000)
}

pub(super) fn make_large(seed: u64) -> Trace {
    draw(seed, ABOUT_LARGE, Bytes::mib(1024), 10_000)
}

fn draw(seed: u64, about: &str, largest: Bytes, operations: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut trace = Trace::builder();
    trace.comment(about);
    let (mut live, mut live_bytes) = (Vec::new(), Bytes::ZERO);
    for _ in 0..operations {
        let size = Bytes::new(random.between(1, largest.get()));
        let fits = live_bytes + size <= LIVE_MAX;
        if live.is_empty() || fits && random.percent(ALLOCATE_PERCENT) {
            live.push((trace.alloc(size, 0), size));
            live_bytes += size;
        } else {
            let (id, size) = live.swap_remove(random.index(live.len()));
            trace.free(id);
            live_bytes -= size;
        }
    }
    trace.finish("")
}
