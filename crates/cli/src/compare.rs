//! x
use clap::Args;
/// x
#[derive(Args, Debug)]
pub(crate) struct Arguments {}
pub(crate) fn run(_: &Arguments) -> Result<crate::Outcome, crate::failure::Failure> {
    Ok(crate::Outcome::Survived)
}
