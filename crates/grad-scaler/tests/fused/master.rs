//! Master weights, and updates without them.

use freeboard_device::Compute;
use freeboard_grad_scaler::{Casts, MasterWeights, Rounding};
use half::{bf16, f16};

use crate::common::{World, caller, fake, threads};

const LEN: usize = 4099;

/// A bf16 parameter of ones, after 64 updates of an eighth of a unit in the last place.
fn updated<D: Compute>(world: &World<D>, stochastic: bool) -> Vec<bf16> {
    let update = world.buffer(&vec![2_f32.powi(-10); LEN]);
    let mut parameter = world.buffer(&vec![bf16::ONE; LEN]);
    for step in 0..64 {
        let rounding =
            if stochastic { Rounding::Stochastic { seed: 7 } } else { Rounding::Nearest };
        let mut casts = Casts::new();
        casts.add("parameter", update.view(), parameter.view_mut()).unwrap();
        casts.run(rounding, step).unwrap();
    }
    parameter.to_vec().unwrap()
}

#[test]
fn small_updates_are_lost_to_the_nearest_and_kept_on_average_at_random() {
    let world = caller();
    assert!(updated(&world, false).iter().all(|&value| value == bf16::ONE));
    let kept = updated(&world, true);
    let mean = kept.iter().map(|value| value.to_f64()).sum::<f64>() / 4099.0;
    // The deviation of the mean is 0.0003: 64 draws of an eighth, 4,099 times, units of 2^-7.
    assert!((mean - (1.0 + 64.0 / 1024.0)).abs() < 0.001, "{mean}");
    assert_eq!(kept, updated(&threads(), true), "on threads, too");
    let (_fake, world) = fake();
    assert_eq!(kept, updated(&world, true), "on a GPU, too");
}

/// The model's numbers after one cast of thirds.
fn cast_once(seed: u64, casts: u64, tensors: usize) -> Vec<Vec<f16>> {
    let world = caller();
    let mut weights = MasterWeights::new(Rounding::Stochastic { seed });
    weights.set_casts(casts);
    let add = |_| {
        let id = weights.add("w", world.buffer(&[f16::ZERO; 1000])).unwrap();
        weights.master_mut(id).unwrap().copy_from_slice(&[1.0 / 3.0; 1000]).unwrap();
        id
    };
    let ids: Vec<_> = (0..tensors).map(add).collect();
    weights.cast_down().unwrap();
    assert_eq!(weights.casts(), casts + 1);
    ids.into_iter().map(|id| weights.model(id).unwrap().to_vec().unwrap()).collect()
}

#[test]
fn seed_cast_and_tensor_each_change_the_bits_and_nothing_else_does() {
    let first = cast_once(1, 0, 2);
    assert_eq!(first, cast_once(1, 0, 2));
    assert_ne!(first[0], first[1]);
    assert_eq!(first[..1], cast_once(1, 0, 1));
    assert_ne!(first, cast_once(2, 0, 2));
    assert_ne!(first, cast_once(1, 1, 2));
    let [below, above] = [0x3555, 0x3556].map(f16::from_bits);
    assert!(first.iter().flatten().all(|&value| value == below || value == above));
}

fn numbers(len: usize) -> Vec<f32> {
    (0_u8..).map(|at| f32::from(at) + 0.001).take(len).collect()
}

fn many<D: Compute>(world: &World<D>) {
    // More than one launch takes, of several lengths, one of them zero.
    let lengths: Vec<usize> = (0..300).map(|number| number * 7 % 23).collect();
    let mut weights = MasterWeights::new(Rounding::Nearest);
    let ids: Vec<_> = lengths
        .iter()
        .map(|&len| weights.add("w", world.buffer(&vec![bf16::from_f32(-2.5); len])).unwrap())
        .collect();
    for (&id, &len) in ids.iter().zip(&lengths) {
        assert_eq!(weights.master(id).unwrap().to_vec().unwrap(), vec![-2.5; len]);
        let masters: Vec<f32> = numbers(len);
        weights.master_mut(id).unwrap().copy_from_slice(&masters).unwrap();
    }
    weights.cast_down().unwrap();
    for (&id, &len) in ids.iter().zip(&lengths) {
        let wanted: Vec<bf16> = numbers(len).into_iter().map(bf16::from_f32).collect();
        assert_eq!(weights.model(id).unwrap().to_vec().unwrap(), wanted);
        weights.model_mut(id).unwrap().fill(bf16::ONE).unwrap();
    }
    weights.cast_up().unwrap();
    for (&id, &len) in ids.iter().zip(&lengths) {
        assert_eq!(weights.master(id).unwrap().to_vec().unwrap(), vec![1.0; len]);
    }
}

#[test]
fn lists_of_any_length_go_down_and_up() {
    many(&caller());
    many(&threads());
    many(&fake().1);
}
