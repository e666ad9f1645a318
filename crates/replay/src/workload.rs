//! [`Workload`]: models of programs, each writing the trace such a program would leave.
//!
//! The training models run a small tape (`model` and `tape`): a forward pass saves what the
//! backward pass needs, the backward pass frees it in reverse and allocates gradients, the
//! optimizer allocates its states in its first step and keeps them. Sizes follow from shapes of
//! real networks. The scenarios `h1` to `h15` are the short patterns that are known to break
//! allocators, each with the outcome a good one reaches.
//!
//! Everything is integer arithmetic on a generator of its own, so a name and a seed give the same
//! trace on every machine.

mod bytes;
mod generation;
mod layers;
mod lora;
mod model;
mod moe;
mod offload;
mod packing;
mod pipeline;
mod random;
mod resnet;
mod rmm;
mod scenario;
mod streams;
mod tape;
mod transformer;

#[cfg(test)]
mod tests;

use crate::Trace;

/// A program to be modelled, by name.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Workload {
    /// How it is called on the command line and in reports.
    pub name: &'static str,
    /// What it models, and for a scenario what a good allocator makes of it.
    pub about: &'static str,
    /// Whether the seed matters: without it every seed gives the same trace.
    pub seeded: bool,
    make: fn(u64) -> Trace,
}

impl Workload {
    /// The trace of this program; the same one for the same seed, everywhere.
    ///
    /// # Examples
    /// ```
    /// use freeboard_replay::workload;
    ///
    /// let generation = workload::find("generation").expect("a model of this crate");
    /// assert!(generation.seeded);
    /// assert_eq!(generation.trace(7), generation.trace(7));
    /// ```
    #[must_use]
    pub fn trace(&self, seed: u64) -> Trace {
        let mut trace = (self.make)(seed);
        self.name.clone_into(&mut trace.name);
        trace
    }
}

/// All workloads: the models first, then the scenarios.
#[must_use]
pub const fn all() -> &'static [Workload] {
    ALL
}

/// The workload of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}

const fn seeded(name: &'static str, about: &'static str, make: fn(u64) -> Trace) -> Workload {
    Workload { name, about, seeded: true, make }
}

const fn fixed(name: &'static str, about: &'static str, make: fn(u64) -> Trace) -> Workload {
    Workload { name, about, seeded: false, make }
}

const ALL: &[Workload] = &[
    fixed("transformer", transformer::ABOUT_FIXED, transformer::fixed),
    seeded("transformer-varlen", transformer::ABOUT_VARLEN, transformer::varlen),
    seeded("resnet-varsize", resnet::ABOUT, resnet::make),
    seeded("moe", moe::ABOUT, moe::make),
    seeded("lora", lora::ABOUT, lora::make),
    seeded("generation", generation::ABOUT, generation::make),
    seeded("streams", streams::ABOUT, streams::make),
    seeded("rmm-random", rmm::ABOUT, rmm::make),
    fixed("h1-order", scenario::ABOUT_ORDER, scenario::order),
    fixed("h2-pinned-splits", scenario::ABOUT_PINNED, scenario::pinned_splits),
    fixed("h3-batch-slivers", scenario::ABOUT_SLIVERS, scenario::batch_slivers),
    fixed("h4-fresh-streams", scenario::ABOUT_FRESH_STREAMS, scenario::fresh_streams),
    fixed("h5-pending-block", scenario::ABOUT_PENDING, scenario::pending_block),
    fixed("h6-oversize-block", scenario::ABOUT_OVERSIZE, scenario::oversize_block),
    fixed("h7-split-release", scenario::ABOUT_SPLIT_RELEASE, scenario::split_release),
    seeded("h8-map-failures", scenario::ABOUT_MAP_FAILURES, scenario::map_failures),
    fixed("h9-pool-boundary", scenario::ABOUT_BOUNDARY, scenario::pool_boundary),
    seeded("h10-random-large", rmm::ABOUT_LARGE, rmm::make_large),
    seeded("h11-packing", packing::ABOUT, packing::make),
    seeded("h12-lora-offload", offload::ABOUT, offload::make),
    seeded("h13-pipeline", pipeline::ABOUT, pipeline::make),
    fixed("h14-extend", scenario::ABOUT_EXTEND, scenario::extend),
    fixed("h15-fifo", scenario::ABOUT_FIFO, scenario::fifo),
];
