//! Bundles on disks that fail, and what they leave out.

use std::fs;
use std::io::{self, Write};

use freeboard_allocator::Config;
use freeboard_device_sim::SimDevice;
use freeboard_units::StreamId;

use super::pieces::without_secrets;
use super::*;
use crate::{Bundle, BundleError, Manifest, MemoryLog, Piece};

/// A folder of its own for a test, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("freeboard-dump-{test}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What becomes of a program that asks for too much once, with files that are made like this.
#[track_caller]
fn bundle_with(folder: &Folder, create: Create) -> (OomDump, Arc<CachingAllocator<SimDevice>>) {
    let device = SimDevice::new(Bytes::gib(1));
    let allocator = Arc::new(CachingAllocator::new(device, Config::default()).unwrap());
    let mut options = DumpOptions::new(&folder.0);
    options.create = create;
    let mut log = MemoryLog::open("/dev/null").unwrap();
    log.note(&allocator);
    let dump = options.timeline(log.timeline()).attach(&allocator);
    let error = allocator.allocate(Bytes::gib(2), StreamId::DEFAULT).unwrap_err();
    assert!(error.out_of_memory().is_some(), "{error}");
    (dump, allocator)
}

/// A writer that takes a few bytes and then fails or panics.
struct Bad {
    left: usize,
    panics: bool,
}

impl Write for Bad {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.panics, "a writer that panics");
        if self.left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_file(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file == name)
}

#[test]
fn a_piece_that_fails_or_panics_leaves_the_others() {
    let folder = Folder::new("pieces");
    let (dump, _allocator) = bundle_with(&folder, |path| {
        let bad = |panics| Ok(Box::new(Bad { left: 10, panics }) as Box<dyn Write>);
        match path {
            _ if is_file(path, "snapshot.pickle") => bad(false),
            _ if is_file(path, "settings.json") => bad(true),
            _ if is_file(path, "report.txt") => Err(io::ErrorKind::PermissionDenied.into()),
            _ => create_file(path),
        }
    });
    let bundle = Bundle::open(&dump.written()[0]).unwrap();
    let failed: Vec<Piece> = bundle.manifest().failed.iter().map(|it| it.piece).collect();
    assert_eq!(failed, [Piece::ReportText, Piece::Settings, Piece::Snapshot]);
    let why = |error: BundleError| match error {
        BundleError::Missing { why, .. } => why,
        error => panic!("{error}"),
    };
    assert!(why(bundle.settings().unwrap_err()).contains("panicked"));
    assert!(why(bundle.report_text().unwrap_err()).contains("permission denied"));
    assert!(!why(bundle.snapshot().unwrap_err()).is_empty());
    assert_eq!(bundle.report().unwrap().report.requested, Bytes::gib(2));
    assert_eq!(bundle.timeline().unwrap().len(), 1);
    assert!(bundle.devices().is_ok() && bundle.command().is_ok());
    let files: u64 = bundle.manifest().files.iter().map(|file| file.bytes).sum();
    let on_disk: u64 =
        fs::read_dir(bundle.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
    let manifest = fs::metadata(bundle.path().join(Manifest::FILE)).unwrap().len();
    assert_eq!(files + manifest, on_disk, "nothing of the failed pieces is left");
}

#[test]
fn without_a_manifest_there_is_no_bundle_and_nothing_is_left() {
    let folder = Folder::new("manifest");
    let (dump, _allocator) = bundle_with(&folder, |path| match path {
        _ if is_file(path, Manifest::FILE) => Ok(Box::new(Bad { left: 0, panics: false })),
        _ => create_file(path),
    });
    assert_eq!((dump.written().len(), dump.skipped()), (0, 1));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn a_request_that_fails_while_a_bundle_is_written_gets_its_error_and_no_bundle() {
    use std::cell::RefCell;
    type Again = Option<Arc<CachingAllocator<SimDevice>>>;
    thread_local!(static AGAIN: RefCell<Again> = const { RefCell::new(None) });
    let folder = Folder::new("again");
    let create: Create = |path| {
        AGAIN.with_borrow(|again| {
            if let Some(allocator) = again {
                allocator.allocate(Bytes::gib(3), StreamId::DEFAULT).unwrap_err();
            }
        });
        create_file(path)
    };
    let (dump, allocator) = bundle_with(&folder, create);
    AGAIN.set(Some(Arc::clone(&allocator)));
    allocator.allocate(Bytes::gib(2), StreamId::DEFAULT).unwrap_err();
    AGAIN.set(None);
    assert_eq!(dump.written().len(), 2);
    // Every file of the second bundle tried again.
    let files = fs::read_dir(&dump.written()[1]).unwrap().count() as u64;
    assert_eq!(dump.skipped(), files);
}

#[test]
fn secrets_on_the_command_line_are_left_out() {
    let shown = |line: &str| without_secrets(line.split(' ').map(str::to_owned)).join(" ");
    assert_eq!(shown("train --lr 3e-4 data.bin"), "train --lr 3e-4 data.bin");
    assert_eq!(shown("train --hf-token abc --lr 1"), "train --hf-token *** --lr 1");
    assert_eq!(shown("train --WANDB_API_KEY=abc x"), "train --WANDB_API_KEY=*** x");
    assert_eq!(shown("train --apikey abc --password=p=q"), "train --apikey *** --password=***");
    assert_eq!(shown("train --use-token --lr 1"), "train --use-token --lr 1");
}
