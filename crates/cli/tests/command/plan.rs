//! `freeboard plan`: its figures, its exit status, and the chains it refuses.

use super::{Folder, Said, freeboard};

/// Four layers whose best plans are known by hand.
const CHAIN: &str = r#"{"input_bytes": 1, "layers": [
    {"name": "embed", "forward_time": 1, "backward_time": 2, "output_bytes": 1, "saved_bytes": 5,
     "forward_extra_bytes": 0, "backward_extra_bytes": 0},
    {"name": "block.1", "forward_time": 1, "backward_time": 2, "output_bytes": 1, "saved_bytes": 5,
     "forward_extra_bytes": 0, "backward_extra_bytes": 0},
    {"name": "block.2", "forward_time": 1, "backward_time": 2, "output_bytes": 1, "saved_bytes": 5,
     "forward_extra_bytes": 0, "backward_extra_bytes": 0},
    {"name": "<head>", "forward_time": 1, "backward_time": 2, "output_bytes": 1, "saved_bytes": 5,
     "forward_extra_bytes": 0, "backward_extra_bytes": 0}]}"#;

fn planned(arguments: &[&str]) -> Said {
    let folder = Folder::new(&format!("plan-{}", arguments.join("").replace(['/', ':', ' '], "")));
    let chain = folder.file("chain.json", CHAIN);
    freeboard(&[&["plan", &chain], arguments].concat())
}

#[test]
fn a_plan_has_its_operations_and_figures_as_json() {
    // Input, four times saved, two gradients: nothing is run twice.
    let said = planned(&["--budget", "23", "--json"]);
    assert_eq!(said.status, 0, "{said:?}");
    let plan = said.json();
    assert_eq!((&plan["peak_bytes"], &plan["total_time"]), (&23.into(), &12.0.into()));
    let first = &plan["operations"][0];
    assert_eq!((&first["op"], &first["layer"]), (&"forward_save".into(), &1.into()));
    // One byte less: the first layer's history is left out, and made in the end.
    let plan = planned(&["--budget", "22", "--json"]).json();
    assert_eq!((&plan["total_time"], &plan["ideal_time"]), (&13.0.into(), &12.0.into()));
    let operations = plan["operations"].as_array().unwrap();
    let forward = operations.iter().filter(|op| op["op"].as_str().unwrap().starts_with("forward"));
    assert_eq!(forward.count(), 5);
    assert_eq!(operations.last().unwrap()["op"], "backward");
    assert_eq!(plan["none_better_within_bytes"], 22);
}

#[test]
fn what_does_not_fit_has_status_1_and_names_the_least_budget() {
    let said = planned(&["--budget", "8", "--json"]);
    assert_eq!(said.status, 1, "{said:?}");
    let least = said.json()["least_bytes"].as_u64().unwrap();
    let fits = planned(&["--budget", &least.to_string(), "--json"]);
    assert_eq!((fits.status, fits.json()["peak_bytes"].as_u64()), (0, Some(least)));
    let below = planned(&["--budget", &(least - 1).to_string()]);
    assert_eq!(below.status, 1, "{below:?}");
    assert!(below.out.contains(&format!("{least} bytes")), "{below:?}");
    let other = planned(&["--budget", "10", "--planner", "keep-all"]);
    assert_eq!(other.status, 1, "{other:?}");
}

#[test]
fn text_shows_what_is_kept_and_every_planner_answers() {
    let said = planned(&["--budget", "22"]);
    for words in ["least", "keep all", "8.33 % above", "no persistent plan in this budget", "██▌█"]
    {
        assert!(said.out.contains(words), "'{words}' is not in {said:?}");
    }
    for planner in ["keep-all", "every:0", "every:2", "sequential:2", "revolve:2"] {
        let said = planned(&["--planner", planner]);
        assert_eq!(said.status, 0, "{said:?}");
    }
    let said = planned(&["--budget", "18", "--link", "1e9", "--json"]);
    assert!(said.json()["total_time"].as_f64().unwrap() < 12.01, "{said:?}");
    assert!(said.json()["host_bytes"].as_u64() > Some(0), "{said:?}");
}

