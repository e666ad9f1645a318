//! Under a gradient scaler.

use freeboard_device::Compute;
use freeboard_grad_scaler::{
    AdamWConfig, FusedAdamW, FusedSgd, GradScaler, Optimizer, ScalerConfig, SgdConfig,
};

use crate::common::{World, caller, fake, threads};

#[test]
fn a_fused_step_and_an_update_are_four_launches_and_nothing_else() {
    let (fake, world) = fake();
    let config = AdamWConfig { lr: 0.1, ..AdamWConfig::default() };
    let mut adamw = FusedAdamW::new(&world.allocator, world.stream, config).unwrap();
    let ids = [1, 100, 70_000].map(|len| {
        let values = world.buffer(&vec![1.0_f32; len]);
        adamw.add_parameter(format!("{len} numbers"), values).unwrap()
    });
    let mut scaler =
        GradScaler::new(&world.allocator, world.stream, ScalerConfig::default()).unwrap();
    let id = scaler.add_optimizer("adamw");
    let factor = scaler.start().unwrap();
    for step in 0..3 {
        for id in ids {
            adamw.gradient_mut::<f32>(id).unwrap().fill(factor).unwrap();
        }
        fake.reset_counters();
        scaler.step_fused(id, &mut adamw).unwrap();
        scaler.update().unwrap();
        if step == 0 {
            continue; // the first looks its functions up
        }
        let launches = fake.calls("cuLaunchKernel");
        assert_eq!(launches, 4, "look, count, update, scale");
        // Each launch makes the context current, if it is not.
        let context = ["cuCtxGetCurrent", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"];
        let context: u64 = context.iter().map(|name| fake.calls(name)).sum();
        assert_eq!(fake.total_calls(), launches + context);
    }
    assert_eq!(adamw.steps(adamw.first_group()).unwrap(), 3);
}

fn skips<D: Compute + Send + Sync + 'static>(world: &World<D>) {
    let (allocator, stream) = (&world.allocator, world.stream);
    let settings = SgdConfig { lr: 0.5, momentum: 0.5, ..SgdConfig::default() };
    let mut sgd = FusedSgd::new(allocator, stream, settings).unwrap();
    let weight = sgd.add_parameter("weight", world.buffer(&[1.0_f32, 2.0])).unwrap();
    let still = sgd.add_parameter("still", world.buffer(&[5.0_f32])).unwrap();
    sgd.set_gradient(still, None).unwrap();
    let mut scaler = GradScaler::new(allocator, stream, ScalerConfig::default()).unwrap();
    let id = scaler.add_optimizer("sgd");
    let mut step = |gradients: [f32; 2], way: usize| {
        let factor = scaler.start().unwrap();
        let large = gradients.map(|gradient| gradient * factor);
        sgd.gradient_mut::<f32>(weight).unwrap().copy_from_slice(&large).unwrap();
        match way {
            0 => scaler.step_fused(id, &mut sgd).unwrap(),
            1 => {
                scaler.unscale(id, &mut sgd).unwrap();
                scaler.step_fused(id, &mut sgd).unwrap();
            }
            _ => drop(scaler.step(id, &mut sgd).unwrap()),
        }
        scaler.update().unwrap();
        let group = sgd.first_group();
        (sgd.values(weight).unwrap().to_vec().unwrap(), sgd.steps(group).unwrap())
    };
    // The first step that is not skipped is the first, wherever the bad ones are.
    for way in 0..3 {
        assert_eq!(step([f32::INFINITY, 1.0], way), (vec![1.0, 2.0], 0));
    }
    assert_eq!(step([1.0, -1.0], 0), (vec![0.5, 2.5], 1));
    assert_eq!(step([f32::NAN, 1.0], 1), (vec![0.5, 2.5], 1));
    assert_eq!(step([1.0, -1.0], 1), (vec![-0.25, 3.25], 2));
    assert_eq!(step([0.5, 0.5], 2), (vec![-0.875, 3.375], 3));
    let unscaled = sgd.gradient_mut::<f32>(weight).unwrap().to_vec().unwrap();
    assert_eq!(unscaled, [0.5, 0.5], "written back");
    assert_eq!(sgd.values(still).unwrap().to_vec().unwrap(), [5.0]);
    sgd.set_steps(sgd.first_group(), 0).unwrap();
    sgd.step().unwrap();
    assert_eq!(sgd.moments_mut(weight).unwrap()[0].to_vec().unwrap(), [0.5, 0.5], "a first step");
}

#[test]
fn gradients_that_are_not_finite_change_nothing_however_the_step_is_done() {
    skips(&caller());
    skips(&threads());
    skips(&fake().1);
}
