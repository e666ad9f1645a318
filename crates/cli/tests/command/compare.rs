//! `freeboard compare`.

use std::fs;

use serde_json::Value;

use super::{Folder, Said, freeboard};

/// The contenders of a comparison, in order.
fn contenders(arguments: &[&str]) -> Vec<String> {
    let common = ["compare", "workload:h2-pinned-splits", "--no-min", "--json"];
    let said = freeboard(&[&common, arguments].concat());
    assert_eq!(said.status, 0, "{said:?}");
    let name = |it: &Value| it["contender"].as_str().unwrap().to_owned();
    said.json()["summary"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn the_json_has_rows_a_summary_and_a_winner() {
    let said = freeboard(&["compare", "workload:h1-order", "workload:h11-packing@3", "--json"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    let comparison = said.json();
    assert_eq!(Said::keys(&comparison), ["rows", "summary", "winner"]);
    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!((rows.len(), comparison["summary"].as_array().unwrap().len()), (6, 3));
    assert_eq!(
        (&rows[0]["trace"], &rows[3]["trace"]),
        (&"h1-order".into(), &"h11-packing@3".into())
    );
    let names = [
        "capacity_ratio",
        "contender",
        "driver_calls",
        "driver_time_ns",
        "error",
        "min_capacity",
        "oom_events",
        "peak_allocated",
        "peak_requested",
        "peak_reserved",
        "reserved_ratio",
        "retries",
        "stalls",
        "survived",
        "tight",
        "trace",
    ];
    assert!(rows.iter().all(|row| Said::keys(row) == names), "{rows:?}");
    assert!(rows.iter().all(|row| row["capacity_ratio"].as_f64().unwrap() >= 1.0));
    let winner = &comparison["winner"];
    assert!(winner.is_null() || rows.iter().any(|row| row["contender"] == *winner));
}

#[test]
fn the_table_groups_by_trace_and_ends_with_the_winner() {
    let said = freeboard(&["compare", "workload:h1-order", "workload:h9-pool-boundary"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    for words in [
        "\nh1-order, live peak 128.00 MiB\n  pytorch  ",
        "\nh9-pool-boundary, live peak 64.00 MiB\n",
        "÷ live peak",
        "over 2 traces",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    let last = said.out.lines().last().unwrap();
    assert!(last.contains(" wins: ") || last.starts_with("a tie of "), "{last}");
    let brief = freeboard(&["compare", "workload:h1-order", "--no-min"]);
    assert!(!brief.out.contains("live peak\n") && !brief.out.contains("÷ live peak"));
}

#[test]
fn references_take_part_and_nobody_twice() {
    let expandable = "pytorch expandable_segments:True";
    assert_eq!(contenders(&[]), ["pytorch", expandable, "freeboard"]);
    assert_eq!(contenders(&["--conf", ""]), ["pytorch", "freeboard"]);
    let settings = "max_split_size_mb:64";
    assert_eq!(
        contenders(&["--conf", settings, "--conf", "", "--conf", " max_split_size_mb: 64"]),
        ["pytorch", "pytorch max_split_size_mb:64", "freeboard"]
    );
    let on_ours = contenders(&["--policy", "freeboard", "--conf", settings, "--conf", ""]);
    assert_eq!(on_ours, ["pytorch", "freeboard max_split_size_mb:64", "freeboard"]);
}

#[test]
fn a_death_is_status_1_and_everything_is_printed_all_the_same() {
    let device = ["--capacity", "100MiB"];
    let arguments = ["compare", "workload:h2-pinned-splits", "workload:h1-order"];
    let said = freeboard(&[&arguments[..], &device].concat());
    assert_eq!((said.status, said.err.as_str()), (1, ""));
    assert!(said.out.contains(" NO ") && said.out.contains("over 2 traces"), "{}", said.out);
    let json = freeboard(&[&arguments[..], &device, &["--json"]].concat());
    assert_eq!(json.status, 1);
    let rows = json.json()["rows"].as_array().unwrap().clone();
    let dead = rows.iter().filter(|row| row["survived"] == false);
    assert!(dead.clone().count() >= 3);
    assert!(dead.into_iter().all(|row| row["min_capacity"].is_number()));
}

#[test]
fn tight_devices_are_columns_of_both_tables() {
    let tight = ["--tight", "1.0", "--tight", "4", "--no-min"];
    let said = freeboard(&[&["compare", "workload:h2-pinned-splits"][..], &tight].concat());
    assert_eq!((said.status, said.err.as_str()), (0, ""), "deaths on tight devices are figures");
    for words in ["on 1 ×", "on 4 ×", "deaths, stalls on 1 ×", "÷ expandable", " NO ", " yes"] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    for bad in ["0.9", "-1", "many", "NaN"] {
        let said = freeboard(&["compare", "workload:h1-order", "--tight", bad]);
        assert!(said.status == 2 && said.err.contains("like 1.02"), "{said:?}");
    }
}

#[test]
fn traces_of_one_name_are_told_apart() {
    let folder = Folder::new("names");
    fs::create_dir(folder.path("sub")).unwrap();
    let (one, two) = (folder.file("x.trace", "a 0 5 0\n"), folder.file("sub/x.trace", "a 0 9 0\n"));
    let said = freeboard(&["compare", &one, &two, &two, "--json", "--no-min"]);
    let comparison = said.json();
    let names: Vec<_> = (0..9).step_by(3).map(|row| &comparison["rows"][row]["trace"]).collect();
    assert_eq!(names, [&Value::from("x"), &two.clone().into(), &format!("{two} (2)").into()]);
}

#[test]
fn a_plot_is_a_whole_svg_file() {
    let folder = Folder::new("plot");
    let plot = folder.path("memory.svg");
    let said = freeboard(&["compare", "workload:h1-order", "--no-min", "--plot", &plot]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    let text = fs::read_to_string(&plot).unwrap();
    assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"));
    assert!(text.contains("h1-order") && text.contains("freeboard"));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn a_plot_that_cannot_be_written_is_status_2_after_the_table() {
    let folder = Folder::new("no-plot");
    let plot = folder.path("missing/memory.svg");
    let said = freeboard(&["compare", "workload:h1-order", "--no-min", "--plot", &plot]);
    assert_eq!(said.status, 2);
    assert!(said.out.contains("h1-order") && said.err.contains(&plot), "{said:?}");
    let dash = freeboard(&["compare", "workload:h1-order", "--plot", "-"]);
    assert!(dash.status == 2 && dash.err.contains("--plot: write a file's name"), "{dash:?}");
}

#[test]
fn a_policy_without_settings_to_change_is_refused() {
    let said = freeboard(&["compare", "workload:h1-order", "--policy", "freeboard"]);
    assert!(said.status == 2 && said.err.contains("--conf"), "{said:?}");
}
