//! `freeboard plan`: which activations of a chain of layers to keep, recompute or offload.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use freeboard_checkpoint::{
    Chain, Effort, Link, Plan, PlanError, Proof, curve_picture, every_kth, keep_all, least_bytes,
    optimal_with, pareto, revolve, sequential, three_way,
};
use freeboard_units::Bytes;
use serde::Serialize;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::source::read_text;

mod table;

const FORMAT: &str = "CHAIN.json: {\"input_bytes\": n, \"layers\": [{\"name\", \"forward_time\", \
    \"backward_time\", \"output_bytes\", \"saved_bytes\", \"forward_extra_bytes\", \
    \"backward_extra_bytes\"}]}. Times are in any unit that is the same throughout. \
    Exit status: 0, planned; 1, no plan fits in the budget; 2, bad usage or input.";

/// Plan which activations to keep, recompute or offload, in least time within a budget
#[derive(Args, Debug)]
#[command(after_help = FORMAT)]
pub(crate) struct Arguments {
    /// The layers with their times and bytes, as JSON; - for standard input
    chain: PathBuf,
    /// The memory for activations and their gradients, like 20GiB [default: a curve over budgets]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    budget: Option<Bytes>,
    /// optimal, keep-all, every:K (every:0 for the square root), sequential:N or revolve:N
    #[arg(long, value_name = "NAME", default_value = "optimal")]
    planner: Planner,
    /// Allow offloading, over a link of so many bytes per unit of the chain's time, like 24e9
    #[arg(long, value_name = "SPEED", allow_negative_numbers = true, value_parser = speed)]
    link: Option<Link>,
    /// Memory slots of the discretised pass, which an exact one follows up to 100 layers; above 500
    /// layers, these are planned in groups where much has to be run again
    #[arg(long, value_name = "N", default_value_t = Effort::default().slots)]
    #[arg(value_parser = slots)]
    slots: usize,
    /// Do the exact pass for more layers too: seconds for 200, unless it has to be given up
    #[arg(long)]
    exact: bool,
    /// Print the plan, or the curve's plans, as JSON
    #[arg(long)]
    json: bool,
    /// Draw the plan, or the curve, into this file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planner {
    Optimal,
    KeepAll,
    Every(usize),
    Sequential(usize),
    Revolve(usize),
}

impl FromStr for Planner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "write optimal, keep-all, every:K, sequential:N or revolve:N";
        let (name, number) = text.split_once(':').unwrap_or((text, ""));
        let number = || number.parse().map_err(|_| format!("`{number}` is no number; {known}"));
        let least_one =
            || number().and_then(|n| if n > 0 { Ok(n) } else { Err("at least 1".to_owned()) });
        match name {
            "optimal" if text == name => Ok(Self::Optimal),
            "keep-all" if text == name => Ok(Self::KeepAll),
            "every" => Ok(Self::Every(number()?)),
            "sequential" => Ok(Self::Sequential(least_one()?)),
            "revolve" => Ok(Self::Revolve(least_one()?)),
            _ => Err(known.into()),
        }
    }
}

/// A plan with what is known about it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    budget_bytes: Option<Bytes>,
    least_bytes: Bytes,
    keep_all_bytes: Bytes,
    /// No persistent plan without offloading is faster in this budget.
    none_better_within_bytes: Option<Bytes>,
}

#[derive(Serialize)]
struct Refusal {
    error: String,
    budget_bytes: Bytes,
    least_bytes: Bytes,
}

