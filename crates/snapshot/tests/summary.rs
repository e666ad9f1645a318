//! Summaries against PyTorch's own, and against what snapshots hold.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use freeboard_snapshot::summary::{PytorchStats, pytorch};
use freeboard_units::DeviceId;

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
