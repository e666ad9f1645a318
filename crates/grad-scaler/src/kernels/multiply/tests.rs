//! The sweep against plain scalar code, at every level and with threads.

use half::{bf16, f16};
use proptest::collection::vec;
use proptest::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::*;

/// Tensors of one list, each in memory that begins so many elements behind a line of cache.
#[derive(Clone, Debug)]
struct Tensor {
    kind: Kind,
    skip: usize,
    bits: Vec<u64>,
}

impl Tensor {
    /// Its bytes, behind so many that are not its own.
    fn bytes(&self) -> Vec<u8> {
        let size = self.kind.bytes();
        let mut bytes = vec![0xa5; self.skip * size];
        bytes.extend(self.bits.iter().flat_map(|bits| bits.to_le_bytes()[..size].to_vec()));
        bytes.extend([0xa5; 64]);
        bytes
    }

    fn read(&self, bytes: &[u8]) -> Vec<u64> {
        let size = self.kind.bytes();
        let (before, rest) = bytes.split_at(self.skip * size);
        let (own, behind) = rest.split_at(self.bits.len() * size);
        assert!(before.iter().chain(behind).all(|&byte| byte == 0xa5), "written outside");
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..size].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        own.chunks_exact(size).map(word).collect()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "bits of a kind fit into what it has")]
fn value(kind: Kind, bits: u64) -> f64 {
    match kind {
        Kind::F32 => f32::from_bits(bits as u32).into(),
        Kind::F16 => f16::from_bits(bits as u16).into(),
        Kind::BF16 => bf16::from_bits(bits as u16).into(),
        Kind::F64 => f64::from_bits(bits),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "bits of a kind fit into what it has")]
fn product(kind: Kind, bits: u64, factor: f32) -> u64 {
    match kind {
        Kind::F32 => (f32::from_bits(bits as u32) * factor).to_bits().into(),
        Kind::F16 => f16::from_f32(f16::from_bits(bits as u16).to_f32() * factor).to_bits().into(),
        Kind::BF16 => {
            bf16::from_f32(bf16::from_bits(bits as u16).to_f32() * factor).to_bits().into()
        }
        Kind::F64 => (f64::from_bits(bits) * f64::from(factor)).to_bits(),
    }
}

/// What becomes of the tensors, and the first finding, number by number.
fn expected(tensors: &[Tensor], factor: f32, flags: u32) -> (Vec<Vec<u64>>, Option<Finding>) {
    let mut first = None;
    let mut results = Vec::new();
    for (piece, tensor) in tensors.iter().enumerate() {
        let mut result = tensor.bits.clone();
        for (element, bits) in result.iter_mut().enumerate() {
            let number = value(tensor.kind, *bits);
            if flags & MULTIPLY != 0 && factor.to_bits() != 1.0_f32.to_bits() {
                *bits = product(tensor.kind, *bits, factor);
            }
            let bad = if number.is_nan() {
                Some(Bad::NotANumber)
            } else if number.is_infinite() {
                Some(Bad::Infinite)
            } else if flags & CHECK_AFTER != 0 && !value(tensor.kind, *bits).is_finite() {
                Some(Bad::Overflow)
            } else {
                None
            };
            if let (Some(bad), None, true) = (bad, first, flags & CHECK != 0) {
                first = Some(Finding { piece, element, bad });
            }
        }
        results.push(result);
    }
    (results, first)
}

/// Equal bits; a NaN is as good as another, unless it must not be touched.
fn assert_equal(kind: Kind, (got, wanted): (&[u64], &[u64]), untouched: bool) {
    assert_eq!(got.len(), wanted.len());
    for (at, (&got, &wanted)) in got.iter().zip(wanted).enumerate() {
        let both_nan = value(kind, got).is_nan() && value(kind, wanted).is_nan();
        assert!(got == wanted || both_nan && !untouched, "{kind:?} {at}: {got:x}, not {wanted:x}");
    }
}

/// Pieces that lie in memory of the test's own.
struct Pieces(Vec<Piece>);

// SAFETY: each piece lies in a vector of its own, which the test holds and leaves alone meanwhile.
unsafe impl List for Pieces {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn piece(&self, number: usize) -> Piece {
        self.0[number]
    }
}

// SAFETY: as for the list.
unsafe impl Sync for Pieces {}

