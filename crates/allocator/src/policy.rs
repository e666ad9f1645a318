//! The questions the allocator asks, one file each: pure functions of numbers.

pub(crate) mod garbage;
pub(crate) mod growth;
pub(crate) mod limit;
pub(crate) mod placement;
pub(crate) mod rounding;
pub(crate) mod split;
pub(crate) mod stitching;
pub(crate) mod visiting;
