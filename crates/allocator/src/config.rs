//! [`Config`]: every knob of the allocator, with its unit, default and reason.

mod env;
mod error;
mod parse;
mod rounding;
mod sense;
mod text;

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

pub use env::{ConfigSource, ENVIRONMENT};
pub use error::{ConfigError, ConfigWarning, Parsed};
pub use rounding::Roundup;

/// How the allocator decides.
///
/// Two starting points: [`Config::pytorch`] makes `PyTorch` 2.15's decisions exactly;
/// [`Config::default`] is ours. Change what you need with the `with_` methods, or read
/// `PyTorch`'s option string with [`Config::parse`].
///
/// ```
/// use freeboard_allocator::Config;
/// use freeboard_units::Bytes;
///
/// let ours = Config::default().with_memory_fraction(0.9)?;
/// let theirs = Config::pytorch().with_max_split_size(Bytes::mib(128))?;
/// let read = Config::parse("max_split_size_mb:128")?.config;
/// assert_eq!(theirs, read);
/// # Ok::<(), freeboard_allocator::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// Whether segments grow and shrink by pages (`expandable_segments`). `PyTorch`: off.
    pub expandable_segments: bool,
    /// How much address space an expandable segment reserves (`expandable_segments_reserve`).
    /// Default: 9/8 of the device's memory, which is also the most.
    pub expandable_segments_reserve: Option<Reserve>,
    /// Segment size for requests above 1 MiB and below 10 MiB, and the page size of large
    /// expandable segments (`large_segment_size_mb`). Default: 20 MiB.
    pub large_segment_size: Bytes,
    /// Blocks of at least this size are never split (`max_split_size_mb`). Default: no limit.
    pub max_split_size: Option<Bytes>,
    /// How much larger than the request an unsplit oversize block may be
    /// (`max_non_split_rounding_mb`). Default: the large segment size.
    pub max_non_split_rounding: Option<Bytes>,
    /// Rounding of sizes to fractions of powers of two (`roundup_power2_divisions`).
    /// Default: to multiples of 512 bytes only.
    pub roundup: Roundup,
    /// Above this part of the allowed memory, segments long unused are given back
    /// (`garbage_collection_threshold`), between 0 and 1. Default: never.
    pub garbage_collection_threshold: Option<f64>,
    /// Whether the threshold works without a memory fraction, relative to the whole device.
    /// In `PyTorch` it does not.
    pub garbage_collection_without_fraction: bool,
    /// The part of the device's memory this process may use (`per_process_memory_fraction`),
    /// from 0 to 1. Default: all.
    pub memory_fraction: Option<f64>,
    /// Bytes this process holds on the device outside the allocator, above all the CUDA context
    /// (some 400 to 600 MB); they count towards the fraction. Default and `PyTorch`: 0.
    pub context: Bytes,
    /// Refuse a request that would exceed the limit before asking the device
    /// (`throw_on_cudamalloc_oom`). Default: off.
    pub throw_on_oom: bool,
    /// Whether every step that frees memory is followed by a search. `PyTorch` does not search
    /// again, and can refuse a request for which a block is free.
    pub search_after_reclaim: bool,
    /// Whether an expandable segment grows by what is missing, in multiples of 2 MiB, instead of
    /// by whole pages of the large segment size. `PyTorch`: whole pages.
    pub fine_growth: bool,
    /// Whether free memory from anywhere is stitched to serve a request (`stitching`), across
    /// segments and streams. `PyTorch` has no such thing. Needs expandable segments.
    pub stitching: bool,
    /// While stitching: memory is taken from the device, rather than stitched, up to this many times
    /// the peak of live bytes (`stitching_reserve_target`), from 0 on. Default: 1. Below, more is
    /// stitched; above, less.
    pub reserve_target: f64,
    /// While stitching: how many mappings are kept for each handle, on average
    /// (`stitching_mapping_budget`), from 1 on. Default: 4.
    pub mapping_budget: f64,
    /// While stitching: whether steps that repeat are planned and served by table (`planning`).
    pub planning: bool,
    /// Settings read for the pinned host allocator; this crate only carries them.
    pub pinned: PinnedConfig,
}

