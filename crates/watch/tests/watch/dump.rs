//! `dump_on_oom`: bundles as a program gets them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use freeboard_allocator::HistoryOptions;
use freeboard_device::Memory;
use freeboard_device_host::HostDevice;
use freeboard_snapshot::{Action, BlockState, Segment};
use freeboard_watch::{
    Bundle, BundleError, DumpOptions, LogOptions, Manifest, OomDump, dump_on_oom,
};

use super::*;

fn shared() -> Arc<CachingAllocator<SimDevice>> {
    Arc::new(allocator(Config::default()))
}

/// Asks for more than any device has.
#[track_caller]
fn fail<D: Device>(allocator: &CachingAllocator<D>) {
    let error = allocator.allocate(Bytes::gib(100), StreamId::DEFAULT).unwrap_err();
    assert!(error.out_of_memory().is_some(), "{error}");
}

fn only(dump: &OomDump) -> Bundle {
    let written = dump.written();
    assert_eq!(written.len(), 1, "{written:?}");
    Bundle::open(&written[0]).unwrap()
}

#[test]
fn a_failed_request_on_real_memory_leaves_everything_that_is_known() {
    let folder = Folder::new("host");
    let device = HostDevice::new(Bytes::mib(256)).unwrap();
    let allocator = Arc::new(CachingAllocator::new(device, Config::default()).unwrap());
    let mut log = LogOptions::default().every(1).open(folder.path("memory.jsonl")).unwrap();
    let options = DumpOptions::new(folder.path("oom")).rank(3).timeline(log.timeline());
    let dump = options.attach(&allocator);
    allocator.record_history(HistoryOptions::default());
    let _scope = freeboard_allocator::scope("layer3.attn");
    let mut activations = Vec::new();
    let error = loop {
        match allocator.allocate(Bytes::mib(20), StreamId::DEFAULT) {
            Ok(more) => activations.push(more),
            Err(error) => break error,
        }
        log.step(&allocator);
    };
    let held = allocator.device().info().unwrap();

    let bundle = only(&dump);
    let name = bundle.path().file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("rank3-step12-2") && name.ends_with('Z'), "{name}");
    let manifest = bundle.manifest();
    assert_eq!((manifest.rank, manifest.step), (Some(3), Some(12)));
    assert_eq!((manifest.process, &*manifest.failed), (std::process::id(), &[][..]));
    assert_eq!(manifest.files.len(), 7);
    for file in &manifest.files {
        let size = fs::metadata(bundle.path().join(file.piece.file())).unwrap().len();
        assert_eq!(size, file.bytes, "{:?}", file.piece);
    }
    assert_eq!(bundle.report_text().unwrap().trim_end(), error.to_string());
    let report = bundle.report().unwrap();
    assert_eq!(&report.report, error.out_of_memory().unwrap());
    assert_eq!(report.facts.requested, Some(Bytes::mib(20)));
    let holder = &report.facts.holders[0];
    assert_eq!((&*holder.name, holder.bytes), ("layer3.attn", Bytes::mib(240)));
    let snapshot = bundle.snapshot().unwrap();
    let last =
        snapshot.histories[0].events.iter().rev().find(|it| it.action == Action::Oom).unwrap();
    assert_eq!(last.size, Bytes::mib(20));
    let tags: Vec<&str> = snapshot
        .segments
        .iter()
        .flat_map(|segment| &segment.blocks)
        .filter(|block| block.state == BlockState::Allocated)
        .map(|block| snapshot.names.get(block.tag))
        .collect();
    assert_eq!(tags, ["layer3.attn"; 12]);
    let allocated: Bytes = snapshot.segments.iter().map(Segment::allocated).sum();
    let reserved: Bytes = snapshot.segments.iter().map(|segment| segment.size).sum();
    assert_eq!(allocated, Bytes::mib(240));
    assert_eq!(reserved.as_i64(), allocator.stats().reserved_bytes.all.current);
    assert_eq!(bundle.settings().unwrap(), allocator.config());
    let steps: Vec<u64> = bundle.timeline().unwrap().iter().map(|line| line.step).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let devices = bundle.devices().unwrap();
    assert!(devices.reason.is_some() || !devices.devices.is_empty());
    let command = bundle.command().unwrap();
    let own = format!("process: {}\nrank: 3\nstep: 12\nfreeboard: 0.", std::process::id());
    assert!(command.contains(&own), "{command}");
    assert!(!command.contains("PATH=") && !command.contains("HOME="), "{command}");

    assert_eq!(allocator.device().info().unwrap(), held, "no device memory was taken");
    drop(activations);
    drop(take(&allocator, 200));
    allocator.check().unwrap();
}

#[test]
fn a_bundle_makes_no_call_to_the_device_but_to_ask_what_is_free() {
    let folder = Folder::new("calls");
    let calls = |with_dump: bool| {
        let allocator = shared();
        let dump = with_dump.then(|| dump_on_oom(&allocator, &folder.0));
        let _held = take(&allocator, 100);
        fail(&allocator);
        assert!(dump.is_none_or(|dump| only(&dump).manifest().failed.is_empty()));
        let mut calls = allocator.device().calls();
        calls.remove("cudaMemGetInfo");
        calls
    };
    assert_eq!(calls(false), calls(true));
}

#[test]
fn a_program_that_lives_with_its_errors_leaves_few_bundles() {
    let (folder, allocator) = (Folder::new("many"), shared());
    let dump = dump_on_oom(&allocator, &folder.0);
    for step in 0..1000 {
        dump.set_step(step / 500); // the same name, mostly
        fail(&allocator);
    }
    assert_eq!((dump.written().len(), dump.skipped()), (3, 997));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 3);
    for path in dump.written() {
        assert_eq!(Bundle::open(path).unwrap().manifest().failed, []);
    }
}

