//! `MemoryLog`: what lines say, and disks that fail.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use freeboard_watch::{Line, LogError, LogOptions, MemoryLog};

use super::*;

#[track_caller]
fn lines(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Keeps what is written; refuses, or panics, while told so.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<(Vec<u8>, Option<&'static str>)>>);

impl Paper {
    fn fail(&self, how: Option<&'static str>) {
        self.0.lock().unwrap().1 = how;
    }

    fn lines(&self) -> usize {
        self.0.lock().unwrap().0.split(|&byte| byte == b'\n').count() - 1
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let how = self.0.lock().unwrap().1;
        match how {
            Some("panic") => panic!("a writer of the program's own"),
            Some(why) => Err(io::Error::other(why)),
            None => {
                self.0.lock().unwrap().0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.lock().unwrap().1 {
            Some(why) => Err(io::Error::other(why)),
            None => Ok(()),
        }
    }
}

#[test]
fn a_line_tells_now_and_the_peak_since_the_line_before() {
    let (folder, allocator) = (Folder::new("peaks"), allocator(Config::default()));
    let path = folder.path("memory.jsonl");
    let mut log = LogOptions::default().every(1).open(&path).unwrap();
    let weights = take(&allocator, 100);
    drop(take(&allocator, 300));
    log.step(&allocator);
    drop(take(&allocator, 50));
    log.step(&allocator);
    drop(weights);
    log.step(&allocator);
    log.finish().unwrap();
    let lines = lines(&path);
    let mib = |level: fn(&Line) -> freeboard_watch::Level| {
        lines
            .iter()
            .map(|line| (level(line).now.get() >> 20, level(line).peak.get() >> 20))
            .collect::<Vec<_>>()
    };
    assert_eq!(mib(|line| line.allocated), [(100, 400), (100, 150), (0, 100)]);
    assert_eq!(mib(|line| line.active), [(100, 400), (100, 150), (0, 100)]);
    assert_eq!(mib(|line| line.requested), [(100, 400), (100, 150), (0, 100)]);
    assert_eq!(mib(|line| line.reserved), [(400, 400); 3]);
    assert_eq!(lines.iter().map(|line| line.step).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(lines.windows(2).all(|two| two[0].time_us <= two[1].time_us) && lines[0].time_us > 0);
    assert!(lines[0].device_calls > 0 && lines[1].device_calls == 0);
    assert_eq!(lines[2].fragmentation.free, Bytes::mib(400));
    assert_eq!(lines[2].largest_servable, Some(Bytes::gib(1)));
    // Whoever reads the counters sees the peaks of the whole run.
    let stats = allocator.stats();
    assert_eq!(
        (stats.allocated_bytes.all.peak, stats.active_bytes.all.peak),
        (400 << 20, 400 << 20)
    );
    allocator.reset_peak_stats();
    assert_eq!(allocator.stats().allocated_bytes.all.peak, 0);
}

#[test]
fn failed_requests_retries_and_stalls_are_those_since_the_line_before() {
    let (paper, allocator) = (Paper::default(), allocator(Config::pytorch()));
    let mut log = LogOptions::default().every(1).write_to(paper.clone());
    drop(take(&allocator, 600));
    drop(take(&allocator, 700)); // only after the cache is given back
    for _ in 0..2 {
        allocator.allocate(Bytes::gib(2), StreamId::DEFAULT).unwrap_err();
    }
    log.step(&allocator);
    log.step(&allocator);
    allocator.reset_accumulated_stats();
    allocator.allocate(Bytes::gib(2), StreamId::DEFAULT).unwrap_err();
    log.step(&allocator);
    let text = String::from_utf8(paper.0.lock().unwrap().0.clone()).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line.num_ooms).collect::<Vec<_>>(), [2, 0, 1]);
    assert!(lines[0].retries > 0 && lines[0].stalls > 0);
    assert_eq!((lines[1].retries, lines[1].stalls, lines[1].device_calls), (0, 0, 0));
}

#[test]
fn every_tenth_step_has_a_line_and_a_resumed_run_goes_on() {
    let (folder, allocator) = (Folder::new("every"), allocator(Config::default()));
    let path = folder.path("memory.jsonl");
    let mut log = MemoryLog::open(&path).unwrap();
    (0..25).for_each(|_| log.step(&allocator));
    assert_eq!((log.last_step(), log.timeline().step()), (25, Some(25)));
    log.finish().unwrap();
    let mut log = LogOptions::default().resumed_after(25).open(&path).unwrap();
    (0..10).for_each(|_| log.step(&allocator));
    log.note(&allocator);
    log.finish().unwrap();
    assert_eq!(lines(&path).iter().map(|line| line.step).collect::<Vec<_>>(), [10, 20, 30, 35]);
}

#[test]
fn a_file_that_is_full_is_put_aside_and_few_are_kept() {
    let (folder, allocator) = (Folder::new("rotate"), allocator(Config::default()));
    let path = folder.path("memory.jsonl");
    let mut log = LogOptions::default().every(1).rotate(Bytes::kib(4), 2).open(&path).unwrap();
    (0..100).for_each(|_| log.step(&allocator));
    log.finish().unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&folder.0).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["memory.jsonl", "memory.jsonl.1", "memory.jsonl.2"]);
    let mut steps = Vec::new();
    for name in names.iter().rev() {
        assert!(fs::metadata(folder.0.join(name)).unwrap().len() <= 4096);
        steps.extend(lines(&folder.0.join(name)).iter().map(|line| line.step));
    }
    assert!(
        steps.windows(2).all(|two| two[0] + 1 == two[1]) && steps.last() == Some(&100),
        "{steps:?}"
    );
}

#[test]
fn a_line_that_was_torn_by_a_crash_does_not_spoil_the_next() {
    let (folder, allocator) = (Folder::new("torn"), allocator(Config::default()));
    let path = folder.path("memory.jsonl");
    fs::write(&path, "{\"step\":1,").unwrap();
    let mut log = LogOptions::default().every(1).open(&path).unwrap();
    log.step(&allocator);
    log.step(&allocator);
    let text = fs::read_to_string(&path).unwrap();
    let read: Vec<bool> =
        text.lines().map(|line| serde_json::from_str::<Line>(line).is_ok()).collect();
    assert_eq!(read, [false, true, true]);
}

#[test]
fn a_full_disk_costs_lines_and_not_the_run() {
    let allocator = allocator(Config::default());
    let mut log = LogOptions::default().every(1).open("/dev/full").unwrap();
    (0..5).for_each(|_| log.step(&allocator));
    assert_eq!((log.lost(), log.timeline().lines().len()), (5, 5));
    let error = log.finish().unwrap_err();
    assert!(matches!(error, LogError::Lost { lost: 5, lines: 5, .. }), "{error}");
    assert!(error.to_string().contains("5 of 5 lines"), "{error}");
}

#[test]
fn a_disk_that_recovers_gets_the_lines_after_that_and_finish_still_tells() {
    let (paper, allocator) = (Paper::default(), allocator(Config::default()));
    let mut log = LogOptions::default().every(1).write_to(paper.clone());
    log.step(&allocator);
    log.flush().unwrap();
    paper.fail(Some("stale file handle"));
    log.step(&allocator);
    paper.fail(None);
    log.step(&allocator);
    assert_eq!(paper.lines(), 2);
    let text = log.finish().unwrap_err().to_string();
    assert!(text.contains("1 of 3 lines") && text.contains("stale file handle"), "{text}");
}

#[test]
fn a_writer_that_panics_is_asked_no_more() {
    let (paper, allocator) = (Paper::default(), allocator(Config::default()));
    let mut log = LogOptions::default().every(1).write_to(paper.clone());
    paper.fail(Some("panic"));
    log.step(&allocator);
    paper.fail(None);
    log.step(&allocator);
    assert_eq!((paper.lines(), log.lost()), (0, 1));
    assert!(log.finish().unwrap_err().to_string().contains("panicked"));
}

#[test]
fn a_writer_that_cannot_flush_is_told() {
    let (paper, allocator) = (Paper::default(), allocator(Config::default()));
    let mut log = LogOptions::default().every(1).write_to(paper.clone());
    log.step(&allocator);
    paper.fail(Some("gone"));
    assert!(matches!(log.finish(), Err(LogError::Flush(error)) if error.to_string() == "gone"));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let folder = Folder::new("open");
    fs::write(folder.path("file"), "").unwrap();
    for path in [folder.0.clone(), folder.path("file/memory.jsonl"), folder.path("no/such/folder")]
    {
        let error = MemoryLog::open(&path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_file_name_need_not_be_text() {
    let (folder, allocator) = (Folder::new("name"), allocator(Config::default()));
    let path = folder.0.join(OsStr::from_bytes(b"memory-\xff.jsonl"));
    let mut log = LogOptions::default().every(1).rotate(Bytes::new(1), 1).open(&path).unwrap();
    (0..3).for_each(|_| log.step(&allocator));
    log.finish().unwrap();
    assert_eq!(lines(&path)[0].step, 3);
    assert_eq!(lines(&folder.0.join(OsStr::from_bytes(b"memory-\xff.jsonl.1")))[0].step, 2);
}

#[test]
fn a_planned_step_stays_planned_while_it_is_logged() {
    let allocator = allocator(Config::default());
    let mut log = LogOptions::default().every(1).events_only();
    for step in 0..20 {
        let (a, b) = (take(&allocator, 30), take(&allocator, 20));
        drop(a);
        let c = take(&allocator, 10);
        drop((b, c));
        allocator.step();
        log.step(&allocator);
        assert!(step < 10 || allocator.planning().hits > 0);
    }
    assert_eq!(allocator.planning().deviations, 0);
    allocator.check().unwrap();
    log.finish().unwrap();
}
