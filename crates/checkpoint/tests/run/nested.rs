//! Chains within chains: the same numbers, memory that goes as it should, no forward pass for
//! nothing.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use freeboard_checkpoint::{
    Chain, Check, Layer, Link, Meter, Nested, Operation, Plan, Random, RunError, Runner,
    RunnerError, Segment, Stored, keep_all,
};
use proptest::prelude::*;

use crate::model::{Dense, Drift, Ledger, Told, Vector, input, loss, network, step, weights};
use crate::numbers::{choices, shape};
use crate::plans::{Choices, every, persistent};

type Block = Nested<Dense>;
type Outer = Nested<Block>;

/// A chain of so many layers that take nothing, to plan for.
fn blank(layers: usize) -> Chain {
    Chain::new(freeboard_units::Bytes::ZERO, vec![Layer::new("layer", 1.0, 1.0); layers]).unwrap()
}

/// Blocks of so many segments, each with a plan of its own.
fn blocks(
    mut segments: Vec<Dense>,
    size: usize,
    plan: &mut impl FnMut(usize) -> Plan,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    while !segments.is_empty() {
        let rest = segments.split_off(size.min(segments.len()));
        let plan = plan(segments.len());
        let name = format!("block {}", blocks.len() + 1);
        blocks.push(Nested::new(name, segments, &plan).unwrap().checking(Check::Values));
        segments = rest;
    }
    blocks
}

/// Three levels: dense layers in blocks of two, those in blocks of two, and those in a chain.
fn tower(segments: Vec<Dense>, plan: &mut impl FnMut(usize) -> Plan) -> Vec<Outer> {
    let mut inner = blocks(segments, 2, plan);
    let mut tower = Vec::new();
    while !inner.is_empty() {
        let rest = inner.split_off(inner.len().min(2));
        let plan = plan(inner.len());
        tower.push(Nested::new("outer", inner, &plan).unwrap());
        inner = rest;
    }
    tower
}

fn run(tower: &mut [Outer], plan: &Plan, factors: &[f32]) -> (Vec<Vec<u32>>, Vec<u32>) {
    let ledger = Rc::clone(&tower[0].segments()[0].segments()[0].ledger);
    let mut runner = Runner::new(tower, plan).unwrap().checking(Check::Values);
    let losses =
        |output: &Vector| factors.iter().map(|&factor| Ok(loss(output, factor).unwrap())).collect();
    let made = runner.run_many(tower, input(&ledger), Random::new(4), losses).unwrap();
    let dense = tower.iter_mut().flat_map(Nested::segments_mut).flat_map(Nested::segments_mut);
    (made.iter().map(Vector::bits).collect(), weights(dense))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn gradients_do_not_depend_on_any_of_the_plans(shape in shape(12), choices in choices()) {
        let ledger = Rc::new(Ledger::default());
        let build = |plan: &mut dyn FnMut(usize) -> Plan| {
            let (segments, _) = network(&ledger, &shape);
            let mut tower = tower(segments, &mut |layers| plan(layers));
            let plan = plan(tower.len());
            run(&mut tower, &plan, &[1.0, -0.5, 3.0])
        };
        let kept = build(&mut |layers| keep_all(&blank(layers)));
        let mut choices = Choices(&choices);
        let planned = build(&mut |layers| persistent(&blank(layers), &mut choices));
        prop_assert_eq!(planned, kept);
        prop_assert_eq!(ledger.in_use().get(), 0);
    }

    #[test]
    fn without_random_numbers_it_is_the_flat_chain(shape in shape(9), choices in choices()) {
        let ledger = Rc::new(Ledger::default());
        let (mut flat, chain) = network(&ledger, &shape);
        let (mut inner, _) = network(&ledger, &shape);
        for segment in flat.iter_mut().chain(&mut inner) {
            segment.dropout = 0.0;
        }
        let expected = step(&mut flat, &keep_all(&chain)).unwrap();
        let mut choices = Choices(&choices);
        let mut tower = tower(inner, &mut |layers| persistent(&blank(layers), &mut choices));
        let plan = persistent(&blank(tower.len()), &mut choices);
        let (mut inputs, weights) = run(&mut tower, &plan, &[1.0]);
        prop_assert_eq!((inputs.remove(0), weights), expected);
    }
}

