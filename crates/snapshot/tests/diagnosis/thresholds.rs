//! Every cause on facts made by hand, on both sides of what decides.

use freeboard_snapshot::{Cause, Diagnosis, Facts, Growth, LeverKind, Phase, ProcessUse, Verdict};
use freeboard_units::Bytes;

const fn mib(n: u64) -> Bytes {
    Bytes::mib(n)
}

/// A process that holds 22 GiB, all in use, and asks for more.
fn full(requested: Bytes) -> Facts {
    let mut facts = Facts::default();
    facts.says_all = true;
    facts.requested = Some(requested);
    facts.free = Some(Bytes::ZERO);
    facts.reserved = Some(Bytes::gib(22));
    facts.allocated = Some(Bytes::gib(22));
    facts
}

/// As before, with this much of it free for the request's own stream.
fn in_pieces(requested: Bytes, own: Bytes) -> Facts {
    let mut facts = full(requested);
    facts.allocated = Some(Bytes::gib(22) - own);
    facts.free_own = Some(own);
    facts.largest_own = Some(mib(20));
    facts
}

fn cause(facts: &Facts) -> Cause {
    let diagnosis = Diagnosis::of(facts);
    assert_eq!(diagnosis.verdict, diagnosis.cause.verdict());
    diagnosis.cause
}

#[test]
fn pieces_count_from_two_percent_of_the_memory_on() {
    assert_eq!(cause(&full(mib(512))), Cause::Exhaustion);
    assert_eq!(cause(&in_pieces(mib(440), mib(440))), Cause::Exhaustion);
    assert_eq!(cause(&in_pieces(mib(460), mib(460))), Cause::Fragmentation);
    // Less than was asked for is no fragmentation, however much it is.
    assert_eq!(cause(&in_pieces(mib(2100), mib(2000))), Cause::Exhaustion);
}

#[test]
fn pieces_count_later_where_the_request_is_small_or_the_model_is_being_loaded() {
    assert_eq!(cause(&in_pieces(mib(100), mib(1300))), Cause::Exhaustion);
    assert_eq!(cause(&in_pieces(mib(100), mib(1400))), Cause::Fragmentation);
    let mut facts = in_pieces(mib(1400), mib(4000));
    assert_eq!(cause(&facts), Cause::Fragmentation);
    facts.phase = Some(Phase::Load);
    assert_eq!(cause(&facts), Cause::Exhaustion);
    facts = in_pieces(mib(1400), mib(4600));
    facts.phase = Some(Phase::Load);
    assert_eq!(cause(&facts), Cause::Fragmentation);
}

#[test]
fn pieces_that_the_rest_of_the_step_would_use_up_are_not_the_cause() {
    let mut facts = in_pieces(mib(1000), mib(1000));
    facts.step_needs = Some(Bytes::gib(22));
    assert_eq!(cause(&facts), Cause::Fragmentation);
    facts.step_needs = Some(Bytes::gib(22) + mib(1));
    let diagnosis = Diagnosis::of(&facts);
    assert_eq!(
        (diagnosis.cause, &*diagnosis.also),
        (Cause::Exhaustion, &[Cause::Fragmentation][..])
    );
    assert!(diagnosis.summary.contains("the step needs about 22.00 GiB"), "{}", diagnosis.summary);
}

#[test]
fn other_streams_private_pools_and_pending_blocks_count_from_two_percent_on() {
    type Field = fn(&mut Facts) -> &mut Option<Bytes>;
    let fields: [(Field, Cause); 3] = [
        (|facts| &mut facts.free_other_streams, Cause::StrandedByStream),
        (|facts| &mut facts.free_private, Cause::PrivatePool),
        (|facts| &mut facts.pending, Cause::PendingFree),
    ];
    for (field, expected) in fields {
        for (bytes, cause_of_it) in [(mib(440), Cause::Exhaustion), (mib(460), expected)] {
            let mut facts = full(mib(400));
            facts.allocated = Some(Bytes::gib(22) - bytes);
            facts.free_own = Some(Bytes::ZERO);
            *field(&mut facts) = Some(bytes);
            assert_eq!(cause(&facts), cause_of_it, "{bytes} for {expected:?}");
        }
    }
}

