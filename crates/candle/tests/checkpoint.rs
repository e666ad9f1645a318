//! What a checkpoint does with unusual inputs, outputs, passes and threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot run candle has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use candle_core::{DType, Device, Module, Result, Tensor, Var};
use candle_nn::{LayerNorm, Linear};
use freeboard_candle::autocast::{self, Dtype, Scope};
use freeboard_candle::{Checkpoint, Plan, checkpoint, checkpoint_plan, checkpoint_sequential};

fn variable(seed: f32, shape: &[usize]) -> Var {
    let count: usize = shape.iter().product();
    let numbers: Vec<f32> =
        (0..u16::try_from(count).unwrap()).map(|it| (seed + f32::from(it)).sin()).collect();
    Var::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

fn gradient(loss: &Tensor, of: &Tensor) -> Option<Vec<f32>> {
    let gradient = loss.sum_all().unwrap().backward().unwrap().remove(of)?;
    Some(gradient.flatten_all().unwrap().to_vec1().unwrap())
}

#[test]
fn what_an_output_does_not_depend_on_has_no_gradient() {
    let (used, unused, captured) = (variable(1.0, &[3]), variable(2.0, &[3]), variable(3.0, &[3]));
    let own = captured.clone();
    let function = move |x: &[Tensor]| {
        let _ignored = (&x[1] * own.as_tensor())?;
        x[0].exp()
    };
    let y = checkpoint(function, &[&used.sin().unwrap(), &unused.sin().unwrap()]).unwrap();
    assert!(gradient(&y, &used).is_some());
    assert_eq!(gradient(&y, &unused), None);
    assert_eq!(gradient(&y, &captured), None);
}

#[test]
fn a_function_without_variables_leaves_nothing_in_the_graph() {
    let x = Tensor::ones(3, DType::F32, &Device::Cpu).unwrap();
    let y = checkpoint(|x| x[0].exp(), &[&x]).unwrap();
    assert!(!y.track_op());
    let ids = checkpoint(|x| x[0].argmax(0), &[&variable(1.0, &[3])]).unwrap();
    assert!(ids.sorted_nodes().is_empty());
}

#[test]
fn an_output_may_be_an_input_or_a_variable() {
    let (x, w) = (variable(1.0, &[3]), variable(2.0, &[3]));
    let h = x.sin().unwrap();
    let y = checkpoint(|x| Ok(x[0].clone()), &[&h]).unwrap();
    assert_eq!(gradient(&y.exp().unwrap(), &x), gradient(&h.exp().unwrap(), &x));
    let own = w.clone();
    let y = checkpoint(move |_| Ok(own.as_tensor().clone()), &[&h]).unwrap();
    assert_eq!(gradient(&y.exp().unwrap(), &w), gradient(&w.exp().unwrap(), &w));
    assert_eq!(gradient(&y, &x), None);
}

#[test]
fn an_input_may_be_given_twice_and_captured_as_a_variable() {
    let x = variable(1.0, &[3]);
    let own = x.clone();
    let h = x.sin().unwrap();
    let plain = ((&h * &h).unwrap() * x.as_tensor()).unwrap();
    let y = checkpoint(move |t| (&t[0] * &t[1])? * own.as_tensor(), &[&h, &h]).unwrap();
    assert_eq!(gradient(&y, &x), gradient(&plain, &x));
    let y = checkpoint(|t| (&t[0] * &t[1])?.exp(), &[&x, &x]).unwrap();
    assert_eq!(gradient(&y, &x), gradient(&x.sqr().unwrap().exp().unwrap(), &x));
}

#[test]
fn elements_lie_as_in_the_plain_run() {
    // candle-nn's LayerNorm has gradients for inputs that are not contiguous only.
    let (x, weight, bias) = (variable(1.0, &[4, 3]), variable(2.0, &[2]), variable(3.0, &[2]));
    let norm = LayerNorm::new(weight.as_tensor().clone(), bias.as_tensor().clone(), 1e-5);
    let views: [fn(&Tensor) -> Result<Tensor>; 3] = [
        |x| x.exp()?.narrow(1, 0, 2),
        |x| x.exp()?.narrow(0, 1, 2)?.t(),
        |x| x.exp()?.narrow(1, 0, 1)?.broadcast_as((4, 2)),
    ];
    for view in views {
        let input = view(&x).unwrap();
        let own = norm.clone();
        let y = checkpoint(move |x| own.forward(&x[0]), &[&input]).unwrap();
        let plain = norm.forward(&input).unwrap();
        for of in [&x, &weight, &bias] {
            assert!(gradient(&plain, of).is_some());
            assert_eq!(gradient(&y, of), gradient(&plain, of));
        }
        let y = checkpoint(move |x| view(&x[0]), &[&x]).unwrap();
        assert_eq!(y.is_contiguous(), input.is_contiguous());
        let then = |y: &Tensor| norm.forward(y).unwrap();
        assert_eq!(gradient(&then(&y), &x), gradient(&then(&input), &x));
    }
}

#[test]
fn several_outputs_are_computed_again_once() {
    let (x, w) = (variable(1.0, &[3]), variable(2.0, &[3]));
    let runs = Arc::new(AtomicUsize::new(0));
    let (own, count) = (w.clone(), Arc::clone(&runs));
    let function = move |x: &[Tensor]| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(vec![x[0].exp()?, x[0].argmax(0)?, (&x[0] * own.as_tensor())?, x[0].detach()])
    };
    let h = x.sin().unwrap();
    let outputs = Checkpoint::new("many").compare_every(1).run_many(function, &[&h]).unwrap();
    assert_eq!(outputs[1].dtype(), DType::U32);
    assert!(!outputs[3].track_op());
    let loss = (outputs[0].sqr().unwrap() + &outputs[2]).unwrap();
    let (first, second) = (h.exp().unwrap(), (&h * w.as_tensor()).unwrap());
    let plain = (first.sqr().unwrap() + &second).unwrap();
    for of in [&x, &w] {
        assert_eq!(gradient(&loss, of), gradient(&plain, of));
        assert_eq!(gradient(&outputs[2], of), gradient(&second, of));
    }
    assert_eq!(gradient(&outputs[0], &x), gradient(&first, &x));
    assert_eq!(gradient(&outputs[0], &w), None);
    assert_eq!(runs.load(Ordering::Relaxed), 1 + 4 + 2);
}

