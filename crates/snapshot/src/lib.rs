//! What device memory looked like, what had happened to it, and why a request failed.
//!
//! Plain data and pure functions: nothing here talks to a device or an allocator. A [`Snapshot`]
//! is segments and blocks ([`model`]), the events that led there ([`history`]), and the names and
//! stacks both refer to ([`names`]). It is taken from a live allocator or read from a file that
//! `PyTorch` wrote. [`Facts`] are what is known about one request that failed, wherever it was
//! learned.
#![forbid(unsafe_code)]

pub mod diagnosis;
pub mod facts;
pub mod growth;
pub mod history;
pub mod holders;
pub mod layout;
pub mod message;
pub mod model;
pub mod names;
pub mod page;
pub mod pickle;
pub mod summary;
pub mod timeline;

pub use diagnosis::{Cause, Diagnosis, Evidence, Lever, LeverKind, Trial, Verdict};
pub use facts::{Facts, Growth, Holder, Phase, ProcessUse};
pub use history::{Action, Event, History};
pub use message::Message;
pub use model::{Annotation, Block, BlockState, DeviceMemory, Segment, Setting, Snapshot};
pub use names::{Frame, NameId, Names, PoolId, PoolIndex, StackId, Stacks};
pub use timeline::Timeline;
