//! scratch
use freeboard_replay::{
    Recorded,
    verify::{VerifyOptions, verify},
};
fn main() {
    for path in std::env::args().skip(1) {
        let f = std::fs::File::open(&path).unwrap();
        let s =
            freeboard_snapshot::pickle::read(flate2::read::GzDecoder::new(f), &Default::default())
                .unwrap();
        for d in s.device_ids() {
            let t = std::time::Instant::now();
            let mut f = freeboard_snapshot::Facts::of_snapshot(&s, d);
            if f.requested.is_none() && !f.assumes_failure {
                println!("{path} {d}: no oom");
                continue;
            }
            let r = Recorded::of(&s, d, "x");
            f.transient = r.as_ref().map(|r| r.transient());
            let mut d = freeboard_snapshot::Diagnosis::of(&f);
            if let (Some(r), Some(o)) = (r, VerifyOptions::of(&f)) {
                let b = std::env::var("B").ok().and_then(|b| b.parse().ok());
                verify(&mut d, &r, &o.batch(b), |_| ()).unwrap();
            }
            let name = path.rsplit('/').next().unwrap();
            println!(
                "{} {} {:?} also {:?} {:?} {:?}",
                name,
                d.verdict.name(),
                d.cause,
                d.also,
                d.phase,
                d.growth.as_ref().map(|g| (g.steps, g.per_step.to_string(), g.held.to_string()))
            );
            println!(
                "   {}\n   {:?}",
                d.summary,
                d.levers.first().map(|l| (&l.action, l.verified))
            );
            if std::env::var("V").is_ok() {
                println!("{d}");
            }
            println!("   {:?}", t.elapsed());
        }
    }
}
