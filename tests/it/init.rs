//! From a server to one whose accounts are watched: what `init` prints is pasted as it stands, by a
//! user who may do no more than it says, and then everything works and nothing is missing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use rustix::process::{getegid, geteuid};
use serde_json::Value;

use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// The user who runs conntracker: another one than root, where root runs the tests.
struct Somebody {
    name: String,
    uid: u32,
    gid: u32,
}

impl Somebody {
    fn find() -> Self {
        match geteuid().is_root() {
            true => Self {
                name: "nobody".into(),
                uid: id(&["-u", "nobody"]).parse().expect("a number"),
                // Whoever reads the log is in the server's group.
                gid: id(&["-g", "mysql"]).parse().expect("a number"),
            },
            false => Self {
                name: id(&["-un"]),
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
            },
        }
    }
}

fn id(args: &[&str]) -> String {
    let output = Command::new("id").args(args).output().expect("id");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}

/// A server, and a place for conntracker that has no configuration yet.
struct Bench {
    server: Server,
    env: TestEnv,
    user: Somebody,
    config: PathBuf,
    program: PathBuf,
}

impl Bench {
    fn new(server: Server) -> Self {
        let env = TestEnv::new();
        let config = env.path("etc/new/conntracker.toml");
        // The tests' own folder may be closed to others.
        let program = env.path("program");
        fs::copy(env!("CARGO_BIN_EXE_conntracker"), &program).expect("a program");
        let user = Somebody::find();
        if geteuid().is_root() {
            chown(env.path(""), Some(user.uid), Some(user.gid)).expect("a folder of his own");
        }
        fs::set_permissions(env.path(""), Permissions::from_mode(0o755)).expect("permissions");
        Self {
            server,
            env,
            user,
            config,
            program,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .arg("--config")
            .arg(&self.config)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.env.path(""));
        command
    }

    /// `conntracker init`, asking as an administrator.
    fn init(&self, code: i32, args: &[&str]) -> Printed {
        self.init_as("root", code, args)
    }

    fn init_as(&self, user: &str, code: i32, args: &[&str]) -> Printed {
        let socket = self.server.address().socket.display().to_string();
        let sqlite = self.env.path("his.sqlite").display().to_string();
        let mut command = self.command(&["init", "--user", user, "--run-as", &self.user.name]);
        command
            .args(["--socket", &socket, "--sqlite", &sqlite])
            .args(args);
        Printed::of(command.output().expect("init"), code)
    }

    /// `conntracker`, as the user who is to run it.
    fn conntracker(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        if geteuid().is_root() {
            command.uid(self.user.uid).gid(self.user.gid);
        }
        command.output().expect("conntracker")
    }

    /// A run that has nothing to say.
    #[track_caller]
    fn runs(&self) {
        let output = self.conntracker(&["run"]);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }

    /// What `check` says of the audit plugin, and what could not be known.
    #[track_caller]
    fn checked(&self) -> Value {
        let only = "audit-active,audit-events,audit-output,audit-rotation,audit-permanent,\
                    audit-file-mode,never-used-account";
        let output = self.conntracker(&["check", "--format", "json", "--only", only]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Pastes what is for an administrator, and what is for the next start.
    fn paste(&mut self, printed: &Printed) {
        for part in ["views and account", "until the server's next start"] {
            administrator(&self.server, &printed.part(part));
        }
        fs::write(
            self.server.option_file(),
            printed.part("from the server's next start on"),
        )
        .expect("a file of options");
    }

    /// All that an `init` could have changed in the server.
    fn state(&self) -> String {
        let tables = administrator(
            &self.server,
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables
             WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('performance_schema')
             ORDER BY 1",
        );
        let tables: Vec<_> = tables.lines().collect();
        let checksums = format!("CHECKSUM TABLE {}", tables.join(", "));
        administrator(
            &self.server,
            "SHOW DATABASES; SHOW PLUGINS; SHOW GLOBAL VARIABLES",
        ) + &administrator(&self.server, &checksums)
    }
}

/// What `init` said.
struct Printed {
    text: String,
    said: String,
}

impl Printed {
    #[track_caller]
    fn of(output: Output, code: i32) -> Self {
        let printed = Self {
            text: String::from_utf8(output.stdout).expect("UTF-8"),
            said: String::from_utf8(output.stderr).expect("UTF-8"),
        };
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}\n{}",
            printed.text,
            printed.said
        );
        printed
    }

    /// The part whose heading has these words, as it stands.
    #[track_caller]
    fn part(&self, words: &str) -> String {
        let mut parts = self.text.split("\n# == ").skip(1);
        let part = parts.find(|part| part.lines().next().unwrap_or_default().contains(words));
        let part = part.unwrap_or_else(|| panic!("no part {words:?} in {}", self.text));
        format!("# {part}")
    }

