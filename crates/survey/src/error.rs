//! [`SurveyError`]: a driver that is there and fails, or a library that was named wrongly.

/// Why nobody could be asked. That there is no driver or no device is no error, but an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// NVML is there and fails.
    #[error(
        "cannot ask for the devices: {reason}; look at 'nvidia-smi' and for 'NVRM' in 'sudo dmesg'"
    )]
    Nvml {
        /// NVML's words.
        reason: String,
    },
    /// The library that a variable names cannot be loaded.
    #[error("{variable}: cannot load {path}: {reason}; name libnvidia-ml.so.1, or unset it")]
    Library {
        /// The variable.
        variable: &'static str,
        /// What it names.
        path: String,
        /// The loader's words.
        reason: String,
    },
}
