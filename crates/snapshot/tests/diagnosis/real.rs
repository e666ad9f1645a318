//! Real snapshots whose cause is known, because the programs were made to fail of it.

use freeboard_snapshot::{Cause, Diagnosis, Facts, Lever, LeverKind, Phase, Verdict};
use freeboard_units::{Bytes, DeviceId};

use super::{error, snapshot};

fn facts(name: &str) -> Facts {
    Facts::of_snapshot(&snapshot(name), DeviceId::new(0))
}

fn with_error(name: &str) -> Facts {
    facts(name).or(&Facts::of_message(&error(name)))
}

/// Every cause but that of other processes, which a snapshot does not know.
#[test]
fn every_snapshot_gets_the_verdict_its_program_was_made_for() {
    let first = Some(Phase::FirstStep);
    let load = Some(Phase::Load);
    for (name, cause, phase) in [
        ("ex_adam_states", Cause::Exhaustion, first),
        ("ex_first_forward", Cause::Exhaustion, first),
        ("ex_large_batch", Cause::Exhaustion, first),
        ("ex_model_load", Cause::Exhaustion, load),
        ("ex_no_history", Cause::Exhaustion, None),
        ("frag_expandable", Cause::Fragmentation, first),
        ("frag_history_cut", Cause::Fragmentation, None),
        ("frag_holes", Cause::Fragmentation, first),
        ("frag_llama_varlen", Cause::Fragmentation, Some(Phase::MidRun { steps: 2 })),
        ("frag_no_history", Cause::Fragmentation, None),
        ("leak_history_cut", Cause::Growth, Some(Phase::MidRun { steps: 1 })),
        ("limit_conf", Cause::Limit, first),
        ("limit_fraction", Cause::Limit, first),
        ("pending_record_stream", Cause::PendingFree, first),
        ("pending_split", Cause::PendingFree, first),
        ("stranded_graph_pools", Cause::PrivatePool, first),
        ("stranded_streams", Cause::StrandedByStream, first),
    ] {
        let diagnosis = Diagnosis::of(&facts(name));
        assert_eq!(diagnosis.cause, cause, "{name}: {}", diagnosis.summary);
        assert_eq!(diagnosis.verdict, cause.verdict(), "{name}");
        assert_eq!(diagnosis.phase, phase, "{name}");
        let text = diagnosis.to_string();
        assert!(!text.contains("gain up to 0 bytes"), "{name}: {text}");
        assert!(!text.contains("lacked 0 bytes"), "{name}: {text}");
        assert!(text.contains("Fix, best first"), "{name}: {text}");
        assert!(
            text.contains("How to verify") && text.contains("How to prevent"),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_message_tells_what_its_snapshot_cannot_and_spoils_nothing() {
    for (name, verdict) in [
        ("other_process_small", Verdict::OtherProcess),
        ("limit_fraction", Verdict::Limit),
        ("frag_no_history", Verdict::Fragmentation),
        ("ex_model_load", Verdict::Exhaustion),
    ] {
        let diagnosis = Diagnosis::of(&with_error(name));
        assert_eq!(diagnosis.verdict, verdict, "{name}: {}", diagnosis.summary);
    }
}

#[test]
fn the_memory_of_another_process_is_known_from_the_devices_size_alone() {
    let mut facts = facts("other_process_small");
    assert_eq!(Diagnosis::of(&facts).verdict, Verdict::Exhaustion);
    facts.total = Some(Bytes::gib(24));
    let diagnosis = Diagnosis::of(&facts);
    assert_eq!(diagnosis.verdict, Verdict::OtherProcess);
    assert!(diagnosis.summary.contains("at least"), "{}", diagnosis.summary);
}

#[test]
fn a_leak_is_named_with_its_line_and_what_it_holds() {
    let diagnosis = Diagnosis::of(&facts("leak_history_cut"));
    let growth = diagnosis.growth.unwrap();
    assert_eq!(growth.per_step, Bytes::mib(24));
    assert!(growth.holders[0].name.ends_with("leak_cache"), "{:?}", growth.holders);
    assert!(diagnosis.summary.contains("measured over 1 step)"), "{}", diagnosis.summary);
    assert_eq!(diagnosis.levers[0].gain_bytes, Some(growth.held));
    for name in ["ex_adam_states", "ex_first_forward", "ex_large_batch", "frag_holes"] {
        assert_eq!(facts(name).growth, None, "{name}");
    }
}

#[test]
fn those_who_hold_most_are_told_by_line_or_as_unknown() {
    let holders = Diagnosis::of(&facts("ex_large_batch")).holders;
    assert_eq!((holders[0].bytes, holders[0].blocks), (Bytes::mib(17 * 1024 + 512), 35));
    assert!(holders[0].name.contains("programs.py:84"), "{holders:?}");
    let holders = Diagnosis::of(&facts("ex_no_history")).holders;
    assert!(holders[0].name.starts_with("no stack"), "{holders:?}");
}

#[test]
fn advice_fits_the_case() {
    let levers = |name: &str| Diagnosis::of(&facts(name)).levers;
    let has = |levers: &[Lever], kind| levers.iter().any(|lever| lever.kind == kind);
    let says = |levers: &[Lever], text: &str| {
        levers.iter().any(|lever| {
            lever.action.contains(text)
                || lever.setting.as_ref().is_some_and(|setting| setting.contains(text))
        })
    };
    let load = levers("ex_model_load");
    assert!(!has(&load, LeverKind::Batch) && !says(&load, "checkpoint around"), "{load:?}");
    assert!(says(&load, "load less onto this device"), "{load:?}");
    let on = levers("frag_expandable");
    assert!(!says(&on, "expandable_segments:True") && has(&on, LeverKind::Freeboard), "{on:?}");
    assert!(says(&levers("frag_holes"), "expandable_segments:True"));
    assert!(says(&levers("limit_conf"), "raise or remove the limit"));
    assert!(says(&levers("stranded_graph_pools"), "MemPool"));
    assert!(says(&levers("pending_split"), "synchronize"));
    let leak = levers("leak_history_cut");
    assert!(!has(&leak, LeverKind::Batch) && !has(&leak, LeverKind::Setting), "{leak:?}");
}
