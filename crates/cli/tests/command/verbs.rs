//! Each verb on a small trace: exit status, text, and the names in the JSON.

use std::fs;

use super::{Folder, Said, freeboard};

#[test]
fn replay_prints_all_figures_under_their_names() {
    let folder = Folder::new("replay");
    let trace = folder.workload("h1-order", "order.trace");
    let said = freeboard(&["replay", &trace, "--json"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    let run = said.json();
    for key in [
        "survived",
        "capacity",
        "peak_requested",
        "peak_allocated",
        "peak_active",
        "peak_reserved",
        "current_allocated",
        "current_reserved",
        "device_peak_used",
        "num_alloc_retries",
        "num_ooms",
        "ooms",
        "stats",
        "calls",
        "stalls",
    ] {
        assert!(run.get(key).is_some(), "{key}: {run}");
    }
    assert_eq!(run["survived"], true);
    assert_eq!(run["capacity"], 512_u64 << 30);
    assert_eq!(run["peak_requested"], 128 << 20);
    assert_eq!(run["ooms"].as_array().unwrap().len(), 0);
    assert!(run["calls"].is_object() && run["stats"].is_object());

    let text = freeboard(&["replay", &trace]);
    assert_eq!(text.status, 0);
    assert!(text.out.starts_with("order: survived on 512.00 GiB\n"), "{text:?}");
}

#[test]
fn replay_that_runs_out_of_memory_is_status_1_and_names_the_line() {
    let folder = Folder::new("oom");
    let trace = folder.file("big.trace", "# big\na 0 1048576 0\na 1 99000000 0\nf 0\na 2 1 0\n");
    let said = freeboard(&["replay", &trace, "--capacity", "20MiB", "--json"]);
    assert_eq!(said.status, 1, "{said:?}");
    let run = said.json();
    assert_eq!(run["survived"], false);
    assert_eq!((&run["ooms"][0]["line"], &run["ooms"][0]["size"]), (&3.into(), &99_000_000.into()));
    assert_eq!(run["current_allocated"], 1 << 20);

    let on = freeboard(&["replay", &trace, "--capacity", "20MiB", "--json", "--keep-going"]);
    assert_eq!((on.status, on.json()["current_allocated"].as_u64()), (1, Some(512)));
    let text = freeboard(&["replay", &trace, "--capacity", "20MiB"]);
    assert!(text.out.contains("line 3: "), "{text:?}");
}

#[test]
fn least_capacity_survives_and_a_page_less_does_not() {
    let folder = Folder::new("least");
    let trace = folder.workload("h9-pool-boundary", "b.trace");
    let said = freeboard(&["min-capacity", &trace, "--json", "--policy", "pytorch"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    let least = said.json();
    for key in ["min_capacity", "peak_requested", "ratio", "stalls_there"] {
        assert!(least[key].is_number(), "{key}: {least}");
    }
    let capacity = least["min_capacity"].as_u64().unwrap();
    let on = |capacity: u64| {
        let capacity = capacity.to_string();
        freeboard(&["replay", &trace, "--policy", "pytorch", "--capacity", &capacity]).status
    };
    assert_eq!((on(capacity), on(capacity - (2 << 20))), (0, 1));
}

#[test]
fn least_capacity_that_no_device_up_to_the_given_one_has_is_status_1() {
    let said = freeboard(&["min-capacity", "workload:h1-order", "--capacity", "64MiB"]);
    assert_eq!((said.status, said.out.as_str()), (1, ""));
    assert!(said.err.contains("h1-order") && said.err.contains("raise --capacity"), "{said:?}");
}

#[test]
fn time_prints_one_line_of_json() {
    let said = freeboard(&["time", "workload:h2-pinned-splits", "3"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert_eq!(said.out.lines().count(), 1);
    let timing = said.json();
    for key in ["ns_per_pair_min", "ns_per_pair_median", "loop_overhead_ns"] {
        assert!(timing[key].as_f64().unwrap() >= 0.0, "{key}: {timing}");
    }
    let threads = freeboard(&["time", "workload:h2-pinned-splits", "2", "--threads", "2"]);
    assert_eq!(threads.json()["threads"], 2);
}

#[test]
fn time_without_enough_memory_is_status_1() {
    let limits: [&[&str]; 2] = [&["--capacity", "32MiB"], &["--capacity=1GiB", "--fraction=0.05"]];
    for limit in limits {
        let said = freeboard(&[&["time", "workload:h1-order", "1"], limit].concat());
        assert_eq!(said.status, 1, "{said:?}");
        assert!(said.err.starts_with("freeboard: h1-order: "), "{said:?}");
    }
}

#[test]
fn workload_lists_what_there_is_and_writes_the_same_for_the_same_seed() {
    let list = freeboard(&["workload"]);
    assert_eq!(list.status, 0);
    assert!(list.out.lines().count() > 10 && list.out.contains("  transformer "), "{list:?}");
    let made = |seed| freeboard(&["workload", "h11-packing", "--seed", seed]).out;
    assert_eq!(made("7"), made("7"));
    assert_ne!(made("7"), made("8"));
    assert_eq!(made("0"), freeboard(&["workload", "h11-packing"]).out);
}

#[test]
fn workload_files_are_read_again_whatever_their_compression() {
    let folder = Folder::new("packed");
    let plain = fs::read(folder.workload("h11-packing", "plain.trace")).unwrap();
    let of = |path: &str| freeboard(&["replay", path, "--json"]).out;
    for (ending, magic) in [("gz", &[0x1f, 0x8b][..]), ("zst", &[0x28, 0xb5, 0x2f, 0xfd])] {
        let packed = folder.workload("h11-packing", &format!("packed.trace.{ending}"));
        let content = fs::read(&packed).unwrap();
        assert!(content.starts_with(magic) && content.len() < plain.len());
        assert_eq!(of(&packed), of(&folder.path("plain.trace")));
    }
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn settings_mean_pytorch_and_an_empty_string_means_its_defaults() {
    let replay = |more: &[&str]| {
        let said = freeboard(&[&["replay", "workload:h1-order", "--json"], more].concat());
        assert_eq!(said.status, 0, "{said:?}");
        said.json()
    };
    let ours = replay(&[]);
    let theirs = replay(&["--conf", ""]);
    assert_ne!(ours["peak_reserved"], theirs["peak_reserved"]);
    assert_eq!(theirs, replay(&["--policy", "pytorch"]));
    assert_eq!(theirs, replay(&["--conf", "expandable_segments:False"]));
    assert_eq!(ours, replay(&["--policy", "freeboard"]));
    assert_eq!(ours, replay(&["--policy", "freeboard", "--conf", ""]));
}

#[test]
fn a_surprising_setting_is_warned_of_on_standard_error() {
    let settings = "max_non_split_rounding_mb:30";
    let said = freeboard(&["replay", "workload:h1-order", "--conf", settings, "--json"]);
    assert_eq!(said.status, 0);
    assert!(said.err.contains("--conf: warning: max_non_split_rounding_mb"), "{said:?}");
    assert!(said.json().is_object());
}

#[test]
fn a_fraction_is_a_limit() {
    let on = |fraction| {
        let device = ["--capacity", "1GiB", "--fraction", fraction];
        freeboard(&[&["replay", "workload:h1-order"][..], &device].concat()).status
    };
    assert_eq!((on("1"), on("0.05"), on("0")), (0, 1, 1));
}

#[test]
fn help_names_every_verb_the_exit_status_and_the_units() {
    let said = freeboard(&["--help"]);
    assert_eq!(said.status, 0);
    for words in
        ["replay", "min-capacity", "compare", "time", "workload", "devices", "Exit status: 0"]
    {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    for verb in ["replay", "min-capacity", "compare", "time", "workload", "devices"] {
        let said = freeboard(&[verb, "--help"]);
        assert_eq!(said.status, 0);
        assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);
    }
    assert!(freeboard(&["--version"]).out.starts_with("freeboard 0."));
    assert_eq!(freeboard(&[]).status, 2);
}

#[test]
fn json_of_replay_and_of_an_oom_have_exactly_these_names() {
    let device = ["--capacity", "64MiB", "--json"];
    let run = freeboard(&[&["replay", "workload:h1-order"][..], &device].concat()).json();
    let mut names = Said::keys(&run);
    names.retain(|name| !["driver_time_ns", "oom_events"].contains(name));
    assert_eq!(names.len(), 17, "{names:?}");
    assert_eq!(Said::keys(&run["ooms"][0]), ["line", "message", "size"]);
}