fn effort(arguments: &Arguments) -> Effort {
    let plain = Effort { slots: arguments.slots, ..Effort::default() };
    if arguments.exact { Effort { exact_layers: usize::MAX, ..plain } } else { plain }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let name = arguments.chain.display().to_string();
    let text = read_text(&arguments.chain)?;
    let chain =
        Chain::from_json(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let spinner = Progress::spinner(format!("planning {} layers", chain.layers().len()));
    let refused = |error: PlanError| Failure::Usage(format!("{name}: {error}"));
    let whole = || fixed(&chain, arguments.planner).map(|plan| plan.peak_bytes);
    let Some(budget) = arguments.budget.or_else(whole) else {
        let plans = pareto(&chain, 13, effort(arguments)).map_err(refused)?;
        drop(spinner);
        return curve(arguments, &plans);
    };
    let least = least_bytes(&chain).map_err(refused)?;
    let planned = planned(arguments, &chain, budget);
    drop(spinner);
    let (plan, proof) = match planned {
        Ok(planned) => planned,
        Err(error @ PlanError::BudgetBelowMinimum { minimum, .. }) => {
            return refuse(arguments, error.to_string(), budget, minimum);
        }
        Err(error) => return Err(refused(error)),
    };
    if plan.peak_bytes > budget {
        let error = format!(
            "this planner needs {} ({} bytes), more than the budget; --planner optimal needs {} bytes \
             at the least",
            plan.peak_bytes,
            plan.peak_bytes.get(),
            least.get()
        );
        return refuse(arguments, error, budget, least);
    }
    if let Some(path) = &arguments.plot {
        let link = arguments.link.unwrap_or(Link::NONE);
        let picture = plan.picture(&chain, link, arguments.budget);
        let picture = picture.map_err(|invalid| Failure::Usage(format!("{name}: {invalid}")))?;
        save(path, &picture)?;
    }
    let none_better_within_bytes = match proof {
        Some(Proof::Exact) => Some(budget),
        Some(Proof::NoneBetterWithin(bytes)) => Some(bytes),
        Some(Proof::Unknown) | None => None,
    };
    let report = Report {
        plan: &plan,
        budget_bytes: arguments.budget,
        least_bytes: least,
        keep_all_bytes: keep_all(&chain).peak_bytes,
        none_better_within_bytes,
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&table::plan(&chain, &report))?;
    }
    Ok(Outcome::Survived)
}

/// The plan asked for, and what is proven about it.
fn planned(
    arguments: &Arguments,
    chain: &Chain,
    budget: Bytes,
) -> Result<(Plan, Option<Proof>), PlanError> {
    if let Some(plan) = fixed(chain, arguments.planner) {
        return Ok((plan, None));
    }
    let effort = effort(arguments);
    match arguments.link {
        None => {
            optimal_with(chain, budget, effort).map(|optimal| (optimal.plan, Some(optimal.proof)))
        }
        Some(link) => three_way(chain, budget, link, effort).map(|plan| (plan, None)),
    }
}

/// The plan of a planner that takes no budget.
fn fixed(chain: &Chain, planner: Planner) -> Option<Plan> {
    match planner {
        Planner::Optimal => None,
        Planner::KeepAll => Some(keep_all(chain)),
        Planner::Every(k) => Some(every_kth(chain, k)),
        Planner::Sequential(segments) => Some(sequential(chain, segments)),
        Planner::Revolve(snapshots) => Some(revolve(chain, snapshots)),
    }
}

fn curve(arguments: &Arguments, plans: &[Plan]) -> Result<Outcome, Failure> {
    if let Some(path) = &arguments.plot {
        save(path, &curve_picture(plans))?;
    }
    if arguments.json {
        print_json(&plans)?;
    } else {
        print(&table::curve(plans))?;
    }
    Ok(Outcome::Survived)
}

fn refuse(
    arguments: &Arguments,
    error: String,
    budget_bytes: Bytes,
    least_bytes: Bytes,
) -> Result<Outcome, Failure> {
    if arguments.json {
        print_json(&Refusal { error, budget_bytes, least_bytes })?;
    } else {
        print(&format!("{error}\n"))?;
    }
    Ok(Outcome::RanOutOfMemory)
}

fn save(path: &PathBuf, picture: &str) -> Result<(), Failure> {
    fs::write(path, picture).map_err(|error| Failure::write(path.display().to_string(), error))
}

fn speed(text: &str) -> Result<Link, String> {
    let speed = text.parse::<f64>().ok().map(Link::new).filter(|link| link.is_usable());
    speed.ok_or_else(|| "write bytes per unit of the chain's time, like 24e9".to_owned())
}

fn slots(text: &str) -> Result<usize, String> {
    let slots = text.parse().ok().filter(|slots| (1..=100_000).contains(slots));
    slots.ok_or_else(|| "write a whole number from 1 to 100000".to_owned())
}
