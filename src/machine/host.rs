//! What `init` looks at on the machine: where servers listen, the clock of a server's process, the
//! user who will run conntracker, and what keeps him from a file. Nothing is changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{self, User};

use super::sockets;

/// Folders that systemd reads units from.
const UNIT_FOLDERS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Folders of option files that packages of the server include: Debian's, Red Hat's.
const OPTION_FOLDERS: [&str; 2] = ["/etc/mysql/mariadb.conf.d", "/etc/my.cnf.d"];

/// Where audit logs are found on a machine whose server can't be asked.
const USUAL_LOGS: [&str; 3] = [
    "/var/lib/mysql/server_audit.log",
    "/var/log/mysql/server_audit.log",
    "/var/log/mariadb/server_audit.log",
];

/// Users whom packages make for the server.
const SERVER_USERS: [&str; 2] = ["mysql", "mariadb"];

/// Where syslog's files are: Debian's, Red Hat's.
const SYSLOG_FILES: [&str; 2] = ["/var/log/syslog", "/var/log/messages"];

/// The machine as somebody who installs conntracker finds it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The operating system's user who will run it.
    pub user: Option<OsUser>,
    /// This program.
    pub program: PathBuf,
    /// That user can't run it where it is.
    pub program_blocked: bool,
    /// The group that the audit log, or the folder for it, belongs to.
    pub log_group: Option<Group>,
    /// What keeps that user, as a member of that group, from the audit log.
    pub log_blocked: Vec<Blocked>,
    /// The owner of the folder of the SQLite database; none if there is no such folder.
    pub store_owner: Option<u32>,
    /// Our timer is installed (the package brings it).
    pub has_timer: bool,
    /// Cron has our line already.
    pub has_cron_line: bool,
    /// The folder in which the server looks for options.
    pub option_folder: Option<PathBuf>,
}

/// A user of the operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsUser {
    /// Number.
    pub uid: u32,
    /// Numbers of the groups, the primary one among them.
    pub groups: Vec<u32>,
}

/// A group of the operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Number.
    pub gid: u32,
    /// Name; the number where it has none.
    pub name: String,
}

/// What keeps somebody from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The file, or a folder on the way to it.
    pub path: PathBuf,
    /// It is a folder.
    pub is_folder: bool,
    /// Its group is among those of the user, so that a right of the group would do.
    pub of_group: bool,
}

impl Host {
    /// Looks for the user `name`, at the file `log` and the folder of the database `store`.
    pub fn look(name: &str, log: &Path, store: &Path) -> Self {
        let user = OsUser::find(name);
        let log_group = nearest(log).map(|meta| Group::of(meta.gid()));
        let (uid, mut groups) = match &user {
            Some(user) => (user.uid, user.groups.clone()),
            // Nobody yet.
            None => (u32::MAX, Vec::new()),
        };
        let program = std::env::current_exe()
            .and_then(fs::canonicalize)
            .unwrap_or_else(|_| "/usr/local/bin/conntracker".into());
        let program_blocked = !blocked(&program, uid, &groups, 0o1).is_empty();
        groups.extend(log_group.iter().map(|group| group.gid));
        let folder = store.parent().unwrap_or(Path::new("/"));
        let exists = |path: &Path| path.exists().then(|| path.to_owned());
        Self {
            program_blocked,
            log_blocked: blocked(log, uid, &groups, 0o4),
            store_owner: fs::metadata(folder).ok().map(|meta| meta.uid()),
            has_timer: UNIT_FOLDERS
                .iter()
                .any(|folder| Path::new(folder).join("conntracker.timer").exists()),
            has_cron_line: Path::new("/etc/cron.d/conntracker").exists(),
            option_folder: OPTION_FOLDERS
                .iter()
                .find_map(|folder| exists(Path::new(folder))),
            user,
            program,
            log_group,
        }
    }

    /// The files of syslog that are there.
    pub fn syslog_files() -> Vec<PathBuf> {
        let files = SYSLOG_FILES.iter().map(PathBuf::from);
        files.filter(|path| path.is_file()).collect()
    }

    /// Audit logs at places where they are usual.
    pub fn audit_logs() -> Vec<PathBuf> {
        let files = USUAL_LOGS.iter().map(PathBuf::from);
        files.filter(|path| path.is_file()).collect()
    }
}

