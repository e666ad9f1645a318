//! A configuration as an option string: what differs from `PyTorch`'s defaults.

use std::fmt;

use freeboard_units::Bytes;

use super::{Config, Reserve, Roundup};

/// The settings that differ from [`Config::pytorch`], as [`Config::parse`] reads them; empty where
/// none does. Sizes are in whole MiB, as in `PyTorch`; what has no key is left out.
///
/// ```
/// use freeboard_allocator::Config;
///
/// let config = Config::parse("expandable_segments:True, max_split_size_mb:64")?.config;
/// assert_eq!(config.to_string(), "expandable_segments:True,max_split_size_mb:64");
/// # Ok::<(), freeboard_allocator::ConfigError>(())
/// ```
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let theirs = Self::pytorch();
        let mut settings = Vec::new();
        self.device_settings(&theirs, &mut settings);
        self.pinned_settings(&theirs, &mut settings);
        f.write_str(&settings.join(","))
    }
}

impl Config {
    fn device_settings(&self, theirs: &Self, settings: &mut Vec<String>) {
        let mut add = |key: &str, value: Option<String>| {
            settings.extend(value.map(|value| format!("{key}:{value}")));
        };
        let flag = |ours: bool, theirs: bool| (ours != theirs).then(|| python(ours));
        let (large, pytorch_large) = (self.large_segment_size, theirs.large_segment_size);
        add("expandable_segments", flag(self.expandable_segments, theirs.expandable_segments));
        add("stitching", flag(self.stitching, theirs.stitching));
        // Stitching brings planning with it.
        add("planning", flag(self.planning, self.stitching));
        add(
            "expandable_segments_reserve",
            self.expandable_segments_reserve.map(|reserve| match reserve {
                Reserve::Fraction(part) => part.to_string(),
                Reserve::Bytes(bytes) => format!("{}G", bytes.as_f64() / Bytes::gib(1).as_f64()),
            }),
        );
        add("large_segment_size_mb", (large != pytorch_large).then(|| mib(large)));
        add("max_split_size_mb", self.max_split_size.map(mib));
        add("max_non_split_rounding_mb", self.max_non_split_rounding.map(mib));
        add("roundup_power2_divisions", roundup(&self.roundup));
        let threshold = self.garbage_collection_threshold;
        add("garbage_collection_threshold", threshold.map(|threshold| threshold.to_string()));
        add("per_process_memory_fraction", self.memory_fraction.map(|part| part.to_string()));
        add("throw_on_cudamalloc_oom", flag(self.throw_on_oom, theirs.throw_on_oom));
        let number =
            |ours: f64, theirs: f64| (ours.to_bits() != theirs.to_bits()).then(|| ours.to_string());
        add("stitching_reserve_target", number(self.reserve_target, theirs.reserve_target));
        add("stitching_mapping_budget", number(self.mapping_budget, theirs.mapping_budget));
    }

    fn pinned_settings(&self, theirs: &Self, settings: &mut Vec<String>) {
        let mut add = |key: &str, differs: bool, value: String| {
            settings.extend(differs.then(|| format!("pinned_{key}:{value}")));
        };
        let (ours, theirs) = (&self.pinned, &theirs.pinned);
        let size = |ours: Bytes, theirs: Bytes| (ours != theirs, mib(ours));
        let flag = |ours: bool, theirs: bool| (ours != theirs, python(ours));
        let (differs, value) = flag(ours.use_cuda_host_register, theirs.use_cuda_host_register);
        add("use_cuda_host_register", differs, value);
        let threads = ours.num_register_threads;
        add("num_register_threads", threads != theirs.num_register_threads, threads.to_string());
        let (differs, value) = flag(ours.use_background_threads, theirs.use_background_threads);
        add("use_background_threads", differs, value);
        let (differs, value) = size(ours.reserve_segment_size, theirs.reserve_segment_size);
        add("reserve_segment_size_mb", differs, value);
        let (differs, value) = size(ours.max_round_threshold, theirs.max_round_threshold);
        add("max_round_threshold_mb", differs, value);
        let (differs, value) = size(ours.max_cached_size, theirs.max_cached_size);
        add("max_cached_size_mb", differs, value);
        let (differs, value) = flag(ours.free_catch_all, theirs.free_catch_all);
        add("free_catch_all", differs, value);
    }
}

fn python(flag: bool) -> String {
    (if flag { "True" } else { "False" }).into()
}

fn mib(size: Bytes) -> String {
    (size.get() >> 20).to_string()
}

/// The divisions, interval by interval; nothing where no size is rounded up.
fn roundup(roundup: &Roundup) -> Option<String> {
    if *roundup == Roundup::NONE {
        return None;
    }
    let intervals = (0..Roundup::INTERVALS).map(|log| 1_u64 << log);
    let entry = |size: u64| format!("{size}:{}", roundup.divisions(size << 20));
    Some(format!("[{}]", intervals.map(entry).collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for options in [
            "",
            "expandable_segments:True",
            "stitching:True",
            "stitching:True,planning:False,stitching_reserve_target:1.25",
            "max_split_size_mb:64,max_non_split_rounding_mb:40,large_segment_size_mb:32",
            "roundup_power2_divisions:4",
            "roundup_power2_divisions:[1:2,4:4,16:8,>:1]",
            "garbage_collection_threshold:0.5,per_process_memory_fraction:0.8",
            "expandable_segments:True,expandable_segments_reserve:0.3",
            "expandable_segments:True,expandable_segments_reserve:40G",
            "throw_on_cudamalloc_oom:True,pinned_max_cached_size_mb:7",
            "pinned_use_cuda_host_register:True,pinned_num_register_threads:8",
        ] {
            let config = Config::parse(options).expect(options).config;
            let written = config.to_string();
            assert_eq!(Config::parse(&written).expect(&written).config, config, "{written}");
        }
        assert_eq!(Config::pytorch().to_string(), "");
        let ours = Config::default();
        assert_eq!(ours.to_string(), "expandable_segments:True,stitching:True");
        let read = Config::default().parse_onto(&ours.to_string()).expect("good");
        assert_eq!(read.config, ours);
    }
}
