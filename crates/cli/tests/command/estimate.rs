//! `freeboard estimate`: what it prints, its exit status, and the models and settings it refuses.

use super::{Folder, Said, freeboard};

#[test]
fn a_model_by_name_is_estimated_part_by_part() {
    let arguments = ["estimate", "--model", "gpt2-xl", "--batch", "8", "--sequence", "974"];
    let said = freeboard(&arguments);
    assert_eq!(said.status, 0, "{said:?}");
    for words in [
        "gpt2-xl: 1557611200 parameters, 1557611200 trained; batch 8 × 974 tokens",
        "peak on each device: 46.01 GiB, backward pass of the loss",
        "activations         32.42 GiB",
        "logits and loss      4.38 GiB",
        "█",
        "optimizer step",
    ] {
        assert!(said.out.contains(words), "'{words}' is not in {said:?}");
    }
    assert!(!said.out.contains("bsh"), "{said:?}");
    let said = freeboard(&[&arguments[..], &["--explain"]].concat());
    for words in ["12 bsV", "kept by every block's attention", "2 bs(a+2a)d", "s sequence"] {
        assert!(said.out.contains(words), "'{words}' is not in {said:?}");
    }
}

#[test]
fn json_has_every_moment_and_the_verdict() {
    let said = freeboard(&[
        "estimate",
        "--model",
        "llama-3-8b",
        "--batch",
        "4",
        "--sequence",
        "4096",
        "--precision",
        "bf16-master",
        "--checkpoint",
        "full",
        "--zero",
        "3",
        "--world",
        "8",
        "--offload",
        "optimizer",
        "--card",
        "a100-80",
        "--json",
    ]);
    assert_eq!(said.status, 0, "{said:?}");
    let report = said.json();
    let keys = [
        "activations",
        "card",
        "host",
        "model",
        "moments",
        "parameters",
        "peak",
        "trained",
        "training",
    ];
    assert_eq!(Said::keys(&report), keys);
    assert_eq!(report["parameters"], 8_030_261_248_u64);
    let parts = report["peak"]["parts"].as_array().unwrap();
    let sum: u64 = parts.iter().map(|part| part["bytes"].as_u64().unwrap()).sum();
    assert_eq!(report["peak"]["total"], sum);
    let moments = report["moments"].as_array().unwrap();
    assert_eq!(moments.last().unwrap()["when"], "step");
    assert!(moments.iter().all(|moment| moment["total"].as_u64().unwrap() <= sum));
    assert_eq!(report["card"]["fits"], true);
    assert!(report["card"]["largest_batch"].as_u64().unwrap() >= 4);
    assert!(report["host"].as_array().unwrap().iter().any(|part| part["category"] == "optimizer"));
}

#[test]
fn what_a_card_does_not_hold_has_status_1_and_advice() {
    let arguments = ["estimate", "--model", "llama-3-8b", "--batch", "4", "--sequence", "4096"];
    let said = freeboard(&[&arguments[..], &["--card", "a100-80"]].concat());
    assert_eq!(said.status, 1, "{said:?}");
    for words in ["a100-80 has 79.", "it does not fit, by", "fits with"] {
        assert!(said.out.contains(words), "'{words}' is not in {said:?}");
    }
    let said = freeboard(&[&arguments[..], &["--card", "24GiB", "--json"]].concat());
    assert_eq!(said.status, 1, "{said:?}");
    let card = &said.json()["card"];
    assert_eq!((&card["fits"], &card["largest_batch"]), (&false.into(), &0.into()));
    assert!(!card["advice"].as_array().unwrap().is_empty());
}

#[test]
fn a_configuration_and_a_table_are_read_from_files() {
    let folder = Folder::new("estimate");
    let config = folder.file(
        "config.json",
        r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
            "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
            "vocab_size": 128256, "torch_dtype": "bfloat16"}"#,
    );
    let by_config = freeboard(&["estimate", "--config", &config, "--lora", "16", "--json"]).json();
    assert_eq!(by_config["trained"], 41_943_040);
    let by_name =
        freeboard(&["estimate", "--model", "LLAMA-3-8B", "--lora", "16", "--json"]).json();
    assert_eq!(by_config["moments"], by_name["moments"]);
    let table = folder.file(
        "chain.json",
        r#"{"input_bytes": 8, "layers": [{"name": "x", "output_bytes": 1, "saved_bytes": 2,
            "forward_extra_bytes": 0, "backward_extra_bytes": 0, "parameters": 100}]}"#,
    );
    let said = freeboard(&["estimate", "--table", &table, "--batch", "3"]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("backward pass of layer 1"), "{said:?}");
}

#[test]
fn models_and_settings_that_cannot_be_are_refused_with_a_remedy() {
    let folder = Folder::new("estimate-bad");
    let unknown = folder.file("config.json", r#"{"model_type": "mamba"}"#);
    let broken = folder.file("chain.json", r#"{"input_bytes": 8, "layers": [{}]}"#);
    for (arguments, words) in [
        (&["--model", "llama-9"][..], ["--model: there is no model 'llama-9'", "mixtral-8x7b"]),
        (&["--config", &unknown], ["config.json: model_type: \"mamba\"", "mistral"]),
        (&["--config", "/nowhere"], ["cannot read /nowhere", "check that the path is right"]),
        (&["--table", &broken], ["chain.json: layer 1 (`layer 1`), output_bytes", "add it"]),
        (&[], ["--model", "--config"]),
        (&["--model", "gpt2", "--table", &broken], ["--model", "--table"]),
        (&["--model", "gpt2", "--batch", "0"], ["batch is 0", "at least 1"]),
        (&["--model", "gpt2", "--batch", "-1"], ["--batch", "-1"]),
        (&["--model", "gpt2", "--batch", "1e9"], ["--batch", "1e9"]),
        (&["--model", "gpt2", "--batch", "4294967296"], ["--batch", "4294967296"]),
        (
            &["--model", "gpt2-xl", "--batch", "4294967295", "--attention", "eager"],
            ["the bytes on a device come to 2^63 or more", "smaller"],
        ),
        (&["--model", "gpt2", "--sequence", "4096"], ["sequence 4096", "1024 positions"]),
        (&["--model", "gpt2", "--trainable", "NaN"], ["NaN", "at most 1"]),
        (&["--model", "gpt2", "--trainable", "-1"], ["-1", "above 0"]),
        (&["--model", "gpt2", "--zero", "4"], ["zero: 4", "0, 1, 2 and 3"]),
        (&["--model", "gpt2", "--tensor", "7"], ["heads 12", "tensor 7"]),
        (&["--model", "gpt2", "--checkpoint", "some"], ["--checkpoint", "selective"]),
        (&["--model", "gpt2", "--checkpoint", "-2"], ["--checkpoint", "a number of blocks"]),
        (&["--model", "gpt2", "--checkpoint", "0"], ["checkpoint every is 0", "at least 1"]),
        (&["--model", "gpt2", "--offload", "disk"], ["--offload", "activations"]),
        (&["--model", "gpt2", "--card", "h1000"], ["--card: 'h1000'", "rtx4090"]),
        (&["--model", "gpt2", "--context", "-1"], ["--context", "is no size"]),
    ] {
        let said = freeboard(&[&["estimate"], arguments].concat());
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        for word in words {
            assert!(said.err.contains(word), "{arguments:?}: '{word}' is not in {said:?}");
        }
    }
}
