//! The house rules that a compiler does not hold.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which crates of ours each crate may use. Arrows point down only.
const LAYERS: [(&str, &[&str]); 7] = [
    ("units", &[]),
    ("device", &["units"]),
    ("allocator", &["units", "device"]),
    ("device-sim", &["units", "device"]),
    ("replay", &["units", "device", "allocator", "device-sim"]),
    ("fake-nvml", &[]),
    ("cli", &["units", "device", "allocator", "device-sim", "replay"]),
];
/// The crates that may hold unsafe code, every block with its argument; all others forbid it.
const UNSAFE: [&str; 2] = ["device", "fake-nvml"];
/// The longest file, in lines.
const LONGEST: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file that is not a build product.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "tests", "benches", "examples"].map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 50, "the sources are where they were");
    found
}

#[test]
fn files_are_short_and_say_first_what_they_are() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_unfinished_ignored_or_unsafe() {
    let forbidden = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    for (path, text) in sources() {
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
        let ignored = ["#[", "ignore"].concat();
        assert!(!text.contains(&ignored), "{}: an ignored test", path.display());
    }
    for (name, _) in LAYERS {
        let src = root().join("crates").join(name).join("src");
        let entry = ["lib.rs", "main.rs"].map(|file| src.join(file));
        let entry = entry.iter().find(|file| file.exists()).unwrap();
        let text = fs::read_to_string(entry).unwrap();
        let forbids = text.contains("#![forbid(unsafe_code)]");
        assert_ne!(forbids, UNSAFE.contains(&name), "{name}: unsafe code");
    }
}

#[test]
fn crates_use_only_those_below_them() {
    let layers: BTreeMap<_, _> = LAYERS.into();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let allowed = layers.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no layer"));
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} has lints of its own");
        let (_, dependencies) = manifest.split_once("\n[dependencies]").unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap();
        for line in dependencies.lines() {
            let Some(used) = line.strip_prefix("freeboard-") else { continue };
            let used = used.split([' ', '.']).next().unwrap();
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn the_allocator_names_no_device() {
    for (path, text) in sources() {
        let inside = path.starts_with(root().join("crates/allocator/src"));
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        if inside {
            for line in code {
                assert!(!line.contains("device_sim"), "{}: {line}", path.display());
            }
        }
    }
}
