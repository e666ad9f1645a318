//! Steps within budgets, on a device of this machine's memory.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod budgets;
mod loops;
mod model;
