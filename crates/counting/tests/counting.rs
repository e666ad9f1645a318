//! One test, because all of the program's memory is counted.
#![allow(clippy::unwrap_used, reason = "a test whose thread panics has failed")]

use std::hint::black_box;
use std::thread;

use freeboard_counting::Counting;
use freeboard_units::Bytes;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BIG: usize = 16 << 20;

#[test]
fn allocations_are_counted_by_thread_and_bytes_for_all() {
    let (count, start) = (Counting::allocations(), Counting::reset_peak());
    assert_eq!(Counting::allocations(), count);
    let mut kept: Vec<u8> = black_box(Vec::with_capacity(BIG));
    assert_eq!(Counting::allocations(), count + 1);
    assert!(Counting::live() >= start + Bytes::mib(16));
    kept.reserve_exact(2 * BIG);
    assert_eq!(Counting::allocations(), count + 2);
    drop(kept);
    let is_near = |bytes: Bytes, mib| {
        let mib = start + Bytes::mib(mib);
        bytes >= mib && bytes < mib + Bytes::mib(1)
    };
    assert!(is_near(Counting::live(), 0));
    assert!(is_near(Counting::peak(), 48), "both places of what grew");

    let work = || {
        let before = Counting::allocations();
        (0..1000).for_each(|number| drop(black_box(Box::new(number))));
        let held = black_box(vec![0_u8; BIG]);
        (Counting::allocations() - before, Counting::live(), held.len())
    };
    let before = Counting::allocations();
    let (count, live, _) = thread::scope(|scope| scope.spawn(work).join()).unwrap();
    assert_eq!(count, 1001);
    assert!(is_near(live, 16), "of all threads");
    assert!(Counting::allocations() < before + 1000, "what a thread takes to start");
}
