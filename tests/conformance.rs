//! Every number that `PyTorch` 2.15's own compiled allocator gave, on recorded traces and random
//! programs, under many settings, capacities and event lags.
//!
//! `tests/data/*.pytorch-2.15.json.gz` are runs of the recorded trace of that name.
//! `tests/data/programs.pytorch-2.15.jsonl.gz` holds random programs with settings of every kind, and
//! first the smallest programs that once told our allocator from `PyTorch`'s. All were run with the
//! allocator of the released wheel on a device of arithmetic: pages of 2 MiB, refusal exactly at the
//! capacity, one clock tick per operation.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use freeboard::replay::Trace;
use freeboard::replay::run::{RunOptions, run};
use freeboard::{Bytes, Config};
use serde::Deserialize;
use serde_json::Value;

/// One setting of a recorded trace, and its runs by capacity.
#[derive(Deserialize)]
struct Recorded {
    settings: String,
    fraction: Option<f64>,
    event_lag_ops: u64,
    runs: BTreeMap<String, Value>,
}

/// One random program.
#[derive(Deserialize)]
struct Program {
    name: String,
    settings: String,
    fraction: Option<f64>,
    capacity: u64,
    event_lag_ops: u64,
    trace: Vec<String>,
    expected: Value,
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn text(name: &str) -> String {
    let file = std::fs::File::open(data(name)).expect("test data is shipped");
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("test data is sound");
    text
}

/// Runs a trace and compares everything that is expected of it; differences in words.
fn differences(trace: &Trace, options: &RunOptions, expected: &Value) -> Vec<String> {
    let run = run(trace, &options.clone().keep_going(true)).expect("the settings are sound");
    let ours = serde_json::to_value(&run).expect("a result is data");
    let mut differences = Vec::new();
    for (key, theirs) in expected.as_object().expect("an object") {
        match key.as_str() {
            "stats" => {
                for (stat, theirs) in theirs.as_object().expect("counters by name") {
                    if ours["stats"][stat] != *theirs {
                        differences.push(format!("{stat}: {} ≠ {theirs}", ours["stats"][stat]));
                    }
                }
            }
            "ooms" => {
                let place = |oom: &Value| (oom["line"].clone(), oom["size"].clone());
                let list = |value: &Value| {
                    value.as_array().map(|ooms| ooms.iter().map(place).collect::<Vec<_>>())
                };
                if list(&ours["ooms"]) != list(theirs) {
                    differences.push(format!("ooms: {} ≠ {theirs}", ours["ooms"]));
                }
            }
            _ if ours[key] != *theirs => {
                differences.push(format!("{key}: {} ≠ {theirs}", ours[key]));
            }
            _ => {}
        }
    }
    differences
}

fn options(settings: &str, fraction: Option<f64>, capacity: u64, lag: u64) -> RunOptions {
    let config = Config::parse(settings).expect("settings that PyTorch takes").config;
    RunOptions::new(config, Bytes::new(capacity)).fraction(fraction).event_lag(lag)
}

/// All runs of a recorded trace; how many there were.
fn check_recorded(trace: &str, runs: &str) -> usize {
    let trace = Trace::read(data(trace)).expect("a recorded trace is shipped");
    let recorded: BTreeMap<String, Recorded> =
        serde_json::from_str(&text(runs)).expect("test data is sound");
    let mut count = 0;
    for (name, setting) in recorded {
        for (size, expected) in setting.runs {
            let capacity = expected["capacity"].as_u64().expect("a number of bytes");
            let options =
                options(&setting.settings, setting.fraction, capacity, setting.event_lag_ops);
            let differences = differences(&trace, &options, &expected);
            assert!(differences.is_empty(), "{name} at {size}: {differences:#?}");
            count += 1;
        }
    }
    count
}

#[test]
fn a_convolutional_network_of_changing_image_size_gives_pytorchs_numbers() {
    let runs = "resnet50_varsize.pytorch-2.15.json.gz";
    assert_eq!(check_recorded("resnet50_varsize.trace.gz", runs), 54);
}

#[test]
fn gathers_and_reductions_on_three_streams_give_pytorchs_numbers() {
    let runs = "fsdp8_llama8b_streams.pytorch-2.15.json.gz";
    assert_eq!(check_recorded("fsdp8_llama8b_streams.trace.gz", runs), 54);
}

#[test]
fn streams_that_lag_behind_give_pytorchs_numbers() {
    let runs = "fsdp8_llama8b_streams+lag200.pytorch-2.15.json.gz";
    assert_eq!(check_recorded("fsdp8_llama8b_streams.trace.gz", runs), 54);
}

#[test]
fn random_programs_under_random_settings_give_pytorchs_numbers() {
    let mut count = 0;
    for line in text("programs.pytorch-2.15.jsonl.gz").lines() {
        let program: Program = serde_json::from_str(line).expect("test data is sound");
        let trace = Trace::parse(&program.name, program.trace.join("\n").as_bytes());
        let trace = trace.expect("a sound trace");
        let Program { settings, fraction, capacity, event_lag_ops, .. } = &program;
        let options = options(settings, *fraction, *capacity, *event_lag_ops);
        let differences = differences(&trace, &options, &program.expected);
        assert!(
            differences.is_empty(),
            "{} under '{settings}', fraction {fraction:?}: {differences:#?}",
            program.name
        );
        count += 1;
    }
    assert_eq!(count, 506);
}
