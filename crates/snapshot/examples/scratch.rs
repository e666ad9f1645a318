//! scratch
fn main() {
    for path in std::env::args().skip(1) {
        let s: freeboard_snapshot::Snapshot =
            serde_json::from_reader(std::io::BufReader::new(std::fs::File::open(&path).unwrap()))
                .unwrap();
        for d in s.device_ids() {
            let f = freeboard_snapshot::Facts::of_snapshot(&s, d);
            if f.requested.is_none() && !f.assumes_failure {
                println!("{path} {d}: no oom");
                continue;
            }
            if std::env::var("V").is_ok() {
                println!("{:#?} {:?}", f.sums(), f.requested);
            }
            let d = freeboard_snapshot::Diagnosis::of(&f);
            println!(
                "{} {:?} {:?} also {:?} phase {:?} growth {:?}",
                path.rsplit('/').next().unwrap(),
                d.verdict,
                d.cause,
                d.also,
                d.phase,
                d.growth.as_ref().map(|g| (
                    g.steps,
                    g.per_step.to_string(),
                    g.held.to_string(),
                    g.holders.len()
                ))
            );
            println!("   {}", d.summary);
            println!(
                "   {:?}",
                d.holders.iter().map(|h| format!("{} {}", h.name, h.bytes)).collect::<Vec<_>>()
            );
        }
    }
}
