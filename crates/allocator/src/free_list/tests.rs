//! The free list against the standard library's ordered set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::block::{Arena, Block};

fn key(units: u64, place: u64) -> Key {
    Key { size: Bytes::new(units * 512), place: place * 512 + 512 }
}

fn entry(arena: &mut Arena, units: u64, place: u64) -> Entry {
    let (size, address) = (Bytes::new(units * 512), freeboard_units::Address::new(place * 512));
    let block = arena.insert(Block { address, size, ..Block::BLANK });
    Entry { key: key(units, place), block }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64, u64),
    Remove(usize),
    Search(u64, u64),
    Take(u64, u64),
}

fn units() -> impl Strategy<Value = u64> {
    prop_oneof![1..4u64, 1..4096u64, 1..1u64 << 30, Just(1u64 << 46)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (units(), 0..1000u64).prop_map(|(u, a)| Step::Insert(u, a)),
        3 => any::<usize>().prop_map(Step::Remove),
        2 => (units(), 0..1000u64).prop_map(|(u, a)| Step::Search(u, a)),
        2 => (units(), 0..1000u64).prop_map(|(u, a)| Step::Take(u, a)),
    ];
    prop::collection::vec(step, 1..600)
}

fn check(steps: &[Step]) {
    let (mut arena, mut list, mut model) = (Arena::default(), FreeList::default(), BTreeSet::new());
    for step in steps {
        match *step {
            Step::Insert(units, place) => {
                if model.insert((units, place)) {
                    list.insert(entry(&mut arena, units, place));
                }
            }
            Step::Remove(nth) if !model.is_empty() => {
                let picked = *model.iter().nth(nth % model.len()).unwrap();
                model.remove(&picked);
                list.remove(key(picked.0, picked.1));
            }
            Step::Remove(_) => {}
            Step::Take(units, place) => {
                if let Some(found) = list.at_least(key(units, place)) {
                    list.take(&found);
                    let expected = *model.range((units, place)..).next().unwrap();
                    assert_eq!(found.entry.key, key(expected.0, expected.1));
                    model.remove(&expected);
                }
            }
            Step::Search(units, place) => {
                let found = list.at_least(key(units, place)).map(|found| found.entry.key);
                let expected = model.range((units, place)..).next();
                assert_eq!(found, expected.map(|&(units, place)| key(units, place)));
            }
        }
        let largest = list.largest().map(|entry| entry.key.size.get());
        assert_eq!(largest, model.last().map(|(units, _)| units * 512));
    }
    let mut keys: Vec<Key> = list.iter().map(|entry| entry.key).collect();
    keys.sort_unstable_by_key(|key| key.rank());
    assert!(keys.into_iter().eq(model.iter().map(|&(units, place)| key(units, place))));
}

proptest! {
    #[test]
    fn it_answers_as_an_ordered_set_does(steps in steps()) {
        check(&steps);
    }
}

#[test]
fn a_shelf_of_thousands_stays_in_order_and_empties_again() {
    let addresses = (0..5000u64).map(|i| i * 7919 % 5003);
    let mut steps: Vec<Step> = addresses.map(|a| Step::Insert(9, a)).collect();
    steps.extend((0..1000).map(|_| Step::Take(9, 2500)));
    steps.extend((0..4000).map(|i| Step::Remove(i * 31)));
    steps.push(Step::Search(1, 0));
    check(&steps);
}

#[test]
fn shelves_never_put_a_larger_size_below_a_smaller_one() {
    let mut last = 0;
    for units in (1..100_000).chain((17..47).map(|bit| 1u64 << bit)) {
        let shelf = shelf_of(key(units, 0));
        assert!(shelf >= last && shelf < SHELVES, "{units}");
        last = shelf;
    }
}
