//! Plans of small steps: what has a place, how high they are, and who comes before whom.

use freeboard_packing::{Buffer, check, pack, peak_live};
use freeboard_planning::{Options, Plan, Recorder, Repetition};
use freeboard_units::Bytes;
use proptest::prelude::*;

use crate::program::{Request, key, record, steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_freed_within_the_step_has_a_place_and_bands_are_as_high_as_packed(
        step in steps(60),
    ) {
        let mut recorder = Recorder::new(512);
        record(&mut recorder, &step, 6);
        // Ask for the whole step, whatever repeats within it.
        let start = recorder.next_serial() - step.len() as u64;
        let repetition = Repetition { start, length: step.len() };
        let Some(plan) = Plan::of(&recorder, repetition, &Options::default()) else {
            return Ok(());
        };
        let begin = (step.len() - plan.position_of(start)) % step.len();
        let (mut region, mut peak, mut planned) = (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO);
        for stream in 0..2 {
            let (mut buffers, mut offsets) = (Vec::new(), Vec::new());
            for n in 0..step.len() {
                let request = step[(begin + n) % step.len()];
                let entry = plan.entry(u32::try_from(n).unwrap()).unwrap();
                prop_assert_eq!(entry.key, request.key);
                prop_assert_eq!(entry.offset.is_some(), n + request.life <= step.len());
                if let Some(offset) = entry.offset.filter(|_| entry.key.stream() == stream) {
                    prop_assert!(offset.is_aligned(Bytes::new(512)));
                    let lifetime = n as u64..(n + request.life) as u64;
                    buffers.push(Buffer { lifetime, size: Bytes::new(entry.key.size().get() / 512) });
                    offsets.push(Bytes::new(offset.get() / 512));
                    planned += entry.key.size();
                }
            }
            let bottom = Bytes::new(region.get() / 512);
            prop_assert!(offsets.iter().all(|&offset| offset >= bottom));
            for offset in &mut offsets {
                *offset -= bottom;
            }
            let height = check(&buffers, &offsets).unwrap();
            let options = freeboard_packing::Options::default().effort(2000);
            let packing = options.capacity(peak_live(&buffers));
            prop_assert_eq!(height, pack(&buffers, &packing).unwrap().height);
            region += height * 512;
            peak += peak_live(&buffers) * 512;
        }
        prop_assert_eq!((plan.region(), plan.peak(), plan.planned_bytes()), (region, peak, planned));
        prop_assert!(plan.region() >= plan.peak());
        // What is not freed by now cannot be told from what never is.
        let now = 2 * step.len() - begin;
        let ends: Vec<usize> =
            (0..step.len()).map(|n| n + step[(begin + n) % step.len()].life).collect();
        let within = |low, high| ends.iter().filter(|&&end| low < end && end <= high).count();
        let lifetimes = plan.lifetimes();
        let counted = [lifetimes.transient, lifetimes.step_long, lifetimes.persistent];
        prop_assert_eq!(
            counted.map(|tally| usize::try_from(tally.blocks).unwrap()),
            [within(0, step.len()), within(step.len(), now), within(now, usize::MAX)]
        );
        let again = Plan::of(&recorder, repetition, &Options::default());
        prop_assert_eq!(again, Some(plan));
    }

    #[test]
    fn any_stretch_is_refused_or_planned(
        step in steps(20),
        start in 0_u64..200,
        length in 0_usize..200,
    ) {
        let mut recorder = Recorder::new(64);
        record(&mut recorder, &step, 6);
        let stretch = Repetition { start, length };
        if let Some(plan) = Plan::of(&recorder, stretch, &Options::default()) {
            prop_assert_eq!(plan.len(), length);
            prop_assert!(plan.unplanned() < length);
        }
        for start in [u64::MAX, recorder.next_serial()] {
            let stretch = Repetition { start, length };
            prop_assert!(Plan::of(&recorder, stretch, &Options::default()).is_none());
        }
    }
}

#[test]
fn lifetimes_are_counted_and_what_was_discarded_has_no_place() {
    let lives = [1, 2, 11, 1, 1, 1, 40, 1, 1, 1];
    let step: Vec<_> =
        lives.iter().map(|&life| Request { key: key(life as u64, 0), life }).collect();
    let mut recorder = Recorder::new(64);
    let mut serials = Vec::new();
    for _ in 0..3 {
        serials.push(recorder.next_serial() + 3);
        record(&mut recorder, &step, 1);
    }
    // Without frees across steps, these blocks pile up; the third step is as good as any.
    let repetition = Repetition { start: 20, length: 10 };
    let whole = Plan::of(&recorder, repetition, &Options::default()).unwrap();
    assert_eq!((whole.len(), whole.unplanned()), (10, 2));
    for serial in serials {
        recorder.discard(serial);
    }
    let plan = Plan::of(&recorder, repetition, &Options::default()).unwrap();
    assert_eq!((plan.unplanned(), plan.lifetimes()), (3, whole.lifetimes()));
    let lifetimes = plan.lifetimes();
    assert_eq!((lifetimes.transient.blocks, lifetimes.transient.bytes), (8, key(9, 0).size()));
    assert_eq!((lifetimes.step_long.blocks, lifetimes.persistent.blocks), (0, 2));
    assert_eq!(lifetimes.persistent.bytes, key(51, 0).size());
}

#[test]
fn slack_and_less_effort_leave_plans_higher() {
    let mut heights = [Bytes::ZERO; 3];
    for seed in 1..40 {
        let request = |n: usize| {
            let mixed = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let life = 1 + usize::try_from(mixed >> 60).unwrap();
            Request { key: key(1000 * (1 + (mixed >> 40) % 8), 0), life }
        };
        let step: Vec<_> = (0..60).map(request).collect();
        let mut recorder = Recorder::new(512);
        record(&mut recorder, &step, 4);
        let repetition = recorder.repetition().unwrap();
        let tight = Options::default().slack(0);
        let choices = [tight.clone(), tight.clone().slack(200), tight.effort(0)];
        for (height, options) in heights.iter_mut().zip(choices) {
            *height += Plan::of(&recorder, repetition, &options).unwrap().region();
        }
    }
    assert!(heights[0] < heights[1] && heights[0] < heights[2], "{heights:?}");
}

#[test]
fn sizes_that_cannot_have_a_place_are_served_elsewhere() {
    let mut recorder = Recorder::new(16);
    for _ in 0..2 {
        for size in [Bytes::ZERO, Bytes::MAX, Bytes::new(1)] {
            let serial = recorder.allocated(freeboard_planning::Key::new(size, 0));
            recorder.freed(serial);
        }
    }
    let repetition = Repetition { start: 3, length: 3 };
    let plan = Plan::of(&recorder, repetition, &Options::default()).unwrap();
    assert_eq!((plan.unplanned(), plan.region()), (2, Bytes::new(512)));
    assert_eq!((plan.offset(2), plan.offset(1), plan.offset(3)), (Some(Bytes::ZERO), None, None));
    assert_eq!(plan.entry(2).unwrap().predecessors, [2]);
    assert!(plan.entry(3).is_none());
}
