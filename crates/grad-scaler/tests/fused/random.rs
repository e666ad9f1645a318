//! Whatever the lengths, types, settings and alignment: the host and the kernels of GPUs make the same
//! bits.

use freeboard_device::Compute;
use freeboard_grad_scaler::fused::{FloatBuffer, Parameter, Settings};
use freeboard_grad_scaler::{
    AdamWConfig, Casts, Fused, FusedOptimizer, Predicate, Rounding, SgdConfig,
};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::common::{World, bits, caller, fake};

#[derive(Clone, Debug)]
struct Case {
    /// Lengths, with the type of the gradient and of the copy.
    tensors: Vec<(usize, u8, u8)>,
    rounding: Rounding,
    inverse: Option<f32>,
    is_flagged: bool,
    sgd: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let len = prop_oneof![0_usize..40, 500_usize..1100, 32_760_usize..32_780, Just(140_001)];
    let rounding = prop_oneof![
        Just(Rounding::Nearest),
        any::<u64>().prop_map(|seed| Rounding::Stochastic { seed })
    ];
    let inverse = prop::option::of(prop_oneof![Just(1.0_f32), Just(0.125), 0.1_f32..3.0]);
    let tensors = prop::collection::vec((len, 0_u8..4, 0_u8..3), 1..4);
    (tensors, rounding, inverse, any::<bool>(), any::<bool>()).prop_map(
        |(tensors, rounding, inverse, is_flagged, sgd)| Case {
            tensors,
            rounding,
            inverse,
            is_flagged,
            sgd,
        },
    )
}

/// Numbers of many magnitudes, some of them not finite.
#[expect(clippy::cast_possible_truncation, reason = "bits are mixed")]
fn numbers(len: usize, salt: usize) -> Vec<f32> {
    let number = |at: usize| {
        let x = ((at + 1) * 0x9e37_79b9 + salt * 0x85eb_ca6b) as u32;
        let x = (x ^ x >> 15).wrapping_mul(0x2c1b_3c6d);
        match x >> 21 {
            0 => f32::NAN,
            1 => f32::NEG_INFINITY,
            _ => f32::from_bits(x & 0x80ff_ffff | (100 + x % 40) << 23),
        }
    };
    (0..len).map(number).collect()
}

fn same_nan(value: u32) -> u32 {
    if f32::from_bits(value).is_nan() { 0x7fff_ffff } else { value }
}

/// Three steps; every number that comes out.
fn run<S: Settings, D: Compute + 'static>(world: &World<D>, settings: S, case: &Case) -> Vec<u32> {
    let mut optimizer = Fused::new(&world.allocator, world.stream, settings).unwrap();
    optimizer.set_rounding(case.rounding);
    let group = optimizer.first_group();
    let gradient = |values: Vec<f32>, kind: u8| -> FloatBuffer<D> {
        let each = values.iter();
        match kind {
            0 => world.buffer(&values).into(),
            1 => world.buffer(&each.map(|&v| f16::from_f32(v)).collect::<Vec<_>>()).into(),
            2 => world.buffer(&each.map(|&v| bf16::from_f32(v)).collect::<Vec<_>>()).into(),
            _ => world.buffer(&each.map(|&v| f64::from(v) * 1.1).collect::<Vec<_>>()).into(),
        }
    };
    for (number, &(len, _, copy)) in case.tensors.iter().enumerate() {
        let parameter = Parameter::new(number.to_string(), world.buffer(&numbers(len, number)));
        let parameter = match copy {
            0 => parameter,
            1 => parameter.with_copy(world.buffer(&vec![f16::ZERO; len])),
            _ => parameter.with_copy(world.buffer(&vec![bf16::ZERO; len])),
        };
        optimizer.add(group, parameter).unwrap();
    }
    let (found, inverse) = (world.buffer(&[0.0_f32]), world.buffer(&[case.inverse.unwrap_or(1.0)]));
    let predicate = Predicate {
        device: world.allocator.device().id(),
        stream: world.stream,
        found: found.address(),
        inverse_scale: case.inverse.map(|_| inverse.address()),
    };
    let ids: Vec<_> = optimizer.parameters().collect();
    let mut all = Vec::new();
    for step in 1..4 {
        for (number, (&id, &(len, kind, _))) in ids.iter().zip(&case.tensors).enumerate() {
            let values = numbers(len, number + 10 * step);
            optimizer.set_gradient(id, Some(gradient(values, kind))).unwrap();
        }
        optimizer.step_if(predicate).unwrap();
        for (&id, &(_, _, copy)) in ids.iter().zip(&case.tensors) {
            all.extend(bits(&optimizer.values(id).unwrap().to_vec().unwrap()));
            for moment in optimizer.moments_mut(id).unwrap() {
                all.extend(bits(&moment.to_vec().unwrap()));
            }
            let halves = |halves: Vec<u16>| halves.into_iter().map(u32::from).collect::<Vec<_>>();
            if copy == 1 {
                let copy = optimizer.copy::<f16>(id).unwrap().cast::<u16>().unwrap().to_vec();
                all.extend(halves(copy.unwrap()));
            } else if copy == 2 {
                let copy = optimizer.copy::<bf16>(id).unwrap().cast::<u16>().unwrap().to_vec();
                all.extend(halves(copy.unwrap()));
            }
            let gradient = optimizer.set_gradient(id, None).unwrap().unwrap();
            let f32s = gradient.get::<f32>().map(|buffer| bits(&buffer.to_vec().unwrap()));
            let f64s = gradient.get::<f64>().map(|buffer| {
                let wide = buffer.to_vec().unwrap().into_iter();
                wide.flat_map(|v| if v.is_nan() { [1; 2] } else { bytemuck::cast(v) }).collect()
            });
            let f16s = gradient.get::<f16>().map(|buffer| {
                buffer.to_vec().unwrap().iter().map(|v| v.to_f32().to_bits()).collect::<Vec<_>>()
            });
            let bf16s = gradient.get::<bf16>().map(|buffer| {
                buffer.to_vec().unwrap().iter().map(|v| v.to_f32().to_bits()).collect::<Vec<_>>()
            });
            all.extend(f32s.or(f64s).or(f16s).or(bf16s).unwrap());
        }
    }
    all.into_iter().map(same_nan).collect()
}

