//! Every workload under every class of settings: the books and the device agree all the way.

use freeboard::allocator::Borrowed;
use freeboard::device_sim::{Call, Fault, FaultPlan, SimConfig};
use freeboard::replay::{OpKind, RunOptions, Trace, Workload, run, workload};
use freeboard::{Bytes, CachingAllocator, Config, Error, SimDevice, StreamId};

/// `PyTorch`'s settings of every class, and ours.
fn configurations() -> Vec<Config> {
    let settings = [
        "",
        "expandable_segments:True",
        "max_split_size_mb:64",
        "roundup_power2_divisions:4",
        "garbage_collection_threshold:0.6,per_process_memory_fraction:0.9",
        "expandable_segments:True,large_segment_size_mb:32,max_split_size_mb:128",
    ];
    let parsed = settings.map(|text| Config::parse(text).expect(text).config);
    parsed.into_iter().chain([Config::default()]).collect()
}

/// The long ones are for benches; here they are cut.
const OPS_MAX: usize = 6_000;

/// A device on which a program fits with room to spare, or barely.
fn device(trace: &Trace, ample: bool, lag: u64) -> SimDevice {
    let capacity = if ample { trace.peak_requested * 4 } else { trace.peak_requested };
    let capacity = capacity.align_up(Bytes::mib(2)) + Bytes::mib(if ample { 1024 } else { 20 });
    SimDevice::with_config(SimConfig { event_lag_ticks: lag, ..SimConfig::new(capacity) })
}

struct Replay<'a, 'd> {
    allocator: &'a CachingAllocator<&'d SimDevice>,
    held: Vec<Option<Borrowed<'a, &'d SimDevice>>>,
}

impl Replay<'_, '_> {
    fn step(&mut self, kind: OpKind) -> Result<(), Error> {
        match kind {
            OpKind::Allocate { slot, size, stream } => {
                let stream = StreamId::new(stream.into());
                self.held[slot as usize] = Some(self.allocator.allocate(size, stream)?);
            }
            OpKind::Free { slot } => self.held[slot as usize] = None,
            OpKind::RecordUse { slot, stream } => {
                if let Some(held) = &self.held[slot as usize] {
                    held.record_use(StreamId::new(stream.into()))?;
                }
            }
            OpKind::EmptyCache => self.allocator.empty_cache()?,
        }
        Ok(())
    }
}

/// Plays a trace and looks at the books now and then. How many requests ran out of memory.
fn play(trace: &Trace, config: &Config, device: &SimDevice) -> usize {
    let allocator = CachingAllocator::new(device, config.clone()).expect("good settings");
    let held = std::iter::repeat_with(|| None).take(trace.slots as usize).collect();
    let mut replay = Replay { allocator: &allocator, held };
    let mut refused = 0;
    for (index, op) in trace.ops.iter().take(OPS_MAX).enumerate() {
        match replay.step(op.kind) {
            Ok(()) => {}
            Err(Error::OutOfMemory(_)) => refused += 1,
            Err(error) => panic!("{}, line {}: {error}", trace.name, op.line),
        }
        device.advance(1);
        let reserved = allocator.stats().reserved_bytes.all.current;
        assert_eq!(reserved, device.used().as_i64(), "{}, line {}", trace.name, op.line);
        if index % 512 == 0 {
            assert_eq!(allocator.check(), Ok(()), "{}, line {}", trace.name, op.line);
        }
    }
    drop(replay);
    assert_eq!(allocator.check(), Ok(()), "{}", trace.name);
    assert_eq!(allocator.stats().allocation.all.current, 0);
    drop(allocator);
    assert_eq!(device.first_violation(), None, "{}", trace.name);
    assert!(device.is_empty(), "{}: {:?}", trace.name, device.leaks());
    refused
}

fn traces() -> impl Iterator<Item = Trace> {
    workload::all().iter().map(|workload| workload.trace(1))
}

