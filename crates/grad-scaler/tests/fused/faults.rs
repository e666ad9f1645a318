//! Each driver call of a step fails in turn.

use freeboard_device_cuda::CudaDevice;
use freeboard_grad_scaler::{AdamWConfig, FusedAdamW, FusedError, Optimizer};

use crate::common::{World, bits, fake};

/// More parameters than fit into one launch, in two groups.
const PARAMETERS: usize = 100;

fn optimizer(world: &World<CudaDevice>) -> Result<FusedAdamW<CudaDevice>, FusedError> {
    let config = AdamWConfig { lr: 0.1, ..AdamWConfig::default() };
    let mut optimizer = FusedAdamW::new(&world.allocator, world.stream, config)?;
    let group = optimizer.add_group(AdamWConfig { weight_decay: 0.0, ..config })?;
    for number in 0..PARAMETERS {
        let filled = |value| {
            let (allocator, stream) = (&world.allocator, world.stream);
            freeboard_buffer::DeviceBuffer::filled(allocator, 3, value, stream)
        };
        let group = if number % 10 == 0 { group } else { optimizer.first_group() };
        let parameter = freeboard_grad_scaler::fused::Parameter::new("p", filled(1.0_f32)?)
            .with_gradient(filled(0.5_f32)?)
            .with_copy(freeboard_buffer::DeviceBuffer::<half::bf16, _>::zeroed(
                &world.allocator,
                3,
                world.stream,
            )?);
        optimizer.add(group, parameter)?;
    }
    Ok(optimizer)
}

/// All values, and the steps of both groups.
fn state(optimizer: &mut FusedAdamW<CudaDevice>) -> (Vec<u32>, u64) {
    let mut list = Vec::new();
    for id in optimizer.parameters().collect::<Vec<_>>() {
        list.extend(bits(&optimizer.values(id).unwrap().to_vec().unwrap()));
        let copy = optimizer.copy::<half::bf16>(id).unwrap().to_vec().unwrap();
        list.extend(copy.iter().map(|value| u32::from(value.to_bits())));
    }
    (list, optimizer.steps(optimizer.first_group()).unwrap())
}

#[test]
fn a_step_that_fails_goes_on_where_it_stopped() {
    let (fake, world) = fake();
    let mut reference = optimizer(&world).unwrap();
    reference.step().unwrap();
    let wanted = state(&mut reference);
    assert_eq!(wanted.1, 1);
    let mut failed = 0;
    for nth in 1.. {
        let mut optimizer = optimizer(&world).unwrap();
        fake.fail_any(nth, 1, 1);
        let result = optimizer.step();
        let hit = fake.failures_hit();
        fake.clear_failures();
        if hit == 0 {
            assert!(result.is_ok());
            break;
        }
        if result.is_err() {
            failed += 1;
            optimizer.step().unwrap();
        }
        assert_eq!(state(&mut optimizer), wanted, "call {nth}");
    }
    assert!(failed >= 4, "the count and three lists: {failed}");
}

#[test]
fn a_registration_that_fails_leaves_no_memory_behind() {
    let (fake, world) = fake();
    drop(optimizer(&world).unwrap());
    world.allocator.empty_cache().unwrap();
    let before = fake.live().used;
    let mut failed = 0;
    for nth in (1..).step_by(7) {
        fake.fail_any(nth, 1, 1);
        let result = optimizer(&world);
        let hit = fake.failures_hit();
        fake.clear_failures();
        failed += u32::from(result.is_err());
        drop(result);
        world.allocator.empty_cache().unwrap();
        assert_eq!(fake.live().used, before, "call {nth}");
        if hit == 0 {
            break;
        }
    }
    assert!(failed > 20, "{failed}");
}