fn run_case<D: Compute + 'static>(world: &World<D>, case: &Case) -> Vec<u32> {
    let flag = case.is_flagged;
    if case.sgd {
        let sgd = SgdConfig { lr: 0.1, momentum: 0.9, weight_decay: 0.01, ..SgdConfig::default() };
        run(world, SgdConfig { nesterov: flag, maximize: !flag, ..sgd }, case)
    } else {
        run(world, AdamWConfig { decoupled: flag, ..AdamWConfig::default() }, case)
    }
}

/// What a list of casts makes of parts of buffers, which begin anywhere.
fn casts<D: Compute>(world: &World<D>, len: usize, skip: (usize, usize), seed: u64) -> Vec<u16> {
    let from = world.buffer(&numbers(len + skip.0, 1));
    let mut halves = world.buffer(&vec![f16::ONE; len + skip.1]);
    let mut brains = world.buffer(&vec![bf16::ONE; len + skip.1]);
    let mut back = world.buffer(&vec![0.0_f32; len]);
    for (rounding, step) in [(Rounding::Stochastic { seed }, 3), (Rounding::Nearest, 0)] {
        let mut list = Casts::new();
        let part = from.slice(skip.0..).unwrap();
        list.down("f16", part, halves.slice_mut(skip.1..).unwrap()).unwrap();
        list.add("bf16", part, brains.slice_mut(skip.1..).unwrap()).unwrap();
        list.run(rounding, step).unwrap();
    }
    let mut list = Casts::new();
    list.up("f16", halves.slice(skip.1..).unwrap(), back.view_mut()).unwrap();
    list.run(Rounding::Nearest, 0).unwrap();
    let mut all = halves.cast::<u16>().unwrap().to_vec().unwrap();
    all.extend(brains.cast::<u16>().unwrap().to_vec().unwrap());
    all.extend(back.to_vec().unwrap().iter().map(|&value| f16::from_f32(value).to_bits() | 0x200));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_host_and_the_kernels_of_gpus_agree(case in case()) {
        let (_fake, world) = fake();
        let (on_host, on_gpu) = (run_case(&caller(), &case), run_case(&world, &case));
        let differs = on_host.iter().zip(&on_gpu).position(|(a, b)| a != b);
        prop_assert_eq!(differs, None);
    }

    #[test]
    fn casts_of_parts_agree(
        len in prop_oneof![0_usize..50, 32_700_usize..33_000],
        skip in (0_usize..9, 0_usize..9),
        seed in any::<u64>(),
    ) {
        let (_fake, world) = fake();
        let (on_host, on_gpu) = (casts(&caller(), len, skip, seed), casts(&world, len, skip, seed));
        let differs = on_host.iter().zip(&on_gpu).position(|(a, b)| a != b);
        prop_assert_eq!(differs, None);
        let skipped = &on_host[..skip.1];
        prop_assert!(skipped.iter().all(|&bits| bits == f16::ONE.to_bits()), "not in the list");
    }
}
