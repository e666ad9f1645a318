//! When what is offloaded leaves and comes back.

use freeboard_units::Bytes;

use crate::{Chain, Link, Operation, Plan, Stored, check};

/// A stored value of a plan: what it is, and between which operations nobody reads it.
#[derive(Clone, Copy)]
struct Idle {
    layer: usize,
    what: Stored,
    bytes: u64,
    /// The operation that is the last to use it on the way forward, and the next to use it.
    from: usize,
    until: usize,
}

/// Where one value goes: before which operation it is forgotten, and before which it is fetched.
struct Trip {
    idle: Idle,
    release: usize,
    fetch: usize,
}

/// The plan of `operations` with as few of the earliest stored values offloaded as fit in `budget`.
pub(super) fn offloaded(
    chain: &Chain,
    operations: &[Operation],
    budget: Bytes,
    link: Link,
) -> Option<Plan> {
    let during = check(chain, operations, Link::NONE).ok()?.bytes_during;
    let during: Vec<u64> = during.into_iter().map(Bytes::get).collect();
    let mut idle = idle_values(chain, operations);
    idle.sort_by_key(|value| value.from);
    // One more does not make it fit worse: the fewest are found by halving.
    let fits = |count: usize| trips(&idle[..count], &during, budget.get());
    let (mut few, mut many) = (0, idle.len());
    fits(many)?;
    while few < many {
        let middle = few.midpoint(many);
        if fits(middle).is_some() { many = middle } else { few = middle + 1 }
    }
    // More may go by faster: what is forgotten later need not be waited for.
    let counts = [many, (many + 1).min(idle.len()), (many + many / 4 + 2).min(idle.len())];
    let plans = counts.iter().filter_map(|&count| {
        let written = written(operations, &fits(count)?);
        Plan::new(chain, written, link).ok().filter(|plan| plan.peak_bytes <= budget)
    });
    plans.min_by(|a, b| a.total_time.total_cmp(&b.total_time))
}

/// The values that lie idle between the way forward and their backward pass.
fn idle_values(chain: &Chain, operations: &[Operation]) -> Vec<Idle> {
    let layers = chain.layers().len();
    // The last operation that read or made each value, by layer: plain inputs, then what is saved.
    let mut touched: [Vec<Option<usize>>; 2] = [vec![None; layers + 2], vec![None; layers + 2]];
    touched[0][1] = Some(0);
    let mut idle = Vec::new();
    for (at, &operation) in operations.iter().enumerate() {
        let layer = operation.layer();
        let mut read = |touched: &mut Option<usize>, layer, what, bytes: Bytes| {
            if let Some(from) = *touched
                && at > from + 1
            {
                idle.push(Idle { layer, what, bytes: bytes.get(), from, until: at });
            }
            *touched = Some(at);
        };
        let input = chain.activation_bytes(layer - 1);
        if touched[0][layer].is_some() {
            read(&mut touched[0][layer], layer, Stored::Input, input);
        } else if layer > 1 && touched[1][layer - 1].is_some() {
            let bytes = chain.layers()[layer - 2].saved_bytes;
            read(&mut touched[1][layer - 1], layer - 1, Stored::Saved, bytes);
        }
        match operation {
            Operation::ForwardDrop { .. } => {
                touched[0][layer] = None;
                touched[0][layer + 1] = Some(at);
            }
            Operation::ForwardKeep { .. } => touched[0][layer + 1] = Some(at),
            Operation::ForwardSave { .. } => touched[1][layer] = Some(at),
            Operation::Backward { .. } => {
                read(
                    &mut touched[1][layer],
                    layer,
                    Stored::Saved,
                    chain.layers()[layer - 1].saved_bytes,
                );
                touched[0][layer] = None;
                touched[1][layer] = None;
            }
            _ => {}
        }
    }
    idle.retain(|value| value.bytes > 0);
    idle
}

/// When each of `idle` leaves and comes back so that no operation needs more than `budget`.
fn trips(idle: &[Idle], during: &[u64], budget: u64) -> Option<Vec<Trip>> {
    let mut during = during.to_vec();
    let mut trips: Vec<Trip> = Vec::with_capacity(idle.len());
    // Forgotten as late as possible, the earliest first.
    let mut waiting = idle.iter().filter(|value| value.bytes > 0);
    for at in 0..during.len() {
        while during[at] > budget {
            let value = waiting.next()?;
            if value.from >= at || value.until <= at {
                continue;
            }
            for bytes in &mut during[at..value.until] {
                *bytes = bytes.saturating_sub(value.bytes);
            }
            trips.push(Trip { idle: *value, release: at, fetch: value.until });
        }
    }
    // Fetched as early as possible, the first to be used first.
    trips.sort_by_key(|trip| trip.idle.until);
    for trip in &mut trips {
        while trip.fetch > trip.release + 1 && during[trip.fetch - 1] + trip.idle.bytes <= budget {
            trip.fetch -= 1;
            during[trip.fetch] += trip.idle.bytes;
        }
    }
    Some(trips)
}

/// The operations with those trips among them.
fn written(operations: &[Operation], trips: &[Trip]) -> Vec<Operation> {
    let mut written = Vec::with_capacity(operations.len() + 4 * trips.len());
    for (at, &operation) in operations.iter().enumerate() {
        let of = |trip: &Trip| (trip.idle.layer, trip.idle.what);
        for (layer, what) in trips.iter().filter(|trip| trip.release == at).map(of) {
            written.push(Operation::Release { layer, what });
        }
        for (layer, what) in trips.iter().filter(|trip| trip.fetch == at).map(of) {
            written.push(Operation::Fetch { layer, what });
        }
        for (layer, what) in trips.iter().filter(|trip| trip.idle.until == at).map(of) {
            written.push(Operation::Await { layer, what });
        }
        written.push(operation);
        for (layer, what) in trips.iter().filter(|trip| trip.idle.from == at).map(of) {
            written.push(Operation::Offload { layer, what });
        }
    }
    written
}
