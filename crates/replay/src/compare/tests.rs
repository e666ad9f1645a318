//! Sums and winners of hand-made rows, and comparisons that were run.

use freeboard_allocator::Config;
use freeboard_units::Bytes;
use parking_lot::Mutex;

use super::{CompareOptions, Comparison, Contender, Row, Summary, best, compare, summarize};
use crate::{Trace, least, workload};

/// A row that survived, with its two ratios.
fn row(trace: &str, contender: &str, reserved: f64, capacity: Option<f64>) -> Row {
    Row {
        trace: trace.into(),
        contender: contender.into(),
        survived: true,
        reserved_ratio: Some(reserved),
        capacity_ratio: capacity,
        ..Row::default()
    }
}

fn dead(row: Row) -> Row {
    Row { survived: false, oom_events: 1, ..row }
}

fn winner(rows: Vec<Row>) -> Option<String> {
    Comparison::of(rows).winner
}

fn traces() -> Vec<Trace> {
    let names = ["h1-order", "h5-pending-block", "h9-pool-boundary"];
    names.map(|name| workload::find(name).unwrap().trace(0)).into()
}

fn everyone() -> [Contender; 3] {
    [Contender::pytorch(), Contender::pytorch_expandable(), Contender::freeboard()]
}

#[test]
fn means_are_geometric_and_the_worst_is_the_largest() {
    let rows = [row("x", "a", 1.0, Some(2.0)), row("y", "a", 4.0, Some(8.0))];
    let summary = summarize(&rows);
    assert_eq!(summary.len(), 1);
    assert!((summary[0].reserved_ratio_mean.unwrap() - 2.0).abs() < 1e-12);
    assert!((summary[0].capacity_ratio_mean.unwrap() - 4.0).abs() < 1e-12);
    assert_eq!(summary[0].reserved_ratio_worst, Some(4.0));
    assert_eq!(summary[0].capacity_ratio_worst, Some(8.0));
}

#[test]
fn means_are_over_the_traces_on_which_everyone_has_the_figure() {
    let rows = [
        row("easy", "a", 1.5, None),
        row("easy", "b", 1.25, None),
        row("hard", "a", 9.0, None),
        dead(row("hard", "b", 1.0, None)),
    ];
    let summary = summarize(&rows);
    let means = summary.iter().map(|it| it.reserved_ratio_mean.unwrap());
    assert_eq!(means.collect::<Vec<_>>(), [1.5, 1.25]);
    assert_eq!(summary[0].reserved_ratio_worst, Some(9.0));
}

#[test]
fn who_has_no_figure_at_all_does_not_spoil_the_means_of_the_others() {
    let failed = Row { error: Some("no".into()), ..dead(row("x", "c", 1.0, None)) };
    let rows = [row("x", "a", 1.5, None), row("x", "b", 1.25, None), failed];
    let summary = summarize(&rows);
    assert_eq!(summary[0].reserved_ratio_mean, Some(1.5));
    assert_eq!((summary[2].deaths, summary[2].reserved_ratio_mean), (1, None));
}

#[test]
fn the_fewest_deaths_win_before_any_ratio() {
    let rows = vec![dead(row("x", "lean", 1.0, Some(1.0))), row("x", "fat", 3.0, Some(3.0))];
    assert_eq!(winner(rows).as_deref(), Some("fat"));
}

#[test]
fn the_smaller_device_wins_before_the_smaller_reserve() {
    let rows = vec![row("x", "a", 1.0, Some(1.2)), row("x", "b", 2.0, Some(1.1))];
    assert_eq!(winner(rows).as_deref(), Some("b"));
}

#[test]
fn the_smaller_reserve_wins_where_devices_are_equal_or_were_not_looked_for() {
    for capacity in [None, Some(1.1)] {
        let rows = vec![row("x", "a", 1.3, capacity), row("x", "b", 1.2, capacity)];
        assert_eq!(winner(rows).as_deref(), Some("b"));
    }
}

