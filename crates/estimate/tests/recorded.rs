//! Estimates against recorded runs: what the programs asked of their allocator, byte by byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::HashMap;
use std::io::Read;

use freeboard_estimate::{
    Attention, Biases, Category, Checkpoint, Experts, Mlp, Model, Norm, Positions, Precision, Step,
    Trainable, Training, Transformer, When, estimate, presets,
};
use freeboard_units::Bytes;

/// Settings without what recordings do not show.
fn bare(batch: u32, sequence: u32) -> Training {
    let none = Bytes::ZERO;
    Training { batch, sequence, workspace: none, context: none, ..Training::default() }
}

fn named(name: &str) -> Model {
    Model::Transformer(presets::find(name).unwrap())
}

fn mixtral_like() -> Model {
    Model::Transformer(Transformer {
        name: "Mixtral-like".to_owned(),
        layers: 16,
        hidden: 2048,
        heads: 16,
        kv_heads: 16,
        head_dim: 128,
        intermediate: 7168,
        vocabulary: 32_000,
        tied: false,
        positions: Positions::None,
        norm: Norm::RmsOperations,
        biases: Biases::None,
        mlp: Mlp::Gated,
        experts: Some(Experts { count: 8, active: 2 }),
        dropout: false,
        attention_dropout: false,
        ..presets::find("gpt2").unwrap()
    })
}

/// The settings of a run, and what is recorded of one of its steps.
struct Recorded {
    run: &'static str,
    model: Model,
    training: Training,
    /// Live between steps: weights and optimizer state, and gradients where they accumulate.
    between: u64,
    peak: u64,
    when: When,
}

/// From traces that PyTorch 2.15 wrote: live bytes as requested, at the step's end and at its peak.
fn recorded() -> Vec<Recorded> {
    let gpt2 = |sequence, peak, when| Recorded {
        run: "GPT-2 XL, bf16, AdamW",
        model: named("gpt2-xl"),
        training: bare(8, sequence),
        between: 9_345_667_206,
        peak,
        when,
    };
    let llama = |sequence, peak| Recorded {
        run: "Llama-3-8B, bf16, checkpointing, AdamW one tensor at a time",
        model: named("llama-3-8b"),
        training: Training {
            checkpoint: Checkpoint::Every(1),
            step: Step::ForLoop,
            ..bare(2, sequence)
        },
        between: 48_181_567_750,
        peak,
        when: When::Step,
    };
    let lora = |sequence, peak, between| Recorded {
        run: "Llama-3-8B, bf16, LoRA 16, checkpointing, accumulating",
        model: named("llama-3-8b"),
        training: Training {
            checkpoint: Checkpoint::Every(1),
            trainable: Trainable::Lora(16),
            accumulates: between > 16_600_000_000,
            ..bare(4, sequence)
        },
        between,
        peak,
        when: When::Loss,
    };
    let moe = |peak| Recorded {
        run: "Mixtral-like, bf16, AdamW",
        model: mixtral_like(),
        training: bare(4, 2048),
        between: 36_221_890_562,
        peak,
        when: When::Loss,
    };
    vec![
        gpt2(974, 48_859_500_350, When::Loss),
        gpt2(546, 31_496_157_126, When::Loss),
        gpt2(240, 19_082_136_206, When::Loss),
        gpt2(135, 15_576_112_006, When::Step),
        llama(3769, 66_343_444_742),
        llama(471, 66_343_444_742),
        lora(3800, 44_361_411_400, 16_731_611_392),
        // The first batch of a step: there are no gradients yet.
        lora(920, 23_253_159_240, 16_563_839_232),
        lora(4092, 46_484_543_400, 16_731_611_392),
        moe(64_216_186_284),
    ]
}

/// How far an estimate is from what was recorded, as a part of that.
fn error(estimate: Bytes, recorded: u64) -> f64 {
    (estimate.as_f64() / Bytes::new(recorded).as_f64() - 1.0).abs()
}

