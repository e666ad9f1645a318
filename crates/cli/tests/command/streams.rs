//! Standard input and output, and readers that go away.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{Folder, Said, command, fed, freeboard};

#[test]
fn a_dash_reads_standard_input_plain_or_compressed() {
    let folder = Folder::new("stdin");
    let plain = folder.workload("h1-order", "order.trace");
    let packed = folder.workload("h1-order", "order.trace.gz");
    let expected = freeboard(&["replay", &plain, "--json"]);
    for path in [plain, packed] {
        let said = fed(&["replay", "-", "--json"], &fs::read(path).unwrap());
        assert_eq!((said.status, &said.out), (0, &expected.out));
    }
    assert_eq!(fed(&["min-capacity", "-"], b"a 0 5 0\n").status, 0);
    assert_eq!(fed(&["compare", "-", "--no-min"], b"a 0 5 0\n").status, 0);
    assert_eq!(fed(&["time", "-", "1"], b"a 0 5 0\n").status, 0);
}

#[test]
fn mistakes_on_standard_input_are_named_as_such() {
    let said = fed(&["replay", "-"], b"a 0 5 0\nq\n");
    assert_eq!((said.status, said.out.as_str()), (2, ""));
    assert!(said.err.contains("standard input, line 2: unknown operation 'q'"), "{said:?}");
    let said = fed(&["replay", "-"], b"");
    assert!(said.err.contains("standard input holds no operation"), "{said:?}");
}

#[test]
fn a_reader_that_goes_away_after_one_line_is_no_failure() {
    for arguments in [
        &["workload", "generation"][..],
        &["replay", "workload:h11-packing", "--json"],
        &["compare", "workload:h1-order", "--json"],
        &["workload"],
    ] {
        let mut child =
            command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let said: Said = child.wait_with_output().unwrap().into();
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_workload_goes_to_standard_output_without_a_file_and_with_a_dash() {
    let said = freeboard(&["workload", "h1-order"]);
    assert!(said.status == 0 && said.out.contains("\na "));
    assert_eq!(said.out, freeboard(&["workload", "h1-order", "-o", "-"]).out);
}

#[cfg(unix)]
#[test]
fn devices_and_links_are_written_into_and_stay_what_they_are() {
    let folder = Folder::new("links");
    assert_eq!(freeboard(&["workload", "h1-order", "-o", "/dev/null"]).status, 0);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let said = freeboard(&["workload", "h1-order", "-o", "/dev/stdout"]);
    assert_eq!(said.out, freeboard(&["workload", "h1-order"]).out);
    let (target, link) = (folder.file("target", "old"), folder.path("link"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(freeboard(&["workload", "h1-order", "-o", &link]).status, 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(target).unwrap(), said.out);
}
