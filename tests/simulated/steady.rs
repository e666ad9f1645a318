//! Recorded training runs under our defaults: what they hold, where they survive, and what a step
//! costs once it repeats.

use freeboard::allocator::Borrowed;
use freeboard::device_sim::Call;
use freeboard::replay::{Op, OpKind, RunOptions, Trace, run};
use freeboard::{Bytes, CachingAllocator, Config, SimDevice, StreamId};

const RECORDED: [&str; 2] = ["resnet50_varsize", "fsdp8_llama8b_streams"];

fn recorded(name: &str) -> Trace {
    let path = format!("{}/tests/data/{name}.trace.gz", env!("CARGO_MANIFEST_DIR"));
    Trace::read(path).expect("a trace that ships with the project")
}

/// `factor` times the peak of what is asked for, in whole pages.
fn device_for(trace: &Trace, factor: f64) -> Bytes {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size")]
    let bytes = (trace.peak_requested.as_f64() * factor) as u64;
    Bytes::new(bytes).align_down(Bytes::mib(2))
}

#[test]
fn recorded_runs_hold_hardly_more_than_they_use_and_stall_nowhere() {
    for name in RECORDED {
        let trace = recorded(name);
        let ample = RunOptions::new(Config::default(), Bytes::gib(512));
        let ours = run::run(&trace, &ample).expect("it runs");
        let ratio = ours.peak_reserved.as_f64() / ours.peak_allocated.as_f64();
        assert!(ratio <= 1.02, "{name} holds {ratio} times what it uses");
        let pages = Config::pytorch().with_expandable_segments(true);
        let theirs = run::run(&trace, &RunOptions::new(pages, Bytes::gib(512))).expect("it runs");
        assert!(
            ours.driver_time_ns * 20 <= theirs.driver_time_ns * 21,
            "{name}: {} against {} ns",
            ours.driver_time_ns,
            theirs.driver_time_ns
        );
        for (factor, lag) in [(1.02, 0), (1.02, 200), (1.10, 0), (1.10, 200)] {
            let tight = RunOptions::new(Config::default(), device_for(&trace, factor));
            let run = run::run(&trace, &tight.event_lag(lag)).expect("it runs");
            assert!(run.survived, "{name} at {factor}");
            let waits = run.calls.get("cudaEventSynchronize").copied().unwrap_or(0);
            assert_eq!((run.stalls, waits), (0, 0), "{name} at {factor}");
        }
    }
}

/// A program that runs up to the middle of a trace and then repeats one of its steps.
struct Repeating<'a, 'd> {
    allocator: &'a CachingAllocator<&'d SimDevice>,
    held: Vec<Option<(Bytes, Borrowed<'a, &'d SimDevice>)>>,
}

impl Repeating<'_, '_> {
    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            match op.kind {
                OpKind::Allocate { slot, size, stream } => {
                    let stream = StreamId::new(stream.into());
                    let block = self.allocator.allocate(size, stream).expect("room enough");
                    self.held[slot as usize] = Some((size, block));
                }
                OpKind::Free { slot } => self.held[slot as usize] = None,
                OpKind::RecordUse { slot, stream } => {
                    if let Some((_, held)) = &self.held[slot as usize] {
                        held.record_use(StreamId::new(stream.into())).expect("few streams");
                    }
                }
                OpKind::EmptyCache => {}
            }
        }
    }

    /// One step, and then back to what was held before it.
    fn step(&mut self, ops: &[Op], before: &[Option<Bytes>]) {
        self.run(ops);
        for (held, before) in self.held.iter_mut().zip(before) {
            if held.as_ref().map(|held| held.0) != *before {
                *held = None;
            }
        }
        for (held, before) in self.held.iter_mut().zip(before) {
            if let (None, Some(size)) = (&held, before) {
                let block = self.allocator.allocate(*size, StreamId::DEFAULT);
                *held = Some((*size, block.expect("room enough")));
            }
        }
    }
}

/// Calls about memory; streams may wait for each other.
fn memory_calls(device: &SimDevice) -> u64 {
    let order = [Call::EventCreate, Call::EventRecord, Call::EventQuery, Call::StreamWaitEvent];
    device.total_calls() - order.map(|call| device.count(call)).iter().sum::<u64>()
}

#[test]
fn a_step_that_repeats_makes_no_driver_call_about_memory() {
    for name in RECORDED {
        let trace = recorded(name);
        let middle = trace.steps.len() / 2;
        let [from, to] = [middle, middle + 1].map(|step| trace.steps[step].op_index);
        for (is_marked, capacity) in
            [(true, Bytes::gib(512)), (false, Bytes::gib(512)), (true, device_for(&trace, 1.02))]
        {
            let device = SimDevice::new(capacity);
            let allocator = CachingAllocator::new(&device, Config::default()).expect("good");
            let held = std::iter::repeat_with(|| None).take(trace.slots as usize).collect();
            let mut program = Repeating { allocator: &allocator, held };
            program.run(&trace.ops[..from]);
            let before: Vec<_> =
                program.held.iter().map(|held| held.as_ref().map(|held| held.0)).collect();
            let mut calls = 0;
            for round in 0..20 {
                calls = if round == 10 { memory_calls(&device) } else { calls };
                program.step(&trace.ops[from..to], &before);
                if is_marked {
                    allocator.step();
                }
            }
            let planning = allocator.planning();
            assert_eq!(memory_calls(&device), calls, "{name}: {planning:?}");
            assert!(planning.rounds >= 10 && planning.misses == 0, "{name}: {planning:?}");
            assert_eq!(allocator.check(), Ok(()));
        }
    }
}
