//! Shapes of published models, by name.

use crate::{Attention, Biases, EstimateError, Experts, Mlp, Norm, Positions, Transformer};

type Family = fn(&str, &[u32]) -> Transformer;

/// Name, family, numbers as the family reads them, and the published number of parameters.
const MODELS: &[(&str, Family, &[u32], u64)] = &[
    ("gpt2", gpt2, &[12, 768, 12], 124_439_808),
    ("gpt2-medium", gpt2, &[24, 1024, 16], 354_823_168),
    ("gpt2-large", gpt2, &[36, 1280, 20], 774_030_080),
    ("gpt2-xl", gpt2, &[48, 1600, 25], 1_557_611_200),
    ("pythia-160m", pythia, &[12, 768, 12, 50_304], 162_322_944),
    ("pythia-1b", pythia, &[16, 2048, 8, 50_304], 1_011_781_632),
    ("pythia-6.9b", pythia, &[32, 4096, 32, 50_432], 6_857_302_016),
    ("pythia-12b", pythia, &[36, 5120, 40, 50_688], 11_846_072_320),
    ("llama-2-7b", llama, &[32, 4096, 32, 32, 128, 11_008, 32_000], 6_738_415_616),
    ("llama-2-13b", llama, &[40, 5120, 40, 40, 128, 13_824, 32_000], 13_015_864_320),
    ("llama-2-70b", llama, &[80, 8192, 64, 8, 128, 28_672, 32_000], 68_976_648_192),
    ("llama-3-8b", llama, &[32, 4096, 32, 8, 128, 14_336, 128_256], 8_030_261_248),
    ("llama-3-70b", llama, &[80, 8192, 64, 8, 128, 28_672, 128_256], 70_553_706_496),
    ("llama-3.2-1b", tied, &[16, 2048, 32, 8, 64, 8192, 128_256], 1_235_814_400),
    ("llama-3.2-3b", tied, &[28, 3072, 24, 8, 128, 8192, 128_256], 3_212_749_824),
    ("mistral-7b", llama, &[32, 4096, 32, 8, 128, 14_336, 32_000], 7_241_732_096),
    ("mixtral-8x7b", mixtral, &[32, 4096, 32, 8, 128, 14_336, 32_000, 8, 2], 46_702_792_704),
    ("mixtral-8x22b", mixtral, &[56, 6144, 48, 8, 128, 16_384, 32_000, 8, 2], 140_620_634_112),
    ("qwen2-1.5b", qwen2_tied, &[28, 1536, 12, 2, 128, 8960, 151_936], 1_543_714_304),
    ("qwen2-7b", qwen2, &[28, 3584, 28, 4, 128, 18_944, 152_064], 7_615_616_512),
    ("qwen3-8b", qwen3, &[36, 4096, 32, 8, 128, 12_288, 151_936], 8_190_735_360),
    ("tinyllama-1.1b", llama, &[22, 2048, 32, 4, 64, 5632, 32_000], 1_100_048_384),
];

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, ..)| *name)
}

/// The model with this name, as Transformers runs it with `scaled_dot_product_attention`; capitals
/// do not matter.
///
/// # Errors
/// [`EstimateError::UnknownModel`] lists those there are.
pub fn find(name: &str) -> Result<Transformer, EstimateError> {
    let found = MODELS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let (name, family, numbers, _) =
        found.ok_or_else(|| EstimateError::UnknownModel { name: name.to_owned() })?;
    Ok(family(name, numbers))
}

/// Layers, hidden, heads.
pub(crate) fn gpt2(name: &str, numbers: &[u32]) -> Transformer {
    let [layers, hidden, heads] = first(numbers);
    Transformer {
        name: name.to_owned(),
        layers,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: hidden / heads,
        intermediate: 4 * hidden,
        vocabulary: 50_257,
        tied: true,
        positions: Positions::Learned(1024),
        norm: Norm::Layer,
        qk_norm: false,
        biases: Biases::All,
        mlp: Mlp::GeluOperations,
        experts: None,
        dropout: true,
        attention_dropout: true,
        attention: Attention::Flash,
        repeats_kv: true,
        parallel: false,
        fused_qkv: true,
    }
}

/// Layers, hidden, heads, vocabulary.
fn pythia(name: &str, numbers: &[u32]) -> Transformer {
    let [layers, hidden, heads, vocabulary] = first(numbers);
    Transformer {
        vocabulary,
        tied: false,
        positions: Positions::Rotary,
        mlp: Mlp::Gelu,
        parallel: true,
        dropout: false,
        attention_dropout: false,
        ..gpt2(name, &[layers, hidden, heads])
    }
}

/// Layers, hidden, heads, heads of keys, width of a head, intermediate, vocabulary.
pub(crate) fn llama(name: &str, numbers: &[u32]) -> Transformer {
    let [layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary] = first(numbers);
    Transformer {
        name: name.to_owned(),
        layers,
        hidden,
        heads,
        kv_heads,
        head_dim,
        intermediate,
        vocabulary,
        tied: false,
        positions: Positions::Rotary,
        norm: Norm::RmsOperations,
        qk_norm: false,
        biases: Biases::None,
        mlp: Mlp::Gated,
        experts: None,
        dropout: false,
        attention_dropout: false,
        attention: Attention::Flash,
        repeats_kv: true,
        parallel: false,
        fused_qkv: false,
    }
}

fn tied(name: &str, numbers: &[u32]) -> Transformer {
    Transformer { tied: true, ..llama(name, numbers) }
}

/// As [`llama`], then experts and how many of them serve a token.
fn mixtral(name: &str, numbers: &[u32]) -> Transformer {
    let experts = Experts { count: numbers[7], active: numbers[8] };
    Transformer { experts: Some(experts), ..llama(name, numbers) }
}

fn qwen2(name: &str, numbers: &[u32]) -> Transformer {
    Transformer { biases: Biases::Qkv, ..llama(name, numbers) }
}

fn qwen2_tied(name: &str, numbers: &[u32]) -> Transformer {
    Transformer { tied: true, ..qwen2(name, numbers) }
}

fn qwen3(name: &str, numbers: &[u32]) -> Transformer {
    Transformer { qk_norm: true, ..llama(name, numbers) }
}

fn first<const N: usize>(numbers: &[u32]) -> [u32; N] {
    std::array::from_fn(|index| numbers[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_published_ones_exactly() {
        for &(name, .., published) in MODELS {
            assert_eq!(find(name).unwrap().parameters(), Ok(published), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        assert!(find("LLAMA-3-8B").is_ok());
        let text = find("llama-9").unwrap_err().to_string();
        assert!(text.contains("'llama-9'") && text.contains("mixtral-8x7b"), "{text}");
    }
}
