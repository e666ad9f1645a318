//! The other planners against closed forms, brute force and each other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::float_cmp, reason = "whole numbers, or the same sums")]

use freeboard_checkpoint::{
    Candidate, Chain, Effort, Fate, Graph, GraphError, Layer, Link, Plan, Policy, Proof, check,
    every_kth, keep_all, least_bytes, optimal, optimal_with, pareto, revolve, revolve_runs, select,
    sequential, three_way,
};
use freeboard_units::Bytes;
use proptest::prelude::*;

fn equal(layers: usize) -> Chain {
    let layer = Layer {
        output_bytes: Bytes::new(1),
        saved_bytes: Bytes::new(6),
        ..Layer::new("layer", 1.0, 2.0)
    };
    Chain::new(Bytes::new(1), vec![layer; layers]).unwrap()
}

fn layer() -> impl Strategy<Value = Layer> {
    (1..90_u32, 1..60_u64, 0..300_u64, 0..30_u64, 0..30_u64).prop_map(
        |(time, output, more, forward_extra, backward_extra)| Layer {
            output_bytes: Bytes::new(output),
            saved_bytes: Bytes::new(output + more),
            forward_extra_bytes: Bytes::new(forward_extra),
            backward_extra_bytes: Bytes::new(backward_extra),
            ..Layer::new("layer", f64::from(time), f64::from(2 * time))
        },
    )
}

fn chain() -> impl Strategy<Value = Chain> {
    (1..60_u64, prop::collection::vec(layer(), 1..=16))
        .prop_map(|(input, layers)| Chain::new(Bytes::new(input), layers).unwrap())
}

/// The fewest forward runs beside one of each layer, by trying every first snapshot.
fn fewest_runs(layers: usize, snapshots: usize, known: &mut [Vec<Option<u64>>]) -> u64 {
    if layers == 1 {
        return 0;
    }
    if snapshots == 1 {
        return (layers * (layers - 1) / 2) as u64;
    }
    if let Some(runs) = known[layers][snapshots] {
        return runs;
    }
    let first = |first: usize| {
        first as u64
            + fewest_runs(layers - first, snapshots - 1, known)
            + fewest_runs(first, snapshots, known)
    };
    let runs = (1..layers).map(first).min().unwrap();
    known[layers][snapshots] = Some(runs);
    runs
}

#[test]
fn revolve_is_binomial() {
    let mut known = vec![vec![None; 12]; 61];
    for layers in 1..=60 {
        for snapshots in 1..=11 {
            let runs = fewest_runs(layers, snapshots, &mut known);
            assert_eq!(revolve_runs(layers, snapshots), runs, "{layers} with {snapshots}");
            let plan = revolve(&equal(layers), snapshots);
            let checked = check(&equal(layers), &plan.operations, Link::NONE).unwrap();
            let more: u32 = checked.forward_runs.iter().map(|runs| runs - 1).sum();
            assert_eq!(u64::from(more), runs, "{layers} with {snapshots}");
        }
    }
}

#[test]
fn s_snapshots_and_r_repeats_reach_the_binomial_coefficient() {
    for (snapshots, repeats, reach) in [(1, 9, 10), (2, 4, 15), (3, 4, 35), (4, 3, 35), (5, 5, 252)]
    {
        let runs = |layers| {
            check(&equal(layers), &revolve(&equal(layers), snapshots).operations, Link::NONE)
        };
        // The forward pass that saves is not among the repeats.
        let most = |layers| runs(layers).unwrap().forward_runs.into_iter().max().unwrap() - 1;
        assert_eq!(most(reach), repeats);
        assert_eq!(
            revolve_runs(reach + 1, snapshots) - revolve_runs(reach, snapshots),
            u64::from(repeats) + 1
        );
    }
}

