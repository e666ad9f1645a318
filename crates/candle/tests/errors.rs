//! Every way in which a checkpoint refuses, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot run candle has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, Var, bail};
use freeboard_candle::{
    Checkpoint, Error, Pass, Random, checkpoint, checkpoint_sequential, dropout,
};

fn variable() -> Var {
    Var::new(&[[0.5_f32, -1.0, 2.0], [1.0, 0.0, 3.0]], &Device::Cpu).unwrap()
}

/// A checkpoint whose function does one thing in the forward pass and another when it runs again,
/// until it is told to behave.
fn changing(
    first: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    again: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> (Tensor, Var) {
    let runs = AtomicUsize::new(0);
    let function = move |x: &[Tensor]| match runs.fetch_add(1, Ordering::Relaxed) {
        1 => again(&x[0]),
        _ => first(&x[0]),
    };
    let x = variable();
    let checkpoint = Checkpoint::new("blocks.3").compare_every(2);
    (checkpoint.run(function, &[&x.sin().unwrap()]).unwrap(), x)
}

/// The error of the first backward pass; the second succeeds.
fn refusal((y, x): (Tensor, Var)) -> (String, candle_core::Error) {
    let error = y.sum_all().unwrap().backward().unwrap_err();
    let text = Error::of(&error).unwrap().to_string();
    assert!(text.starts_with("checkpoint `blocks.3`: "), "{text}");
    assert!(error.to_string().starts_with(&text), "{error}");
    assert!(y.sum_all().unwrap().backward().unwrap().get(&x).is_some());
    (text, error)
}

#[test]
fn a_function_that_fails_is_named() {
    let x = variable();
    let fails = |_: &[Tensor]| -> Result<Tensor> { bail!("no") };
    let error = Checkpoint::new("head").run(fails, &[&x]).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("checkpoint `head`: its function failed in the forward pass: no"));
    let (text, error) = refusal(changing(Tensor::exp, |_| bail!("no")));
    assert!(text.contains("its function failed in the recomputation: no"), "{text}");
    assert!(matches!(Error::of(&error), Some(Error::Function { pass: Pass::Again, .. })));
}

#[test]
fn a_panic_in_the_recomputation_is_an_error() {
    #[expect(clippy::panic, reason = "it is what is tested")]
    let (text, _) = refusal(changing(Tensor::exp, |x| panic!("rank {}", x.rank())));
    assert!(text.ends_with("its function panicked in the recomputation: rank 2"), "{text}");
}

#[test]
fn other_shapes_types_and_numbers_of_outputs_are_refused() {
    let (text, _) = refusal(changing(Tensor::exp, |x| x.exp()?.t()));
    assert!(text.contains("output 0 is [3, 2] of F32 on Cpu when computed again"), "{text}");
    assert!(text.contains("it was [2, 3] of F32 on Cpu"), "{text}");
    let (text, _) = refusal(changing(Tensor::exp, |x| x.exp()?.to_dtype(DType::F64)));
    assert!(text.contains("[2, 3] of F64"), "{text}");

    let runs = AtomicUsize::new(1);
    let function = move |x: &[Tensor]| Ok(vec![x[0].clone(); runs.fetch_add(1, Ordering::Relaxed)]);
    let y = Checkpoint::new("many").run_many(function, &[&variable()]).unwrap();
    let error = y[0].sum_all().unwrap().backward().unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Count { forward: 1, again: 2, .. })));
}

#[test]
fn other_values_are_refused_with_place_and_both_values() {
    let factors = |factor: f32| Tensor::new(&[[1.0, 1.0, 1.0], [1.0, factor, 1.0]], &Device::Cpu);
    let times = move |factor| move |x: &Tensor| x.cos()? * factors(factor)?;
    let (text, error) = refusal(changing(times(1.0), times(2.0)));
    assert!(text.contains("output 0, element 4 is 2e0 when computed again, it was 1e0"), "{text}");
    assert!(matches!(Error::of(&error), Some(Error::Value { index: 4, .. })));
}

