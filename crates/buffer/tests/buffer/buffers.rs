//! What a buffer holds is what was put there.

use freeboard_buffer::{BufferError, DeviceBuffer, Element};
use freeboard_device_host::HostDevice;
use freeboard_units::{Address, Bytes, StreamId};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::common::{Allocator, HOME, host};

fn round_trip<T: Element + PartialEq + std::fmt::Debug>(allocator: &Allocator, elements: &[T]) {
    let mut buffer = DeviceBuffer::from_slice(allocator, elements, HOME).unwrap();
    assert_eq!(buffer.to_vec().unwrap(), elements);
    assert_eq!(buffer.size(), Bytes::new(size_of_val(elements) as u64));
    assert_eq!(buffer.try_clone().unwrap().to_vec().unwrap(), elements);
    buffer.zero().unwrap();
    assert_eq!(buffer.to_vec().unwrap(), vec![T::zeroed(); elements.len()]);
    for &value in elements.iter().take(2) {
        buffer.fill(value).unwrap();
        assert_eq!(buffer.to_vec().unwrap(), vec![value; elements.len()]);
    }
}

#[test]
fn elements_of_every_width_come_back_as_they_went() {
    let (_, allocator) = host();
    round_trip(&allocator, &[0.5_f32, -1.0, f32::MAX]);
    round_trip(&allocator, &[f16::from_f32(1.5), f16::MAX]);
    round_trip(&allocator, &[bf16::from_f32(-3.0); 9]);
    round_trip(&allocator, &[[1_u8, 2, 3], [4, 5, 6], [7, 8, 9]]);
    round_trip(&allocator, &[1_u64 << 40, 7, u64::MAX]);
    round_trip(&allocator, &[[1.0_f64, 2.0], [3.0, 4.0]]);
    round_trip(&allocator, &[7_u8; 1000]);
    round_trip(&allocator, &vec![1_u128 << 100; 300_000]); // a piece of 64 KiB, doubled many times
    round_trip(&allocator, &[[]; 5] as &[[u8; 0]]);
    round_trip::<u32>(&allocator, &[]);
}

proptest! {
    #[test]
    fn a_fill_is_what_a_slice_would_hold(
        value in any::<[u8; 12]>(), same in 0_usize..12, len in 1_usize..20_000,
        start in 0_usize..8,
    ) {
        let (_, allocator) = host();
        let mut bytes = DeviceBuffer::<u8, _>::filled(&allocator, len * 12 + 8, 255, HOME).unwrap();
        let mut expected = bytes.to_vec().unwrap();
        // Often with a shorter period, and at an odd address.
        let value: [u8; 12] = std::array::from_fn(|place| value[place % (same + 1)]);
        let mut part = bytes.slice_mut(start..start + len * 12).unwrap();
        part.cast_mut::<[u8; 12]>().unwrap().fill(value).unwrap();
        for (place, byte) in expected[start..start + len * 12].iter_mut().enumerate() {
            *byte = value[place % 12];
        }
        prop_assert_eq!(bytes.to_vec().unwrap(), expected);
    }
}

#[test]
fn a_buffer_of_nothing_needs_no_device() {
    let (device, allocator) = host();
    let calls = device.books().total_calls();
    let mut empty = DeviceBuffer::<f32, _>::zeroed(&allocator, 0, HOME).unwrap();
    empty.fill(1.0).unwrap();
    empty.copy_from_slice(&[]).unwrap();
    empty.copy_from(&empty.try_clone().unwrap()).unwrap();
    assert_eq!(empty.to_vec().unwrap(), [0.0_f32; 0]);
    assert_eq!(empty.on_mut(StreamId::new(99)).unwrap().slice(..).unwrap().len(), 0);
    assert_eq!((empty.address(), empty.size()), (Address::NULL, Bytes::ZERO));
    assert!(empty.is_empty() && empty.chunks(3).unwrap().len() == 0);
    assert_eq!(device.books().total_calls(), calls);
}

