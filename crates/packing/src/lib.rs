//! Offline packing: buffers with known lifetimes into one range of addresses.
//!
//! When a program repeats itself, every buffer's size and lifetime is known before the next round
//! begins, and all addresses can be chosen at once. That is dynamic storage allocation: rectangles
//! whose place in time is fixed slide in space until none overlap, and the range is to be as low as
//! it can be. No packing is lower than [`peak_live`]; whether one is as low is NP-hard to say.
//!
//! ```
//! use freeboard_packing::{Buffer, Options, check, pack, peak_live};
//! use freeboard_units::Bytes;
//!
//! let buffers = [(0..3, 4), (3..9, 4), (0..9, 4), (9..21, 4), (0..21, 4)]
//!     .map(|(lifetime, size)| Buffer { lifetime, size: Bytes::new(size) });
//! let packing = pack(&buffers, &Options::default())?;
//! assert_eq!(packing.height, peak_live(&buffers));
//! assert!(packing.is_optimal());
//! assert_eq!(check(&buffers, &packing.offsets), Ok(packing.height));
//! # Ok::<(), freeboard_packing::PackError>(())
//! ```
//!
//! # How
//!
//! 1. Time is cut into *sections*, one for every largest set of buffers live at once, and into
//!    parts that no buffer connects. Each part is packed alone.
//! 2. *Greedy*: buffers in some order, each at the lowest address, or in the smallest gap, where it
//!    fits. Largest first packs the trace of a training run to its peak; some other orders follow
//!    as long as none has. A tree over time keeps what is taken as merged ranges, so that tens of
//!    thousands of buffers take a fraction of a second.
//! 3. *Search*, for parts of up to 1,000 buffers that are still too high: depth first, from the
//!    bottom up. The lowest section is looked at, and either one of its buffers begins right there,
//!    or the place is wasted up to the lowest address that is left. Every packing that has settled
//!    downwards is reached this way exactly once. A branch ends as soon as some section's floor and
//!    the sizes still to come exceed the goal; floors rise with the lowest places of the buffers
//!    above them. What falls apart in time is searched apart, and states that failed are remembered.
//! 4. Such searches either succeed at once or not for ages, so a search is cut short and begun
//!    again: another order of buffers, another choice among the lowest sections, some noise, and
//!    sections where earlier searches failed come first.
//!
//! Canonical placement from the bottom up and the bound per section are ideas of Moffitt's
//! `MiniMalloc` (ASPLOS 2023).
//!
//! Without [`Options::time_limit`] the result depends on nothing but the input: budgets are counted
//! in steps.
#![forbid(unsafe_code)]

mod buffer;
mod check;
mod error;
mod greedy;
mod options;
mod pack;
mod search;
mod sections;
mod space;

pub use buffer::{Buffer, peak_live};
pub use check::{Clash, check};
pub use error::PackError;
pub use options::Options;
pub use pack::{Packing, pack};

/// The most buffers of a part of time that is searched.
const SEARCHED: usize = 1000;