#[test]
fn bundles_never_have_more_bytes_than_they_may() {
    for limit in [0, 1, 16 << 10, 20 << 10, 24 << 10, 64 << 10] {
        let (folder, allocator) = (Folder::new(&format!("bytes-{limit}")), shared());
        let held: Vec<_> = (0..500).map(|_| take(&allocator, 1)).collect();
        let options = DumpOptions::new(&folder.0).at_most(10).max_bytes(Bytes::new(limit));
        let dump = options.attach(&allocator);
        (0..20).for_each(|_| fail(&allocator));
        let mut bytes = 0;
        for path in dump.written() {
            let bundle = Bundle::open(&path).unwrap();
            assert!(limit > 20 << 10 || !bundle.manifest().failed.is_empty());
            for file in fs::read_dir(path).unwrap() {
                bytes += file.unwrap().metadata().unwrap().len();
            }
        }
        assert!(bytes <= limit, "{bytes} of {limit}");
        assert_eq!(dump.written().is_empty(), limit < 16 << 10);
        drop(held);
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_costs_the_bundle_only() {
    let folder = Folder::new("nowhere");
    fs::write(folder.path("file"), "").unwrap();
    for place in
        [folder.path("file"), folder.path("file/oom"), "/proc/oom".into(), "/dev/null".into()]
    {
        let allocator = shared();
        let dump = dump_on_oom(&allocator, &place);
        (0..5).for_each(|_| fail(&allocator));
        assert_eq!((dump.written().len(), dump.skipped()), (0, 5), "{}", place.display());
    }
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn a_folder_need_not_have_a_name_that_is_text() {
    let (folder, allocator) = (Folder::new("bytes"), shared());
    let dump = dump_on_oom(&allocator, folder.0.join(OsStr::from_bytes(b"oom-\xff/deeper")));
    fail(&allocator);
    assert_eq!(only(&dump).manifest().failed, []);
}

#[test]
fn a_callback_hears_of_bundles_and_may_panic_or_allocate() {
    let (folder, allocator) = (Folder::new("callback"), shared());
    let heard = Arc::new(AtomicU64::new(0));
    let (count, again) = (Arc::clone(&heard), Arc::downgrade(&allocator));
    let options = DumpOptions::new(&folder.0).on_written(move |path| {
        assert!(Bundle::open(path).is_ok());
        count.fetch_add(1, Ordering::Relaxed);
        drop(take(&again.upgrade().unwrap(), 1));
        panic!("a callback of the program's own");
    });
    let dump = options.attach(&allocator);
    (0..2).for_each(|_| fail(&allocator));
    assert_eq!((heard.load(Ordering::Relaxed), dump.written().len()), (2, 2));
    allocator.check().unwrap();
}

#[test]
fn nothing_is_written_after_a_stop_and_the_allocator_is_not_kept_alive() {
    let (folder, allocator) = (Folder::new("stop"), shared());
    let dump = dump_on_oom(&allocator, &folder.0);
    dump.stop();
    fail(&allocator);
    assert_eq!((dump.written().len(), dump.skipped()), (0, 1));
    let weak = Arc::downgrade(&allocator);
    drop(allocator);
    assert!(weak.upgrade().is_none());
}

#[test]
fn threads_that_fail_together_leave_whole_bundles() {
    let (folder, allocator) = (Folder::new("threads"), shared());
    let dump = DumpOptions::new(&folder.0).at_most(5).attach(&allocator);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| fail(&allocator)));
        }
    });
    assert_eq!(dump.written().len() as u64 + dump.skipped(), 400);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), dump.written().len());
    assert!(dump.written().iter().all(|path| Bundle::open(path).unwrap().report().is_ok()));
}

#[test]
fn what_is_no_bundle_is_an_error_that_says_so() {
    let (folder, allocator) = (Folder::new("open"), shared());
    let error = Bundle::open(folder.path("no such folder")).unwrap_err();
    assert!(matches!(error, BundleError::NotABundle { .. }), "{error}");
    let dump = dump_on_oom(&allocator, folder.path("oom"));
    fail(&allocator);
    let bundle = only(&dump);
    assert_eq!(bundle.timeline().unwrap(), []); // there was no log
    fs::write(bundle.path().join("report.json"), "{\"facts\": 7}").unwrap();
    fs::write(bundle.path().join("snapshot.pickle"), b"\x80\x04cos\nsystem\n").unwrap();
    fs::write(bundle.path().join("command.txt"), b"\xff\xfe").unwrap();
    for error in
        [bundle.report().map(drop), bundle.snapshot().map(drop), bundle.command().map(drop)]
    {
        let error = error.unwrap_err();
        assert!(matches!(error, BundleError::Damaged { .. }), "{error}");
    }
    assert!(bundle.report_text().is_ok());
    let manifest = bundle.path().join(Manifest::FILE);
    fs::write(&manifest, "{\"version\": 2, \"pieces\": []}").unwrap();
    let error = Bundle::open(bundle.path()).unwrap_err();
    assert!(matches!(error, BundleError::Version { found: 2, .. }), "{error}");
    fs::write(&manifest, "nothing").unwrap();
    let error = Bundle::open(bundle.path()).unwrap_err();
    assert!(matches!(error, BundleError::NotABundle { .. }), "{error}");
}
