//! `freeboard devices` on made-up machines, through a made-up NVML.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Folder, Said, command};

const GIB: u64 = 1 << 30;

/// A library that Cargo built beside this test.
fn library(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("{DLL_PREFIX}freeboard_fake_{name}{DLL_SUFFIX}");
    let library = test.parent().unwrap().join(name);
    assert!(library.exists(), "{} was not built", library.display());
    library
}
/// The command on this machine, where this very test is the process that holds memory.
fn devices_on(machine: &str, arguments: &[&str]) -> Command {
    let mut command = command(&[&["devices"], arguments].concat());
    command
        .env("FREEBOARD_NVML_LIBRARY", library("nvml"))
        .env("FREEBOARD_FAKE_NVML", machine)
        .env("FREEBOARD_FAKE_NVML_PID", std::process::id().to_string());
    command
}

#[track_caller]
fn text_of(machine: &str) -> String {
    let said: Said = devices_on(machine, &[]).output().unwrap().into();
    assert_eq!((said.status, said.err.as_str()), (0, ""), "{said:?}");
    said.out
}

#[track_caller]
fn json_of(machine: &str) -> Value {
    let said: Said = devices_on(machine, &["--json"]).output().unwrap().into();
    assert_eq!((said.status, said.err.as_str()), (0, ""), "{said:?}");
    said.json()
}

/// The problems of a device by name, those that block with a '!'.
#[track_caller]
fn problems(device: &Value) -> Vec<String> {
    let problems = device["problems"].as_array().unwrap();
    let blocked = problems.iter().any(|problem| problem["blocks"] == true);
    assert_eq!(device["usable"], !blocked);
    let named = |problem: &Value| {
        let mark = if problem["blocks"] == true { "!" } else { "" };
        format!("{}{mark}", problem["kind"].as_str().unwrap())
    };
    problems.iter().map(named).collect()
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is not in:\n{text}");
    }
}

