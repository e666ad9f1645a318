//! Running a plan: segments, what they save, what moves to the host, and what it all measured.

mod error;
mod fingerprint;
mod meter;
mod nested;
mod offload;
mod pass;
mod profile;
mod report;
mod runner;
mod script;
mod segment;
mod state;

pub use error::{Place, RunError, RunnerError, Tensor};
pub use fingerprint::Fingerprint;
pub use meter::Meter;
pub use nested::{Nested, NestedState};
pub use offload::{Offload, Stay};
pub use profile::{ProfileError, Profiler};
pub use report::{PeakWatch, Report, Verdict};
pub use runner::{Check, Held, Runner};
pub use segment::Segment;
pub use state::Moves;
