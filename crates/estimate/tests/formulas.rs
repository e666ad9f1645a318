//! Estimates against formulas and figures that were published, and at the edges of what can be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use freeboard_estimate::{
    Activations, Attention, Category, Checkpoint, EstimateError, Kind, LayerTable, Loss, Mlp,
    Model, Offload, Optimizer, Precision, Trainable, Training, Transformer, When, advise, cards,
    estimate, largest_batch, presets,
};
use freeboard_units::Bytes;

/// The model of Korthikanti et al., with 22 billion parameters.
fn megatron() -> Transformer {
    Transformer {
        layers: 48,
        hidden: 6144,
        heads: 64,
        kv_heads: 64,
        head_dim: 96,
        intermediate: 4 * 6144,
        vocabulary: 51_200,
        positions: freeboard_estimate::Positions::Learned(2048),
        mlp: Mlp::Gelu,
        attention: Attention::Eager,
        ..presets::find("gpt2").unwrap()
    }
}

fn bare() -> Training {
    let none = Bytes::ZERO;
    Training { batch: 4, sequence: 2048, workspace: none, context: none, ..Training::default() }
}

#[test]
fn the_rows_of_a_block_add_up_to_the_published_formulas() {
    let (s, b, h, a) = (2048, 4, 6144, 64);
    let sbh = s * b * h;
    let scores = 5 * a * s * s * b;
    for (tensor, sequence_parallel, published) in [
        (1, false, 34 * sbh + scores),
        (8, false, 10 * sbh + 24 * sbh / 8 + scores / 8),
        (8, true, (34 * sbh + scores) / 8),
    ] {
        let training = Training { tensor, sequence_parallel, ..bare() };
        let rows = Activations::new(&megatron(), &training).unwrap();
        let rows = rows.attention.iter().chain(&rows.feed_forward);
        let rows = rows.filter(|row| row.kind != Kind::Statistics);
        let sum: Bytes = rows.map(|row| row.bytes).sum();
        assert_eq!(sum.get(), published, "t = {tensor}, {sequence_parallel}");
    }
    for (checkpoint, published) in [
        (Checkpoint::Selective, 48 * (34 * sbh + 2 * 8 * s * b)),
        (Checkpoint::Every(1), 48 * 2 * sbh),
        (Checkpoint::Every(4), 12 * 2 * sbh),
        (Checkpoint::Every(100), 2 * sbh),
    ] {
        let training = Training { checkpoint, ..bare() };
        let estimate = estimate(&Model::Transformer(megatron()), &training).unwrap();
        let forward = estimate.at(When::Forward).unwrap();
        assert_eq!(forward.parts[2].category, Category::Activations);
        assert_eq!(forward.parts[2].bytes.get(), published, "{checkpoint:?}");
    }
}

#[test]
fn model_states_are_those_of_the_paper_on_zero() {
    // Figure 1: 7.5 billion parameters over 64 devices, in GB.
    let table = r#"{"input_bytes": 0, "layers": [{"output_bytes": 0, "saved_bytes": 0,
        "forward_extra_bytes": 0, "backward_extra_bytes": 0, "parameters": 7500000000}]}"#;
    let model = Model::Table(LayerTable::from_json(table).unwrap());
    for (zero, gigabytes) in [(0, "120.0"), (1, "31.4"), (2, "16.6"), (3, "1.9")] {
        let training = Training { precision: Precision::Master, zero, world: 64, ..bare() };
        let estimate = estimate(&model, &training).unwrap();
        let step = estimate.at(When::Step).unwrap();
        let states = [Category::Parameters, Category::Gradients, Category::Optimizer];
        let states: Bytes = states.iter().map(|category| step.bytes(*category)).sum();
        assert_eq!(format!("{:.1}", states.as_f64() / 1e9), gigabytes, "stage {zero}");
    }
    // With the optimizer on the host, stage 2 leaves 2 bytes per parameter on the device.
    let offload = Offload { optimizer: true, ..Offload::default() };
    let training = Training { precision: Precision::Master, zero: 2, world: 64, offload, ..bare() };
    let offloaded = estimate(&model, &training).unwrap();
    assert_eq!(offloaded.at(When::Step).unwrap().total, Bytes::new(15_000_000_000));
    let host: Bytes = offloaded.host.iter().map(|part| part.bytes).sum();
    assert_eq!(host, Bytes::new((2 + 12) * 7_500_000_000 / 64));
}

#[test]
fn every_optimizer_keeps_what_it_should() {
    let model = Model::Transformer(presets::find("gpt2").unwrap());
    let parameters = 124_439_808;
    let state = |optimizer, precision| {
        let training = Training { optimizer, precision, sequence: 128, ..bare() };
        estimate(&model, &training).unwrap().moments[0].bytes(Category::Optimizer).get()
    };
    assert_eq!(state(Optimizer::Sgd, Precision::F32), 0);
    assert_eq!(state(Optimizer::Momentum, Precision::Low), 2 * parameters);
    assert_eq!(state(Optimizer::Adam, Precision::Low), 4 * parameters);
    assert_eq!(state(Optimizer::Adam, Precision::F32), 8 * parameters);
    assert_eq!(state(Optimizer::Adam, Precision::Master), 12 * parameters);
    let small = state(Optimizer::Adam8bit, Precision::F32);
    assert!((2 * parameters..21 * parameters / 10).contains(&small), "{small}");
    assert!(state(Optimizer::Adafactor, Precision::F32) < parameters / 50);
}