#[test]
fn what_became_free_at_the_failure_was_pending_before() {
    let mut facts = in_pieces(mib(500), mib(1000));
    facts.late = Some(mib(499));
    assert_eq!(cause(&facts), Cause::Fragmentation);
    facts.late = Some(mib(500));
    assert_eq!(cause(&facts), Cause::PendingFree);
    // A block that would have fitted tells so only where it was seen at the failure.
    facts.largest_own = Some(mib(600));
    facts.late = Some(Bytes::ZERO);
    assert_eq!(cause(&facts), Cause::PendingFree);
    facts.late = None;
    assert_eq!(cause(&facts), Cause::Fragmentation);
    facts.late = Some(Bytes::ZERO);
    facts.settings = Some("max_split_size_mb:128".to_owned());
    assert_eq!(cause(&facts), Cause::Fragmentation);
}

#[test]
fn a_limit_binds_where_the_device_has_room_for_the_segment() {
    let mut facts = full(mib(4));
    facts.free = Some(mib(19));
    assert_eq!(cause(&facts), Cause::Exhaustion);
    facts.free = Some(mib(20));
    assert_eq!(cause(&facts), Cause::Limit);
    assert!(Diagnosis::of(&facts).summary.contains("a memory fraction is set"));
    facts.by_freeboard = true;
    assert_eq!(cause(&facts), Cause::Unknown);
}

#[test]
fn a_limit_that_is_told_must_lie_below_the_device_and_below_what_is_needed() {
    let told = |limit| {
        let mut facts = full(mib(512));
        (facts.says_all, facts.total, facts.limit) = (false, Some(Bytes::gib(40)), Some(limit));
        facts.free = Some(Bytes::gib(17));
        cause(&facts)
    };
    assert_eq!(told(Bytes::gib(22) + mib(511)), Cause::Limit);
    assert_eq!(told(Bytes::gib(22) + mib(512)), Cause::Unknown);
    assert_eq!(told(Bytes::gib(40)), Cause::Unknown);
    let mut refused = full(mib(512));
    (refused.refused_early, refused.limit) = (true, Some(Bytes::gib(22)));
    assert_eq!(cause(&refused), Cause::Limit);
}

#[test]
fn other_processes_count_from_a_tenth_of_the_device_on() {
    let with = |others: Bytes| {
        let mut facts = full(mib(512));
        (facts.reserved, facts.allocated) = (Some(Bytes::gib(2)), Some(Bytes::gib(2)));
        facts.total = Some(Bytes::gib(40));
        facts.free = Some(Bytes::ZERO);
        facts.process = Some(Bytes::gib(3));
        facts.others = vec![ProcessUse { pid: Some(7), bytes: others }];
        // The rest of the device is nobody's that is told: not to be counted here.
        facts.total = Some(Bytes::gib(4) + others);
        Diagnosis::of(&facts)
    };
    assert_eq!(with(mib(440)).verdict, Verdict::Exhaustion);
    let diagnosis = with(Bytes::gib(36));
    assert_eq!(diagnosis.verdict, Verdict::OtherProcess);
    assert!(diagnosis.levers[0].action.contains("process 7"), "{:?}", diagnosis.levers);
    assert!(!diagnosis.summary.contains("at least"), "{}", diagnosis.summary);
}

#[test]
fn memory_of_this_process_beside_the_allocator_is_not_blamed_on_others() {
    let mut facts = full(mib(64));
    (facts.reserved, facts.allocated) = (Some(Bytes::gib(10)), Some(Bytes::gib(10)));
    (facts.total, facts.process) = (Some(Bytes::gib(24)), Some(Bytes::gib(24)));
    let diagnosis = Diagnosis::of(&facts);
    assert_eq!(diagnosis.verdict, Verdict::OtherProcess);
    let text = diagnosis.to_string();
    assert!(text.contains("this process has 14.00 GiB on the device beside"), "{text}");
    assert!(!text.contains("held on the device by other processes"), "{text}");
}

