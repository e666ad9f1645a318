//! Every device call of a program fails once: nothing is lost, nothing leaks.

use std::sync::Arc;

use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::DeviceBuffer;
use freeboard_offload::{Mover, MoverConfig, OffloadError, Shelf, Stuck};
use freeboard_units::Bytes;

use crate::common::{Allocator, HOME, Saved, allocated};
use crate::faulty::Faulty;

/// Calls are counted, so no other thread may make any.
fn config(wait_on_host: bool) -> MoverConfig {
    MoverConfig { wait_on_host, timed: false }
}

/// Runs a program once for each of its calls, which fails, and once without a fault. The program
/// tells how many calls it made that might fail.
pub(crate) fn with_every_call_failing(program: impl Fn(&Faulty, &Allocator<Faulty>, u64) -> u64) {
    for n in 1.. {
        let device = Faulty::new(Bytes::mib(64));
        let allocator = CachingAllocator::new(device.clone(), Config::default()).unwrap();
        let allocator = Arc::new(allocator);
        let reached = program(&device, &allocator, n) >= n;
        assert_eq!(allocated(&allocator), 0, "call {n}");
        allocator.check().unwrap_or_else(|error| panic!("call {n}: {error}"));
        drop(allocator);
        assert!(device.pinned().is_empty(), "call {n}: {:?}", device.pinned());
        device.host.synchronize().unwrap();
        let books = device.host.books();
        assert_eq!(books.first_violation(), None, "call {n}");
        assert!(books.is_empty(), "call {n}: {:?}", books.leaks());
        if !reached {
            assert!(n > 20, "the program makes calls");
            return;
        }
    }
}

/// Out and back, each half tried again until it works.
fn there_and_back(device: &Faulty, allocator: &Allocator<Faulty>, n: u64, wait: bool) -> u64 {
    let mover = Mover::new(allocator, config(wait)).unwrap();
    let mut saved = Saved::new(allocator, HOME);
    device.fail(n);
    let check = |error: &OffloadError| {
        let words = error.to_string();
        assert!(words.contains("on demand") && words.starts_with('`'), "call {n}: {words}");
    };
    let away = loop {
        match mover.depart(&saved) {
            Ok(leaving) => match mover.release(saved, leaving) {
                Ok(away) => break away,
                Err(Stuck { error, state }) => {
                    check(&error);
                    saved = state;
                }
            },
            Err(error) => check(&error),
        }
    };
    let mut away = Some(away);
    let returning = loop {
        match mover.fetch(away.take().unwrap()) {
            Ok(returning) => break returning,
            Err(Stuck { error, state }) => {
                check(&error);
                away = Some(state);
            }
        }
    };
    let mut returning = Some(returning);
    let saved = loop {
        match mover.arrive(returning.take().unwrap()) {
            Ok(saved) => break saved,
            Err(Stuck { error, state }) => {
                check(&error);
                returning = Some(state);
            }
        }
    };
    let calls = device.calls();
    device.fail(0);
    saved.check();
    calls
}

#[test]
fn a_move_survives_a_failure_of_any_call() {
    for wait in [true, false] {
        with_every_call_failing(|device, allocator, n| there_and_back(device, allocator, n, wait));
    }
}

#[test]
fn a_shelf_loses_nothing_at_a_failure_of_any_call() {
    with_every_call_failing(|device, allocator, n| {
        let mover = Arc::new(Mover::new(allocator, config(true)).unwrap());
        let mut shelf = Shelf::new(&mover);
        for number in 0..4_u8 {
            shelf.push(DeviceBuffer::filled(allocator, 5000, number, HOME).unwrap()).unwrap();
        }
        let mut added = [0; 4];
        device.fail(n);
        let outcome = shelf.update(0..4, |index, value| {
            value.fill(10 + u8::try_from(index).unwrap()).map_err(|source| {
                OffloadError::Buffer { buffer: index.to_string(), doing: "filling", source }
            })?;
            added[index] = 10;
            Ok::<_, OffloadError>(())
        });
        if let Err(error) = outcome {
            assert!(error.to_string().contains("on demand"), "call {n}: {error}");
        }
        let calls = device.calls();
        device.fail(0);
        let look = |index: usize, value: &DeviceBuffer<u8, Faulty>| {
            let expected = u8::try_from(index).unwrap() + added[index];
            assert_eq!(value.to_vec().unwrap(), vec![expected; 5000], "call {n}, value {index}");
            Ok::<_, OffloadError>(())
        };
        shelf.read([3, 2, 1, 0], look).unwrap();
        calls
    });
}
