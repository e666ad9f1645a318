//! The driver that the environment names, in a process that is started with that environment.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use std::path::Path;
use std::process::Command;

use freeboard_device_cuda::{Driver, ENVIRONMENT, Unavailable, survey};
use freeboard_fake_cuda::Fake;
use freeboard_units::Bytes;

const CHILD: &str = "FREEBOARD_TEST_CHILD";

/// Runs a test of this file in a process of its own, with this library named.
fn run(test: &str, library: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env(CHILD, "1").env(ENVIRONMENT, library);
    child.env("FREEBOARD_FAKE_CUDA_DEVICES", "3").env("FREEBOARD_FAKE_CUDA_MIB", "64");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_named_driver_is_used() {
    if !is_child() {
        return run("a_named_driver_is_used", Fake::load().unwrap().path());
    }
    let driver = Driver::get().unwrap();
    assert_eq!(driver.path(), Path::new(&std::env::var_os(ENVIRONMENT).unwrap()));
    assert!(std::ptr::eq(driver, Driver::get().unwrap()), "loaded once");
    let devices = survey(driver, false).unwrap().devices;
    assert_eq!((devices.len(), devices[2].total), (3, Bytes::mib(64)));
}

#[test]
fn a_named_driver_that_is_missing_is_not_replaced() {
    if !is_child() {
        return run("a_named_driver_that_is_missing_is_not_replaced", Path::new("/nowhere.so"));
    }
    for _ in 0..2 {
        let error = Driver::get().unwrap_err();
        assert!(matches!(&error, Unavailable::NoLibrary { tried, .. } if tried.len() == 1));
        assert!(error.to_string().contains("/nowhere.so"), "{error}");
    }
}
