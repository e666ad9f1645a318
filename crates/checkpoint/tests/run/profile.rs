//! What is measured is what there is, and a step takes what was predicted from it.

use std::cell::Cell;
use std::rc::Rc;

use freeboard_checkpoint::{
    ChainError, Layer, Link, Meter, PeakWatch, ProfileError, Profiler, Random, Runner, Verdict,
    keep_all, least_bytes, optimal,
};
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::model::{Dense, Ledger, Told, Vector, forget_runs, input, loss, network};
use crate::numbers::{expected, shape};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn bytes_are_measured_exactly_and_a_step_takes_what_its_plan_says(shape in shape(8)) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, known) = network(&ledger, &shape);
        // What is there before does not count.
        let parameters = Vector::new(&ledger, vec![0.0; 100]);
        let make = || Ok(input(&ledger));
        let chain = Profiler::new(&*ledger).profile(&mut segments, Random::new(1), make).unwrap();
        prop_assert_eq!(chain.input_bytes(), known.input_bytes());
        for (measured, known) in chain.layers().iter().zip(known.layers()) {
            let Layer { forward_time, backward_time, .. } = *measured;
            prop_assert_eq!(measured, &Layer { forward_time, backward_time, ..known.clone() });
        }
        let (least, most) = (least_bytes(&chain).unwrap().get(), keep_all(&chain).peak_bytes.get());
        for budget in [least, least.midpoint(most), most].map(Bytes::new) {
            let plan = optimal(&chain, budget).unwrap();
            let mut runner = Runner::new(&segments, &plan).unwrap();
            forget_runs(&segments);
            let watch = PeakWatch::begin(&*ledger).tolerating(0.0);
            let loss = |output: &Vector| loss(output, 1.0);
            runner.run(&mut segments, input(&ledger), Random::new(1), loss).unwrap();
            let report = watch.end(&plan);
            prop_assert_eq!(report.predicted, plan.peak_bytes);
            let counted = expected(&chain, &plan, Link::NONE).into_iter().max().unwrap();
            prop_assert_eq!(report.measured.get(), counted);
            prop_assert_ne!(report.verdict(), Verdict::More);
        }
        drop(parameters);
        prop_assert_eq!(ledger.in_use().get(), 0);
    }
}

/// Seconds that go by at each look: 1, 2, 3, …
fn clock() -> impl FnMut() -> f64 {
    let (mut now, mut step) = (0.0, 0.0);
    move || {
        step += 1.0;
        now += step;
        now
    }
}

#[test]
fn times_are_medians_of_all_rounds_but_the_first() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, _) = network(&ledger, &[(2, [0, 0])]);
    let mut profiler = Profiler::new(&*ledger).rounds(5).clock(clock());
    let chain = profiler.profile(&mut segments, Random::new(1), || Ok(input(&ledger))).unwrap();
    // The k-th pass takes 2k seconds; the first round is passes 1 to 3, the middle one of the
    // others is 10 to 12. Of the two forward passes the longer one counts.
    let layer = &chain.layers()[0];
    assert_eq!(format!("{} {}", layer.forward_time, layer.backward_time), "22 24");
}

#[test]
fn a_failure_while_profiling_names_the_layer() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, _) = network(&ledger, &[(2, [0, 0]); 2]);
    let profile = |call, clock: fn() -> f64, segments: &mut [Dense]| {
        ledger.start();
        ledger.fault.set((call, false));
        let make = || ledger.call().map(|()| input(&ledger));
        let profiled =
            Profiler::new(&*ledger).rounds(1).clock(clock).profile(segments, Random::new(1), make);
        assert_eq!(ledger.in_use().get(), 0);
        profiled.unwrap_err()
    };
    let still = || 0.0;
    assert_eq!(profile(1, still, &mut segments), ProfileError::Input(Told(1)));
    let messages: Vec<String> =
        (2..16).map(|call| profile(call, still, &mut segments).to_string()).collect();
    assert_eq!(messages[2], "profiling: layer 1 (`dense 1`), backward: call 4 was told to fail");
    assert_eq!(messages[13], "profiling: layer 2 (`dense 2`), forward: call 15 was told to fail");
    assert_eq!(profile(0, still, &mut []), ProfileError::Chain(ChainError::Empty));
    let never = || f64::NAN;
    let error = profile(0, never, &mut segments);
    assert!(matches!(error, ProfileError::Chain(ChainError::Time { layer: 1, .. })), "{error}");
}

#[test]
fn a_layer_that_keeps_something_once_is_not_charged_for_it() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, known) = network(&ledger, &[(3, [1, 1]); 2]);
    let kept = Cell::new(None);
    let mut looks = 0;
    // As a library does that makes its workspace at its first call.
    let clock = || {
        looks += 1;
        if looks == 5 {
            kept.set(Some(Vector::new(&ledger, vec![0.0; 1000])));
        }
        0.0
    };
    let mut profiler = Profiler::new(&*ledger).clock(clock);
    let chain = profiler.profile(&mut segments, Random::new(1), || Ok(input(&ledger))).unwrap();
    for (measured, known) in chain.layers().iter().zip(known.layers()) {
        assert_eq!(measured.backward_extra_bytes, known.backward_extra_bytes);
        assert_eq!(measured.saved_bytes, known.saved_bytes);
    }
}
