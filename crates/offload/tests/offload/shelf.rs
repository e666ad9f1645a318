//! Values on a shelf, fetched ahead.

use std::sync::Arc;

use freeboard_buffer::{BufferError, DeviceBuffer};
use freeboard_device_host::HostDevice;
use freeboard_offload::{OffloadError, Shelf};
use freeboard_units::Bytes;

use crate::common::{Allocator, HOME, allocated, host, mover};

const LEN: usize = 300_000;
const SIZE: i64 = 1_200_128;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Offload(#[from] OffloadError),
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error("no")]
    No,
}

fn shelf(allocator: &Allocator, count: u32) -> Shelf<DeviceBuffer<u32, HostDevice>, HostDevice> {
    let mut shelf = Shelf::new(&Arc::new(mover(allocator, true)));
    for number in 0..count {
        let value = DeviceBuffer::filled(allocator, LEN, number, HOME).unwrap();
        assert_eq!(shelf.push(value).unwrap(), number as usize);
    }
    assert_eq!(allocated(allocator), 0);
    shelf
}

fn add(value: &mut DeviceBuffer<u32, HostDevice>, number: u32) -> Result<(), Failure> {
    let numbers: Vec<u32> = value.to_vec()?.iter().map(|old| old + number).collect();
    Ok(value.copy_from_slice(&numbers)?)
}

#[test]
fn values_are_read_and_updated_in_any_order_with_no_more_of_them_on_the_device_than_asked() {
    for depth in 1..5 {
        let (_device, allocator) = host(Bytes::mib(64));
        let mut shelf = shelf(&allocator, 5);
        shelf.set_depth(depth).unwrap();
        allocator.reset_peak_stats();
        let order = [0, 1, 2, 3, 4, 4, 4, 0, 2, 0, 1, 0];
        shelf
            .update(order, |index, value| {
                assert!(allocated(&allocator) <= SIZE * i64::try_from(depth).unwrap());
                add(value, u32::try_from(index + 1).unwrap() * 10)
            })
            .unwrap();
        assert_eq!(allocated(&allocator), 0);
        assert!(allocator.stats().allocated_bytes.all.peak <= SIZE * i64::try_from(depth).unwrap());
        let expected = [40, 1 + 40, 2 + 60, 3 + 40, 4 + 150];
        let mut seen = Vec::new();
        shelf
            .read([3, 3, 0, 1, 2, 4], |index, value| {
                let numbers = value.to_vec()?;
                assert!(numbers.iter().all(|number| *number == expected[index]), "{depth}");
                seen.push(index);
                Ok::<_, Failure>(())
            })
            .unwrap();
        assert_eq!(seen, [3, 3, 0, 1, 2, 4]);
    }
}

#[test]
fn the_next_value_is_on_its_way_while_one_is_read() {
    let (_device, allocator) = host(Bytes::mib(64));
    let mut shelf = shelf(&allocator, 3);
    let mut on_device = Vec::new();
    shelf
        .read(0..3, |_, _| {
            on_device.push(allocated(&allocator) / SIZE);
            Ok::<_, Failure>(())
        })
        .unwrap();
    assert_eq!(on_device, [2, 2, 1]);
}

#[test]
fn an_error_of_the_program_leaves_all_values_on_the_host() {
    let (_device, allocator) = host(Bytes::mib(64));
    let mut shelf = shelf(&allocator, 4);
    let error = shelf.update(0..4, |index, value| {
        add(value, 100)?;
        if index == 2 { Err(Failure::No) } else { Ok(()) }
    });
    assert!(matches!(error, Err(Failure::No)));
    assert_eq!(allocated(&allocator), 0);
    let expected = [100, 101, 102, 3];
    shelf
        .read(0..4, |index, value| {
            assert!(value.to_vec()?.iter().all(|number| *number == expected[index]));
            Ok::<_, Failure>(())
        })
        .unwrap();
}

#[test]
fn places_that_are_not_there_and_a_depth_of_nothing_are_errors() {
    let (_device, allocator) = host(Bytes::mib(64));
    let mut shelf = shelf(&allocator, 2);
    let error = shelf.read([0, 2], |_, _| Err(Failure::No)).unwrap_err();
    assert_eq!(error.to_string(), "there is no value 2: the shelf has 2");
    let error = shelf.set_depth(0).unwrap_err();
    assert_eq!(error.to_string(), "depth of 0: it must be 1 or more");
}
