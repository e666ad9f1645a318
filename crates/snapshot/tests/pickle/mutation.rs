//! Any bytes at all: reading ends, within its memory, with a snapshot or an error.
//!
//! A long campaign is run by hand, with a million cases of each kind:
//! `FREEBOARD_CASES=1000000 cargo test --release -p freeboard-snapshot --test pickle mutation`

use std::sync::LazyLock;

use freeboard_snapshot::pickle::{self, ReadOptions};
use freeboard_units::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use crate::data::{bytes, read, spelled, written};

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = ["streams_and_pools", "protocol_0", "protocol_2", "oldest", "host", "extra_keys"];
    names.map(bytes).into()
});

fn cases(few: u32) -> ProptestConfig {
    let told = std::env::var("FREEBOARD_CASES").ok().and_then(|cases| cases.parse().ok());
    // Failures are printed; files of them would be of no use to others.
    ProptestConfig { cases: told.unwrap_or(few), failure_persistence: None, ..<_>::default() }
}

fn run<S: Strategy>(few: u32, strategy: S, test: impl Fn(S::Value) -> TestCaseResult) {
    TestRunner::new(cases(few)).run(&strategy, test).unwrap();
}

/// What is read is sound: it is written and read again as it is.
fn check(file: &[u8]) -> TestCaseResult {
    let options = ReadOptions::default().with_memory(Bytes::mib(256));
    match pickle::read(file, &options) {
        Err(error) => prop_assert!(!error.to_string().is_empty()),
        Ok(snapshot) => {
            let again = read(&written(&snapshot));
            prop_assert!(again.is_ok(), "{}", again.unwrap_err());
            prop_assert_eq!(spelled(&again.unwrap()), spelled(&snapshot));
        }
    }
    Ok(())
}

#[test]
fn random_bytes_are_read_or_refused() {
    run(500, prop::collection::vec(any::<u8>(), 0..300), |file| check(&file));
}

/// One change at a place given as a part of the file.
fn changed(file: &mut Vec<u8>, kind: u8, place: u32, byte: u8) {
    let length = file.len().max(1);
    let at = ((u64::from(place) * length as u64) >> 32).try_into().unwrap_or(0);
    let end = (at + usize::from(byte)).min(file.len());
    match kind {
        0 if at < file.len() => file[at] ^= 1 << (byte % 8),
        1 if at < file.len() => file[at] = byte,
        2 => file.truncate(at),
        3 => file.insert(at, byte),
        4 => drop(file.drain(at..end)),
        5 => {
            let copy = file[at..end].to_vec();
            file.splice(at..at, copy);
        }
        _ => {
            let copy = file[at..end].to_vec();
            file.extend(copy);
        }
    }
}

#[test]
fn changed_files_are_read_or_refused() {
    let changes = prop::collection::vec((0..7_u8, any::<u32>(), any::<u8>()), 1..5);
    run(500, (any::<prop::sample::Index>(), changes), |(index, changes)| {
        let mut file = index.get(&FILES).clone();
        for (kind, place, byte) in changes {
            changed(&mut file, kind, place, byte);
        }
        check(&file)
    });
}

/// Opcodes that mean something, with arguments that often do, so that they reach deep.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "segments",
        "device_traces",
        "allocator_settings",
        "frames",
        "blocks",
        "history",
        "action",
        "alloc",
        "oom",
        "addr",
        "device_free",
        "size",
        "address",
        "total_size",
        "state",
        "inactive",
        "filename",
        "line",
        "name",
        "real_size",
        "stage",
        "device_total",
        "freeboard",
        "dropped",
        "devices",
        "pool_id",
    ];
    prop_oneof![
        4 => prop::sample::select(&b"(}]ue)tdlas0122N\x85\x86\x87\x88\x89\x94\x94"[..])
            .prop_map(|opcode| vec![opcode]),
        4 => prop::sample::select(words.to_vec()).prop_map(|word| {
            [&[0x8c, u8::try_from(word.len()).unwrap()], word.as_bytes()].concat()
        }),
        2 => (0..8_u8).prop_map(|index| vec![b'h', index]),
        2 => any::<u8>().prop_map(|number| vec![b'K', number]),
        1 => any::<i32>().prop_map(|number| [&b"J"[..], &number.to_le_bytes()].concat()),
        1 => any::<i64>().prop_map(|number| [&b"\x8a\x08"[..], &number.to_le_bytes()].concat()),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(opcode, argument)| vec![opcode, argument]),
    ]
}

#[test]
fn random_opcodes_are_carried_out_or_refused() {
    run(2000, prop::collection::vec(part(), 0..60), |parts| {
        check(&[&b"\x80\x04}("[..], &parts.concat(), b"u."].concat())
    });
}
