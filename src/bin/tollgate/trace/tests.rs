#![allow(clippy::unwrap_used)]
use std::io::Cursor;

use flate2::{Compression, write::GzEncoder};

use super::*;

const HEADER: &str = "t_ms,account,org,tier,model,input_tokens,output_tokens";

fn open(bytes: impl Into<Vec<u8>>) -> Result<Trace, Failure> {
    Trace::new(PathBuf::from("t.csv"), Box::new(Cursor::new(bytes.into())))
}

fn rows(bytes: impl Into<Vec<u8>>) -> Result<(Vec<Row>, Names), Failure> {
    let mut trace = open(bytes)?;
    let (mut rows, mut names) = (Vec::new(), Names::default());
    loop {
        let batch = trace.next_batch()?;
        if batch.rows.is_empty() {
            return Ok((rows, names));
        }
        rows.extend(batch.rows);
        names.extend(batch.names);
    }
}

fn message(bytes: impl Into<Vec<u8>>) -> String {
    rows(bytes).map(|(rows, _)| rows.len()).unwrap_err().to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn columns_are_found_by_name() {
    let text = "label,output_tokens,since_ms,colour,t_ms,account,org,tier,model,input_tokens,ip\r\n\
                legit,7,-5,red,3,a,,free,m,9,10.0.0.1\r\n\
                ,0,,red,3,\"b,c\",o,paid,m,9,\r\n";
    let (rows, names) = rows(text).unwrap();
    assert_eq!(names.accounts, ["a".into(), "b,c".into()]);
    assert_eq!(names.labels, ["legit".into(), "unlabelled".into()]);
    assert_eq!(names.tiers, [("free".into(), 2), ("paid".into(), 3)]);
    let [first, second] = rows[..] else { panic!("{rows:?}") };
    assert_eq!((first.at_ms, first.input_tokens, first.output_tokens), (3, 9, 7));
    assert_eq!((first.organization, second.organization), (None, Some(0)));
    assert_eq!((first.since_ms, second.since_ms), (Some(-5), None));
    assert!(first.evidence.ip.is_some() && second.evidence.ip.is_none() && first.evidence.client.is_none());
}

#[test]
fn compressed_in_several_members_is_the_same() {
    let text = format!("{HEADER}\n1,a,o,t,m,1,2\n2,a,o,t,m,1,2\n");
    let (head, tail) = text.split_at(60);
    let members = [gzip(head), gzip(tail)].concat();
    assert_eq!(rows(members).unwrap().0, rows(text).unwrap().0);
}

#[test]
fn a_header_without_rows_and_blank_lines_are_fine() {
    assert!(rows(HEADER).unwrap().0.is_empty());
    let (_, names) = rows(format!("{HEADER}\n\n\n1,a,o,t,m,1,2")).unwrap();
    assert_eq!(names.tiers, [("t".into(), 4)]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let with = |row: &str| message(format!("{HEADER}\n1,a,o,t,m,1,2\n{row}\n"));
    for (row, expected) in [
        ("x,a,o,t,m,1,2", "t.csv:3: column t_ms: \"x\" is not a whole number from 0 to 946080000000"),
        ("-1,a,o,t,m,1,2", "t.csv:3: column t_ms: \"-1\" is not"),
        ("0,a,o,t,m,1,2", "t.csv:3: column t_ms: 0 is before the row above (1); rows must be sorted by time"),
        (
            "1,a,o,t,m,1.5,2",
            "t.csv:3: column input_tokens: \"1.5\" is not a whole number from 0 to 4294967295",
        ),
        ("1,a,o,t,m,1,4294967296", "t.csv:3: column output_tokens: \"4294967296\" is not"),
        ("1,a,o,t,m,1", "t.csv:3: has 6 fields; the header has 7"),
        ("1,a,o,t,m,1,2,3", "t.csv:3: has 8 fields; the header has 7"),
        ("1,,o,t,m,1,2", "t.csv:3: column account is empty"),
        ("1,a,o,,m,1,2", "t.csv:3: column tier is empty"),
        ("99999999999999999999999999,a,o,t,m,1,2", "t.csv:3: column t_ms"),
    ] {
        let message = with(row);
        assert!(message.starts_with(expected), "{row}: {message}");
        assert!(!message.contains('\n'));
    }
}

#[test]
fn what_is_no_trace_is_refused() {
    assert!(message("").starts_with("t.csv:1: the trace is empty; its first line must name"));
    assert!(message("t_ms,account\n").starts_with("t.csv:1: column org is missing; required are t_ms,"));
    assert!(message(format!("{HEADER},org\n")).starts_with("t.csv:1: column org is there twice"));
    let mut bytes = format!("{HEADER}\n1,a").into_bytes();
    bytes.extend([0xff, 0xfe]);
    bytes.extend(b",o,t,m,1,2\n");
    assert!(message(bytes).starts_with("t.csv:2: column account: "));
    assert!(message([0xff, 0xfe, b'\n']).contains("not UTF-8"));
}

#[test]
fn a_record_without_an_end_is_not_gathered() {
    for start in ["1,a", "1,\"a"] {
        let long = format!("{HEADER}\n1,a,o,t,m,1,2\n{start}{}", "x".repeat(10 << 20));
        let message = message(long);
        assert!(message.starts_with("t.csv:3: the record is longer than 65536 bytes"), "{message}");
    }
}

#[test]
fn damaged_compression_is_told() {
    let text: String = (0..2000).map(|at| format!("{at},account{at},o,t,m,1,2\n")).collect();
    let whole = gzip(&format!("{HEADER}\n{text}"));
    let cut = message(&whole[..whole.len() / 2]);
    assert!(cut.contains("cut short") && cut.starts_with("t.csv:"), "{cut}");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    flipped[middle + 1] ^= 0x55;
    assert!(rows(flipped).is_err());
    assert!(message([0x1f, 0x8b]).contains("cut short"));
}