#[test]
fn a_nested_backward_pass_forgets_as_it_goes() {
    let ledger = Rc::new(Ledger::default());
    let (segments, chain) = network(&ledger, &[(5, [0, 0]); 6]);
    let inner = every(&chain, 2);
    let mut nested = vec![Nested::<_>::new("all", segments, &inner).unwrap()];
    let plan = keep_all(&blank(1));
    let mut runner = Runner::new(&nested, &plan).unwrap();
    ledger.start();
    let loss = |output: &Vector| Ok(loss(output, 1.0).unwrap());
    runner.run(&mut nested, input(&ledger), Random::new(1), loss).unwrap();
    let most = *ledger.during.borrow().iter().max().unwrap();
    assert_eq!(most, inner.peak_bytes.get());
}

#[test]
fn an_error_inside_names_both_layers() {
    let ledger = Rc::new(Ledger::default());
    let (segments, _) = network(&ledger, &[(2, [0, 0]); 4]);
    let mut blocks = blocks(segments, 2, &mut |layers| keep_all(&blank(layers)));
    let plan = every(&blank(2), 1);
    let mut runner = Runner::new(&blocks, &plan).unwrap();
    let mut messages = Vec::new();
    let mut call = 1;
    loop {
        ledger.start();
        ledger.fault.set((call, false));
        let loss = |output: &Vector| Ok(Vector::new(&ledger, output.numbers.clone()));
        match runner.run(&mut blocks, input(&ledger), Random::new(1), loss) {
            Ok(_) => break,
            Err(error) => {
                let inner = |inner: &RunError<Told>| inner.is_from(|&told| told == Told(call));
                assert!(error.is_from(inner));
                messages.push(error.to_string());
            }
        }
        assert_eq!(ledger.in_use().get(), 0);
        call += 1;
    }
    let told = |call: u32| format!("call {call} was told to fail");
    let first = "layer 1 (`block 1`), forward (operation 0 of the plan): layer 2 (`dense 2`), \
                 forward: ";
    assert_eq!(messages[1], format!("{first}{}", told(2)));
    let last = "layer 1 (`block 1`), backward (operation 4 of the plan): layer 1 (`dense 1`), \
                backward (operation 3 of the plan): ";
    assert_eq!(messages[9], format!("{last}{}", told(10)));
    assert_eq!(messages.len(), 10);
}

#[test]
fn a_plan_that_offloads_cannot_be_nested() {
    let (segments, chain) = network(&Rc::new(Ledger::default()), &[(2, [0, 0]); 2]);
    let (layer, what) = (1, Stored::Input);
    let mut operations = keep_all(&chain).operations;
    let moved = [
        Operation::Offload { layer, what },
        Operation::Release { layer, what },
        Operation::Fetch { layer, what },
        Operation::Await { layer, what },
    ];
    operations.splice(2..2, moved);
    let plan = Plan::new(&chain, operations, Link::new(1.0)).unwrap();
    let refused = Nested::<_>::new("nested", segments, &plan).unwrap_err();
    assert!(matches!(refused, RunnerError::Offloads { number: 2, .. }), "{refused}");
}

#[test]
fn a_backward_pass_that_is_not_the_last_still_knows_what_was_made_first() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(4, [0, 0]); 4]);
    segments[0].drift = Drift::Size;
    let mut nested = Nested::<_>::new("nested", segments, &every(&chain, 2)).unwrap();
    let (input, random) = (input(&ledger), Random::new(1));
    let saved = nested.forward_saving(&input, random).unwrap();
    let gradient = loss(nested.output(&saved).unwrap(), 1.0).unwrap();
    let error = nested.backward(&input, &saved, &gradient, random).unwrap_err();
    assert!(matches!(error, RunError::Differs { .. }), "{error}");
    assert!(error.place().unwrap().again);

    let (few, chain) = network(&ledger, &[(4, [0, 0]); 2]);
    let mut other = Nested::<_>::new("other", few, &keep_all(&chain)).unwrap();
    let refused = other.backward(&input, &saved, &gradient, random).unwrap_err();
    assert_eq!(refused, RunError::Segments { expected: 2, found: 4 });
    assert_eq!(other.backward_last(&input, saved, gradient, random).unwrap_err(), refused);
}

/// A layer whose backward pass needs nothing but its input: its output is for others alone.
#[derive(Default)]
struct Square {
    outputs: Cell<u32>,
    stopped: Cell<u32>,
}