#[test]
fn a_part_that_is_trained_has_that_part_of_gradients_and_state() {
    let model = Model::Transformer(presets::find("gpt2").unwrap());
    let training = Training { trainable: Trainable::Part(0.25), ..bare() };
    let step = estimate(&model, &Training { sequence: 64, ..training }).unwrap();
    assert_eq!(step.trained, 124_439_808 / 4);
    assert_eq!(step.at(When::Step).unwrap().bytes(Category::Gradients).get(), 124_439_808 / 2);
}

const TABLE: &str = r#"{"input_bytes": 10, "layers": [
    {"name": "first", "forward_time": 1.0, "output_bytes": 20, "saved_bytes": 70,
     "forward_extra_bytes": 1, "backward_extra_bytes": 5, "parameters": 100},
    {"name": "last", "output_bytes": 4, "saved_bytes": 30.0,
     "forward_extra_bytes": 2, "backward_extra_bytes": 3}]}"#;

#[test]
fn a_table_of_layers_is_added_up_layer_by_layer() {
    let model = Model::Table(LayerTable::from_json(TABLE).unwrap());
    let training = Training { batch: 2, optimizer: Optimizer::Sgd, ..bare() };
    let total = |checkpoint, when| {
        let estimate = estimate(&model, &Training { checkpoint, ..training }).unwrap();
        estimate.at(when).unwrap().total.get()
    };
    // Weights; then for each of two samples the input, what is kept, and what a pass needs.
    assert_eq!(total(Checkpoint::None, When::Forward), 200 + 2 * (10 + 70 + 30 + 2));
    assert_eq!(total(Checkpoint::None, When::Layer(2)), 200 + 2 * (10 + 70 + 30 + 3 + 4 + 20));
    assert_eq!(total(Checkpoint::None, When::Layer(1)), 400 + 2 * (10 + 70 + 5 + 20 + 10));
    assert_eq!(total(Checkpoint::Every(1), When::Forward), 200 + 2 * (10 + 20 + 4 + 2));
    assert_eq!(total(Checkpoint::Every(1), When::Layer(2)), 200 + 2 * (10 + 20 + 30 + 27));
    assert_eq!(total(Checkpoint::None, When::Step), 400);
    for (setting, training) in [
        ("selective", Training { checkpoint: Checkpoint::Selective, ..training }),
        ("LoRA", Training { trainable: Trainable::Lora(8), ..training }),
        ("tensor parallelism", Training { tensor: 2, ..training }),
    ] {
        let error = estimate(&model, &training).unwrap_err().to_string();
        assert!(error.contains(setting) && error.contains("table of layers"), "{error}");
    }
}