#[test]
fn peaks_and_what_lives_between_steps_are_those_of_recorded_runs() {
    for Recorded { run, model, training, between, peak, when } in recorded() {
        let estimate = estimate(&model, &training).unwrap();
        let at = format!("{run}, {} × {}", training.batch, training.sequence);
        assert_eq!(estimate.peak().when, when, "{at}");
        let total = estimate.peak().total;
        assert!(error(total, peak) < 1e-4, "{at}: {total} estimated, {peak} recorded");
        let forward = estimate.at(When::Forward).unwrap();
        let held = [Category::Parameters, Category::Optimizer, Category::Gradients];
        let held: Bytes = held.iter().map(|category| forward.bytes(*category)).sum();
        // Besides: a loss, and the frequencies of the rotation.
        let more = between - held.get();
        assert!(more <= 512, "{at}: {held} estimated, {between} recorded");
    }
}

#[test]
fn tokens_that_no_expert_takes_need_less() {
    // One expert was drawn by more tokens than there are: 0.7 % of the peak is not there.
    let peak = estimate(&mixtral_like(), &bare(4, 2048)).unwrap().peak().total;
    assert!(peak > Bytes::new(63_788_744_234) && error(peak, 63_788_744_234) < 0.01);
}

#[test]
fn the_backward_pass_of_blocks_is_near_that_of_recorded_runs() {
    for (model, training, when, recorded) in [
        ("gpt2-xl", bare(8, 974), When::LastBlock, 44_503_593_086),
        (
            "llama-3-8b",
            Training { checkpoint: Checkpoint::Every(1), ..bare(2, 4866) },
            When::FirstBlock,
            65_547_415_446,
        ),
        (
            "llama-3-8b",
            Training {
                checkpoint: Checkpoint::Every(1),
                trainable: Trainable::Lora(16),
                accumulates: true,
                ..bare(4, 4092)
            },
            When::LastBlock,
            28_878_435_200,
        ),
    ] {
        let estimate = estimate(&named(model), &training).unwrap();
        let total = estimate.at(when).unwrap().total;
        assert!(error(total, recorded) < 0.05, "{model} {when}: {total}, {recorded} recorded");
    }
}

/// A model of Transformers 5.23 in a run of batch 4 × 512 tokens.
struct Small {
    name: &'static str,
    attention: Attention,
    precision: Precision,
    checkpoint: Checkpoint,
    /// Live before the step, and at most in its backward pass.
    before: u64,
    backward: u64,
    /// How near the estimate must be.
    within: f64,
}

