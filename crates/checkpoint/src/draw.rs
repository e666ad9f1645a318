//! Pictures of plans, as SVG without anything from outside.

use std::fmt::Write as _;

use freeboard_units::Bytes;

use crate::{Chain, InvalidPlan, Link, Operation, Plan, check};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const MEMORY_TOP: f64 = 50.0;
const MEMORY_HEIGHT: f64 = 220.0;
const LAYERS_TOP: f64 = 310.0;
const LAYERS_HEIGHT: f64 = 300.0;

/// Colours that stay apart for readers who see few.
const KINDS: [(&str, &str); 5] = [
    ("forward, forgotten", "#a6bddb"),
    ("forward, input kept", "#3690c0"),
    ("forward, all saved", "#034e7b"),
    ("backward", "#fe9929"),
    ("copy to or from the host", "#7b3294"),
];

impl Plan {
    /// A picture of this plan of `chain`, as SVG: the memory over time, with the budget as a line where
    /// one is given, and below it what runs when, a row for each layer.
    ///
    /// # Errors
    /// [`InvalidPlan`] where it is not a plan of this chain.
    pub fn picture(
        &self,
        chain: &Chain,
        link: Link,
        budget: Option<Bytes>,
    ) -> Result<String, InvalidPlan> {
        let checked = check(chain, &self.operations, link)?;
        let end = checked.total_time;
        // Where nothing takes time, operations are drawn side by side.
        let count = self.operations.len();
        let place = |at: usize| match (end > 0.0, at) {
            (_, 0) => 0.0,
            (true, at) => checked.done_at[at - 1] / end,
            (false, at) => ratio(at, count),
        };
        let across = |share: f64| LEFT + share * (WIDTH - LEFT - RIGHT);
        let highest = budget.unwrap_or_default().max(checked.peak_bytes).as_f64().max(1.0);
        let high = |bytes: f64| MEMORY_TOP + MEMORY_HEIGHT * (1.0 - bytes / highest);
        let mut svg = head(LAYERS_TOP + LAYERS_HEIGHT + 60.0);
        title(&mut svg, &self.headline(chain));
        let mut outline = String::new();
        for (at, bytes) in checked.bytes_during.iter().enumerate() {
            if place(at + 1) <= place(at) {
                continue;
            }
            let y = high(bytes.as_f64());
            put(
                &mut outline,
                format_args!(
                    "{:.1},{y:.1} {:.1},{y:.1} ",
                    across(place(at)),
                    across(place(at + 1))
                ),
            );
        }
        let (bottom, right) = (high(0.0), across(1.0));
        put(
            &mut svg,
            format_args!(
                "<polygon points=\"{LEFT},{bottom:.1} {outline}{right:.1},{bottom:.1}\" fill=\"#d0d1e6\" \
             stroke=\"#045a8d\"/>\n"
            ),
        );
        let peak = (checked.peak_bytes, "peak", "#045a8d", right - 4.0, "end");
        let budget = budget.map(|bytes| (bytes, "budget", "#b30000", LEFT + 4.0, "start"));
        for (bytes, what, colour, x, anchor) in [peak].into_iter().chain(budget) {
            let y = high(bytes.as_f64());
            put(
                &mut svg,
                format_args!(
                    "<line x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" \
                 stroke-dasharray=\"5 3\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" \
                 fill=\"{colour}\">{what} {bytes}</text>\n",
                    y - 4.0
                ),
            );
        }
        let row = LAYERS_HEIGHT / ratio(chain.layers().len(), 1);
        for (at, operation) in self.operations.iter().enumerate() {
            let (x, y) = (across(place(at)), LAYERS_TOP + row * ratio(operation.layer() - 1, 1));
            let width = (across(place(at + 1)) - x).max(0.6);
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>\n",
                    (row * 0.9).max(0.6),
                    KINDS[kind(*operation)].1
                ),
            );
        }
        axis(&mut svg, chain);
        legend(&mut svg, LAYERS_TOP + LAYERS_HEIGHT + 30.0);
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    fn headline(&self, chain: &Chain) -> String {
        format!(
            "{} layers, peak {}, {:.1} % more time than without recomputation",
            chain.layers().len(),
            self.peak_bytes,
            100.0 * self.extra_time() / self.ideal_time.max(f64::MIN_POSITIVE)
        )
    }
}

