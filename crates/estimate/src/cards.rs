//! Cards by name, with the memory that CUDA reports for them.

use freeboard_units::Bytes;

use crate::EstimateError;

/// Name, and hundredths of GiB of total memory: what `cudaMemGetInfo` says with ECC as delivered,
/// and PyTorch repeats in its errors. It is less than the number in the card's name; drivers differ
/// by some tens of MiB.
const CARDS: &[(&str, u64)] = &[
    ("t4", 1456),
    ("l4", 2203),
    ("a10g", 2206),
    ("l40", 4440),
    ("l40s", 4440),
    ("rtx3090", 2368),
    ("rtx4090", 2364),
    ("rtx5090", 3137),
    ("v100-16", 1577),
    ("v100-32", 3174),
    ("a100-40", 3939),
    ("a100-80", 7914),
    ("h100", 7911),
    ("h200", 13_972),
];

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    CARDS.iter().map(|(name, _)| *name)
}

/// The memory of a card, by its name (capitals do not matter) or as a size.
///
/// ```
/// use freeboard_estimate::cards;
/// use freeboard_units::Bytes;
///
/// assert!(cards::find("h100")? < Bytes::gib(80));
/// assert_eq!(cards::find("24GiB")?, Bytes::gib(24));
/// # Ok::<(), freeboard_estimate::EstimateError>(())
/// ```
///
/// # Errors
/// [`EstimateError::UnknownCard`] lists those there are.
pub fn find(name: &str) -> Result<Bytes, EstimateError> {
    if let Some((_, size)) = CARDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok(Bytes::new(Bytes::gib(*size).get() / 100));
    }
    name.parse().map_err(|_| EstimateError::UnknownCard { name: name.to_owned() })
}

/// Whether cuBLAS keeps 32 MiB on it rather than 8,320 KiB.
#[must_use]
pub fn is_hopper_or_later(name: &str) -> bool {
    ["h100", "h200", "rtx5090"].iter().any(|known| known.eq_ignore_ascii_case(name))
}
