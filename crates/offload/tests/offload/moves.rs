//! One move at a time, with streams held up at the worst moment.

use freeboard_buffer::DeviceBuffer;
use freeboard_device::Order;
use freeboard_offload::{Mover, MoverConfig, OffloadError};
use freeboard_units::Bytes;

use crate::common::{HOME, Saved, allocated, hold, host, mover};

#[test]
fn a_value_goes_out_and_comes_back_with_every_byte() {
    let (device, allocator) = host(Bytes::mib(64));
    let mover = mover(&allocator, true);
    let saved = Saved::new(&allocator, HOME);
    let before = allocated(&allocator);
    assert!(before >= 1_524_000);
    let leaving = mover.depart(&saved).unwrap();
    assert_eq!(leaving.size(), Bytes::new(1_524_000));
    assert_eq!(allocated(&allocator), before, "it may still be read");
    let away = mover.release(saved, leaving).unwrap();
    assert_eq!((allocated(&allocator), away.size()), (0, Bytes::new(1_524_000)));
    assert!(away.value().numbers.is_empty());
    // The same memory, overwritten.
    let mut other = DeviceBuffer::<u8, _>::zeroed(&allocator, 40 << 20, HOME).unwrap();
    other.fill(0xee).unwrap();
    drop(other);
    let returning = mover.fetch(away).unwrap();
    assert_eq!(allocated(&allocator), before);
    let saved = mover.arrive(returning).unwrap();
    saved.check();
    mover.synchronize().unwrap();
    let stats = mover.stats();
    let bytes = Bytes::new(1_524_000);
    assert_eq!((stats.bytes_out, stats.bytes_back, stats.moves), (bytes, bytes, 2));
    assert!(!stats.copying.is_zero() && (0.0..=1.0).contains(&stats.hidden()), "{stats:?}");
    assert_eq!(mover.host().stats().in_use, Bytes::ZERO);
    drop((saved, mover, allocator));
    device.synchronize().unwrap();
    assert!(device.books().is_empty(), "{:?}", device.books().leaks());
}

#[test]
fn a_copy_out_waits_for_the_computation_before_it_and_holds_nothing_up() {
    let (device, allocator) = host(Bytes::mib(64));
    let mover = mover(&allocator, false);
    let out = device.create_stream().unwrap();
    let mover_out = Mover::with_streams(
        &allocator,
        mover.host().clone(),
        [out, device.create_stream().unwrap()],
        MoverConfig { wait_on_host: false, timed: false },
    )
    .unwrap();
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 100_000, HOME).unwrap();
    let mut other = DeviceBuffer::<u32, _>::zeroed(&allocator, 100_000, HOME).unwrap();
    let (computing, copying) = (hold(&device, HOME), hold(&device, out));
    buffer.fill(7).unwrap(); // late
    let leaving = mover_out.depart(&buffer).unwrap();
    drop(computing);
    // The copy has not begun. Home reads the buffer and goes on.
    other.copy_from(&buffer).unwrap();
    device.synchronize_stream(HOME).unwrap(); // would never return if it waited for the copy
    assert_eq!(other.slice(..2).unwrap().to_vec().unwrap(), [7, 7]);
    buffer.fill(8).unwrap(); // waits for the copy, on the device
    drop(copying);
    let away = mover_out.release(buffer, leaving).unwrap();
    let back = mover_out.arrive(mover_out.fetch(away).unwrap()).unwrap();
    assert!(back.to_vec().unwrap() == vec![7; 100_000]);
}

#[test]
fn memory_is_not_used_again_before_a_slow_copy_out_is_done() {
    let (device, allocator) = host(Bytes::mib(64));
    let host = freeboard_buffer::PinnedAllocator::new(&allocator).unwrap();
    let streams = [device.create_stream().unwrap(), device.create_stream().unwrap()];
    let config = MoverConfig { wait_on_host: false, timed: false };
    let mover = Mover::with_streams(&allocator, host, streams, config).unwrap();
    let buffer = DeviceBuffer::<u32, _>::filled(&allocator, 1_000_000, 7, HOME).unwrap();
    let address = buffer.address();
    let slow = hold(&device, streams[0]);
    let leaving = mover.depart(&buffer).unwrap();
    let away = mover.release(buffer, leaving).unwrap(); // returns at once
    assert_eq!(allocated(&allocator), 0);
    let next = DeviceBuffer::<u32, _>::filled(&allocator, 1_000_000, 9, HOME).unwrap();
    assert_ne!(next.address(), address);
    drop(slow);
    let back = mover.arrive(mover.fetch(away).unwrap()).unwrap();
    assert!(back.to_vec().unwrap() == vec![7; 1_000_000]);
    assert!(next.to_vec().unwrap() == vec![9; 1_000_000]);
}