#[test]
fn with_room_to_spare_every_request_is_served() {
    for trace in traces() {
        for config in configurations() {
            let refused = play(&trace, &config, &device(&trace, true, 0));
            assert_eq!(refused, 0, "{} under {config:?}", trace.name);
        }
    }
}

#[test]
fn with_hardly_any_room_and_late_events_nothing_breaks() {
    for trace in traces() {
        for config in configurations() {
            play(&trace, &config, &device(&trace, false, 50));
        }
    }
}

fn found(name: &str) -> &'static Workload {
    workload::find(name).expect("a workload")
}

#[test]
fn a_run_is_the_same_every_time() {
    for name in ["lora", "streams", "h8-map-failures", "generation"] {
        let trace = found(name).trace(3);
        let options = RunOptions::new(Config::default(), trace.peak_requested * 2).event_lag(7);
        let options = options.keep_going(true);
        let [first, second] = [(), ()].map(|()| run::run(&trace, &options).expect("it runs"));
        assert_eq!((&first.stats, &first.calls), (&second.stats, &second.calls), "{name}");
        assert_eq!(first.driver_time_ns, second.driver_time_ns, "{name}");
        assert_eq!(first.device_peak_used, first.peak_reserved, "{name}");
        let peaks =
            [first.peak_requested, first.peak_allocated, first.peak_active, first.peak_reserved];
        assert!(peaks.is_sorted(), "{name}: {peaks:?}");
    }
}

#[test]
fn scenarios_reserve_what_they_are_known_to() {
    // Workload, device, lag, then peaks reserved: PyTorch fixed, PyTorch by pages, ours (MiB).
    for (name, capacity, lag, expected) in [
        ("h1-order", 1024, 0, [256, 140, 128]),
        ("h2-pinned-splits", 1024, 0, [96, 100, 64]),
        ("h9-pool-boundary", 1024, 0, [144, 144, 66]),
        ("h14-extend", 1024, 0, [796, 800, 796]),
        ("h5-pending-block", 1280, 1000, [1280, 1280, 1280]),
    ] {
        let trace = found(name).trace(0);
        let pages = Config::pytorch().with_expandable_segments(true);
        let peaks = [Config::pytorch(), pages, Config::default()].map(|config| {
            let options = RunOptions::new(config, Bytes::mib(capacity)).event_lag(lag);
            let run = run::run(&trace, &options).expect("it runs");
            assert!(run.survived, "{name}");
            run.peak_reserved.get() >> 20
        });
        assert_eq!(peaks, expected, "{name}");
    }
}

/// H8: the failure is reported, nothing else changes, and the program goes on.
#[test]
fn h8_mappings_that_fail_at_every_page_change_nothing() {
    let trace = found("h8-map-failures").trace(1);
    let fault = Fault::Driver { code: 999, message: "unknown".to_owned() };
    for call in [Call::MemMap, Call::MemSetAccess, Call::MemCreate] {
        for n in 1..40 {
            let device = device(&trace, true, 0);
            let allocator = CachingAllocator::new(&device, Config::default()).expect("good");
            let held = std::iter::repeat_with(|| None).take(trace.slots as usize).collect();
            let mut replay = Replay { allocator: &allocator, held };
            device.set_faults(FaultPlan::nth_call_of(call, n, fault.clone()));
            let mut failed = 0;
            for op in &trace.ops {
                let used = device.used();
                if let Err(error) = replay.step(op.kind) {
                    assert!(matches!(error, Error::Device(_)), "{error}");
                    assert_eq!(device.used(), used, "{call} {n}");
                    assert_eq!(allocator.check(), Ok(()), "{call} {n}");
                    replay.step(op.kind).expect("works the second time");
                    failed += 1;
                }
            }
            assert_eq!(failed, device.faults_hit(), "{call} {n}");
            drop(replay);
            drop(allocator);
            assert!(device.is_empty(), "{call} {n}: {:?}", device.leaks());
        }
    }
}
