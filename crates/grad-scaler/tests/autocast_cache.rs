//! Casts of weights that are kept within scopes; the paths that every op takes allocate nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot enter a scope has failed")]

use std::convert::Infallible;
use std::hint::black_box;
use std::rc::Rc;
use std::thread;

use freeboard_counting::Counting;
use freeboard_grad_scaler::autocast::{
    Autocast, CacheStats, Policy, Rule, Scope, WeightKey, autocast, autocast_off, cache_stats,
    cached_cast, cast_for, clear_cache, dtype_for,
};
use freeboard_units::Dtype::{self, BF16, F16, F32};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Casts a weight and tells whether that ran.
fn is_made(id: u64, dtype: Dtype, version: u64) -> bool {
    let mut has_run = false;
    let make = || {
        has_run = true;
        Ok::<_, Infallible>(Rc::new(version))
    };
    assert_eq!(*cached_cast(WeightKey { id, dtype }, version, make).unwrap(), version);
    has_run
}

#[test]
fn a_cast_is_kept_until_the_outermost_scope_ends() {
    for _ in 0..2 {
        autocast(F16, || {
            assert!(is_made(1, F16, 0));
            autocast(F16, || assert!(!is_made(1, F16, 0))).unwrap();
            assert!(!is_made(1, F16, 0));
            assert!(is_made(2, F16, 0));
            assert_eq!(cache_stats().held, 2);
        })
        .unwrap();
        assert_eq!(cache_stats().held, 0);
    }
    let expected = CacheStats { hits: 4, misses: 4, replaced: 0, held: 0 };
    assert_eq!(cache_stats(), expected);
}

#[test]
fn a_written_weight_is_cast_again_and_its_old_cast_is_dropped() {
    let _scope = Autocast::enter(F16).unwrap();
    let cast = Rc::new(());
    let make = |version| {
        let key = WeightKey { id: 1, dtype: F16 };
        cached_cast(key, version, || Ok::<_, Infallible>(Rc::clone(&cast))).unwrap();
    };
    for version in 0..1000 {
        make(version);
        make(version);
    }
    assert_eq!(Rc::strong_count(&cast), 2);
    let expected = CacheStats { hits: 1000, misses: 1000, replaced: 999, held: 1 };
    assert_eq!(cache_stats(), expected);
    clear_cache();
    assert_eq!(Rc::strong_count(&cast), 1);
}

#[test]
fn nothing_is_kept_outside_scopes_while_off_in_another_type_or_with_the_cache_off() {
    let twice = |dtype| is_made(1, dtype, 0) && is_made(1, dtype, 0);
    assert!(twice(F16));
    autocast(F16, || {
        assert!(twice(BF16) && twice(F32));
        autocast_off(|| assert!(twice(F16)));
        Scope::new(F16).unwrap().cache_enabled(false).run(|| {
            autocast(F16, || assert!(twice(F16))).unwrap();
        });
        assert_eq!(cache_stats().held, 0);
        // An inner scope gets casts to its own type.
        assert!(is_made(1, F16, 0));
        autocast(BF16, || assert!(is_made(1, BF16, 0) && !is_made(1, BF16, 0))).unwrap();
        assert!(!is_made(1, F16, 0));
    })
    .unwrap();
}

#[test]
fn a_cast_that_fails_is_not_kept_and_one_of_another_rust_type_is_another() {
    let _scope = Autocast::enter(F16).unwrap();
    let key = WeightKey { id: 1, dtype: F16 };
    assert_eq!(cached_cast(key, 0, || Err::<u8, _>("no memory")), Err("no memory"));
    assert_eq!(cached_cast(key, 0, || Ok::<u8, ()>(1)), Ok(1));
    assert_eq!(cached_cast(key, 0, || Ok::<u16, ()>(2)), Ok(2));
    assert_eq!(cached_cast(key, 0, || Err::<u8, ()>(())), Ok(1));
}

#[test]
fn a_scope_that_never_ends_keeps_a_bounded_number_of_casts() {
    let _scope = Autocast::enter(F16).unwrap();
    for id in 0..70_000 {
        assert!(is_made(id, F16, 0));
        assert!(cache_stats().held <= 1 << 16);
    }
    assert!(!is_made(69_999, F16, 0));
}

#[test]
fn each_thread_keeps_its_own_casts() {
    let _scope = Autocast::enter(F16).unwrap();
    assert!(is_made(1, F16, 0));
    let policy = Policy::current();
    thread::spawn(move || policy.run(|| assert!(is_made(1, F16, 0)))).join().unwrap();
    assert!(!is_made(1, F16, 0));
}

/// A cast that uses the cache when it is cloned and dropped, and that is made by another cast.
struct Entangled;

impl Clone for Entangled {
    fn clone(&self) -> Self {
        is_made(2, F16, 0);
        Self
    }
}

impl Drop for Entangled {
    fn drop(&mut self) {
        is_made(3, F16, 0);
        clear_cache();
    }
}

#[test]
fn casts_may_use_the_cache_and_leave_scopes_themselves() {
    let scope = Autocast::enter(F16).unwrap();
    let key = WeightKey { id: 1, dtype: F16 };
    for version in [0, 0, 1, 2] {
        let make = || cached_cast(key, version + 10, || Ok::<_, ()>(Entangled));
        assert!(cached_cast(key, version, make).is_ok());
    }
    let leave = || {
        drop(scope);
        Ok::<_, ()>(Entangled)
    };
    assert!(cached_cast(WeightKey { id: 9, dtype: F16 }, 0, leave).is_ok());
    clear_cache();
    assert_eq!(cache_stats().held, 0);
}

#[test]
fn asking_and_finding_allocate_nothing() {
    let scope = Scope::new(F16).unwrap().with("softmax", Rule::Lower);
    scope.run(|| {
        is_made(1, F16, 0);
        let before = Counting::allocations();
        for op in ["matmul", "torch.nn.functional.softmax", "torch.linalg.norm", "my_op"] {
            black_box(cast_for(op, &[F32, F16]).unwrap());
            black_box(dtype_for(op, &[F32, F16]).unwrap());
        }
        assert!(!is_made(1, F16, 0));
        assert_eq!(Counting::allocations(), before);
    });
}
