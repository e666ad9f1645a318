//! Touching an address without a page faults. Each touch is made by a child process, which dies.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use freeboard_device::Memory;
use freeboard_units::AddressRange;

use crate::{PAGE, device};

/// Set in the child: what it has to touch.
const TOUCH: &str = "FREEBOARD_TEST_TOUCH";

#[test]
fn touching_what_is_not_there_faults() {
    if let Ok(what) = env::var(TOUCH) {
        return touch(&what);
    }
    for (what, faults) in [
        ("open", false),
        ("open again", false),
        ("reserved", true),
        ("closed", true),
        ("unmapped", true),
        ("freed", true),
    ] {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "protection::touching_what_is_not_there_faults"]);
        child.env(TOUCH, what).stdout(Stdio::null()).stderr(Stdio::null());
        let status = child.status().unwrap();
        let signal = if faults { Some(11) } else { None };
        assert_eq!((status.signal(), status.success()), (signal, !faults), "{what}: {status}");
    }
}

fn touch(what: &str) {
    let device = device();
    let range = device.reserve(PAGE).unwrap();
    let handle = device.create(PAGE).unwrap();
    let map = |range: AddressRange| {
        device.map(range, handle).unwrap();
        device.set_access(range).unwrap();
    };
    let at = match what {
        "open" => {
            map(range);
            range
        }
        "open again" => {
            map(range);
            device.unmap(range).unwrap();
            map(range);
            range
        }
        "closed" => {
            device.map(range, handle).unwrap();
            range
        }
        "unmapped" => {
            map(range);
            device.unmap(range).unwrap();
            range
        }
        "freed" => {
            let start = device.allocate(PAGE).unwrap();
            device.free(start).unwrap();
            AddressRange::new(start, PAGE)
        }
        _ => range,
    };
    let pointer = device.pointer::<u8>(at.start());
    // SAFETY: none; the process is meant to die here unless the page is there.
    unsafe { pointer.write_volatile(1) };
}
