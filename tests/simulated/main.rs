//! Whole programs on the simulated device, through the facade.

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod steady;
#[cfg(test)]
mod workloads;
