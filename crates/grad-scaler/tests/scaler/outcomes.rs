//! What a step tells.

use std::sync::{Arc, Mutex};

use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;
use freeboard_grad_scaler::{
    Bad, Change, FirstBad, Outcome, ScalerConfig, ScalerError, Skip, Tensors,
};
use freeboard_units::{DeviceId, StreamId};
use half::{bf16, f16};

use crate::bench::{Allocator, Counter, fake, host, iterate, scaler};

const INF: f32 = f32::INFINITY;

fn first(tensor: &str, index: u64, what: Bad) -> Skip {
    let first = FirstBad { tensor: tensor.to_owned(), index, what };
    Skip { device: DeviceId::new(0), first: Some(first) }
}

fn names_the_first_bad_number<D: Compute + Send + Sync + 'static>(allocator: &Allocator<D>) {
    let mut scaler = scaler(allocator, ScalerConfig::default());
    let id = scaler.add_optimizer("sgd");
    let mut counter = Counter::new(allocator, &[&[1.0], &[0.0; 70_000], &[2.0, 3.0]]);
    scaler.start().unwrap();

    let mut values = vec![0.0; 70_000];
    (values[69_999], values[40_123], values[40_124]) = (f32::NAN, f32::NEG_INFINITY, f32::NAN);
    counter.set(1, &values);
    counter.set(2, &[INF, INF]);
    let outcome = scaler.step(id, &mut counter).unwrap();
    assert_eq!(outcome, Outcome::Skipped(first("b", 40_123, Bad::Infinite)));
    assert_eq!(outcome.skip().unwrap().to_string(), "b[40123] on device 0 is infinite");
    assert_eq!(counter.runs, 0);
    assert_eq!(scaler.update().unwrap(), Some(Change::BackedOff));

    counter.set(1, &[0.0; 70_000]);
    counter.set(2, &[1.0, f32::NAN]);
    scaler.unscale(id, &mut counter).unwrap();
    let outcome = scaler.step(id, &mut counter).unwrap();
    assert_eq!(outcome, Outcome::Skipped(first("c", 1, Bad::NotANumber)));
    scaler.update().unwrap();

    counter.set(2, &[1.0, 2.0]);
    assert_eq!(scaler.step(id, &mut counter).unwrap(), Outcome::Stepped(()));
    assert_eq!(counter.get(2), [1.0 / 16_384.0, 2.0 / 16_384.0]);
    assert_eq!(scaler.update().unwrap(), Some(Change::Unchanged));
    assert_eq!(scaler.scale_factor().unwrap(), 16_384.0);
}

#[test]
fn a_skip_names_the_first_bad_number_on_the_host() {
    names_the_first_bad_number(&host());
}

#[test]
fn a_skip_names_the_first_bad_number_on_a_gpu() {
    names_the_first_bad_number(&fake().1);
}

fn names_a_tensor_beyond_the_first_launch<D: Compute + Send + Sync + 'static>(
    allocator: &Allocator<D>,
) {
    let mut scaler = scaler(allocator, ScalerConfig::default());
    let id = scaler.add_optimizer("sgd");
    let empty: &[f32] = &[];
    let lists = [vec![&[1.0_f32; 3][..]; 400], vec![empty; 100], vec![&[2.0; 5]; 600]].concat();
    let mut counter = Counter::new(allocator, &lists);
    counter.gradients.iter_mut().zip(0..).for_each(|((name, _), n)| *name = format!("p{n}"));
    scaler.start().unwrap();
    counter.set(1_000, &[0.0, 0.0, 0.0, f32::NAN, INF]);
    counter.set(1_099, &[INF; 5]);
    let outcome = scaler.step(id, &mut counter).unwrap();
    assert_eq!(outcome, Outcome::Skipped(first("p1000", 3, Bad::NotANumber)));
    assert_eq!(counter.get(399), [1.0 / 65_536.0; 3]);
    assert_eq!(counter.get(999), [2.0 / 65_536.0; 5]);
}

#[test]
fn a_list_that_takes_several_launches_is_one_list_on_the_host() {
    names_a_tensor_beyond_the_first_launch(&host());
}

#[test]
fn a_list_that_takes_several_launches_is_one_list_on_a_gpu() {
    names_a_tensor_beyond_the_first_launch(&fake().1);
}

