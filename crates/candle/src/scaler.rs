//! [`Scaler`]: the gradient scaler, for candle's losses, gradients and optimizers.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use candle_nn::VarMap;
use freeboard_device_host::HostDevice;
use freeboard_grad_scaler::{
    Change, GradScaler, Optimizer, OptimizerId, Outcome, ScalerConfig, ScalerError, StepError,
    Tensors,
};
use half::{bf16, f16};

use crate::Error;

/// Scales the loss so that small gradients survive in f16, unscales them before the step, skips
/// steps whose gradients are not finite, and finds the scale that is just not too large:
/// [`freeboard_grad_scaler::GradScaler`], and with it `torch.amp.GradScaler`, to the bit.
///
/// Only gradients of the variables that an optimizer was added with are looked at. They are copied
/// to the host (from a GPU as well), checked and unscaled there, and put back.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, SGD};
/// use freeboard_candle::{Scaler, ScalerConfig};
///
/// let weight = Var::new(&[3.0_f32], &Device::Cpu)?;
/// let mut sgd = SGD::new(vec![weight.clone()], 0.1)?;
/// let mut scaler = Scaler::new(ScalerConfig::default())?;
/// let id = scaler.add_optimizer("sgd", vec![("weight".into(), weight.clone())]);
///
/// let loss = weight.sqr()?.sum_all()?;
/// let mut gradients = scaler.scale(&loss)?.backward()?;
/// let outcome = scaler.step(id, &mut sgd, &mut gradients)?;
/// assert!(outcome.skip().is_none());
/// scaler.update()?;
/// assert_eq!(weight.to_vec1::<f32>()?, [2.4]);
///
/// let infinite = (weight.sum_all()? / 0.0)?;
/// let mut gradients = scaler.scale(&infinite)?.backward()?;
/// let outcome = scaler.step(id, &mut sgd, &mut gradients)?;
/// assert_eq!(outcome.skip().unwrap().to_string(), "weight[0] on device 0 is infinite");
/// scaler.update()?;
/// assert_eq!((weight.to_vec1::<f32>()?, scaler.scale_factor()?), (vec![2.4], 32768.0));
/// # Ok::<(), freeboard_candle::Error>(())
/// ```
#[derive(Debug)]
pub struct Scaler {
    inner: GradScaler<HostDevice>,
    /// The variables of each optimizer, in the order in which they were added.
    optimizers: Vec<(OptimizerId, Vec<(String, Var)>)>,
}

impl Scaler {
    /// A scaler with this configuration.
    ///
    /// # Errors
    /// When the configuration makes no sense, or the system gives no memory.
    pub fn new(config: ScalerConfig) -> Result<Self, Error> {
        Ok(Self { inner: GradScaler::on_host(config)?, optimizers: Vec::new() })
    }

    /// Gives an optimizer and its variables a name to this scaler; names are for errors and skips.
    /// [`named_variables`] lists those of a [`VarMap`].
    pub fn add_optimizer(
        &mut self,
        name: impl Into<String>,
        variables: Vec<(String, Var)>,
    ) -> OptimizerId {
        let id = self.inner.add_optimizer(name);
        self.optimizers.push((id, variables));
        id
    }

    /// The loss, multiplied by the scale. A loss in f16 or bf16 is made f32 first.
    ///
    /// # Errors
    /// When candle cannot multiply it.
    pub fn scale(&mut self, loss: &Tensor) -> Result<Tensor, Error> {
        let factor = f64::from(self.inner.start()?);
        match loss.dtype() {
            DType::F16 | DType::BF16 => Ok(loss.to_dtype(DType::F32)?.affine(factor, 0.0)?),
            DType::F32 | DType::F64 => Ok(loss.affine(factor, 0.0)?),
            dtype => Err(Error::Type { what: "the loss".into(), dtype }),
        }
    }

    /// Divides an optimizer's gradients by the scale and notes whether one is not finite, for code
    /// that looks at gradients before the step, as clipping does. [`step`](Self::step) does it
    /// otherwise.
    ///
    /// # Errors
    /// As [`GradScaler::unscale`]; nothing in `gradients` has changed then.
    pub fn unscale(&mut self, id: OptimizerId, gradients: &mut GradStore) -> Result<(), Error> {
        let variables = variables(&self.optimizers, id)?;
        let mut copies = Copies::read(variables, gradients)?;
        self.inner.unscale_tensors(id, copies.list())?;
        copies.write(gradients)
    }

    /// Unscales an optimizer's gradients, unless that was done, and lets it step if all of them are
    /// finite. If not, the outcome names the first that is not, and the optimizer is not called.
    ///
    /// # Errors
    /// As [`GradScaler::step`]; when the optimizer fails. If it does, `gradients` are unscaled.
    pub fn step<O: candle_nn::Optimizer>(
        &mut self,
        id: OptimizerId,
        optimizer: &mut O,
        gradients: &mut GradStore,
    ) -> Result<Outcome<()>, Error> {
        let variables = variables(&self.optimizers, id)?;
        let copies = Copies::read(variables, gradients)?;
        let mut adapter = Adapter { copies, gradients, optimizer };
        let outcome = match self.inner.step(id, &mut adapter) {
            Ok(outcome) => outcome,
            Err(StepError::Scaler(error)) => return Err(error.into()),
            Err(StepError::Optimizer(error)) => return Err(error),
        };
        if outcome.skip().is_some() {
            let Adapter { mut copies, gradients, .. } = adapter;
            copies.write(gradients)?;
        }
        Ok(outcome)
    }

