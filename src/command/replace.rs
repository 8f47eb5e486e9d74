//! Files that others look at while they are written: a page, evidence, figures for Prometheus.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::name::escape;

/// Writes a file that others may not read. Where something else than a file stands, such as a device,
/// it is written to as it is.
pub(super) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let fail = |error| Error::file(path, error);
    if !is_written_as_it_is(path) {
        return replace(path, 0o600, fail, write);
    }
    // What has been written through `/dev/stdout` before may be in a file, and stays.
    let mut device = OpenOptions::new().append(true).open(path).map_err(fail)?;
    write(&mut device).map_err(|error| about_file(error, fail))
}

/// The error of somebody who names the store, or a log that is read, as the file to be written.
pub(super) fn must_not_be_read(path: &Path, config: &Config) -> Result<()> {
    let id = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let read = config.audit_log.iter().chain([&config.sqlite.path]);
    match id(path).is_some_and(|target| read.filter_map(|one| id(one)).any(|one| one == target)) {
        false => Ok(()),
        true => Err(Error::Config(format!(
            "{}: this is the store or the audit log; name another file to write",
            escape(path.as_os_str().as_encoded_bytes())
        ))),
    }
}

/// Puts a new file in the place of `path`, in one step: whoever looks sees the old one or the whole new
/// one. It has this mode, whatever the umask is. A link is replaced, not what it leads to: root may be
/// asked to write where somebody else could make one. `fail` tells what the operating system refused.
pub(super) fn replace(
    path: &Path,
    mode: u32,
    fail: impl Fn(io::Error) -> Error + Copy,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Mode 0600 until it is whole, and gone again if anything goes wrong. Its name is not one that the
    // collector of Prometheus reads.
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(fail)?;
    let mut out = BufWriter::new(&mut file);
    write(&mut out)
        .and_then(|()| Ok(out.flush()?))
        .map_err(|error| about_file(error, fail))?;
    drop(out);
    let mode = Permissions::from_mode(mode);
    file.as_file().set_permissions(mode).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Whether there is something else than a file. Of links only those of the system are followed, such as
/// `/dev/stdout`: nobody else can make one there.
fn is_written_as_it_is(path: &Path) -> bool {
    if !path.is_symlink() {
        return path.metadata().is_ok_and(|meta| !meta.is_file());
    }
    let folder = path.parent().map(Path::canonicalize);
    folder
        .and_then(io::Result::ok)
        .is_some_and(|folder| folder == Path::new("/dev") || folder.starts_with("/proc"))
}

/// What is printed goes to a file here.
fn about_file(error: Error, fail: impl Fn(io::Error) -> Error) -> Error {
    match error {
        Error::Output(error) => fail(error),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn says(text: &str) -> impl FnOnce(&mut dyn Write) -> Result<()> {
        move |out| Ok(out.write_all(text.as_bytes())?)
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.prom");
        let fail = |error| Error::textfile(&path, error);
        for mode in [0o600, 0o644] {
            fs::write(&path, "old").unwrap();
            replace(&path, mode, fail, says("new")).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
        }
        let full = |_: &mut dyn Write| Err(io::Error::other("full").into());
        let error = replace(&path, 0o644, fail, full).unwrap_err();
        assert!(error.to_string().contains("a.prom"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_planted_link_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("a.html"), folder.path().join("target"));
        fs::write(&target, "old").unwrap();
        for leads_to in [&target, Path::new("/dev/null"), Path::new("nowhere")] {
            let _ = fs::remove_file(&path);
            symlink(leads_to, &path).unwrap();
            write_file(&path, says("page")).unwrap();
            assert!(!path.is_symlink(), "{}", leads_to.display());
            assert_eq!(fs::read_to_string(&path).unwrap(), "page");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert!(!folder.path().join("nowhere").exists());
    }
}
