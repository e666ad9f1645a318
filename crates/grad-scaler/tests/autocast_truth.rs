//! What PyTorch's autocast did (`data/make_autocast_truth.py`) against our answers, row by row.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the truth has failed")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use flate2::read::GzDecoder;
use freeboard_grad_scaler::autocast::{
    Autocast, AutocastError, Backend, Policy, Rule, Scope, cast_for_on, dtype_for_on, ops, promote,
    rule_of,
};
use freeboard_units::Dtype;
use serde::Deserialize;

#[derive(Deserialize)]
struct Truth {
    torch: String,
    promote: BTreeMap<String, String>,
    scopes: Vec<Vec<(String, String)>>,
    registered: BTreeMap<String, Vec<String>>,
    every: Vec<String>,
    functions: Vec<Vec<String>>,
    messages: Vec<String>,
    casts: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    op: String,
    lower: char,
    rows: Vec<String>,
    #[serde(default)]
    asked_f64: Vec<String>,
}

const BACKENDS: [(&str, Backend); 2] = [("cuda", Backend::Cuda), ("cpu", Backend::Cpu)];
/// Functions that we know and no list has: each runs as one listed op does.
const ALIASES: &[&str] = &["arccos", "arcsin", "linalg_matmul", "linalg_norm"];

fn truth() -> Truth {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/autocast_truth.json.gz");
    serde_json::from_reader(GzDecoder::new(File::open(path).unwrap())).unwrap()
}

