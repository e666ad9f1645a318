//! Many threads on one allocator.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use freeboard_allocator::{Config, Error};
use freeboard_units::Bytes;

use crate::common::{
    Allocator, Held, MIB, finish, lend, lend_with_lag, parse, stream, take, take_many,
};

const THREADS: u64 = 8;

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Mostly small, up to `most`.
    fn size(&mut self, most: u64) -> Bytes {
        let end = 1 + self.below(most);
        Bytes::new(1 + self.below(end))
    }
}

/// Takes and frees on a thread of its own; memory that does not come is done without.
fn churn(allocator: &Allocator, thread: u64, steps: usize, most: u64) -> usize {
    let (mut numbers, mut held) = (Numbers(thread), Vec::<Held>::new());
    let mut refused = 0;
    for _ in 0..steps {
        let number = if numbers.below(2) == 0 { thread } else { 100 + numbers.below(2) };
        match allocator.allocate_shared(numbers.size(most), stream(number)) {
            Ok(taken) => held.push(taken),
            Err(Error::OutOfMemory(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if numbers.below(10) == 0
            && let Some(taken) = held.last()
        {
            taken.record_use(stream(numbers.below(THREADS))).unwrap();
        }
        while held.len() > 20 || numbers.below(3) == 0 && !held.is_empty() {
            let place = numbers.below(held.len() as u64);
            let _ = held.swap_remove(usize::try_from(place).unwrap());
        }
    }
    refused
}

#[test]
fn threads_take_and_free_on_their_own_and_on_shared_streams() {
    for config in [Config::pytorch(), Config::default()] {
        let (device, allocator) = lend_with_lag(config, 64 * 1024, 2);
        for _round in 0..3 {
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let allocator = &allocator;
                    scope.spawn(move || churn(allocator, thread, 800, 30 * MIB));
                }
            });
            allocator.check().unwrap();
            assert_eq!(allocator.stats().allocation.all.current, 0);
            device.advance(2);
        }
        allocator.empty_cache().unwrap();
        assert_eq!(allocator.stats().active.all.current, 0);
        finish(&device, allocator);
    }
}

#[test]
fn threads_that_run_out_of_memory_leave_the_others_alone() {
    for settings in ["", "expandable_segments:True", "max_split_size_mb:32"] {
        let (device, allocator) = lend_with_lag(parse(settings), 256, 1);
        let refused = thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let allocator = &allocator;
                    scope.spawn(move || churn(allocator, thread, 400, 60 * MIB))
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>()
        });
        assert!(refused > 0, "the device is small enough to run out");
        assert_eq!(allocator.stats().num_ooms, i64::try_from(refused).unwrap());
        finish(&device, allocator);
    }
}

#[test]
fn what_one_thread_took_another_may_free() {
    let (device, allocator) = lend(Config::default(), 4096);
    let (sender, receiver) = channel::<Held>();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sender, allocator) = (sender.clone(), &allocator);
            scope.spawn(move || {
                let mut numbers = Numbers(thread);
                for _ in 0..500 {
                    let held =
                        allocator.allocate_shared(numbers.size(MIB), stream(thread)).unwrap();
                    sender.send(held).unwrap();
                }
            });
        }
        drop(sender);
        let freed = scope.spawn(move || receiver.into_iter().map(drop).count());
        assert_eq!(freed.join().unwrap(), 4000);
    });
    assert_eq!(allocator.stats().allocated_bytes.all.current, 0);
    finish(&device, allocator);
}

#[test]
fn threads_meet_and_the_books_are_right_each_time() {
    let (device, allocator) = lend(Config::pytorch(), 4096);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (allocator, barrier) = (&allocator, &barrier);
            scope.spawn(move || {
                for round in 0..20 {
                    churn(allocator, thread * 100 + round, 50, 4 * MIB);
                    if barrier.wait().is_leader() {
                        allocator.check().unwrap();
                        assert_eq!(allocator.stats().allocation.all.current, 0);
                    }
                    barrier.wait();
                }
            });
        }
    });
    finish(&device, allocator);
}

#[test]
fn a_callback_frees_memory_before_the_device_is_asked_for_more() {
    for config in [Config::pytorch(), Config::default()] {
        let (device, allocator) = lend(config, 200);
        let cache: Arc<Mutex<Vec<Held>>> = Arc::default();
        let (given_up, asked) = (Arc::clone(&cache), Arc::new(AtomicUsize::new(0)));
        let times = Arc::clone(&asked);
        allocator.on_shortage(move || {
            times.fetch_add(1, Ordering::Relaxed);
            given_up.lock().unwrap().pop().is_some()
        });
        let cached = take_many(&allocator, 2, Bytes::mib(60));
        cache.lock().unwrap().extend(cached); // not before: a shortage asks the callback
        let (asked_before, calls) = (asked.load(Ordering::Relaxed), device.total_calls());
        let first = take(&allocator, Bytes::mib(60));
        assert_eq!(asked.load(Ordering::Relaxed), asked_before + 1);
        assert_eq!(device.total_calls(), calls, "served by what the callback freed");
        drop(first);
        cache.lock().unwrap().clear();
        finish(&device, allocator);
    }
}

#[test]
fn a_callback_may_use_the_allocator() {
    let (device, allocator) = lend(Config::default(), 200);
    let within = Arc::downgrade(&allocator);
    allocator.on_shortage(move || {
        let Some(allocator) = within.upgrade() else { return false };
        // Asks the device for more itself: callbacks do not call themselves.
        drop(allocator.allocate_shared(Bytes::mib(30), stream(5)));
        allocator.stats().num_ooms == 0
    });
    drop(take(&allocator, Bytes::mib(50)));
    assert_eq!(allocator.stats().allocation.all.current, 0);
    finish(&device, allocator);
}

#[test]
fn an_observer_is_told_once_and_without_the_lock() {
    for settings in ["", "expandable_segments:True", "throw_on_cudamalloc_oom:True"] {
        let (device, allocator) = lend(parse(settings), 64);
        let seen: Arc<Mutex<Vec<(Bytes, i64)>>> = Arc::default();
        let (within, told) = (Arc::downgrade(&allocator), Arc::clone(&seen));
        allocator.on_out_of_memory(move |report| {
            let allocator = within.upgrade().expect("still there");
            let live = allocator.stats().allocation.all.current;
            drop(allocator.allocate(Bytes::mib(1), report.stream)); // more than a look
            told.lock().unwrap().push((report.requested, live));
        });
        let held = take(&allocator, Bytes::mib(10));
        crate::common::refused(&allocator, Bytes::mib(90));
        assert_eq!(*seen.lock().unwrap(), [(Bytes::mib(90), 1)]);
        drop(held);
        finish(&device, allocator);
    }
}

/// The observer hears of every request that runs out of memory, so of these, too.
#[test]
fn an_observer_is_told_of_absurd_requests() {
    let (_device, allocator) = lend(Config::default(), 64);
    let count = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&count);
    allocator.on_out_of_memory(move |_| {
        told.fetch_add(1, Ordering::Relaxed);
    });
    crate::common::refused(&allocator, Bytes::MAX);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}