/// A picture of what time memory buys, as SVG: the extra time of each plan over its peak.
#[must_use]
pub fn curve_picture(plans: &[Plan]) -> String {
    let share = |plan: &Plan| plan.extra_time() / plan.ideal_time.max(f64::MIN_POSITIVE);
    let most = plans.iter().map(|plan| plan.peak_bytes).max().unwrap_or_default();
    let slowest = plans.iter().map(share).fold(f64::MIN_POSITIVE, f64::max);
    let point = |plan: &Plan| {
        let x = LEFT + plan.peak_bytes.as_f64() / most.as_f64().max(1.0) * (WIDTH - LEFT - RIGHT);
        (x, MEMORY_TOP + LAYERS_HEIGHT * (1.0 - share(plan) / slowest))
    };
    let bottom = MEMORY_TOP + LAYERS_HEIGHT;
    let mut svg = head(bottom + 50.0);
    title(&mut svg, "extra time over peak memory, one point for each plan");
    put(
        &mut svg,
        format_args!(
            "<path d=\"M{LEFT} {MEMORY_TOP} V{bottom} H{}\" fill=\"none\" stroke=\"#555\"/>\n",
            WIDTH - RIGHT
        ),
    );
    put(
        &mut svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{MEMORY_TOP}\" text-anchor=\"end\">{:.1} %</text>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{most}</text>\n",
            LEFT - 6.0,
            100.0 * slowest,
            WIDTH - RIGHT,
            bottom + 18.0
        ),
    );
    let mut outline = String::new();
    for plan in plans {
        let (x, y) = point(plan);
        put(&mut outline, format_args!("{x:.1},{y:.1} "));
        put(
            &mut svg,
            format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#045a8d\"><title>{}, {:.1} % more \
             time</title></circle>\n",
                plan.peak_bytes,
                100.0 * share(plan)
            ),
        );
    }
    put(
        &mut svg,
        format_args!("<polyline points=\"{outline}\" fill=\"none\" stroke=\"#045a8d\"/>\n</svg>\n"),
    );
    svg
}

const fn kind(operation: Operation) -> usize {
    match operation {
        Operation::ForwardDrop { .. } => 0,
        Operation::ForwardKeep { .. } => 1,
        Operation::ForwardSave { .. } => 2,
        Operation::Backward { .. } => 3,
        Operation::Offload { .. }
        | Operation::Release { .. }
        | Operation::Fetch { .. }
        | Operation::Await { .. } => 4,
    }
}

fn head(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n"
    )
}

fn title(svg: &mut String, text: &str) {
    put(svg, format_args!("<text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{text}</text>\n"));
}

/// The names of the first and the last layer, and of as many between as there is room for.
fn axis(svg: &mut String, chain: &Chain) {
    let row = LAYERS_HEIGHT / ratio(chain.layers().len(), 1);
    let mut free = 0.0;
    for (at, layer) in chain.layers().iter().enumerate() {
        let y = LAYERS_TOP + row * (ratio(at, 1) + 0.5) + 4.0;
        if y >= free {
            free = y + 13.0;
            let name: String = layer.name.chars().take(13).collect();
            put(
                svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 6.0,
                    escaped(&name)
                ),
            );
        }
    }
    put(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{MEMORY_TOP}\" text-anchor=\"end\">memory</text>\n",
            LEFT - 6.0
        ),
    );
}

fn legend(svg: &mut String, y: f64) {
    for ((name, colour), at) in KINDS.iter().zip(0_u8..) {
        let x = LEFT + 165.0 * f64::from(at);
        put(
            svg,
            format_args!(
                "<rect x=\"{x}\" y=\"{:.1}\" width=\"11\" height=\"11\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y}\">{name}</text>\n",
                y - 10.0,
                x + 16.0
            ),
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all");
}
