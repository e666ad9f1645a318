//! What a page shows when it is opened.

use freeboard_snapshot::Snapshot;
use serde_json::json;

use crate::page::Page;
use crate::picture::Picture;
use crate::sample::{HOSTILE, training};
use crate::{Check, checks};

pub(crate) const CHECKS: &[Check] = checks![
    a_page_opens_without_a_complaint_or_a_request,
    the_failure_and_its_cause_are_seen_at_once,
    names_are_text_and_never_markup,
    a_snapshot_without_history_shows_map_and_tables_only,
    a_history_without_segments_shows_its_blocks_all_the_same,
    an_empty_snapshot_says_so,
    both_common_screens_are_filled,
    a_million_events_are_drawn_with_no_more_strokes_than_a_few,
];

fn a_page_opens_without_a_complaint_or_a_request() {
    let mut page = Page::of(&training(20_000));
    let picture = Picture::take(&mut page);
    assert!(picture.colours() > 60, "{} colours", picture.colours());
    assert_eq!(page.text("document.title"), "a run · Freeboard");
    for part in ["timeline", "overview", "bands", "map", "panel"] {
        let drawn = page.number(&format!("view.drawn.{part}.primitives"));
        assert!(drawn > 0.0, "{part} is drawn");
    }
    page.assert_quiet();
}

fn the_failure_and_its_cause_are_seen_at_once() {
    let mut page = Page::of(&training(20_000));
    let told = page.text("byId('failure').textContent");
    for words in ["Out of memory", "900 MiB wanted", "300 MiB free", "the largest piece"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // The page begins at that moment, and marks it in the colour that nothing else has.
    let last = page.number("view.model.ticks - 1");
    assert!((page.number("view.moment") - last).abs() < 0.5);
    let alarm = Picture::take(&mut page).part_of(0xc0, 0x26, 0x40);
    assert!(alarm > 0.001, "{alarm} of the picture is red");
}

fn names_are_text_and_never_markup() {
    let mut page = Page::titled(&training(5_000), HOSTILE);
    assert_eq!(page.text("byId('title').textContent"), HOSTILE);
    assert_eq!(page.text("document.title"), format!("{HOSTILE} · Freeboard"));
    // The tag is shown in the table and in the block's facts.
    let shown = page.text("colourBy('tag'), showTable(), byId('table').textContent");
    assert!(shown.contains(HOSTILE), "{shown}");
    page.value("choose(find('onerror').matches[0])");
    page.settle();
    let shown = page.text("byId('block').textContent");
    assert!(shown.contains(HOSTILE), "{shown}");
    page.value("showTip({ clientX: 300, clientY: 300 }, blockTip(view.chosen))");
    assert!(page.text("byId('tip').textContent").contains(HOSTILE));
    assert!(page.number("document.images.length").abs() < 0.5, "no image was made of it");
    page.assert_quiet();
}

fn a_snapshot_without_history_shows_map_and_tables_only() {
    let mut snapshot = training(20_000);
    snapshot.histories.clear();
    snapshot.segments.retain(|segment| segment.device.get() == 0);
    let mut page = Page::of(&snapshot);
    assert_eq!(page.value("byId('timeline-box').offsetHeight"), 0, "no chart without history");
    let numbers = page.value("(({ held, live }) => [held, live])(memoryAt(0))");
    let held: u64 = snapshot.segments.iter().map(|segment| segment.size.get()).sum();
    let live: u64 = snapshot.segments.iter().map(|segment| segment.allocated().get()).sum();
    assert_eq!(numbers, json!([held, live]));
    assert!(page.text("byId('table').textContent").contains("weights"));
    assert!(Picture::take(&mut page).colours() > 30);
    page.assert_quiet();
}

fn a_history_without_segments_shows_its_blocks_all_the_same() {
    let mut snapshot = training(20_000);
    snapshot.segments.clear();
    for history in &mut snapshot.histories {
        history.events.retain(|event| event.action != freeboard_snapshot::Action::SegmentAlloc);
    }
    let mut page = Page::of(&snapshot);
    assert_eq!(page.value("view.model.knowsHeld"), false);
    let outside = page.value("memoryAt(view.moment).segments.every(({ outside }) => outside)");
    assert_eq!(outside, true);
    assert!(page.number("view.drawn.map.primitives") > 40.0, "blocks are on the map");
    page.assert_quiet();
}

fn an_empty_snapshot_says_so() {
    let mut page = Page::of(&Snapshot::default());
    assert!(page.text("byId('summary').textContent").contains("empty"));
    page.assert_quiet();
}

fn both_common_screens_are_filled() {
    let mut page = Page::of(&training(20_000));
    for (width, height) in [(1280, 720), (1920, 1080)] {
        page.resize(width, height);
        page.settle();
        page.settle();
        let size = page
            .value("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]");
        assert_eq!(size, json!([width, height]), "nothing sticks out");
        for (id, least) in [("timeline", 0.15), ("bands", 0.1), ("map", 0.18)] {
            let part = page.number(&format!("byId('{id}').clientHeight / innerHeight"));
            assert!(part > least, "{id} has {part} of {height} pixels");
        }
    }
    page.assert_quiet();
}

fn a_million_events_are_drawn_with_no_more_strokes_than_a_few() {
    let mut page = Page::of(&training(1_000_000));
    assert!(page.number("view.model.ticks") > 990_000.0);
    for stretch in [1_000_000, 300_000, 39_000, 2_000, 100] {
        page.value(&format!("setWindow(500000 - {stretch} / 2, 500000 + {stretch} / 2)"));
        page.settle();
        // What is drawn is bounded by the picture, whatever the stretch.
        for part in ["timeline", "overview", "bands", "map"] {
            let drawn = page.number(&format!("view.drawn.{part}.primitives"));
            assert!(drawn < 400_000.0, "{part} over {stretch} events: {drawn}");
        }
    }
    // Finding what there was at a moment takes a short way from a list that is kept.
    let way = page.number("view.model.stride");
    assert!(way <= 8192.0, "{way} events are walked for one moment");
    page.assert_quiet();
}