#[test]
fn growth_is_a_leak_from_a_twentieth_on_or_a_fifth_beside_pieces() {
    let growing = |mut facts: Facts, held: Bytes| {
        let mut growth = Growth::default();
        (growth.steps, growth.per_step, growth.held) = (9, mib(1), held);
        facts.growth = Some(growth);
        cause(&facts)
    };
    assert_eq!(growing(full(mib(512)), mib(1126)), Cause::Exhaustion);
    assert_eq!(growing(full(mib(512)), mib(1127)), Cause::Growth);
    assert_eq!(growing(in_pieces(mib(500), mib(1024)), mib(4300)), Cause::Fragmentation);
    assert_eq!(growing(in_pieces(mib(500), mib(1024)), mib(4301)), Cause::Growth);
}

#[test]
fn rounding_counts_where_the_settings_ask_for_it() {
    let mut facts = in_pieces(mib(600), mib(100));
    facts.asked = Some(Bytes::gib(20));
    assert_eq!(cause(&facts), Cause::Exhaustion);
    facts.settings = Some("roundup_power2_divisions:8".to_owned());
    assert_eq!(cause(&facts), Cause::Rounding);
    facts.free = Some(mib(512));
    assert_eq!(cause(&facts), Cause::Fragmentation);
}

#[test]
fn a_request_beyond_all_memory_is_about_shapes() {
    for total in [None, Some(Bytes::gib(24))] {
        let mut facts = full(Bytes::gib(300));
        facts.total = total;
        let diagnosis = Diagnosis::of(&facts);
        assert_eq!(diagnosis.cause, Cause::Exhaustion);
        assert!(diagnosis.levers[0].action.contains("shapes"), "{:?}", diagnosis.levers);
        assert!(diagnosis.levers.iter().all(|lever| lever.kind != LeverKind::Batch));
    }
}

#[test]
fn without_a_request_pieces_count_from_three_percent_on() {
    let silent = |own| {
        let mut facts = in_pieces(mib(1), own);
        (facts.requested, facts.assumes_failure) = (None, true);
        cause(&facts)
    };
    assert_eq!(silent(mib(670)), Cause::Exhaustion);
    assert_eq!(silent(mib(680)), Cause::Fragmentation);
    assert_eq!(cause(&Facts::default()), Cause::Unknown);
}

#[test]
fn a_batch_is_advised_only_where_something_depends_on_it() {
    let advised = |transient: Option<Bytes>| {
        let mut facts = full(mib(512));
        facts.transient = transient;
        let levers = Diagnosis::of(&facts).levers;
        levers.into_iter().find(|lever| lever.kind == LeverKind::Batch)
    };
    assert_eq!(advised(None).unwrap().gain_bytes, None);
    assert_eq!(advised(Some(mib(1126))), None);
    assert_eq!(advised(Some(mib(2048))).unwrap().gain_bytes, Some(mib(1024)));
}

#[test]
fn a_new_setting_keeps_the_old_ones_it_can_live_with() {
    let advised = |settings: &str| {
        let mut facts = in_pieces(mib(500), mib(1024));
        facts.settings = Some(settings.to_owned());
        Diagnosis::of(&facts).levers.remove(0).setting.unwrap()
    };
    for (settings, new) in [
        ("", "expandable_segments:True"),
        ("expandable_segments:False", "expandable_segments:True"),
        ("max_split_size_mb:128", "expandable_segments:True"),
        (
            "garbage_collection_threshold:0.8, max_split_size_mb:64",
            "garbage_collection_threshold:0.8,expandable_segments:True",
        ),
    ] {
        assert_eq!(advised(settings), format!("PYTORCH_CUDA_ALLOC_CONF={new}"), "{settings}");
    }
}

#[test]
fn a_message_brings_a_later_snapshot_back_to_the_failure() {
    let mut later = in_pieces(mib(1), Bytes::gib(20));
    (later.requested, later.free, later.device) = (None, Some(mib(3)), None);
    let mut message = full(mib(512));
    message.says_all = false;
    let joined = later.clone().or(&message);
    assert_eq!((joined.allocated, joined.free), (message.allocated, message.free));
    assert_eq!((joined.free_own, joined.largest_own), (None, None));
    assert_eq!(Diagnosis::of(&joined).cause, Cause::Exhaustion);
    // A snapshot of the failure itself is exact, and stays.
    later.requested = Some(mib(511));
    let joined = later.clone().or(&message);
    assert_eq!((joined.requested, joined.free_own), (later.requested, later.free_own));
}
