//! Random programs, run plainly and with checkpoints: the same losses and gradients, to the bit.

#![allow(clippy::unwrap_used, reason = "a test that cannot run candle has failed")]

use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use freeboard_candle::{Checkpoint, Random, dropout};
use proptest::collection::vec;
use proptest::prelude::*;

const WIDTH: usize = 4;
const WORDS: usize = 7;

/// What a layer is, before it has variables.
#[derive(Clone, Debug)]
enum Spec {
    Mlp,
    Residual,
    Norm,
    Attention,
    /// The input is used three times.
    Thrice,
    /// A variable that another layer uses too.
    Shared(usize),
    Dropout(f32),
    /// The output's elements do not lie in order.
    Turned,
    /// An embedding of the words is added.
    Words,
    Group(Vec<(bool, Spec)>),
}

#[derive(Debug)]
enum Layer {
    Mlp(Var, Var),
    Residual(Var),
    Norm(Var, Var),
    Attention(Var, Var, Var),
    Thrice,
    Linear(Var),
    Dropout(f32, Random),
    Turned,
    Words(Var),
    Group(Vec<(bool, Arc<Layer>)>),
}

fn specs(depth: u32) -> BoxedStrategy<Vec<(bool, Spec)>> {
    let leaf = prop_oneof![
        Just(Spec::Mlp),
        Just(Spec::Residual),
        Just(Spec::Norm),
        Just(Spec::Attention),
        Just(Spec::Thrice),
        (0..2_usize).prop_map(Spec::Shared),
        (0.0..0.9_f32).prop_map(Spec::Dropout),
        Just(Spec::Turned),
        Just(Spec::Words),
    ];
    let spec = if depth == 0 {
        leaf.boxed()
    } else {
        prop_oneof![3 => leaf, 2 => specs(depth - 1).prop_map(Spec::Group)].boxed()
    };
    vec((any::<bool>(), spec), 1..4).boxed()
}

struct Builder {
    random: Random,
    made: u64,
    variables: Vec<Var>,
    shared: [(Option<Var>, u32); 2],
}

impl Builder {
    fn variable(&mut self, shape: &[usize]) -> Var {
        self.made += 1;
        let mut numbers = vec![0.0; shape.iter().product()];
        self.random.fork(self.made).fill(&mut numbers);
        let numbers: Vec<f32> = numbers.iter().map(|number| number - 0.5).collect();
        let variable = Var::from_vec(numbers, shape, &Device::Cpu).unwrap();
        self.variables.push(variable.clone());
        variable
    }

    fn square(&mut self) -> Var {
        self.variable(&[WIDTH, WIDTH])
    }

    fn layer(&mut self, spec: &Spec) -> Layer {
        match spec {
            Spec::Mlp => Layer::Mlp(self.variable(&[WIDTH, 8]), self.variable(&[8, WIDTH])),
            Spec::Residual => Layer::Residual(self.square()),
            Spec::Norm => Layer::Norm(self.variable(&[WIDTH]), self.variable(&[WIDTH])),
            Spec::Attention => Layer::Attention(self.square(), self.square(), self.square()),
            Spec::Thrice => Layer::Thrice,
            // More than two uses, some together in a checkpoint, may be added up in another order.
            Spec::Shared(which) if self.shared[*which].1 < 2 => {
                self.shared[*which].1 += 1;
                let known = self.shared[*which].0.clone();
                let variable = known.unwrap_or_else(|| self.square());
                self.shared[*which].0 = Some(variable.clone());
                Layer::Linear(variable)
            }
            Spec::Shared(_) => Layer::Linear(self.square()),
            Spec::Dropout(p) => {
                self.made += 1;
                Layer::Dropout(*p, self.random.fork(self.made))
            }
            Spec::Turned => Layer::Turned,
            Spec::Words => Layer::Words(self.variable(&[WORDS, WIDTH])),
            Spec::Group(specs) => Layer::Group(self.layers(specs)),
        }
    }

