//! The page of a snapshot in a real browser: headless Chromium, without network.
//!
//! Where there is no Chromium the tests are reported as ignored, with the reason; with
//! `REQUIRE_BROWSER=1` in the environment that is a failure.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chromium;
mod faithful;
mod hands;
mod page;
mod picture;
mod sample;
mod shows;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test's name and what it does.
pub(crate) type Check = (&'static str, fn());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var_os("REQUIRE_BROWSER").is_some_and(|value| value == "1");
    let missing = chromium::installed().err();
    let checks = [shows::CHECKS, hands::CHECKS, faithful::CHECKS].concat();
    let trials = checks.into_iter().map(|(name, check)| {
        let reason = missing.clone();
        let named = reason.as_ref().map_or(name.to_owned(), |reason| format!("{name}: {reason}"));
        Trial::test(named, move || {
            if let Some(reason) = reason {
                return Err(reason.into());
            }
            catch_unwind(AssertUnwindSafe(check)).map_err(|_| "it panicked; see above".into())
        })
        .with_ignored_flag(missing.is_some() && !required)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Lists functions under their own names.
macro_rules! checks {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}
pub(crate) use checks;