#[test]
fn a_step_between_the_passes_is_noticed() {
    let weight = variable();
    let own = weight.clone();
    let checkpoint = Checkpoint::new("late").compare_every(1);
    let y = checkpoint.run(move |_| own.exp(), &[]).unwrap();
    weight.set(&weight.affine(0.5, 0.0).unwrap()).unwrap();
    let error = y.sum_all().unwrap().backward().unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Value { .. })), "{error}");
}

#[test]
fn other_variables_are_refused() {
    let (left, right) = (variable(), variable());
    let times = |weight: Var| move |x: &Tensor| (x * 0.5)? + weight.as_tensor();
    let (text, _) = refusal(changing(times(left), times(right)));
    assert!(text.contains("other variables or inputs"), "{text}");
}

#[test]
fn a_captured_tensor_with_a_graph_is_refused_in_the_forward_pass() {
    let x = variable();
    let captured = x.exp().unwrap();
    let own = captured.clone();
    let error = Checkpoint::new("cross").run(move |x| &x[0] * &own, &[&x]).unwrap_err();
    assert!(matches!(&error, Error::Captured { name, dtype: DType::F32, .. } if name == "cross"));
    assert!(error.to_string().ends_with("pass it as an input, or detach it"), "{error}");
    let own = captured.detach();
    assert!(checkpoint(move |x| &x[0] * &own, &[&x]).is_ok());
    // Also by a checkpoint within one, of what belongs to the outer.
    let nested = |x: &[Tensor]| {
        let h = x[0].exp()?;
        Ok(Checkpoint::new("inner").run(move |x| &x[0] + &h, &[&x[0]])?)
    };
    let error = Checkpoint::new("outer").run(nested, &[&x]).unwrap_err().to_string();
    assert!(error.starts_with("checkpoint `outer`: its function failed in the forward pass: "));
    assert!(error.contains("checkpoint `inner`: its function captured a tensor"), "{error}");
}

/// Has no backward pass.
struct OneWay;

impl CustomOp1 for OneWay {
    fn name(&self) -> &'static str {
        "one-way"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((storage.clone(), layout.shape().clone()))
    }
}

#[test]
fn what_candle_cannot_differentiate_is_named() {
    let x = variable();
    let y = Checkpoint::new("one").run(|x| x[0].apply_op1(OneWay), &[&x]).unwrap();
    let error = y.sum_all().unwrap().backward().unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Backward { .. })));
    assert!(error.to_string().contains("backward is not supported for one-way"), "{error}");
}

#[test]
fn a_pass_that_failed_between_two_outputs_is_not_mixed_into_the_next() {
    let x = variable();
    let two = |x: &[Tensor]| Ok(vec![x[0].exp()?, x[0].sin()?]);
    let outputs = Checkpoint::new("two").run_many(two, &[&x]).unwrap();
    let failing = outputs[1].apply_op1(OneWay).unwrap();
    // candle comes to the first output, then to what fails.
    let loss = (failing + &outputs[0]).unwrap().sum_all().unwrap();
    assert!(loss.backward().is_err());
    let second = outputs[1].sum_all().unwrap();
    let error = second.backward().unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Unfinished { .. })), "{error}");
    let cosine = x.cos().unwrap().to_vec2::<f32>().unwrap();
    let gradient = second.backward().unwrap().remove(&x).unwrap();
    assert_eq!(gradient.to_vec2::<f32>().unwrap(), cosine);
}

#[test]
fn nothing_is_left_behind_by_a_pass_that_failed() {
    let held = Arc::new(());
    let own = Arc::clone(&held);
    let (y, _) = changing(
        move |x| {
            assert!(Arc::strong_count(&own) > 0);
            x.exp()
        },
        |_| bail!("no"),
    );
    assert!(y.sum_all().unwrap().backward().is_err());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(y);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let x = variable();
    for p in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(dropout(&x, p, Random::new(0)), Err(Error::Probability { .. })));
    }
    let ids = Tensor::zeros(2, DType::U32, &Device::Cpu).unwrap();
    assert!(matches!(dropout(&ids, 0.5, Random::new(0)), Err(Error::Type { .. })));
    let modules = [Tensor::exp, Tensor::sin];
    for segments in [0, 3] {
        let error = checkpoint_sequential(&modules, segments, &x).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{segments} segments of 2 modules: give from 1 to 2")
        );
    }
}
