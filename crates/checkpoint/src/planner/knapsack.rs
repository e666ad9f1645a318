//! The 0-1 knapsack: the set of most time within a number of bytes.
//!
//! Partial choices are kept as a list in which every further one has more bytes and more time
//! (Nemhauser and Ullmann, Management Science 15, 1969); those that cannot reach what a greedy choice
//! reaches already, even if the rest of the room were filled with parts of the best items, are dropped.

/// One thing to take or leave.
pub(crate) struct Item {
    /// What the caller calls it.
    pub(crate) index: usize,
    pub(crate) bytes: u64,
    pub(crate) time: f64,
}

/// A partial choice: what it has, and the choice it came from by taking an item.
#[derive(Clone, Copy)]
struct Partial {
    bytes: u64,
    time: f64,
    /// In `taken`; 0 is nothing.
    last: usize,
}

/// The most partial choices at once.
const MOST: usize = 20_000;

/// The indices of the items to take.
pub(crate) fn most_valuable(items: &[Item], room: u64) -> Vec<usize> {
    let mut order: Vec<&Item> = items.iter().filter(|item| item.bytes <= room).collect();
    // The best time for a byte first: a.time / a.bytes > b.time / b.bytes.
    order.sort_by(|a, b| density(b).total_cmp(&density(a)));
    let reached = greedy(&order, room);
    // Each: the item, and the choice before it.
    let mut taken: Vec<(usize, usize)> = vec![(0, 0)];
    let mut choices = vec![Partial { bytes: 0, time: 0.0, last: 0 }];
    for (at, item) in order.iter().enumerate() {
        let with: Vec<Partial> = choices
            .iter()
            .filter(|choice| choice.bytes + item.bytes <= room)
            .map(|choice| {
                taken.push((item.index, choice.last));
                let time = choice.time + item.time;
                Partial { bytes: choice.bytes + item.bytes, time, last: taken.len() - 1 }
            })
            .collect();
        choices = merged(&choices, &with);
        let hopeful = |choice: &Partial| {
            choice.time + filled(&order[at + 1..], room - choice.bytes) >= reached
        };
        choices.retain(hopeful);
        if choices.len() > MOST {
            choices.sort_by(|a, b| b.time.total_cmp(&a.time));
            choices.truncate(MOST);
            choices.sort_by_key(|choice| choice.bytes);
        }
    }
    let best = choices.iter().max_by(|a, b| a.time.total_cmp(&b.time));
    let mut last = best.map_or(0, |best| best.last);
    let mut result = Vec::new();
    while last != 0 {
        let (index, before) = taken[last];
        result.push(index);
        last = before;
    }
    result
}

#[expect(clippy::cast_precision_loss, reason = "an order, not a result")]
fn density(item: &Item) -> f64 {
    if item.bytes == 0 { f64::INFINITY } else { item.time / item.bytes as f64 }
}

/// The time of taking what fits in this order, a little less for rounding.
fn greedy(order: &[&Item], mut room: u64) -> f64 {
    let mut time = 0.0;
    for item in order {
        if item.bytes <= room {
            room -= item.bytes;
            time += item.time;
        }
    }
    time * (1.0 - 1e-12)
}

/// No set takes more time than this in `room`: the best items, and a part of the next.
#[expect(clippy::cast_precision_loss, reason = "a bound")]
fn filled(order: &[&Item], mut room: u64) -> f64 {
    let mut time = 0.0;
    for item in order {
        if item.bytes > room {
            return time + item.time * (room as f64 / item.bytes as f64);
        }
        room -= item.bytes;
        time += item.time;
    }
    time
}

/// Both lists in order of bytes, without what has no more time than one of fewer bytes.
fn merged(first: &[Partial], second: &[Partial]) -> Vec<Partial> {
    let (mut a, mut b) = (first.iter().peekable(), second.iter().peekable());
    let mut merged: Vec<Partial> = Vec::with_capacity(first.len() + second.len());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if (x.bytes, y.time) <= (y.bytes, x.time) => a.next(),
            (_, Some(_)) => b.next(),
            (Some(_), None) => a.next(),
            (None, None) => return merged,
        };
        if let Some(choice) = next
            && merged.last().is_none_or(|last| choice.time > last.time)
        {
            merged.push(*choice);
        }
    }
}
