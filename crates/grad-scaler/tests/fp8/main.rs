//! FP8: casts against torch and `ml_dtypes`, scales against Transformer Engine, devices against the
//! host.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::float_cmp, reason = "all numbers here are exact")]
#![allow(clippy::cast_possible_truncation, reason = "codes are bytes, and numbers are made short")]

mod bad_input;
mod casts;
mod device;
mod nearest;
mod scaling;

use std::io::Read;

use flate2::read::GzDecoder;
use freeboard_grad_scaler::fp8::{Direction, Fp8Meta, Fp8Recipe};

/// A recorded file.
fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

fn meta(recipe: Fp8Recipe, direction: Direction, tensors: usize) -> Fp8Meta {
    Fp8Meta::new(recipe, direction, tensors).unwrap()
}

/// Numbers of all magnitudes, and now and then one that is special.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    let special = [0, 0x8000_0000, 1, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffff_ffff];
    let mut number = || match next() >> 24 {
        kind @ 0..7 => f32::from_bits(special[kind as usize]),
        kind => {
            let magnitude = (next() >> 9) | ((100 + (kind >> 3) + (next() >> 29)) << 23);
            f32::from_bits(magnitude | ((next() >> 3) & 0x8000_0000) | (next() & 0x8000_0000))
        }
    };
    (0..count).map(|_| number()).collect()
}
