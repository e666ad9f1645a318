//! [`Check`]: one promise of the contract, and how it is held against a device.

use freeboard::device::{Device, DeviceError, Transfer};
use libtest_mimic::Trial;

/// A device that the allocator's tests can share between threads.
pub(crate) trait Full: Transfer + Clone + Send + Sync + 'static {}

impl<D: Transfer + Clone + Send + Sync + 'static> Full for D {}

/// A promise, by name, and what shows that it is kept. It panics otherwise.
pub(crate) struct Check<D> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&D),
}

impl<D> Clone for Check<D> {
    fn clone(&self) -> Self {
        Self { name: self.name, run: self.run }
    }
}

/// Lists functions as checks under their own names.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::check::Check { name: stringify!($name), run: $name::<D> }),*]
    };
}
pub(crate) use checks;

/// One test for each check, each on a device of its own.
pub(crate) fn trials<D: Device + 'static>(
    device: &'static str,
    make: fn() -> D,
    checks: Vec<Check<D>>,
) -> impl Iterator<Item = Trial> {
    checks.into_iter().map(move |Check { name, run }| {
        Trial::test(format!("{device}::{name}"), move || {
            run(&make());
            Ok(())
        })
    })
}

/// The call was refused because the contract forbids it.
#[track_caller]
pub(crate) fn assert_refused<T>(outcome: Result<T, DeviceError>) {
    match outcome {
        Err(DeviceError::InvalidCall { .. }) => {}
        Err(error) => panic!("refused, but not as a wrong call: {error}"),
        Ok(_) => panic!("not refused"),
    }
}
