//! The planner against every persistent plan there is, on small chains.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::float_cmp, reason = "whole numbers, or the same sums")]

#[path = "optimal/every_plan.rs"]
mod every_plan;

use every_plan::{least_peak, least_time};
use freeboard_checkpoint::{
    Chain, Effort, Layer, Link, PlanError, Proof, check, keep_all, least_bytes, optimal,
    optimal_with,
};
use freeboard_units::Bytes;
use proptest::prelude::*;

/// A layer of small whole numbers: ties and tight fits are common.
fn layer() -> impl Strategy<Value = Layer> {
    (0..5_u32, 0..5_u32, 0..6_u64, 0..8_u64, 0..5_u64, 0..5_u64).prop_map(
        |(forward, backward, output, more, forward_extra, backward_extra)| Layer {
            output_bytes: Bytes::new(output),
            saved_bytes: Bytes::new(output + more),
            forward_extra_bytes: Bytes::new(forward_extra),
            backward_extra_bytes: Bytes::new(backward_extra),
            ..Layer::new("layer", f64::from(forward), f64::from(backward))
        },
    )
}

fn chain(most: usize) -> impl Strategy<Value = Chain> {
    (0..5_u64, prop::collection::vec(layer(), 1..=most))
        .prop_map(|(input, layers)| Chain::new(Bytes::new(input), layers).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_persistent_plan_is_faster_in_any_budget(chain in chain(5)) {
        let least = least_peak(&chain);
        prop_assert_eq!(least_bytes(&chain).unwrap().get(), least);
        if let Some(below) = least.checked_sub(1) {
            let refused = optimal(&chain, Bytes::new(below));
            let (budget, minimum) = (Bytes::new(below), Bytes::new(least));
            prop_assert_eq!(refused, Err(PlanError::BudgetBelowMinimum { budget, minimum }));
        }
        for budget in least..=keep_all(&chain).peak_bytes.get() {
            let found = optimal_with(&chain, Bytes::new(budget), Effort::default()).unwrap();
            prop_assert!(found.plan.peak_bytes.get() <= budget);
            prop_assert_eq!(found.proof, Proof::Exact);
            prop_assert_eq!(Some(found.plan.total_time), least_time(&chain, budget));
            let checked = check(&chain, &found.plan.operations, Link::NONE).unwrap();
            prop_assert_eq!(checked.peak_bytes, found.plan.peak_bytes);
            prop_assert_eq!(checked.total_time, found.plan.total_time);
        }
    }

    #[test]
    fn with_a_slot_for_every_byte_the_discretised_pass_is_exact_too(chain in chain(12)) {
        let (least, most) = (least_bytes(&chain).unwrap().get(), keep_all(&chain).peak_bytes.get());
        for budget in (least..most).map(Bytes::new) {
            let slots = usize::try_from(budget.get()).unwrap();
            let effort = |exact_layers| Effort { slots, exact_layers, ..Effort::default() };
            let discretised = optimal_with(&chain, budget, effort(0)).unwrap().plan;
            let exact = optimal_with(&chain, budget, effort(100)).unwrap();
            prop_assert_eq!(exact.proof, Proof::Exact);
            prop_assert_eq!(discretised.total_time, exact.plan.total_time, "in {}", budget.get());
        }
    }

    #[test]
    fn with_few_slots_it_is_as_good_as_it_says(chain in chain(12), slots in 1..40_usize) {
        let (least, most) = (least_bytes(&chain).unwrap().get(), keep_all(&chain).peak_bytes.get());
        for budget in (least..most).map(Bytes::new) {
            let found = optimal_with(&chain, budget, Effort { slots, exact_layers: 0, ..Effort::default() }).unwrap();
            prop_assert!(found.plan.peak_bytes <= budget);
            if let Proof::NoneBetterWithin(smaller) = found.proof
                && let Ok(best) = optimal(&chain, smaller)
            {
                prop_assert!(found.plan.total_time <= best.total_time);
            }
        }
    }

    #[test]
    fn groups_of_layers_fit_too(chain in chain(24), slots in 1..200_usize, single_layers in 1..8_usize) {
        let (least, most) = (least_bytes(&chain).unwrap().get(), keep_all(&chain).peak_bytes.get());
        for budget in (least..most).map(Bytes::new) {
            let effort = Effort { slots, single_layers, exact_layers: 0 };
            let found = optimal_with(&chain, budget, effort).unwrap();
            prop_assert!(found.plan.peak_bytes <= budget);
            let best = optimal(&chain, budget).unwrap();
            prop_assert!(found.plan.total_time >= best.total_time);
        }
    }
}