fn check(
    tensors: &[Tensor],
    factor: f32,
    flags: u32,
    mut act: impl FnMut(&Pieces, Task) -> Option<Finding>,
) {
    // Whole words, so that what is to be aligned is.
    let mut memory: Vec<Vec<u64>> = tensors
        .iter()
        .map(|tensor| {
            let mut bytes = tensor.bytes();
            bytes.resize(bytes.len().next_multiple_of(8), 0xa5);
            bytemuck::pod_collect_to_vec(&bytes)
        })
        .collect();
    let pieces = tensors.iter().zip(&mut memory).map(|(tensor, memory)| Piece {
        start: memory.as_mut_ptr().cast::<u8>().wrapping_add(tensor.skip * tensor.kind.bytes()),
        len: tensor.bits.len(),
        kind: tensor.kind,
    });
    let flag = |flag| flags & flag != 0;
    let task = Task::new(factor, flag(MULTIPLY), flag(CHECK), flag(CHECK_AFTER));
    let got = act(&Pieces(pieces.collect()), task);
    let (wanted, first) = expected(tensors, factor, flags);
    assert_eq!(got, first);
    let untouched = flags & MULTIPLY == 0 || factor.to_bits() == 1.0_f32.to_bits();
    for ((tensor, memory), wanted) in tensors.iter().zip(&memory).zip(&wanted) {
        assert_equal(tensor.kind, (&tensor.read(cast_slice(memory)), wanted), untouched);
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::F32, Kind::F16, Kind::BF16, Kind::F64])
}

/// Bits of a number: mostly an ordinary one, sometimes any, an edge, an infinity or a NaN.
fn bits(kind: Kind, bad: u32) -> impl Strategy<Value = u64> {
    let [exponent, fraction] = match kind {
        Kind::F32 => [8, 23],
        Kind::F16 => [5, 10],
        Kind::BF16 => [8, 7],
        Kind::F64 => [11, 52],
    };
    let (ones, sign) = (((1_u64 << exponent) - 1) << fraction, 1_u64 << (exponent + fraction));
    let middle = (1_u64 << (exponent - 1)) - 1;
    let edges = vec![0, 1, (1 << fraction) - 1, 1 << fraction, ones - 1];
    prop_oneof![
        2000 => (middle - 3..middle + 3, 0..1_u64 << fraction).prop_map(move |(e, f)| e << fraction | f),
        20 => prop::sample::select(edges),
        20 => 0..1_u64 << fraction,
        bad => Just(ones),
        bad => (1..1_u64 << fraction).prop_map(move |payload| ones | payload),
        bad => 0..ones,
    ]
    .prop_flat_map(move |bits| any::<bool>().prop_map(move |minus| bits | if minus { sign } else { 0 }))
}

fn tensor(lengths: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = Tensor> {
    (kind(), 0..32_usize, lengths, 0..4_u32).prop_flat_map(|(kind, skip, len, bad)| {
        vec(bits(kind, bad), len).prop_map(move |bits| Tensor { kind, skip, bits })
    })
}

fn factor() -> impl Strategy<Value = f32> {
    let named =
        [1.0, 1.0 / 65536.0, 2.0, 0.0, -0.0, 1e-45, 1e30, f32::INFINITY, f32::NAN, f32::MAX];
    prop_oneof![prop::sample::select(named.to_vec()), -4.0_f32..4.0, any::<f32>()]
}

fn flags() -> impl Strategy<Value = u32> {
    let all = [CHECK, MULTIPLY, CHECK | MULTIPLY, CHECK | CHECK_AFTER | MULTIPLY];
    prop::sample::select(all.to_vec())
}

fn pool() -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(3).build().expect("threads can be started")
}

