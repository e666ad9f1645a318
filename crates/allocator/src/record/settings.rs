//! The settings of a snapshot: `PyTorch`'s names and values.

use std::collections::BTreeMap;

use freeboard_snapshot::Setting;
use freeboard_units::Bytes;

use crate::config::{Config, Roundup};

/// What `PyTorch` writes as `allocator_settings`.
pub(super) fn settings(config: &Config) -> BTreeMap<String, Setting> {
    let sizes = (0..Roundup::INTERVALS).map(|log| {
        let divisions = config.roundup.divisions(1 << (log + 20));
        let divisions = i64::try_from(divisions).unwrap_or(i64::MAX);
        ((1_u64 << log).to_string(), Setting::Number(divisions))
    });
    let pinned = &config.pinned;
    let all = [
        ("PYTORCH_CUDA_ALLOC_CONF", Setting::Text(config.to_string())),
        ("max_split_size", limit(config.max_split_size.unwrap_or(Bytes::MAX))),
        (
            "garbage_collection_threshold",
            Setting::Fraction(config.garbage_collection_threshold.unwrap_or(0.0)),
        ),
        ("expandable_segments", Setting::Flag(config.expandable_segments)),
        ("pinned_num_register_threads", Setting::Number(pinned.num_register_threads.into())),
        ("release_lock_on_cudamalloc", Setting::Flag(false)),
        ("pinned_use_cuda_host_register", Setting::Flag(pinned.use_cuda_host_register)),
        ("graph_capture_record_stream_reuse", Setting::Flag(false)),
        ("max_round_threshold", limit(pinned.max_round_threshold)),
        ("max_cached_size", limit(pinned.max_cached_size)),
        ("roundup_power2_divisions", Setting::Table(sizes.collect())),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A number of bytes, −1 for no limit.
fn limit(bytes: Bytes) -> Setting {
    Setting::Number(if bytes == Bytes::MAX { -1 } else { bytes.as_i64() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `torch.cuda.memory._snapshot()` of `PyTorch` 2.15 gives them without any setting.
    #[test]
    fn the_default_settings_are_pytorchs() {
        let mut all = settings(&Config::pytorch());
        let Some(Setting::Table(table)) = all.remove("roundup_power2_divisions") else {
            panic!("no table");
        };
        assert_eq!(table.len(), 16);
        assert!(table.values().all(|value| *value == Setting::Number(0)));
        assert!(table.contains_key("1") && table.contains_key("32768"));
        let expected = [
            ("PYTORCH_CUDA_ALLOC_CONF", Setting::Text(String::new())),
            ("expandable_segments", Setting::Flag(false)),
            ("garbage_collection_threshold", Setting::Fraction(0.0)),
            ("graph_capture_record_stream_reuse", Setting::Flag(false)),
            ("max_cached_size", Setting::Number(-1)),
            ("max_round_threshold", Setting::Number(-1)),
            ("max_split_size", Setting::Number(-1)),
            ("pinned_num_register_threads", Setting::Number(1)),
            ("pinned_use_cuda_host_register", Setting::Flag(false)),
            ("release_lock_on_cudamalloc", Setting::Flag(false)),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.into(), value)).into();
        assert_eq!(all, expected);
    }
}
