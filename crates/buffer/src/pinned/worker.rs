//! [`Worker`]: the thread that looks after the cache in the background.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use freeboard_device::{DeviceError, Transfer};

use super::cache::Cache;

/// How often it is asked whether transfers are done.
const POLL: Duration = Duration::from_millis(1);
const POLL_AFTER_ERROR: Duration = Duration::from_secs(1);

/// The thread. Dropping it ends the thread and waits for that.
pub(super) struct Worker<D: Transfer> {
    cache: Arc<Cache<D>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Transfer + Send + Sync + 'static> Worker<D> {
    pub(super) fn start(cache: &Arc<Cache<D>>) -> Result<Self, DeviceError> {
        let own = Arc::clone(cache);
        let thread = thread::Builder::new().name("freeboard-pinned".to_owned());
        let thread = thread.spawn(move || look_after(&own)).map_err(|error| no_thread(&error))?;
        Ok(Self { cache: Arc::clone(cache), thread: Some(thread) })
    }
}

fn no_thread(error: &io::Error) -> DeviceError {
    DeviceError::Driver {
        call: "pthread_create",
        code: error.raw_os_error().unwrap_or_default().unsigned_abs(),
        message: format!(
            "{error}; no background thread for pinned memory: set background to false"
        ),
    }
}

fn look_after<D: Transfer>(cache: &Cache<D>) {
    let mut poll = POLL;
    while cache.sleep(poll) {
        poll = POLL;
        if let Err(error) = cache.maintain() {
            tracing::warn!(%error, "pinned memory could not be looked after; tried again later");
            poll = POLL_AFTER_ERROR;
        }
    }
}

impl<D: Transfer> Drop for Worker<D> {
    fn drop(&mut self) {
        self.cache.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the background thread for pinned memory panicked");
        }
    }
}