impl Square {
    fn compute(&self, input: f32) -> f32 {
        self.outputs.set(self.outputs.get() + 1);
        input * input
    }
}

impl Segment for Square {
    type Value = f32;
    type Saved = Option<f32>;
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "square"
    }

    fn forward(&self, input: &f32, _: Random) -> Result<f32, Infallible> {
        Ok(self.compute(*input))
    }

    fn forward_saving(&self, input: &f32, _: Random) -> Result<Option<f32>, Infallible> {
        Ok(Some(self.compute(*input)))
    }

    fn forward_for_backward(&self, _: &f32, _: Random) -> Result<Option<f32>, Infallible> {
        self.stopped.set(self.stopped.get() + 1);
        Ok(None)
    }

    fn output<'saved>(&self, saved: &'saved Option<f32>) -> Option<&'saved f32> {
        saved.as_ref()
    }

    fn backward(
        &mut self,
        input: &f32,
        _: &Option<f32>,
        gradient: &f32,
        _: Random,
    ) -> Result<f32, Infallible> {
        Ok(2.0 * input * gradient)
    }
}

fn squares(layers: usize) -> Vec<Square> {
    (0..layers).map(|_| Square::default()).collect()
}

fn counts<'s>(squares: impl IntoIterator<Item = &'s Square>) -> Vec<(u32, u32)> {
    squares.into_iter().map(|one| (one.outputs.get(), one.stopped.get())).collect()
}

#[test]
fn a_recomputation_stops_where_nobody_reads_on() {
    let mut segments = squares(6);
    let mut runner = Runner::new(&segments, &every(&blank(6), 2)).unwrap();
    let made = runner.run(&mut segments, 1.5, Random::new(0), |_| Ok(1.0)).unwrap();
    let x = 1.5_f64;
    assert!((f64::from(made) / (64.0 * x.powi(63)) - 1.0).abs() < 1e-5);
    // The second of each recomputed pair has nobody to compute its output for.
    assert_eq!(counts(&segments), [(2, 0), (1, 1), (2, 0), (1, 1), (1, 0), (1, 0)]);
}

#[test]
fn a_held_step_keeps_an_input_that_the_plan_makes_and_drops_once_more() {
    let mut segments = squares(2);
    let operations = vec![
        Operation::ForwardKeep { layer: 1 },
        Operation::ForwardSave { layer: 2 },
        Operation::Backward { layer: 2 },
        Operation::ForwardKeep { layer: 1 },
        Operation::ForwardDrop { layer: 2 },
        Operation::ForwardSave { layer: 1 },
        Operation::Backward { layer: 1 },
    ];
    let plan = Plan::new(&blank(2), operations, Link::NONE).unwrap();
    let mut runner = Runner::new(&segments, &plan).unwrap();
    let mut held = runner.forward(&segments, 3.0, Random::new(0)).unwrap();
    let first = held.backward(&mut segments, &1.0).unwrap();
    let second = held.backward(&mut segments, &1.0).unwrap();
    assert_eq!([first.to_bits(), second.to_bits()], [108.0_f32.to_bits(); 2]);
}

#[test]
fn a_recomputed_chain_stops_inside_and_leaves_out_what_leads_nowhere() {
    // The first two operations of the inner plan lead to an a(2) that no backward pass depends on.
    let operations = vec![
        Operation::ForwardKeep { layer: 1 },
        Operation::ForwardDrop { layer: 2 },
        Operation::ForwardSave { layer: 1 },
        Operation::ForwardSave { layer: 2 },
        Operation::Backward { layer: 2 },
        Operation::Backward { layer: 1 },
    ];
    let inner = Plan::new(&blank(2), operations, Link::NONE).unwrap();
    let nested = |_| Nested::<_>::new("pair", squares(2), &inner).unwrap();
    let mut segments: Vec<Nested<Square>> = (0..2).map(nested).collect();
    let plan = every(&blank(2), 1);
    let mut runner = Runner::new(&segments, &plan).unwrap();
    let made = runner.run(&mut segments, 1.5, Random::new(0), |_| Ok(1.0)).unwrap();
    assert!((made / (16.0 * 1.5_f32.powi(15)) - 1.0).abs() < 1e-5);
    // Forward; then layer 1 once more, for layer 2, which stops.
    assert_eq!(counts(segments[0].segments()), [(2, 0), (1, 1)]);
    assert_eq!(counts(segments[1].segments()), [(1, 0), (1, 0)]);
}