#[test]
fn other_types_and_eager_attention_are_as_recorded_from_transformers() {
    let small = Transformer {
        layers: 6,
        hidden: 1024,
        heads: 16,
        kv_heads: 4,
        head_dim: 64,
        intermediate: 2816,
        vocabulary: 8000,
        ..presets::find("llama-3-8b").unwrap()
    };
    let neox = Transformer {
        layers: 6,
        hidden: 1024,
        heads: 16,
        kv_heads: 16,
        head_dim: 64,
        intermediate: 4096,
        vocabulary: 8000,
        ..presets::find("pythia-160m").unwrap()
    };
    let row = |name, attention, precision, before, backward| Small {
        name,
        attention,
        precision,
        checkpoint: Checkpoint::None,
        before,
        backward,
        within: 2e-4,
    };
    let again = |row: Small| Small { checkpoint: Checkpoint::Every(1), within: 0.02, ..row };
    let (eager, eager_f32) = (Attention::Eager, Attention::EagerF32);
    let (low, autocast, f32) = (Precision::Low, Precision::Autocast, Precision::F32);
    for small_run in [
        row("gpt2", eager, low, 746_655_236, 3_839_737_352),
        row("gpt2", eager, autocast, 1_493_294_084, 5_667_058_184),
        row("gpt2", eager, f32, 1_493_294_084, 6_253_612_040),
        row("llama", eager_f32, low, 504_199_300, 1_900_615_816),
        row("llama", eager_f32, autocast, 1_008_382_212, 2_686_603_528),
        row("llama", eager_f32, f32, 1_008_382_212, 2_690_142_472),
        // These kept a mask of bss numbers in every block, which is not counted here.
        row("neox", Attention::Flash, f32, 1_103_577_156, 2_198_831_272 - 6 * (4 << 20)),
        again(row("gpt2", eager, low, 746_655_236, 2_029_501_960)),
        again(row("gpt2", eager, autocast, 1_493_294_084, 2_896_327_176)),
        again(row("gpt2", eager, f32, 1_493_294_084, 2_822_278_152)),
        again(row("llama", eager_f32, low, 504_199_300, 961_153_160)),
        again(row("llama", eager_f32, autocast, 1_008_382_212, 1_631_822_088)),
        again(row("llama", eager_f32, f32, 1_008_382_212, 1_637_064_968)),
    ] {
        let Small { name, attention, precision, checkpoint, before, backward, within } = small_run;
        let model = match name {
            "gpt2" => presets::find(name).unwrap(),
            "llama" => small.clone(),
            _ => neox.clone(),
        };
        let training = Training { precision, checkpoint, ..bare(4, 512) };
        let estimate =
            estimate(&Model::Transformer(Transformer { attention, ..model }), &training).unwrap();
        let at = format!("{name}, {attention:?}, {precision:?}, {checkpoint:?}");
        let forward = estimate.at(When::Forward).unwrap();
        let held = forward.bytes(Category::Parameters) + forward.bytes(Category::Optimizer);
        assert!(before - held.get() < 32_768, "{at}: {held} held, {before} recorded");
        let parts = [When::Loss, When::LastBlock, When::FirstBlock, When::Embedding];
        let most = parts.iter().map(|when| estimate.at(*when).unwrap().total).max().unwrap();
        assert!(error(most, backward) < within, "{at}: {most} estimated, {backward} recorded");
    }
}

/// Live bytes of a trace: before the first step, and for each step at its beginning and its peak.
fn follow(text: &str) -> (u64, HashMap<u32, (u64, u64)>) {
    let mut sizes = HashMap::new();
    let (mut live, mut first, mut step) = (0, None, 0);
    let mut steps = HashMap::new();
    for line in text.lines().skip(2) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "#" => {
                step = words.last().unwrap().parse().unwrap();
                steps.insert(step, (live, live));
                first = first.or(Some(live));
            }
            "a" => {
                let size: u64 = words[2].parse().unwrap();
                sizes.insert(words[1], size);
                live += size;
            }
            "f" => live -= sizes.remove(words[1]).unwrap(),
            _ => {}
        }
        if let Some((_, peak)) = steps.get_mut(&step) {
            *peak = live.max(*peak);
        }
    }
    (first.unwrap(), steps)
}

#[test]
fn a_recorded_run_over_eight_devices_is_met_step_by_step() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/fsdp8_llama8b_streams.trace.gz");
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let (before, steps) = follow(&text);
    let training = |sequence| Training {
        checkpoint: Checkpoint::Every(1),
        precision: Precision::Master,
        zero: 3,
        world: 8,
        ..bare(2, sequence)
    };
    let model = named("llama-3-8b");
    let parts = estimate(&model, &training(1024)).unwrap();
    let loss = parts.at(When::Loss).unwrap();
    let held = [Category::Parameters, Category::Optimizer, Category::Copies];
    let held: Bytes = held.iter().map(|category| loss.bytes(*category)).sum();
    // The program that was recorded has the whole 16-bit weights, too, and two tables of 128 bytes.
    assert_eq!(before - 2 * 8_030_261_248 - 256, held.get());
    assert_eq!(steps.len(), 10);
    // In the first step it makes gradients of those, which it keeps.
    for (sequence, (begin, peak)) in steps.into_iter().filter(|(_, (begin, _))| *begin > before) {
        let estimate = estimate(&model, &training(sequence)).unwrap();
        let loss = estimate.at(When::Loss).unwrap();
        let made = loss.bytes(Category::Activations) + loss.bytes(Category::Logits);
        assert!(error(made, peak - begin) < 1e-4, "{sequence}: {made}, {} recorded", peak - begin);
    }
}
