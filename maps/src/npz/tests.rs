//! Round trips, every integer type, and one wrong file for each error.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use lightwafer_runtime::dies::{CLASS_COUNT, IMAGE_SIZE, Mask};

/// A file name for this test alone; the file is removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lightwafer-npz-{}-{name}", std::process::id())))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.extend(data);
    out
}

fn archive(to: &Temp, arrays: &[(&str, Vec<u8>)], method: CompressionMethod) {
    let mut zip = ZipWriter::new(fs::File::create(&to.0).unwrap());
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn error_of(name: &str, arrays: &[(&str, Vec<u8>)]) -> NpzErrorKind {
    let temp = Temp::new(name);
    archive(&temp, arrays, CompressionMethod::Stored);
    let error = read_wafers(&temp.0).unwrap_err();
    assert!(error.to_string().contains(name), "{error} names the file");
    error.kind
}

fn sample() -> WaferSet {
    let dies = (0..CLASS_COUNT * 3 * 5)
        .map(|i| (i * 5 / 3 % 3) as u8)
        .collect();
    let labels = Some((0..CLASS_COUNT as u8).collect());
    WaferSet {
        rows: 3,
        cols: 5,
        dies,
        labels,
    }
}

#[test]
fn wafers_come_back_as_written() {
    let temp = Temp::new("round-trip");
    let mut set = sample();
    write_wafers(&temp.0, &set).unwrap();
    let read = read_wafers(&temp.0).unwrap();
    assert_eq!(read, set);
    assert_eq!((read.len(), read.dies(1)), (CLASS_COUNT, &set.dies[15..30]));
    assert_eq!(read.dies(CLASS_COUNT), &[] as &[u8]);
    set.labels = None;
    write_wafers(&temp.0, &set).unwrap();
    assert_eq!(read_wafers(&temp.0).unwrap(), set);
}

#[test]
fn every_integer_type_and_byte_order_reads_the_same() {
    let values = [0i64, 1, 2, 3, 1, 0];
    let temp = Temp::new("types");
    for kind in ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"] {
        let size = usize::from(kind.as_bytes()[1] - b'0');
        for big in [false, true] {
            let data: Vec<u8> = values
                .iter()
                .flat_map(|v| {
                    let bytes = v.to_le_bytes()[..size].to_vec();
                    if big {
                        bytes.into_iter().rev().collect()
                    } else {
                        bytes
                    }
                })
                .collect();
            let descr = format!("{}{kind}", if big { '>' } else { '<' });
            for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
                archive(&temp, &[("arr_0", npy(&descr, "(1, 2, 3)", &data))], method);
                let set = read_wafers(&temp.0).unwrap();
                assert_eq!(set.dies, [0, 1, 2, 2, 1, 0], "{descr}");
            }
        }
    }
}

#[test]
fn wrong_values_are_named() {
    let die = error_of(
        "die",
        &[(
            "arr_0",
            npy("<i2", "(2, 1, 2)", &[1, 0, 1, 0, 2, 0, 0xff, 0xff]),
        )],
    );
    assert!(
        matches!(
            die,
            NpzErrorKind::Die {
                wafer: 1,
                die: 1,
                value: -1
            }
        ),
        "{die:?}"
    );
    let huge = error_of("huge", &[("arr_0", npy("<u8", "(1, 1, 1)", &[0xff; 8]))]);
    assert!(
        matches!(
            huge,
            NpzErrorKind::Die {
                value: i64::MAX,
                ..
            }
        ),
        "{huge:?}"
    );

    let maps = ("arr_0", npy("|u1", "(2, 1, 1)", &[1, 2]));
    // Center and Donut never occur together; 2 is no label.
    for row in [[1, 1, 0, 0, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0, 0, 0]] {
        let labels: Vec<u8> = [[0; 8], row].concat();
        let label = error_of(
            "label",
            &[maps.clone(), ("arr_1", npy("|u1", "(2, 8)", &labels))],
        );
        assert!(
            matches!(label, NpzErrorKind::Label { wafer: 1, .. }),
            "{label:?}"
        );
    }
    let short = error_of("labels", &[maps, ("arr_1", npy("|u1", "(1, 8)", &[0; 8]))]);
    assert!(
        matches!(short, NpzErrorKind::Shape { array: "arr_1", .. }),
        "{short:?}"
    );
}

