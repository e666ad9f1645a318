//! `freeboard_update_scale` on the host: [`Rule::next`], counted.

use std::{ptr, slice};

use bytemuck::{Zeroable, cast, cast_slice};

use super::list::{Found, SET_SCALE, State, UpdateScale};
use crate::rule::{Change, Numbers, Rule};

/// The host's `freeboard_update_scale`.
///
/// # Safety
/// As for [`Compute::launch`](freeboard_device::Compute::launch): the parameter is an
/// [`UpdateScale`], and what it points to is there, aligned, and the caller's alone.
pub(crate) unsafe fn update(parameter: &[u64]) {
    let update: &UpdateScale = bytemuck::from_bytes(cast_slice(parameter));
    let founds: &mut [Found] = if update.count == 0 {
        &mut []
    } else {
        let start = ptr::with_exposed_provenance_mut(update.founds as usize);
        // SAFETY: the caller promises so many there, and that they are its own.
        unsafe { slice::from_raw_parts_mut(start, update.count as usize) }
    };
    let state = ptr::with_exposed_provenance_mut::<State>(update.state as usize);
    // SAFETY: the caller promises a state there, and that it is its own.
    let state = unsafe { &mut *state };
    let found = update.elsewhere != 0 || founds.iter().any(|found| found.found != 0);
    founds.fill(Found::zeroed());
    if update.mode == SET_SCALE {
        state.scale = update.new_scale;
    } else {
        apply(cast(update.rule), state, found);
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
    let inverse = (1.0 / f64::from(state.scale)) as f32;
    state.inverse = inverse;
}

fn apply(rule: Rule, state: &mut State, found: bool) {
    let State { scale, growth_tracker, hysteresis, .. } = *state;
    let (next, change) = rule.next(Numbers { scale, growth_tracker, hysteresis }, found);
    (state.scale, state.growth_tracker, state.hysteresis) =
        (next.scale, next.growth_tracker, next.hysteresis);
    state.updates += 1;
    state.skipped += u64::from(found);
    state.grew += u64::from(change == Change::Grew);
    state.backed_off += u64::from(change == Change::BackedOff);
    state.at_floor += u64::from(change == Change::AtFloor);
}

#[cfg(test)]
mod tests {
    use super::super::list::APPLY_RULE;
    use super::*;
    use crate::config::ScalerConfig;

    const FINDING: Found = Found { found: 0x3f80_0000, reserved: 0, first: u64::MAX };

    struct Launch {
        state: State,
        founds: Vec<Found>,
    }

    impl Launch {
        fn update(&mut self, config: &ScalerConfig, mode: u32, new_scale: f32, elsewhere: u32) {
            let parameter = UpdateScale {
                state: (&raw mut self.state).expose_provenance() as u64,
                founds: self.founds.as_mut_ptr().expose_provenance() as u64,
                count: u32::try_from(self.founds.len()).unwrap_or_default(),
                mode,
                new_scale,
                elsewhere,
                rule: cast(Rule::new(config).expect("it is valid")),
            };
            // SAFETY: this is such a parameter, and all that it points to is this launch's.
            unsafe { update(cast_slice(bytemuck::bytes_of(&parameter))) }
            assert!(self.founds.iter().all(|&found| found == Found::default()));
        }
    }

    fn launch(founds: &[Found]) -> Launch {
        let state = State { scale: 8.0, inverse: 0.125, hysteresis: 1, ..State::zeroed() };
        Launch { state, founds: founds.to_vec() }
    }

    #[test]
    fn every_change_is_counted_as_what_it_was() {
        let config = ScalerConfig {
            initial_scale: 8.0,
            growth_interval: 2,
            floor: Some(4.0),
            ..ScalerConfig::default()
        };
        let mut launch = launch(&[Found::default(), FINDING]);
        launch.update(&config, APPLY_RULE, 0.0, 0); // backs off to the floor
        assert_eq!((launch.state.scale, launch.state.inverse), (4.0, 0.25));
        launch.update(&config, APPLY_RULE, 0.0, 1); // found elsewhere, and at the floor
        launch.update(&config, APPLY_RULE, 0.0, 0);
        launch.update(&config, APPLY_RULE, 0.0, 0); // grows
        let counted = State {
            scale: 8.0,
            inverse: 0.125,
            updates: 4,
            skipped: 2,
            grew: 1,
            backed_off: 1,
            at_floor: 1,
            hysteresis: 1,
            ..State::zeroed()
        };
        assert_eq!(launch.state, counted);
    }

    #[test]
    fn a_scale_that_is_set_leaves_tracker_and_counts() {
        let mut launch = launch(&[FINDING]);
        launch.state.growth_tracker = 5;
        let before = launch.state;
        launch.update(&ScalerConfig::default(), SET_SCALE, 3.0, 0);
        assert_eq!(launch.state, State { scale: 3.0, inverse: 1.0 / 3.0, ..before });
    }

    #[test]
    fn the_inverse_is_made_in_f64_and_rounded_once() {
        let mut launch = launch(&[]);
        launch.update(&ScalerConfig::default(), SET_SCALE, 2.0_f32.powi(-149), 0);
        assert_eq!(launch.state.inverse, f32::INFINITY);
        launch.update(&ScalerConfig::default(), SET_SCALE, f32::MAX, 0);
        assert_eq!(launch.state.inverse.to_bits(), 0x0020_0000);
    }
}
