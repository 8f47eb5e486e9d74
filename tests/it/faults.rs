//! What if the system says no? Every system call of a run on its log and its database is made to
//! fail, one after the other. Each time the run must say so and exit with 3, unless it came through
//! all the same, and a next run without the fault must put everything right.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The calls, and with what each fails.
const FAULTS: [(&str, &str); 16] = [
    ("openat", "EMFILE"),
    ("openat", "EACCES"),
    ("read", "EIO"),
    ("pread64", "EIO"),
    ("lseek", "EIO"),
    ("getdents64", "EIO"),
    ("statx", "EIO"),
    ("newfstatat", "EIO"),
    ("fstat", "EIO"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("fchmod", "EPERM"),
    ("unlink", "EIO"),
    ("fcntl", "ENOLCK"),
];

#[test]
fn each_system_call_that_fails_is_told_and_the_next_run_puts_it_right() {
    let expected = Run::new().clean();
    assert!(
        expected.contains("\"connects\":66"),
        "the sample log: {expected}"
    );
    let mut injected = 0;
    for (call, errno) in FAULTS {
        for nth in 1.. {
            let run = Run::new();
            let (output, hit) = run.with_fault(call, errno, nth);
            if !hit {
                break;
            }
            injected += 1;
            let what = format!("{call} number {nth} fails with {errno}");
            let stderr = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => assert_eq!(run.accounts(), expected, "{what}: exit 0, but\n{stderr}"),
                Some(3) => assert!(
                    stderr.contains("error: "),
                    "{what}: no error told: {stderr}"
                ),
                code => panic!("{what}: exit {code:?}\n{stderr}"),
            }
            assert!(!stderr.contains("panicked"), "{what}: {stderr}");
            assert_eq!(
                run.clean(),
                expected,
                "{what}: the next run\nthe first said: {stderr}"
            );
        }
    }
    assert!(injected > 60, "only {injected} faults could be injected");
}

/// The database on a file system of its own size and so many bytes of room, from none up to enough:
/// one run, then one with plenty of room. In a namespace of its own, where no right to mount is needed
/// and nothing stays mounted.
const ON_A_SMALL_DISK: &str = r#"
set -eu
folder=$1 room=$2
shift 2
mkdir "$folder/disk"
size=$(($(stat -c %s "$folder/store.sqlite") + room))
mount -t tmpfs -o size="$size" tmpfs "$folder/disk"
cp "$folder/store.sqlite" "$folder/disk/"
"$@" >"$folder/said" 2>&1 && code=0 || code=$?
echo "$code" >"$folder/code"
mount -o remount,size=64m "$folder/disk"
cp -r "$folder/disk" "$folder/after"
"$@"
cp "$folder/disk/store.sqlite" "$folder/"
"#;

#[test]
fn a_full_disk_is_told_and_the_next_run_with_room_puts_it_right() {
    let run = Run::new();
    let before = run.accounts();
    let expected = run.clean();
    assert_ne!(before, expected);
    let mut full = 0;
    for room in (0..).step_by(4_096) {
        let mut run = Run::new();
        run.store = "disk/store.sqlite";
        let mut command = Command::new("unshare");
        command
            .args([
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                ON_A_SMALL_DISK,
                "sh",
            ])
            .arg(run.folder.path())
            .arg(room.to_string())
            .arg(env!("CARGO_BIN_EXE_conntracker"));
        run.arguments(&mut command, "run");
        let path = std::env::var_os("PATH").expect("PATH");
        let output = command.env("PATH", path).output().expect("unshare runs");
        let Ok(code) = fs::read_to_string(run.path("code")) else {
            panic!(
                "no small file system to be had; in a container, allow it CAP_SYS_ADMIN: {output:?}"
            )
        };
        let said = fs::read_to_string(run.path("said")).expect("what it said");
        let what = format!("{room} bytes of room: {said}");
        assert!(output.status.success(), "{what}then with room: {output:?}");
        run.store = "store.sqlite";
        assert_eq!(run.accounts(), expected, "{what}the run with room");
        run.store = "after/store.sqlite";
        if code.trim() == "0" {
            assert_eq!(run.accounts(), expected, "{what}exit 0");
            break;
        }
        full += 1;
        assert_eq!(code.trim(), "3", "{what}");
        assert!(said.contains("error: ") && said.contains("full"), "{what}");
        assert_eq!(run.accounts(), before, "{what}");
    }
    assert!(full > 1, "only {full} disks were full");
}

/// A folder with the sample log, of which a part has been read.
struct Run {
    folder: TempDir,
    /// Path of the database in the folder.
    store: &'static str,
}

impl Run {
    fn new() -> Self {
        let folder = TempDir::with_prefix("conntracker-fault-").expect("a temporary folder");
        let run = Self {
            folder,
            store: "store.sqlite",
        };
        let log = run.path("log");
        fs::create_dir(&log).expect("a folder");
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for name in ["server_audit.log", "server_audit.log.1"] {
            fs::copy(samples.join(name), log.join(name)).expect("the sample log");
        }
        let whole = fs::read(log.join("server_audit.log")).expect("the sample log");
        let part = whole
            .iter()
            .take(2_000)
            .rposition(|byte| *byte == b'\n')
            .expect("a line")
            + 1;
        fs::write(log.join("server_audit.log"), &whole[..part]).expect("a part of it");
        run.finish(&mut run.command());
        fs::write(log.join("server_audit.log"), whole).expect("all of it");
        run
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conntracker"));
        self.arguments(&mut command, "run");
        command
    }

    fn arguments(&self, command: &mut Command, what: &str) {
        fs::write(self.path("conntracker.toml"), "").expect("a configuration");
        command
            .arg(what)
            .arg("--config")
            .arg(self.path("conntracker.toml"))
            .arg("--audit-log")
            .arg(self.path("log/server_audit.log"))
            .arg("--sqlite")
            .arg(self.path(self.store))
            .args(["--time-zone", "UTC"])
            .env_clear();
    }

    /// Runs with the `nth` such call on our files failing; and whether there was such a call.
    fn with_fault(&self, call: &str, errno: &str, nth: usize) -> (Output, bool) {
        let trace = self.path("trace");
        let mut command = Command::new("strace");
        command.arg("-f").arg("-o").arg(&trace);
        for name in [
            "log",
            "log/server_audit.log",
            "log/server_audit.log.1",
            "store.sqlite",
            "store.sqlite-journal",
            ".",
        ] {
            command.arg("-P").arg(self.path(name));
        }
        command
            .arg("-e")
            .arg(format!("inject={call}:error={errno}:when={nth}"))
            .arg(env!("CARGO_BIN_EXE_conntracker"));
        self.arguments(&mut command, "run");
        let path = std::env::var_os("PATH").expect("PATH");
        let output = command.env("PATH", path).output().unwrap_or_else(|error| {
            panic!("strace: {error}; install it (Debian, Ubuntu: apt-get install strace), or run tests/run")
        });
        let trace = fs::read(trace).expect("a trace");
        (
            output,
            String::from_utf8_lossy(&trace).contains("(INJECTED)"),
        )
    }

    fn clean(&self) -> String {
        self.finish(&mut self.command());
        self.accounts()
    }

    fn accounts(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conntracker"));
        self.arguments(&mut command, "accounts");
        let output = self.finish(command.args(["--format", "json"]));
        String::from_utf8(output.stdout).expect("JSON")
    }

    fn finish(&self, command: &mut Command) -> Output {
        let output = command.output().expect("conntracker runs");
        assert!(output.status.success(), "{command:?}: {output:?}");
        output
    }
}