impl OsUser {
    /// The user of this name.
    pub fn find(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok()??;
        let c_name = std::ffi::CString::new(name).ok()?;
        let groups = unistd::getgrouplist(&c_name, user.gid).unwrap_or_default();
        Some(Self {
            uid: user.uid.as_raw(),
            groups: groups.iter().map(|gid| gid.as_raw()).collect(),
        })
    }
}

impl Group {
    fn of(gid: u32) -> Self {
        let found = unistd::Group::from_gid(gid.into()).ok().flatten();
        Self {
            gid,
            name: found.map_or_else(|| gid.to_string(), |group| group.name),
        }
    }
}

/// The file, or the nearest folder on the way to it that is there.
fn nearest(path: &Path) -> Option<fs::Metadata> {
    path.ancestors().find_map(|path| fs::metadata(path).ok())
}

/// What keeps the user `uid` with `groups` from `path`: folders on the way to it that he may not pass,
/// and the file, which he needs the right `wanted` to (4 to read, 1 to run). Whoever reads a log has to
/// find its rotated files, too, by reading its folder.
fn blocked(path: &Path, uid: u32, groups: &[u32], wanted: u32) -> Vec<Blocked> {
    if uid == 0 {
        return Vec::new();
    }
    let folder = path.parent();
    let way: Vec<_> = path.ancestors().collect();
    let steps = way.into_iter().rev();
    let blocked = steps.filter_map(|step| {
        let meta = fs::metadata(step).ok()?;
        let of_group = groups.contains(&meta.gid());
        let right = match (meta.is_dir(), Some(step) == folder) {
            (true, true) => wanted | 0o1,
            (true, false) => 0o1,
            (false, _) => wanted,
        };
        let shift = match (meta.uid() == uid, of_group) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        (meta.mode() >> shift & right != right).then(|| Blocked {
            path: step.to_owned(),
            is_folder: meta.is_dir(),
            of_group,
        })
    });
    blocked.collect()
}

/// The unix sockets that listen and are named as servers name theirs.
pub fn listening_servers() -> Vec<PathBuf> {
    let is_server = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["mysql", "mariadb"]
            .iter()
            .any(|begin| name.starts_with(begin))
            && name.contains(".sock")
            // MySQL's X protocol.
            && !name.starts_with("mysqlx")
    };
    sockets::unix_listeners()
        .into_iter()
        .filter(is_server)
        .collect()
}

/// What a socket that nobody named may be taken for. Whoever has an account on the machine can listen
/// under a server's name, and what he answers would end in the configuration and in root's shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The server's.
    Sure,
    /// A server's user has it, in a place where others may put one, too.
    Doubtful,
    /// Anybody's.
    Foreign,
}

/// What `socket` may be taken for. `is_usual` if it is where servers listen: then root has made the
/// folder for the server, whatever its user is called, unless others may write there.
pub fn standing(socket: &Path, is_usual: bool) -> Standing {
    let Ok(owner) = fs::metadata(socket).map(|meta| meta.uid()) else {
        return Standing::Foreign;
    };
    let folders_of = |path: &Path| -> Option<Vec<Folder>> {
        let folders = path.ancestors().skip(1);
        folders.map(|path| Folder::find(path).ok()).collect()
    };
    // Neither what a link leads to nor the link may be another's.
    let is_kept = [Ok(socket.to_owned()), fs::canonicalize(socket)]
        .into_iter()
        .all(|path| {
            let folders = path.ok().and_then(|path| folders_of(&path));
            folders.is_some_and(|folders| folders.iter().all(|folder| folder.is_kept_for(owner)))
        });
    let is_of_server = owner == 0
        || owner == unistd::geteuid().as_raw()
        || SERVER_USERS
            .iter()
            .any(|name| OsUser::find(name).is_some_and(|user| user.uid == owner));
    match (is_kept, is_of_server || is_kept && is_usual) {
        (true, true) => Standing::Sure,
        (false, true) => Standing::Doubtful,
        (_, false) => Standing::Foreign,
    }
}

/// A folder, as far as it says who may put something into it.
#[derive(Clone, Copy, Debug)]
struct Folder {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Folder {
    fn find(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self {
            uid: meta.uid(),
            gid: meta.gid(),
            mode: meta.mode(),
        })
    }

    /// Only root and this user can put something there. A sticky bit keeps what is there, but nobody
    /// from being the first.
    fn is_kept_for(self, owner: u32) -> bool {
        (self.uid == 0 || self.uid == owner)
            && self.mode & 0o002 == 0
            && (self.mode & 0o020 == 0 || self.gid == 0)
    }
}

