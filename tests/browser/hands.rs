//! What a page does under somebody's hands.

use serde_json::json;

use crate::page::Page;
use crate::picture::Picture;
use crate::sample::training;
use crate::{Check, checks};

pub(crate) const CHECKS: &[Check] = checks![
    the_wheel_and_the_keys_zoom_and_the_picture_changes,
    dragging_moves_the_moment_and_the_map_follows,
    a_click_on_the_map_chooses_a_block_and_shows_its_stack,
    arrow_keys_walk_from_event_to_event_and_from_block_to_block,
    search_finds_by_word_and_size_and_counts,
    the_theme_follows_the_system_and_the_switch,
    another_device_is_one_choice_away,
    colours_and_axis_can_be_chosen,
    steps_intervals_and_notes_are_told_where_they_are,
];

const WINDOW: &str = "view.high - view.low";

fn the_wheel_and_the_keys_zoom_and_the_picture_changes() {
    let mut page = Page::of(&training(50_000));
    let before = Picture::take(&mut page);
    let whole = page.number(WINDOW);
    let middle = page.place_in("timeline", 0.5, 0.5);
    let under = "new Axis(surfaces.timeline).unit(GUTTER.left + 400)";
    let kept = page.number("new Axis(surfaces.timeline).unit(surfaces.timeline.width / 2)");
    for _ in 0..5 {
        page.wheel(middle, -200.0);
    }
    let near = page.number(WINDOW);
    assert!(near < whole / 20.0, "{near} of {whole}");
    let now = page.number("new Axis(surfaces.timeline).unit(surfaces.timeline.width / 2)");
    assert!((now - kept).abs() < near / 100.0, "what lies under the pointer stays there");
    let after = Picture::take(&mut page);
    assert!(before.changed(&after) > 0.05, "{} changed", before.changed(&after));

    let from = page.number(under);
    page.value("byId('timeline').focus()");
    page.key("PageDown");
    assert!(page.number(under) > from, "panned");
    page.key("-");
    assert!(page.number(WINDOW) > near);
    page.key("0");
    assert!((page.number(WINDOW) - whole).abs() < 1e-6, "all is shown again");
    page.assert_quiet();
}

fn dragging_moves_the_moment_and_the_map_follows() {
    let mut page = Page::of(&training(50_000));
    let places = [0.3, 0.4, 0.5].map(|across| page.place_in("timeline", across, 0.5));
    page.drag(&places[..1]);
    let (first, held) = (page.number("view.moment"), Picture::take(&mut page));
    page.drag(&places);
    let last = page.number("view.moment");
    assert!(last > first + 5_000.0, "from {first} to {last}");
    assert!(held.changed(&Picture::take(&mut page)) > 0.002, "the map is another");
    let told = page.text("byId('moment').textContent");
    let shown = page.text("countText(view.moment)");
    assert!(told.contains(&shown), "{told}");
    page.assert_quiet();
}

fn a_click_on_the_map_chooses_a_block_and_shows_its_stack() {
    let mut page = Page::of(&training(20_000));
    let place = page.value(
        "(() => { const box = byId('map').getBoundingClientRect(); \
         const { x, y, width } = MAP_BOX.strips[0]; return [box.left + x + 4, box.top + y + 5]; })()",
    );
    let place = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
    page.mouse("mouseMoved", place, &json!({}));
    let tip = page.text("byId('tip').hidden ? '' : byId('tip').textContent");
    for word in ["address", "asked for", "state", "age", "born"] {
        assert!(tip.contains(word), "{word}: {tip}");
    }
    page.drag(&[place]);
    assert!(page.number("view.chosen") >= 0.0);
    let told = page.text("byId('block').textContent");
    assert!(told.contains("/home/me/model.py:1") && told.contains("nn.py"), "{told}");
    let program = page.text("document.querySelector('#block .program').textContent");
    assert!(program.contains("model.py"), "the program's own line stands out: {program}");
    page.key("Escape");
    assert!(page.number("view.chosen") < 0.0);
    page.assert_quiet();
}

fn arrow_keys_walk_from_event_to_event_and_from_block_to_block() {
    let mut page = Page::of(&training(20_000));
    page.value("setMoment(700), byId('timeline').focus()");
    page.key("ArrowRight");
    let by_pixel = page.number("view.moment") - 700.0;
    let pixel = page.number("unitPerPixel()");
    assert!((by_pixel - pixel).abs() <= 1.0, "{by_pixel} events to a pixel of {pixel}");
    page.key("Home");
    assert!(page.number("view.moment").abs() < 0.5);
    page.key("p");
    let peak = page.number("view.model.live.indexOf(Math.max(...view.model.live))");
    let live = |page: &mut Page, tick: f64| page.number(&format!("view.model.live[{tick}]"));
    let moment = page.number("view.moment");
    assert!((live(&mut page, moment) - live(&mut page, peak)).abs() < 0.5);

    page.value("byId('map').focus()");
    page.key("ArrowRight");
    let first = page.number("view.chosen");
    page.key("ArrowRight");
    let second = page.number("view.chosen");
    assert!(first >= 0.0 && second >= 0.0 && (first - second).abs() > 0.5);
    page.key("ArrowLeft");
    assert!((page.number("view.chosen") - first).abs() < 0.5);
    page.assert_quiet();
}

