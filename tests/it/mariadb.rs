//! A private MariaDB server for one test: its own data, socket, port and audit log in a temporary
//! folder, ended by its process id and removed when the test is over.
//!
//! Preparing a data directory takes longer than starting a server, so it is done once per test
//! process and kept in memory; nothing of it stays behind on the disk.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::client::{Address, Client, Greeting, Login, Refusal, Row, Via};
use crate::random::Random;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Its TCP clients are known by their address, its unix-socket clients as
/// `localhost`; `root`@`localhost` has no password.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    address: Address,
    options: Vec<String>,
    time_zone: &'static str,
    has_plugin: bool,
    root_logins: AtomicU64,
    folder: TempDir,
}

impl Server {
    /// Starts a server in UTC, with the audit plugin writing connection events; `options` are added
    /// to its command line.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in("UTC", options)
    }

    /// The same, with the server's clock in `time_zone`.
    pub(crate) fn start_in(time_zone: &'static str, options: &[&str]) -> Self {
        Self::start_as(time_zone, options, true)
    }

    /// A server without the audit plugin, that reads the options in [`option_file`](Self::option_file).
    pub(crate) fn start_bare(time_zone: &'static str, options: &[&str]) -> Self {
        Self::start_as(time_zone, options, false)
    }

    fn start_as(time_zone: &'static str, options: &[&str], has_plugin: bool) -> Self {
        let folder = TempDir::with_prefix("conntracker-mariadb-").expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        for (path, content) in data_directory() {
            let path = folder.path().join("data").join(path);
            match content {
                None => fs::create_dir(&path).expect("a folder for the server"),
                Some(content) => fs::write(&path, content).expect("room for the server's data"),
            }
            give_to_server(&path);
        }
        for name in ["log", "tmp"] {
            fs::create_dir(folder.path().join(name)).expect("a folder for the server");
            give_to_server(&folder.path().join(name));
        }
        give_to_server(folder.path());

        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        fs::write(folder.path().join("my.cnf"), "").expect("a file of options");
        let (process, address) = launch(folder.path(), time_zone, has_plugin, &options);
        Self {
            process,
            address,
            options,
            time_zone,
            has_plugin,
            root_logins: AtomicU64::new(1),
            folder,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The live audit log; its rotated siblings stand next to it, and nothing else does.
    pub(crate) fn audit_log(&self) -> PathBuf {
        audit_log(self.folder.path())
    }

    /// The options that a server without the plugin reads when it starts.
    pub(crate) fn option_file(&self) -> PathBuf {
        self.folder.path().join("my.cnf")
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its version, as far as tests have to know it.
    pub(crate) fn version(&self) -> (u32, u32) {
        let rows = self.root().query("SELECT VERSION()").expect("a version");
        let text = String::from_utf8(rows[0][0].clone().expect("a version")).expect("UTF-8");
        let mut numbers = text.split('.').map(|number| number.parse().expect(&text));
        let mut next = || numbers.next().expect("a number");
        (next(), next())
    }

    /// Comes in as `login` says.
    pub(crate) fn log_in(&self, via: Via, login: &Login<'_>) -> Result<Client, Refusal> {
        Client::connect(&self.address, via, login)
    }

    /// What a client that comes in over ::1 as `user`, without a password, is answered; none if it
    /// is not let in.
    pub(crate) fn over_ipv6(&self, user: &str, sql: &str) -> Option<String> {
        let output = Command::new(find("mariadb"))
            .args([
                "--no-defaults",
                "--host=::1",
                "--batch",
                "--skip-column-names",
            ])
            .arg(format!("--port={}", self.address.port))
            .arg(format!("--user={user}"))
            .arg(format!("--execute={sql}"))
            .output()
            .expect("the client");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        output.status.success().then_some(text)
    }

    /// Runs each of the statements as `root` over the socket, in one session. Each call is a login
    /// of `root`@`localhost`, see [`root_logins`](Self::root_logins).
    pub(crate) fn sql(&self, statements: &str) {
        let mut root = self.root();
        for statement in statements
            .split(';')
            .map(str::trim)
            .filter(|sql| !sql.is_empty())
        {
            if let Err(refusal) = root.query(statement) {
                panic!("{statement}: {refusal}\n{}", self.error_log());
            }
        }
        root.quit();
    }

    /// A session of `root` over the socket, counted by [`root_logins`](Self::root_logins).
    pub(crate) fn root(&self) -> Client {
        self.root_logins.fetch_add(1, Ordering::Relaxed);
        self.log_in(Via::Socket, &Login::new("root", ""))
            .unwrap_or_else(|refusal| panic!("root: {refusal}\n{}", self.error_log()))
    }

    /// How often the harness itself logged in as `root`@`localhost`, which the audit log holds too.
    pub(crate) fn root_logins(&self) -> u64 {
        self.root_logins.load(Ordering::Relaxed)
    }

    /// Waits until every connection but `root`'s own has ended on the server's side, which is when
    /// it has written the last record that it will ever write about them.
    pub(crate) fn settle(&self) {
        let mut root = self.root();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows = root
                .query(
                    "SELECT id, user, host, command FROM information_schema.processlist \
                     WHERE id <> CONNECTION_ID() AND command <> 'Daemon'",
                )
                .unwrap_or_else(|refusal| panic!("process list: {refusal}"));
            if rows.is_empty() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "connections do not end:\n{}",
                show(&rows)
            );
            thread::sleep(Duration::from_millis(5));
        }
        let id = root.connection_id;
        root.quit();
        // root's own last record: the next session no longer sees it.
        let mut root = self.root();
        let gone = format!("SELECT id FROM information_schema.processlist WHERE id = {id}");
        while root.query(&gone).is_ok_and(|rows| !rows.is_empty()) {
            assert!(
                Instant::now() < deadline,
                "the session of root does not end"
            );
            thread::sleep(Duration::from_millis(2));
        }
        root.quit();
    }

    /// Ends the server as a power failure would: no open connection gets its DISCONNECT.
    pub(crate) fn kill9(&mut self) {
        self.process.kill().expect("kill the server");
        self.process.wait().expect("the server's end");
    }

    /// Ends the server as an administrator would, where it still runs, and starts it again on the
    /// same data and the same audit log. Its connection ids begin anew.
    pub(crate) fn restart(&mut self) {
        self.stop();
        (self.process, self.address) = launch(
            self.folder.path(),
            self.time_zone,
            self.has_plugin,
            &self.options,
        );
        self.root_logins.fetch_add(1, Ordering::Relaxed);
    }

    /// The same, with other options than before.
    pub(crate) fn restart_with(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self.restart();
    }

    /// The same, with a socket that a service manager would give it (sd_listen_fds(3)) in place of its
    /// own TCP socket.
    pub(crate) fn restart_given(&mut self, tcp: &TcpListener, options: &[&str]) {
        self.stop();
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        let socket = self.folder.path().join("sock");
        let _ = fs::remove_file(&socket);
        let unix = UnixListener::bind(&socket).expect("the server's socket");
        give_to_server(&socket);
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("permissions");
        let (program, address) = program(
            self.folder.path(),
            self.time_zone,
            self.has_plugin,
            &self.options,
        );
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec 3<&0 4<&1; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"",
                "sh",
            ])
            .arg(program.get_program())
            .args(program.get_args())
            .env("TZ", self.time_zone)
            .stdin(OwnedFd::from(tcp.try_clone().expect("a socket")))
            .stdout(OwnedFd::from(unix))
            .stderr(Stdio::null());
        (self.process, self.address) = wait(command, address, self.folder.path());
    }

    fn stop(&mut self) {
        if self
            .process
            .try_wait()
            .expect("the server's state")
            .is_none()
        {
            rustix::process::kill_process(pid(&self.process), Signal::TERM).expect("SIGTERM");
            wait_for_end(&mut self.process);
        }
    }

    fn error_log(&self) -> String {
        error_log(self.folder.path())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is thrown away in a moment: there is nothing to end in good order.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What an administrator's `mariadb` says to `sql`.
pub(crate) fn administrator(server: &Server, sql: &str) -> String {
    let mut client = Command::new(find("mariadb"))
        .args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
        ])
        .arg(format!("--socket={}", server.address().socket.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client");
    let mut input = client.stdin.take().expect("its input");
    input.write_all(sql.as_bytes()).expect("a statement");
    drop(input);
    let output = client.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{sql}\n{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Starts a server on the data in `folder` and waits until `root` can log in (once: that login is
/// in the audit log).
fn launch(
    folder: &Path,
    time_zone: &str,
    has_plugin: bool,
    options: &[String],
) -> (Child, Address) {
    let (command, address) = program(folder, time_zone, has_plugin, options);
    wait(command, address, folder)
}

/// The command line of a server on the data in `folder`, and where it listens.
fn program(
    folder: &Path,
    time_zone: &str,
    has_plugin: bool,
    options: &[String],
) -> (Command, Address) {
    let address = Address {
        socket: folder.join("sock"),
        port: free_port(),
    };
    let errors = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("error.log"));
    let mut command = Command::new(find("mariadbd"));
    match has_plugin {
        true => command.arg("--no-defaults"),
        false => command.arg(format!(
            "--defaults-file={}",
            folder.join("my.cnf").display()
        )),
    };
    command
        .args(as_server_user())
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--tmpdir={}", folder.join("tmp").display()))
        .arg(format!("--socket={}", address.socket.display()))
        .arg(format!("--pid-file={}", folder.join("data/pid").display()))
        .arg(format!("--port={}", address.port))
        .args([
            "--bind-address=*",
            "--skip-name-resolve=1",
            "--max-connections=200",
        ])
        .arg("--max-connect-errors=1000000")
        .args(SMALL)
        .args([
            "--innodb-flush-log-at-trx-commit=0",
            "--performance-schema=OFF",
        ])
        .arg("--debug-no-sync");
    if has_plugin {
        command
            .args([
                "--plugin-load-add=server_audit",
                "--server-audit-logging=ON",
            ])
            .arg("--server-audit-events=CONNECT")
            .arg(format!(
                "--server-audit-file-path={}",
                audit_log(folder).display()
            ));
    }
    command
        .args(options)
        .env("TZ", time_zone)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.expect("the server's error log"));
    (command, address)
}

/// Starts a server and waits until `root` can log in.
fn wait(mut command: Command, address: Address, folder: &Path) -> (Child, Address) {
    let mut process = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().expect("the server's state") {
            panic!(
                "{command:?}\nended at once ({status}):\n{}",
                error_log(folder)
            );
        }
        match Greeting::try_socket(&address.socket) {
            Ok(Ok(greeting)) => match greeting.log_in(&Login::new("root", "")) {
                Ok(mut root) => {
                    // A node of a cluster that is not ready yet answers this already.
                    // Its login is over, and was logged.
                    if let Err(refusal) = root.query("SET @over = 1") {
                        fail_to_start(process, folder, &refusal.to_string());
                    }
                    root.quit();
                    return (process, address);
                }
                Err(refusal) => fail_to_start(process, folder, &refusal.to_string()),
            },
            Ok(Err(refusal)) => fail_to_start(process, folder, &refusal.to_string()),
            Err(error) if Instant::now() > deadline => {
                fail_to_start(process, folder, &error.to_string())
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn fail_to_start(mut process: Child, folder: &Path, why: &str) -> ! {
    let _ = process.kill();
    let _ = process.wait();
    panic!(
        "the server does not let root in: {why}\n{}",
        error_log(folder)
    );
}

fn wait_for_end(process: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    while process.try_wait().expect("the server's state").is_none() {
        if Instant::now() > deadline {
            let _ = process.kill();
            panic!("the server did not end within {PATIENCE:?} of a SIGTERM");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Options that make a server small and quick to start.
const SMALL: [&str; 5] = [
    "--innodb-buffer-pool-size=8M",
    "--innodb-log-file-size=4M",
    "--innodb-flush-method=fsync",
    "--aria-pagecache-buffer-size=1M",
    "--key-buffer-size=1M",
];

/// The files of a fresh data directory, parents first; a folder has no content.
fn data_directory() -> &'static [(PathBuf, Option<Vec<u8>>)] {
    static FILES: OnceLock<Vec<(PathBuf, Option<Vec<u8>>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = TempDir::with_prefix("conntracker-mariadb-").expect("a temporary folder");
        let data = folder.path().join("data");
        let mut command = Command::new(find("mariadb-install-db"));
        command
            .arg("--no-defaults")
            .args(
                rustix::process::geteuid()
                    .is_root()
                    .then_some("--user=root"),
            )
            .arg(format!("--datadir={}", data.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg("--skip-name-resolve")
            .args(SMALL);
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(
            output.status.success(),
            "{command:?}\n{}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let mut files = Vec::new();
        read_tree(&data, Path::new(""), &mut files).expect("the server's fresh data");
        files
    })
}

fn read_tree(
    root: &Path,
    below: &Path,
    files: &mut Vec<(PathBuf, Option<Vec<u8>>)>,
) -> io::Result<()> {
    files.push((below.to_owned(), None));
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read_tree(root, &path, files)?;
        } else {
            files.push((path, Some(fs::read(entry.path())?)));
        }
    }
    Ok(())
}

/// Where a program of the server is. Distributions keep the server itself out of a user's PATH.
pub(crate) fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/libexec", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!(
                "these tests run a real MariaDB server, and there is no {program} here: \
                 `apt-get install mariadb-server` brings it, or start the tests with tests/run"
            )
        })
}

/// The server refuses to run as root, unless it is told whom to become.
fn as_server_user() -> Option<&'static str> {
    rustix::process::geteuid()
        .is_root()
        .then_some("--user=mysql")
}

/// Lets the user that the server becomes write to `path`.
fn give_to_server(path: &Path) {
    static OWNER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    let owner = OWNER.get_or_init(|| as_server_user().map(|_| (id("-u"), id("-g"))));
    if let &Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

fn id(which: &str) -> u32 {
    let output = Command::new("id")
        .args([which, "mysql"])
        .output()
        .expect("the program id");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| {
        panic!(
            "no user `mysql` for the server to run as (a package mariadb-server makes one): {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// A port that nobody uses, below those that the kernel gives to clients: one of theirs would often
/// be taken again before the server listens there.
pub(crate) fn free_port() -> u16 {
    let mut random = Random::new(RandomState::new().hash_one(0));
    let is_free = |&port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    // Whoever got one may not listen on it yet.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let is_new = |port: &u16| GIVEN.lock().expect("the ports").insert(*port);
    (0..1_000)
        .map(|_| 10_000 + random.below(20_000) as u16)
        .find(|port| is_free(port) && is_new(port))
        .expect("a free port")
}

fn audit_log(folder: &Path) -> PathBuf {
    folder.join("log/server_audit.log")
}

fn error_log(folder: &Path) -> String {
    let log = fs::read(folder.join("error.log")).unwrap_or_default();
    format!("the server's error log:\n{}", String::from_utf8_lossy(&log))
}

fn pid(process: &Child) -> Pid {
    Pid::from_child(process)
}

fn show(rows: &[Row]) -> String {
    let value = |value: &Option<Vec<u8>>| match value {
        Some(value) => value.escape_ascii().to_string(),
        None => "NULL".to_owned(),
    };
    let line = |row: &Row| row.iter().map(value).collect::<Vec<_>>().join(" | ");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
