//! The time of planning: layers of unequal cost, 500 memory slots.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use freeboard_checkpoint::{Chain, Effort, Layer, Random, keep_all, least_bytes, optimal_with};
use freeboard_units::Bytes;

/// Layers whose times and sizes are all different.
fn chain(layers: usize) -> Chain {
    let random = Random::new(7);
    let number = |index: usize, low: u64, high: u64| {
        let index = u64::try_from(index).unwrap_or(0);
        low + u64::from(random.bits(index)[0]) % (high - low)
    };
    let layers = (0..layers).map(|layer| {
        let place = 4 * layer;
        let output = number(place, 1 << 20, 6 << 20);
        let time = number(place + 1, 100, 2_100);
        let time = Duration::from_micros(time).as_secs_f64();
        Layer {
            output_bytes: Bytes::new(output),
            saved_bytes: Bytes::new(output + number(place + 2, 0, 20 << 20)),
            forward_extra_bytes: Bytes::new(output / 3),
            backward_extra_bytes: Bytes::new(output / 2),
            ..Layer::new("layer", time, 2.0 * time)
        }
    });
    Chain::new(Bytes::mib(1), layers.collect()).expect("a chain")
}

pub(crate) fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("planning");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (layers, exact_layers) in [(50, 100), (100, 100), (200, 0), (1000, 0)] {
        let chain = chain(layers);
        let least = least_bytes(&chain).expect("few layers").get();
        let most = keep_all(&chain).peak_bytes.get();
        for percent in [10, 50] {
            let budget = Bytes::new(least + (most - least) / 100 * percent);
            let effort = Effort { exact_layers, ..Effort::default() };
            let name = BenchmarkId::new(format!("{layers} layers"), format!("{percent} %"));
            group.bench_with_input(name, &chain, |bencher, chain| {
                bencher.iter(|| optimal_with(black_box(chain), budget, effort));
            });
        }
    }
    group.finish();
}
