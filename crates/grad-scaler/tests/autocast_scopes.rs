//! Scopes: nesting, panics, threads, guards in any order, rules of one's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot enter a scope has failed")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use freeboard_grad_scaler::autocast::{
    Autocast, AutocastError, Backend, Policy, Rule, Scope, autocast, autocast_off, cast_for,
    cast_for_on, dtype_for,
};
use freeboard_units::Dtype::{self, BF16, F16, F32, F64, I64};
use proptest::prelude::*;

fn matmul() -> Dtype {
    dtype_for("matmul", &[F32, F32]).unwrap()
}

#[test]
fn scopes_nest_and_end() {
    autocast(F16, || {
        assert_eq!(matmul(), F16);
        autocast(BF16, || assert_eq!(matmul(), BF16)).unwrap();
        autocast_off(|| {
            assert_eq!(matmul(), F32);
            assert!(cast_for("binary_cross_entropy", &[F32]).is_ok());
        });
        assert_eq!(matmul(), F16);
    })
    .unwrap();
    assert_eq!(matmul(), F32);
}

#[test]
fn only_half_types_are_lower() {
    for &dtype in Dtype::ALL {
        let answer = autocast(dtype, || ());
        if [F16, BF16].contains(&dtype) {
            answer.unwrap();
        } else {
            assert_eq!(answer, Err(AutocastError::Lower(dtype)));
        }
    }
}

#[test]
fn a_scope_may_be_for_one_backend_only() {
    let _scope = Scope::new(F16).unwrap().on(Backend::Cpu).enter();
    assert_eq!(matmul(), F32);
    assert_eq!(cast_for_on(Backend::Cpu, "matmul", &[F32]).unwrap().input(F32), F16);
}

#[test]
fn refusals_name_the_op_and_the_way_out() {
    let _scope = Autocast::enter(F16).unwrap();
    let text = |op, dtypes: &[Dtype]| dtype_for(op, dtypes).unwrap_err().to_string();
    let banned = text("torch.nn.functional.binary_cross_entropy", &[F32]);
    assert!(banned.contains("use binary_cross_entropy_with_logits instead"), "{banned}");
    let mixed = text("addcmul", &[F16, BF16, F32]);
    assert!(mixed.contains("addcmul: an input is bfloat16 in a scope of float16"), "{mixed}");
    assert_eq!(dtype_for("addcmul", &[F32, BF16, F16]), Ok(F32));
    assert!(text("my_op", &[]).contains("name their types"));
    assert!(text("add", &[Dtype::F8E5M2, F32]).contains("no type holds both"));
    let forbidden = Scope::new(F16).unwrap().with("exp", Rule::Banned);
    let refused = forbidden.run(|| text("exp", &[F32]));
    assert!(refused.contains("give it another rule"), "{refused}");
}

#[test]
fn rules_of_ones_own_hold_within_and_the_innermost_wins() {
    let softmax = |name| dtype_for(name, &[F32]).unwrap();
    let outer = Scope::new(F16).unwrap().with("F.softmax", Rule::Lower).with("my_op", Rule::F32);
    outer.run(|| {
        assert_eq!(softmax("aten::softmax.int"), F16);
        assert_eq!(dtype_for("my_op", &[F16, I64]), Ok(F32));
        autocast(BF16, || assert_eq!(softmax("softmax"), BF16)).unwrap();
        let inner = Scope::new(F16).unwrap().with("softmax", Rule::F32Output);
        inner.run(|| {
            assert_eq!(softmax("softmax"), F32);
            assert_eq!(dtype_for("my_op", &[F16]), Ok(F32));
        });
        assert_eq!(softmax("softmax"), F16);
        let back_on = || autocast(F16, || assert_eq!(softmax("softmax"), F16)).unwrap();
        autocast_off(back_on);
    });
    // The last given in a scope wins; an overload narrows a rule.
    let scope = Scope::new(F16).unwrap().with("pow", Rule::Lower).with("pow.Scalar", Rule::Widest);
    scope.run(|| {
        assert_eq!(cast_for("pow.Scalar", &[F32]).unwrap().rule(), Rule::Widest);
        assert_eq!(cast_for("pow.Tensor_Scalar", &[F32]).unwrap().rule(), Rule::Lower);
    });
}