/// How much address space an expandable segment reserves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reserve {
    /// A part of the device's memory.
    Fraction(f64),
    /// A number of bytes.
    Bytes(Bytes),
}

/// Settings of the pinned host allocator, as `PyTorch`'s option string gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PinnedConfig {
    /// Register pages of ordinary memory instead of asking the driver for pinned ones.
    pub use_cuda_host_register: bool,
    /// Threads that touch pages before they are registered; a power of two, at most 128.
    pub num_register_threads: u32,
    /// Look after finished events on a thread of its own.
    pub use_background_threads: bool,
    /// One slab reserved up front; zero: none.
    pub reserve_segment_size: Bytes,
    /// Sizes above are not rounded to powers of two.
    pub max_round_threshold: Bytes,
    /// Blocks above are given back instead of cached.
    pub max_cached_size: Bytes,
    /// Swallow errors when pinned memory is given back.
    pub free_catch_all: bool,
}

impl Default for PinnedConfig {
    fn default() -> Self {
        Self {
            use_cuda_host_register: false,
            num_register_threads: 1,
            use_background_threads: false,
            reserve_segment_size: Bytes::ZERO,
            max_round_threshold: Bytes::MAX,
            max_cached_size: Bytes::MAX,
            free_catch_all: false,
        }
    }
}

/// Ours: stitching; in private pools segments that grow, a search after every step, garbage collection that needs no fraction.
impl Default for Config {
    fn default() -> Self {
        Self {
            expandable_segments: true,
            garbage_collection_without_fraction: true,
            search_after_reclaim: true,
            fine_growth: true,
            stitching: true,
            planning: true,
            ..Self::pytorch()
        }
    }
}

impl Config {
    /// `PyTorch` 2.15's decisions, exactly, with its default settings.
    #[must_use]
    pub fn pytorch() -> Self {
        Self {
            expandable_segments: false,
            expandable_segments_reserve: None,
            large_segment_size: Bytes::mib(20),
            max_split_size: None,
            max_non_split_rounding: None,
            roundup: Roundup::NONE,
            garbage_collection_threshold: None,
            garbage_collection_without_fraction: false,
            memory_fraction: None,
            context: Bytes::ZERO,
            throw_on_oom: false,
            search_after_reclaim: false,
            fine_growth: false,
            stitching: false,
            reserve_target: 1.0,
            mapping_budget: 4.0,
            planning: false,
            pinned: PinnedConfig::default(),
        }
    }

    /// With or without segments that grow; without, nothing is stitched.
    #[must_use]
    pub const fn with_expandable_segments(mut self, on: bool) -> Self {
        self.expandable_segments = on;
        self.stitching &= on;
        self.planning &= on;
        self
    }

    /// With or without stitching, and planning with it; with it, segments are expandable.
    #[must_use]
    pub const fn with_stitching(mut self, on: bool) -> Self {
        self.stitching = on;
        self.planning = on;
        self.expandable_segments |= on;
        self
    }

    /// With or without planning of steps that repeat.
    #[must_use]
    pub const fn with_planning(mut self, on: bool) -> Self {
        self.planning = on;
        self
    }

    /// Stitching only beyond this many times the peak of live bytes.
    ///
    /// # Errors
    /// When `target` is negative or no number.
    pub fn with_reserve_target(mut self, target: f64) -> Result<Self, ConfigError> {
        if !(target >= 0.0 && target.is_finite()) {
            let key = "stitching_reserve_target";
            return Err(ConfigError::out_of_range(key, target, "0 or more"));
        }
        self.reserve_target = target;
        Ok(self)
    }

    /// With this many mappings kept for each handle, on average.
    ///
    /// # Errors
    /// When `budget` is below 1 or no number.
    pub fn with_mapping_budget(mut self, budget: f64) -> Result<Self, ConfigError> {
        if !(budget >= 1.0 && budget.is_finite()) {
            let key = "stitching_mapping_budget";
            return Err(ConfigError::out_of_range(key, budget, "1 or more"));
        }
        self.mapping_budget = budget;
        Ok(self)
    }

