//! `freeboard pack`: what it prints, its exit status, and the tables it refuses.

use std::io::Write as _;
use std::process::Stdio;

use super::{Folder, Said, command, freeboard};

const TABLE: &str =
    "size, upper ,id,lower\n4,3,b1,0\n4,9,b2,3\n\n4, 9,b3, 0\n4,21,b4,9\n4,21,b5,0\n";

#[test]
fn a_table_is_packed_to_its_peak() {
    let folder = Folder::new("pack");
    let table = folder.file("table.csv", TABLE);
    let said = freeboard(&["pack", &table, "--capacity", "12", "--json"]);
    assert_eq!(said.status, 0, "{said:?}");
    let report = said.json();
    let figures = ["height", "peak_live", "capacity"].map(|key| report[key].as_u64());
    assert_eq!(figures, [Some(12); 3]);
    let offsets = report["offsets"].as_array().unwrap();
    let ids: Vec<_> = offsets.iter().map(|offset| offset["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b1", "b2", "b3", "b4", "b5"]);
    assert!(offsets.iter().all(|offset| offset["offset"].as_u64().unwrap() % 4 == 0));
    let said = freeboard(&["pack", &table, "--seconds", "5"]);
    assert_eq!(said.status, 0, "{said:?}");
    for words in ["peak live  12 bytes", "height     12 bytes, 1.0000", "no packing is lower"] {
        assert!(said.out.contains(words), "'{words}' is not in {said:?}");
    }
}

#[test]
fn a_table_comes_from_standard_input_too() {
    let mut child = command(&["pack", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(TABLE.as_bytes()).unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.status, 0, "{said:?}");
}

#[test]
fn what_does_not_fit_has_status_1_and_says_whether_it_could() {
    let folder = Folder::new("pack-over");
    let table = folder.file("table.csv", TABLE);
    let said = freeboard(&["pack", &table, "--capacity", "11"]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.out.contains("it cannot fit: 12 bytes are needed at the least"), "{said:?}");
    let report = freeboard(&["pack", &table, "--capacity", "11", "--json"]).json();
    assert_eq!(report["impossible"], true);
    assert_eq!(report["fits"], false);
}

#[test]
fn a_bad_table_is_refused_with_line_column_and_remedy() {
    let folder = Folder::new("pack-bad");
    for (content, words) in [
        ("", ["line 1", "begin with id,lower,upper,size"]),
        ("id,lower,size\n", ["line 1", "no column upper"]),
        ("id,lower,upper,size,id\n", ["line 1", "column id stands there twice"]),
        ("id,lower,upper,size\na,0,1\n", ["line 2, column size", "missing"]),
        ("id,lower,upper,size\na,0,1,1\na,0,1,1\n", ["line 3, column id", "stands on line 2"]),
        ("id,lower,upper,size\na,5,5,1\n", ["line 2, column upper", "greater than lower, 5"]),
        ("id,lower,upper,size\na,0,1,0\n", ["line 2, column size", "leave the buffer out"]),
        ("id,lower,upper,size\na,0,1,-4\n", ["line 2, column size", "'-4' must be a whole"]),
        ("id,lower,upper,size\na,0,x,4\n", ["line 2, column upper", "'x' must be a whole"]),
        (
            "id,lower,upper,size\na,0,1,18446744073709551616\n",
            ["line 2, column size", "to 18446744073709551615"],
        ),
        (
            "id,lower,upper,size\na,0,1,1\nb,0,1,18446744073709551615\n",
            ["line 3, column size", "2^64 bytes or more"],
        ),
        ("id,lower,upper,size\na,0,1,1,9\n", ["line 2", "more fields than the first line"]),
    ] {
        let table = folder.file("bad.csv", content);
        let said = freeboard(&["pack", &table]);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{content:?}: {said:?}");
        for word in words {
            assert!(said.err.contains(word), "{content:?}: '{word}' is not in {said:?}");
        }
        assert!(said.err.contains("bad.csv"), "{said:?}");
    }
    for arguments in [["--seconds", "-1"], ["--capacity", "x"], ["--alignment", "0"]] {
        let table = folder.file("table.csv", TABLE);
        let said = freeboard(&[&["pack", table.as_str()], &arguments[..]].concat());
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains(&arguments[0][2..]), "{arguments:?}: {said:?}");
    }
    let said = freeboard(&["pack", "/nowhere/x.csv"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("cannot read /nowhere/x.csv"), "{said:?}");
}
