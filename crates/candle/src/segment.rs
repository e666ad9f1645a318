//! [`Segment`]: the part of a program that a checkpoint computes again.

use std::any::Any;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use candle_core::{DType, Tensor, TensorId};
use freeboard_grad_scaler::autocast::Policy;

use crate::error::{Error, Kind, Pass};
use crate::form::Form;
use crate::mail::{Deeper, Mail};
use crate::nodes::{Hand, token};
use crate::reach::{Argument, Mark, reach};

pub(crate) type Function = dyn Fn(&[Tensor]) -> candle_core::Result<Vec<Tensor>> + Send + Sync;

/// What a function is given, without the graph that leads to it.
#[derive(Debug)]
pub(crate) enum Input {
    /// As it is: a variable, or nothing that gradients flow to.
    Plain(Tensor),
    /// A copy, as a variable.
    Leaf(Tensor, Form),
    /// The same as this earlier one.
    Same(usize),
}

/// What an output was in the forward pass.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    /// Whether it depends on arguments.
    pub(crate) is_tracked: bool,
    /// Some of its values.
    pub(crate) sample: Vec<f64>,
}

/// What is kept of a checkpoint: what it takes to compute it again.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) function: Box<Function>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) policy: Policy,
    pub(crate) every: Option<NonZeroUsize>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) outputs: Vec<Expected>,
    /// Gradients of outputs.
    pub(crate) received: Arc<Mail>,
    /// Gradients of arguments.
    pub(crate) handed: Arc<Mail>,
}

/// A function that has run, with its graph.
pub(crate) struct Run {
    pub(crate) outputs: Vec<Tensor>,
    /// The variable in place of each input that has one.
    pub(crate) leaves: Vec<Option<Tensor>>,
    mark: Mark,
}

impl Input {
    pub(crate) fn of(tensors: &[&Tensor]) -> Vec<Self> {
        let mut inputs = Vec::with_capacity(tensors.len());
        for (number, tensor) in tensors.iter().enumerate() {
            let same = tensors[..number].iter().position(|earlier| earlier.id() == tensor.id());
            inputs.push(match same {
                Some(earlier) => Self::Same(earlier),
                None if tensor.is_variable() => Self::Plain((*tensor).clone()),
                None if tensor.track_op() && tensor.dtype().is_float() => {
                    Self::Leaf(tensor.detach(), Form::of(tensor))
                }
                None => Self::Plain(tensor.detach()),
            });
        }
        inputs
    }
}

impl Run {
    /// Runs `call` on the inputs.
    pub(crate) fn start(
        inputs: &[Input],
        call: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, Error>,
    ) -> Result<Self, Error> {
        let mark = Mark::now()?;
        let mut arguments: Vec<Tensor> = Vec::with_capacity(inputs.len());
        let mut leaves = Vec::with_capacity(inputs.len());
        for input in inputs {
            let (argument, leaf) = match input {
                Input::Plain(tensor) => (tensor.clone(), None),
                Input::Same(earlier) => (arguments[*earlier].clone(), None),
                Input::Leaf(tensor, form) => {
                    let leaf = candle_core::Var::from_tensor(&form.pack(tensor)?)?.into_inner();
                    (form.unpack(&leaf)?, Some(leaf))
                }
            };
            arguments.push(argument);
            leaves.push(leaf);
        }
        Ok(Self { outputs: call(&arguments)?, leaves, mark })
    }

    /// What these outputs depend on; `tied` depends on them.
    pub(crate) fn reach(&self, tied: &Tensor, name: &str) -> Result<Vec<Argument>, Error> {
        let ids: Vec<Option<TensorId>> =
            self.leaves.iter().map(|leaf| leaf.as_ref().map(Tensor::id)).collect();
        reach(tied, &ids, &self.mark).map_err(|(shape, dtype)| {
            let name = name.to_owned();
            Error::Captured { name, shape, dtype }
        })
    }
}

/// One element that depends on all of these, and in the backward pass hands gradients to them.
pub(crate) fn tie<'a>(
    tensors: impl Iterator<Item = (usize, &'a Tensor)>,
    mail: &Arc<Mail>,
) -> candle_core::Result<Option<Tensor>> {
    let mut tied: Option<Tensor> = None;
    for (number, tensor) in tensors {
        let before = match tied {
            Some(tied) => tied.to_device(tensor.device())?,
            None => token(tensor.device())?,
        };
        tied = Some(tensor.apply_op2(&before, Hand { mail: Arc::clone(mail), number })?);
    }
    Ok(tied)
}

impl Segment {
    /// Computes the gradients of the arguments from those that the outputs have received.
    pub(crate) fn backward(&self, token: &Tensor) -> candle_core::Result<()> {
        let all = 0..self.outputs.len();
        let seeds: Vec<(usize, Tensor)> =
            all.filter_map(|number| Some((number, self.received.take(number)?))).collect();
        if self.outputs.len() > 1 {
            // Every output that was reached has added 1.
            let reached = token.to_dtype(DType::I64)?.to_vec1::<i64>()?;
            if reached.iter().map(|&count| usize::try_from(count)).any(|it| it != Ok(seeds.len())) {
                return Err(Error::Unfinished { name: self.name.clone() }.into());
            }
        }
        let gradients = {
            let _deeper = Deeper::enter();
            self.again(seeds)?
        };
        // What a pass that failed has left.
        (0..self.arguments.len()).for_each(|number| drop(self.handed.take(number)));
        for (number, gradient) in gradients {
            self.handed.put(number, gradient);
        }
        Ok(())
    }

