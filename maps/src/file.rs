//! Writes files atomically: a file is written completely or not at all.
//!
//! [`write()`] writes bytes from memory, [`AtomicFile`] a file piece by piece. A reader sees the old file or the new
//! one, also if the disk is full or the power fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

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
/// Until then it lies in the same folder, under a name of its own: `.lightwafer-….partial`. If it is dropped before
/// [`AtomicFile::commit`], it is removed. Several can be written for one path at a time; the last complete one stays.
///
/// A link is followed, and the file that it names is replaced. An existing file's permissions are kept. What is no
/// regular file, such as a pipe or a device, is not replaced: [`AtomicFile::commit`] writes the bytes to it.
#[derive(Debug)]
pub struct AtomicFile {
    partial: Partial,
    path: PathBuf,
}

/// Where the bytes are until the file is complete.
#[derive(Debug)]
enum Partial {
    /// In a file that gets the name `real`.
    Named { file: NamedTempFile, real: PathBuf },
    /// In a file without a name. They are copied to `target`.
    Copied { file: File, target: File },
}

impl Partial {
    fn file(&mut self) -> &mut File {
        match self {
            Self::Named { file, .. } => file.as_file_mut(),
            Self::Copied { file, .. } => file,
        }
    }
}

impl AtomicFile {
    /// Creates the file under its temporary name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        let old = match fs::metadata(path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let partial = match old {
            Some(old) if !old.is_file() => Partial::Copied {
                target: OpenOptions::new().write(true).open(path)?,
                file: tempfile::tempfile()?,
            },
            old => {
                let real = real(path)?;
                Partial::Named {
                    file: named(folder(&real), old.as_ref())?,
                    real,
                }
            }
        };
        Ok(Self {
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
        match self.partial {
            Partial::Named { file, real } => {
                file.as_file().sync_all()?;
                file.persist(&real).map_err(|error| error.error)?;
                sync_folder(folder(&real))
            }
            Partial::Copied {
                mut file,
                mut target,
            } => {
                file.rewind()?;
                io::copy(&mut file, &mut target)?;
                synced(target.sync_all())
            }
        }
    }
}

/// The file that a path names. Links are followed, also those to a file that does not exist yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    loop {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_link(&path) {
                Ok(to) => path = folder(&path).join(to),
                Err(_) => return Ok(path),
            },
            real => return real,
        }
    }
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// A new file in a folder, with the permissions of an old one.
fn named(folder: &Path, old: Option<&fs::Metadata>) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".lightwafer-").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = old.map_or(0o666, |old| old.permissions().mode() & 0o777);
        let permissions = fs::Permissions::from_mode(mode);
        // The system takes some rights away from new files. An old file has what it has.
        let file = builder
            .permissions(permissions.clone())
            .tempfile_in(folder)?;
        if old.is_some() {
            file.as_file().set_permissions(permissions)?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    {
        let _ = old;
        builder.tempfile_in(folder)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.partial.file().flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.partial.file().seek(to)
    }
}

/// Syncs a folder, so that the names in it survive a loss of power. Some folders may be written but not read; that is
/// no error.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    synced(File::open(folder).and_then(|folder| folder.sync_all()))
}

/// Other systems cannot open a folder as a file.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The result of a sync. Some file systems, pipes and devices cannot do this; that is no error.
fn synced(result: io::Result<()>) -> io::Result<()> {
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match result {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Ok(())
        }
        result => result,
    }
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
    fn what_fails_or_is_given_up_leaves_the_old_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        // The name is a folder's: the file cannot get it.
        let taken = dir.path().join("taken");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write(&taken, b"new").is_err());
        assert!(write(&dir.path().join("none/file"), b"new").is_err());
        let path = dir.path().join("model.lw");
        write(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()).len(), 3);
        drop(file);
        assert_eq!(names(dir.path()), ["model.lw", "taken"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn neighbours_stay_and_writers_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set.npz");
        let own = dir.path().join("set.npz.partial");
        fs::write(&own, "the user's").unwrap();
        let mut files = [(); 2].map(|()| AtomicFile::create(&path).unwrap());
        for (file, text) in files.iter_mut().zip(["first", "second"]) {
            file.write_all(text.as_bytes()).unwrap();
        }
        for file in files {
            file.commit().unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read(&own).unwrap(), b"the user's");
        assert_eq!(names(dir.path()), ["set.npz", "set.npz.partial"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        // As any other program makes it.
        fs::write(at("plain"), "").unwrap();
        write(&at("new"), b"new").unwrap();
        assert_eq!(mode("new"), mode("plain"));
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o662)).unwrap();
        symlink("new", at("link")).unwrap();
        write(&at("link"), b"newer").unwrap();
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("new"));
        assert_eq!(fs::read(at("new")).unwrap(), b"newer");
        assert_eq!(mode("new"), 0o662);
        // A link to a file that does not exist yet.
        symlink("later", at("early")).unwrap();
        write(&at("early"), b"now").unwrap();
        assert_eq!(fs::read_link(at("early")).unwrap(), Path::new("later"));
        assert_eq!(fs::read(at("later")).unwrap(), b"now");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_written_to() {
        use std::os::unix::fs::FileTypeExt;
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        let mut file = AtomicFile::create(&pipe).unwrap();
        file.write_all(b"hXllo").unwrap();
        // A pipe cannot do this by itself.
        file.seek(SeekFrom::Start(1)).unwrap();
        file.write_all(b"e").unwrap();
        file.commit().unwrap();
        assert_eq!(reader.join().unwrap(), b"hello");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(names(dir.path()), ["pipe"]);
        write(Path::new("/dev/null"), b"gone").unwrap();
    }
}