#[test]
fn driver_time_decides_where_memory_is_equal() {
    let slow = Row { driver_time_ns: 9, ..row("x", "slow", 1.0, Some(1.0)) };
    let fast = Row { driver_time_ns: 8, ..row("x", "fast", 1.0, Some(1.0)) };
    assert_eq!(winner(vec![slow, fast]).as_deref(), Some("fast"));
}

#[test]
fn a_complete_tie_has_no_winner_and_several_best() {
    let rows = vec![
        row("x", "a", 1.0, Some(1.0)),
        row("x", "b", 1.0, Some(1.0)),
        row("x", "c", 1.0, Some(1.5)),
    ];
    let names = |best: Vec<&Summary>| best.iter().map(|it| it.contender.clone()).collect();
    let tied: Vec<_> = names(best(&summarize(&rows)));
    assert_eq!(tied, ["a", "b"]);
    assert_eq!(winner(rows), None);
    assert_eq!(winner(Vec::new()), None);
}

#[test]
fn sums_are_over_all_traces() {
    let busy =
        |trace| Row { stalls: 2, driver_calls: 3, driver_time_ns: 5, ..row(trace, "a", 1.0, None) };
    let summary = &summarize(&[busy("x"), busy("y")])[0];
    assert_eq!((summary.traces, summary.stalls), (2, 4));
    assert_eq!((summary.driver_calls, summary.driver_time_ns), (6, 10));
}