fn takes_mixed_types<D: Compute + Send + Sync + 'static>(allocator: &Allocator<D>) {
    let config = ScalerConfig { f16_gradients: true, ..ScalerConfig::default() };
    let mut scaler = scaler(allocator, config);
    let id = scaler.add_optimizer("sgd");
    let stream = StreamId::DEFAULT;
    let mut singles = DeviceBuffer::from_slice(allocator, &[65_536.0_f32; 9], stream).unwrap();
    let mut doubles = DeviceBuffer::from_slice(allocator, &[65_536.0_f64; 3], stream).unwrap();
    let halves = [f16::from_f32(32_768.0); 7];
    let mut halves = DeviceBuffer::from_slice(allocator, &halves, stream).unwrap();
    let brains = [bf16::from_f32(196_608.0); 5];
    let mut brains = DeviceBuffer::from_slice(allocator, &brains, stream).unwrap();
    scaler.start().unwrap();
    let mut list = Tensors::new();
    // Parts, so that nothing is aligned to more than an element.
    list.push("singles", singles.slice_mut(1..).unwrap()).unwrap();
    list.push("halves", halves.slice_mut(3..).unwrap()).unwrap();
    list.push("doubles", doubles.slice_mut(1..).unwrap()).unwrap();
    list.push("brains", brains.slice_mut(..4).unwrap()).unwrap();
    scaler.unscale_tensors(id, list).unwrap();
    assert_eq!(singles.to_vec().unwrap()[..3], [65_536.0, 1.0, 1.0]);
    assert_eq!(doubles.to_vec().unwrap(), [65_536.0, 1.0, 1.0]);
    let halves = halves.to_vec().unwrap().into_iter().map(f16::to_f32);
    assert_eq!(halves.collect::<Vec<_>>(), [32_768.0, 32_768.0, 32_768.0, 0.5, 0.5, 0.5, 0.5]);
    let brains = brains.to_vec().unwrap().into_iter().map(bf16::to_f32);
    assert_eq!(brains.collect::<Vec<_>>(), [3.0, 3.0, 3.0, 3.0, 196_608.0]);
}

#[test]
fn one_list_holds_tensors_of_mixed_types_on_the_host() {
    takes_mixed_types(&host());
}

#[test]
fn one_list_holds_tensors_of_mixed_types_on_a_gpu() {
    takes_mixed_types(&fake().1);
}

#[test]
fn outputs_are_scaled_in_place_and_gradients_add_up_over_micro_batches() {
    let allocator = host();
    let mut scaler = scaler(&allocator, ScalerConfig::default());
    let id = scaler.add_optimizer("sgd");
    let mut counter = Counter::new(&allocator, &[&[0.0]]);
    let mut sum = 0.0;
    for loss in [0.5, 0.25] {
        let mut loss = [loss];
        let mut outputs = Tensors::new();
        outputs.push_slice("loss", &mut loss);
        scaler.scale(outputs).unwrap();
        sum += loss[0]; // the backward pass of a loss that is its own gradient
    }
    counter.set(0, &[sum]);
    assert_eq!(scaler.step(id, &mut counter).unwrap(), Outcome::Stepped(()));
    assert_eq!(counter.get(0), [0.75]);
}

#[test]
fn a_change_is_told_remembered_and_counted() {
    let allocator = host();
    let config = ScalerConfig { growth_interval: 2, history: 2, ..ScalerConfig::default() };
    let mut scaler = scaler(&allocator, config);
    let id = scaler.add_optimizer("sgd");
    let mut counter = Counter::new(&allocator, &[&[0.0]]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    scaler.on_change(move |change| teller.lock().unwrap().push((change.from, change.to)));
    let steps = [1.0, 1.0, INF, f32::NAN, 1.0].map(|g| iterate(&mut scaler, id, &mut counter, g));
    assert_eq!(steps, [true, true, false, false, true]);
    let all = [(65_536.0, 131_072.0), (131_072.0, 65_536.0), (65_536.0, 32_768.0)];
    assert_eq!(*told.lock().unwrap(), all);
    let kept: Vec<_> = scaler.history().map(|change| (change.update, change.to)).collect();
    assert_eq!(kept, [(2, 65_536.0), (3, 32_768.0)]);
    let stats = scaler.stats().unwrap();
    assert_eq!((stats.updates, stats.skipped, stats.grew, stats.backed_off), (5, 2, 1, 2));
    assert_eq!((stats.scale, stats.growth_tracker), (32_768.0, 1));
    assert_eq!(
        stats.to_string(),
        "scale 32768 after 5 updates: 2 skipped, 1 times grown, 2 times lowered, 0 times held at \
         the floor"
    );
}

#[test]
fn a_disabled_scaler_lets_everything_pass() {
    let allocator = host();
    let mut scaler = scaler(&allocator, ScalerConfig { enabled: false, ..Default::default() });
    let id = scaler.add_optimizer("sgd");
    let mut counter = Counter::new(&allocator, &[&[INF]]);
    assert_eq!(scaler.start().unwrap(), 1.0);
    scaler.unscale(id, &mut counter).unwrap();
    assert_eq!(scaler.step(id, &mut counter).unwrap(), Outcome::Stepped(()));
    assert_eq!(scaler.step(id, &mut counter).unwrap(), Outcome::Stepped(()));
    assert_eq!(scaler.update().unwrap(), None);
    assert_eq!((counter.runs, counter.get(0)[0]), (2, INF));
    assert_eq!(scaler.save().unwrap(), Default::default());
}

#[test]
fn f16_gradients_are_refused_as_in_pytorch_unless_asked_for() {
    let allocator = host();
    let mut strict = scaler(&allocator, ScalerConfig::default());
    let id = strict.add_optimizer("sgd");
    let mut counter = Counter::new(&allocator, &[&[f16::ONE]]);
    strict.start().unwrap();
    let error = strict.unscale(id, &mut counter).unwrap_err();
    assert!(matches!(error, ScalerError::F16Gradients { .. }), "{error}");
    assert_eq!(counter.get(0), [f16::ONE]);
}