#[test]
fn healthy_devices_have_every_figure() {
    let survey = json_of("healthy");
    assert_eq!(survey["driver_version"], "575.57.08");
    assert_eq!(survey["cuda_version"], "12.9");
    assert_eq!((&survey["reason"], &survey["advice"]), (&Value::Null, &Value::Null));
    let devices = survey["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    let used = &devices[0];
    assert_eq!(used["name"], "NVIDIA H200");
    assert_eq!(used["uuid"], "GPU-00000000-0000-0000-0000-000000000001");
    assert_eq!(used["pci"], "00000000:01:00.0");
    assert_eq!(used["compute_capability"], "9.0");
    assert_eq!(
        used["memory"],
        json!({
            "total": 141 * GIB,
            "free": 98 * GIB,
            "used": 42 * GIB,
            "reserved_by_driver": GIB,
            "used_by_user": 40 * GIB,
            "used_by_others": GIB / 2,
            "unaccounted": 3 * GIB / 2,
        })
    );
    assert_eq!(used["utilisation"], json!({"compute_percent": 87, "memory_percent": 40}));
    assert_eq!((&used["compute_mode"], &used["persistence"]), (&json!("default"), &json!(true)));
    assert_eq!(used["mig"], json!({"enabled": false, "pending": false, "instances": null}));
    assert_eq!(
        used["health"],
        json!({
            "ecc": {"enabled": true, "pending": true},
            "volatile_errors": {"corrected": 0, "uncorrected": 0},
            "aggregate_errors": {"corrected": 3, "uncorrected": 0},
            "remapped_rows":
                {"corrected": 1, "uncorrected": 0, "pending": false, "failure": false},
            "retired_pages": {"single_bit": null, "double_bit": null, "pending": null},
            "recovery_action": "none",
        })
    );
    assert!(devices.iter().all(|device| problems(device).is_empty()));
    assert_eq!((&devices[1]["index"], &devices[1]["processes"]), (&json!(1), &json!([])));
}

#[test]
fn processes_are_named_and_are_this_users_or_anothers() {
    let survey = json_of("healthy");
    let processes = &survey["devices"][0]["processes"];
    // It computes and draws: on two lists, and once here.
    assert_eq!(processes.as_array().unwrap().len(), 2);
    let own = std::process::id();
    let (ours, theirs) = (&processes[0], &processes[1]);
    assert_eq!((&ours["pid"], &ours["used"]), (&json!(own), &json!(40 * GIB)));
    assert_eq!((&ours["is_users"], &theirs["is_users"]), (&json!(true), &json!(false)));
    assert!(ours["name"].is_string() && theirs["name"].is_null(), "{processes}");
    let text = text_of("healthy");
    let name = ours["name"].as_str().unwrap();
    says(&text, &["processes: none", &format!("{own}    40.00 GiB  yours      {name}")]);
    says(&text, &["  512.00 MiB  another's  (not seen from here)"]);
}

#[test]
fn the_table_has_a_row_per_device() {
    let text = text_of("healthy");
    says(
        &text,
        &[
            "driver 575.57.08, CUDA up to 12.9\n",
            "  GPU  name         cc        total        free      yours      others  busy  usable\n",
            "  0    NVIDIA H200  9.0  141.00 GiB   98.00 GiB  40.00 GiB  512.00 MiB  87 %     yes\n",
            "42.00 GiB used, 1.50 GiB of it by processes not seen from here",
            "compute mode shared, persistence on, MIG off",
            "ECC on; errors since the last reset: 0 corrected, 0 not; ever: 3 corrected, 0 not",
            "rows remapped for errors: 1 corrected, 0 not; pending no, failed no",
            "pages retired for errors: - single-bit, - double-bit; pending -",
        ],
    );
    assert!(text.lines().all(|line| line == line.trim_end()));
}

#[test]
fn memory_errors_that_nothing_mended_keep_a_device_from_use() {
    let device = &json_of("ecc")["devices"][0];
    let names = problems(device);
    assert_eq!(
        names,
        [
            "remap-failure!",
            "uncorrected-errors!",
            "recovery-action",
            "remap-pending",
            "retirement-pending"
        ]
    );
    let health = &device["health"];
    assert_eq!(health["volatile_errors"], json!({"corrected": 7, "uncorrected": 2}));
    assert_eq!(health["aggregate_errors"], json!({"corrected": 9, "uncorrected": 4}));
    let pages = json!({"single_bit": 5, "double_bit": 6, "pending": true});
    assert_eq!(health["retired_pages"], pages);
    assert_eq!(health["recovery_action"], "drain-and-reset");
    let text = text_of("ecc");
    says(&text, &["NO\n", "cannot be used: the GPU could not replace", "Xid 64"]);
    let advice = "    end every process on it and reset the GPU";
    assert_eq!(text.matches(advice).count(), 1, "said once: {text}");
}

#[test]
fn a_device_that_wants_a_reset_says_how() {
    let names = problems(&json_of("reset")["devices"][0]);
    assert_eq!(names, ["recovery-action!", "remap-pending", "mode-pending"]);
    says(&text_of("reset"), &["sudo nvidia-smi --gpu-reset -i 0", "ECC is to be turned off"]);
}

#[test]
fn a_lost_device_is_told_from_its_neighbours() {
    let survey = json_of("lost");
    let all: Vec<_> = survey["devices"].as_array().unwrap().iter().map(problems).collect();
    // One that cannot be opened, and one that was lost since.
    assert_eq!(all, [vec![], vec!["lost!".to_owned()], vec!["lost!".to_owned()]]);
    assert_eq!(survey["devices"][1]["memory"], Value::Null);
    let rows = "  1    -            -             -           -        -        -     -      NO\n";
    says(&text_of("lost"), &[rows, "fell off the bus", "'Xid' in 'sudo dmesg'"]);
}

#[test]
fn every_refusal_to_open_a_device_has_its_advice() {
    let survey = json_of("refused");
    let all: Vec<_> = survey["devices"].as_array().unwrap().iter().flat_map(problems).collect();
    let names = [
        "no-permission!",
        "blocked!",
        "insufficient-power!",
        "interrupts!",
        "reset-required!",
        "unreadable!",
    ];
    assert_eq!(all, names);
    says(&text_of("refused"), &["/dev/nvidia*", "power cables", "4242", "--gpu-reset -i 4"]);
}

#[test]
fn an_exclusive_device_names_its_holder() {
    let device = &json_of("exclusive")["devices"][0];
    assert_eq!(problems(device), ["occupied!"]);
    assert_eq!(device["compute_mode"], "exclusive-process");
    let holder = format!("exclusive and process {} (", std::process::id());
    says(&text_of("exclusive"), &[&holder, "sudo nvidia-smi -i 0 -c DEFAULT"]);
}

#[test]
fn a_full_device_says_how_little_is_free() {
    assert_eq!(problems(&json_of("full")["devices"][0]), ["no-free-memory!"]);
    says(&text_of("full"), &["100.00 MiB free is less than a CUDA context takes"]);
}

#[test]
fn a_device_in_mig_mode_lists_its_instances_or_misses_them() {
    let survey = json_of("mig");
    let devices = &survey["devices"];
    assert_eq!(problems(&devices[0]), ["mig-without-instances!"]);
    assert!(problems(&devices[1]).is_empty());
    let instances = devices[1]["mig"]["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 2);
    assert_eq!(instances[0]["uuid"], "MIG-00000000-0000-0000-0000-000000001002");
    assert_eq!(instances[0]["free"], 35 * GIB);
    says(&text_of("mig"), &["mig -i 0 -cgi PROFILE -C", "35.25 GiB, 35.00 GiB free"]);
}

#[test]
fn what_a_device_does_not_tell_is_null_and_a_dash() {
    let device = &json_of("unsupported")["devices"][0];
    assert!(problems(device).is_empty());
    let nulls = [
        "compute_capability",
        "memory",
        "processes",
        "utilisation",
        "compute_mode",
        "persistence",
        "mig",
    ];
    assert!(nulls.iter().all(|name| device[name].is_null()), "{device}");
    assert!(device["health"]["ecc"].is_null());
    assert_eq!(device["health"]["remapped_rows"]["pending"], Value::Null);
    says(&text_of("unsupported"), &["NVIDIA H200", "processes: -\n", "compute mode -"]);
}

#[test]
fn answers_nobody_has_heard_of_are_no_reason_to_fail() {
    let device = &json_of("unheard-of")["devices"][0];
    assert_eq!(problems(device), ["recovery-action"]);
    assert_eq!(device["health"]["recovery_action"], "unknown");
    assert!(device["compute_mode"].is_null() && device["health"]["ecc"].is_null());
}

#[test]
fn without_a_driver_a_library_or_a_gpu_the_reason_is_told() {
    for (machine, words) in [
        ("no-driver", ["driver is not loaded", "sudo modprobe nvidia"]),
        ("driver-mismatch", ["of different versions", "reboot"]),
        ("no-permission", ["may not talk to the NVIDIA driver", "/dev/nvidia*"]),
        ("none", ["has no GPU", "--gpus all"]),
    ] {
        let survey = json_of(machine);
        assert_eq!(survey["devices"], json!([]));
        let (reason, advice) = (&survey["reason"], &survey["advice"]);
        says(reason.as_str().unwrap(), &words[..1]);
        says(advice.as_str().unwrap(), &words[1..]);
        says(&text_of(machine), &["no devices: ", words[0], words[1]]);
    }
    let mut bare = command(&["devices", "--json"]);
    let said: Said = bare.env("FREEBOARD_NVML_LIBRARY", "").output().unwrap().into();
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert_eq!(said.json()["devices"], json!([]));
    says(said.json()["reason"].as_str().unwrap(), &["NVIDIA driver"]);
    says(said.json()["advice"].as_str().unwrap(), &["install", "--gpus all"]);
}

#[test]
fn the_library_that_comes_with_the_driver_is_looked_for_by_itself() {
    let said: Said = command(&["devices", "--json"])
        .env_remove("FREEBOARD_NVML_LIBRARY")
        .output()
        .unwrap()
        .into();
    assert_eq!(said.status, 0, "{said:?}");
    let survey = said.json();
    let devices = survey["devices"].as_array().unwrap();
    assert_eq!(devices.is_empty(), survey["reason"].is_string(), "{survey}");
}

#[test]
fn a_failure_nobody_expects_is_status_2() {
    for machine in ["unknown-error", "future-error"] {
        let said: Said = devices_on(machine, &["--json"]).output().unwrap().into();
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{said:?}");
        says(&said.err, &["cannot ask for the devices", "sudo dmesg"]);
    }
}

#[test]
fn a_library_that_is_none_is_refused_by_name() {
    let folder = Folder::new("library");
    let text = folder.file("libnvidia-ml.so.1", "no library");
    for library in ["/nowhere/libnvidia-ml.so.1", &text] {
        let mut refused = command(&["devices"]);
        let said: Said = refused.env("FREEBOARD_NVML_LIBRARY", library).output().unwrap().into();
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{said:?}");
        says(&said.err, &["FREEBOARD_NVML_LIBRARY", library, "or unset it"]);
    }
}

#[test]
fn watch_prints_a_table_or_a_line_of_json_each_time() {
    let watch = ["--watch", "0.1", "--count", "3"];
    let said: Said = devices_on("healthy", &watch).output().unwrap().into();
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert_eq!(said.out.matches("driver 575").count(), 3);
    assert!(said.out.contains("\n\ndriver 575") && !said.out.contains('\x1b'));
    for machine in ["healthy", "no-driver"] {
        let arguments = [&watch[..], &["--json"]].concat();
        let said: Said = devices_on(machine, &arguments).output().unwrap().into();
        assert_eq!((said.status, said.out.lines().count()), (0, 3));
        let once = json_of(machine);
        for line in said.out.lines() {
            assert_eq!(serde_json::from_str::<Value>(line).unwrap(), once);
        }
    }
}

#[test]
fn watch_goes_on_until_its_reader_goes_away() {
    let mut child = devices_on("healthy", &["--json", "--watch", "0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap();
    }
    drop(output);
    let said: Said = child.wait_with_output().unwrap().into();
    assert_eq!((said.status, said.err.as_str()), (0, ""));
}

#[test]
fn bad_intervals_and_counts_are_refused() {
    for interval in ["", "x", "0", "0.09", "-1", "nan", "inf", "1e300", "2s"] {
        let said: Said = devices_on("healthy", &["--watch", interval]).output().unwrap().into();
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{interval}: {said:?}");
        says(&said.err, &["--watch <SECONDS>", "at least 0.1"]);
    }
    for count in [&["--count", "2"][..], &["--watch", "1", "--count", "0"]] {
        let said: Said = devices_on("healthy", count).output().unwrap().into();
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{said:?}");
    }
}

#[test]
fn without_nvml_the_driver_is_asked() {
    let ask = |arguments: &[&str]| -> Said {
        let mut command = command(&[&["devices"], arguments].concat());
        command.env("FREEBOARD_NVML_LIBRARY", "").env("FREEBOARD_CUDA_LIBRARY", library("cuda"));
        command.env("FREEBOARD_FAKE_CUDA_DEVICES", "2").env("FREEBOARD_FAKE_CUDA_MIB", "4096");
        command.output().unwrap().into()
    };
    let survey = ask(&["--json"]).json();
    assert_eq!(survey["reason"], Value::Null);
    let devices = survey["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(problems(&devices[1]), ["no-nvml"]);
    assert_eq!(devices[1]["memory"]["total"], 4 * GIB);
    assert_eq!((&devices[1]["processes"], &devices[1]["usable"]), (&Value::Null, &json!(true)));
    says(&ask(&[]).out, &["Freeboard fake GPU", "4.00 GiB", "not known"]);
}
