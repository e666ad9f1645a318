//! [`Item`]: a buffer as the packers see it; and time, cut into sections.

use std::ops::RangeInclusive;

use crate::Buffer;

/// A buffer as the packers see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// The first section it is live in.
    pub(crate) first: u32,
    /// The last one.
    pub(crate) last: u32,
    /// The room it takes up.
    pub(crate) size: u64,
    /// When its life begins and ends.
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl Item {
    pub(crate) fn sections(&self) -> RangeInclusive<usize> {
        self.first as usize..=self.last as usize
    }

    /// How long it is live.
    pub(crate) fn time(&self) -> u64 {
        self.end - self.begin
    }

    pub(crate) fn area(&self) -> u128 {
        u128::from(self.size) * u128::from(self.time())
    }

    pub(crate) fn lives_in(&self, section: u32) -> bool {
        self.first <= section && section <= self.last
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Cuts time into sections: one for every largest set of buffers that are live at once.
///
/// A moment whose live buffers are all live at another moment, too, adds nothing, so it gets no
/// section. Two buffers overlap in time if and only if they share a section.
pub(crate) fn cut(buffers: &[Buffer], alignment: u64) -> Vec<Item> {
    let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(2 * buffers.len());
    for (number, Buffer { lifetime, .. }) in (0..).zip(buffers) {
        // At one moment ends come before begins.
        events.push((lifetime.end, false, number));
        events.push((lifetime.start, true, number));
    }
    events.sort_unstable();
    let mut items: Vec<Item> = buffers
        .iter()
        .map(|Buffer { lifetime, size }| Item {
            first: 0,
            last: 0,
            size: size.get().next_multiple_of(alignment),
            begin: lifetime.start,
            end: lifetime.end,
        })
        .collect();
    let (mut section, mut grew) = (0, false);
    for (_, begins, number) in events {
        let item = &mut items[number as usize];
        if begins {
            // The set is a largest one when the next thing that happens to it is an end.
            section += u32::from(!grew);
            grew = true;
            item.first = section - 1;
        } else {
            grew = false;
            item.last = section - 1;
        }
    }
    items
}

/// Parts of time that no buffer connects: each with its buffers, in order of their begin.
pub(crate) fn parts(items: &[Item], numbers: &[u32]) -> Vec<Vec<u32>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by_key(|&number| items[number as usize].first);
    let mut parts: Vec<Vec<u32>> = Vec::new();
    let mut end = 0;
    for number in sorted {
        let item = &items[number as usize];
        match parts.last_mut() {
            Some(part) if item.first <= end => part.push(number),
            _ => parts.push(vec![number]),
        }
        end = end.max(item.last);
    }
    parts
}

/// What lives in each section, in bytes.
pub(crate) fn live(items: &[Item]) -> Vec<u64> {
    let count = items.iter().map(|item| item.last as usize + 1).max().unwrap_or(0);
    let (mut begins, mut ends) = (vec![0; count], vec![0; count]);
    for item in items {
        begins[item.first as usize] += item.size;
        ends[item.last as usize] += item.size;
    }
    let mut now = 0;
    let sums = begins.iter().zip(&ends).map(|(begin, end)| {
        let live = now + begin;
        now = live - end;
        live
    });
    sums.collect()
}

/// The buffers of a part as a problem of its own, whose sections begin with 0.
pub(crate) fn alone(items: &[Item], part: &[u32]) -> Vec<Item> {
    let base = items[part[0] as usize].first;
    let moved = part.iter().map(|&number| {
        let item = items[number as usize];
        Item { first: item.first - base, last: item.last - base, ..item }
    });
    moved.collect()
}

/// For every section the buffers that live in it.
pub(crate) fn members(items: &[Item], sections: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); sections];
    for (number, item) in (0..).zip(items) {
        for section in item.sections() {
            members[section].push(number);
        }
    }
    members
}
