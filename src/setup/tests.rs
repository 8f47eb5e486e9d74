//! Facts in, text out: no server and no disk but for the loader of the configuration.

use proptest::prelude::*;

use super::*;
use crate::account::{Account, Authentication, Server, Version};
use crate::config::load_without_file;
use crate::machine::{Blocked, Group, OsUser, ServerClock};
use crate::name::is_unsafe_to_show;
use crate::server::{AuditPlugin, DatabaseGrant, Facts, Settings, Setup, Tables};
use crate::time::UtcSeconds;

/// A server with these settings, of which nothing else is known.
pub(super) fn facts(settings: &[(&str, &str)]) -> Facts {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Facts {
        described: "server at /run/mysqld/mysqld.sock".into(),
        version: "10.11.19-MariaDB".into(),
        rules: Server {
            version: Version(10, 11, 19),
            skip_name_resolve: false,
        },
        hostname: "db1".into(),
        now: UtcSeconds(1_795_600_000),
        utc_offset: 0,
        accounts: Vec::new(),
        roles: None,
        proxies: None,
        database_grants: None,
        object_grants: None,
        settings: Settings(settings.collect()),
        audit_plugin: None,
        connections: None,
        unknown: Vec::new(),
    }
}

/// A server in which everything is as it should be.
fn complete() -> Setup {
    let mut facts = facts(&[
        ("datadir", "/var/lib/mysql/"),
        ("system_time_zone", "UTC"),
        ("server_audit_logging", "ON"),
        ("server_audit_events", "CONNECT"),
        ("server_audit_output_type", "file"),
    ]);
    facts.audit_plugin = Some(AuditPlugin {
        status: "ACTIVE".into(),
        load_option: "FORCE_PLUS_PERMANENT".into(),
    });
    facts.accounts = vec![Account {
        access: Some(0),
        authentication: Some(vec![Authentication {
            plugin: "unix_socket".into(),
            has_password: Some(false),
        }]),
        ..Account::new("conntracker", "localhost")
    }];
    facts.database_grants = Some(vec![DatabaseGrant {
        user: "conntracker".into(),
        host: "localhost".into(),
        database: "conntrack".into(),
        access: 1 | 1 << 18,
    }]);
    Setup {
        facts,
        accounts_known: true,
        current_user: "root@localhost".into(),
        views: Some(true),
        tables: Some(Tables::Missing),
        set_by_sql: Vec::new(),
    }
}

/// A machine with the defaults of everything.
fn usual() -> Situation {
    let utc = crate::config::Layer::flag("--time-zone", "time_zone", "UTC".as_ref()).unwrap();
    let base = load_without_file(vec![utc], []).unwrap().config;
    Situation {
        file: "/etc/conntracker/conntracker.toml".into(),
        file_exists: false,
        file_is_default: true,
        wanted: base.clone(),
        base,
        base_zone: Some(Zone::UTC),
        log_is_given: false,
        user: "conntracker".into(),
        account: "conntracker".into(),
        doubtful_socket: None,
        zones: Zones {
            configured: None,
            machine: Some(Zone::UTC),
            clock: ServerClock::Machine,
        },
        server: Ok(Seen {
            setup: complete(),
            socket: None,
            others: Vec::new(),
            is_here: true,
            log: Some("/var/lib/mysql/server_audit.log".into()),
            log_is_read: true,
            plugin_file_missing: false,
        }),
        logs: Vec::new(),
        syslog_files: Vec::new(),
    }
}

fn seen(situation: &mut Situation) -> &mut Seen {
    situation.server.as_mut().unwrap()
}

/// A machine where everything is prepared.
fn prepared() -> Host {
    Host {
        user: Some(OsUser {
            uid: 990,
            groups: vec![990, 120],
        }),
        program: "/usr/bin/conntracker".into(),
        log_group: Some(Group {
            gid: 120,
            name: "mysql".into(),
        }),
        store_owner: Some(990),
        has_cron_line: true,
        ..Host::default()
    }
}