#[test]
fn more_than_100_layers_are_planned_exactly_on_request() {
    let layer = |number: u64| {
        let (output, saved) = (1 + number % 3, 5 + number % 7);
        format!(
            r#"{{"name": "{number}", "forward_time": {saved}, "backward_time": 9, "output_bytes": {output},
            "saved_bytes": {saved}, "forward_extra_bytes": 0, "backward_extra_bytes": {output}}}"#
        )
    };
    let layers: Vec<_> = (0..110).map(layer).collect();
    let folder = Folder::new("plan-exact");
    let chain = format!(r#"{{"input_bytes": 1, "layers": [{}]}}"#, layers.join(","));
    let chain = folder.file("chain.json", chain);
    let slots = freeboard(&["plan", &chain, "--budget", "500", "--slots", "100", "--json"]).json();
    let exact = freeboard(&["plan", &chain, "--budget", "500", "--exact", "--json"]).json();
    assert_ne!(slots["none_better_within_bytes"], 500);
    assert_eq!(exact["none_better_within_bytes"], 500);
    assert!(exact["total_time"].as_f64() <= slots["total_time"].as_f64());
}

#[test]
fn without_a_budget_there_is_a_curve() {
    let said = planned(&["--json"]);
    let plans = said.json();
    let peaks: Vec<u64> =
        plans.as_array().unwrap().iter().map(|plan| plan["peak_bytes"].as_u64().unwrap()).collect();
    assert!(peaks.len() > 2 && peaks.is_sorted() && *peaks.last().unwrap() == 23, "{peaks:?}");
    assert!(planned(&[]).out.contains("extra time"));
}

#[test]
fn plans_and_curves_are_drawn() {
    let folder = Folder::new("plan-plot");
    let chain = folder.file("chain.json", CHAIN);
    let picture = folder.path("plan.svg");
    for more in [&["--budget", "18"][..], &["--budget", "18", "--link", "1e9"], &[]] {
        let said = freeboard(&[&["plan", &chain, "--plot", &picture], more].concat());
        assert_eq!(said.status, 0, "{said:?}");
        let svg = std::fs::read_to_string(&picture).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("<head>"), "names are escaped");
    }
}

#[test]
fn bad_chains_are_refused_with_layer_number_and_remedy() {
    let folder = Folder::new("plan-bad");
    for (from, to, words) in [
        (
            "\"forward_time\": 1,",
            "\"forward_time\": -1,",
            ["layer 1 (`embed`)", "forward_time is -1"],
        ),
        ("\"forward_time\": 1,", "", ["layer 1 (`embed`)", "forward_time is missing"]),
        ("\"saved_bytes\": 5", "\"saved_bytes\": -5", ["saved_bytes is -5", "whole number"]),
        ("\"saved_bytes\": 5", "\"saved_bytes\": 0.5", ["saved_bytes is 0.5", "whole number"]),
        ("\"backward_time\": 2", "\"backward_time\": NaN", ["not a chain", "line 2"]),
        ("\"backward_time\": 2", "\"backward_time\": 1e999", ["not a chain", "out of range"]),
        ("\"input_bytes\": 1,", "", ["input_bytes", "missing"]),
        ("\"layers\"", "\"layer\"", ["no layers", "at least one"]),
    ] {
        let chain = folder.file("chain.json", CHAIN.replacen(from, to, 1));
        let said = freeboard(&["plan", &chain, "--budget", "100"]);
        assert_eq!(said.status, 2, "{to}: {said:?}");
        for words in words {
            assert!(said.err.contains(words), "'{words}' is not in {said:?}");
        }
    }
    for arguments in [
        &["plan", "missing.json"][..],
        &["plan", "-", "--planner", "best"],
        &["plan", "-", "--planner", "every:x"],
        &["plan", "-", "--planner", "revolve:0"],
        &["plan", "-", "--link", "NaN"],
        &["plan", "-", "--link", "-1"],
        &["plan", "-", "--slots", "0"],
        &["plan", "-", "--budget", "-1"],
    ] {
        let said = freeboard(arguments);
        assert_eq!(said.status, 2, "{arguments:?}: {said:?}");
    }
}
