//! Any bytes as a file of wafers: a named error, or wafers whose every die is 0, 1 or 2.
//!
//! The first byte chooses: the bytes are the whole `.npz`, or the arrays in a zip file made around them,
//! so that a mutation gets past zip's own checksums.
#![no_main]

use std::fs;
use std::io::{Cursor, Write as _};

use libfuzzer_sys::fuzz_target;
use lightwafer_maps::npz::read_wafers;
use lightwafer_runtime::dies::{DieMap, MAX_PACKED_LEN};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, bytes)) = bytes.split_first() else {
        return;
    };
    let file = match mode % 4 {
        0 => bytes.to_vec(),
        1 => zipped(&[("arr_0.npy", bytes)]),
        _ => {
            // Where the second array begins follows from the mode.
            let (maps, labels) = bytes.split_at(bytes.len() * usize::from(mode) / 256);
            zipped(&[("arr_0.npy", maps), ("arr_1.npy", labels)])
        }
    };
    let path = std::env::temp_dir().join(format!("lightwafer-fuzz-{}.npz", std::process::id()));
    fs::write(&path, file).expect("a temporary file");
    let result = read_wafers(&path);
    fs::remove_file(&path).expect("it was written");
    let Ok(set) = result else {
        return;
    };
    let mut packed = vec![0; MAX_PACKED_LEN];
    for at in 0..set.len().min(4) {
        DieMap::pack(set.rows, set.cols, set.dies(at), &mut packed).expect("checked dies");
    }
});

fn zipped(arrays: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in arrays {
        zip.start_file(*name, stored).expect("in memory");
        zip.write_all(bytes).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}
