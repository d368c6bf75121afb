//! Files written whole or not at all, and SHA-256 in hexadecimal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use base16ct::lower::encode_string;
use sha2::{Digest, Sha256};

/// Writes a file: a reader sees the old content or the new, whole.
///
/// # Errors
/// When the file system refuses, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = lightwafer_maps::file::write(path, bytes);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    encode_string(&Sha256::digest(bytes))
}

/// Length and SHA-256 of a file, which is read once.
///
/// # Errors
/// When the file system refuses.
pub fn sha256_of_file(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let (mut block, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((bytes, encode_string(&hash.finalize())));
        }
        hash.update(&block[..read]);
        bytes += read as u64;
    }
}
