//! Modules one after the other, in segments of which each is a checkpoint.

use std::ops::Range;

use candle_core::{Module, Tensor};
use freeboard_checkpoint::{Operation, Plan};

use crate::{Checkpoint, Error};

/// Runs `modules` one after the other in `segments` of equal length, of which each but the last is
/// a checkpoint, as `torch.utils.checkpoint.checkpoint_sequential` does. What is left of an uneven
/// division goes to the last.
///
/// Modules are cloned into the checkpoints: candle's own share their variables when they are, others
/// can be put into an `Arc` behind a closure.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Linear, VarBuilder, VarMap, linear};
/// use freeboard_candle::checkpoint_sequential;
///
/// let variables = VarMap::new();
/// let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let layers: Vec<Linear> =
///     (0..6).map(|i| linear(8, 8, builder.pp(i))).collect::<candle_core::Result<_>>()?;
/// let x = Tensor::ones((4, 8), DType::F32, &Device::Cpu)?;
/// let y = checkpoint_sequential(&layers, 3, &x)?;
/// assert_eq!(y.sum_all()?.backward()?.get_ids().count() > 0, true);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Segments`] for no segment, or more than modules; as [`Checkpoint::run`], with the names
/// `modules 0..2` and so on.
pub fn checkpoint_sequential<M>(
    modules: &[M],
    segments: usize,
    input: &Tensor,
) -> Result<Tensor, Error>
where
    M: Module + Clone + Send + Sync + 'static,
{
    if segments == 0 || segments > modules.len() {
        return Err(Error::Segments { segments, modules: modules.len() });
    }
    let length = modules.len() / segments;
    let last = length * (segments - 1);
    let mut x = input.clone();
    for start in (0..last).step_by(length) {
        x = segment(modules, start..start + length, &x)?;
    }
    Ok(through(&modules[last..], &x)?)
}

/// Runs `modules` one after the other and keeps what `plan` keeps in its forward pass: a module
/// whose graph it saves runs plainly, those from a kept input to the next are one checkpoint.
///
/// How the plan computes things again in its backward pass is not followed: a checkpoint runs again
/// once, as a whole.
///
/// # Errors
/// [`Error::Plan`] for a plan that does not run every module forward, in order, before its first
/// backward operation; as [`Checkpoint::run`].
pub fn checkpoint_plan<M>(modules: &[M], plan: &Plan, input: &Tensor) -> Result<Tensor, Error>
where
    M: Module + Clone + Send + Sync + 'static,
{
    let mut x = input.clone();
    for (range, is_saved) in runs(modules.len(), plan)? {
        x = if is_saved { through(&modules[range], &x)? } else { segment(modules, range, &x)? };
    }
    Ok(x)
}

/// Which modules run together, and whether their graphs are kept.
fn runs(modules: usize, plan: &Plan) -> Result<Vec<(Range<usize>, bool)>, Error> {
    let wrong = |place: String| Error::Plan { modules, place };
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    let mut next = 0;
    for &operation in &plan.operations {
        if matches!(operation, Operation::Backward { .. }) {
            break;
        }
        if !operation.is_forward() {
            continue;
        }
        if operation.layer() != next + 1 {
            return Err(wrong(format!("{operation:?} after {next} layers")));
        }
        next += 1;
        let is_saved = matches!(operation, Operation::ForwardSave { .. });
        match runs.last_mut() {
            Some((run, false)) if matches!(operation, Operation::ForwardDrop { .. }) => {
                run.end = next;
            }
            _ => runs.push((next - 1..next, is_saved)),
        }
    }
    if next != modules {
        return Err(wrong(format!("it runs {next} layers")));
    }
    Ok(runs)
}

fn segment<M>(modules: &[M], range: Range<usize>, x: &Tensor) -> Result<Tensor, Error>
where
    M: Module + Clone + Send + Sync + 'static,
{
    let own = modules[range.clone()].to_vec();
    let name = format!("modules {}..{}", range.start, range.end);
    Checkpoint::new(name).run(move |x| through(&own, &x[0]), &[x])
}

fn through<M: Module>(modules: &[M], x: &Tensor) -> candle_core::Result<Tensor> {
    modules.iter().try_fold(x.clone(), |x, module| module.forward(&x))
}
