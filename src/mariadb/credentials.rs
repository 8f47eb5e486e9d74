//! Who we are for a server, out of the environment, a password file and an option file. A password
//! is never shown, and a file that others may read is refused.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{User, geteuid};

use super::{Access, about_file, option_file};
use crate::error::{Error, Result};

/// A password. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a password from where it is kept.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What holds when everything has been read.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Where the server is.
    pub(super) access: Access,
    pub(super) user: String,
    pub(super) password: Option<Password>,
}

/// `access` wins over its `defaults_file`; of passwords, the environment's over that of
/// `password_file`.
pub(super) fn read(access: &Access) -> Result<Credentials> {
    let mut access = access.clone();
    let mut password = access.password.take();
    if let Some(path) = access.password_file.take() {
        let text = read_private(&path)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() || text.contains('\n') {
            let message = "should hold one line, the password";
            return Err(about_file(&path, message));
        }
        password.get_or_insert_with(|| Password::new(text));
    }
    if let Some(path) = access.defaults_file.take() {
        let options = option_file::read(&read_private(&path)?)
            .map_err(|message| about_file(&path, &message))?;
        // A place of its own makes what the file says about another one meaningless.
        if access.socket.is_none() && access.host.is_none() {
            access.host = options.host;
            if access
                .host
                .as_deref()
                .is_none_or(|host| host == "localhost")
            {
                access.socket = options.socket;
            }
        }
        access.port = access.port.or(options.port);
        access.tls = access.tls.or(options.tls);
        access.tls_ca = access.tls_ca.or(options.tls_ca);
        access.user = access.user.or(options.user);
        password = password.or(options.password);
    }
    let user = match access.user.take() {
        Some(user) => user,
        None => name_of_this_user()?,
    };
    Ok(Credentials {
        access,
        user,
        password,
    })
}

/// As MariaDB's own clients do, and as `unix_socket` wants it.
fn name_of_this_user() -> Result<String> {
    let number = geteuid();
    let found = User::from_uid(number).ok().flatten();
    found.map(|user| user.name).ok_or_else(|| {
        Error::Config(format!(
            "mariadb.user: this operating system's user {number} has no name; set mariadb.user or --user"
        ))
    })
}

/// A file that holds a secret.
fn read_private(path: &Path) -> Result<String> {
    let mode = fs::metadata(path)
        .map_err(|error| Error::file(path, error))?
        .mode();
    if mode & 0o007 != 0 {
        return Err(about_file(
            path,
            "holds a password and is open to every user of this machine; run 'chmod o= FILE' on it",
        ));
    }
    fs::read_to_string(path).map_err(|error| Error::file(path, error))
}
