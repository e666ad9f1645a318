//! [`Source`]: who can be asked about the devices.

use nvml_wrapper::Nvml;

use crate::error::SurveyError;
use crate::report::Survey;
use crate::{driver, nvml};

/// NVML, or what is known without it.
#[derive(Debug)]
pub struct Source(pub(crate) Inner);

#[derive(Debug)]
pub(crate) enum Inner {
    Nvml(Box<Nvml>),
    /// What the CUDA driver told, or why there is nothing.
    Absent(Survey),
}

impl Source {
    /// Loads and starts NVML, or else asks the CUDA driver, once.
    ///
    /// Without NVML a device must be started to see what is free, which takes some of its memory
    /// (400 to 600 MB) for a moment. That is done only where it `may_start` devices.
    ///
    /// # Errors
    /// When NVML is there and fails, or `FREEBOARD_NVML_LIBRARY` names no library.
    pub fn open(may_start: bool) -> Result<Self, SurveyError> {
        Ok(Self(match nvml::open()? {
            Inner::Absent(absent) => Inner::Absent(driver::survey(absent, may_start)),
            nvml @ Inner::Nvml(_) => nvml,
        }))
    }

    /// Whether NVML is not there: then every survey says the same, and opening anew may find it.
    #[must_use]
    pub fn lacks_nvml(&self) -> bool {
        matches!(self.0, Inner::Absent(_))
    }

    /// All devices as they are now, or why there are none.
    ///
    /// # Errors
    /// When NVML cannot say how many devices there are.
    pub fn survey(&self) -> Result<Survey, SurveyError> {
        match &self.0 {
            Inner::Nvml(nvml) => nvml::survey(nvml),
            Inner::Absent(survey) => Ok(survey.clone()),
        }
    }
}
