//! The house rules that a compiler does not hold.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// Which crates of ours each crate may use. Arrows point down only.
const LAYERS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("checkpoint", &["units"]),
    ("counting", &["units"]),
    ("estimate", &["units"]),
    ("device", &["units"]),
    ("snapshot", &["units"]),
    ("allocator", &["units", "device", "planning", "snapshot"]),
    ("device-cuda", &["units", "device"]),
    ("survey", &["units", "device", "device-cuda"]),
    ("device-sim", &["units", "device"]),
    ("device-host", &["units", "device", "device-sim"]),
    ("watch", &["units", "device", "allocator", "snapshot", "survey"]),
    ("buffer", &["units", "device", "allocator", "device-cuda"]),
    ("grad-scaler", &["units", "device", "allocator", "buffer", "device-host"]),
    (
        "offload",
        &["units", "device", "device-host", "allocator", "buffer", "checkpoint", "grad-scaler"],
    ),
    ("budget", &["units", "device", "allocator", "buffer", "checkpoint", "offload"]),
    ("candle", &["units", "checkpoint", "device-host", "grad-scaler"]),
    ("fake-cuda", &[]),
    ("fake-nvml", &[]),
    ("packing", &["units"]),
    ("planning", &["units", "packing"]),
    ("replay", &["units", "device", "allocator", "device-sim", "snapshot"]),
    (
        "cli",
        &[
            "units",
            "device",
            "estimate",
            "allocator",
            "checkpoint",
            "device-sim",
            "device-cuda",
            "replay",
            "packing",
            "snapshot",
            "survey",
            "watch",
        ],
    ),
];
/// The crates that may hold unsafe code, every block with its argument; all others forbid it.
const UNSAFE: &[&str] = &[
    "buffer",
    "counting",
    "device",
    "device-cuda",
    "device-host",
    "fake-cuda",
    "fake-nvml",
    "grad-scaler",
    "offload",
];
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
        assert_ne!(forbids, UNSAFE.contains(name), "{name}: unsafe code");
    }
}

#[test]
fn crates_use_only_those_below_them() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
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

/// The lines of code of a crate, comments left out, with the file each is in.
fn code_of(name: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("crates").join(name).join("src");
    let files = sources().into_iter().filter(|(path, _)| path.starts_with(&folder));
    let lines = files.flat_map(|(path, text)| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.map(|line| (path.clone(), line.to_owned())).collect::<Vec<_>>()
    });
    lines.collect()
}

#[test]
fn the_allocator_names_no_device_and_reads_a_clock_only_to_time_the_driver_and_events() {
    for (path, line) in code_of("allocator") {
        // Driver calls are timed, and so are recorded events, each in a file of their own.
        let times: &[&str] = if path.ends_with("stitch/driver.rs") {
            &["Instant"]
        } else if path.ends_with("record/clock.rs") {
            &["Instant", "SystemTime"]
        } else {
            &[]
        };
        for word in ["device_sim", "device_host", "device_cuda", "Instant", "SystemTime"] {
            let is_fine = !line.contains(word) || times.contains(&word);
            assert!(is_fine, "{}: {line}", path.display());
        }
    }
}

#[test]
fn the_allocator_hashes_only_bare_addresses() {
    for (path, line) in code_of("allocator") {
        let file = path.file_name().unwrap().to_str().unwrap();
        let hashes = ["HashMap", "HashSet", "Hasher"].iter().any(|word| line.contains(word));
        let declares =
            line.contains("use rustc_hash::FxHashMap;") || line.contains(" raw: FxHashMap");
        assert!(!hashes || file == "state.rs" && declares, "{file}: {line}");
        let uses = line.contains("self.raw.") || line.contains("&self.raw ");
        assert!(!uses || ["raw.rs", "check.rs"].contains(&file), "{file}: {line}");
    }
}

/// Where kernels lie; `tests/gpu/make-ptx` has the same list.
const KERNELS: [&str; 2] = ["tests/gpu", "crates/grad-scaler/src/kernels"];

#[test]
fn the_kernels_are_made_from_their_source() {
    let mut count = 0;
    for folder in KERNELS {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        let of = |extension| files.iter().filter(move |file| file.extension() == Some(extension));
        for source in of(OsStr::new("cu")) {
            let mut crc = flate2::Crc::new();
            for part in iter::once(source).chain(of(OsStr::new("cuh"))) {
                crc.update(&fs::read(part).unwrap());
            }
            let name = source.file_name().unwrap().display();
            let first = format!("// from {name}, crc32 {:08x}\n", crc.sum());
            let made = fs::read_to_string(source.with_extension("ptx")).unwrap();
            assert!(made.starts_with(&first), "{name}: run tests/gpu/make-ptx");
            assert!(made.contains(".version 8.0\n.target sm_75\n"), "{name}");
            count += 1;
        }
        assert_eq!(of(OsStr::new("cu")).count(), of(OsStr::new("ptx")).count(), "{folder}");
    }
    assert!(count >= 2, "the kernels are where they were");
}
