//! Running a plan: segments, what they save, what moves to the host, and what it all measured.

mod fingerprint;
mod meter;
mod offload;
mod segment;

pub use fingerprint::Fingerprint;
pub use meter::Meter;
pub use offload::{Offload, Stay};
pub use segment::Segment;
