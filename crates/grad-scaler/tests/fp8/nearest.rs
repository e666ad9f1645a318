//! Rounding by definition: the nearest of all numbers of a type, of two the one with the even code.

/// All finite numbers of a type from zero on, by code.
pub(crate) fn finite(decode: impl Fn(u32) -> f64) -> Vec<f64> {
    (0..1 << 16).map(decode).take_while(|number| number.is_finite()).collect()
}

/// The code of the nearest number; one past the last if that is nearest.
pub(crate) fn nearest(value: f64, numbers: &[f64]) -> usize {
    let magnitude = value.abs();
    let at = |code: usize| {
        let last = numbers.len() - 1;
        numbers.get(code).copied().unwrap_or(2.0 * numbers[last] - numbers[last - 1])
    };
    let above = numbers.partition_point(|&number| number <= magnitude);
    if above == 0 || magnitude >= at(numbers.len()) {
        return above;
    }
    let below = above - 1;
    match (magnitude - at(below)).total_cmp(&(at(above) - magnitude)) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => above,
        std::cmp::Ordering::Equal => below + below % 2,
    }
}