fn propose(situation: &Situation, host: &Host) -> Proposal {
    Proposal::new(
        situation,
        decide(situation),
        &Machine::unseen("it is not looked at"),
        host,
    )
}

/// The part whose heading has this word.
fn part<'a>(proposal: &'a Proposal, word: &str) -> &'a Part {
    let mut parts = proposal.parts.iter();
    parts.find(|part| part.heading.contains(word)).unwrap()
}

#[test]
fn the_usual_server_needs_nothing() {
    let proposal = propose(&usual(), &prepared());
    assert!(!proposal.has_doubts());
    assert_eq!(
        proposal.text(None),
        "\
# server at /run/mysqld/mysqld.sock, 10.11.19-MariaDB, asked as root@localhost

# == 1. Configuration, the file /etc/conntracker/conntracker.toml
# 'conntracker init --write' writes it. What is a comment is the default.
# audit_log = [\"/var/lib/mysql/server_audit.log\"]
# time_zone = \"UTC\"
# stores = [\"sqlite\"]

# [sqlite]
# path = \"/var/lib/conntracker/conntracker.sqlite\"

# [mariadb]
# database = \"conntrack\"

# == 2. SQL, as an administrator: views and account
# The operating system's user conntracker comes in over the socket, without a password.
# nothing is missing

# == 3. SQL, as an administrator: the audit plugin, until the server's next start
# nothing is missing

# == 4. File of options: the audit plugin, from the server's next start on
# nothing is missing

# == 5. Shell, as root: first steps, when the parts above are done
# /etc/cron.d/conntracker is there already.
runuser -u conntracker -- /usr/bin/conntracker run --report
runuser -u conntracker -- /usr/bin/conntracker check
"
    );
}

#[test]
fn a_file_that_is_there_is_only_corrected() {
    let mut situation = usual();
    situation.file_exists = true;
    situation.wanted.audit_log = vec!["/old.log".into()];
    situation.base = situation.wanted.clone();
    situation.log_is_given = true;
    seen(&mut situation).log_is_read = false;
    let proposal = propose(&situation, &prepared());
    assert!(proposal.has_doubts());
    assert_eq!(
        proposal.configuration.body,
        "audit_log = [\"/var/lib/mysql/server_audit.log\"]\n"
    );
    seen(&mut situation).log_is_read = true;
    assert_eq!(propose(&situation, &prepared()).configuration.body, "");
}

#[test]
fn a_server_elsewhere_is_not_taken_for_one_that_is_here() {
    let mut situation = usual();
    let seen = seen(&mut situation);
    seen.is_here = false;
    seen.log = Some("/data/server_audit.log".into());
    let proposal = propose(&situation, &prepared());
    assert!(proposal.has_doubts());
    situation.log_is_given = true;
    situation.wanted.audit_log = vec!["/mnt/log".into()];
    let (config, _) = decide(&situation);
    assert_eq!(config.audit_log, [PathBuf::from("/mnt/log")]);
}

#[test]
fn without_a_server_a_log_that_is_there_is_better_than_none() {
    let mut situation = usual();
    situation.server = Err("it does not run".into());
    let logs = vec![PathBuf::from("/var/log/mysql/server_audit.log")];
    situation.logs.clone_from(&logs);
    assert_eq!(decide(&situation).0.audit_log, logs);
    let headings = propose(&situation, &prepared()).parts.into_iter();
    let headings: Vec<_> = headings.map(|part| part.heading).collect();
    assert_eq!(headings.len(), 1, "{headings:?}");
    situation.log_is_given = true;
    assert_eq!(decide(&situation).0.audit_log, situation.wanted.audit_log);
}

#[test]
fn syslog_is_read_where_it_is() {
    let mut situation = usual();
    let settings = &mut seen(&mut situation).setup.facts.settings.0;
    settings.insert("server_audit_output_type".into(), "syslog".into());
    let (_, notes) = decide(&situation);
    assert!(notes.doubts[0].contains("journalctl"), "{notes:?}");
    situation.syslog_files = vec!["/var/log/messages".into()];
    let (config, notes) = decide(&situation);
    assert_eq!(config.audit_log, situation.syslog_files);
    assert!(notes.doubts.is_empty(), "{notes:?}");
}

