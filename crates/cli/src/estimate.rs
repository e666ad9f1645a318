//! `freeboard estimate`: the memory a training run will need, before it runs.

mod settings;
mod table;

use std::fs;
use std::path::PathBuf;

use clap::Args;
use freeboard_estimate::{
    Advice, Estimate, EstimateError, LayerTable, Model, Training, Transformer, advise, cards,
    estimate, largest_batch, presets,
};
use freeboard_units::Bytes;
use serde::Serialize;

use crate::Outcome;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// Estimate the memory a training run will need on each device, and the largest batch for a card
#[derive(Args, Debug)]
#[command(
    after_help = "Exit status: 1 where --card does not hold it. How it is worked out, and how \
    near it comes: docs/estimate.md."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    settings: settings::Settings,
    /// The card that should hold it: its name, or a size like 24GiB
    #[arg(long, value_name = "CARD", allow_hyphen_values = true)]
    card: Option<String>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Print the formula of every number, and what each operation keeps
    #[arg(long)]
    explain: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Source {
    /// A published model, like llama-3-8b; an unknown name is answered with those there are
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A Hugging Face config.json
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A table of layers with their bytes, as JSON
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

impl Source {
    fn model(&self) -> Result<(String, Model), Failure> {
        if let Some(name) = &self.model {
            let model = presets::find(name).map_err(|error| failure("--model", &error))?;
            return Ok((model.name.clone(), Model::Transformer(model)));
        }
        let (path, is_config) = match (&self.config, &self.table) {
            (Some(path), _) => (path, true),
            (None, Some(path)) => (path, false),
            (None, None) => return Err(Failure::Usage("--model is missing".into())),
        };
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::Usage(format!("cannot read {name}: {error}; check that the path is right"))
        })?;
        let model = if is_config {
            Transformer::from_config(&text).map(Model::Transformer)
        } else {
            LayerTable::from_json(&text).map(Model::Table)
        };
        let model = model.map_err(|error| failure(&name, &error))?;
        Ok((name, model))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    training: &'a Training,
    #[serde(flatten)]
    estimate: &'a Estimate,
    /// The moment that needs most, and how much.
    peak: &'a freeboard_estimate::Moment,
    card: Option<Fit<'a>>,
}

/// Whether a card holds it.
#[derive(Serialize)]
struct Fit<'a> {
    name: &'a str,
    bytes: Bytes,
    fits: bool,
    largest_batch: u32,
    advice: Vec<Advice>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let (name, model) = arguments.source.model()?;
    let training = arguments.settings.training(arguments.card.as_deref());
    let model = arguments.settings.shape(model)?;
    let wrong = |error| failure(&name, &error);
    let estimate = estimate(&model, &training).map_err(wrong)?;
    let card = match &arguments.card {
        None => None,
        Some(card) => {
            let bytes = cards::find(card).map_err(|error| failure("--card", &error))?;
            let fits = estimate.peak().total <= bytes;
            let largest_batch = largest_batch(&model, &training, bytes).map_err(wrong)?;
            let advice =
                if fits { Vec::new() } else { advise(&model, &training, bytes).map_err(wrong)? };
            Some(Fit { name: card, bytes, fits, largest_batch, advice })
        }
    };
    let fits = card.as_ref().is_none_or(|card| card.fits);
    let peak = estimate.peak();
    let report = Report { model: &name, training: &training, estimate: &estimate, peak, card };
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&table::table(&report, arguments.explain))?;
    }
    Ok(if fits { Outcome::Survived } else { Outcome::RanOutOfMemory })
}

fn failure(place: &str, error: &EstimateError) -> Failure {
    Failure::Usage(format!("{place}: {error}"))
}