#[test]
fn buffers_from_the_cache_and_their_views_make_no_driver_call() {
    let (device, allocator) = host();
    drop(DeviceBuffer::<f32, _>::uninit(&allocator, 1000, HOME).unwrap());
    let calls = device.books().total_calls();
    let mut buffer = DeviceBuffer::<f32, _>::uninit(&allocator, 900, HOME).unwrap();
    let (mut low, high) = buffer.split_at_mut(400).unwrap();
    let lent = high.on(HOME).unwrap();
    assert_eq!(low.on_mut(HOME).unwrap().stream(), lent.stream());
    drop(lent);
    assert_eq!(high.cast::<u16>().unwrap().len(), 1000);
    drop(buffer);
    assert_eq!(device.books().total_calls(), calls);
}

#[test]
fn lengths_are_checked_before_anything_is_copied() {
    let (_, allocator) = host();
    let mut buffer = DeviceBuffer::from_slice(&allocator, &[1_u32, 2, 3], HOME).unwrap();
    let error = buffer.copy_from_slice(&[0; 4]).unwrap_err();
    assert!(matches!(error, BufferError::LengthMismatch { from: 4, to: 3 }), "{error}");
    let error = buffer.copy_to_slice(&mut [0; 2]).unwrap_err();
    assert_eq!(error.to_string(), "3 elements cannot be copied to 2: take views of equal length");
    let other = DeviceBuffer::<u32, _>::zeroed(&allocator, 5, HOME).unwrap();
    let error = buffer.copy_from(&other).unwrap_err();
    assert!(matches!(error, BufferError::LengthMismatch { from: 5, to: 3 }), "{error}");
    assert_eq!(buffer.to_vec().unwrap(), [1, 2, 3]);
}

#[test]
fn sizes_beyond_the_device_and_beyond_all_addresses_are_errors() {
    let (_, allocator) = host();
    let error = DeviceBuffer::<u64, _>::uninit(&allocator, 1 << 30, HOME).unwrap_err();
    assert!(matches!(error, BufferError::Allocator(ref error) if error.out_of_memory().is_some()));
    let error = DeviceBuffer::<u64, _>::uninit(&allocator, usize::MAX / 4, HOME).unwrap_err();
    assert!(matches!(error, BufferError::TooLarge { .. }), "{error}");
}

#[test]
fn memory_of_another_device_is_not_copied() {
    let (_, allocator) = host();
    let config = freeboard_device_host::HostConfig {
        id: freeboard_units::DeviceId::new(1),
        ..freeboard_device_host::HostConfig::new(Bytes::mib(64))
    };
    let other = HostDevice::with_config(config).unwrap();
    let other = freeboard_allocator::CachingAllocator::new(other, allocator.config()).unwrap();
    let theirs = DeviceBuffer::<u8, _>::zeroed(&std::sync::Arc::new(other), 8, HOME).unwrap();
    let mut ours = DeviceBuffer::<u8, _>::zeroed(&allocator, 8, HOME).unwrap();
    let error = ours.copy_from(&theirs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory of device 1 cannot be copied to device 0: go through the host"
    );
}

#[test]
fn what_is_printed_is_where_it_is_and_not_what_it_holds() {
    let (_, allocator) = host();
    let buffer = DeviceBuffer::<f32, _>::zeroed(&allocator, 12, HOME).unwrap();
    let printed = format!("{buffer:?}");
    let address = buffer.address();
    let expected = format!(
        "DeviceBuffer {{ element: f32, len: 12, address: {address}, stream: StreamId(0) }}"
    );
    assert_eq!(printed, expected);
}

#[test]
fn buffers_go_to_other_threads() {
    fn goes<T: Send + Sync>() {}
    goes::<DeviceBuffer<f32, HostDevice>>();
    goes::<freeboard_buffer::View<'_, f32, HostDevice>>();
    goes::<freeboard_buffer::ViewMut<'_, f32, HostDevice>>();
    goes::<freeboard_buffer::OnStreamMut<'_, f32, HostDevice>>();
    goes::<freeboard_buffer::Pinned<f32, HostDevice>>();
    goes::<freeboard_buffer::InFlight<f32, HostDevice>>();
    goes::<BufferError>();
}
