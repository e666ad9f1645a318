//! [`Failure`]: why a command could not do its work.

use std::io;

use freeboard_allocator::{ConfigError, Error};
use freeboard_replay::picture::PictureError;
use freeboard_replay::{RunError, TraceError};
use freeboard_survey::SurveyError;

/// Why a command could not do its work; the text names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("--conf: {0}")]
    Config(#[from] ConfigError),
    #[error("{trace}: {error}")]
    Run { trace: String, error: RunError },
    #[error("{trace}: {error}")]
    Allocator { trace: String, error: Error },
    #[error("--plot: {0}")]
    Picture(#[from] PictureError),
    #[error("cannot write {what}: {error}")]
    Write { what: String, error: io::Error },
    #[error(transparent)]
    Devices(#[from] SurveyError),
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    pub(crate) fn write(what: impl Into<String>, error: io::Error) -> Self {
        Self::Write { what: what.into(), error }
    }

    /// An error of running this trace, which the message names.
    pub(crate) fn run(trace: &str) -> impl FnOnce(RunError) -> Self {
        let trace = trace.to_owned();
        |error| Self::Run { trace, error }
    }

    /// Whether the reader of the output went away, which is its right.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// 1 where memory was the reason, 2 otherwise.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Run { error: RunError::NeverSurvives { .. }, .. } => 1,
            Self::Allocator { error, .. } if error.out_of_memory().is_some() => 1,
            _ => 2,
        }
    }
}
