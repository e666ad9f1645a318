//! `freeboard summary` and `freeboard convert`: what they print and write, and what they refuse.

use super::{Folder, freeboard};

/// Two blocks of a stream and one that another stream has left, with stacks and a history.
const SNAPSHOT: &str = r#"{
  "segments": [
    {"device": 0, "address": 1048576, "size": 20971520, "stream": 0, "small": false, "pool": [0, 0],
     "expandable": false, "stack": 0, "blocks": [
       {"address": 1048576, "size": 8388608, "requested": 8388600, "state": "allocated", "stack": 1},
       {"address": 9437184, "size": 12582912, "requested": 0, "state": "free", "stack": 0}]},
    {"device": 1, "address": 99999744, "size": 2097152, "stream": 7, "small": true, "pool": [0, 0],
     "expandable": false, "stack": 0, "blocks": [
       {"address": 99999744, "size": 2097152, "requested": 512, "state": "pending", "stack": 0}]}],
  "histories": [{"events": [
     {"address": 1048576, "size": 8388600, "stream": 0, "time_us": 1000000, "action": "alloc",
      "pool": 0, "stack": 1, "tag": 0, "context": 0},
     {"address": 4096, "size": 99, "stream": 0, "time_us": 2500000, "action": "oom",
      "pool": 0, "stack": 1, "tag": 0, "context": 0}]}],
  "settings": {"expandable_segments": false}, "annotations": [], "host_segments": [],
  "host_histories": [], "pools": [[0, 0]], "names": ["", "/x/project/train.py", "main"],
  "stacks": [[], [{"file": 1, "function": 2, "line": 42}]]}"#;

#[test]
fn a_snapshot_is_summed_up_on_one_screen_for_each_device() {
    let folder = Folder::new("summary");
    let file = folder.file("snapshot.json", SNAPSHOT);
    let said = freeboard(&["summary", &file]);
    assert_eq!(said.status, 0, "{said:?}");
    for words in [
        "device 0: 20.00 MiB reserved, 8.00 MiB in use (40.0 %)",
        "out of memory: 99 bytes wanted on stream 0, 4.00 KiB free on the device",
        "1.500 s before the end",
        "project/train.py:42 main",
        "device 1: 2.00 MiB reserved, 0 bytes in use",
        "given back, but still used by another stream",
    ] {
        assert!(said.out.contains(words), "'{words}' is not in {}", said.out);
    }
    let said = freeboard(&["summary", &file, "--device", "1", "--json"]);
    let report = said.json();
    assert_eq!(report.as_array().unwrap().len(), 1);
    assert_eq!(report[0]["waste"]["pending"].as_u64(), Some(2 << 20));
    let said = freeboard(&["summary", &file, "--device", "0", "--pytorch"]);
    assert!(said.out.contains("| Allocated memory      |   8192 KiB |"), "{said:?}");
}

#[test]
fn a_snapshot_survives_being_converted_there_and_back() {
    let folder = Folder::new("convert");
    let json = folder.file("snapshot.json", SNAPSHOT);
    let (pickle, back) = (folder.path("snapshot.pickle.gz"), folder.path("back.json.zst"));
    assert_eq!(freeboard(&["convert", &json, "-o", &pickle]).status, 0);
    assert_eq!(freeboard(&["convert", &pickle, "-o", &back]).status, 0);
    let summaries = [&json, &pickle, &back].map(|file| freeboard(&["summary", file, "--json"]));
    assert!(summaries[0].out.contains("train.py"));
    assert!(summaries.iter().all(|summary| summary.out == summaries[0].out), "{summaries:?}");
    let text = freeboard(&["convert", &back, "-o", "-", "--to", "json"]);
    assert!(text.json()["segments"].is_array());
}

#[test]
fn what_is_no_snapshot_and_what_cannot_be_written_is_refused_with_a_remedy() {
    let folder = Folder::new("no-snapshot");
    let json = folder.file("snapshot.json", SNAPSHOT);
    let empty = folder.file(
        "empty.json",
        r#"{"segments": [], "histories": [], "settings": {}, "annotations": [],
            "host_segments": [], "host_histories": [], "pools": [], "names": [], "stacks": []}"#,
    );
    let wrong = folder.file("wrong.json", "{\"segments\": 3}");
    let missing = folder.path("missing.pickle");
    let odd = folder.path("odd");
    let nowhere = folder.path("no/such/folder.json");
    for (arguments, words) in [
        (vec!["summary", &json, "--device", "5"], "give --device one of: 0, 1"),
        (vec!["summary", &empty], "nothing was allocated"),
        (vec!["summary", &wrong], "freeboard convert"),
        (vec!["summary", &missing], "check that the path is right"),
        (vec!["convert", &json, "-o", &odd], "or say --to"),
        (vec!["convert", &json, "-o", &nowhere], "cannot write"),
    ] {
        let said = freeboard(&arguments);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{arguments:?}");
        assert!(said.err.contains(words), "'{words}' is not in {said:?}");
    }
}
