//! [`select`]: which results of single operations to keep within a layer.

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use super::knapsack::{Item, most_valuable};
use crate::Link;

/// What the user says about one operation's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It stays in memory, whatever the budget.
    MustKeep,
    /// It stays while the budget lasts, before results that nothing was said about.
    PreferKeep,
    /// Nothing is said: it stays where the budget is best spent on it.
    #[default]
    Free,
    /// It is recomputed, and stays only where the budget is left over.
    PreferRecompute,
    /// It is recomputed, whatever room there is.
    MustRecompute,
    /// It goes to the host, whatever that takes.
    MustOffload,
    /// It goes to the host while copies are hidden behind the computation; else as if nothing were said.
    PreferOffload,
}

/// One operation whose result the backward pass needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is called in errors.
    pub name: String,
    /// How long it takes to run again.
    pub time: f64,
    /// The size of its result.
    pub bytes: Bytes,
    /// What the user says about it.
    #[serde(default)]
    pub policy: Policy,
}

/// What becomes of one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It stays in memory.
    Keep,
    /// It is run again before its backward pass.
    Recompute,
    /// It is copied to the host and back.
    Offload,
}

/// What becomes of all, and what that costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// One for each candidate, in their order.
    pub fates: Vec<Fate>,
    /// The bytes of what is kept.
    pub kept_bytes: Bytes,
    /// The bytes of what is on the host.
    pub host_bytes: Bytes,
    /// The time of what is run again, and of copies that are not hidden.
    pub extra_time: f64,
}

/// Why nothing can be selected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// What must be kept does not fit.
    #[error(
        "what must be kept takes {needed}, the budget is {budget}; allow some to be recomputed"
    )]
    MustKeepExceeds {
        /// The bytes of all that must be kept.
        needed: Bytes,
        /// What was given.
        budget: Bytes,
    },
    /// There is no way to the host.
    #[error("`{name}` must be offloaded, and no link to the host is given; measure one")]
    NoLink {
        /// Which operation.
        name: String,
    },
    /// A time is negative, NaN or infinite.
    #[error("`{name}` takes {time}; a time is a finite number from 0 on")]
    Time {
        /// Which operation.
        name: String,
        /// What was given.
        time: f64,
    },
    /// All sizes together are more than can be counted.
    #[error("the sizes together exceed 2^64 bytes; are they in bytes?")]
    TooLarge,
}

/// Chooses what to keep in `budget` bytes so that least time is spent on running operations again.
///
/// What must be is done first. Then the 0-1 knapsack is solved for what is preferred to be kept, then
/// in what room is left for what nothing was said about, then for what is preferred to be recomputed.
/// `window` is the time of computation that copies can hide behind, each way.
///
/// The knapsack is exact by bytes and time; with very many candidates of odd sizes it drops the least
/// promising partial choices (above 20,000 at once) and stays within the budget.
///
/// # Errors
/// [`SelectError`].
///
/// ```
/// use freeboard_checkpoint::{Candidate, Fate, Link, Policy, select};
/// use freeboard_units::Bytes;
///
/// let candidate = |name: &str, time, mib, policy| Candidate {
///     name: name.into(), time, bytes: Bytes::mib(mib), policy,
/// };
/// let block = [
///     candidate("matmul", 9.0, 64, Policy::PreferKeep),
///     candidate("softmax", 1.0, 512, Policy::MustRecompute),
///     candidate("gelu", 0.5, 256, Policy::Free),
///     candidate("norm", 0.4, 64, Policy::Free),
/// ];
/// let selection = select(&block, Bytes::mib(150), 0.0, Link::NONE)?;
/// assert_eq!(selection.fates, [Fate::Keep, Fate::Recompute, Fate::Recompute, Fate::Keep]);
/// assert_eq!(selection.extra_time, 1.5);
/// # Ok::<(), freeboard_checkpoint::SelectError>(())
/// ```
pub fn select(
    candidates: &[Candidate],
    budget: Bytes,
    window: f64,
    link: Link,
) -> Result<Selection, SelectError> {
    check(candidates, link)?;
    let mut fates = vec![Fate::Recompute; candidates.len()];
    let of = |policy| move |candidate: &&Candidate| candidate.policy == policy;
    let needed: Bytes =
        candidates.iter().filter(of(Policy::MustKeep)).map(|candidate| candidate.bytes).sum();
    if needed > budget {
        return Err(SelectError::MustKeepExceeds { needed, budget });
    }
    for (fate, candidate) in fates.iter_mut().zip(candidates) {
        match candidate.policy {
            Policy::MustKeep => *fate = Fate::Keep,
            Policy::MustOffload => *fate = Fate::Offload,
            _ => {}
        }
    }
    let must: Bytes =
        candidates.iter().filter(of(Policy::MustOffload)).map(|candidate| candidate.bytes).sum();
    let mut copying = copy_time(must, link);
    let mut host = must;
    for (fate, candidate) in fates.iter_mut().zip(candidates) {
        let hidden = copying + copy_time(candidate.bytes, link) <= window;
        if candidate.policy == Policy::PreferOffload && link.is_usable() && hidden {
            *fate = Fate::Offload;
            copying += copy_time(candidate.bytes, link);
            host = host.saturating_add(candidate.bytes);
        }
    }
    let mut kept = needed;
    for turn in [
        &[Policy::PreferKeep][..],
        &[Policy::Free, Policy::PreferOffload],
        &[Policy::PreferRecompute],
    ] {
        let open = |(index, candidate): &(usize, &Candidate)| {
            turn.contains(&candidate.policy) && fates[*index] == Fate::Recompute
        };
        let items: Vec<Item> = candidates
            .iter()
            .enumerate()
            .filter(open)
            .map(|(index, candidate)| Item {
                index,
                bytes: candidate.bytes.get(),
                time: candidate.time,
            })
            .collect();
        for index in most_valuable(&items, (budget - kept).get()) {
            fates[index] = Fate::Keep;
            kept += candidates[index].bytes;
        }
    }
    let again = candidates.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Recompute);
    let again: f64 = again.map(|(candidate, _)| candidate.time).sum();
    let extra_time = again + (copying - window).max(0.0);
    Ok(Selection { fates, kept_bytes: kept, host_bytes: host, extra_time })
}

fn check(candidates: &[Candidate], link: Link) -> Result<(), SelectError> {
    let mut total = Bytes::ZERO;
    for candidate in candidates {
        let name = candidate.name.clone();
        if !(candidate.time.is_finite() && candidate.time >= 0.0) {
            return Err(SelectError::Time { name, time: candidate.time });
        }
        if candidate.policy == Policy::MustOffload && !link.is_usable() {
            return Err(SelectError::NoLink { name });
        }
        total = total.checked_add(candidate.bytes).ok_or(SelectError::TooLarge)?;
    }
    Ok(())
}

/// The time of copying out and of copying back, whichever is longer: they go beside each other.
fn copy_time(bytes: Bytes, link: Link) -> f64 {
    if bytes.is_zero() { 0.0 } else { bytes.as_f64() / link.to_host.min(link.to_device) }
}
