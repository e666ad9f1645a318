//! The grammar, value by value.

use super::*;

fn parsed(options: &str) -> Parsed {
    Config::parse(options).unwrap()
}

fn refused(options: &str) -> String {
    Config::parse(options).unwrap_err().to_string()
}

#[test]
fn every_key_of_pytorch_is_known() {
    for key in KEYS {
        let values = ["True", "native", "0.5", "64", "[256:1,>:8]", "[a:0.5]"];
        let accepted = values.iter().filter(|v| Config::parse(&format!("{key}:{v}")).is_ok());
        assert!(accepted.count() > 0, "{key}");
    }
}

#[test]
fn values_reach_the_field_they_name() {
    let config = parsed(
        " max_split_size_mb : 200 , max_non_split_rounding_mb:64, large_segment_size_mb:40,\
         garbage_collection_threshold:0.8,per_process_memory_fraction:0.5,\
         throw_on_cudamalloc_oom:True,backend:native,pinned_num_register_threads:8,",
    )
    .config;
    assert_eq!(config.max_split_size, Some(Bytes::mib(200)));
    assert_eq!(config.max_non_split_rounding, Some(Bytes::mib(64)));
    assert_eq!(config.large_segment_size, Bytes::mib(40));
    assert_eq!(config.garbage_collection_threshold, Some(0.8));
    assert_eq!(config.memory_fraction, Some(0.5));
    assert!(config.throw_on_oom);
    assert_eq!(config.pinned.num_register_threads, 8);
    assert_eq!(parsed("").config, Config::pytorch());
    assert!(parsed("expandable_segments:True").config.expandable_segments);
    let reserve = parsed("expandable_segments:True,expandable_segments_reserve:40G").config;
    assert_eq!(reserve.expandable_segments_reserve, Some(Reserve::Bytes(Bytes::gib(40))));
}

#[test]
fn divisions_are_spread_over_the_intervals_as_pytorch_does() {
    let divisions = |options: &str, mib: u64| parsed(options).config.roundup.divisions(mib << 20);
    let list = "roundup_power2_divisions:[256:1,512:2,1024:4,>:8]";
    for (mib, expected) in [(1, 1), (255, 1), (256, 1), (512, 2), (1024, 4), (2048, 8), (65536, 8)]
    {
        assert_eq!(divisions(list, mib), expected, "{mib} MiB");
    }
    assert_eq!(divisions("roundup_power2_divisions:4", 7), 4);
    assert_eq!(divisions("roundup_power2_divisions:[4:2]", 16), 0, "above the list: none");
    assert_eq!(divisions("roundup_power2_divisions:[>:8]", 1), 0);
    assert_eq!(divisions("roundup_power2_divisions:[>:8]", 2), 8);
    assert!(parsed("roundup_power2_divisions:[]").config.roundup.is_none());
}

#[test]
fn what_cannot_be_read_is_refused_with_key_place_and_remedy() {
    for (options, words) in [
        ("max_split:20", vec!["'max_split'", "character 1", "max_split_size_mb"]),
        ("backend:native,foo:1", vec!["'foo'", "character 16", "the keys are"]),
        ("expandable_segments:true", vec!["expandable_segments", "True or False"]),
        ("expandable_segments", vec!["key:value"]),
        ("expandable_segments:", vec!["key:value"]),
        (",max_split_size_mb:20", vec!["missing before this comma"]),
        ("max_split_size_mb:20,,backend:native", vec!["missing", "character 22"]),
        ("max_split_size_mb:19", vec!["max_split_size_mb", "at least 20 MiB"]),
        ("max_split_size_mb:-1", vec!["'-1'", "whole number"]),
        ("max_split_size_mb:99999999999999999999", vec!["whole number"]),
        ("max_split_size_mb:128;expandable_segments:True", vec![]),
        ("large_segment_size_mb:10", vec!["above 10"]),
        ("max_split_size_mb:30,large_segment_size_mb:40", vec!["at least the large segment"]),
        ("large_segment_size_mb:11,expandable_segments:True", vec!["even number"]),
        ("garbage_collection_threshold:0", vec!["above 0 and below 1"]),
        ("garbage_collection_threshold:nan", vec!["above 0 and below 1"]),
        ("per_process_memory_fraction:1.5", vec!["from 0 to 1"]),
        ("per_process_memory_fraction:nan", vec!["from 0 to 1"]),
        ("roundup_power2_divisions:3", vec!["power of two"]),
        ("roundup_power2_divisions:[300:1]", vec!["sizes powers of two"]),
        ("roundup_power2_divisions:[256:1,512:2", vec!["not closed"]),
        ("pinned_num_register_threads:256", vec!["up to 128"]),
        ("pinned_reserve_segment_size_mb:0", vec!["above 0"]),
        ("backend:cudaMallocAsync", vec!["native"]),
    ] {
        if words.is_empty() {
            assert!(!parsed(options).warnings.is_empty(), "{options}");
            continue;
        }
        let message = refused(options);
        for word in words {
            assert!(message.contains(word), "{options}: {message}");
        }
    }
}