#[test]
fn rights_are_those_on_the_very_database() {
    for (granted, database, access, missing) in [
        ("conntrack", "conntrack", 1 | 1 << 18, false),
        ("conntrack", "conntrack", 1, true),
        ("conn", "conntrack", 1 | 1 << 18, true),
        ("a_b", "a_b", 1 | 1 << 18, false),
        ("a\\_b", "a_b", 1 | 1 << 18, false),
        ("%", "a_b", 1 | 1 << 18, true),
    ] {
        let mut situation = usual();
        situation.wanted.mariadb.database = database.into();
        let grants = &mut seen(&mut situation).setup.facts.database_grants;
        let grant = &mut grants.as_mut().unwrap()[0];
        (grant.database, grant.access) = (granted.into(), access);
        let proposal = propose(&situation, &prepared());
        let body = &part(&proposal, "views").body;
        assert_eq!(!body.is_empty(), missing, "{granted} {database}: {body}");
    }
    let mut situation = usual();
    situation.wanted.mariadb.database = "a_b%`c".into();
    let proposal = propose(&situation, &prepared());
    assert_eq!(
        part(&proposal, "views").body,
        "GRANT SELECT, EXECUTE ON `a\\_b\\%``c`.* TO 'conntracker'@'localhost';\n"
    );
}

#[test]
fn an_account_that_cannot_come_in_is_told() {
    let mut situation = usual();
    let account = &mut seen(&mut situation).setup.facts.accounts[0];
    account.authentication.as_mut().unwrap()[0].plugin = "ed25519".into();
    let proposal = propose(&situation, &prepared());
    let notes = &part(&proposal, "views").notes;
    assert!(notes.doubts[0].contains("not over the socket"), "{notes:?}");
    situation.wanted.server.password_file = Some("/etc/conntracker/password".into());
    assert!(!propose(&situation, &prepared()).has_doubts());
    seen(&mut situation).setup.facts.accounts[0].locked = Some(true);
    let proposal = propose(&situation, &prepared());
    let body = &part(&proposal, "views").body;
    assert_eq!(
        body,
        "ALTER USER 'conntracker'@'localhost' ACCOUNT UNLOCK;\n"
    );
}

#[test]
fn clusters_and_replicas_are_told_where_to_run_it() {
    for (setting, words) in [("wsrep_on", "in one node"), ("read_only", "in its primary")] {
        let mut situation = usual();
        let setup = &mut seen(&mut situation).setup;
        setup.views = Some(false);
        let settings = &mut setup.facts.settings.0;
        settings.insert(setting.into(), "ON".into());
        let proposal = propose(&situation, &prepared());
        let remarks = part(&proposal, "views").notes.remarks.join("\n");
        assert!(remarks.contains(words), "{remarks}");
    }
}

#[test]
fn what_was_set_by_sql_gets_a_line_for_the_next_start() {
    let mut situation = usual();
    let setup = &mut seen(&mut situation).setup;
    let settings = &mut setup.facts.settings.0;
    settings.insert("server_audit_file_path".into(), "a \"b\"\\#.log".into());
    setup.set_by_sql = [
        "server_audit_file_path",
        "server_audit_logging",
        "server_audit_mode",
    ]
    .map(str::to_owned)
    .into();
    let proposal = propose(&situation, &prepared());
    assert_eq!(
        part(&proposal, "File of options").body,
        "[mariadbd]\nserver_audit_logging = ON\nserver_audit_file_path = \"a \\\"b\\\"\\\\#.log\"\n"
    );
    assert_eq!(part(&proposal, "until").body, "");
}

