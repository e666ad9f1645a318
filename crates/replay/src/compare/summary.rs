//! [`Summary`]: one contender over all traces, and which one is best.

use std::cmp::Ordering;

use serde::Serialize;

use super::{Contender, Row, TightSummary};

/// One contender over all traces. Field names are those of the JSON form.
///
/// The means are geometric, and over the same traces for all contenders, so that they compare:
/// those on which everyone who has any such figure has one. The worst figures are over all traces
/// of the contender. Ratios of reserved to allocated memory and of driver times count only where the
/// run survived.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The policy.
    pub contender: String,
    /// Traces it was run on.
    pub traces: usize,
    /// Traces it did not survive, on the device given.
    pub deaths: usize,
    /// Mean of held from the device divided by handed out, peak by peak.
    pub reserved_ratio_mean: Option<f64>,
    /// The largest of them.
    pub reserved_ratio_worst: Option<f64>,
    /// Mean of the smallest surviving device divided by the live peak.
    pub capacity_ratio_mean: Option<f64>,
    /// The largest of them.
    pub capacity_ratio_worst: Option<f64>,
    /// Times the whole device had to be waited for.
    pub stalls: i64,
    /// Driver calls of any kind.
    pub driver_calls: u64,
    /// Time that they would take, by the simulated device's cost model.
    pub driver_time_ns: u64,
    /// Mean of that time divided by what `PyTorch`'s policy with segments that grow takes, trace by
    /// trace; none where that policy does not take part.
    pub driver_time_ratio_mean: Option<f64>,
    /// The largest of them.
    pub driver_time_ratio_worst: Option<f64>,
    /// Runs on devices little larger than the live peak, where they were asked for.
    pub tight: Vec<TightSummary>,
}

impl Summary {
    /// Whether this one does better (less): fewest deaths, then the smaller device in the mean
    /// where it was looked for, then less reserved in the mean, then less time in the driver.
    /// A figure that is missing loses to any.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let figure = |ratio: Option<f64>| ratio.unwrap_or(f64::INFINITY);
        let smaller = |a, b| figure(a).total_cmp(&figure(b));
        self.deaths
            .cmp(&other.deaths)
            .then_with(|| smaller(self.capacity_ratio_mean, other.capacity_ratio_mean))
            .then_with(|| smaller(self.reserved_ratio_mean, other.reserved_ratio_mean))
            .then_with(|| self.driver_time_ns.cmp(&other.driver_time_ns))
    }
}

/// The contenders that no other does better than: one, or several that do exactly as well.
#[must_use]
pub fn best(summary: &[Summary]) -> Vec<&Summary> {
    let Some(first) = summary.iter().min_by(|a, b| a.order(b)) else {
        return Vec::new();
    };
    summary.iter().filter(|other| other.order(first).is_eq()).collect()
}

/// One summary for each contender, in the order in which they first appear.
#[must_use]
pub fn summarize(rows: &[Row]) -> Vec<Summary> {
    let contenders = distinct(rows.iter().map(|row| row.contender.as_str()));
    let reserved = Figure::of(rows, |row| row.reserved_ratio.filter(|_| row.survived));
    let capacity = Figure::of(rows, |row| row.capacity_ratio);
    let expandable = Contender::pytorch_expandable().name;
    let time = Figure::of(rows, |row| {
        let is_reference = |other: &&Row| other.trace == row.trace && other.contender == expandable;
        let reference = rows.iter().filter(|other| other.survived).find(is_reference)?;
        time_ratio(row, reference)
    });
    let summary = contenders.into_iter().map(|contender| {
        let own = || rows.iter().filter(move |row| row.contender == contender);
        Summary {
            contender: contender.to_owned(),
            traces: own().count(),
            deaths: own().filter(|row| !row.survived).count(),
            reserved_ratio_mean: reserved.mean(own()),
            reserved_ratio_worst: reserved.worst(own()),
            capacity_ratio_mean: capacity.mean(own()),
            capacity_ratio_worst: capacity.worst(own()),
            stalls: own().map(|row| row.stalls).sum(),
            driver_calls: own().map(|row| row.driver_calls).sum(),
            driver_time_ns: own().map(|row| row.driver_time_ns).sum(),
            driver_time_ratio_mean: time.mean(own()),
            driver_time_ratio_worst: time.worst(own()),
            tight: TightSummary::of(own().flat_map(|row| row.tight.iter().copied())),
        }
    });
    summary.collect()
}

/// Times compare where both ran to the end.
#[expect(clippy::cast_precision_loss, reason = "a ratio of times needs no more than 53 bits")]
fn time_ratio(row: &Row, reference: &Row) -> Option<f64> {
    let is_known = row.survived && row.driver_time_ns > 0 && reference.driver_time_ns > 0;
    is_known.then(|| row.driver_time_ns as f64 / reference.driver_time_ns as f64)
}

/// A figure of a row, and the traces on which its means are taken.
struct Figure<'r, F> {
    of: F,
    traces: Vec<&'r str>,
}

impl<'r, F: Fn(&Row) -> Option<f64>> Figure<'r, F> {
    fn of(rows: &'r [Row], of: F) -> Self {
        let measured = |row: &&Row| of(row).is_some();
        let taking_part = distinct(rows.iter().filter(measured).map(|row| row.contender.as_str()));
        let lacking = |row: &&Row| of(row).is_none();
        let missing: Vec<_> = rows
            .iter()
            .filter(|row| lacking(row) && taking_part.contains(&row.contender.as_str()))
            .map(|row| row.trace.as_str())
            .collect();
        let mut traces = distinct(rows.iter().map(|row| row.trace.as_str()));
        traces.retain(|trace| !missing.contains(trace));
        Self { of, traces }
    }

    fn mean<'o>(&self, own: impl Iterator<Item = &'o Row>) -> Option<f64> {
        let common = own.filter(|row| self.traces.contains(&row.trace.as_str()));
        let logarithms: Vec<_> = common.filter_map(&self.of).map(f64::ln).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of traces")]
        let count = logarithms.len() as f64;
        (!logarithms.is_empty()).then(|| (logarithms.iter().sum::<f64>() / count).exp())
    }

    fn worst<'o>(&self, own: impl Iterator<Item = &'o Row>) -> Option<f64> {
        own.filter_map(&self.of).max_by(f64::total_cmp)
    }
}

fn distinct<'t>(names: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
