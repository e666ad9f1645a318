//! [`Page`]: a snapshot's page, open in a browser of its own.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use freeboard_snapshot::Snapshot;
use freeboard_snapshot::page::{self, PageOptions};

use crate::chromium::Chromium;

/// An open page; its file and the browser are gone when it is dropped.
pub(crate) struct Page {
    browser: Chromium,
    file: PathBuf,
}

impl Page {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self::titled(snapshot, "a run")
    }

    pub(crate) fn titled(snapshot: &Snapshot, title: &str) -> Self {
        static PAGES: AtomicUsize = AtomicUsize::new(0);
        let number = PAGES.fetch_add(1, Ordering::Relaxed);
        let name = format!("freeboard-page-{}-{number}", process::id());
        let profile = env::temp_dir().join(&name);
        let file = env::temp_dir().join(format!("{name}.html"));
        let options = PageOptions::default().title(title);
        page::write(snapshot, &options, fs::File::create(&file).unwrap()).unwrap();
        let mut browser = Chromium::start(&profile);
        browser.open(&file);
        Self { browser, file }
    }

    /// Nothing went wrong, and nothing but the file itself was loaded.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert_eq!(self.browser.files(), 1, "one file is all");
    }
}

impl Deref for Page {
    type Target = Chromium;
    fn deref(&self) -> &Chromium {
        &self.browser
    }
}

impl DerefMut for Page {
    fn deref_mut(&mut self) -> &mut Chromium {
        &mut self.browser
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.file));
    }
}
