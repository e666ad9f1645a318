//! [`Transformer::from_config`]: Hugging Face's `config.json`.

use crate::json::Object;
use crate::{
    Attention, Biases, EstimateError, Experts, Mlp, Norm, Positions, Transformer, presets,
};

/// Keys that change neither shapes nor what is kept.
const HARMLESS: &[&str] = &[
    "_name_or_path",
    "architectures",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "initializer_range",
    "label2id",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "n_ctx",
    "n_special",
    "output_past",
    "output_router_logits",
    "pad_token_id",
    "partial_rotary_factor",
    "predict_special_tokens",
    "pretraining_tp",
    "reorder_and_upcast_attn",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "rotary_emb_base",
    "rotary_pct",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "scale_attn_by_inverse_layer_idx",
    "scale_attn_weights",
    "sliding_window",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
    "use_mrope",
    "use_sliding_window",
];

impl Transformer {
    /// Reads the `config.json` of a `gpt2`, `gpt_neox`, `llama`, `mistral`, `mixtral`, `qwen2` or
    /// `qwen3`.
    ///
    /// ```
    /// use freeboard_estimate::Transformer;
    ///
    /// let model = Transformer::from_config(
    ///     r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    ///         "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
    ///         "vocab_size": 128256, "rope_theta": 500000.0}"#,
    /// )?;
    /// assert_eq!(model.parameters()?, 8_030_261_248);
    /// # Ok::<(), freeboard_estimate::EstimateError>(())
    /// ```
    ///
    /// # Errors
    /// [`EstimateError`] names the key that is missing, not known, or has a value that cannot be.
    pub fn from_config(text: &str) -> Result<Self, EstimateError> {
        let mut config = Object::parse(text)?;
        let kind = config.text("model_type")?.ok_or_else(|| config.missing("model_type"))?;
        let model = match kind.as_str() {
            "gpt2" => gpt2(&mut config, &kind)?,
            "gpt_neox" => gpt_neox(&mut config, &kind)?,
            "llama" | "mistral" | "mixtral" | "qwen2" | "qwen3" => llama(&mut config, &kind)?,
            _ => {
                let remedy = "gpt2, gpt_neox, llama, mistral, mixtral, qwen2 and qwen3 are known";
                return Err(config.wrong("model_type", &kind.into(), remedy));
            }
        };
        if let Some(key) = config.unknown(HARMLESS) {
            return Err(EstimateError::UnknownKey { key: key.to_owned() });
        }
        model.check()?;
        Ok(model)
    }
}

fn gpt2(config: &mut Object, kind: &str) -> Result<Transformer, EstimateError> {
    let hidden = config.needed("n_embd")?;
    let heads = config.needed("n_head")?;
    let positions = config.needed("n_positions")?;
    let model = Transformer {
        layers: config.needed("n_layer")?,
        head_dim: width(hidden, heads)?,
        intermediate: config.count("n_inner")?.unwrap_or(hidden.saturating_mul(4)),
        vocabulary: config.needed("vocab_size")?,
        tied: config.flag("tie_word_embeddings")?.unwrap_or(true),
        positions: Positions::Learned(positions),
        mlp: activation(config, "activation_function", "gelu_new")?,
        attention: attention(config, Attention::Eager)?,
        attention_dropout: config.chance("attn_pdrop")?.unwrap_or(true),
        ..presets::gpt2(kind, &[1, hidden, heads])
    };
    let after = config.chance("resid_pdrop")?.unwrap_or(true);
    let dropout = config.chance("embd_pdrop")?.unwrap_or(true) || after;
    Ok(Transformer { dropout, ..model })
}

fn gpt_neox(config: &mut Object, kind: &str) -> Result<Transformer, EstimateError> {
    let hidden = config.needed("hidden_size")?;
    let heads = config.needed("num_attention_heads")?;
    Ok(Transformer {
        layers: config.needed("num_hidden_layers")?,
        head_dim: width(hidden, heads)?,
        intermediate: config.needed("intermediate_size")?,
        vocabulary: config.needed("vocab_size")?,
        tied: config.flag("tie_word_embeddings")?.unwrap_or(false),
        positions: Positions::Rotary,
        mlp: activation(config, "hidden_act", "gelu")?,
        attention: attention(config, Attention::Eager)?,
        attention_dropout: config.chance("attention_dropout")?.unwrap_or(false),
        dropout: config.chance("hidden_dropout")?.unwrap_or(false),
        parallel: config.flag("use_parallel_residual")?.unwrap_or(true),
        ..presets::gpt2(kind, &[1, hidden, heads])
    })
}

