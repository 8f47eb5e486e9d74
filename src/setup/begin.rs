//! The first steps on the machine, for root's shell: a user who may read the log, a folder for the
//! results, a first run, and a run every ten minutes from then on.

use std::path::Path;

use super::{Notes, Part, Situation, shown};
use crate::check::shell_path;
use crate::config::{Config, StoreKind};
use crate::machine::{Host, Machine, OsUser};

/// Where every user finds a program.
const PROGRAM: &str = "/usr/local/bin/conntracker";

const CRON_FILE: &str = "/etc/cron.d/conntracker";

/// The steps. None of them may be taken twice, or do harm if they are.
pub(super) fn part(situation: &Situation, config: &Config, machine: &Machine, host: &Host) -> Part {
    let mut notes = Notes::default();
    let user = &situation.user;
    if situation.doubtful_socket.is_some() {
        notes.doubt("whose files these are: see the socket in the first part");
    }
    // In a crontab nothing can be quoted there, and a program may take the rest for a flag.
    let is_plain = is_plain(user);
    if !is_plain {
        notes.doubt(format!(
            "whether {} is a user: a name begins with a-z or _, and has nothing but these, 0-9 and -. \
             --run-as names another one; cron gets no line for this one",
            crate::name::escape(user.as_bytes())
        ));
    }
    let is_root = host.user.as_ref().is_some_and(|user| user.uid == 0);
    // A timer of the package reads the usual file, and lets its user into the log's group.
    let by_timer = host.has_timer && situation.file_is_default && user == super::USUAL_USER;
    let mut steps = Vec::new();
    if host.user.is_none() {
        steps.push(format!(
            "useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin {}",
            word(user)
        ));
    }
    if !is_root {
        if let Some(group) = host.log_group.as_ref().filter(|group| group.gid != 0)
            && !by_timer
            && !host
                .user
                .as_ref()
                .is_some_and(|user| user.groups.contains(&group.gid))
        {
            notes.remark(format!(
                "Whoever is in the group {} may read what the server lets that group read, often all of \
                 its files. A log in a folder of its own (server_audit_file_path) can have another group.",
                crate::name::escape(group.name.as_bytes())
            ));
            steps.push(format!(
                "usermod --append --groups {} {}",
                word(&group.name),
                word(user)
            ));
        }
        steps.extend(store_folder(config, host, user, &mut notes));
        steps.extend(readable_log(host, &mut notes));
    }
    let program = if host.program_blocked || word_of(&host.program).contains('$') {
        steps.push(format!(
            "install -m 755 {} {PROGRAM}",
            word_of(&host.program)
        ));
        PROGRAM.to_owned()
    } else {
        word_of(&host.program)
    };
    steps.extend(open_files(machine));
    let with_config = match situation.file_is_default {
        true => String::new(),
        false => format!(" --config {}", word_of(&situation.file)),
    };
    let conntracker = |arguments: &str| format!("{program} {arguments}{with_config}");
    let group = host.log_group.as_ref().filter(|_| by_timer);
    let group = group.map_or_else(String::new, |group| format!("-G {} ", word(&group.name)));
    for arguments in ["run --report", "check"] {
        steps.push(format!(
            "runuser -u {} {group}-- {}",
            word(user),
            conntracker(arguments)
        ));
    }
    if by_timer {
        steps.push("systemctl enable --now conntracker.timer conntracker-check.timer".into());
    } else if host.has_cron_line {
        notes.remark(format!("{CRON_FILE} is there already."));
    } else if is_plain {
        // In a crontab a percent sign is the end of the line.
        let line = |time: &str, arguments: &str| {
            format!(
                "{time} {user} {}",
                conntracker(arguments).replace('%', "\\%")
            )
        };
        steps.push(format!(
            "cat > {CRON_FILE} <<'END'\n{}\n{}\nEND",
            line("*/10 * * * *", "run"),
            line("7 6 * * *", "check --quiet")
        ));
    }
    Part {
        heading: "Shell, as root: first steps, when the parts above are done".into(),
        notes,
        body: steps.iter().map(|step| format!("{step}\n")).collect(),
    }
}

/// A folder that the user may write to; one that belongs to another is not taken away from him.
fn store_folder(config: &Config, host: &Host, user: &str, notes: &mut Notes) -> Option<String> {
    if !config.stores.contains(&StoreKind::Sqlite) {
        return None;
    }
    let folder = config.sqlite.path.parent()?;
    match (host.store_owner, &host.user) {
        (None, _) => Some(format!(
            "install -d -m 750 -o {0} -g \"$(id -gn {0})\" {1}",
            word(user),
            word_of(folder)
        )),
        (Some(owner), Some(OsUser { uid, .. })) if owner == *uid => None,
        (Some(_), _) => {
            notes.doubt(format!(
                "whether {} may write to {}, which is another's: there the database is, or will be. \
                 Best is a folder of its own (sqlite.path)",
                crate::name::escape(user.as_bytes()),
                shown(folder)
            ));
            None
        }
    }
}

/// Lets the group of the log pass, where only that is missing.
fn readable_log(host: &Host, notes: &mut Notes) -> Vec<String> {
    let mut steps = Vec::new();
    for blocked in &host.log_blocked {
        if blocked.of_group {
            let right = if blocked.is_folder { "g+rx" } else { "g+r" };
            steps.push(format!("chmod {right} {}", word_of(&blocked.path)));
        } else {
            notes.doubt(format!(
                "how the audit log can be read: {} is closed to the group of the log",
                shown(&blocked.path)
            ));
        }
    }
    steps
}

/// The log is nobody else's business: `check` says so, too.
fn open_files(machine: &Machine) -> Option<String> {
    let files = machine.log.as_ref().ok()?;
    let open = files.iter().filter(|file| file.mode & 0o007 != 0);
    let open: Vec<_> = open.map(|file| word_of(&file.path)).collect();
    (!open.is_empty()).then(|| format!("chmod o-rwx {}", open.join(" ")))
}

/// A path as one word of a shell.
fn word_of(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    match !bytes.is_empty() && bytes.iter().all(is_plain) {
        true => String::from_utf8_lossy(bytes).into_owned(),
        false => shell_path(path),
    }
}

/// A user's name as useradd(8) takes it everywhere.
fn is_plain(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with(is_letter)
        && name
            .chars()
            .all(|c| is_letter(c) || c.is_ascii_digit() || c == '-')
}

fn word(text: &str) -> String {
    word_of(Path::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_a_word_too() {
        for (text, expected) in [("", "''"), ("/a.b", "/a.b"), ("a b", "'a b'")] {
            assert_eq!(word(text), expected);
        }
    }
}