    /// Runs the function again and differentiates it.
    fn again(&self, seeds: Vec<(usize, Tensor)>) -> Result<Vec<(usize, Tensor)>, Error> {
        let run = Run::start(&self.inputs, |arguments| self.call(arguments))?;
        self.compare(&run.outputs)?;
        let mail = Arc::new(Mail::default());
        let outputs = seeds.iter().map(|&(number, _)| (number, &run.outputs[number]));
        let Some(tied) = tie(outputs, &mail)? else { return Ok(Vec::new()) };
        let reached = run.reach(&tied, &self.name)?;
        if reached != self.arguments && !self.is_part(&reached, seeds.len()) {
            return Err(Error::Parameters { name: self.name.clone() });
        }
        for (number, seed) in seeds {
            mail.put(number, self.outputs[number].form.unpack(&seed)?);
        }
        let leaves = run.leaves;
        drop(run.outputs);
        let mut store = tied.backward().map_err(|source| {
            let name = self.name.clone();
            Error::Backward { name, source: Box::new(source) }
        })?;
        let mut gradients = Vec::with_capacity(self.arguments.len());
        for (number, argument) in self.arguments.iter().enumerate() {
            let gradient = match argument {
                Argument::Variable(variable) => store.remove(variable),
                Argument::Input(input) => {
                    leaves[*input].as_ref().and_then(|leaf| store.remove(leaf))
                }
            };
            // candle's gradients have a graph, which would keep this one.
            let Some(mut gradient) = gradient.map(|gradient| gradient.detach()) else { continue };
            if let Argument::Input(input) = argument
                && let Input::Leaf(_, form) = &self.inputs[*input]
            {
                gradient = form.unpack(&gradient)?;
            }
            gradients.push((number, gradient));
        }
        Ok(gradients)
    }

    /// Calls the function as it was called. A panic becomes an error: candle's backward pass gives
    /// no hint where it came from.
    fn call(&self, arguments: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let call = || self.policy.run(|| (self.function)(arguments));
        match panic::catch_unwind(AssertUnwindSafe(call)) {
            Ok(outputs) => outputs.map_err(|source| failed(&self.name, Pass::Again, source)),
            Err(panic) => {
                let name = self.name.clone();
                Err(Error::Panicked { name, message: message(panic.as_ref()) })
            }
        }
    }

    fn compare(&self, outputs: &[Tensor]) -> Result<(), Error> {
        let name = || self.name.clone();
        let (forward, again) = (self.outputs.len(), outputs.len());
        if forward != again {
            return Err(Error::Count { name: name(), forward, again });
        }
        for (output, (expected, tensor)) in self.outputs.iter().zip(outputs).enumerate() {
            let again = kind(tensor);
            if expected.kind != again {
                let (forward, again) = (Box::new(expected.kind.clone()), Box::new(again));
                return Err(Error::Kind { name: name(), output, forward, again });
            }
            let Some(every) = self.every.filter(|_| expected.is_tracked) else { continue };
            let values = sample(tensor, every)?;
            let differs =
                |(a, b): (&f64, &f64)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
            if let Some(place) = expected.sample.iter().zip(&values).position(differs) {
                let (forward, again) = (expected.sample[place], values[place]);
                let index = place * every.get();
                return Err(Error::Value { name: name(), output, index, forward, again });
            }
        }
        Ok(())
    }

    /// Whether this is what some of several outputs depend on.
    fn is_part(&self, reached: &[Argument], seeds: usize) -> bool {
        let tracked = self.outputs.iter().filter(|output| output.is_tracked).count();
        let known: HashSet<_> = self.arguments.iter().map(Argument::key).collect();
        seeds < tracked && reached.iter().all(|argument| known.contains(&argument.key()))
    }
}

pub(crate) fn failed(name: &str, pass: Pass, source: candle_core::Error) -> Error {
    Error::Function { name: name.to_owned(), pass, source: Box::new(source) }
}

pub(crate) fn kind(tensor: &Tensor) -> Kind {
    let (shape, device) = (tensor.shape().clone(), tensor.device().location());
    Kind { shape, dtype: tensor.dtype(), device }
}

/// Every so-maniest value; f64 holds those of all smaller types.
pub(crate) fn sample(tensor: &Tensor, every: NonZeroUsize) -> candle_core::Result<Vec<f64>> {
    if tensor.elem_count() == 0 {
        return Ok(Vec::new());
    }
    let flat = tensor.detach().flatten_all()?;
    let places: Vec<i64> =
        (0..flat.elem_count()).step_by(every.get()).filter_map(|it| it.try_into().ok()).collect();
    let places = Tensor::new(places, tensor.device())?;
    flat.index_select(&places, 0)?.to_dtype(DType::F64)?.to_vec1()
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