    /// Nothing has to be pasted.
    #[track_caller]
    fn is_done(&self) {
        for part in [
            "Configuration",
            "views and account",
            "until the server's next start",
            "from the server's next start on",
        ] {
            let part = self.part(part);
            let lines = part.lines().filter(|line| !line.is_empty());
            assert!(lines.clone().all(|line| line.starts_with('#')), "{part}");
            assert!(
                lines.clone().any(|line| line == "# nothing is missing"),
                "{part}"
            );
        }
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_bare_server_is_watched_after_what_is_printed_was_pasted() {
    for stores in [&["sqlite"][..], &["mariadb"], &["sqlite", "mariadb"]] {
        let mut bench = Bench::new(Server::start_bare("Europe/Zurich", &[]));
        let flags: Vec<_> = stores.iter().flat_map(|store| ["--store", store]).collect();
        let before = bench.state();
        let printed = bench.init(0, &flags);
        assert_eq!(bench.state(), before, "init changed the server");
        assert!(!bench.config.exists(), "init wrote without being told to");
        let part = printed.part("Configuration");
        if geteuid().is_root() {
            // Nobody else may see the server's process.
            assert!(part.contains("\ntime_zone = \"Europe/Zurich\"\n"), "{part}");
        }

        let printed = bench.init(0, &[&flags[..], &["--write"]].concat());
        assert_eq!(bench.state(), before, "init changed the server");
        assert!(printed.text.contains("# written to "), "{}", printed.text);
        let written = text(&bench.config);
        assert!(part.ends_with(&written), "{written}\n{part}");
        let mode = fs::metadata(&bench.config)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);

        // Its commands are for the whole machine; here it is enough that a shell understands them.
        let mut shell = Command::new("bash");
        let first_steps = shell.args(["-n", "-c", &printed.part("Shell")]).status();
        assert!(first_steps.expect("a shell").success(), "{}", printed.text);
        bench.paste(&printed);
        bench.runs();
        // What holds now is lost with the next start, unless it stands in a file.
        let found = bench.checked();
        assert_eq!(
            found["findings"][0]["check"], "audit-permanent",
            "{found:#}"
        );
        assert_eq!(
            found["findings"].as_array().map(Vec::len),
            Some(1),
            "{found:#}"
        );

        bench.server.restart_with(&[]);
        bench.runs();
        let found = bench.checked();
        assert_eq!(found["findings"], serde_json::json!([]), "{found:#}");
        assert_eq!(found["unknown"], serde_json::json!([]), "{found:#}");
        let printed = bench.init(0, &flags);
        printed.is_done();
        // Without flags the file alone says it.
        let written = text(&bench.config);
        let root = ["init", "--user", "root", "--run-as", &bench.user.name];
        let again = Printed::of(bench.command(&root).output().expect("init"), 0);
        again.is_done();

        // And never over what is there.
        let refused = bench.init(3, &["--write", "--server-name", "other"]);
        assert!(
            refused.said.contains("is there already"),
            "{}",
            refused.said
        );
        let part = refused.part("Configuration");
        assert!(part.contains("\nserver_name = \"other\"\n"), "{part}");
        assert_eq!(text(&bench.config), written);
    }
}

#[test]
fn nothing_is_missing_where_everything_is_set_up() {
    let server = Server::start(&["--server-audit=FORCE_PLUS_PERMANENT"]);
    let bench = Bench::new(server);
    administrator(
        &bench.server,
        &bench.env.run(&["schema", "--store", "mariadb"]).stdout(),
    );
    administrator(
        &bench.server,
        &format!(
            "CREATE USER `{0}`@localhost IDENTIFIED VIA unix_socket;
             GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON conntrack.* TO `{0}`@localhost",
            bench.user.name
        ),
    );
    bench.init(0, &["--write", "--store", "mariadb"]);
    bench.init(0, &["--store", "mariadb"]).is_done();
    // One thing after the other is taken away, and only that is missing.
    let name = &bench.user.name;
    for (sql, part, missing) in [
        (
            format!("REVOKE EXECUTE ON conntrack.* FROM `{name}`@localhost"),
            "views and account",
            &["GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON conntrack.* TO"][..],
        ),
        (
            "DROP VIEW conntrack.server_roles".into(),
            "views and account",
            &[
                "CREATE DATABASE",
                "CREATE OR REPLACE SQL SECURITY DEFINER VIEW server_roles",
            ],
        ),
        (
            "DROP TABLE conntrack.schema_version".into(),
            "views and account",
            &["CREATE TABLE IF NOT EXISTS accounts"],
        ),
        (
            format!("DROP USER `{name}`@localhost"),
            "views and account",
            &["CREATE USER IF NOT EXISTS", "GRANT SELECT"],
        ),
        (
            "SET GLOBAL server_audit_logging = OFF".into(),
            "until the server's next start",
            &["SET GLOBAL server_audit_logging = ON;"],
        ),
        (
            "SET GLOBAL server_audit_events = 'QUERY,TABLE'".into(),
            "until the server's next start",
            &["SET GLOBAL server_audit_events = 'CONNECT,QUERY,TABLE';"],
        ),
    ] {
        administrator(&bench.server, &sql);
        let printed = bench.init(0, &["--store", "mariadb"]);
        let part = printed.part(part);
        for missing in missing {
            assert!(part.contains(missing), "after {sql}: {part}");
        }
        administrator(&bench.server, &part);
        let printed = bench.init(0, &["--store", "mariadb"]);
        let part = printed.part("views and account");
        assert!(
            part.ends_with("# nothing is missing\n"),
            "after {sql}: {part}"
        );
    }
}

#[test]
fn odd_paths_are_quoted_right_everywhere() {
    let mut bench = Bench::new(Server::start_bare(
        "UTC",
        &[
            "--plugin-load-add=server_audit",
            "--server-audit-logging=ON",
        ],
    ));
    let folder = bench.server.data().join("o'dd #\"folder\\");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("permissions");
    for (path, expected) in [
        (
            "a b's \"[x]* #1\\.log",
            bench.server.data().join("a b's \"[x]* #1\\.log"),
        ),
        ("./o'dd #\"folder\\/é.log", folder.join("é.log")),
        ("o'dd #\"folder\\", folder.join("server_audit.log")),
        (
            &*folder.join("absolute.log").display().to_string(),
            folder.join("absolute.log"),
        ),
    ] {
        administrator(
            &bench.server,
            &format!(
                "SET NAMES utf8mb4; SET GLOBAL server_audit_logging = OFF;
                 SET GLOBAL server_audit_file_path = '{}'; SET GLOBAL server_audit_logging = ON",
                path.replace('\\', "\\\\").replace('\'', "''")
            ),
        );
        assert!(expected.exists(), "{}", expected.display());
        let _ = fs::remove_file(&bench.config);
        let printed = bench.init(0, &["--write"]);
        bench.paste(&printed);
        bench.runs();
        let found = bench.checked();
        let active = found["findings"].to_string();
        assert!(!active.contains("audit-active"), "{found:#}");
        // The line in the file of options means the same path.
        bench.server.restart();
        let now = administrator(
            &bench.server,
            "SET NAMES utf8mb4; SELECT HEX(@@server_audit_file_path)",
        );
        let hex: String = path.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(now.trim(), hex, "{path}");
        bench.init(0, &[]).is_done();
        fs::write(bench.server.option_file(), "").expect("no options");
        bench.server.restart();
    }
}

#[test]
fn who_may_see_little_is_told_what_is_not_known() {
    let bench = Bench::new(Server::start_bare("UTC", &[]));
    administrator(&bench.server, "CREATE USER plain@localhost");
    let before = bench.state();
    let printed = bench.init_as("plain", 1, &[]);
    assert_eq!(bench.state(), before);
    let part = printed.part("views and account");
    for words in [
        "# NOT CERTAIN: which accounts there are: plain@localhost may not see them",
        "# NOT CERTAIN: what there is of conntracker's views and tables",
        "CREATE USER IF NOT EXISTS",
        "VIEW server_accounts",
        "GRANT SELECT, EXECUTE ON conntrack.*",
    ] {
        assert!(part.contains(words), "{words}: {part}");
    }
    // It does no harm, and does it twice as well.
    for _ in 0..2 {
        administrator(&bench.server, &part);
    }
    assert!(
        printed
            .part("until the server's next start")
            .contains("INSTALL SONAME")
    );

    let refused = bench.init_as("nosuch", 3, &["--write"]);
    for words in [
        "Access denied",
        "init asks it as root",
        "no configuration is written",
    ] {
        assert!(refused.said.contains(words), "{}", refused.said);
    }
    assert!(!bench.config.exists());
    refused.part("Configuration");
}

#[test]
fn nothing_is_written_where_it_would_not_be_read() {
    let mut bench = Bench::new(Server::start(&[]));
    let good = bench.config.clone();
    for (name, words) in [
        ("conntracker.ini", "name a file .toml"),
        ("program/conntracker.toml", "Not a directory"),
    ] {
        bench.config = bench.env.path(name);
        let refused = bench.init(3, &["--write"]);
        assert!(refused.said.contains(words), "{}", refused.said);
        // What was to be written is printed all the same.
        assert!(refused.part("Configuration").contains("\naudit_log = "));
        assert!(!bench.config.exists());
    }
    // A link to nowhere is something that is there, too.
    fs::create_dir_all(good.parent().expect("a folder")).expect("a folder");
    std::os::unix::fs::symlink(bench.env.path("elsewhere"), &good).expect("a link");
    bench.config = good;
    let refused = bench.init(3, &["--write"]);
    assert!(
        refused.said.contains("is there already"),
        "{}",
        refused.said
    );
    assert!(!bench.env.path("elsewhere").exists());
}

#[test]
fn without_a_server_it_says_what_can_be_said() {
    let mut bench = Bench::new(Server::start_bare("UTC", &[]));
    bench.server.kill9();
    let printed = bench.init(3, &["--time-zone", "Europe/Zurich"]);
    assert!(
        printed.said.contains("is the server running"),
        "{}",
        printed.said
    );
    let part = printed.part("Configuration");
    assert!(part.contains("\ntime_zone = \"Europe/Zurich\"\n"), "{part}");
    assert!(!printed.text.contains("CREATE"), "{}", printed.text);
}

#[test]
fn syslog_is_left_and_what_can_be_done_is_said() {
    let bench = Bench::new(Server::start(&["--server-audit-output-type=syslog"]));
    let log = bench.env.path("syslog").display().to_string();
    let printed = bench.init(0, &["--audit-log", &log]);
    let part = printed.part("Configuration");
    assert!(
        part.contains(&format!("\naudit_log = [\"{log}\"]\n")),
        "{part}"
    );
    let part = printed.part("until the server's next start");
    assert!(
        part.contains("# A matter of choice: records go to syslog"),
        "{part}"
    );
    assert!(!part.contains("SET GLOBAL"), "{part}");
}

/// Another socket through which the server is reached.
fn second_socket(path: &Path, server: PathBuf) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&server) else {
                return;
            };
            let copy = |from: &UnixStream, to: &UnixStream| {
                let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
                std::io::Result::Ok(())
            };
            copy(&client, &server).expect("a copy");
            copy(&server, &client).expect("a copy");
        }
    });
}

