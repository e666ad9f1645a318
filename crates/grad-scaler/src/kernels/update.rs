//! `freeboard_update_scale` on the host.

use freeboard_units::Address;

use crate::kernels::list::{Found, SET_SCALE, State, UpdateScale};
use crate::kernels::pointer;
use crate::rule::Numbers;

/// Applies the rule to what was found, and forgets it.
///
/// # Safety
/// The parameter is an [`UpdateScale`]; its state and its records are there, and nobody else uses
/// them meanwhile.
pub(crate) unsafe fn update(parameter: &[u64]) {
    let update: &UpdateScale = &bytemuck::cast_slice(parameter)[0];
    let (state, first) = (Address::new(update.state), Address::new(update.founds));
    let (state, first) = (pointer::<State>(state), pointer::<Found>(first));
    let mut found = update.elsewhere != 0;
    for number in 0..update.count as usize {
        let record = first.wrapping_add(number);
        // SAFETY: the caller's word: there are `count` records, and they are ours for now.
        found |= unsafe { record.read() }.found != 0;
        // SAFETY: as above.
        unsafe { record.write(Found::default()) };
    }
    // SAFETY: the caller's word.
    let mut now = unsafe { state.read() };
    if update.mode == SET_SCALE {
        now.set(Numbers { scale: update.new_scale, ..now.numbers() });
    } else {
        now.apply(&bytemuck::cast(update.rule), found);
    }
    // SAFETY: the caller's word.
    unsafe { state.write(now) };
}

<<<<<<< HEAD
=======
/// Where an address of a host device points to.
#[expect(clippy::cast_possible_truncation, reason = "an address of this process is a usize")]
pub(super) fn pointer<T>(address: u64) -> *mut T {
    ptr::with_exposed_provenance_mut(Address::new(address).get() as usize)
}

>>>>>>> wip-hostkern
#[cfg(test)]
mod tests {
    use bytemuck::{Zeroable, cast, cast_slice};

<<<<<<< HEAD
    use super::*;
    use crate::config::ScalerConfig;
    use crate::kernels::list::APPLY_RULE;
=======
    use super::super::list::APPLY_RULE;
    use super::*;
    use crate::config::ScalerConfig;
>>>>>>> wip-hostkern
    use crate::rule::Rule;

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
        assert!(launch.state.inverse.is_infinite());
        launch.update(&ScalerConfig::default(), SET_SCALE, f32::MAX, 0);
        assert_eq!(launch.state.inverse.to_bits(), 0x0020_0000);
    }
}
