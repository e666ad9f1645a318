//! What is cached costs nothing on the host either: no heap allocation, by a counting allocator.

use std::collections::VecDeque;

use freeboard_allocator::{CachingAllocator, Config, HistoryOptions, scope};
use freeboard_counting::Counting;
use freeboard_device_sim::SimDevice;
use freeboard_units::{Bytes, StreamId};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Lent<'d> = CachingAllocator<&'d SimDevice>;

/// Runs `work` until the caches of device and host are full, and counts once more.
///
/// Both without and with a history, which is full by then.
fn allocates_nothing(work: impl Fn(&Lent<'_>, &mut Vec<u64>)) {
    for history in [None, Some(HistoryOptions::default().with_events(100))] {
        allocates_nothing_with(history, &work);
    }
}

fn allocates_nothing_with(
    history: Option<HistoryOptions>,
    work: &impl Fn(&Lent<'_>, &mut Vec<u64>),
) {
    let expandable = Config::pytorch().with_expandable_segments(true);
    let fixed = Config::default().with_expandable_segments(false);
    for config in [Config::pytorch(), expandable, Config::default(), fixed] {
        let device = SimDevice::new(Bytes::gib(4));
        let allocator = CachingAllocator::new(&device, config.clone()).expect("good settings");
        if let Some(options) = history {
            allocator.record_history(options);
        }
        let _scope = scope("step");
        let mut counts = Vec::with_capacity(16);
        // Stitched, a program that holds nothing at all would have its last page go to and fro; and
        // a plan has to be made.
        let (held, rounds): (&[u64], _) =
            if config.stitching { (&[1, 3 << 20, 8 << 20], 12) } else { (&[], 3) };
        let held: Vec<_> = held
            .iter()
            .map(|&size| allocator.allocate(Bytes::new(size), StreamId::DEFAULT))
            .collect();
        for _ in 0..rounds {
            counts.clear();
            work(&allocator, &mut counts);
        }
        assert_eq!(counts.iter().sum::<u64>(), 0, "{counts:?} under {config:?}, {history:?}");
        drop(held);
    }
}

/// What `work` allocates on the heap.
fn count(work: impl FnOnce()) -> u64 {
    let before = Counting::allocations();
    work();
    Counting::allocations() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(count(|| ()), 0);
}

#[test]
fn allocations_and_frees_in_turn() {
    allocates_nothing(|allocator, counts| {
        for size in [1, 512, 100_000, 1 << 20, (1 << 20) + 1, 30 << 20] {
            counts.push(count(|| {
                for _ in 0..100 {
                    drop(allocator.allocate(Bytes::new(size), StreamId::DEFAULT));
                }
            }));
        }
    });
}

#[test]
fn stacks_and_queues() {
    allocates_nothing(|allocator, counts| {
        let mut held = VecDeque::with_capacity(64);
        // Stitched, whole free pages go to and fro between streams and between pools: one of each.
        let (streams, sizes) = if allocator.config().stitching { (1, 25) } else { (3, 60) };
        let take = |n: u64| {
            allocator.allocate(Bytes::kib(40 * (n % sizes) + 1), StreamId::new(n % streams))
        };
        counts.push(count(|| {
            (0..60).for_each(|n| held.push_back(take(n).expect("room enough")));
            while held.pop_back().is_some() {}
        }));
        counts.push(count(|| {
            for n in 0..600 {
                held.push_back(take(n % 50).expect("room enough"));
                if held.len() > 50 {
                    held.pop_front();
                }
            }
            held.clear();
        }));
    });
}

#[test]
fn mixed_sizes_in_the_same_order() {
    allocates_nothing(|allocator, counts| {
        let mut held = VecDeque::with_capacity(64);
        let mut random = 7_u64;
        counts.push(count(|| {
            for _ in 0..2000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let size = 1 + (random >> 20) % (1 << ((random >> 59) % 25));
                let taken = allocator.allocate(Bytes::new(size), StreamId::DEFAULT);
                held.push_back(taken.expect("room enough"));
                if held.len() > 50 {
                    let place = usize::try_from(random >> 40).expect("24 bits") % held.len();
                    held.swap_remove_back(place);
                }
            }
            held.clear();
        }));
    });
}