/// What the process of a server says of its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerClock {
    /// It may not be seen, or is not here.
    Unknown,
    /// It goes by the machine's.
    Machine,
    /// Its variable TZ.
    Tz(String),
}

/// The clock of the process that listens on `socket`. Only root may look at another user's process.
pub fn server_clock(socket: &Path) -> ServerClock {
    let environment =
        sockets::process_of(socket).and_then(|folder| fs::read(folder.join("environ")).ok());
    let Some(environment) = environment else {
        return ServerClock::Unknown;
    };
    let mut variables = environment.split(|byte| *byte == 0);
    match variables.find_map(|variable| variable.strip_prefix(b"TZ=")) {
        Some(zone) => ServerClock::Tz(String::from_utf8_lossy(zone).into_owned()),
        None => ServerClock::Machine,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn servers_are_known_by_the_names_of_their_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let listen = |name: &str| {
            let path = folder.path().join(name);
            (UnixListener::bind(&path).unwrap(), path)
        };
        let names = [
            "mysqld.sock",
            "mysql.sock",
            "mariadb-2.sock",
            "mysqlx.sock",
            "app.sock",
        ];
        let open = names.map(listen);
        let nobody = folder.path().join("mysqld-old.sock");
        drop(UnixListener::bind(&nobody).unwrap());
        let found = listening_servers();
        let here: Vec<_> = open.iter().map(|(_, path)| found.contains(path)).collect();
        assert_eq!(here, [true, true, true, false, false]);
        assert!(!found.contains(&nobody), "nobody listens there any more");
        let clock = server_clock(&open[0].1);
        let own = std::env::var("TZ").map_or(ServerClock::Machine, ServerClock::Tz);
        assert_eq!(clock, own);
    }

    #[test]
    fn a_folder_is_kept_for_a_user_if_nobody_else_can_write_there() {
        for (uid, gid, mode, is_kept) in [
            (0, 0, 0o755, true),
            (0, 0, 0o775, true),
            (102, 102, 0o700, true),
            (0, 102, 0o775, false),
            (0, 0, 0o777, false),
            (0, 0, 0o1777, false),
            (1_000, 0, 0o755, false),
        ] {
            let folder = Folder { uid, gid, mode };
            assert_eq!(folder.is_kept_for(102), is_kept, "{folder:?}");
        }
    }

    #[test]
    fn a_socket_that_anybody_may_have_made_is_not_a_servers() {
        // The temporary folder is everybody's.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mysql.sock");
        assert_eq!(standing(&path, true), Standing::Foreign, "it is not there");
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(standing(&path, false), Standing::Doubtful);
        if unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4_242), None).unwrap();
            for is_usual in [true, false] {
                assert_eq!(standing(&path, is_usual), Standing::Foreign);
            }
        }
    }

    #[test]
    fn what_keeps_somebody_from_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let log = folder.path().join("log");
        fs::write(&log, "").unwrap();
        set(folder.path(), 0o750);
        set(&log, 0o640);
        let gid = fs::metadata(&log).unwrap().gid();
        let group = Some(gid);
        let by = |groups: Option<u32>, wanted| -> Vec<(PathBuf, bool)> {
            let groups: Vec<_> = groups.into_iter().collect();
            let blocked = blocked(&log, 4_242, &groups, wanted).into_iter();
            blocked.map(|one| (one.path, one.of_group)).collect()
        };
        let (folder_of_log, file) = (folder.path().to_owned(), log.clone());
        assert_eq!(
            by(None, 0o4),
            [(folder_of_log.clone(), false), (file.clone(), false)]
        );
        assert_eq!(by(group, 0o4), []);
        assert_eq!(by(group, 0o1), [(file, true)]);
        for mode in [0o700, 0o710] {
            set(folder.path(), mode);
            assert_eq!(by(group, 0o4), [(folder_of_log.clone(), true)]);
        }
        // To run what is in it, nobody has to read it.
        set(&log, 0o710);
        assert_eq!(by(group, 0o1), []);
        assert_eq!(blocked(&log, 0, &[], 0o4), []);
        // A file that is not there yet.
        set(folder.path(), 0o755);
        assert_eq!(blocked(&folder.path().join("new"), 4_242, &[], 0o4), []);
    }
}
