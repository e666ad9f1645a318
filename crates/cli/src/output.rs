//! Printing.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(|error| Failure::write("to standard output", error))
}

/// Writes a value as JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::write("as JSON", error.into()))?;
    print(&format!("{text}\n"))
}

/// Writes a value as one line of JSON to standard output.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let line =
        serde_json::to_string(value).map_err(|error| Failure::write("as JSON", error.into()))?;
    print(&format!("{line}\n"))
}

/// Writes a line to standard error; there is no one to tell where that fails.
pub(crate) fn complain(what: &impl Display) {
    drop(writeln!(io::stderr().lock(), "freeboard: {what}"));
}
