//! Gradients do not depend on the plan, and memory is what the plan says, operation by operation.

use std::rc::Rc;

use freeboard_checkpoint::{
    Chain, Check, Link, Meter, Plan, Random, Runner, Segment, check, keep_all,
};
use proptest::prelude::*;

use crate::model::{
    Kept, Ledger, Told, Vector, forget_runs, input, loss, network, step, turn, weights,
};
use crate::plans::{Choices, every, persistent};

/// Widths and scratch memory of up to so many layers.
pub(crate) fn shape(most: usize) -> impl Strategy<Value = Vec<(usize, [usize; 2])>> {
    let layer = (1..6_usize, 0..8_usize, 0..8_usize);
    let layer = layer.prop_map(|(width, forward, backward)| (width, [forward, backward]));
    prop::collection::vec(layer, 1..=most)
}

pub(crate) fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn gradients_are_those_of_keeping_all_to_the_bit(shape in shape(9), choices in choices()) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, chain) = network(&ledger, &shape);
        let expected = step(&mut segments, &keep_all(&chain)).unwrap();
        let plan = persistent(&chain, &mut Choices(&choices));
        prop_assert_eq!(step(&mut segments, &plan).unwrap(), expected);
        prop_assert_eq!(ledger.in_use().get(), 0);
    }

    #[test]
    fn memory_is_what_the_rules_say_during_every_operation(
        shape in shape(9),
        choices in choices(),
    ) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, chain) = network(&ledger, &shape);
        let plan = persistent(&chain, &mut Choices(&choices));
        step(&mut segments, &plan).unwrap();
        let expected = expected(&chain, &plan, Link::NONE);
        prop_assert_eq!(&*ledger.during.borrow(), &expected);
    }

    #[test]
    fn several_gradients_at_once_are_those_of_separate_steps(
        shape in shape(7),
        choices in choices(),
        factors in prop::collection::vec(-2.0_f32..2.0, 0..6),
    ) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, chain) = network(&ledger, &shape);
        let plan = persistent(&chain, &mut Choices(&choices));
        let mut runner = Runner::new(&segments, &plan).unwrap();
        let random = Random::new(8);
        let mut separate = Vec::new();
        for &factor in &factors {
            let loss = |output: &Vector| loss(output, factor);
            let made = runner.run(&mut segments, input(&ledger), random, loss).unwrap();
            separate.push(made.bits());
        }
        let separate = (separate, weights(&mut segments));

        let losses = |output: &Vector| factors.iter().map(|&factor| loss(output, factor)).collect();
        let made = runner.run_many(&mut segments, input(&ledger), random, losses).unwrap();
        let together = (made.iter().map(Vector::bits).collect(), weights(&mut segments));
        drop(made);
        prop_assert_eq!(&together, &separate);

        forget_runs(&segments);
        let mut held = runner.forward(&segments, input(&ledger), random).unwrap();
        let mut one_by_one = Vec::new();
        if let Some((&last, factors)) = factors.split_last() {
            for &factor in factors {
                let gradient = loss(held.output(&segments).unwrap(), factor).unwrap();
                one_by_one.push(held.backward(&mut segments, &gradient).unwrap().bits());
            }
            let runs: Vec<u32> = segments.iter().map(|segment| segment.runs.get()).collect();
            let gradient = loss(held.output(&segments).unwrap(), last).unwrap();
            one_by_one.push(held.backward_last(&mut segments, gradient).unwrap().bits());
            let again = segments.iter().map(|segment| segment.runs.get());
            prop_assert!(factors.is_empty() || again.eq(runs), "one recomputation serves all");
        } else {
            drop(held);
        }
        prop_assert_eq!((one_by_one, weights(&mut segments)), separate);
        prop_assert_eq!(ledger.in_use().get(), 0);
    }
}

/// What the rules say, less the gradient of the loss while the output is made: it comes after.
pub(crate) fn expected(chain: &Chain, plan: &Plan, link: Link) -> Vec<u64> {
    let checked = check(chain, &plan.operations, link).unwrap();
    let mut during: Vec<u64> = checked.bytes_during.iter().map(|bytes| bytes.get()).collect();
    let layers = chain.layers().len();
    during[turn(plan, layers)] -= chain.activation_bytes(layers).get();
    during
}

#[test]
fn one_runner_serves_many_steps_and_layers_of_any_type() {
    type Any = Box<dyn Segment<Value = Vector, Saved = Kept, Error = Told>>;
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(4, [1, 2]); 9]);
    let plan = every(&chain, 3);
    let mut expected = Vec::new();
    let mut runner = Runner::new(&segments, &plan).unwrap();
    for random in (0..3).map(Random::new) {
        let made = runner.run(&mut segments, input(&ledger), random, |out| loss(out, 1.0));
        expected.push(made.unwrap().bits());
    }
    assert_ne!(expected[0], expected[1], "another step draws other numbers");

    let mut boxed: Vec<Any> = segments.into_iter().map(|one| Box::new(one) as Any).collect();
    let mut runner = Runner::new(&boxed, &plan).unwrap().checking(Check::Values);
    for (random, expected) in (0..3).map(Random::new).zip(expected) {
        let made = runner.run(&mut boxed, input(&ledger), random, |out| loss(out, 1.0));
        assert_eq!(made.unwrap().bits(), expected);
    }
    assert_eq!(ledger.in_use().get(), 0);
}

#[test]
fn recomputation_makes_the_dropout_it_made_before() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(5, [0, 0]); 8]);
    let with = step(&mut segments, &every(&chain, 2)).unwrap();
    for segment in &mut segments {
        segment.dropout = 0.0;
    }
    assert_ne!(step(&mut segments, &every(&chain, 2)).unwrap(), with, "something was dropped");
}