#[test]
fn a_bad_table_is_refused_with_layer_key_and_remedy() {
    for (from, to, words) in [
        ("\"input_bytes\": 10, ", "", "input_bytes is missing; add it"),
        ("\"saved_bytes\": 70,", "", "layer 1 (`first`), saved_bytes is missing; add it"),
        ("70", "-70", "layer 1 (`first`), saved_bytes: -70"),
        ("30.0", "30.5", "layer 2 (`last`), saved_bytes: 30.5"),
        ("30.0", "9007199254740994", "layer 2 (`last`), saved_bytes: 9007199254740994"),
        ("100", "\"many\"", "parameters: \"many\" cannot be used; it must be a whole number"),
        ("{\"name\": \"first\"", "7, {\"name\": \"first\"", "layer 1: 7 cannot be used"),
        ("\"last\"", "1", "layer 2, name: 1 cannot be used; it must be a text"),
    ] {
        let error = LayerTable::from_json(&TABLE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
    }
    let empty = LayerTable::from_json(r#"{"input_bytes": 1, "layers": []}"#).unwrap_err();
    assert!(empty.to_string().contains("at least one layer"), "{empty}");
}

#[test]
fn the_largest_batch_fits_and_one_more_does_not() {
    for (name, card, checkpoint) in [
        ("gpt2", "t4", Checkpoint::None),
        ("gpt2-xl", "a100-40", Checkpoint::Every(1)),
        ("llama-3.2-1b", "h100", Checkpoint::Every(3)),
    ] {
        let model = Model::Transformer(presets::find(name).unwrap());
        let training = Training { checkpoint, ..Training::default() };
        let card = cards::find(card).unwrap();
        let batch = largest_batch(&model, &training, card).unwrap();
        let peak = |batch| estimate(&model, &Training { batch, ..training }).unwrap().peak().total;
        assert!(batch > 1 && peak(batch) <= card && peak(batch + 1) > card, "{name}: {batch}");
    }
    let model = Model::Transformer(presets::find("llama-3-70b").unwrap());
    assert_eq!(largest_batch(&model, &bare(), Bytes::gib(80)), Ok(0));
    let table = TABLE.replace("\"saved_bytes\": 70", "\"saved_bytes\": 0");
    let endless = Model::Table(LayerTable::from_json(&table).unwrap());
    assert_eq!(largest_batch(&endless, &bare(), Bytes::MAX), Ok(u32::MAX));
}

#[test]
fn advice_keeps_its_word() {
    let model = Model::Transformer(presets::find("llama-3-8b").unwrap());
    let card = cards::find("a100-80").unwrap();
    // One change is enough.
    let advice = advise(&model, &bare(), card).unwrap();
    assert!(advice.iter().all(|advice| advice.fits && advice.peak <= card), "{advice:?}");
    let checkpointing = Training { checkpoint: Checkpoint::Every(1), ..bare() };
    let told = advice.iter().find(|advice| advice.change == "checkpointing of every block");
    assert_eq!(told.unwrap().peak, estimate(&model, &checkpointing).unwrap().peak().total);
    // Several are.
    let few = advise(&model, &bare(), Bytes::gib(24)).unwrap();
    assert!(few[0].fits && few[0].change.contains(" and "), "{few:?}");
    // More devices are.
    let large = Model::Transformer(presets::find("llama-3-70b").unwrap());
    let many = advise(&large, &bare(), card).unwrap();
    let change = "ZeRO stage 3 over 16 devices and checkpointing of every block";
    assert!(many.iter().any(|advice| advice.change == change), "{many:?}");
    // None is.
    let none = advise(&model, &bare(), Bytes::mib(64)).unwrap();
    assert!(none.iter().all(|advice| !advice.fits), "{none:?}");
}

#[test]
fn numbers_that_cannot_be_are_refused_and_none_wraps() {
    let gpt2 = presets::find("gpt2").unwrap();
    let refused = |model: Transformer, training: Training| {
        estimate(&Model::Transformer(model), &training).unwrap_err()
    };
    let short = Training { sequence: 128, ..bare() };
    for (training, words) in [
        (Training { batch: 0, ..short }, "batch is 0"),
        (Training { world: 0, ..short }, "world is 0"),
        (Training { checkpoint: Checkpoint::Every(0), ..short }, "checkpoint every is 0"),
        (Training { trainable: Trainable::Lora(0), ..short }, "rank is 0"),
        (Training { trainable: Trainable::Part(f64::NAN), ..short }, "part NaN"),
        (Training { trainable: Trainable::Part(1.5), ..short }, "at most 1"),
        (Training { zero: 4, ..short }, "zero: 4"),
        (Training { tensor: 5, ..short }, "heads 12 cannot be divided by tensor 5"),
        (Training { sequence: 1025, ..short }, "longer than the 1024 positions"),
        (Training { checkpoint: Checkpoint::Selective, ..short }, "flash attention"),
        (
            Training { tensor: 2, trainable: Trainable::Lora(8), ..short },
            "LoRA does not go with tensor",
        ),
    ] {
        let error = refused(gpt2.clone(), training).to_string();
        assert!(error.contains(words), "'{words}' is not in {error}");
    }
    let layers = refused(Transformer { layers: 0, ..gpt2.clone() }, short);
    assert_eq!(layers, EstimateError::Zero { field: "layers" });
    let heads = refused(Transformer { kv_heads: 5, ..gpt2.clone() }, short).to_string();
    assert!(heads.contains("heads 12 cannot be divided by kv_heads 5"), "{heads}");
    let most = u32::MAX;
    for (model, training) in [
        (Transformer { layers: most, hidden: most, ..gpt2.clone() }, short),
        (presets::find("llama-3-8b").unwrap(), Training { batch: most, sequence: most, ..short }),
        (
            presets::find("llama-3-8b").unwrap(),
            Training { batch: most, sequence: most, world: most, zero: 3, ..short },
        ),
    ] {
        let error = refused(model, training);
        assert!(matches!(error, EstimateError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn less_is_kept_where_less_is_asked() {
    let model = Model::Transformer(presets::find("llama-3-8b").unwrap());
    let training = Training { world: 8, ..bare() };
    let peak = |training: Training| estimate(&model, &training).unwrap().peak().total;
    let mut last = peak(training);
    let loss = Loss::Chunked;
    for less in [
        Training { loss, ..training },
        Training { loss, checkpoint: Checkpoint::Every(1), ..training },
        Training { loss, checkpoint: Checkpoint::Every(1), zero: 1, ..training },
        Training { loss, checkpoint: Checkpoint::Every(1), zero: 2, ..training },
        Training { loss, checkpoint: Checkpoint::Every(1), zero: 3, ..training },
        Training {
            loss,
            checkpoint: Checkpoint::Every(1),
            zero: 3,
            offload: Offload { optimizer: true, parameters: true, activations: true },
            ..training
        },
    ] {
        let now = peak(less);
        assert!(now < last, "{now} after {last}: {less:?}");
        last = now;
    }
}
