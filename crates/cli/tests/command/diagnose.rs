//! `freeboard diagnose` on every kind of input, and on none.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{Folder, Said, fed, freeboard};

/// One of the real files that the snapshot crate is tested with.
fn real(file: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/tests/data/oom");
    data.join(file).to_str().unwrap().to_owned()
}

fn unpacked(file: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(PathBuf::from(real(file))).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[track_caller]
fn verdict(arguments: &[&str]) -> Value {
    let said = freeboard(&[&["diagnose", "--json"], arguments].concat());
    assert_eq!(said.status, 0, "{said:?}");
    said.json()["verdict"].clone()
}

#[test]
fn a_snapshot_is_read_packed_unpacked_and_from_standard_input() {
    let folder = Folder::new("diagnose-kinds");
    let packed = real("ex_large_batch.pickle.gz");
    let bytes = unpacked("ex_large_batch.pickle.gz");
    assert_eq!(verdict(&[&packed]), "exhaustion");
    assert_eq!(verdict(&[&folder.file("a.pickle", &bytes)]), "exhaustion");
    let said = fed(&["diagnose", "-"], &bytes);
    assert!(said.out.contains("Root cause: exhaustion"), "{said:?}");
}

#[test]
fn a_log_is_read_alone_and_with_its_snapshot() {
    let (log, snapshot) = (real("limit_fraction.txt"), real("limit_fraction.pickle.gz"));
    for files in [&[&*log][..], &[&log, &snapshot], &[&snapshot, &log], &[&snapshot]] {
        assert_eq!(verdict(files), "limit", "{files:?}");
    }
    let said = freeboard(&["diagnose", &snapshot, &log]);
    assert!(said.out.contains("12.00 GiB are allowed"), "{said:?}");
}

#[test]
fn a_capacity_tells_of_other_processes_where_a_snapshot_cannot() {
    let snapshot = real("other_process_small.pickle.gz");
    assert_eq!(verdict(&[&snapshot]), "exhaustion");
    assert_eq!(verdict(&[&snapshot, "--capacity", "24GiB"]), "other_process");
    assert_eq!(verdict(&[&snapshot, &real("other_process_small.txt")]), "other_process");
}

#[test]
fn a_trace_is_run_and_its_failure_explained() {
    let folder = Folder::new("diagnose-trace");
    let trace = folder.file("a.trace", "a 0 20971520 0\na 1 20971520 0\na 2 41943040 0\n");
    let said = freeboard(&["diagnose", &trace, "--capacity", "64MiB"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("Root cause: exhaustion"), "{said:?}");
    let said = freeboard(&["diagnose", &trace, "--capacity", "1GiB"]);
    assert_eq!((said.status, &*said.out), (2, ""));
    assert!(said.err.contains("survives on") && said.err.contains("peak"), "{said:?}");
    let said = freeboard(&["diagnose", &trace]);
    assert!(said.status == 2 && said.err.contains("--capacity"), "{said:?}");
}

#[test]
fn json_has_the_verdict_its_evidence_and_levers_that_were_tried() {
    let said = freeboard(&["diagnose", "--json", &real("frag_llama_varlen.pickle.gz")]);
    let json = said.json();
    assert_eq!(
        (&json["verdict"], &json["cause"]),
        (&"fragmentation".into(), &"fragmentation".into())
    );
    for key in
        ["source", "summary", "evidence", "levers", "replays", "verify", "prevent", "holders"]
    {
        assert!(!json[key].is_null(), "{key}");
    }
    let evidence = json["evidence"].as_array().unwrap();
    let asked = evidence.iter().find(|line| line["what"] == "asked for").unwrap();
    assert_eq!(Said::keys(asked), ["bytes", "text", "what"]);
    assert_eq!(asked["bytes"], 939_520_000);
    let first = &json["levers"][0];
    assert_eq!(first["setting"], "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True");
    assert_eq!((&first["verified"], &first["kind"]), (&true.into(), &"setting".into()));
    assert!(first["gain_bytes"].as_u64().unwrap() > 1 << 30 && first["action"].is_string());
    // A setting that does not help is not advised.
    let settings =
        json["levers"].as_array().unwrap().iter().filter(|lever| !lever["setting"].is_null());
    assert_eq!(settings.count(), 1);
    assert_eq!(json["replays"][0]["policy"], "as it ran");
    assert!(json["replays"][0]["spare"].is_null());
}

#[test]
fn the_largest_batch_is_told_as_a_number_where_the_batch_is() {
    let snapshot = real("late_history.pickle.gz");
    let said = freeboard(&["diagnose", &snapshot, "--batch", "32"]);
    assert!(said.out.contains("Root cause: exhaustion"), "{said:?}");
    assert!(said.out.contains(" instead of 32, the largest that fits"), "{said:?}");
    let said = freeboard(&["diagnose", &snapshot, "--no-replay"]);
    assert!(!said.out.contains("Replays") && !said.out.contains("verified"), "{said:?}");
}

#[test]
fn ranks_are_compared_and_the_first_to_fail_is_explained() {
    let folder = Folder::new("diagnose-ranks");
    folder.file("rank_0.pickle", unpacked("stranded_streams.pickle.gz"));
    folder.file("rank_1.pickle", unpacked("frag_holes.pickle.gz"));
    folder.file("notes.md", "not to be read");
    let said = freeboard(&["diagnose", "--json", &folder.path("")]);
    let ranks = &said.json()["ranks"];
    assert_eq!(ranks["all"].as_array().unwrap().len(), 2);
    assert_eq!(ranks["all"][0]["name"], "rank 0");
    let culprit = usize::try_from(ranks["culprit"].as_u64().unwrap()).unwrap();
    assert_eq!(ranks["all"][culprit]["verdict"], said.json()["verdict"]);
    let text = freeboard(&["diagnose", &folder.path("")]);
    assert!(text.out.contains("\nRanks\n") && text.out.contains("> rank "), "{text:?}");
}

#[test]
fn an_error_that_tells_too_little_gives_status_one() {
    let folder = Folder::new("diagnose-bare");
    let log = folder.file("a.log", "RuntimeError: CUDA error: out of memory\n");
    let said = freeboard(&["diagnose", &log]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.out.contains("Root cause: unknown"), "{said:?}");
}

#[test]
fn what_cannot_be_diagnosed_is_refused_with_the_file_and_a_remedy() {
    let folder = Folder::new("diagnose-bad");
    let bytes = unpacked("ex_large_batch.pickle.gz");
    let cut = folder.file("cut.pickle", &bytes[..bytes.len() / 2]);
    let empty = folder.file("empty.log", "");
    let calm = folder.file("calm.log", "step 1\nstep 2\nall is well\n");
    let none = folder.path("no/such/file");
    fs::create_dir(folder.path("nothing")).unwrap();
    let nothing = folder.path("nothing");
    let real = real("ex_large_batch.pickle.gz");
    for (arguments, word) in [
        (&[&*cut][..], "cut.pickle"),
        (&[&empty], "is empty"),
        (&[&calm], "no error about memory"),
        (&[&none], "check that the path is right"),
        (&[&nothing], "no snapshot"),
        (&[&real, "--device", "7"], "--device"),
        (&[&real, "--batch", "0"], "--batch"),
        (&[&real, "--capacity", "much"], "--capacity"),
        (&[], "FILE"),
    ] {
        let said = freeboard(&[&["diagnose"], arguments].concat());
        assert_eq!((said.status, &*said.out), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains(word), "{arguments:?}: {said:?}");
    }
}

#[test]
fn a_rust_programs_bare_error_is_answered_in_rust() {
    let log = b"Error: Cuda(Cuda(DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")))\n";
    let said = fed(&["diagnose", "-"], log);
    assert_eq!(said.status, 1, "no numbers, no cause: {said:?}");
    assert!(said.out.contains("record_history") && !said.out.contains("torch"), "{said:?}");
    let said = fed(&["diagnose", "-"], b"torch.cuda.OutOfMemoryError: CUDA out of memory.\n");
    assert!(said.out.contains("torch.cuda.memory._record_memory_history"), "{said:?}");
}
