//! What the machine says of a database server that runs on it: the sockets that really listen, the
//! unix socket in its folder, the files of the audit log.
//!
//! Nothing is asked of the server, so that it can be held against what the server says. A server in
//! a container with a network of its own is not on this machine in that sense: then what the
//! kernel here says is another one's, and nothing is said.

mod host;
mod sockets;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::name::{Name, escape};
use crate::server::{Facts, Settings};

pub use host::{
    Blocked, Group, Host, OsUser, ServerClock, Standing, listening_servers, server_clock, standing,
};

/// What was seen; or why it could not be, in words.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The TCP sockets that the server listens on.
    pub listeners: Result<Vec<SocketAddr>, String>,
    /// The unix socket where the server says that it is.
    pub socket: Result<SocketFile, String>,
    /// The files of the log that the server writes, the live one first.
    pub log: Result<Vec<LogFile>, String>,
    /// The live files of the logs that are read, by device and inode.
    pub read: Vec<(PathBuf, Option<(u64, u64)>)>,
}

/// The unix socket in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Where.
    pub path: PathBuf,
    /// Something is there, and it is a socket; none if nothing is.
    pub is_socket: Option<bool>,
    /// Its owner, and the owner of the server's data.
    pub owner: Option<(u32, u32)>,
    /// Mode of the folder.
    pub folder_mode: u32,
}

/// A file of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where.
    pub path: PathBuf,
    /// Permissions.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// When it was written last, in seconds since 1970.
    pub modified: i64,
    /// Device and inode.
    pub id: (u64, u64),
}

impl Machine {
    /// A machine that can't be looked at, and why.
    pub fn unseen(why: &str) -> Self {
        Self {
            listeners: Err(why.to_owned()),
            socket: Err(why.to_owned()),
            log: Err(why.to_owned()),
            read: Vec::new(),
        }
    }

    /// Looks at the machine. `audit_log` are the live files that are read, one a log.
    pub fn look(facts: &Facts, audit_log: Vec<PathBuf>) -> Self {
        let setting = |name: &str| facts.settings.get(name).filter(|value| !value.is_empty());
        let data = setting("datadir").unwrap_or("/");
        let socket = setting("socket").map(|path| Path::new(data).join(path));
        let here = match &socket {
            None => Err("the server has no unix socket to be known by".to_owned()),
            Some(path) => sockets::is_here(path).and_then(|here| match here {
                true => Ok(path),
                false => Err(format!(
                    "no process of this machine listens on {}: the server is in a container or on \
                     another machine; run conntracker there",
                    escape(path.as_os_str().as_encoded_bytes())
                )),
            }),
        };
        let owner = |path: &Path| fs::metadata(path).ok().map(|meta| meta.uid());
        let read = |path: PathBuf| {
            let meta = fs::metadata(&path).ok();
            (path, meta.map(|meta| (meta.dev(), meta.ino())))
        };
        Self {
            listeners: here.clone().and_then(|path| {
                let ports = ["port", "extra_port"].map(|name| facts.settings.number(name));
                let ports = ports
                    .into_iter()
                    .flatten()
                    .filter_map(|port| u16::try_from(port).ok());
                sockets::of(path, owner(path), &ports.collect::<Vec<_>>())
            }),
            socket: here
                .clone()
                .and_then(|path| socket_file(path, owner(Path::new(data)))),
            log: here.and_then(|_| {
                let current =
                    setting("server_audit_current_log").or(setting("server_audit_file_path"));
                match current {
                    Some(path) => log_files(&Path::new(data).join(path)),
                    None => Err("the server does not say where its audit log is".into()),
                }
            }),
            read: audit_log.into_iter().map(read).collect(),
        }
    }
}

/// The file that the audit plugin writes, or would write if it were on: as the plugin finds it, in the
/// server's data directory, and in a folder if it was given one.
pub fn audit_log_of(settings: &Settings) -> Option<PathBuf> {
    const USUAL_NAME: &str = "server_audit.log";
    let setting = |name: &str| settings.get(name).filter(|value| !value.is_empty());
    let data = Path::new(setting("datadir")?);
    let logging = settings.is_on("server_audit_logging");
    let current = setting("server_audit_current_log").filter(|_| logging);
    if let Some(current) = current {
        return Some(data.join(current));
    }
    let given = setting("server_audit_file_path").unwrap_or_default();
    let path = match given.trim_start_matches(' ') {
        "" => data.join(USUAL_NAME),
        path => data.join(path),
    };
    Some(match path.is_dir() {
        true => path.join(USUAL_NAME),
        false => path,
    })
}

fn socket_file(path: &Path, data_owner: Option<u32>) -> Result<SocketFile, String> {
    let refused = |path: &Path, error: &io::Error| {
        format!("{}: {error}", escape(path.as_os_str().as_encoded_bytes()))
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder_mode = fs::metadata(folder)
        .map_err(|error| refused(folder, &error))?
        .mode();
    let file = match fs::symlink_metadata(path) {
        Ok(meta) => Some(meta),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(refused(path, &error)),
    };
    Ok(SocketFile {
        path: path.to_owned(),
        is_socket: file.as_ref().map(|meta| meta.file_type().is_socket()),
        owner: file.map(|meta| meta.uid()).zip(data_owner),
        folder_mode,
    })
}

/// The live file, if it is there, and its rotated siblings: the plugin's own, with a number.
fn log_files(live: &Path) -> Result<Vec<LogFile>, String> {
    let refused = |path: &Path, error: &io::Error| {
        format!("{}: {error}", escape(path.as_os_str().as_encoded_bytes()))
    };
    let folder = live.parent().unwrap_or(Path::new("/"));
    let name = Name::from(live.file_name().unwrap_or_default().as_encoded_bytes());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| refused(folder, &error))? {
        let path = entry.map_err(|error| refused(folder, &error))?.path();
        let found = path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_ours = match found.strip_prefix(&name.0[..]) {
            Some([]) => true,
            Some([b'.', digits @ ..]) => digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        // A rotation may take it away under our eyes.
        let Some(meta) = fs::metadata(&path)
            .ok()
            .filter(|meta| is_ours && meta.is_file())
        else {
            continue;
        };
        let modified = meta
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        files.push(LogFile {
            mode: meta.mode(),
            size: meta.len(),
            modified: modified.map_or(0, |at| at.as_secs() as i64),
            id: (meta.dev(), meta.ino()),
            path,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