    /// Moves the scale by what was found since the last update. Call it once an iteration, after
    /// all steps.
    ///
    /// # Errors
    /// As [`GradScaler::update`].
    pub fn update(&mut self) -> Result<Option<Change>, Error> {
        Ok(self.inner.update()?)
    }

    /// The scale; 1 if the scaler is disabled.
    ///
    /// # Errors
    /// When the device fails.
    pub fn scale_factor(&mut self) -> Result<f32, Error> {
        Ok(self.inner.scale_factor()?)
    }

    /// The scaler behind it: statistics, history, saving and loading.
    #[must_use]
    pub const fn inner(&mut self) -> &mut GradScaler<HostDevice> {
        &mut self.inner
    }
}

/// The variables of a map with their names, in the order of these.
#[must_use]
pub fn named_variables(variables: &VarMap) -> Vec<(String, Var)> {
    let map = variables.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut named: Vec<_> = map.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    named.sort_by(|left, right| left.0.cmp(&right.0));
    named
}

fn variables(
    optimizers: &[(OptimizerId, Vec<(String, Var)>)],
    id: OptimizerId,
) -> Result<&[(String, Var)], ScalerError> {
    let found = optimizers.iter().find(|(known, _)| *known == id);
    found.map(|(_, variables)| variables.as_slice()).ok_or(ScalerError::UnknownOptimizer)
}

/// Gradients on the host.
struct Copies<'a>(Vec<(&'a str, &'a Var, Numbers)>);

enum Numbers {
    F64(Vec<f64>),
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl<'a> Copies<'a> {
    /// Those that the variables have.
    fn read(variables: &'a [(String, Var)], gradients: &GradStore) -> Result<Self, Error> {
        let mut copies = Vec::with_capacity(variables.len());
        for (name, variable) in variables {
            let Some(gradient) = gradients.get(variable) else { continue };
            let flat = gradient.flatten_all()?;
            let numbers = match flat.dtype() {
                DType::F64 => Numbers::F64(flat.to_vec1()?),
                DType::F32 => Numbers::F32(flat.to_vec1()?),
                DType::F16 => Numbers::F16(flat.to_vec1()?),
                DType::BF16 => Numbers::BF16(flat.to_vec1()?),
                dtype => return Err(Error::Type { what: name.clone(), dtype }),
            };
            copies.push((name.as_str(), variable, numbers));
        }
        Ok(Self(copies))
    }

    fn list(&mut self) -> Tensors<'_> {
        let mut list = Tensors::new();
        self.push_to(&mut list);
        list
    }

    fn push_to<'b>(&'b mut self, list: &mut Tensors<'b>) {
        for (name, _, numbers) in &mut self.0 {
            match numbers {
                Numbers::F64(numbers) => list.push_slice(name, numbers),
                Numbers::F32(numbers) => list.push_slice(name, numbers),
                Numbers::F16(numbers) => list.push_slice(name, numbers),
                Numbers::BF16(numbers) => list.push_slice(name, numbers),
            }
        }
    }

    /// Puts them back, all or none, and is empty then.
    fn write(&mut self, gradients: &mut GradStore) -> Result<(), Error> {
        let made = self.0.drain(..).map(|(_, variable, numbers)| {
            let (shape, device) = (variable.shape(), variable.device());
            let gradient = match numbers {
                Numbers::F64(numbers) => Tensor::from_vec(numbers, shape, device)?,
                Numbers::F32(numbers) => Tensor::from_vec(numbers, shape, device)?,
                Numbers::F16(numbers) => Tensor::from_vec(numbers, shape, device)?,
                Numbers::BF16(numbers) => Tensor::from_vec(numbers, shape, device)?,
            };
            Ok::<_, Error>((variable, gradient))
        });
        for (variable, gradient) in made.collect::<Result<Vec<_>, _>>()? {
            gradients.insert(variable, gradient);
        }
        Ok(())
    }
}

/// An optimizer of candle's, as the scaler sees it.
struct Adapter<'a, O> {
    copies: Copies<'a>,
    gradients: &'a mut GradStore,
    optimizer: &'a mut O,
}

impl<O: candle_nn::Optimizer> Optimizer for Adapter<'_, O> {
    type Output = ();
    type Error = Error;

    fn gradients<'b>(&'b mut self, list: &mut Tensors<'b>) -> Result<(), ScalerError> {
        self.copies.push_to(list);
        Ok(())
    }

    fn step(&mut self) -> Result<(), Error> {
        self.copies.write(self.gradients)?;
        Ok(self.optimizer.step(self.gradients)?)
    }
}