#[test]
fn first_steps_take_nothing_away_from_anybody() {
    let situation = usual();
    let steps = |host: &Host| {
        let proposal = propose(&situation, host);
        let part = part(&proposal, "Shell");
        (part.body.clone(), part.notes.doubts.len())
    };
    let (body, doubts) = steps(&Host {
        user: None,
        program: "/root/.cargo/bin/conntracker".into(),
        program_blocked: true,
        log_blocked: vec![Blocked {
            path: "/var/lib/mysql".into(),
            is_folder: true,
            of_group: true,
        }],
        store_owner: None,
        has_cron_line: false,
        ..prepared()
    });
    assert_eq!(
        body,
        "\
useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin conntracker
usermod --append --groups mysql conntracker
install -d -m 750 -o conntracker -g \"$(id -gn conntracker)\" /var/lib/conntracker
chmod g+rx /var/lib/mysql
install -m 755 /root/.cargo/bin/conntracker /usr/local/bin/conntracker
runuser -u conntracker -- /usr/local/bin/conntracker run --report
runuser -u conntracker -- /usr/local/bin/conntracker check
cat > /etc/cron.d/conntracker <<'END'
*/10 * * * * conntracker /usr/local/bin/conntracker run
7 6 * * * conntracker /usr/local/bin/conntracker check --quiet
END
"
    );
    assert_eq!(doubts, 0);
    // Somebody else's folder stays his, and what only the owner may read is not opened.
    let (body, doubts) = steps(&Host {
        store_owner: Some(0),
        log_blocked: vec![Blocked {
            path: "/srv".into(),
            is_folder: true,
            of_group: false,
        }],
        ..prepared()
    });
    assert!(
        !body.contains("install") && !body.contains("chmod"),
        "{body}"
    );
    assert_eq!(doubts, 2);
    // The package's timer lets its user into the group of the log by itself.
    let (body, _) = steps(&Host {
        user: Some(OsUser {
            uid: 990,
            groups: vec![990],
        }),
        has_timer: true,
        ..prepared()
    });
    assert_eq!(
        body,
        "\
runuser -u conntracker -G mysql -- /usr/bin/conntracker run --report
runuser -u conntracker -G mysql -- /usr/bin/conntracker check
systemctl enable --now conntracker.timer conntracker-check.timer
"
    );
}

#[test]
fn what_may_be_anybodys_word_is_told_as_such() {
    let mut situation = usual();
    situation.doubtful_socket = Some("/tmp/mysql\n.sock".into());
    let proposal = propose(&situation, &prepared());
    let doubts = &proposal.configuration.notes.doubts;
    assert!(doubts[0].contains("/tmp/mysql\\n.sock"), "{doubts:?}");
    assert_eq!(part(&proposal, "Shell").notes.doubts.len(), 1);
}

#[test]
fn cron_gets_no_user_whose_name_would_be_more_than_a_word() {
    for name in ["joe x", "joe\nEND\nid", "-joe", "Joe", "0", "", "joe;id"] {
        let mut situation = usual();
        situation.user = name.into();
        let host = Host {
            user: None,
            has_cron_line: false,
            ..prepared()
        };
        let proposal = propose(&situation, &host);
        let part = part(&proposal, "Shell");
        assert_eq!(part.notes.doubts.len(), 2, "{name:?}: {:?}", part.notes);
        assert!(!part.body.contains("cron"), "{name:?}: {}", part.body);
    }
}

#[test]
fn an_account_with_a_password_is_not_made_without_one() {
    let mut situation = usual();
    situation.account = "audit".into();
    situation.wanted.server.user = Some("audit".into());
    situation.wanted.server.password_file = Some("/etc/conntracker/password".into());
    let proposal = propose(&situation, &prepared());
    let views = part(&proposal, "views");
    assert!(!views.body.contains("CREATE USER"), "{}", views.body);
    assert!(
        views.body.contains("TO 'audit'@'localhost'"),
        "{}",
        views.body
    );
    assert_eq!(views.notes.doubts.len(), 1, "{:?}", views.notes);
    let steps = &part(&proposal, "Shell").body;
    assert!(!steps.contains("audit"), "{steps}");
}