#[test]
fn threads_run_backward_passes_of_one_graph_at_once() {
    let (x, w) = (variable(1.0, &[64, 8]), variable(2.0, &[8, 8]));
    let layer = Linear::new(w.as_tensor().clone(), None);
    let deep = move |x: &[Tensor]| {
        let inner = layer.clone();
        Ok(checkpoint(move |x| inner.forward(&x[0])?.tanh(), &[&x[0].exp()?])?)
    };
    let y = checkpoint(deep.clone(), &[&x]).unwrap();
    let y = checkpoint(deep, &[&y]).unwrap();
    let expected = (gradient(&y, &x), gradient(&y, &w));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!((gradient(&y, &x), gradient(&y, &w)), expected);
                }
            });
        }
    });
}

#[test]
fn it_runs_again_under_the_autocast_scope_it_ran_in() {
    let (x, w) = (variable(1.0, &[2, 3]), variable(2.0, &[3, 2]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (own, types) = (w.clone(), Arc::clone(&seen));
    let function = move |x: &[Tensor]| {
        let y = autocast::matmul(&x[0], &own)?;
        types.lock().unwrap().push(y.dtype());
        y.to_dtype(DType::F32)
    };
    let scope = Scope::new(Dtype::BF16).unwrap();
    let y = scope.run(|| checkpoint(function, &[&x])).unwrap();
    assert!(gradient(&y, &w).is_some());
    assert_eq!(*seen.lock().unwrap(), [DType::BF16, DType::BF16]);
}

fn layers() -> Vec<Linear> {
    (0..7_u8).map(|it| Linear::new(variable(f32::from(it), &[4, 4]).into_inner(), None)).collect()
}

fn same_as_plain(y: &Tensor, layers: &[Linear], x: &Tensor) {
    let plain = layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x)).unwrap();
    assert_eq!(gradient(y, x), gradient(&plain, x));
    for layer in layers {
        assert_eq!(gradient(y, layer.weight()), gradient(&plain, layer.weight()));
    }
}

#[test]
fn a_sequence_is_cut_as_in_torch() {
    let (layers, x) = (layers(), variable(9.0, &[2, 4]));
    for segments in 1..=7 {
        let y = checkpoint_sequential(&layers, segments, &x).unwrap();
        same_as_plain(&y, &layers, &x);
    }
    let count = Arc::new(AtomicUsize::new(0));
    let counted = {
        let count = Arc::clone(&count);
        move |x: &Tensor| {
            count.fetch_add(1, Ordering::Relaxed);
            x.sin()
        }
    };
    // Seven in three: two, two, and three that are kept.
    let y = checkpoint_sequential(&vec![counted; 7], 3, &x).unwrap();
    assert!(gradient(&y, &x).is_some());
    assert_eq!(count.load(Ordering::Relaxed), 7 + 4);
}

#[test]
fn a_plan_says_what_is_kept() {
    let text = r#"{"peak_bytes": 0, "total_time": 0.0, "ideal_time": 0.0, "operations": [
        {"op": "forward_keep", "layer": 1}, {"op": "forward_drop", "layer": 2},
        {"op": "forward_drop", "layer": 3}, {"op": "forward_save", "layer": 4},
        {"op": "forward_keep", "layer": 5}, {"op": "forward_keep", "layer": 6},
        {"op": "forward_save", "layer": 7}, {"op": "backward", "layer": 7}]}"#;
    let plan: Plan = serde_json::from_str(text).unwrap();
    let (layers, x) = (layers(), variable(9.0, &[2, 4]));
    same_as_plain(&checkpoint_plan(&layers, &plan, &x).unwrap(), &layers, &x);
    let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..7).map(|_| AtomicUsize::new(0)).collect());
    let modules: Vec<_> = (0..7)
        .map(|number| {
            let runs = Arc::clone(&runs);
            move |x: &Tensor| {
                runs[number].fetch_add(1, Ordering::Relaxed);
                x.sin()
            }
        })
        .collect();
    let y = checkpoint_plan(&modules, &plan, &x).unwrap();
    assert!(gradient(&y, &x).is_some());
    let runs: Vec<usize> = runs.iter().map(|runs| runs.load(Ordering::Relaxed)).collect();
    assert_eq!(runs, [2, 2, 2, 1, 2, 2, 1]);
    let error = checkpoint_plan(&layers[1..], &plan, &x).unwrap_err();
    assert!(error.to_string().starts_with("the plan does not run 6 modules forward in order"));
}
