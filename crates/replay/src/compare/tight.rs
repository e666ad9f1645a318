//! [`Tight`]: a run on a device little larger than the live peak.

use freeboard_units::Bytes;
use serde::Serialize;

use crate::run::{RunError, RunOptions, run};
use crate::trace::Trace;

/// The step between capacities: a page of the device.
const PAGE: Bytes = Bytes::mib(2);

/// What came of one trace on a device little larger than its live peak. Field names are those of
/// the JSON form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tight {
    /// How many times the live peak the device has.
    pub factor: f64,
    /// The device's memory: the product, in whole pages of 2 MiB, and no fewer than hold the peak.
    pub capacity: Bytes,
    /// Whether every request was served.
    pub survived: bool,
    /// Times the whole device had to be waited for.
    pub stalls: i64,
    /// Time that driver calls would take, by the simulated device's cost model.
    pub driver_time_ns: u64,
}

impl Tight {
    pub(super) fn run(trace: &Trace, factor: f64, options: &RunOptions) -> Result<Self, RunError> {
        let capacity = capacity(trace.peak_requested, factor);
        let run = run(trace, &RunOptions { capacity, samples: 0, ..options.clone() })?;
        let (survived, stalls) = (run.survived, run.stalls);
        Ok(Self { factor, capacity, survived, stalls, driver_time_ns: run.driver_time_ns })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size times a positive number, saturating"
)]
fn capacity(peak: Bytes, factor: f64) -> Bytes {
    let product = Bytes::new((peak.as_f64() * factor) as u64);
    product.align_down(PAGE).max(peak.checked_align_up(PAGE).unwrap_or(peak))
}

/// One contender on such devices over all traces. Field names are those of the JSON form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TightSummary {
    /// How many times the live peak each device has.
    pub factor: f64,
    /// Traces it did not survive.
    pub deaths: usize,
    /// Times the whole device had to be waited for.
    pub stalls: i64,
}

impl TightSummary {
    /// One for each factor, over the runs of all traces.
    pub(super) fn of(runs: impl Iterator<Item = Tight>) -> Vec<Self> {
        let mut sums: Vec<Self> = Vec::new();
        for run in runs {
            let known = sums.iter().position(|sum| sum.factor.to_bits() == run.factor.to_bits());
            let place = known.unwrap_or_else(|| {
                sums.push(Self { factor: run.factor, ..Self::default() });
                sums.len() - 1
            });
            sums[place].deaths += usize::from(!run.survived);
            sums[place].stalls += run.stalls;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tight_device_has_whole_pages_and_room_for_the_peak() {
        assert_eq!(capacity(Bytes::mib(100), 1.1), Bytes::mib(110));
        assert_eq!(capacity(Bytes::mib(100), 1.019), Bytes::mib(100));
        assert_eq!(capacity(Bytes::new(1), 1.5), Bytes::mib(2));
        assert_eq!(capacity(Bytes::ZERO, 2.0), Bytes::ZERO);
    }
}
