//! Summaries against PyTorch's own, and against what snapshots hold.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read;

use flate2::read::GzDecoder;
use freeboard_snapshot::summary::{self, PytorchStats, pytorch};
use freeboard_snapshot::timeline::{Moment, Timeline, Totals};
use freeboard_snapshot::{Snapshot, pickle};
use freeboard_units::{Bytes, DeviceId};

/// What `torch.cuda.memory_stats()` and `memory_summary()` of PyTorch 2.15 gave, side by side,
/// inside the `except` block of programs that had run out of memory.
const REAL: [(&str, u32, &str, &str, &str); 5] = [
    (
        "a model that does not fit",
        0,
        include_str!("data/summary/exhaustion.json"),
        include_str!("data/summary/exhaustion.txt"),
        include_str!("data/summary/exhaustion.short.txt"),
    ),
    (
        "max_split_size_mb, with oversize blocks",
        0,
        include_str!("data/summary/max_split.json"),
        include_str!("data/summary/max_split.txt"),
        include_str!("data/summary/max_split.short.txt"),
    ),
    (
        "expandable segments",
        0,
        include_str!("data/summary/expandable.json"),
        include_str!("data/summary/expandable.txt"),
        include_str!("data/summary/expandable.short.txt"),
    ),
    (
        "private pools",
        0,
        include_str!("data/summary/private_pools.json"),
        include_str!("data/summary/private_pools.txt"),
        include_str!("data/summary/private_pools.short.txt"),
    ),
    (
        "the second of two devices",
        1,
        include_str!("data/summary/second_device.json"),
        include_str!("data/summary/second_device.txt"),
        include_str!("data/summary/second_device.short.txt"),
    ),
];

#[test]
fn pytorchs_summary_is_given_to_the_letter() {
    for (name, device, stats, full, short) in REAL {
        let stats = PytorchStats::from_json(stats).unwrap();
        let device = DeviceId::new(device);
        assert_eq!(pytorch(&stats, device, false), full, "{name}");
        assert_eq!(pytorch(&stats, device, true), short, "{name}");
    }
}

fn read(packed: &[u8]) -> Snapshot {
    let mut file = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut file).unwrap();
    pickle::read(&file[..], &pickle::ReadOptions::default()).unwrap()
}

/// Real files, and the sums of `total_size`, `allocated_size`, `active_size - allocated_size` and
/// `requested_size` over their segments, and the number of optimizer steps that ended, as Python
/// computed them.
fn real() -> [(Snapshot, [u64; 4], usize); 3] {
    let files: [&[u8]; 3] = [
        include_bytes!("data/oom_fragmentation.pickle.gz"),
        include_bytes!("data/streams_and_pools.pickle.gz"),
        include_bytes!("data/train_expandable.pickle.gz"),
    ];
    let [fragmentation, streams, expandable] = files.map(read);
    [
        (fragmentation, [5_236_588_544, 4_706_819_072, 0, 4_699_739_160], 27),
        (streams, [486_539_264, 235_930_112, 226_492_416, 449_839_108], 0),
        (expandable, [599_785_472, 125_995_008, 0, 125_995_008], 6),
    ]
}

const DEVICE: DeviceId = DeviceId::new(0);

#[test]
fn a_walk_through_a_real_history_ends_at_what_the_segments_hold() {
    for (snapshot, totals, steps) in real() {
        let [reserved, allocated, pending, requested] = totals.map(Bytes::new);
        let timeline = Timeline::new(&snapshot, DEVICE);
        assert_eq!(timeline.end().totals, Totals { reserved, allocated, pending, requested });
        // These histories are whole: nothing was there before.
        assert_eq!(timeline.before().totals, Totals::default());
        assert_eq!(timeline.untold_frees(), 0);
        let complete = timeline.steps().iter().filter(|step| step.is_complete).count();
        assert_eq!(complete, steps);
        let summary = summary::of_timeline(&timeline);
        assert_eq!(summary.waste.total() + summary.requested, reserved);
        let held = summary.holders.iter().map(|holder| holder.bytes).sum::<Bytes>();
        assert_eq!(held, allocated);
    }
}

#[test]
fn a_real_history_that_lost_its_beginning_tells_the_rest_as_before() {
    for (mut snapshot, ..) in real() {
        let events = snapshot.histories[0].events.clone();
        let whole: Vec<Moment> = Timeline::new(&snapshot, DEVICE).moments().collect();
        for cut in [1, 2, 3, 5, 7].map(|part| events.len() * part / 8) {
            snapshot.histories[0].events = events[cut..].to_vec();
            let timeline = Timeline::new(&snapshot, DEVICE);
            assert_eq!(timeline.before().totals, whole[cut - 1].totals, "cut at {cut}");
            let rest = timeline.moments().map(|moment| moment.totals);
            assert!(rest.eq(whole[cut..].iter().map(|moment| moment.totals)), "cut at {cut}");
        }
    }
}

#[test]
fn a_failed_request_is_told_with_what_was_in_use_then() {
    let [(snapshot, ..), ..] = real();
    let summary = summary::ours(&snapshot, DEVICE);
    let failed = summary.out_of_memory.as_ref().unwrap();
    // The oom event's size and device_free.
    assert_eq!((failed.requested.get(), failed.free.get()), (435_421_184, 320_864_256));
    assert_eq!(failed.active, summary.allocated);
    // 505 MiB lie in pieces: more than was wanted.
    assert!(summary.waste.pieces > failed.requested);
    assert!(summary.streams[0].largest < failed.requested);
    assert!(summary.to_string().contains("415.25 MiB wanted on stream 0, 306.00 MiB free"));
}
