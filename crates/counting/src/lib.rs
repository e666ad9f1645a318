//! [`Counting`]: a global allocator that counts, for tests and examples that say what the heap holds.
//!
//! It is our own because no crate counts both a thread's allocations, which tests beside it in the
//! same program do not disturb, and the bytes of all threads with their peak.
#![expect(unsafe_code, reason = "a global allocator can only be written with it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use freeboard_units::Bytes;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with counts. All are 0 unless it is the program's global allocator.
///
/// ```
/// use freeboard_counting::Counting;
/// use freeboard_units::Bytes;
///
/// #[global_allocator]
/// static ALLOCATOR: Counting = Counting;
///
/// let (count, start) = (Counting::allocations(), Counting::reset_peak());
/// drop(std::hint::black_box(vec![0_u8; 1 << 20]));
/// assert_eq!(Counting::allocations() - count, 1);
/// assert!(Counting::peak() >= start + Bytes::mib(1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Counting;

impl Counting {
    /// How often this thread has allocated so far. To grow or shrink an allocation is to allocate.
    #[must_use]
    pub fn allocations() -> u64 {
        ALLOCATIONS.get()
    }

    /// What all threads hold now, in bytes asked for.
    #[must_use]
    pub fn live() -> Bytes {
        Bytes::new(LIVE.load(Ordering::Relaxed) as u64)
    }

    /// The most that was live since the last [`reset_peak`](Self::reset_peak), or since the start.
    /// While an allocation grows or shrinks, both its places are.
    #[must_use]
    pub fn peak() -> Bytes {
        Bytes::new(PEAK.load(Ordering::Relaxed) as u64)
    }

    /// Lets the peak begin anew at what is live now, and returns that.
    pub fn reset_peak() -> Bytes {
        let live = LIVE.load(Ordering::Relaxed);
        PEAK.store(live, Ordering::Relaxed);
        Bytes::new(live as u64)
    }
}

// SAFETY: both methods forward their arguments unchanged to the system's allocator, which keeps the
// contract; counting touches only two atomic numbers and a thread-local one without a destructor.
// What else there is to implement is made of these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this method, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
