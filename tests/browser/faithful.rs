//! What a page says against what the history says, counted plainly.

use freeboard_snapshot::{Action, Snapshot};
use serde_json::json;

use crate::page::Page;
use crate::sample::training;
use crate::{Check, checks};

pub(crate) const CHECKS: &[Check] = checks![
    bytes_at_every_moment_are_those_of_the_history,
    a_history_whose_beginning_was_dropped_gives_the_same_memory,
    short_ways_lead_where_long_ones_do,
];

/// Live and held bytes after each event of device 0.
fn counted(snapshot: &Snapshot) -> Vec<(u64, u64)> {
    let (mut live, mut held) = (0, 0);
    let events = snapshot.histories[0].events.iter();
    let after = events.map(|event| {
        match event.action {
            Action::Alloc => live += event.size.get(),
            Action::FreeCompleted => live -= event.size.get(),
            Action::SegmentAlloc => held += event.size.get(),
            _ => {}
        }
        (live, held)
    });
    after.collect()
}

/// Asks the page for live and held bytes after some of the events.
fn shown(page: &mut Page, ticks: &[usize]) -> serde_json::Value {
    page.value(&format!(
        "{}.map((tick) => {{ const memory = memoryAt(tick); \
         const sums = view.kinds.sumsAt(tick, new Float64Array(KINDS)).reduce((a, b) => a + b); \
         return [view.model.live[tick], sums, memory.live, view.model.held[tick], memory.held]; }})",
        json!(ticks)
    ))
}

fn bytes_at_every_moment_are_those_of_the_history() {
    let snapshot = training(30_000);
    let counted = counted(&snapshot);
    let ticks: Vec<usize> = (0..counted.len()).step_by(997).chain([counted.len() - 1]).collect();
    let mut page = Page::of(&snapshot);
    let expected: Vec<_> = ticks
        .iter()
        .map(|&tick| counted[tick])
        .map(|(live, held)| json!([live, live, live, held, held]))
        .collect();
    assert_eq!(shown(&mut page, &ticks), json!(expected));
}

fn a_history_whose_beginning_was_dropped_gives_the_same_memory() {
    let mut snapshot = training(30_000);
    let counted = counted(&snapshot);
    let dropped = 11_111;
    snapshot.histories[0].events.drain(..dropped);
    let ticks: Vec<usize> = (0..counted.len() - dropped).step_by(991).collect();
    let mut page = Page::of(&snapshot);
    let expected: Vec<_> = ticks
        .iter()
        .map(|&tick| counted[tick + dropped])
        .map(|(live, held)| json!([live, live, live, held, held]))
        .collect();
    assert_eq!(shown(&mut page, &ticks), json!(expected));
}

fn short_ways_lead_where_long_ones_do() {
    let mut page = Page::of(&training(30_000));
    let wrong = page.value(
        "(() => {
            const { model, kinds } = view, { blocks, ticks } = model, wrong = [];
            let seed = 7;
            const random = (below) => (seed = seed * 48271 % 2147483647) % below;
            for (let round = 0; round < 300; round++) {
                const first = random(ticks), last = Math.min(ticks - 1, first + random(9000));
                const stretch = model.live.subarray(first, last + 1);
                const [high, low] = [model.highest.find(first, last), model.lowest.find(first, last)];
                if (model.live[high] !== Math.max(...stretch)) wrong.push(['highest', first, last]);
                if (model.live[low] !== Math.min(...stretch)) wrong.push(['lowest', first, last]);
                if (high < first || high > last) wrong.push(['outside', first, last, high]);
            }
            for (let round = 0; round < 60; round++) {
                const tick = random(ticks), long = [], sums = new Float64Array(KINDS);
                for (let life = 0; life < blocks.count; life++) {
                    if (blocks.birth[life] > tick || blocks.death[life] <= tick) continue;
                    long.push(life);
                    sums[kindAt(life, tick)] += blocks.size[life];
                }
                if (String(long) !== String(model.aliveAt(tick))) wrong.push(['alive', tick]);
                if (String(sums) !== String(kinds.sumsAt(tick, new Float64Array(KINDS)))) wrong.push(['sums', tick]);
            }
            const { lives, orders } = exactBlocks(), sweep = new Sweep(lives, orders, blocks);
            for (let tick = 0; tick < ticks; tick += 1 + random(200)) {
                const changed = sweep.to(tick), tops = [];
                const alive = lives.filter((life) => blocks.birth[life] <= tick && blocks.death[life] > tick);
                alive.reduce((top, life) => (tops.push(top + blocks.size[life]), tops.at(-1)), 0);
                if (String(alive) !== String(sweep.alive)) wrong.push(['sweep', tick]);
                if (String(tops) !== String(sweep.tops) || changed > alive.length) wrong.push(['tops', tick]);
            }
            return wrong;
        })()",
    );
    assert_eq!(wrong, json!([]));
}