fn search_finds_by_word_and_size_and_counts() {
    let mut page = Page::of(&training(20_000));
    let mut found = |text: &str| {
        page.value("byId('search').focus()");
        page.value(&format!("byId('search').value = {}", json!(text)));
        page.value("byId('search').dispatchEvent(new Event('input'))");
        page.value("new Promise((done) => setTimeout(done, 200))");
        page.settle();
        let told = page.text("byId('table').textContent");
        (page.value("view.found && [view.found.matches.length, view.found.bytes]"), told)
    };
    let mib = |count: u64| count << 20;
    let (weights, told) = found("WEIGHTS");
    assert_eq!(weights, json!([48, 48 * mib(12)]));
    assert!(told.contains("48 blocks, 576 MiB in all"), "{told}");
    assert_eq!(found(">8MiB").0, json!([48, 48 * mib(12)]));
    assert_eq!(found("= 12mib model.py:103").0, json!([1, mib(12)]));
    assert_eq!(found("forward <= 3m >2.9m weights").0, json!([0, 0]));
    assert_eq!(found("onerror").0, json!([1, mib(3)]), "names are found as they are");
    assert_eq!(found("").0, json!(null));
    page.assert_quiet();
}

fn the_theme_follows_the_system_and_the_switch() {
    let mut page = Page::of(&training(5_000));
    let light = Picture::take(&mut page);
    assert!(light.part_of(0xff, 0xff, 0xff) > 0.2);
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    page.call("Emulation.setEmulatedMedia", &dark);
    page.settle();
    let shown = Picture::take(&mut page);
    assert!(shown.part_of(0x1b, 0x20, 0x24) > 0.2 && shown.part_of(0xff, 0xff, 0xff) < 0.02);
    let place = page.place_in("theme", 0.5, 0.5);
    page.drag(&[place]);
    assert!(Picture::take(&mut page).part_of(0xff, 0xff, 0xff) > 0.2, "switched back");
    page.assert_quiet();
}

fn another_device_is_one_choice_away() {
    let mut page = Page::of(&training(20_000));
    let first = page.number("view.model.ticks");
    page.value("byId('device').value = 1, byId('device').dispatchEvent(new Event('change'))");
    page.settle();
    assert!(page.number("view.model.ticks") < first / 4.0);
    assert_eq!(page.value("byId('failure').hidden"), true, "this one did not fail");
    page.value("byId('device').value = 0, byId('device').dispatchEvent(new Event('change'))");
    assert!((page.number("view.model.ticks") - first).abs() < 0.5);
    page.assert_quiet();
}

fn colours_and_axis_can_be_chosen() {
    let mut page = Page::of(&training(20_000));
    let mut before = Picture::take(&mut page);
    for way in ["line", "size", "stream", "pool"] {
        page.value(&format!("byId('kind').value = '{way}'"));
        page.value("byId('kind').dispatchEvent(new Event('change'))");
        page.settle();
        let after = Picture::take(&mut page);
        // All blocks are on one stream and in one pool.
        assert!(way == "pool" || before.changed(&after) > 0.02, "by {way}");
        before = after;
    }
    page.value("byId('axis').value = 'time', byId('axis').dispatchEvent(new Event('change'))");
    page.settle();
    let length = page.number("view.model.time[view.model.ticks - 1]");
    assert!((page.number(WINDOW) - length).abs() < 1.0, "the whole time is shown");
    page.assert_quiet();
}

fn steps_intervals_and_notes_are_told_where_they_are() {
    let mut page = Page::of(&training(20_000));
    let marks =
        page.value("(({ notes, spans }) => [notes[0][0], spans[0][0]])(view.model.told.marks)");
    let (note, span) = (marks[0].as_u64().unwrap(), marks[1].as_u64().unwrap());
    let mut tip = |tick: u64| page.text(&format!("momentTip({tick}).join()"));
    assert!(tip(note).contains("evaluation"), "{}", tip(note));
    assert!(!tip(note + 1).contains("evaluation"));
    assert!(tip(span).contains("in Optimizer.step#Sgd.step"), "{}", tip(span));
    // A step ends where the optimizer's does.
    assert_eq!(
        page.value(&format!("[{span}, {span} + 1].map((at) => view.model.stepAt(at))")),
        json!([2, 2])
    );
    assert_eq!(page.value(&format!("view.model.stepAt({span} - 1)")), json!(1));
    page.assert_quiet();
}