#[test]
fn wrong_headers_are_named() {
    let with = |bytes: Vec<u8>| error_of("header", &[("arr_0", bytes)]);
    assert!(matches!(
        with(npy("<f4", "(1, 1, 1)", &[0; 4])),
        NpzErrorKind::Type { .. }
    ));
    assert!(matches!(
        with(npy("<i3", "(1, 1, 1)", &[0; 3])),
        NpzErrorKind::Type { .. }
    ));
    assert!(matches!(
        with(npy("", "(1, 1, 1)", &[0])),
        NpzErrorKind::Type { .. }
    ));
    for shape in ["(1, 1)", "(1, 0, 1)", "(1, 257, 1)", "(1, 1, 1, 1)", "()"] {
        assert!(
            matches!(with(npy("|u1", shape, &[0])), NpzErrorKind::Shape { .. }),
            "{shape}"
        );
    }
    for shape in [
        "(1, x, 1)",
        "(1, -1, 1)",
        "(99999999999999999999, 1, 1)",
        "1",
    ] {
        assert!(
            matches!(with(npy("|u1", shape, &[0])), NpzErrorKind::Header { .. }),
            "{shape}"
        );
    }
    let fortran =
        String::from_utf8_lossy(&npy("|u1", "(1, 1, 1)", &[0])[10..]).replace("False", "True");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((fortran.len() as u16).to_le_bytes());
    bytes.extend(fortran.as_bytes());
    assert!(matches!(with(bytes), NpzErrorKind::Header { .. }));
    assert!(matches!(
        with(b"\x93NUMPY\x09\x00\0\0".to_vec()),
        NpzErrorKind::Header { .. }
    ));
    assert!(matches!(
        with(b"nothing of the kind".to_vec()),
        NpzErrorKind::Header { .. }
    ));
    assert!(matches!(
        with(vec![]),
        NpzErrorKind::Length { short: true, .. }
    ));
    let missing = error_of("missing", &[("other", npy("|u1", "(1, 1, 1)", &[0]))]);
    assert!(matches!(missing, NpzErrorKind::Missing { array: "arr_0" }));
}

#[test]
fn sizes_that_a_header_makes_up_take_no_memory() {
    let with = |shape: &str| error_of("bomb", &[("arr_0", npy("|u1", shape, &[0]))]);
    assert!(matches!(
        with("(18446744073709551615, 256, 256)"),
        NpzErrorKind::TooLarge { .. }
    ));
    assert!(matches!(
        with("(32769, 256, 256)"),
        NpzErrorKind::TooLarge { .. }
    ));
    assert!(matches!(
        with("(32768, 256, 256)"),
        NpzErrorKind::Length { short: true, .. }
    ));
    let text = |wafers: u64| {
        let kind = with(&format!("({wafers}, 1, 1)"));
        let path = PathBuf::new();
        NpzError { path, kind }.to_string()
    };
    assert!(text(MAX_WAFERS).contains("ends before"));
    assert!(text(MAX_WAFERS + 1).contains("1048577 wafers; at most 1048576"));
    let more = error_of("more", &[("arr_0", npy("|u1", "(1, 1, 1)", &[0; 9]))]);
    assert!(matches!(more, NpzErrorKind::Length { short: false, .. }));
}

#[test]
fn a_damaged_file_is_an_error_wherever_it_is_cut_or_hit() {
    let temp = Temp::new("damaged");
    write_wafers(&temp.0, &sample()).unwrap();
    let whole = fs::read(&temp.0).unwrap();
    for len in (0..whole.len()).step_by(7) {
        fs::write(&temp.0, &whole[..len]).unwrap();
        assert!(read_wafers(&temp.0).is_err(), "cut to {len}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&temp.0, &bytes).unwrap();
        // A changed time stamp may go unnoticed. A panic or other dies must not happen.
        if let Ok(set) = read_wafers(&temp.0) {
            assert_eq!(set.dies, sample().dies, "byte {at}");
        }
    }
}

#[test]
fn masks_are_written_one_at_a_time_and_appear_at_the_end() {
    let temp = Temp::new("masks");
    let mut mask = Mask::new();
    mask.row_mut(2).unwrap()[1] = 0b101;
    let mut writer = MaskWriter::create(&temp.0, 2).unwrap();
    writer.push(&mask).unwrap();
    writer.push(&Mask::new()).unwrap();
    assert!(!temp.0.exists());
    writer.finish().unwrap();
    // A mask has the same layout with a side of 224, so it can be read as dies.
    let set = read_wafers(&temp.0).unwrap();
    let side = IMAGE_SIZE as u16;
    assert_eq!((set.rows, set.cols, set.len()), (side, side, 2));
    let marked: Vec<usize> = (0..set.dies.len()).filter(|i| set.dies[*i] == 1).collect();
    assert_eq!(marked, [2 * 224 + 8, 2 * 224 + 10]);

    let other = Temp::new("unfinished");
    let writer = MaskWriter::create(&other.0, 1).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(
        error.kind,
        NpzErrorKind::MaskCount {
            expected: 1,
            found: 0
        }
    ));
    assert!(!other.0.exists());
}