fn dtype(letter: char) -> Dtype {
    use Dtype::{BF16, Bool, F8E4M3, F8E5M2, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
    let types = [F64, F32, F16, BF16, F8E4M3, F8E5M2, I64, I32, I16, I8, U64, U32, U16, U8, Bool];
    types["dshbevlitcqwuyo".find(letter).unwrap()]
}

fn dtypes(letters: &str) -> Vec<Dtype> {
    letters.chars().map(dtype).collect()
}

fn backend(name: &str) -> Backend {
    BACKENDS.iter().find(|pair| pair.0 == name).unwrap().1
}

/// Compares one row, such as `hs>ss`, `h>h:s` or `hb!0`.
fn check(backend: Backend, op: &str, row: &str, messages: &[String]) {
    let split = row.find(['>', '!']).unwrap();
    let inputs = dtypes(&row[..split]);
    let answer = cast_for_on(backend, op, &inputs);
    let rest = &row[split + 1..];
    if row.as_bytes()[split] == b'!' {
        let message = &messages[rest.parse::<usize>().unwrap()];
        let is_it = match answer.unwrap_err() {
            AutocastError::Banned { .. } => message.contains("unsafe to autocast"),
            AutocastError::Unexpected { .. } => message.contains("Unexpected floating ScalarType"),
            _ => false,
        };
        assert!(is_it, "{op} {row}: {message}");
        return;
    }
    let casts = answer.unwrap_or_else(|error| panic!("{op} {row}: {error}"));
    let (arrived, output) = rest.split_once(':').unwrap_or((rest, ""));
    let ours: Vec<_> = inputs.iter().map(|&input| casts.input(input)).collect();
    assert_eq!(ours, dtypes(arrived), "{op} {row}");
    assert_eq!(casts.output(), output.chars().next().map(dtype), "{op} {row}");
}

#[test]
fn every_op_casts_its_inputs_as_pytorch_does() {
    let truth = truth();
    assert!(truth.torch.starts_with("2.15."));
    let mut rows = 0;
    for (name, backend) in BACKENDS {
        for entry in &truth.casts[name] {
            let _scope = Scope::new(dtype(entry.lower)).unwrap().on(backend).enter();
            for row in &entry.rows {
                check(backend, &entry.op, row, &truth.messages);
            }
            rows += entry.rows.len();
        }
    }
    assert_eq!(rows, 41_800);
}

#[test]
fn an_output_type_that_the_caller_asks_for_stands_and_inputs_are_cast_all_the_same() {
    let truth = truth();
    let mut rows = 0;
    for (name, backend) in BACKENDS {
        for entry in &truth.casts[name] {
            let _scope = Scope::new(dtype(entry.lower)).unwrap().enter();
            for row in &entry.asked_f64 {
                let row = row.strip_suffix(":d").unwrap();
                let (input, arrived) = row.split_once('>').unwrap();
                let casts = cast_for_on(backend, &entry.op, &dtypes(input)).unwrap();
                assert_eq!([casts.input(dtypes(input)[0])][..], dtypes(arrived), "{}", entry.op);
                rows += 1;
            }
        }
    }
    assert_eq!(rows, 104);
}

#[test]
fn the_lists_hold_what_pytorch_registers_and_nothing_else() {
    let truth = truth();
    for (name, backend) in BACKENDS {
        let registered = &truth.registered[name];
        for op in &truth.every {
            let (base, overload) =
                op.strip_prefix("aten::").unwrap().split_once('.').unwrap_or((&op[6..], ""));
            let is_composed = ["padding", "vec"].contains(&overload);
            if !ALIASES.contains(&base) && !is_composed {
                let full = if overload.is_empty() { format!("{op}.default") } else { op.clone() };
                assert_eq!(rule_of(backend, &full).is_some(), registered.contains(op), "{op}");
            }
        }
        let names: Vec<_> = ops(backend).map(|op| op.0).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        for (op, rule) in ops(backend) {
            assert_eq!(rule_of(backend, op), Some(rule));
            assert!(truth.registered[name].iter().any(|r| r[6..].split('.').next() == Some(op)));
        }
    }
    assert_eq!(truth.every.len(), 3120);
}

/// Functions as users call them, those that autocast does not know among them.
#[test]
fn functions_run_in_the_type_of_what_they_give() {
    let mut rows = 0;
    for function in truth().functions {
        let [on, lower, name, results @ ..] = &function[..] else { panic!("{function:?}") };
        let backend = backend(on);
        let lower = dtype(lower.parse().unwrap());
        let _scope = Scope::new(lower).unwrap().enter();
        for result in results {
            let (inputs, given) = result.split_once('>').unwrap();
            // PyTorch takes doubles together with others in some ops only.
            let is_mixed = inputs.contains('d') && inputs.contains(['s', 'h', 'b']);
            if given == "!" || is_mixed && rule_of(backend, name) == Some(Rule::Lower) {
                continue;
            }
            let ours = dtype_for_on(backend, name, &dtypes(inputs)).unwrap();
            assert_eq!(ours, dtypes(given)[0], "{on} {lower} {name} {result}");
            rows += 1;
        }
    }
    assert_eq!(rows, 1144);
}

#[test]
fn types_are_promoted_as_pytorch_promotes_them() {
    let truth = truth();
    assert_eq!(truth.promote.len(), Dtype::ALL.len().pow(2));
    for (pair, given) in truth.promote {
        let pair = dtypes(&pair);
        assert_eq!(promote(pair[0], pair[1]), given.chars().next().map(dtype), "{pair:?}");
    }
}

fn state() -> String {
    let now = Policy::current();
    let lower = |backend| match now.lower(backend) {
        None => '-',
        Some(Dtype::F16) => 'h',
        Some(_) => 'b',
    };
    let cache = if now.is_cache_enabled() { '+' } else { '-' };
    [lower(Backend::Cuda), lower(Backend::Cpu), cache].into_iter().collect()
}

fn enter(step: &str) -> Autocast {
    let [on, lower, cache]: [&str; 3] = step.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let scope = match lower {
        "-" => Scope::off(),
        letter => Scope::new(dtype(letter.parse().unwrap())).unwrap(),
    };
    let scope = scope.on(backend(on));
    if cache.is_empty() { scope.enter() } else { scope.cache_enabled(cache == "+").enter() }
}

#[test]
fn scopes_of_both_backends_nest_as_pytorchs_do() {
    for program in truth().scopes {
        let mut open = Vec::new();
        for (step, expected) in program {
            if step == "exit" {
                open.pop();
            } else {
                open.push(enter(&step));
            }
            assert_eq!(state(), expected, "{step}");
        }
        assert!(open.is_empty());
    }
}