    /// With blocks of at least `size` never split.
    ///
    /// # Errors
    /// When `size` is below 20 MiB: most segments would never be split.
    pub fn with_max_split_size(mut self, size: Bytes) -> Result<Self, ConfigError> {
        if size < Bytes::mib(20) {
            return Err(ConfigError::out_of_range("max_split_size_mb", size, "at least 20 MiB"));
        }
        self.max_split_size = Some(size);
        Ok(self)
    }

    /// With unsplit oversize blocks up to `size` larger than the request.
    ///
    /// # Errors
    /// When `size` is below 20 MiB.
    pub fn with_max_non_split_rounding(mut self, size: Bytes) -> Result<Self, ConfigError> {
        if size < Bytes::mib(20) {
            let key = "max_non_split_rounding_mb";
            return Err(ConfigError::out_of_range(key, size, "at least 20 MiB"));
        }
        self.max_non_split_rounding = Some(size);
        Ok(self)
    }

    /// With large segments, and large expandable pages, of `size`.
    ///
    /// # Errors
    /// When `size` is not above 10 MiB (requests from there on get segments of their own) or is no
    /// multiple of 2 MiB, the device's page.
    pub fn with_large_segment_size(mut self, size: Bytes) -> Result<Self, ConfigError> {
        if size <= Bytes::mib(10) || !size.is_aligned(Bytes::mib(2)) {
            let key = "large_segment_size_mb";
            return Err(ConfigError::out_of_range(key, size, "above 10 MiB, in steps of 2 MiB"));
        }
        self.large_segment_size = size;
        Ok(self)
    }

    /// With sizes rounded up to fractions of powers of two.
    #[must_use]
    pub const fn with_roundup(mut self, roundup: Roundup) -> Self {
        self.roundup = roundup;
        self
    }

    /// With long unused segments given back above this part of the allowed memory.
    ///
    /// # Errors
    /// When `threshold` does not lie between 0 and 1.
    pub fn with_garbage_collection(mut self, threshold: f64) -> Result<Self, ConfigError> {
        if !(threshold > 0.0 && threshold < 1.0) {
            let key = "garbage_collection_threshold";
            return Err(ConfigError::out_of_range(key, threshold, "above 0 and below 1"));
        }
        self.garbage_collection_threshold = Some(threshold);
        Ok(self)
    }

    /// With only this part of the device's memory.
    ///
    /// # Errors
    /// When `fraction` does not lie from 0 to 1.
    pub fn with_memory_fraction(mut self, fraction: f64) -> Result<Self, ConfigError> {
        if !(0.0..=1.0).contains(&fraction) {
            let key = "per_process_memory_fraction";
            return Err(ConfigError::out_of_range(key, fraction, "from 0 to 1"));
        }
        self.memory_fraction = Some(fraction);
        Ok(self)
    }

    /// With this many bytes outside the allocator counted towards the fraction.
    #[must_use]
    pub const fn with_context(mut self, bytes: Bytes) -> Self {
        self.context = bytes;
        self
    }

    /// With expandable segments of at most this much address space.
    ///
    /// # Errors
    /// When the reserve is not a positive, finite number.
    pub fn with_expandable_reserve(mut self, reserve: Reserve) -> Result<Self, ConfigError> {
        let good = match reserve {
            Reserve::Fraction(part) => part > 0.0 && part.is_finite(),
            Reserve::Bytes(bytes) => !bytes.is_zero(),
        };
        if !good {
            let key = "expandable_segments_reserve";
            return Err(ConfigError::out_of_range(key, format!("{reserve:?}"), "positive"));
        }
        self.expandable_segments_reserve = Some(reserve);
        Ok(self)
    }

    /// With or without refusing a request over the limit before asking the device.
    #[must_use]
    pub const fn with_throw_on_oom(mut self, on: bool) -> Self {
        self.throw_on_oom = on;
        self
    }
}
