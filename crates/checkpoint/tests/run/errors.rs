//! Whatever goes wrong has a place and a name, leaves no memory behind, and the next step runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use freeboard_checkpoint::{
    Check, Link, Meter, Operation, Plan, Random, RunError, Runner, RunnerError, Stored, Tensor,
    keep_all,
};
use proptest::prelude::*;

use crate::model::{
    Dense, Drift, Gradients, Ledger, Told, Vector, forget_runs, input, loss, network, weights,
};
use crate::numbers::{choices, shape};
use crate::offload::{offloaded, runner};
use crate::plans::{Choices, every, offloading, persistent};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn after_an_error_or_a_panic_in_any_call_the_next_step_is_as_if_nothing_had_happened(
        shape in shape(5),
        choices in choices(),
    ) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, chain) = network(&ledger, &shape);
        let mut choices = Choices(&choices);
        let plan = persistent(&chain, &mut choices);
        let plan = offloading(&chain, plan, &mut choices);
        let mut runner = runner(&segments, &plan);
        let expected = offloaded(&mut segments, &mut runner).unwrap();
        let calls = ledger.calls();
        prop_assert_eq!(calls as usize, plan.operations.len() + 1, "each operation, and the loss");
        for call in 1..=calls {
            for panics in [false, true] {
                ledger.fault.set((call, panics));
                let step = || offloaded(&mut segments, &mut runner);
                match catch_unwind(AssertUnwindSafe(step)) {
                    Ok(failed) => {
                        let error = failed.unwrap_err();
                        prop_assert!(error.is_from(|&told| told == Told(call)), "{error}");
                        check_place(&error, &plan, &segments);
                    }
                    Err(payload) => {
                        prop_assert_eq!(payload.downcast_ref(), Some(&Told(call)));
                    }
                }
                prop_assert_eq!(ledger.in_use().get(), 0, "call {}", call);
                ledger.fault.set((0, false));
                prop_assert_eq!(&offloaded(&mut segments, &mut runner).unwrap(), &expected);
            }
        }
    }
}

/// The error names the operation that was told to fail.
fn check_place(error: &RunError<Told>, plan: &Plan, segments: &[Dense]) {
    let Some(place) = error.place() else {
        assert!(matches!(error, RunError::Loss { .. }), "{error}");
        return;
    };
    let number = place.number.unwrap();
    assert_eq!(plan.operations[number], place.operation);
    assert_eq!(segments[place.layer - 1].name, place.name);
    let layer = place.layer;
    let forward = |one: &&Operation| one.is_forward() && one.layer() == layer;
    let before = plan.operations[..number].iter().filter(forward).count();
    assert_eq!(place.again, place.operation.is_forward() && before > 0);
}

fn failed(segments: &mut [Dense], plan: &Plan, check: Check) -> Result<Gradients, RunError<Told>> {
    forget_runs(segments);
    let ledger = Rc::clone(&segments[0].ledger);
    let mut runner = Runner::new(segments, plan).unwrap().checking(check);
    let random = Random::new(1);
    let made = runner.run(segments, input(&ledger), random, |output| loss(output, 1.0))?;
    Ok((made.bits(), weights(segments)))
}

#[test]
fn a_layer_that_makes_something_else_when_run_again_is_found() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(4, [0, 0]); 6]);
    let plan = every(&chain, 3);
    for (drift, least) in [(Drift::Size, Check::Metadata), (Drift::Value, Check::Values)] {
        segments[1].drift = drift;
        let error = failed(&mut segments, &plan, Check::Values).unwrap_err();
        let RunError::Differs { place, what, fingerprints } = &error else { panic!("{error}") };
        assert_eq!((place.layer, place.name.as_str(), place.again), (2, "dense 2", true));
        assert_ne!(fingerprints[0], fingerprints[1]);
        assert_eq!(*what, Tensor::Activation(2));
        assert_eq!(ledger.in_use().get(), 0);
        let seen = failed(&mut segments, &plan, Check::Metadata).is_err();
        assert_eq!(seen, least == Check::Metadata, "{drift:?}");
    }
}

#[test]
fn a_failure_says_where_what_and_what_to_do() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(4, [0, 0]); 4]);
    let plan = every(&chain, 2);
    segments[0].drift = Drift::Size;
    let message = failed(&mut segments, &plan, Check::Values).unwrap_err().to_string();
    let hashes: Vec<&str> = message.split("values ").skip(1).map(|rest| &rest[..16]).collect();
    assert_eq!(
        message,
        format!(
            "layer 1 (`dense 1`), recomputation (operation 6 of the plan): a(1) is float32 [5] of \
             20 bytes, values {}, and was float32 [4] of 16 bytes, values {} in the first run; a \
             layer must make the same again: take random numbers from `Random`, and change nothing \
             in a forward pass",
            hashes[0], hashes[1]
        )
    );
    segments[0].drift = Drift::Nothing;
    ledger.start();
    ledger.fault.set((6, false));
    let message = failed(&mut segments, &plan, Check::Values).unwrap_err().to_string();
    assert_eq!(
        message,
        "layer 4 (`dense 4`), backward (operation 4 of the plan): call 6 was told to fail"
    );
}

