//! [`philox`]: random bits as a function of a seed and a counter.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

/// Four words of random bits by Philox4x32-10 (Salmon et al., SC '11): the same for the same seed and
/// counter, everywhere.
#[must_use]
#[inline(always)]
pub fn philox(seed: u64, counter: [u32; 4]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let (mut low, mut high) = halves(seed);
    for _ in 0..10 {
        let (first_low, first_high) = halves(0xd251_1f53 * u64::from(a));
        let (second_low, second_high) = halves(0xcd9e_8d57 * u64::from(c));
        (a, b, c, d) = (second_high ^ b ^ low, second_low, first_high ^ d ^ high, first_low);
        low = low.wrapping_add(0x9e37_79b9);
        high = high.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

#[expect(clippy::cast_possible_truncation, reason = "two halves of a number")]
#[inline(always)]
const fn halves(number: u64) -> (u32, u32) {
    (number as u32, (number >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::philox;

    #[test]
    fn it_gives_the_known_answers() {
        // From `kat_vectors` of Random123, whose authors made the generator.
        assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox(u64::MAX, [u32::MAX; 4]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi =
            philox(0x299f_31d0_a409_3822, [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }
}