/// Text with everything in it that means something to somebody.
fn odd() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just('"'),
        Just('\\'),
        Just('\''),
        Just('#'),
        Just('\n'),
        Just('['),
        Just('='),
        Just('`'),
        Just(' '),
        Just('\u{202e}'),
        Just('\u{1}'),
        Just('$'),
        Just('{'),
        any::<char>()
    ];
    proptest::collection::vec(odd, 1..12).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn what_a_server_says_acts_on_no_terminal(
        (events, path, hostname, version) in (odd(), odd(), odd(), odd()),
        (current_user, zone, log, socket) in (odd(), odd(), odd(), odd()),
        (group, blocked, output) in (odd(), odd(), odd()),
        is_here in any::<bool>(),
    ) {
        let mut situation = usual();
        situation.doubtful_socket = Some(socket.clone().into());
        let seen = seen(&mut situation);
        seen.is_here = is_here;
        seen.others = vec![socket.clone().into()];
        seen.log = Some(log.into());
        seen.log_is_read = false;
        let setup = &mut seen.setup;
        setup.current_user = current_user;
        setup.accounts_known = false;
        setup.views = None;
        setup.set_by_sql = vec!["server_audit_file_path".into(), "server_audit_output_type".into()];
        let facts = &mut setup.facts;
        facts.accounts.clear();
        facts.hostname = (&*hostname).into();
        facts.version = version;
        for (name, value) in [
            ("server_audit_events", events),
            ("server_audit_file_path", path),
            ("server_audit_output_type", output),
            ("system_time_zone", zone),
            ("datadir", socket),
        ] {
            facts.settings.0.insert(name.into(), value);
        }
        let host = Host {
            log_group: Some(Group { gid: 120, name: group }),
            log_blocked: [true, false]
                .map(|of_group| Blocked { path: (&*blocked).into(), is_folder: true, of_group })
                .into(),
            user: None,
            ..prepared()
        };
        let proposal = propose(&situation, &host);
        let text = proposal.text(None);
        prop_assert!(!text.chars().any(|c| c != '\n' && is_unsafe_to_show(c)), "{text:?}");
        let parts = proposal.parts.iter().chain([&proposal.configuration]);
        for said in parts.flat_map(|part| part.notes.doubts.iter().chain(&part.notes.remarks)) {
            prop_assert!(!said.contains('\n'), "{said:?}");
        }
    }

    #[test]
    fn the_printed_configuration_is_the_decided_one(
        (log, socket, name, sqlite) in (odd(), odd(), odd(), odd()),
        (mariadb, both, local) in any::<(bool, bool, bool)>(),
        zone in 0..tzdb_data::TZ_NAMES.len(),
    ) {
        let mut situation = usual();
        situation.wanted.server_name = Some(name);
        situation.wanted.sqlite.path = sqlite.into();
        situation.wanted.stores = match (mariadb, both) {
            (true, true) => vec![StoreKind::Sqlite, StoreKind::MariaDb],
            (true, false) => vec![StoreKind::MariaDb],
            (false, _) => vec![StoreKind::Sqlite],
        };
        situation.zones.configured = Zone::parse(tzdb_data::TZ_NAMES[zone]);
        let seen = seen(&mut situation);
        seen.log = Some(log.into());
        seen.log_is_read = false;
        seen.socket = local.then(|| socket.into());
        let decided = decide(&situation);
        let expected = decided.0.clone();
        let proposal = Proposal::new(&situation, decided, &Machine::unseen(""), &prepared());
        // Nothing in it acts on a terminal.
        let text = proposal.text(None);
        prop_assert!(!text.chars().any(|c| c != '\n' && is_unsafe_to_show(c)), "{text:?}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conntracker.toml");
        std::fs::write(&file, &proposal.configuration.body).unwrap();
        let utc = crate::config::Layer::flag("--time-zone", "time_zone", "UTC".as_ref()).unwrap();
        let flags = match proposal.configuration.body.contains("\ntime_zone = ") {
            true => Vec::new(),
            // The default, on whatever machine this is.
            false => vec![utc],
        };
        let loaded = crate::config::load(Some(&file), flags, [], folder.path()).unwrap();
        prop_assert_eq!(loaded.config, expected);
    }
}
