//! [`Lock`]: a lock that costs one atomic instruction where nobody waits.
//!
//! Cached allocation takes tens of nanoseconds, so the lock is a spin lock: taking it is one
//! atomic exchange, giving it back a plain store. But a driver call may take milliseconds, and
//! nobody should spin that long. Whoever is about to call the driver first takes a second,
//! parking lock; those who have spun in vain queue up there and sleep.

use std::hint;
use std::thread;

use parking_lot::Mutex;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Attempts before a waiter goes to sleep on the parking lock, or yields. Each waits twice as long
/// as the one before, at most `1 << LONGEST` pauses, some microseconds.
const ATTEMPTS: u32 = 12;
const LONGEST: u32 = 6;

/// A value that one thread at a time may use.
pub(crate) struct Lock<T> {
    value: SpinMutex<T>,
    /// Held, together with the spin lock, by whoever is busy for long.
    slow: Mutex<()>,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: SpinMutex::new(value), slow: Mutex::new(()) }
    }

    /// Waits for the value; meant to be held for tens of nanoseconds.
    #[inline]
    pub(crate) fn lock(&self) -> SpinMutexGuard<'_, T> {
        match self.value.try_lock() {
            Some(guard) => guard,
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> SpinMutexGuard<'_, T> {
        loop {
            for attempt in 0..ATTEMPTS {
                // Stay away for a while: the holder is done soonest if its memory is not pulled
                // from under it, and many short turns cost more than a few long ones.
                for _ in 0..1 << attempt.min(LONGEST) {
                    hint::spin_loop();
                }
                if !self.value.is_locked()
                    && let Some(guard) = self.value.try_lock()
                {
                    return guard;
                }
            }
            // Sleeps while the holder is busy for long; otherwise lets the holder run, which may
            // have been interrupted. Never held while waiting for the spin lock: no deadlock.
            drop(self.slow.lock());
            thread::yield_now();
        }
    }

    /// Runs `work`, which may take long, on the value; waiters sleep meanwhile.
    pub(crate) fn slowly<R>(&self, value: &mut T, work: impl FnOnce(&mut T) -> R) -> R {
        let _waiters_sleep = self.slow.lock();
        work(value)
    }

    /// The value, without locking: nobody else can have it.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_update_is_lost_between_fast_and_slow_holders() {
        let lock = Lock::new(0_u64);
        thread::scope(|scope| {
            for worker in 0..4 {
                let lock = &lock;
                scope.spawn(move || {
                    for step in 0..2_000 {
                        let mut value = lock.lock();
                        if (step + worker) % 500 == 0 {
                            lock.slowly(&mut value, |value| {
                                let old = *value;
                                thread::sleep(std::time::Duration::from_micros(200));
                                *value = old + 1;
                            });
                        } else {
                            *value += 1;
                        }
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 8_000);
    }
}