fn llama(config: &mut Object, kind: &str) -> Result<Transformer, EstimateError> {
    let hidden = config.needed("hidden_size")?;
    let heads = config.needed("num_attention_heads")?;
    let head_dim = match config.count("head_dim")? {
        Some(given) => given,
        None => width(hidden, heads)?,
    };
    for key in ["attention_bias", "mlp_bias"] {
        if config.flag(key)?.unwrap_or(false) {
            return Err(config.wrong(key, &true.into(), "only false is known here"));
        }
    }
    let act = config.get("hidden_act").unwrap_or_else(|| "silu".into());
    if !matches!(act.as_str(), Some("silu" | "gelu" | "gelu_pytorch_tanh" | "swish")) {
        return Err(config.wrong("hidden_act", &act, "silu, gelu and gelu_pytorch_tanh are known"));
    }
    let experts = if kind == "mixtral" {
        let count = config.needed("num_local_experts")?;
        Some(Experts { count, active: config.needed("num_experts_per_tok")? })
    } else {
        None
    };
    Ok(Transformer {
        name: kind.to_owned(),
        layers: config.needed("num_hidden_layers")?,
        hidden,
        heads,
        kv_heads: config.count("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        intermediate: config.needed("intermediate_size")?,
        vocabulary: config.needed("vocab_size")?,
        tied: config.flag("tie_word_embeddings")?.unwrap_or(false),
        positions: Positions::Rotary,
        norm: Norm::RmsOperations,
        qk_norm: kind == "qwen3",
        biases: if kind == "qwen2" { Biases::Qkv } else { Biases::None },
        mlp: Mlp::Gated,
        experts,
        dropout: false,
        attention_dropout: config.chance("attention_dropout")?.unwrap_or(false),
        attention: attention(config, Attention::EagerF32)?,
        repeats_kv: true,
        parallel: false,
        fused_qkv: false,
    })
}

/// The width of a head where it is not given.
fn width(hidden: u32, heads: u32) -> Result<u32, EstimateError> {
    crate::model::divides("hidden", hidden, "heads", heads)?;
    Ok(hidden / heads)
}

fn activation(config: &mut Object, key: &'static str, default: &str) -> Result<Mlp, EstimateError> {
    let name = config.text(key)?.unwrap_or_else(|| default.to_owned());
    match name.as_str() {
        "gelu_new" => Ok(Mlp::GeluOperations),
        "gelu" | "gelu_pytorch_tanh" => Ok(Mlp::Gelu),
        "relu" => Ok(Mlp::Relu),
        _ => Err(config.wrong(
            key,
            &name.into(),
            "gelu, gelu_new, gelu_pytorch_tanh and relu are known",
        )),
    }
}

fn attention(config: &mut Object, eager: Attention) -> Result<Attention, EstimateError> {
    let mut chosen = Attention::Flash;
    for key in ["attn_implementation", "_attn_implementation"] {
        let Some(name) = config.text(key)? else { continue };
        chosen = match name.as_str() {
            "eager" => eager,
            "sdpa" | "flash_attention_2" | "flash_attention_3" => Attention::Flash,
            _ => {
                let remedy = "eager, sdpa, flash_attention_2 and flash_attention_3 are known";
                return Err(config.wrong(key, &name.into(), remedy));
            }
        };
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPT2: &str = r#"{"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12,
        "n_positions": 1024, "vocab_size": 50257, "activation_function": "gelu_new",
        "resid_pdrop": 0.1, "summary_type": "cls_index", "n_inner": null}"#;

    #[test]
    fn a_configuration_is_the_preset_of_the_same_model() {
        let read = Transformer::from_config(GPT2).unwrap();
        assert_eq!(read, presets::find("gpt2").unwrap());
        let mixtral = r#"{"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
            "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
            "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2,
            "attn_implementation": "eager"}"#;
        let read = Transformer::from_config(mixtral).unwrap();
        assert_eq!(read.attention, Attention::EagerF32);
        assert_eq!(read.parameters(), Ok(46_702_792_704));
        let neox = r#"{"model_type": "gpt_neox", "hidden_size": 768, "intermediate_size": 3072,
            "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 50304}"#;
        assert_eq!(Transformer::from_config(neox).unwrap().parameters(), Ok(162_322_944));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_a_remedy() {
        for (from, to, words) in [
            ("\"n_head\": 12,", "", ["n_head is missing", "add it"]),
            ("\"n_head\": 12", "\"n_head\": -12", ["n_head: -12", "whole number"]),
            ("\"n_head\": 12", "\"n_head\": 0", ["n_head: 0", "from 1"]),
            ("\"n_head\": 12", "\"n_head\": 1e99", ["n_head: 1e+99", "whole number"]),
            ("\"n_head\": 12", "\"n_head\": 13", ["768 cannot be divided by heads 13", "multiple"]),
            ("gelu_new", "sine", ["activation_function: \"sine\"", "gelu_new"]),
            ("0.1", "1.1", ["resid_pdrop: 1.1", "from 0 to 1"]),
            ("\"gpt2\"", "\"rwkv\"", ["model_type: \"rwkv\"", "llama"]),
            ("summary_type", "n_loops", ["n_loops", "leave it out"]),
            ("{", "[", ["no JSON object", "line 1"]),
        ] {
            let text = GPT2.replacen(from, to, 1);
            let error = Transformer::from_config(&text).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{to}: '{word}' is not in {error}");
            }
        }
    }
}