#[test]
fn a_socket_that_others_could_have_made_has_to_be_named() {
    let bench = Bench::new(Server::start_bare("UTC", &[]));
    // In the folder for temporary files, which is everybody's.
    let socket = bench.env.path("mysqld.sock");
    second_socket(&socket, bench.server.address().socket.clone());
    let named = socket.display().to_string();
    let args = ["init", "--user", "root", "--run-as", &bench.user.name];
    let write = |more: &[&str], code| {
        let mut command = bench.command(&args);
        command
            .args(["--write", "--sqlite", "his.sqlite"])
            .args(more);
        Printed::of(command.output().expect("init"), code)
    };
    let refused = write(&[], 3);
    assert!(
        refused.said.contains("no configuration is written"),
        "{}",
        refused.said
    );
    let part = refused.part("Configuration");
    assert!(part.contains("# NOT CERTAIN: whether "), "{part}");
    assert!(!bench.config.exists());
    write(&["--socket", &named], 0);
    assert!(text(&bench.config).contains(&named));
}

#[test]
fn a_socket_of_any_user_is_not_even_asked() {
    assert!(
        geteuid().is_root(),
        "only root can give a socket to somebody else: run this test as root"
    );
    let env = TestEnv::new();
    let socket = env.path("mysql.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let nobody: u32 = id(&["-u", "nobody"]).parse().expect("a number");
    chown(&socket, Some(nobody), None).expect("somebody's socket");
    listener.set_nonblocking(true).expect("a socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_conntracker"));
    command
        .args(["init", "--write", "--config"])
        .arg(env.path("new.toml"))
        .env_clear();
    let printed = Printed::of(command.output().expect("init"), 3);
    let asked = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(
        asked,
        Err(std::io::ErrorKind::WouldBlock),
        "{}",
        printed.said
    );
    assert!(!env.path("new.toml").exists());
}

#[test]
fn what_is_printed_holds_in_every_folder() {
    let bench = Bench::new(Server::start(&[]));
    let socket = bench.server.address().socket.display().to_string();
    let mut command = Command::new(&bench.program);
    command
        .args(["init", "--user", "root", "--run-as", &bench.user.name])
        .args(["--config", "my.toml", "--sqlite", "x.sqlite"])
        .args(["--audit-log", "log/server_audit.log", "--write"])
        .args(["--socket", &socket])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(bench.env.path(""));
    let output = command.output().expect("init");
    let code = output.status.code().expect("an end");
    let printed = Printed::of(output, code);
    let path = |name: &str| bench.env.path(name).display().to_string();
    let written = text(&bench.env.path("my.toml"));
    let line = format!("\npath = \"{}\"\n", path("x.sqlite"));
    assert!(written.contains(&line), "{written}");
    let part = printed.part("Configuration");
    assert!(part.contains(&path("log/server_audit.log")), "{part}");
    let steps = printed.part("Shell");
    let config = format!("--config {}", path("my.toml"));
    assert!(steps.contains(&config), "{steps}");
    assert!(!steps.contains("--config my.toml"), "{steps}");
}
