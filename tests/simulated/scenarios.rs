//! The patterns that are known to break caching allocators, under our defaults: each comes out as
//! its workload's description says a good allocator makes it come out.

use freeboard::replay::{Run, RunOptions, Trace, run, workload};
use freeboard::{Bytes, Config};

fn trace(name: &str) -> Trace {
    workload::find(name).expect("a workload").trace(1)
}

/// Plays a trace to its end on a device of this capacity, with events that are `lag` ticks late.
#[track_caller]
fn survives(trace: &Trace, capacity: Bytes, lag: u64) -> Run {
    let options = RunOptions::new(Config::default(), capacity).event_lag(lag);
    let run = run::run(trace, &options).expect("it runs");
    assert!(run.survived, "{} on {capacity}, late by {lag}", trace.name);
    run
}

/// The peak of live bytes and some percent more, in whole pages.
fn above_the_peak(trace: &Trace, percent: u64) -> Bytes {
    let peak = trace.peak_requested.get();
    Bytes::new(peak + peak * percent / 100).align_up(Bytes::mib(2))
}

fn calls(run: &Run, call: &str) -> u64 {
    run.calls.get(call).copied().unwrap_or(0)
}

#[test]
fn h1_the_order_of_sizes_does_not_matter() {
    let run = survives(&trace("h1-order"), Bytes::mib(128), 0);
    assert_eq!(run.peak_reserved, Bytes::mib(128));
}

#[test]
fn h2_gaps_between_live_blocks_serve_together_without_growing() {
    let run = survives(&trace("h2-pinned-splits"), Bytes::mib(64), 0);
    assert_eq!(run.peak_reserved, Bytes::mib(64));
}

#[test]
fn h3_changing_batches_leave_no_slivers() {
    let trace = trace("h3-batch-slivers");
    let run = survives(&trace, Bytes::gib(80), 0);
    assert!(run.peak_reserved < run.peak_active + Bytes::mib(3 * 2), "a page per pool");
    survives(&trace, above_the_peak(&trace, 1), 50);
}

#[test]
fn h4_fresh_streams_share_the_same_memory() {
    for lag in [0, 1000] {
        let run = survives(&trace("h4-fresh-streams"), Bytes::gib(6), lag);
        assert_eq!(run.peak_reserved, Bytes::gib(6));
        assert_eq!(calls(&run, "cudaEventSynchronize"), 0, "the host waits for no stream");
    }
}

#[test]
fn h5_a_pending_block_is_used_again_at_the_limit() {
    let run = survives(&trace("h5-pending-block"), Bytes::mib(1280), 1_000_000);
    assert_eq!(run.stats.num_ooms, 0);
    assert_eq!(calls(&run, "cudaEventSynchronize"), 0, "the device waits, the host does not");
    assert!(calls(&run, "cudaStreamWaitEvent") > 0);
}

#[test]
fn h9_tensors_on_either_side_of_one_mib_share_memory() {
    let trace = trace("h9-pool-boundary");
    for capacity in [Bytes::gib(80), Bytes::mib(66)] {
        let run = survives(&trace, capacity, 50);
        assert!(run.peak_reserved < run.peak_active + Bytes::mib(2), "{}", run.peak_reserved);
    }
}

#[test]
fn h11_buffers_in_order_of_time_take_two_percent_more_than_packed_ones() {
    let trace = trace("h11-packing");
    survives(&trace, above_the_peak(&trace, 2), 0);
    let run = survives(&trace, Bytes::gib(80), 0);
    assert!(run.peak_reserved < above_the_peak(&trace, 10), "{}", run.peak_reserved);
}

/// 98 percent of the memory is used at the peak, on a device that has no more.
#[test]
fn h12_recomputation_and_offload_use_98_percent() {
    let trace = trace("h12-lora-offload");
    let run = survives(&trace, above_the_peak(&trace, 2), 50);
    assert!(run.peak_requested.as_f64() > 0.98 * run.peak_reserved.as_f64());
}

#[test]
fn h13_a_pipeline_with_recomputation_needs_two_percent_more_than_its_peak() {
    let trace = trace("h13-pipeline");
    survives(&trace, above_the_peak(&trace, 2), 50);
    let run = survives(&trace, Bytes::gib(80), 50);
    assert!(run.peak_reserved < above_the_peak(&trace, 4), "{}", run.peak_reserved);
}

#[test]
fn h14_a_free_end_is_extended() {
    let run = survives(&trace("h14-extend"), Bytes::mib(796), 0);
    assert_eq!(run.peak_reserved, Bytes::mib(796));
}

/// The ring settles: no calls of the driver but those that first took its memory.
#[test]
fn h15_first_in_first_out_settles() {
    let run = survives(&trace("h15-fifo"), Bytes::mib(4000), 0);
    assert_eq!(run.peak_reserved, Bytes::mib(4000));
    let all: u64 = run.calls.values().sum();
    assert!(all < 3 * 2000 + 100, "{:?}", run.calls);
}