#[test]
fn names_need_not_be_names() {
    let _scope = Scope::new(F16).unwrap().with("", Rule::F32).enter();
    for name in ["", ".", "..", "torch.", "linalg.", "aten::.", "\u{1f980}.x", "a.b.c.d"] {
        let rule = cast_for(name, &[F16, F64]).unwrap().rule();
        assert!([Rule::F32, Rule::Passthrough].contains(&rule), "{name}");
    }
}

#[test]
fn a_thread_has_its_own_scopes_and_takes_a_policy_along() {
    let _scope = Scope::new(F16).unwrap().with("exp", Rule::Lower).enter();
    let policy = Policy::current();
    let (own, carried) = thread::spawn(move || {
        let exp = || dtype_for("exp", &[F32]).unwrap();
        let carried = policy.run(|| (matmul(), exp()));
        (matmul(), carried)
    })
    .join()
    .unwrap();
    assert_eq!((own, carried), (F32, (F16, F16)));
    Policy::default().run(|| assert_eq!(matmul(), F32));
    assert_eq!(matmul(), F16);
}

#[test]
fn a_guard_that_outlives_its_threads_scopes_does_no_harm() {
    thread_local! {
        static KEPT: RefCell<Option<Autocast>> = const { RefCell::new(None) };
    }
    thread::spawn(|| KEPT.with_borrow_mut(|kept| *kept = Some(Autocast::enter(F16).unwrap())))
        .join()
        .unwrap();
}

/// A program of scopes: what to enter, what happens within, how it ends.
#[derive(Clone, Debug)]
struct Node {
    lower: Option<Dtype>,
    within: Vec<Node>,
    panics: bool,
}

fn programs() -> impl Strategy<Value = Node> {
    let lower = || prop_oneof![Just(None), Just(Some(F16)), Just(Some(BF16))];
    let leaf = (lower(), any::<bool>()).prop_map(|(lower, panics)| Node {
        lower,
        within: Vec::new(),
        panics,
    });
    leaf.prop_recursive(5, 40, 4, move |inner| {
        (lower(), prop::collection::vec(inner, 0..4), any::<bool>())
            .prop_map(|(lower, within, panics)| Node { lower, within, panics })
    })
}

struct Stop;

fn run(node: &Node, around: Option<Dtype>) {
    let scope = node.lower.map_or_else(Scope::off, |lower| Scope::new(lower).unwrap());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        scope.run(|| {
            for inner in &node.within {
                assert_eq!(Policy::current().lower(Backend::Cuda), node.lower);
                run(inner, node.lower);
            }
            assert_eq!(Policy::current().lower(Backend::Cpu), node.lower);
            if node.panics {
                std::panic::resume_unwind(Box::new(Stop));
            }
        });
    }));
    if let Err(cause) = outcome {
        assert!(node.panics && cause.is::<Stop>());
    }
    assert_eq!(Policy::current().lower(Backend::Cuda), around);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_within_a_scope_what_held_before_holds_after(node in programs()) {
        run(&node, None);
    }

    #[test]
    fn guards_dropped_in_any_order_leave_the_last_one_entered_in_force(
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..60),
    ) {
        let mut open: Vec<(Autocast, Dtype)> = Vec::new();
        for (enters, place) in steps {
            if enters || open.is_empty() {
                let lower = if place.index(2) == 0 { F16 } else { BF16 };
                open.push((Autocast::enter(lower).unwrap(), lower));
            } else {
                drop(open.remove(place.index(open.len())));
            }
            let last = open.last().map(|guard| guard.1);
            prop_assert_eq!(Policy::current().lower(Backend::Cuda), last);
        }
        drop(open);
        prop_assert_eq!(Policy::current().lower(Backend::Cuda), None);
    }
}