#[test]
fn a_plan_that_does_not_fit_the_segments_is_refused_before_anything_runs() {
    let ledger = Rc::new(Ledger::default());
    let (segments, chain) = network(&ledger, &[(4, [0, 0]); 4]);
    let plan = every(&chain, 2);
    let refused = |segments: &[Dense], operations: Vec<Operation>| {
        let plan = Plan { operations, ..plan.clone() };
        Runner::new(segments, &plan).unwrap_err()
    };
    assert_eq!(refused(&[], plan.operations.clone()), RunnerError::Empty);
    let error = refused(&segments[..3], plan.operations.clone());
    assert!(matches!(error, RunnerError::Plan { segments: 3, .. }), "{error}");
    for missing in 0..plan.operations.len() {
        let mut operations = plan.operations.clone();
        operations.remove(missing);
        let RunnerError::Plan { source, .. } = refused(&segments, operations) else {
            panic!("without {missing}")
        };
        assert!(source.number >= missing);
    }
    let mut twice = keep_all(&chain).operations;
    let layer = segments.len();
    let again = [Operation::ForwardSave { layer }, Operation::Backward { layer }];
    twice.splice(5..5, again);
    let order = RunnerError::Order { number: 6, layer, expected: layer - 1 };
    assert_eq!(refused(&segments, twice), order);
    let mut offloads = plan.operations.clone();
    let operation = Operation::Offload { layer: 1, what: Stored::Input };
    offloads.insert(1, operation);
    let back = [
        Operation::Release { layer: 1, what: Stored::Input },
        Operation::Fetch { layer: 1, what: Stored::Input },
        Operation::Await { layer: 1, what: Stored::Input },
    ];
    offloads.splice(3..3, back);
    assert_eq!(refused(&segments, offloads), RunnerError::Offloads { number: 1, operation });
    assert_eq!(ledger.calls(), 0);
}

proptest! {
    #[test]
    fn no_plan_makes_the_runner_panic(
        operations in prop::collection::vec((0..8_usize, 0..6_usize, any::<bool>()), 0..40),
    ) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, chain) = network(&ledger, &[(2, [0, 0]); 4]);
        let operations: Vec<Operation> = operations
            .into_iter()
            .map(|(kind, layer, input)| {
                let what = if input { Stored::Input } else { Stored::Saved };
                match kind {
                    0 => Operation::ForwardDrop { layer },
                    1 => Operation::ForwardKeep { layer },
                    2 => Operation::ForwardSave { layer },
                    3 => Operation::Backward { layer },
                    4 => Operation::Offload { layer, what },
                    5 => Operation::Release { layer, what },
                    6 => Operation::Fetch { layer, what },
                    _ => Operation::Await { layer, what },
                }
            })
            .collect();
        // Before a plan that works: what is read may be gone, what is made may be there.
        let operations = operations.into_iter().take(3).chain(every(&chain, 2).operations).collect();
        let plan = Plan { operations, ..keep_all(&chain) };
        let is_valid = Plan::new(&chain, plan.operations.clone(), Link::new(1.0)).is_ok();
        match Runner::new(&segments, &plan) {
            Ok(mut runner) => {
                let loss = |output: &Vector| loss(output, 1.0);
                let ran = runner.run(&mut segments, input(&ledger), Random::new(1), loss);
                prop_assert!(is_valid && ran.is_ok(), "{ran:?}");
            }
            Err(RunnerError::Plan { .. }) => prop_assert!(!is_valid),
            Err(error) => prop_assert!(is_valid, "{error}"),
        }
        prop_assert_eq!(ledger.in_use().get(), 0);
    }
}

#[test]
fn a_held_step_that_failed_says_that_it_has_to_start_again() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(4, [0, 0]); 4]);
    let mut runner = Runner::new(&segments, &every(&chain, 2)).unwrap();
    let mut held = runner.forward(&segments, input(&ledger), Random::new(1)).unwrap();
    let gradient = loss(held.output(&segments).unwrap(), 1.0).unwrap();
    ledger.fault.set((ledger.calls() + 2, false));
    held.backward(&mut segments, &gradient).unwrap_err();
    assert_eq!(ledger.in_use(), Meter::in_use(&*ledger));
    assert!(matches!(held.output(&segments), Err(RunError::Missing { .. })));
    let again = held.backward(&mut segments, &gradient).unwrap_err();
    assert!(matches!(again, RunError::Missing { .. }), "{again}");
    let few = held.backward(&mut segments[..2], &gradient).unwrap_err();
    assert_eq!(few, RunError::Segments { expected: 4, found: 2 });
    drop(held);
    drop(gradient);
    assert_eq!(ledger.in_use().get(), 0);
}
