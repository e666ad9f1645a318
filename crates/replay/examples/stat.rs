//! x
use freeboard_replay::*;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        for w in workload::all() {
            let t0 = std::time::Instant::now();
            let t = w.trace(0);
            let el = t0.elapsed();
            let mut v = Vec::new();
            t.write(&mut v).unwrap();
            let p: Vec<_> = (0..6).map(|s| format!("{}", w.trace(s).peak_requested)).collect();
            println!(
                "{:20} ops {:7} streams {} steps {} peak {:?} text {} {:?}",
                t.name,
                t.ops.len(),
                t.streams,
                t.steps.len(),
                p,
                v.len(),
                el
            );
        }
        return;
    }
    for a in args {
        let mut best = std::time::Duration::MAX;
        let mut t = None;
        for _ in 0..7 {
            let t0 = std::time::Instant::now();
            t = Some(Trace::read(&a).unwrap());
            best = best.min(t0.elapsed());
        }
        let t = t.unwrap();
        println!(
            "{} {} ops {} peak {} best {:?}",
            t.name,
            t.steps.len(),
            t.ops.len(),
            t.peak_requested.get(),
            best
        );
    }
}
