//! [`Checkpoint`]: a function whose intermediate results are computed again instead of kept.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use candle_core::Tensor;
use freeboard_grad_scaler::autocast::Policy;

use crate::error::{Error, Pass};
use crate::form::Form;
use crate::mail::Mail;
use crate::nodes::{Output, Root};
use crate::reach::Argument;
use crate::segment::{Expected, Input, Run, Segment, failed, kind, sample, tie};

/// How a function is checkpointed: its name for errors, and what is checked when it runs again.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use freeboard_candle::Checkpoint;
///
/// let weight = Var::new(&[[2.0_f32, 0.0], [0.0, 3.0]], &Device::Cpu)?;
/// let captured = weight.clone();
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let y = Checkpoint::new("layers.0")
///     .compare_every(16)
///     .run(move |x| x[0].matmul(&captured)?.exp()?.sum_all(), &[&x])?;
/// let plain = x.matmul(&weight)?.exp()?.sum_all()?;
/// let gradient = |loss: &Tensor| loss.backward()?.get(&weight).unwrap().to_vec2::<f32>();
/// assert_eq!(gradient(&y)?, gradient(&plain)?);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it does nothing until it runs a function"]
pub struct Checkpoint {
    name: String,
    every: Option<NonZeroUsize>,
}

impl Checkpoint {
    /// A checkpoint that errors call by this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), every: None }
    }

    /// Keeps every `every`-th value of the outputs, and compares them bit by bit when they are
    /// computed again: 1 compares all, 0 (the default) none. Shapes, types, devices and the
    /// variables that were used are always compared. On a GPU it waits for the device.
    pub const fn compare_every(mut self, every: usize) -> Self {
        self.every = NonZeroUsize::new(every);
        self
    }

    /// Runs `function` on `inputs` and keeps these, its variables and its output only; candle's
    /// backward pass runs it again and gives the inputs and all variables it uses the gradients
    /// they have without a checkpoint. `function` must compute the same again.
    ///
    /// # Errors
    /// What `function` returns; [`Error::Captured`] if it uses a tensor with a graph that is no
    /// input. The backward pass fails if what it computes again is something else
    /// ([`Error::of`] gives its error typed).
    pub fn run<F>(&self, function: F, inputs: &[&Tensor]) -> Result<Tensor, Error>
    where
        F: Fn(&[Tensor]) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    {
        let mut outputs = self.run_many(move |inputs| Ok(vec![function(inputs)?]), inputs)?;
        outputs.pop().ok_or_else(|| self.miscounted())
    }

    /// The same for a function with several outputs. It runs again once for all of them.
    ///
    /// An input that only unused outputs depend on gets a gradient of zeros, rather than none. On a
    /// GPU the backward pass waits for the device.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_many<F>(&self, function: F, inputs: &[&Tensor]) -> Result<Vec<Tensor>, Error>
    where
        F: Fn(&[Tensor]) -> candle_core::Result<Vec<Tensor>> + Send + Sync + 'static,
    {
        let kept = Input::of(inputs);
        let call = |arguments: &[Tensor]| {
            function(arguments).map_err(|source| failed(&self.name, Pass::Forward, source))
        };
        let run = Run::start(&kept, call)?;
        let is_tracked = |tensor: &Tensor| {
            let may_be = tensor.track_op() && tensor.dtype().is_float();
            may_be && !tensor.sorted_nodes().is_empty()
        };
        let tracked: Vec<bool> = run.outputs.iter().map(is_tracked).collect();
        let numbered = run.outputs.iter().enumerate().filter(|&(number, _)| tracked[number]);
        let values = || run.outputs.iter().map(Tensor::detach);
        let Some(tied) = tie(numbered, &Arc::default())? else {
            return Ok(values().collect());
        };
        let arguments = run.reach(&tied, &self.name)?;
        let values: Vec<Tensor> = values().collect();
        // Without its graph, all in between is freed before the outputs are copied.
        drop((tied, run));
        let segment = Segment {
            name: self.name.clone(),
            function: Box::new(function),
            inputs: kept,
            policy: Policy::current(),
            every: self.every,
            outputs: self.expect(&values, &tracked)?,
            arguments,
            received: Arc::default(),
            handed: Arc::default(),
        };
        attach(segment, inputs, values)
    }

    fn expect(&self, values: &[Tensor], tracked: &[bool]) -> Result<Vec<Expected>, Error> {
        let expected = values.iter().zip(tracked).map(|(value, &is_tracked)| {
            let every = self.every.filter(|_| is_tracked);
            let sample = every.map(|every| sample(value, every)).transpose()?.unwrap_or_default();
            Ok(Expected { kind: kind(value), form: Form::of(value), is_tracked, sample })
        });
        expected.collect()
    }

    fn miscounted(&self) -> Error {
        Error::Count { name: self.name.clone(), forward: 1, again: 0 }
    }
}

/// Puts the nodes of a checkpoint into the graph, and returns the outputs.
fn attach(segment: Segment, inputs: &[&Tensor], values: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
    let segment = Arc::new(segment);
    let arguments = segment.arguments.iter().map(|argument| match argument {
        Argument::Variable(variable) => variable,
        Argument::Input(input) => inputs[*input],
    });
    let Some(tied) = tie(arguments.enumerate(), &segment.handed)? else { return Ok(values) };
    let root = tied.apply_op1(Root(Arc::clone(&segment)))?;
    let outputs = values.into_iter().zip(&segment.outputs).enumerate();
    let outputs = outputs.map(|(number, (value, Expected { form, is_tracked, .. }))| {
        if !is_tracked {
            return Ok(value);
        }
        let mail: Arc<Mail> = Arc::clone(&segment.received);
        let root = root.to_device(value.device())?;
        let value = Mutex::new(Some(form.pack(&value)?));
        Ok(form.unpack(&root.apply_op1(Output { mail, number, value })?)?)
    });
    outputs.collect()
}

/// Runs `function` on `inputs` and keeps these, its variables and its output only; the backward pass
/// runs it again. [`Checkpoint::run`] with the name `checkpoint`.
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use freeboard_candle::checkpoint;
///
/// let x = Var::zeros((2, 3), DType::F32, &Device::Cpu)?;
/// let y = checkpoint(|x| (x[0].exp()? * 2.0)?.sin(), &[&x])?;
/// let gradients = y.sum_all()?.backward()?; // computes `exp` again
/// assert!(gradients.get(&x).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`Checkpoint::run`].
pub fn checkpoint<F>(function: F, inputs: &[&Tensor]) -> Result<Tensor, Error>
where
    F: Fn(&[Tensor]) -> candle_core::Result<Tensor> + Send + Sync + 'static,
{
    Checkpoint::new("checkpoint").run(function, inputs)
}
