//! [`PinnedPolicy`]: what the cache of pinned memory keeps, and for how long.

use std::time::Duration;

use freeboard_allocator::PinnedConfig;
use freeboard_units::Bytes;

/// The smallest class of sizes; all others are multiples of it.
const SMALLEST: Bytes = Bytes::new(512);

/// What the cache of pinned memory keeps, and for how long. Start from the default, or from the
/// `pinned_` settings of the device allocator, and change what matters.
///
/// Of those settings, `pinned_use_cuda_host_register` and `pinned_num_register_threads` say how
/// memory is pinned; that is the device's affair, and they change nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedPolicy {
    /// Whether a thread of its own looks after finished transfers and gives back what is too much,
    /// instead of whoever allocates or drops (`pinned_use_background_threads`). Default: no.
    pub background: bool,
    /// The most bytes that are kept unused; what was unused for longest is given back first.
    /// Default: no limit.
    pub max_cached: Bytes,
    /// Larger blocks are given back instead of kept (`pinned_max_cached_size_mb`). Default: no
    /// limit.
    pub max_cached_block: Bytes,
    /// Larger sizes are rounded up to multiples of 512 bytes instead of powers of two, and reused
    /// for the same size only (`pinned_max_round_threshold_mb`). Default: no limit.
    pub max_rounded: Bytes,
    /// Pinned at once, up front, and then cut as needed (`pinned_reserve_segment_size_mb`).
    /// Default: nothing.
    pub reserve: Bytes,
    /// Blocks that were unused for this long are given back, by the background thread or by
    /// [`maintain`](crate::PinnedAllocator::maintain). Default: never.
    pub release_after: Option<Duration>,
    /// Forget a block that the device does not take back, instead of keeping it and saying so
    /// (`pinned_free_catch_all`). Default: no.
    pub ignore_unpin_errors: bool,
}

impl Default for PinnedPolicy {
    fn default() -> Self {
        Self::from(&PinnedConfig::default())
    }
}

impl From<&PinnedConfig> for PinnedPolicy {
    fn from(config: &PinnedConfig) -> Self {
        Self {
            background: config.use_background_threads,
            max_cached: Bytes::MAX,
            max_cached_block: config.max_cached_size,
            max_rounded: config.max_round_threshold,
            reserve: config.reserve_segment_size,
            release_after: None,
            ignore_unpin_errors: config.free_catch_all,
        }
    }
}

impl PinnedPolicy {
    /// The size of the block that serves `size` bytes; none beyond all addresses.
    pub(crate) fn class(&self, size: Bytes) -> Option<Bytes> {
        if size > self.max_rounded {
            return size.checked_align_up(SMALLEST);
        }
        size.get().max(SMALLEST.get()).checked_next_power_of_two().map(Bytes::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_powers_of_two_up_to_the_threshold() {
        let all = PinnedPolicy::default();
        let class = |size| all.class(Bytes::new(size)).map(Bytes::get);
        assert_eq!(class(1), Some(512));
        assert_eq!(class(512), Some(512));
        assert_eq!(class(513), Some(1024));
        assert_eq!(class((5 << 30) + 1), Some(8 << 30));
        assert_eq!(class(u64::MAX), None);
        let some = PinnedPolicy { max_rounded: Bytes::mib(1), ..all };
        assert_eq!(some.class(Bytes::new((1 << 20) - 1)), Some(Bytes::mib(1)));
        assert_eq!(some.class(Bytes::new((1 << 20) + 1)), Some(Bytes::new((1 << 20) + 512)));
    }

    #[test]
    fn the_settings_of_the_device_allocator_carry_over() {
        let conf = "pinned_use_background_threads:True,pinned_max_cached_size_mb:64,\
                    pinned_max_round_threshold_mb:16,pinned_reserve_segment_size_mb:8,\
                    pinned_free_catch_all:True";
        let config = freeboard_allocator::Config::parse(conf).unwrap().config;
        let expected = PinnedPolicy {
            background: true,
            max_cached: Bytes::MAX,
            max_cached_block: Bytes::mib(64),
            max_rounded: Bytes::mib(16),
            reserve: Bytes::mib(8),
            release_after: None,
            ignore_unpin_errors: true,
        };
        assert_eq!(PinnedPolicy::from(&config.pinned), expected);
    }
}
