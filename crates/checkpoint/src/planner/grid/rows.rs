//! The rows of the table.

/// All slots in so many parts: what lies in one part is bounded by one number.
pub(super) const PARTS: usize = 16;

/// The least extra time of one stretch by the slots it has: none fits below `low`, then `count` times
/// from `start` on, then 0.
#[derive(Clone, Copy)]
pub(super) struct Row {
    low: usize,
    start: usize,
    count: usize,
    /// The time at the end of each part: none in it is less, for times fall with the slots.
    pub(super) least: [f32; PARTS],
}

/// The rows of stretches that begin at one layer, one behind the other in memory: filling reads them in
/// this order.
#[derive(Clone, Default)]
pub(super) struct Start {
    pub(super) rows: Vec<Row>,
    times: Vec<f32>,
}

impl Start {
    /// The first slot that fits, and the times from there on.
    pub(super) fn row(&self, at: usize) -> (usize, &[f32]) {
        let Row { low, start, count, .. } = self.rows[at];
        (low, &self.times[start..start + count])
    }

    pub(super) fn push(&mut self, low: usize, times: &[f32], least: [f32; PARTS]) {
        self.rows.push(Row { low, start: self.times.len(), count: times.len(), least });
        self.times.extend_from_slice(times);
    }
}
