//! Rectangles of time and space cut into buffers: their optimum is the height of the rectangle.

use std::ops::Range;

use freeboard_packing::Buffer;
use freeboard_units::Bytes;

/// How a piece is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// From edge to edge.
    Straight,
    /// Often into four pieces around a fifth, which no cut from edge to edge can make.
    Pinwheel,
}

#[derive(Clone, Debug)]
struct Piece {
    time: Range<u64>,
    space: Range<u64>,
}

/// Random numbers, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Two places, in order, with something on either side and between.
    fn two_within(&mut self, range: &Range<u64>) -> (u64, u64) {
        let third = (range.end - range.start) / 3;
        let first = range.start + 1 + self.below(third);
        (first, first + 1 + self.below(third))
    }
}

/// Cuts a rectangle of this height into at least so many buffers.
pub(super) fn cut(seed: u64, pieces: usize, height: u64, cut: Cut) -> Vec<Buffer> {
    let mut random = Random(seed);
    let mut done = vec![Piece { time: 0..100_000, space: 0..height }];
    while done.len() < pieces {
        // The largest of a few, so that no piece stays enormous.
        let some =
            (0..4).map(|_| random.below(done.len() as u64)).map(|n| usize::try_from(n).unwrap());
        let area = |piece: &Piece| {
            u128::from(piece.time.end - piece.time.start)
                * u128::from(piece.space.end - piece.space.start)
        };
        let largest = some.max_by_key(|&n| area(&done[n])).unwrap();
        let Piece { time, space } = done[largest].clone();
        if time.end - time.start < 9 || space.end - space.start < 9 {
            continue;
        }
        done.swap_remove(largest);
        let (t1, t2) = random.two_within(&time);
        let (s1, s2) = random.two_within(&space);
        let mut piece = |time: Range<u64>, space: Range<u64>| done.push(Piece { time, space });
        if cut == Cut::Pinwheel && random.below(2) == 0 {
            piece(time.start..t2, space.start..s1);
            piece(t2..time.end, space.start..s2);
            piece(t1..time.end, s2..space.end);
            piece(time.start..t1, s1..space.end);
            piece(t1..t2, s1..s2);
        } else if random.below(2) == 0 {
            piece(time.start..t1, space.clone());
            piece(t1..time.end, space);
        } else {
            piece(time.clone(), space.start..s1);
            piece(time, s1..space.end);
        }
    }
    // The order must not give the solution away.
    done.sort_by_key(|piece| {
        (piece.time.start, piece.time.end, piece.space.end - piece.space.start)
    });
    let buffers = done.into_iter().map(|Piece { time, space }| Buffer {
        lifetime: time,
        size: Bytes::new(space.end - space.start),
    });
    buffers.collect()
}
