//! Recognises a program that repeats its requests for memory, and serves it by table.
//!
//! A training step asks for the same blocks in the same order, over and over. Once that is known,
//! nothing has to be searched for: every block's place can be computed beforehand, so that they lie
//! as close as they can, and serving a request is a look at one entry of a table.
//!
//! 1. A [`Recorder`] keeps the latest requests and their frees in a ring. A request is a [`Key`]:
//!    its block's size and its stream.
//! 2. [`Recorder::repetition`] finds a [`Repetition`]: requests that are the same as those just
//!    before them, after which no more is live than before.
//! 3. [`Plan::of`] packs one step of it offline. The step begins where the fewest bytes are live.
//!    Blocks that are freed before it ends are *planned*; weights, caches and whatever crosses the
//!    border stay with the ordinary allocator. Every stream has a band of its own.
//! 4. A [`Server`] follows the plan request by request. The keys must come in the plan's order; the
//!    frees need not. For every entry the plan knows its *predecessors*: those that had its bytes
//!    last, in this step or the one before. When they are free, so is the place. When not, the
//!    request is *missed*: it is served elsewhere, and the plan goes on. A request with another key
//!    is a *deviation*; what to do about it is the caller's choice.
//!
//! Nothing here knows a device or an address. Places are offsets into a region that the caller
//! provides, and it is the caller who knows when a block is free in the order of its stream.
//!
//! ```
//! use freeboard_planning::{Key, Options, Plan, Recorder};
//! use freeboard_units::Bytes;
//!
//! let mut recorder = Recorder::default();
//! for _ in 0..3 {
//!     // Each is freed two requests later.
//!     let blocks: Vec<u64> = (1..=100)
//!         .map(|n| {
//!             let serial = recorder.allocated(Key::new(Bytes::kib(n), 0));
//!             if n > 2 {
//!                 recorder.freed(serial - 2);
//!             }
//!             serial
//!         })
//!         .collect();
//!     recorder.freed(blocks[98]);
//!     recorder.freed(blocks[99]);
//! }
//! let repetition = recorder.repetition().ok_or("no repetition")?;
//! assert_eq!(repetition.length, 100);
//! let plan = Plan::of(&recorder, repetition, &Options::default()).ok_or("no plan")?;
//! assert_eq!((plan.len(), plan.unplanned()), (100, 0));
//! assert_eq!(plan.peak(), Bytes::kib(98 + 99 + 100));
//! assert!(plan.region() < Bytes::kib(400)); // of 5050 KiB asked for
//! # Ok::<(), &str>(())
//! ```
#![forbid(unsafe_code)]

mod key;
mod lifetimes;
mod options;
mod plan;
mod predecessors;
mod recorder;
mod repetition;
mod server;

pub use key::Key;
pub use lifetimes::{Lifetimes, Tally};
pub use options::Options;
pub use plan::{Entry, Plan};
pub use recorder::Recorder;
pub use repetition::{MIN_PERIOD, Repetition};
pub use server::{Counts, Served, Server};
