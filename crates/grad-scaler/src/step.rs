//! Steps and updates: [`GradScaler::step`], [`GradScaler::step_fused`], [`GradScaler::update`].

use std::error::Error;

use freeboard_device::Compute;

use crate::kernels::list::{APPLY_RULE, CHECK, Found, SET_SCALE, UpdateScale};
use crate::optimizer::{FusedOptimizer, Optimizer, OptimizerId, Predicate, Stage};
use crate::outcome::{Bad, FirstBad, Outcome, Skip};
use crate::rule::Change;
use crate::tensor::Tensors;
use crate::{GradScaler, ScalerError};

/// Why a step failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StepError<E: Error + 'static> {
    /// The scaler refused, or a device failed.
    #[error(transparent)]
    Scaler(#[from] ScalerError),
    /// The optimizer failed. Its gradients are unscaled; the step may be tried again.
    #[error("the optimizer failed: {0}")]
    Optimizer(#[source] E),
}

impl<D: Compute + Send + Sync + 'static> GradScaler<D> {
    /// Unscales an optimizer's gradients, unless that was done, and lets it step if all of them are
    /// finite. Waits for the device, once, to know.
    ///
    /// A disabled scaler lets it step.
    ///
    /// # Errors
    /// Before anything was scaled, twice between two updates, without any gradient; for gradients
    /// that cannot be unscaled; when a device or the optimizer fails.
    pub fn step<O: Optimizer>(
        &mut self,
        id: OptimizerId,
        optimizer: &mut O,
    ) -> Result<Outcome<O::Output>, StepError<O::Error>>
    where
        O::Error: Error,
    {
        let number = self.slot(id)?;
        if self.config.enabled {
            self.check_started("step")?;
            self.slots[number].check_step()?;
            if self.slots[number].stage == Stage::Ready {
                let list = self.slots[number].list(optimizer)?;
                self.unscale_tensors(id, list)?;
            }
            if let Some(found) = self.verdict(number)? {
                let list = self.slots[number].list(optimizer)?;
                let skip = self.explain(found, &list);
                self.slots[number].stage = Stage::Stepped;
                return Ok(if self.is_at_floor()? {
                    Outcome::AtFloor(skip)
                } else {
                    Outcome::Skipped(skip)
                });
            }
        }
        let output = optimizer.step().map_err(StepError::Optimizer)?;
        self.slots[number].stage = Stage::Stepped;
        Ok(Outcome::Stepped(output))
    }

    /// Lets a fused optimizer step; its kernels do nothing if a gradient is not finite, and unscale
    /// gradients that are not yet. Nothing is waited for and nothing copied to the host.
    ///
    /// # Errors
    /// As [`step`](Self::step); and when its gradients are on several devices.
    pub fn step_fused<O: FusedOptimizer>(
        &mut self,
        id: OptimizerId,
        optimizer: &mut O,
    ) -> Result<O::Output, StepError<O::Error>>
    where
        O::Error: Error,
    {
        let number = self.slot(id)?;
        if !self.config.enabled {
            return optimizer.step().map_err(StepError::Optimizer);
        }
        self.check_started("step")?;
        self.slots[number].check_step()?;
        let is_unscaled = self.slots[number].stage == Stage::Unscaled;
        if !is_unscaled {
            let list = self.slots[number].list(optimizer)?;
            self.check(&list.list, true)?;
            self.look(number, &list.list, CHECK)?;
        }
        let slot = &self.slots[number];
        let place = match slot.looked[..] {
            [(place, _)] => place,
            [] => return Err(no_checks("step").into()),
            _ => return Err(ScalerError::SeveralDevices { optimizer: slot.name.clone() }.into()),
        };
        let site = &self.sites[place];
        let (Some((_, inverse)), Some(found)) = (site.scale_and_inverse(), site.found(number))
        else {
            return Err(ScalerError::NotStarted { call: "step" }.into());
        };
        let (device, stream) = (site.ground.device, site.ground.stream);
        let inverse_scale = (!is_unscaled).then_some(inverse);
        let predicate = Predicate { device, stream, found, inverse_scale };
        let output = optimizer.step_if(predicate).map_err(StepError::Optimizer)?;
        self.slots[number].stage = Stage::Stepped;
        Ok(output)
    }

    /// What was found in an optimizer's gradients, and by which site; waits for the devices.
    fn verdict(&mut self, number: usize) -> Result<Option<(usize, Found)>, ScalerError> {
        let slot = &mut self.slots[number];
        if slot.looked.is_empty() {
            // As in PyTorch, whose implicit unscale has succeeded by then.
            slot.stage = Stage::Unscaled;
            return Err(no_checks("step"));
        }
        let mut first = None;
        for (place, known) in &mut slot.looked {
            let found = self.sites[*place].finish_read(number)?;
            *known = Some(found.found != 0);
            if found.found != 0 && first.is_none() {
                first = Some((*place, found));
            }
        }
        Ok(first)
    }

    /// Names what a kernel found.
    fn explain(&self, (place, found): (usize, Found), list: &Tensors<'_>) -> Skip {
        let site = &self.sites[place];
        let key = !found.first;
        let (entry, element) = (key >> 34, key >> 2 & u64::from(u32::MAX));
        let what = match key & 3 {
            0 => Bad::Infinite,
            1 => Bad::NotANumber,
            _ => Bad::Overflow,
        };
        let place = site.ground.locate(&list.list, entry, element);
        let first =
            place.map(|(tensor, index)| FirstBad { tensor: tensor.name.to_owned(), index, what });
        Skip { device: site.ground.device, first }
    }

    /// Whether the scale cannot be lowered.
    fn is_at_floor(&mut self) -> Result<bool, ScalerError> {
        let Some(floor) = self.config.floor else { return Ok(false) };
        Ok(self.numbers()?.scale <= floor)
    }

    /// Moves the scale by what was found since the last update, on the devices, and begins the next
    /// iteration. Call it once an iteration, after all steps.
    ///
    /// It tells what it did, unless that is up to the device. Waits only if gradients are on
    /// several devices and some optimizer was unscaled and not stepped.
    ///
    /// # Errors
    /// Before anything was scaled; when no gradient was looked at since the last update; when a
    /// device fails.
    pub fn update(&mut self) -> Result<Option<Change>, ScalerError> {
        if !self.config.enabled {
            return Ok(None);
        }
        self.check_started("update")?;
        if self.slots.iter().all(|slot| slot.looked.is_empty()) {
            return Err(no_checks("update"));
        }
        if self.sites.len() > 1 {
            self.read_all()?;
        }
        let looked = || self.slots.iter().flat_map(|slot| &slot.looked);
        let any = looked().any(|&(_, found)| found == Some(true));
        let is_known = any || looked().all(|(_, found)| found.is_some());
        let mut next = self.known.filter(|_| is_known);
        let change = next.as_mut().map(|state| state.apply(&self.rule, any));
        let elsewhere = u32::from(any && self.sites.len() > 1);
        let rule = bytemuck::cast(self.rule);
        self.update_sites(UpdateScale { mode: APPLY_RULE, elsewhere, rule, ..empty() })?;
        if let (Some(before), Some(after), Some(change)) = (self.known, next, change) {
            self.history.add(&before, &after, change);
        } else if let Some(before) = self.known {
            self.history.leave(before.scale);
        }
        self.known = next;
        Ok(change)
    }

    /// Sets the scale, whatever was found, and begins the next iteration. The growth tracker stays.
    ///
    /// # Errors
    /// When `scale` is not positive and finite; before anything was scaled; when a device fails.
    pub fn update_to(&mut self, scale: f32) -> Result<(), ScalerError> {
        if !self.config.enabled {
            return Ok(());
        }
        self.check_started("update")?;
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(ScalerError::NewScale { scale });
        }
        self.update_sites(UpdateScale { mode: SET_SCALE, new_scale: scale, ..empty() })?;
        if let Some(known) = &mut self.known {
            let before = *known;
            known.set(crate::rule::Numbers { scale, ..before.numbers() });
            self.history.set(&before, known);
        }
        Ok(())
    }

    /// Runs the update on every device. If one fails after another succeeded, the numbers are put
    /// on all of them anew, as they were, when they are next needed.
    fn update_sites(&mut self, update: UpdateScale) -> Result<(), ScalerError> {
        for place in 0..self.sites.len() {
            if let Err(error) = self.sites[place].update(update) {
                if place > 0 {
                    self.sites.iter_mut().for_each(crate::site::Site::forget);
                }
                return Err(error);
            }
        }
        self.slots.iter_mut().for_each(crate::optimizer::Slot::reset);
        Ok(())
    }

    /// Gets to know everything that was found.
    fn read_all(&mut self) -> Result<(), ScalerError> {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            for (place, known) in &mut slot.looked {
                if known.is_none() {
                    let found = self.sites[*place].finish_read(number)?;
                    *known = Some(found.found != 0);
                }
            }
        }
        Ok(())
    }
}

fn no_checks(call: &'static str) -> ScalerError {
    let advice = if call == "step" {
        "the optimizer listed no gradient: run the backward pass first"
    } else {
        "call `step` or `unscale` for some optimizer first"
    };
    ScalerError::NoInfChecks { call, advice }
}

fn empty() -> UpdateScale {
    bytemuck::Zeroable::zeroed()
}
