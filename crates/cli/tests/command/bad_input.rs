//! Bad input of every kind: status 2, nothing on standard output, and a message that names the
//! place and the remedy.

use std::fs;

use super::{Folder, freeboard};

#[track_caller]
fn refused(arguments: &[&str], words: &[&str]) {
    let said = freeboard(arguments);
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
    for word in words {
        assert!(said.err.contains(word), "{arguments:?}: '{word}' is not in {said:?}");
    }
}

/// The verbs that read a trace, with the arguments that follow it.
const READERS: [(&str, &[&str]); 4] =
    [("replay", &[]), ("min-capacity", &[]), ("compare", &[]), ("time", &["1"])];

#[track_caller]
fn refused_by_all(trace: &str, words: &[&str]) {
    for (verb, more) in READERS {
        refused(&[&[verb, trace], more].concat(), words);
    }
}

#[test]
fn a_missing_file_is_named() {
    refused_by_all("/nowhere/x.trace", &["cannot read /nowhere/x.trace", "check that the path"]);
}

#[test]
fn a_folder_is_no_trace() {
    let folder = Folder::new("folder");
    refused_by_all(&folder.path(""), &[&folder.path(""), "directory"]);
}

#[test]
fn a_broken_line_is_named_with_its_number() {
    let folder = Folder::new("lines");
    for (content, words) in [
        ("a 0 1 0\n# so far\nx 0\n", ["line 3", "unknown operation 'x'"]),
        ("a 0 1\n", ["line 1", "write 'a ID BYTES STREAM'"]),
        ("a 0 1 0\na 0 1 0\n", ["line 2", "id 0 is live since line 1"]),
        ("a 0 -1 0\n", ["line 1", "'-1' is no number"]),
        ("a 0 1 99999\n", ["line 1", "the largest is 65535"]),
        ("f 5\n", ["line 1", "id 5 is not live"]),
        ("a 0 1 0 0\n", ["line 1", "follows a complete line"]),
        ("", ["holds no operation", "check that the recording"]),
    ] {
        let trace = folder.file("bad.trace", content);
        refused_by_all(&trace, &[&trace, words[0], words[1]]);
    }
}

#[test]
fn damaged_compressed_files_are_named_with_their_format() {
    let folder = Folder::new("damaged");
    for (ending, format) in [("gz", "gzip"), ("zst", "zstd")] {
        let trace = folder.workload("h11-packing", &format!("x.{ending}"));
        let whole = fs::read(&trace).unwrap();
        fs::write(&trace, &whole[..whole.len() / 2]).unwrap();
        let words = [&trace, "is no sound", format, "fetch or record it again"];
        refused_by_all(&trace, &words);
    }
    // A sound header, then a flipped checksum.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, b"a 0 1 0\n").unwrap();
    let mut content = packer.finish().unwrap();
    let checksum = content.len() - 6;
    content[checksum] ^= 0xff;
    refused_by_all(&folder.file("crc.trace", content), &["crc.trace", "gzip"]);
}

#[test]
fn a_snapshot_is_told_from_a_trace() {
    let folder = Folder::new("pickle");
    let trace = folder.file("snapshot.pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}");
    refused_by_all(&trace, &["snapshot.pickle is a PyTorch snapshot, not a trace"]);
}

#[test]
fn settings_that_do_not_exist_or_do_not_fit_are_named() {
    for (settings, words) in [
        ("max_splitsize_mb:20", ["unknown key 'max_splitsize_mb'", "max_split_size_mb"]),
        ("max_split_size_mb:1", ["max_split_size_mb: '1", "at least 20 MiB"]),
        ("expandable_segments:true", ["expandable_segments: 'true'", "with a capital letter"]),
        ("expandable_segments", ["'expandable_segments'", "write key:value"]),
        ("backend:cudaMallocAsync", ["backend: 'cudaMallocAsync'", "native"]),
        ("-x", ["--conf: '-x'", "write key:value"]),
    ] {
        for (verb, more) in READERS {
            let trace = "workload:h1-order";
            refused(&[&[verb, trace], more, &["--conf", settings]].concat(), &words);
        }
    }
}

#[test]
fn capacities_that_no_device_has_are_refused() {
    for (capacity, word) in [
        ("80Gib?", "'80Gib?' is no size"),
        ("", "is no size"),
        ("-5GiB", "'-5GiB' is no size"),
        ("-5", "'-5' is no size"),
        ("0", "0 bytes is less than one page"),
        ("80", "did you forget a unit"),
        ("17TiB", "is more than 16 TiB"),
    ] {
        for (verb, more) in READERS {
            let trace = "workload:h1-order";
            refused(&[&[verb, trace], more, &["--capacity", capacity]].concat(), &[word]);
        }
    }
}

#[test]
fn numbers_out_of_range_are_refused_with_the_option_named() {
    for (verb, more) in READERS {
        for (option, value) in [
            ("--fraction", "NaN"),
            ("--fraction", "2"),
            ("--fraction", "-1"),
            ("--fraction", "-inf"),
            ("--fraction", "half"),
            ("--event-lag", "-1"),
            ("--event-lag", "1.5"),
            ("--policy", "mine"),
        ] {
            let equals = format!("{option}={value}");
            refused(&[&[verb, "workload:h1-order"], more, &[&equals]].concat(), &[option, value]);
        }
        for option in ["--fraction", "--event-lag"] {
            let words = [option, "-1"];
            refused(&[&[verb, "workload:h1-order"], more, &[option, "-1"]].concat(), &words);
        }
    }
    for loops in ["0", "-3", "many", "4294967296"] {
        refused(&["time", "workload:h1-order", loops], &[loops, "LOOPS"]);
    }
    for threads in ["0", "-1", "257"] {
        refused(&["time", "workload:h1-order", "1", "--threads", threads], &[threads, "--threads"]);
    }
    refused(&["time", "workload:h1-order", "1", "--event-lag", "1"], &["--event-lag", "leave it"]);
    refused(&["workload", "moe", "--seed", "-1"], &["--seed", "-1"]);
}

#[test]
fn workloads_that_do_not_exist_are_answered_with_those_that_do() {
    refused(&["workload", "trans"], &["there is no workload 'trans'", "transformer-varlen"]);
    refused_by_all("workload:trans", &["there is no workload 'trans'", "transformer-varlen"]);
    refused_by_all("workload:moe@x", &["the seed 'x' is no number", "write workload:moe@7"]);
    refused_by_all("workload:", &["there is no workload ''"]);
}

#[test]
fn files_that_cannot_be_written_are_named() {
    let folder = Folder::new("unwritable");
    let missing = folder.path("missing/x");
    refused(&["workload", "h1-order", "-o", &missing], &["cannot write", &missing]);
    refused(&["workload", "h1-order", "-o", &folder.path("")], &["cannot write"]);
}

#[test]
fn arguments_that_are_missing_or_unknown_are_refused() {
    for verb in ["replay", "min-capacity", "compare", "time"] {
        refused(&[verb], &["TRACE"]);
        refused(&[verb, "workload:h1-order", "--frobnicate"], &["--frobnicate"]);
    }
    refused(&["frobnicate"], &["frobnicate"]);
}
