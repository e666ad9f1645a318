//! The orders in which buffers are tried.

use std::cmp::Reverse;

use crate::sections::{Item, live};

use super::random::mix;

/// How many orders there are.
pub(crate) const ORDERS: u64 = 7;

/// Every buffer's place in the order; `noise`, unless 0, makes values up to 30 % larger at random.
pub(crate) fn rank(items: &[Item], order: u64, noise: u64) -> Vec<u32> {
    let live = live(items);
    let crowd = |item: &Item| live[item.sections()].iter().copied().max().unwrap_or(0);
    let value = |number: usize| {
        let item = &items[number];
        let (size, time) = (u128::from(item.size), u128::from(item.time()));
        let (first, second) = match order {
            0 => (time, size),
            1 => (crowd(item).into(), item.area()),
            2 => (crowd(item).into(), time),
            3 => (item.area(), 0),
            4 => (size, time),
            5 => (u128::from(item.last - item.first) + 1, size),
            _ => (crowd(item).into(), size),
        };
        let more = if noise == 0 { 0 } else { mix(noise ^ mix(number as u64)) % 308 };
        (first.saturating_mul(u128::from(1024 + more)), second)
    };
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by_cached_key(|&number| Reverse(value(number)));
    let mut rank = vec![0; items.len()];
    for (place, number) in (0..).zip(sorted) {
        rank[number] = place;
    }
    rank
}
