//! Casts of weights, kept for as long as a thread is in a scope.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use freeboard_units::Dtype;

use super::scope::is_cached;

/// Casts kept at most, so that a scope that never ends does not keep ever more. One more, and all
/// are dropped: a loop over more weights than fit would find none under any other order, either.
const MOST: usize = 1 << 16;

/// A weight, and the type it is cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightKey {
    /// What tells this weight from others for as long as the scope lasts.
    pub id: u64,
    /// The type it is cast to.
    pub dtype: Dtype,
}

/// What the cache of this thread did since the thread began, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Casts that were there.
    pub hits: u64,
    /// Casts that were made and kept.
    pub misses: u64,
    /// Those of them that took the place of an older version.
    pub replaced: u64,
    /// Casts held now.
    pub held: usize,
}

/// The version, and the cast.
type Kept = (u64, Rc<dyn Any>);
type Entries = HashMap<(WeightKey, TypeId), Kept>;

#[derive(Default)]
struct Cache {
    entries: Entries,
    stats: CacheStats,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The cast of a weight: the one kept in this scope, or a new one that `make` makes, which is kept
/// until the outermost scope of the thread ends.
///
/// As in PyTorch, only weights are worth it (`F32` leaves that require gradients), and a cast is kept
/// only while autocast is on, to the scope's own lower type, with the cache not switched off;
/// otherwise `make` runs each time. `version` must change when the weight is written. PyTorch has no
/// such number: there, a weight that an optimizer updates inside a scope is used in its old version
/// until the scope ends, and an inner scope with another lower type gets the cast of the outer one.
/// Each thread has a cache of its own, where one thread of PyTorch empties that of all.
///
/// ```
/// use std::sync::Arc;
/// use freeboard_grad_scaler::autocast::{WeightKey, autocast, cached_cast};
/// use freeboard_units::Dtype::F16;
///
/// let key = WeightKey { id: 7, dtype: F16 };
/// let mut casts = 0;
/// autocast(F16, || {
///     for version in [1, 1, 2] {
///         let weight: Arc<[u16]> = cached_cast(key, version, || {
///             casts += 1;
///             Ok::<_, std::io::Error>(Arc::from([0x3c00]))
///         })?;
///         assert_eq!(weight[0], 0x3c00);
///     }
///     Ok::<_, std::io::Error>(())
/// })??;
/// assert_eq!(casts, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// What `make` returns; nothing is kept then.
pub fn cached_cast<T: Clone + 'static, E>(
    key: WeightKey,
    version: u64,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !is_cached(key.dtype) {
        return make();
    }
    // What the program wrote (`make`, and clones and drops of `T`) runs outside the borrow.
    let place = (key, TypeId::of::<T>());
    let found = CACHE.try_with(|cache| {
        let cache = &mut *cache.borrow_mut();
        let found = cache.entries.get(&place).filter(|kept| kept.0 == version)?;
        cache.stats.hits += 1;
        Some(Rc::clone(&found.1))
    });
    if let Some(cast) = found.ok().flatten().as_ref().and_then(|kept| kept.downcast_ref::<T>()) {
        return Ok(cast.clone());
    }
    let cast = make()?;
    // `make` may have left the scope.
    if is_cached(key.dtype) {
        let kept: Kept = (version, Rc::new(cast.clone()));
        let _dropped = CACHE.try_with(|cache| cache.borrow_mut().keep(place, kept));
    }
    Ok(cast)
}

impl Cache {
    /// Gives back what is not held any more, to be dropped outside the borrow.
    fn keep(&mut self, place: (WeightKey, TypeId), kept: Kept) -> (Option<Kept>, Entries) {
        let replaced = self.entries.remove(&place);
        let is_full = self.entries.len() >= MOST;
        let all = if is_full { mem::take(&mut self.entries) } else { Entries::new() };
        self.entries.insert(place, kept);
        self.stats.misses += 1;
        self.stats.replaced += u64::from(replaced.is_some());
        (replaced, all)
    }
}

/// Drops all casts that this thread keeps. The end of its outermost scope does it, too.
pub fn clear_cache() {
    let _dropped = CACHE.try_with(|cache| mem::take(&mut cache.borrow_mut().entries));
}

/// What the cache of this thread did, and what it holds.
#[must_use]
pub fn cache_stats() -> CacheStats {
    let stats = CACHE.try_with(|cache| {
        let cache = cache.borrow();
        CacheStats { held: cache.entries.len(), ..cache.stats }
    });
    stats.unwrap_or_default()
}
