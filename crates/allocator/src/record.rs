//! What memory looks like now: [`snapshot`](crate::CachingAllocator::snapshot).

mod segments;
mod settings;
mod snapshot;
mod verbs;
