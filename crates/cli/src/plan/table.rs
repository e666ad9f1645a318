//! The plan as text.

use std::fmt::Write as _;

use freeboard_checkpoint::{Chain, Operation, Plan};
use freeboard_units::Bytes;

use super::Report;

/// Layers on one line of the strip.
const LINE: usize = 80;

/// What becomes of a layer when it runs forward first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Input,
    Everything,
    Offloaded,
}

pub(super) fn plan(chain: &Chain, report: &Report<'_>) -> String {
    let plan = report.plan;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<10} {value}").expect("a string takes all");
    };
    let layers = chain.layers().len();
    line("layers", layers.to_string());
    if let Some(budget) = report.budget_bytes {
        line("budget", amount(budget));
    }
    line("peak", amount(plan.peak_bytes));
    if !plan.host_bytes.is_zero() {
        line("on host", amount(plan.host_bytes));
    }
    line(
        "least",
        format!("{}, in which a plan without offloading fits", amount(report.least_bytes)),
    );
    line("keep all", amount(report.keep_all_bytes));
    let share = 100.0 * plan.extra_time() / plan.ideal_time.max(f64::MIN_POSITIVE);
    line(
        "time",
        format!(
            "{:.6}, {share:.2} % above the {:.6} without recomputation",
            plan.total_time, plan.ideal_time
        ),
    );
    let forward = plan.operations.iter().filter(|operation| operation.is_forward()).count();
    line("runs", format!("{forward} forward for {layers} layers"));
    if let Some(bytes) = report.none_better_within_bytes {
        let proof = if report.budget_bytes.is_none_or(|budget| budget == bytes) {
            "no persistent plan in this budget is faster".to_owned()
        } else {
            format!("no persistent plan in {} is faster", amount(bytes))
        };
        line("proof", proof);
    }
    text.push_str(&strip(layers, plan));
    text
}

/// One sign for each layer.
fn strip(layers: usize, plan: &Plan) -> String {
    let mut kept = vec![None; layers];
    for operation in &plan.operations {
        let kept = &mut kept[operation.layer() - 1];
        match operation {
            Operation::ForwardDrop { .. } => *kept = kept.or(Some(Kept::Nothing)),
            Operation::ForwardKeep { .. } => *kept = kept.or(Some(Kept::Input)),
            Operation::ForwardSave { .. } => *kept = kept.or(Some(Kept::Everything)),
            Operation::Offload { .. } => *kept = Some(Kept::Offloaded),
            _ => {}
        }
    }
    let sign = |kept: &Option<Kept>| match kept {
        Some(Kept::Everything) => '█',
        Some(Kept::Input) => '▌',
        Some(Kept::Offloaded) => '↥',
        Some(Kept::Nothing) | None => '·',
    };
    let mut text = String::from("\n");
    for (line, first) in kept.chunks(LINE).zip((1..).step_by(LINE)) {
        let signs: String = line.iter().map(sign).collect();
        writeln!(text, "{first:>6}  {signs}").expect("a string takes all");
    }
    text.push_str("\n█ saved whole  ▌ input kept, run again  · run again from an earlier one  ↥ on the host\n");
    text
}

pub(super) fn curve(plans: &[Plan]) -> String {
    let widest = plans.iter().map(Plan::extra_time).fold(f64::MIN_POSITIVE, f64::max);
    let mut text = format!("{:>12}  {:>16}  extra time\n", "peak", "bytes");
    for plan in plans {
        let share = 100.0 * plan.extra_time() / plan.ideal_time.max(f64::MIN_POSITIVE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 40")]
        let bar = "█".repeat((40.0 * plan.extra_time() / widest).round() as usize);
        let (peak, bytes) = (plan.peak_bytes.to_string(), plan.peak_bytes.get());
        writeln!(text, "{peak:>12}  {bytes:>16}  {share:>8.2} %  {bar}")
            .expect("a string takes all");
    }
    text
}

fn amount(bytes: Bytes) -> String {
    match bytes.get() {
        few if few < 1024 => bytes.to_string(),
        many => format!("{bytes} ({many} bytes)"),
    }
}