#[test]
fn a_fetch_goes_on_beside_computation_until_the_value_is_wanted() {
    let (device, allocator) = host(Bytes::mib(64));
    let host = freeboard_buffer::PinnedAllocator::new(&allocator).unwrap();
    let streams = [device.create_stream().unwrap(), device.create_stream().unwrap()];
    let config = MoverConfig { wait_on_host: false, timed: false };
    let mover = Mover::with_streams(&allocator, host, streams, config).unwrap();
    let saved = Saved::new(&allocator, HOME);
    let leaving = mover.depart(&saved).unwrap();
    let away = mover.release(saved, leaving).unwrap();
    let mut other = DeviceBuffer::<u32, _>::zeroed(&allocator, 100_000, HOME).unwrap();
    let slow = hold(&device, streams[1]);
    let returning = mover.fetch(away).unwrap();
    other.fill(3).unwrap();
    device.synchronize_stream(HOME).unwrap(); // would never return if home waited already
    let saved = mover.arrive(returning).unwrap();
    other.fill(4).unwrap(); // after the copy: home waits for it from here on
    let event = device.create_event().unwrap();
    device.record(event, HOME).unwrap();
    assert!(!device.is_done(event).unwrap(), "home waits for the copy");
    drop(slow);
    saved.check();
    device.destroy_event(event).unwrap();
}

#[test]
fn what_is_dropped_on_its_way_leaves_nothing_behind() {
    let (device, allocator) = host(Bytes::mib(64));
    for (wait_on_host, stage) in
        [(true, 0), (true, 1), (true, 2), (false, 0), (false, 1), (false, 2)]
    {
        let mover = mover(&allocator, wait_on_host);
        let saved = Saved::new(&allocator, HOME);
        let leaving = mover.depart(&saved).unwrap();
        if stage == 0 {
            drop(saved);
            drop(leaving);
        } else {
            let away = mover.release(saved, leaving).unwrap();
            if stage == 2 {
                drop(mover.fetch(away).unwrap());
            }
        }
        device.synchronize().unwrap();
        assert_eq!(allocated(&allocator), 0);
        mover.host().maintain().unwrap();
        let stats = mover.host().stats();
        assert_eq!((stats.in_use, stats.pending), (Bytes::ZERO, Bytes::ZERO), "stage {stage}");
    }
    allocator.check().unwrap();
    drop(allocator);
    assert!(device.books().is_empty(), "{:?}", device.books().leaks());
}

#[test]
fn a_fetch_without_memory_says_which_buffer_and_gives_the_value_back() {
    let (_device, allocator) = host(Bytes::mib(8));
    let mover = mover(&allocator, true);
    let saved = Saved::new(&allocator, HOME);
    let leaving = mover.depart(&saved).unwrap();
    let away = mover.release(saved, leaving).unwrap();
    let full = DeviceBuffer::<u8, _>::zeroed(&allocator, 7 << 20, HOME).unwrap();
    let before = allocated(&allocator);
    let stuck = mover.fetch(away).unwrap_err();
    let words = stuck.error.to_string();
    assert!(words.starts_with("`numbers`: taking device memory for it: "), "{words}");
    assert_eq!(stuck.error.out_of_memory().unwrap().requested, Bytes::new(1_200_000));
    assert_eq!(allocated(&allocator), before);
    drop(full);
    mover.arrive(mover.fetch(stuck.state).unwrap()).unwrap().check();
}

#[test]
fn a_value_that_lists_other_buffers_is_refused_and_comes_back() {
    let (_device, allocator) = host(Bytes::mib(64));
    let mover = mover(&allocator, true);
    let buffer = |len| DeviceBuffer::<u16, _>::filled(&allocator, len, 5, HOME).unwrap();
    let (one, two) = (vec![buffer(10)], vec![buffer(10), buffer(20)]);
    let leaving = mover.depart(&one).unwrap();
    let stuck = mover.release(two, leaving).unwrap_err();
    assert_eq!(
        stuck.error.to_string(),
        "one of 2 buffers where `no other buffer` was moved: `buffers` and `buffers_mut` must list \
         the same buffers in the same order every time"
    );
    let leaving = mover.depart(&stuck.state[1]).unwrap();
    let stuck = mover.release(buffer(21), leaving).unwrap_err();
    assert!(matches!(&*stuck.error, OffloadError::Changed { found, .. } if found.contains("21")));
    assert_eq!(stuck.state.to_vec().unwrap(), vec![5; 21]);
}

#[test]
fn the_link_is_measured_each_way() {
    let (_device, allocator) = host(Bytes::mib(64));
    let link = freeboard_offload::measure_link(&allocator, HOME, Bytes::mib(4)).unwrap();
    assert!(link.to_host > 1e6 && link.to_device > 1e6, "{link:?}");
    assert_eq!(allocated(&allocator), 0);
    let error = freeboard_offload::measure_link(&allocator, HOME, Bytes::gib(1)).unwrap_err();
    assert!(error.out_of_memory().is_some(), "{error}");
}