#[test]
fn settings_without_effect_are_named() {
    for (options, key) in [
        ("garbage_collection_threshold:0.8", "garbage_collection_threshold"),
        ("max_non_split_rounding_mb:64", "max_non_split_rounding_mb"),
        ("expandable_segments_reserve:0.5", "expandable_segments_reserve"),
        ("expandable_segments:True,max_split_size_mb:128", "max_split_size_mb"),
        ("pinned_use_background_threads:True", "pinned_use_background_threads"),
        ("release_lock_on_cudamalloc:True", "release_lock_on_cudamalloc"),
        ("expandable_segments:True,expandable_segments:False", "expandable_segments"),
        ("max_split_size_mb:128MB", "max_split_size_mb"),
        ("garbage_collection_threshold:0.5x,per_process_memory_fraction:0.9", "garbage_coll"),
        ("expandable_segments:True,expandable_segments_reserve:abc", "expandable_segments_reserve"),
    ] {
        let warnings = parsed(options).warnings;
        assert!(warnings.iter().any(|w| w.to_string().starts_with(key)), "{options}: {warnings:?}");
    }
    assert!(parsed("expandable_segments:True").warnings.is_empty());
}

#[test]
fn the_first_variable_that_is_set_counts() {
    let found = |set: &[(&str, &str)]| {
        let look_up = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Config::from_variables(look_up).unwrap()
    };
    assert_eq!(found(&[]), None);
    let both = [("PYTORCH_CUDA_ALLOC_CONF", ""), ("PYTORCH_ALLOC_CONF", "max_split_size_mb:64")];
    let source = found(&both).unwrap();
    assert_eq!(source.variable, "PYTORCH_ALLOC_CONF");
    assert_eq!(source.parsed.config.max_split_size, Some(Bytes::mib(64)));
    let ours = found(&[("FREEBOARD_ALLOC_CONF", "throw_on_cudamalloc_oom:True")]).unwrap();
    assert_eq!(ours.parsed.config, Config::default().with_throw_on_oom(true));
}

proptest::proptest! {
    #[test]
    fn no_string_makes_it_panic(options in "[a-z_0-9:,\\[\\]> .TFrueals-]{0,80}|.{0,40}") {
        let _ = Config::parse(&options);
    }
}

#[test]
fn our_own_keys_are_read_and_checked() {
    let config = parsed(
        "stitching:True,planning:False,stitching_reserve_target:1.1,stitching_mapping_budget:2",
    )
    .config;
    assert!(config.stitching && config.expandable_segments && !config.planning);
    assert_eq!((config.reserve_target, config.mapping_budget), (1.1, 2.0));
    for (options, key) in [
        ("stitching:yes", "stitching"),
        ("stitching_reserve_target:-1", "stitching_reserve_target"),
        ("stitching_reserve_target:NaN", "stitching_reserve_target"),
        ("stitching_mapping_budget:0.5", "stitching_mapping_budget"),
        ("stitching_mapping_budget:inf", "stitching_mapping_budget"),
    ] {
        let error = Config::parse(options).unwrap_err().to_string();
        assert!(error.contains(key), "{options}: {error}");
    }
    let contradiction = Config { stitching: true, ..Config::pytorch() };
    assert!(contradiction.check().is_err());
    let warnings = Config::parse("planning:True").unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.key == "planning"));
}
