//! The free list against the standard library's ordered set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::block::{Arena, Block, BlockState, NO_EXPANDABLE};

fn entry(arena: &mut Arena, units: u64, address: u64) -> Entry {
    let (size, address) = (Bytes::new(units * 512), Address::new(address));
    let block = arena.insert(Block {
        address,
        size,
        requested: Bytes::ZERO,
        free_since: 0,
        prev: BlockId::NONE,
        next: BlockId::NONE,
        expandable: NO_EXPANDABLE,
        events: 0,
        pool: 0,
        stream: 0,
        state: BlockState::Free,
        used_elsewhere: false,
        raw: false,
    });
    Entry { size, address, block }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64, u64),
    Remove(usize),
    Search(u64, u64),
}

fn units() -> impl Strategy<Value = u64> {
    prop_oneof![1..4u64, 1..4096u64, 1..1u64 << 30, Just(1u64 << 54)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (units(), 0..1000u64).prop_map(|(u, a)| Step::Insert(u, a)),
        3 => any::<usize>().prop_map(Step::Remove),
        2 => (units(), 0..1000u64).prop_map(|(u, a)| Step::Search(u, a)),
    ];
    prop::collection::vec(step, 1..600)
}

fn check(steps: &[Step]) {
    let (mut arena, mut list, mut model) = (Arena::default(), FreeList::default(), BTreeSet::new());
    for step in steps {
        match *step {
            Step::Insert(units, address) => {
                if model.insert((units * 512, address)) {
                    list.insert(entry(&mut arena, units, address));
                }
            }
            Step::Remove(nth) if !model.is_empty() => {
                let picked = *model.iter().nth(nth % model.len()).unwrap();
                model.remove(&picked);
                list.remove(Bytes::new(picked.0), Address::new(picked.1));
            }
            Step::Remove(_) => {}
            Step::Search(units, address) => {
                let (size, place) = (Bytes::new(units * 512), Address::new(address));
                let found = list.at_least(size, place).map(|e| (e.size.get(), e.address.get()));
                assert_eq!(found, model.range((units * 512, address)..).next().copied());
                let below = list.below(size).map(|e| (e.size.get(), e.address.get()));
                assert_eq!(below, model.range(..(units * 512, 0)).next_back().copied());
            }
        }
        assert_eq!(list.largest().map(|e| e.size.get()), model.last().map(|k| k.0));
    }
    assert!(list.iter().map(|e| (e.size.get(), e.address.get())).eq(model.iter().copied()));
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
    steps.extend((0..5000).map(|i| Step::Remove(i * 31)));
    steps.push(Step::Search(1, 0));
    check(&steps);
}

#[test]
fn shelves_never_put_a_larger_size_below_a_smaller_one() {
    let mut last = 0;
    for units in (1..100_000).chain((17..55).map(|bit| 1u64 << bit)) {
        let shelf = shelf_of(Bytes::new(units * 512));
        assert!(shelf >= last && shelf < SHELVES, "{units}");
        last = shelf;
    }
}