proptest! {
    #[test]
    fn every_level_does_what_plain_code_does(
        tensors in vec(tensor(prop_oneof![0..200_usize, 120..140_usize, 250..270_usize]), 0..5),
        factor in factor(),
        flags in flags(),
    ) {
        for run in level::all() {
            check(&tensors, factor, flags, |list, task| share::alone(list, task, run));
        }
    }

    #[test]
    fn a_launch_does_what_plain_code_does_and_keeps_the_first_key(
        tensors in vec(tensor(1..300_usize), 0..8),
        factor in factor(),
        flags in flags(),
        first in 0..1_u32 << 20,
        before in prop::option::of(0..1_u64 << 58),
    ) {
        check(&tensors, factor, flags, |list, _| {
            let mut found = Found { found: 0, reserved: 0, first: before.map_or(0, |key| !key) };
            let mut entries = [Entry { start: 0, len: 0, first_block: 0 }; super::super::list::ENTRIES];
            for (entry, piece) in entries.iter_mut().zip(&list.0) {
                entry.start = piece.start.expose_provenance() as u64 | (piece.kind as u64) << 62;
                entry.len = u32::try_from(piece.len).expect("tests are small");
            }
            let parameter = MultiplyList {
                factor: (&raw const factor).expose_provenance() as u64,
                found: (&raw mut found).expose_provenance() as u64,
                count: u32::try_from(list.count()).expect("tests are small"),
                first,
                flags,
                reserved: 0,
                entries,
            };
            // SAFETY: this is such a parameter, and all that it points to is this test's.
            unsafe { multiply(cast_slice(bytemuck::bytes_of(&parameter))) }
            let key = !found.first;
            if found.found == 0 {
                assert_eq!(found.first, before.map_or(0, |key| !key));
                return None;
            }
            assert_eq!(found.found, 1.0_f32.to_bits());
            // The test's own finding, if an earlier launch had none before it.
            let (_, own) = expected(&tensors, factor, flags);
            let own_key = own.map(|own| {
                (u64::from(first) + own.piece as u64) << 34 | (own.element as u64) << 2 | own.bad as u64
            });
            assert_eq!(Some(key), own_key.min(before.or(own_key)).or(own_key));
            own
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn threads_do_what_one_does(
        tensors in vec((tensor(1..1000_usize), 1..200_usize), 1..6),
        factor in factor(),
        flags in flags(),
    ) {
        let pool = pool();
        let tensors: Vec<Tensor> = tensors
            .into_iter()
            .map(|(tensor, times)| {
                // Long tensors of short ones, the last as it was and the others harmless.
                let calm: Vec<u64> =
                    tensor.bits.iter().map(|&bits| if value(tensor.kind, bits).abs() < 16.0 { bits } else { 0 }).collect();
                let mut bits = calm.repeat(times);
                bits.extend(&tensor.bits);
                bits.extend(calm.repeat(times / 7));
                Tensor { bits, ..tensor }
            })
            .collect();
        check(&tensors, factor, flags, |list, task| {
            pool.install(|| share::run(list, task, level::fastest(), 3))
        });
    }
}

#[test]
fn all_numbers_of_16_bits_are_rounded_as_half_rounds_them() {
    let factors = [
        1.0 / 65536.0,
        1.0 / 3.0,
        0.999_999_94,
        1.000_000_1,
        3.0,
        2.0_f32.powi(-14),
        65536.0,
        -1e-7,
        1e-45,
        0.0,
        f32::INFINITY,
        f32::NAN,
    ];
    for kind in [Kind::F16, Kind::BF16] {
        let all = Tensor { kind, skip: 0, bits: (0..1 << 16).collect() };
        for factor in factors {
            for run in level::all() {
                check(std::slice::from_ref(&all), factor, MULTIPLY, |list, task| {
                    share::alone(list, task, run)
                });
            }
        }
    }
}

/// The bits of infinity, and of NaN above it.
const fn infinity(kind: Kind) -> u64 {
    match kind {
        Kind::F32 => 0x7f80_0000,
        Kind::F16 => 0x7c00,
        Kind::BF16 => 0x7f80,
        Kind::F64 => 0x7ff0 << 48,
    }
}

#[test]
fn a_bad_number_is_found_wherever_it_lies() {
    for kind in [Kind::F32, Kind::F16, Kind::BF16, Kind::F64] {
        let sign = 1 << (8 * kind.bytes() - 1);
        for (at, payload) in (0..300).flat_map(|at| [(at, sign), (at, 1)]) {
            let mut bits = vec![0; 300];
            bits[at] = infinity(kind) | payload;
            let tensor = Tensor { kind, skip: 1, bits };
            for (factor, flags) in [(0.5, CHECK), (0.5, CHECK | MULTIPLY), (2.0, CHECK | MULTIPLY)]
            {
                for run in level::all() {
                    check(std::slice::from_ref(&tensor), factor, flags, |list, task| {
                        share::alone(list, task, run)
                    });
                }
            }
        }
    }
}

#[test]
fn the_largest_numbers_are_finite() {
    for kind in [Kind::F32, Kind::F16, Kind::BF16, Kind::F64] {
        let largest = infinity(kind) - 1;
        for bits in [vec![largest; 300], [largest, 0].repeat(150)] {
            for run in level::all() {
                let tensor = Tensor { kind, skip: 1, bits: bits.clone() };
                check(&[tensor], 0.5, CHECK | MULTIPLY, |list, task| {
                    let found = share::alone(list, task, run);
                    assert_eq!(found, None);
                    found
                });
            }
        }
    }
}
