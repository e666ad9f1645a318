//! `Stable`: runs that grow and runs that do not.

use freeboard_allocator::HistoryOptions;
use freeboard_watch::{Growth, Stable, StableError};

use super::*;

/// The first growth that is called while the steps are run.
fn first_call<D: Device>(
    watch: &mut Stable<'_, D>,
    steps: u64,
    mut step: impl FnMut(u64),
) -> Option<Growth> {
    (0..steps).find_map(|number| {
        step(number);
        match watch.step() {
            Ok(()) => None,
            Err(StableError::Grows(growth)) => Some(*growth),
            Err(error) => panic!("{error}"),
        }
    })
}

#[test]
fn a_list_that_keeps_something_of_every_step_is_called_with_its_size_and_the_end() {
    for config in [Config::pytorch(), Config::default()] {
        let allocator = allocator(config);
        let _weights = take(&allocator, 100);
        let mut kept = Vec::new();
        let mut watch = Stable::new(&allocator);
        let growth = first_call(&mut watch, 100, |_| {
            drop(take(&allocator, 200));
            kept.push(take(&allocator, 3));
        });
        let growth = growth.unwrap();
        assert_eq!((growth.step, growth.per_step), (23, Bytes::mib(3)));
        assert_eq!(growth.live, Bytes::mib(100 + 3 * 23));
        let grower = &growth.growers[0];
        assert_eq!((grower.per_step, grower.blocks), (Bytes::mib(3), 23));
        // 924 MiB are left beside the weights, 200 MiB of which a step needs for itself.
        let end = growth.runs_out_at.unwrap();
        let kept_then = (1024 - 100 - 200) / 3;
        assert!((kept_then..kept_then + 3).contains(&end), "{end}");
        let text = growth.to_string();
        for words in
            ["grows by 3.00 MiB a step", "blocks of 2.00 MiB up to 4.00 MiB", "about step 24"]
        {
            assert!(text.contains(words), "{text}");
        }
        assert!(matches!(watch.check(), Err(StableError::Grows(_))));
    }
}

#[test]
fn scopes_that_grow_are_named_and_those_that_do_not_are_not() {
    let allocator = allocator(Config::default());
    allocator.record_history(HistoryOptions::default());
    let mut kept = Vec::new();
    let mut watch = Stable::new(&allocator);
    let growth = first_call(&mut watch, 100, |number| {
        let _train = freeboard_allocator::scope("train");
        drop(take(&allocator, 200));
        {
            let _metrics = freeboard_allocator::scope("metrics");
            kept.push(take(&allocator, 2));
        }
        if number == 12 {
            let _workspace = freeboard_allocator::scope("workspace");
            kept.push(take(&allocator, 64));
        }
        let _losses = freeboard_allocator::scope("losses");
        kept.push(take(&allocator, 1));
    });
    let growth = growth.unwrap();
    let growers: Vec<_> =
        growth.growers.iter().map(|it| (&*it.name, it.per_step, it.blocks)).collect();
    let blocks = growth.step;
    let metrics = ("train/metrics", Bytes::mib(2), blocks);
    assert_eq!(growers, [metrics, ("train/losses", Bytes::mib(1), blocks)]);
    assert!(growth.to_string().contains("blocks  scope"), "{growth}");
}

#[test]
fn what_is_created_in_the_warm_up_or_once_is_not_growth() {
    let allocator = allocator(Config::default());
    let mut kept = Vec::new();
    let mut watch = Stable::new(&allocator).warm_up(10);
    let growth = first_call(&mut watch, 300, |number| {
        if number < 10 || number == 40 {
            kept.push(take(&allocator, 8));
        }
        drop(take(&allocator, 10 + number % 7));
    });
    assert_eq!(growth, None);
    watch.check().unwrap();
}

#[test]
fn a_sawtooth_of_live_memory_is_not_growth() {
    let allocator = allocator(Config::default());
    let mut kept = Vec::new();
    let mut watch = Stable::new(&allocator);
    let growth = first_call(&mut watch, 300, |number| {
        kept.push(take(&allocator, 5));
        if number % 12 == 11 {
            kept.clear();
        }
    });
    assert_eq!(growth, None);
}

#[test]
fn growth_within_the_tolerance_passes_until_it_exceeds_it() {
    let allocator = allocator(Config::default());
    let mut kept = Vec::new();
    let mut watch = Stable::new(&allocator).warm_up(0).tolerance(Bytes::mib(50));
    let growth = first_call(&mut watch, 300, |_| kept.push(take(&allocator, 2))).unwrap();
    assert!(growth.bytes > Bytes::mib(50) && growth.step > 20, "{growth}");
}

#[test]
fn too_few_steps_are_no_verdict() {
    let allocator = allocator(Config::default());
    let mut watch = Stable::new(&allocator);
    assert_eq!(first_call(&mut watch, 22, |_| {}), None);
    assert_eq!(watch.check(), Err(StableError::TooFewSteps { seen: 19, needed: 20 }));
    watch.step().unwrap();
    watch.check().unwrap();
}