#[test]
fn with_the_square_root_of_the_layers_no_layer_runs_more_than_twice() {
    for layers in 1..=150 {
        let plan = every_kth(&equal(layers), 0);
        let checked = check(&equal(layers), &plan.operations, Link::NONE).unwrap();
        assert!(checked.forward_runs.iter().all(|&runs| runs <= 2));
        let root = f64::from(u32::try_from(layers).unwrap()).sqrt().ceil();
        // An input for each stretch, one stretch whole, a gradient and what the backward pass makes.
        assert!(plan.peak_bytes.as_f64() <= root + 6.0 * root + 2.0, "{layers}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nobody_is_faster_in_the_same_memory(chain in chain(), k in 0..6_usize, n in 1..9_usize) {
        for rival in [every_kth(&chain, k), sequential(&chain, n), revolve(&chain, n), keep_all(&chain)] {
            let ours = optimal(&chain, rival.peak_bytes).unwrap();
            prop_assert!(ours.peak_bytes <= rival.peak_bytes);
            prop_assert!(ours.total_time <= rival.total_time);
        }
    }

    #[test]
    fn a_curve_falls_and_every_plan_on_it_is_the_best_for_its_peak(chain in chain()) {
        let curve = pareto(&chain, 9, Effort::default()).unwrap();
        prop_assert_eq!(curve[0].peak_bytes, least_bytes(&chain).unwrap());
        prop_assert_eq!(curve.last().unwrap().extra_time(), 0.0);
        for pair in curve.windows(2) {
            prop_assert!(pair[0].peak_bytes < pair[1].peak_bytes);
            prop_assert!(pair[0].total_time > pair[1].total_time);
        }
        for plan in &curve {
            let again = optimal(&chain, plan.peak_bytes).unwrap();
            prop_assert_eq!(again.total_time, plan.total_time);
        }
    }

    #[test]
    fn a_link_never_costs_and_a_fast_one_is_nearly_free(
        chain in chain(), share in 0.0..1.0_f64, speed in 0.01..1000.0_f64,
    ) {
        let (least, most) = (least_bytes(&chain).unwrap(), keep_all(&chain).peak_bytes);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
        let budget = Bytes::new(least.get() + ((most.get() - least.get()) as f64 * share) as u64);
        let without = optimal(&chain, budget).unwrap();
        let with = three_way(&chain, budget, Link::new(speed), Effort::default()).unwrap();
        prop_assert!(with.peak_bytes <= budget);
        prop_assert!(with.total_time <= without.total_time);
        let again = Plan::new(&chain, with.operations.clone(), Link::new(speed)).unwrap();
        prop_assert_eq!(again, with);
        let fast = three_way(&chain, budget, Link::new(1e9), Effort::default()).unwrap();
        prop_assert!(fast.extra_time() <= without.extra_time());
    }

    #[test]
    fn what_is_selected_is_the_best_of_all_subsets(
        sizes in prop::collection::vec((0..40_u64, 0..40_u32), 1..=11), budget in 0..200_u64,
    ) {
        let candidates: Vec<Candidate> = sizes
            .iter()
            .map(|&(bytes, time)| Candidate {
                name: "op".into(), time: f64::from(time), bytes: Bytes::new(bytes), policy: Policy::Free,
            })
            .collect();
        let selection = select(&candidates, Bytes::new(budget), 0.0, Link::NONE).unwrap();
        prop_assert!(selection.kept_bytes.get() <= budget);
        let best = (0..1_u32 << sizes.len())
            .filter_map(|subset| {
                let kept = |(at, _): &(usize, _)| subset >> at & 1 == 1;
                let bytes: u64 = sizes.iter().enumerate().filter(kept).map(|(_, size)| size.0).sum();
                let again = sizes.iter().enumerate().filter(|item| !kept(item));
                (bytes <= budget).then(|| again.map(|(_, size)| size.1).sum::<u32>())
            })
            .min();
        prop_assert_eq!(selection.extra_time, f64::from(best.unwrap()));
    }
}

#[test]
fn groups_of_layers_cost_little() {
    let chain = equal(200);
    let half = Bytes::new(keep_all(&chain).peak_bytes.get() / 2);
    let effort = Effort { slots: 100, single_layers: 50, exact_layers: 0 };
    let grouped = optimal_with(&chain, half, effort).unwrap();
    assert_eq!(grouped.proof, Proof::Unknown);
    let one_by_one = Effort { slots: 1000, single_layers: 200, exact_layers: 0 };
    let singly = optimal_with(&chain, half, one_by_one).unwrap();
    assert!(matches!(singly.proof, Proof::NoneBetterWithin(_)));
    // Neither is the optimum: slots round, groups are coarse.
    assert!(grouped.plan.peak_bytes <= half && grouped.plan.extra_time() > 0.0);
    let lost = grouped.plan.total_time / singly.plan.total_time;
    assert!(lost < 1.03, "{lost}");
    // Where little is run again, single layers are little work.
    let most = Bytes::new(keep_all(&chain).peak_bytes.get() / 20 * 19);
    let effort = Effort { slots: 1000, ..effort };
    let few = optimal_with(&chain, most, effort).unwrap();
    assert_eq!(few, optimal_with(&chain, most, one_by_one).unwrap());
    assert!(few.plan.extra_time() > 0.0 && few.proof != Proof::Unknown);
}

#[test]
fn policies_are_kept() {
    use Fate::{Keep, Offload, Recompute};
    let candidate = |time, bytes, policy| Candidate {
        name: "op".into(),
        time,
        bytes: Bytes::new(bytes),
        policy,
    };
    let all = [
        candidate(1.0, 50, Policy::MustKeep),
        candidate(9.0, 1, Policy::MustRecompute),
        candidate(1.0, 30, Policy::PreferKeep),
        candidate(9.0, 30, Policy::Free),
        candidate(9.0, 20, Policy::PreferRecompute),
        candidate(5.0, 100, Policy::MustOffload),
        candidate(2.0, 60, Policy::PreferOffload),
        candidate(3.0, 60, Policy::PreferOffload),
    ];
    let selection = select(&all, Bytes::new(130), 170.0, Link::new(1.0)).unwrap();
    // The first that prefers to leave still hides; the second would not, and does not fit either.
    assert_eq!(selection.fates, [Keep, Recompute, Keep, Keep, Keep, Offload, Offload, Recompute]);
    assert_eq!((selection.kept_bytes.get(), selection.host_bytes.get()), (130, 160));
    assert_eq!(selection.extra_time, 12.0);
    let text = select(&all, Bytes::new(49), 0.0, Link::new(1.0)).unwrap_err().to_string();
    assert!(text.contains("50") && text.contains("49"), "{text}");
    assert!(
        select(&all, Bytes::new(130), 0.0, Link::NONE).unwrap_err().to_string().contains("link")
    );
    let nan = [candidate(f64::NAN, 1, Policy::Free)];
    assert!(
        select(&nan, Bytes::new(130), 0.0, Link::NONE).unwrap_err().to_string().contains("NaN")
    );
}

#[test]
fn graphs_that_are_no_model_are_told_apart() {
    let layer = |name| Layer::new(name, 1.0, 1.0);
    let mut cycle = Graph::new();
    cycle.push(layer("a"), &[1]);
    cycle.push(layer("b"), &[0]);
    assert!(matches!(cycle.chain(Bytes::ZERO), Err(GraphError::Cycle { .. })));
    let mut own = Graph::new();
    own.push(layer("a"), &[0]);
    assert!(matches!(own.chain(Bytes::ZERO), Err(GraphError::Cycle { .. })));
    let mut dangling = Graph::new();
    dangling.push(layer("a"), &[7]);
    assert!(matches!(dangling.chain(Bytes::ZERO), Err(GraphError::NoSuchInput { input: 7, .. })));
    let mut two = Graph::new();
    let a = two.push(layer("a"), &[]);
    two.push(layer("b"), &[a]);
    two.push(layer("c"), &[a]);
    assert!(two.chain(Bytes::ZERO).unwrap_err().to_string().contains("b, c"));
    assert!(matches!(Graph::new().chain(Bytes::ZERO), Err(GraphError::Chain(_))));
}

#[test]
fn branches_that_skip_or_read_the_input_late_are_not_cut() {
    let layer = |name| Layer {
        output_bytes: Bytes::new(2),
        saved_bytes: Bytes::new(3),
        ..Layer::new(name, 1.0, 1.0)
    };
    let mut graph = Graph::new();
    graph.push(layer("a"), &[]);
    graph.push(layer("b"), &[0]);
    graph.push(layer("c"), &[]); // reads the input of the model
    graph.push(layer("d"), &[1, 2]);
    graph.push(layer("e"), &[3]);
    graph.push(layer("f"), &[4, 3]);
    let (chain, groups) = graph.chain(Bytes::new(2)).unwrap();
    let sorted: Vec<Vec<usize>> = groups
        .into_iter()
        .map(|mut group| {
            group.sort_unstable();
            group
        })
        .collect();
    assert_eq!(sorted, [vec![0, 1, 2, 3], vec![4, 5]]);
    assert_eq!(chain.layers()[0].saved_bytes, Bytes::new(12));
    assert_eq!(chain.layers()[0].forward_extra_bytes, Bytes::new(6));
    assert_eq!(chain.layers()[1].name, "e+f");
}

/// The results of one block of Llama-3-8B in bf16 that its backward pass needs, for one token: elements,
/// and the multiplications that make them; those without are made at the speed of memory.
const LLAMA_BLOCK: [(&str, u64, u64); 9] = [
    ("norm 1", 4096, 0),
    ("qkv", 6144, 4096 * 6144),
    ("attention", 4096, 4096 * 4096),
    ("projection and sum", 4096, 4096 * 4096),
    ("norm 2", 4096, 0),
    ("gate", 14_336, 4096 * 14_336),
    ("up", 14_336, 4096 * 14_336),
    ("silu times up", 14_336, 0),
    ("down and sum", 4096, 14_336 * 4096),
];

#[test]
fn half_the_activations_of_llama_cost_less_than_a_tenth_of_the_time() {
    // 400 TFLOP/s and 2 TB/s: an element read and written weighs as much as 400 multiplications.
    let time = |elements: u64, multiplications: u64| {
        f64::from(u32::try_from(multiplications + 400 * elements).unwrap())
    };
    let tokens = 2 * 6144;
    let block = LLAMA_BLOCK.map(|(name, elements, multiplications)| Candidate {
        name: name.into(),
        time: time(elements, multiplications),
        bytes: Bytes::new(2 * elements * tokens),
        // The input of the next block stays: from it the rest is made.
        policy: if name == "down and sum" { Policy::MustKeep } else { Policy::Free },
    });
    let all: Vec<Candidate> = std::iter::repeat_n(block, 32).flatten().collect();
    let bytes: Bytes = all.iter().map(|candidate| candidate.bytes).sum();
    let forward: f64 = all.iter().map(|candidate| candidate.time).sum();
    let selection = select(&all, Bytes::new(bytes.get() / 2), 0.0, Link::NONE).unwrap();
    assert!(selection.kept_bytes.get() <= bytes.get() / 2);
    // The backward pass takes twice as long as the forward pass.
    let share = selection.extra_time / (3.0 * forward);
    assert!((0.05..0.10).contains(&share), "{share}");
}
