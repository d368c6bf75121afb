//! Writes files atomically: a file is written completely or not at all.
//!
//! [`write()`] writes bytes from memory, [`AtomicFile`] a file piece by piece. A reader sees the old file or the new
//! one, also if the disk is full or the power fails.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to the file `path` atomically.
///
/// # Errors
/// Those of the file system; the old file is unchanged then.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// A file that gets its name when it is complete.
///
/// Until then it lies in the same folder, with `.partial` appended to its name. If it is dropped before
/// [`AtomicFile::commit`], it is removed. Write only one at a time for a path.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Creates the file under its temporary name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        Ok(Self {
            file: File::create(&partial)?,
            partial,
            path: path.into(),
        })
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until all bytes are on the disk, then gives the file its name.
    ///
    /// # Errors
    /// Those of the file system. The old file is unchanged then, unless only the last step failed: to make sure that
    /// the new name survives a loss of power.
    pub fn commit(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        sync_folder(&self.path)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit there is no file of this name any more.
        let _ = fs::remove_file(&self.partial);
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Syncs the folder of a file, so that the file's name survives a loss of power. Some file systems cannot do this, and
/// some folders may be written but not read; that is no error.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    match synced {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

/// Other systems cannot open a folder as a file.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.lw");
        write(&path, b"old").unwrap();
        // A folder where the partial file would be.
        let partial = dir.path().join("model.lw.partial");
        fs::create_dir(&partial).unwrap();
        assert!(write(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        fs::remove_dir(&partial).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["model.lw"]);
    }

    #[test]
    fn what_fails_or_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // The name is a folder's: the file cannot get it.
        let path = dir.path().join("taken");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write(&path, b"new").is_err());
        let mut file = AtomicFile::create(&dir.path().join("given up")).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()), ["given up.partial", "taken"]);
        drop(file);
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn what_a_killed_program_left_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set.npz");
        fs::write(dir.path().join("set.npz.partial"), [7; 1000]).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["set.npz"]);
    }
}
