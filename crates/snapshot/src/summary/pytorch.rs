//! `PyTorch`'s own summary, to the letter: `torch.cuda.memory_summary`.

use std::fmt::Write;

use freeboard_units::DeviceId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One counter of `torch.cuda.memory_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The value now.
    pub current: i64,
    /// The largest value there was.
    pub peak: i64,
    /// The sum of all increases.
    pub allocated: i64,
    /// The sum of all decreases.
    pub freed: i64,
}

/// One counter for everything, and for both kinds of pool apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolCounters {
    /// Both together.
    pub all: Counter,
    /// Requests up to 1 MiB.
    pub small_pool: Counter,
    /// Larger ones.
    pub large_pool: Counter,
}

/// The counters that `PyTorch`'s summary shows, under the names of
/// `torch.cuda.memory_stats_as_nested_dict`. A counter that is missing when it is read is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PytorchStats {
    /// Bytes in blocks handed out.
    pub allocated_bytes: PoolCounters,
    /// Bytes in blocks handed out or still used by another stream.
    pub active_bytes: PoolCounters,
    /// Bytes asked for in those blocks.
    pub requested_bytes: PoolCounters,
    /// Bytes held from the device.
    pub reserved_bytes: PoolCounters,
    /// Free bytes in segments that are partly in use.
    pub inactive_split_bytes: PoolCounters,
    /// Blocks handed out.
    pub allocation: PoolCounters,
    /// Blocks handed out or still used by another stream.
    pub active: PoolCounters,
    /// Segments.
    pub segment: PoolCounters,
    /// Free blocks in segments that are partly in use.
    pub inactive_split: PoolCounters,
    /// Blocks of at least the maximum split size.
    pub oversize_allocations: Counter,
    /// Segments of at least the maximum split size.
    pub oversize_segments: Counter,
    /// Requests that ended out of memory.
    pub num_ooms: i64,
    /// Requests that were tried again after the cache had been given back.
    pub num_alloc_retries: i64,
}

impl PytorchStats {
    /// Reads what a program saved with `json.dump(torch.cuda.memory_stats())`; the nested form is
    /// read, too.
    ///
    /// # Errors
    /// If the text is no JSON object, or a counter no whole number.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        let flat: Map<String, Value> = serde_json::from_str(text)?;
        let mut nested = Map::new();
        for (path, value) in flat {
            let names: Vec<&str> = path.split('.').collect();
            // Deeper counters, of single pools, are not shown.
            let (Some((last, outer)), 1..=3) = (names.split_last(), names.len()) else { continue };
            let place = outer.iter().try_fold(&mut nested, |place, name| {
                let inner = place.entry(*name).or_insert_with(|| Value::Object(Map::new()));
                inner.as_object_mut()
            });
            if let Some(place) = place {
                place.insert((*last).to_owned(), value);
            }
        }
        serde_json::from_value(Value::Object(nested))
    }
}

/// The names of sizes, each 1,024 of the one before.
const SIZES: [&str; 6] = ["B  ", "KiB", "MiB", "GiB", "TiB", "PiB"];
/// The names of counts, each 1,000 of the one before.
const COUNTS: [&str; 3] = [" ", "K", "M"];

/// How a row's numbers are written.
#[derive(Clone, Copy)]
enum Kind {
    Size,
    Count,
}

impl Kind {
    /// A number, in the unit that suits another: that of the row's total.
    fn cell(self, number: i64, total: i64) -> String {
        let (step, most, units) = match self {
            Self::Size => (1024_u16, 768.0 * 1024.0, SIZES.len()),
            Self::Count => (1000, 750.0 * 1000.0, COUNTS.len()),
        };
        // Floats choose the unit, as PyTorch does it: that shows just below 768 PiB.
        #[expect(clippy::cast_precision_loss, reason = "so it is in what is imitated")]
        let mut scaled = total as f64;
        let (mut unit, mut divisor) = (0, 1_i64);
        while unit + 1 < units && scaled >= most {
            (unit, divisor) = (unit + 1, divisor * i64::from(step));
            scaled /= f64::from(step);
        }
        let number = number.div_euclid(divisor);
        match self {
            Self::Size => format!("{number:6} {}", SIZES[unit]),
            Self::Count => format!("{number:7} {} ", COUNTS[unit]),
        }
    }

    fn row(self, name: &str, counter: &Counter, total: &Counter) -> String {
        let cells = [
            self.cell(counter.current, total.current),
            self.cell(counter.peak, total.peak),
            self.cell(counter.allocated, total.allocated),
            self.cell(counter.freed, total.freed),
        ];
        format!(" {name:<21} | {} ", cells.join(" | "))
    }
}

/// The text that `torch.cuda.memory_summary(device, abbreviated)` gives for these counters,
/// character by character.
///
/// ```
/// use freeboard_snapshot::summary::{PytorchStats, pytorch};
/// use freeboard_units::DeviceId;
///
/// let text = pytorch(&PytorchStats::default(), DeviceId::new(0), true);
/// assert!(text.lines().all(|line| line.len() == 77));
/// ```
#[must_use]
pub fn pytorch(stats: &PytorchStats, device: DeviceId, abbreviated: bool) -> String {
    let by_pool = [
        ("Allocated memory", Kind::Size, &stats.allocated_bytes),
        ("Active memory", Kind::Size, &stats.active_bytes),
        ("Requested memory", Kind::Size, &stats.requested_bytes),
        ("GPU reserved memory", Kind::Size, &stats.reserved_bytes),
        ("Non-releasable memory", Kind::Size, &stats.inactive_split_bytes),
        ("Allocations", Kind::Count, &stats.allocation),
        ("Active allocs", Kind::Count, &stats.active),
        ("GPU reserved segments", Kind::Count, &stats.segment),
        ("Non-releasable allocs", Kind::Count, &stats.inactive_split),
    ];
    let oversize = [
        ("Oversize allocations", &stats.oversize_allocations),
        ("Oversize GPU segments", &stats.oversize_segments),
    ];
    let (thick, thin) = ("=".repeat(75), "-".repeat(75));
    let (ooms, retries) = (stats.num_ooms, stats.num_alloc_retries);
    let mut lines = vec![
        thick.clone(),
        format!("{:18}PyTorch CUDA memory summary, device ID {:<17} ", "", device.get()),
        thin.clone(),
        format!("{:12}CUDA OOMs: {ooms:<12} | {:7}cudaMalloc retries: {retries:<8}  ", "", ""),
        thick.clone(),
        format!("{:^23}| Cur Usage  | Peak Usage | Tot Alloc  | Tot Freed  ", "Metric"),
    ];
    for (name, kind, PoolCounters { all, small_pool, large_pool }) in by_pool {
        lines.push(thin.clone());
        lines.push(kind.row(name, all, all));
        if !abbreviated {
            lines.push(kind.row("      from large pool", large_pool, all));
            lines.push(kind.row("      from small pool", small_pool, all));
        }
    }
    for (name, counter) in oversize {
        lines.push(thin.clone());
        lines.push(Kind::Count.row(name, counter, counter));
    }
    lines.push(thick);
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "|{line}|");
        text
    })
}
