//! What every workload promises.

use std::collections::HashSet;

use freeboard_units::Bytes;

use super::{Workload, all, find};
use crate::{OpKind, Trace};

fn text_of(trace: &Trace) -> Vec<u8> {
    let mut text = Vec::new();
    trace.write(&mut text).unwrap();
    text
}

/// The live bytes at the start of every step, and at the end.
fn live_at_steps(trace: &Trace) -> Vec<u64> {
    let mut sizes = vec![0; trace.slots as usize];
    let (mut live, mut found) = (0, Vec::new());
    let mut steps = trace.steps.iter().peekable();
    for (index, op) in trace.ops.iter().enumerate() {
        while steps.next_if(|step| step.op_index == index).is_some() {
            found.push(live);
        }
        match op.kind {
            OpKind::Allocate { slot, size, .. } => {
                sizes[slot as usize] = size.get();
                live += size.get();
            }
            OpKind::Free { slot } => live -= sizes[slot as usize],
            OpKind::RecordUse { .. } | OpKind::EmptyCache => {}
        }
    }
    found.push(live);
    found
}

/// The most live bytes within each step.
fn peaks_of_steps(trace: &Trace) -> Vec<Bytes> {
    let text = String::from_utf8(text_of(trace)).unwrap();
    let starts: Vec<usize> = text.match_indices("# step").map(|(at, _)| at).collect();
    let ends = starts[1..].iter().copied().chain([text.len()]);
    ends.map(|end| Trace::parse("so far", &text.as_bytes()[..end]).unwrap().peak_requested)
        .collect()
}

fn named(name: &str) -> &'static Workload {
    find(name).unwrap()
}

#[test]
fn names_are_unique_and_found() {
    let names: HashSet<_> = all().iter().map(|workload| workload.name).collect();
    assert_eq!(names.len(), all().len());
    for workload in all() {
        assert_eq!(find(workload.name).unwrap().about, workload.about);
        assert!(!workload.about.is_empty() && !workload.about.contains('\n'));
        assert!(!workload.about.starts_with("step"));
    }
    assert!(find("h0").is_none());
}

#[test]
fn every_trace_reads_back_as_it_was_written() {
    for workload in all() {
        let trace = workload.trace(1);
        let back = Trace::parse(workload.name, &text_of(&trace)).unwrap();
        assert!(back == trace, "{} reads back differently", workload.name);
    }
}

#[test]
fn a_seed_decides_the_trace_and_another_one_changes_it() {
    for workload in all() {
        let [first, again, other] = [1, 1, 2].map(|seed| workload.trace(seed));
        assert!(text_of(&first) == text_of(&again), "{} is not repeatable", workload.name);
        assert_eq!(first.ops != other.ops, workload.seeded, "{}", workload.name);
    }
}

#[test]
fn each_step_leaves_only_what_the_program_keeps() {
    for workload in all() {
        let trace = workload.trace(3);
        if trace.steps.is_empty() {
            continue;
        }
        // The first step allocates the states of the optimizer.
        let live = &live_at_steps(&trace)[1..];
        assert!(live.iter().all(|&bytes| bytes == live[0]), "{}: {live:?}", workload.name);
    }
}

#[test]
fn equal_steps_have_equal_peaks() {
    let transformer = &peaks_of_steps(&named("transformer").trace(0))[1..];
    assert!(transformer.iter().all(|peak| *peak == transformer[0]), "{transformer:?}");
    let pipeline = &peaks_of_steps(&named("h13-pipeline").trace(0))[1..6];
    assert!(pipeline.iter().all(|peak| *peak == pipeline[0]), "{pipeline:?}");
}

#[test]
fn models_have_the_size_of_real_programs() {
    let models = ["transformer", "transformer-varlen", "resnet-varsize", "moe", "lora"];
    let more = ["generation", "streams", "rmm-random", "h12-lora-offload", "h13-pipeline"];
    for name in models.into_iter().chain(more) {
        for seed in 0..3 {
            let trace = named(name).trace(seed);
            let peak = trace.peak_requested;
            assert!(Bytes::gib(1) < peak && peak < Bytes::gib(80), "{name}: peak {peak}");
            let operations = trace.ops.len();
            assert!((10_000..=100_000).contains(&operations), "{name}: {operations} operations");
        }
    }
}

#[test]
fn scenarios_have_the_peaks_that_their_outcomes_speak_of() {
    for (name, peak) in [
        ("h1-order", Bytes::mib(128)),
        ("h2-pinned-splits", Bytes::mib(64)),
        ("h4-fresh-streams", Bytes::gib(6)),
        ("h5-pending-block", Bytes::mib(1280)),
        ("h7-split-release", Bytes::mib(8140)),
        ("h11-packing", Bytes::gib(16)),
        ("h14-extend", Bytes::mib(796)),
        ("h15-fifo", Bytes::mib(4000)),
    ] {
        assert_eq!(named(name).trace(5).peak_requested, peak, "{name}");
    }
    let fifo = named("h15-fifo").trace(0);
    assert_eq!((fifo.allocs, fifo.frees), (204_800, 204_800));
    assert_eq!(named("streams").trace(0).streams, 3);
}

#[test]
fn the_packing_fills_its_rectangle_at_all_times() {
    let trace = named("h11-packing").trace(9);
    let (mut live, mut sizes) = (Bytes::ZERO, vec![Bytes::ZERO; trace.slots as usize]);
    let mut was_freeing = false;
    for (index, op) in trace.ops.iter().enumerate() {
        match op.kind {
            OpKind::Allocate { slot, size, .. } => {
                sizes[slot as usize] = size;
                live += size;
                was_freeing = false;
            }
            OpKind::Free { slot } => {
                // Whatever a tick frees, it fills again before the next one frees.
                assert!(was_freeing || live == Bytes::gib(16), "a gap before operation {index}");
                live -= sizes[slot as usize];
                was_freeing = true;
            }
            OpKind::RecordUse { .. } | OpKind::EmptyCache => {}
        }
    }
    assert!(live.is_zero());
}
