//! The smallest device that a trace survives on.

use freeboard_units::Bytes;
use serde::Serialize;

use crate::run::{Run, RunError, RunOptions, run};
use crate::trace::Trace;

/// The step between capacities that are tried: a page of the device.
const PAGE: Bytes = Bytes::mib(2);

/// The smallest surviving device.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Least {
    /// Its memory, to the page.
    pub min_capacity: Bytes,
    /// The trace's most bytes asked for and live at one time: no device can be smaller.
    pub peak_requested: Bytes,
    /// The first divided by the second; 1.0 is the floor.
    pub ratio: f64,
    /// Times the whole device had to be waited for, on the smallest device.
    pub stalls_there: i64,
    /// Requests tried again after everything cached had been given back, on the smallest device.
    pub retries_there: i64,
    /// Runs it took to find out.
    pub tries: u32,
}

/// Finds the smallest capacity that survives by halving; `options.capacity` is tried first.
///
/// Survival need not be monotone: somewhat more memory can lead the policy into a worse layout.
/// What is found survives, and one page less does not.
///
/// # Errors
/// [`RunError::NeverSurvives`] when the trace does not survive on `options.capacity`, and those of
/// [`run`].
pub fn least(trace: &Trace, options: &RunOptions) -> Result<Least, RunError> {
    let mut tries = 0;
    let mut attempt = |capacity: Bytes| -> Result<Run, RunError> {
        tries += 1;
        run(trace, &RunOptions { capacity, keep_going: false, samples: 0, snapshot: false, ..options.clone() })
    };
    let mut high = options.capacity.align_up(PAGE);
    let mut best = attempt(high)?;
    if !best.survived {
        return Err(RunError::NeverSurvives { tried: high });
    }
    // The run's own peak counts memory that waits for another stream too, which a smaller device
    // would have waited for and had back.
    let peak_requested = trace.peak_requested;
    // A page less than the live peak cannot hold it.
    let mut low = peak_requested.align_down(PAGE).saturating_sub(PAGE);
    // What was reserved at leisure is a good next guess.
    let guess = best.device_peak_used.align_up(PAGE);
    if guess > low && guess < high {
        let there = attempt(guess)?;
        if there.survived {
            (high, best) = (guess, there);
        } else {
            low = guess;
        }
    }
    while high - low > PAGE {
        let middle = low + Bytes::new((high - low).get() / 2).align_down(PAGE).max(PAGE);
        let there = attempt(middle)?;
        if there.survived {
            (high, best) = (middle, there);
        } else {
            low = middle;
        }
    }
    Ok(Least {
        min_capacity: high,
        peak_requested,
        ratio: high.as_f64() / peak_requested.as_f64().max(1.0),
        stalls_there: best.stalls,
        retries_there: best.num_alloc_retries,
        tries,
    })
}