    fn layers(&mut self, specs: &[(bool, Spec)]) -> Vec<(bool, Arc<Layer>)> {
        specs.iter().map(|(is_kept, spec)| (*is_kept, Arc::new(self.layer(spec)))).collect()
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, words: &Tensor, checkpoints: bool) -> Result<Tensor> {
        match self {
            Self::Mlp(up, down) => x.broadcast_matmul(up)?.gelu()?.broadcast_matmul(down),
            Self::Residual(weight) => x + x.broadcast_matmul(weight)?.tanh()?,
            Self::Norm(weight, bias) => {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                let normed = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
                normed.broadcast_mul(weight)?.broadcast_add(bias)
            }
            Self::Attention(query, key, value) => {
                let project = |weight: &Var| x.broadcast_matmul(weight);
                let scores = (project(query)?.matmul(&project(key)?.t()?)? * 0.5)?;
                candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&project(value)?)
            }
            Self::Thrice => (x * x)? + x,
            Self::Linear(weight) => x.broadcast_matmul(weight),
            Self::Dropout(p, random) => Ok(dropout(x, *p, *random)?),
            Self::Turned => x.sin()?.transpose(0, 1)?.contiguous()?.transpose(0, 1),
            Self::Words(table) => {
                let (rows, columns) = words.dims2()?;
                let found = table.index_select(&words.flatten_all()?, 0)?;
                x + found.reshape((rows, columns, WIDTH))?
            }
            Self::Group(layers) => run(layers, x, words, checkpoints),
        }
    }
}

fn run(
    layers: &[(bool, Arc<Layer>)],
    x: &Tensor,
    words: &Tensor,
    checkpoints: bool,
) -> Result<Tensor> {
    layers.iter().enumerate().try_fold(x.clone(), |x, (number, (is_kept, layer))| {
        if *is_kept || !checkpoints {
            return layer.forward(&x, words, checkpoints);
        }
        let layer = Arc::clone(layer);
        let checkpoint = Checkpoint::new(format!("layers.{number}")).compare_every(3);
        Ok(checkpoint.run(move |xs| layer.forward(&xs[0], &xs[1], true), &[&x, words])?)
    })
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let flat = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    flat.into_iter().map(f32::to_bits).collect()
}

/// The loss, and twice the gradient of every variable that has one.
fn train(
    layers: &[(bool, Arc<Layer>)],
    x: &Tensor,
    words: &Tensor,
    variables: &[Var],
    checkpoints: bool,
) -> Vec<Option<Vec<u32>>> {
    let y = run(layers, x, words, checkpoints).unwrap();
    let loss = y.sqr().unwrap().mean_all().unwrap();
    let mut all = vec![Some(bits(&loss))];
    for _ in 0..2 {
        let gradients = loss.backward().unwrap();
        all.extend(variables.iter().map(|variable| gradients.get(variable).map(bits)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn gradients_are_those_of_the_plain_run(
        specs in specs(2),
        seed in any::<u64>(),
        is_variable in any::<bool>(),
        words in vec(0..u32::try_from(WORDS).unwrap(), 6),
    ) {
        let random = Random::new(seed);
        let shared = [const { (None, 0) }; 2];
        let mut builder = Builder { random, made: 0, variables: Vec::new(), shared };
        let layers = builder.layers(&specs);
        let x = builder.variable(&[2, 3, WIDTH]);
        let input = if is_variable { x.as_tensor().clone() } else { x.as_detached_tensor() };
        let words = Tensor::from_vec(words, (2, 3), &Device::Cpu).unwrap();
        let train = |checkpoints| {
            train(&layers, &input, &words, &builder.variables, checkpoints)
        };
        prop_assert_eq!(train(true), train(false));
    }
}

#[test]
fn every_float_type_has_the_gradients_of_the_plain_run() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let numbers = Tensor::arange(0.0_f32, 24.0, &Device::Cpu).unwrap();
        let numbers = ((numbers.reshape((4, 6)).unwrap() * 0.1).unwrap() - 1.0).unwrap();
        let x = Var::from_tensor(&numbers.to_dtype(dtype).unwrap()).unwrap();
        let random = Random::new(5);
        let plain = move |x: &Tensor| dropout(&x.tanh()?, 0.3, random)?.exp()?.sum_all();
        let gradient = |loss: Tensor| {
            let gradient = loss.backward().unwrap().remove(&x).unwrap();
            assert_eq!(gradient.dtype(), dtype);
            gradient.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap()
        };
        let expected = gradient(plain(&x).unwrap());
        let checkpointed = freeboard_candle::checkpoint(move |x| plain(&x[0]), &[&x]).unwrap();
        assert_eq!(gradient(checkpointed), expected);
    }
}