#[test]
fn driver_time_is_measured_by_what_growing_segments_take() {
    let timed = |trace, contender: &str, driver_time_ns| Row {
        driver_time_ns,
        ..row(trace, contender, 1.0, None)
    };
    let reference = Contender::pytorch_expandable().name;
    let mut rows = vec![
        timed("x", &reference, 10),
        timed("x", "a", 5),
        timed("y", &reference, 10),
        timed("y", "a", 20),
    ];
    let summary = summarize(&rows);
    assert_eq!(summary[0].driver_time_ratio_mean, Some(1.0));
    assert!((summary[1].driver_time_ratio_mean.unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(summary[1].driver_time_ratio_worst, Some(2.0));
    rows.retain(|row| row.contender == "a");
    assert_eq!(summarize(&rows)[0].driver_time_ratio_mean, None);
}

#[test]
fn a_device_little_larger_than_the_peak_is_a_run_of_its_own() {
    let options = CompareOptions::default().search(false).tight(&[1.0, 4.0]);
    let comparison = compare(&traces(), &everyone(), &options, &|_, _| {});
    for row in &comparison.rows {
        let trace = traces().into_iter().find(|trace| trace.name == row.trace).unwrap();
        let contender = everyone().into_iter().find(|it| it.name == row.contender).unwrap();
        assert_eq!(row.tight.len(), 2);
        for tight in &row.tight {
            let options = crate::RunOptions::new(contender.config.clone(), tight.capacity);
            let run = crate::run::run(&trace, &options).unwrap();
            assert_eq!((tight.survived, tight.stalls), (run.survived, run.stalls));
            assert_eq!(tight.driver_time_ns, run.driver_time_ns);
        }
    }
    for (summary, contender) in comparison.summary.iter().zip(everyone()) {
        let rows = || comparison.rows.iter().filter(|row| row.contender == contender.name);
        for (index, sum) in summary.tight.iter().enumerate() {
            let dead = rows().filter(|row| !row.tight[index].survived).count();
            assert_eq!((sum.factor, sum.deaths), ([1.0, 4.0][index], dead));
        }
        assert!(summary.tight[0].deaths >= summary.tight[1].deaths);
    }
    assert!(comparison.summary[0].tight[0].deaths > 0, "PyTorch needs more than the peak");
}

#[test]
fn rows_come_trace_by_trace_with_the_figures_of_single_runs() {
    let (traces, contenders) = (traces(), everyone());
    let comparison = compare(&traces, &contenders, &CompareOptions::default(), &|_, _| {});
    let mut rows = comparison.rows.iter();
    for trace in &traces {
        for contender in &contenders {
            let row = rows.next().unwrap();
            assert_eq!((&row.trace, &row.contender), (&trace.name, &contender.name));
            let options = crate::RunOptions::new(contender.config.clone(), super::AMPLE);
            let run = crate::run::run(trace, &options).unwrap();
            let least = least::least(trace, &options).unwrap();
            assert_eq!(row.peak_reserved, run.peak_reserved);
            assert_eq!(row.driver_time_ns, run.driver_time_ns);
            assert_eq!(row.min_capacity, Some(least.min_capacity));
            assert_eq!(row.capacity_ratio, Some(least.ratio));
            assert!(row.survived && row.samples.is_empty());
        }
    }
    assert!(rows.next().is_none());
    assert_eq!(comparison, compare(&traces, &contenders, &CompareOptions::default(), &|_, _| {}));
}

#[test]
fn progress_is_told_each_row_once_and_in_order() {
    let seen = Mutex::new(Vec::new());
    let options = CompareOptions::default().search(false);
    compare(&traces(), &everyone(), &options, &|done, total| seen.lock().push((done, total)));
    assert_eq!(seen.into_inner(), (1..=9).map(|done| (done, 9)).collect::<Vec<_>>());
}

#[test]
fn who_dies_on_the_device_given_is_told_a_larger_one_that_would_do() {
    let options = CompareOptions::default().capacity(Bytes::mib(100));
    let comparison = compare(&traces()[..1], &everyone(), &options, &|_, _| {});
    for row in &comparison.rows {
        assert!(!row.survived && row.error.is_none());
        assert_eq!(row.oom_events, 1);
        assert!(row.min_capacity.unwrap() >= row.peak_requested);
    }
}

#[test]
fn settings_that_cannot_be_run_are_a_row_and_no_abort() {
    let mut config = Config::pytorch().with_max_split_size(Bytes::mib(30)).unwrap();
    config.large_segment_size = Bytes::mib(64);
    let contenders = [Contender::new("odd", config), Contender::freeboard()];
    let comparison = compare(&traces(), &contenders, &CompareOptions::default(), &|_, _| {});
    let (odd, good): (Vec<_>, Vec<_>) =
        comparison.rows.iter().partition(|row| row.contender == "odd");
    assert_eq!((odd.len(), good.len()), (3, 3));
    for row in odd {
        assert!(!row.survived && row.error.as_deref().unwrap().contains("max_split_size_mb"));
    }
    assert!(good.iter().all(|row| row.survived));
    assert_eq!(comparison.winner.as_deref(), Some("freeboard"));
}

#[test]
fn nothing_asked_for_is_no_ratio_and_nothing_given_is_no_row() {
    let trace = Trace::parse("empty", b"e\n").unwrap();
    let options = CompareOptions::default().stretches(8);
    let comparison = compare(&[trace], &everyone(), &options, &|_, _| {});
    assert!(comparison.rows.iter().all(|row| row.survived && row.samples.len() == 1));
    assert_eq!(comparison.summary[0].capacity_ratio_mean, None);
    assert!(compare(&[], &everyone(), &options, &|_, _| {}).rows.is_empty());
}

#[test]
fn memory_that_waits_for_another_stream_is_no_floor_for_the_device() {
    let trace = workload::find("h5-pending-block").unwrap().trace(0);
    let options = crate::RunOptions::new(Config::default(), super::AMPLE).event_lag(50);
    let least = least::least(&trace, &options).unwrap();
    let page = Bytes::mib(2);
    let on = |capacity| crate::RunOptions { capacity, ..options.clone() };
    assert!(crate::run::run(&trace, &on(least.min_capacity)).unwrap().survived);
    assert!(
        least.min_capacity == trace.peak_requested
            || !crate::run::run(&trace, &on(least.min_capacity - page)).unwrap().survived
    );
}
