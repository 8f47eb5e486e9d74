use super::*;

/// A folder with a configuration file, and what is set beside it.
struct Setting {
    folder: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Layer>,
}

impl Setting {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn toml(self, text: &str) -> Self {
        self.file("conntracker.toml", text)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: &'static str, key: &str, value: &str) -> Self {
        self.flags
            .push(Layer::flag(flag, key, OsStr::new(value)).unwrap());
        self
    }

    fn load(&self) -> Result<Loaded> {
        self.load_file(None)
    }

    fn load_file(&self, given: Option<&Path>) -> Result<Loaded> {
        load(
            given,
            self.flags.clone(),
            self.environment.clone(),
            self.folder.path(),
        )
    }

    /// The error's text, the folder's name in it replaced by ETC.
    fn error(&self) -> String {
        let error = self.load().expect_err("a wrong setting was accepted");
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        error
            .to_string()
            .replace(self.folder.path().to_str().unwrap(), "ETC")
    }
}

#[test]
fn nothing_needs_to_be_set() {
    let loaded = Setting::new().env("TZ", "ignored").load().unwrap();
    assert_eq!(loaded.config.audit_log, [PathBuf::from(DEFAULT_AUDIT_LOG)]);
    assert_eq!(loaded.config.stores, [StoreKind::Sqlite]);
    assert_eq!(loaded.config.sqlite.path, PathBuf::from(DEFAULT_SQLITE));
    assert_eq!(loaded.config.server_name, None);
    assert_eq!(loaded.origins["sqlite.path"], "default");
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let setting = Setting::new()
        .toml("audit_log = ['/f/1', '/f/2']\ntime_zone = 'UTC'\nserver_name = 'file'\n[sqlite]\npath = '/f/db'")
        .env("CONNTRACKER_AUDIT_LOG", "/e/1")
        .env("CONNTRACKER_SERVER_NAME", "007")
        .env("CONNTRACKER_SQLITE__PATH", "/e/db")
        .flag("--sqlite", "sqlite.path", "/flag/db");
    let loaded = setting.load().unwrap();
    assert_eq!(loaded.config.audit_log, [PathBuf::from("/e/1")]);
    assert_eq!(loaded.config.time_zone, Zone::UTC);
    assert_eq!(loaded.config.server_name.as_deref(), Some("007"));
    assert_eq!(loaded.config.sqlite.path, PathBuf::from("/flag/db"));
    let file = setting.folder.path().join("conntracker.toml");
    assert_eq!(
        loaded.origins["time_zone"],
        format!("from {}", file.display())
    );
    assert_eq!(
        loaded.origins["audit_log"],
        "from environment variable CONNTRACKER_AUDIT_LOG"
    );
    assert_eq!(loaded.origins["sqlite.path"], "from --sqlite");
    assert_eq!(loaded.origins["stores"], "default");
}

#[test]
fn a_file_for_prometheus_may_be_named_anywhere() {
    let setting = Setting::new()
        .toml("[run]\ntextfile = '/f/c.prom'")
        .env("CONNTRACKER_RUN__TEXTFILE_ACCOUNTS", "true");
    let run = setting.load().unwrap().config.run;
    assert_eq!(run.textfile, Some("/f/c.prom".into()));
    assert!(run.textfile_accounts);
    let flagged = setting.flag("--textfile", "run.textfile", "/flag/c.prom");
    let run = flagged.load().unwrap().config.run;
    assert_eq!(run.textfile, Some("/flag/c.prom".into()));
}

#[test]
fn the_environment_takes_lists_and_standard_input() {
    for (value, paths) in [
        ("-", vec!["-"]),
        ("/a,b", vec!["/a,b"]),
        (r#"["/a", "/b"]"#, vec!["/a", "/b"]),
        ("[/a, /b]", vec!["/a", "/b"]),
    ] {
        let config = Setting::new()
            .env("CONNTRACKER_AUDIT_LOG", value)
            .load()
            .unwrap()
            .config;
        assert_eq!(
            config.audit_log,
            paths.into_iter().map(PathBuf::from).collect::<Vec<_>>(),
            "{value}"
        );
    }
}

#[test]
fn a_wrong_setting_in_the_file_is_named() {
    let file = "ETC/conntracker.toml: ";
    for (text, said) in [
        (
            "audit_logs = []",
            "audit_logs: there is no such key; there are audit_log, time_zone, ",
        ),
        (
            "[run]\ntextfile = '/x/c.txt'",
            "run.textfile: node_exporter reads only files whose names end in .prom; write a path",
        ),
        (
            "[run]\ntextfile = '.prom'",
            "run.textfile: node_exporter reads only files whose names end in .prom",
        ),
        (
            "[run]\ntextfile_accounts = true",
            "run.textfile_accounts: there is no run.textfile that they could stand in; write true",
        ),
        (
            "[run]\ntextfile_accounts = 'yes'",
            "run.textfile_accounts: found string \"yes\"; write true or false",
        ),
        (
            "[sqlite]\npaht = 'x'",
            "sqlite.paht: there is no such key; ",
        ),
        (
            "[mail]\nto = 'x'",
            "mail: there is no such key; there are audit_log, ",
        ),
        (
            "[mariadb]\nport = 70000",
            "mariadb.port: found signed int `70000`; write a port, such as 3306",
        ),
        (
            "[mariadb]\ntls = 'yes'",
            "mariadb.tls: found string \"yes\"; write true or false",
        ),
        (
            "[mariadb]\nsocket = '/s'\nhost = 'h'",
            "mariadb.socket: mariadb.host is set too; set one of them; write a path",
        ),
        (
            "[mariadb]\npassword = 'secret'",
            "mariadb.password: a password does not stand in the configuration; set password_file ",
        ),
        (
            "[mariadb]\nhost = 'localhost'\nport = 3307",
            "mariadb.host: localhost is the unix socket, which has no port and no TLS; 127.0.0.1 ",
        ),
        (
            "[mariadb]\ndatabase = 'MySQL'",
            "mariadb.database: it is the server's own; write a name",
        ),
        (
            "[activity]\nhours_kept = '5 weeks'",
            "activity.hours_kept: '5 weeks' is not a span of time: write 90d, 36h or 2w; write a time span",
        ),
        (
            "[activity]\nhours_kept = '500d'",
            "activity.hours_kept: it is longer than activity.days_kept; write a time span",
        ),
        (
            "[activity]\ndays_kept = '34d'",
            "activity.days_kept: it is shorter than activity.hours_kept; write a time span, such as \"400d\"",
        ),
        (
            "[check]\nunused_after = '0d'",
            "check.unused_after: it is zero: every account would be unused; write a time span",
        ),
        (
            "[check]\nunused_after = '90'",
            "check.unused_after: '90' is not a span of time: write 90d, 36h or 2w; write a time span",
        ),
        (
            "audit_log = '/x'",
            "audit_log: found string \"/x\"; write a list of paths, such as ",
        ),
        (
            "audit_log = ['/x', 1]",
            "audit_log: found signed int `1`; write a list of paths",
        ),
        (
            "audit_log = []",
            "audit_log: the list is empty; write a list of paths",
        ),
        (
            "audit_log = ['']",
            "audit_log: a path is empty; write a list of paths",
        ),
        (
            "time_zone = 1",
            "time_zone: found signed int `1`; write a name such as \"Europe/Zurich\"",
        ),
        (
            "time_zone = 'Mars'",
            "time_zone: 'Mars' is not a time zone; write a name such as ",
        ),
        (
            "time_zone = ''",
            "time_zone: it is empty; write a name such as ",
        ),
        (
            "server_name = ''",
            "server_name: it is empty; write a name, such as \"db1\"",
        ),
        (
            "stores = []",
            "stores: the list is empty; write [\"sqlite\"]",
        ),
        (
            "stores = ['oracle']",
            "stores: 'oracle' is not a store: write sqlite",
        ),
        (
            "sqlite = '/x'",
            "sqlite: found string \"/x\"; write a table",
        ),
        (
            "[sqlite]\npath = ''",
            "sqlite.path: it is empty; write a path, such as ",
        ),
        ("stores = ['sqlite']\n\ntime_zone = UTC\n", "line 3: "),
        (
            "time_zone = 'UTC'\ntime_zone = 'UTC'\n",
            "line 2: duplicate key",
        ),
    ] {
        let error = Setting::new().toml(text).error();
        assert!(
            error.starts_with(&format!("{file}{said}")),
            "{text}: {error}"
        );
        assert!(!error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn a_wrong_setting_elsewhere_is_named() {
    let message = "'Mars' is not a time zone; write a name such as \"Europe/Zurich\" or an offset such as \"+01:00\"";
    let error = Setting::new().env("CONNTRACKER_TIME_ZONE", "Mars").error();
    assert_eq!(
        error,
        format!("environment variable CONNTRACKER_TIME_ZONE: {message}")
    );
    let error = Setting::new()
        .flag("--time-zone", "time_zone", "Mars")
        .error();
    assert_eq!(error, format!("--time-zone: {message}"));
    for (name, value, said) in [
        (
            "CONNTRACKER_TIMEZONE",
            "UTC",
            "there is no such setting; there are CONNTRACKER_AUDIT_LOG, ",
        ),
        ("CONNTRACKER_SQLITE", "/x", "there is no such setting; "),
        ("CONNTRACKER_AUDIT_LOG", "", "a path is empty; "),
        ("CONNTRACKER_AUDIT_LOG", "[]", "the list is empty; "),
        ("CONNTRACKER_AUDIT_LOG", "[1, 2]", "found "),
        ("CONNTRACKER_STORES", "oracle", "'oracle' is not a store"),
        ("CONNTRACKER_SQLITE__PATH", "", "it is empty; "),
        ("CONNTRACKER_CONFIG", "", "it is empty; "),
        (
            "CONNTRACKER_CONFIG",
            "/no/such/file",
            "/no/such/file: No such file",
        ),
    ] {
        let error = Setting::new().env(name, value).error();
        assert!(
            error.starts_with(&format!("environment variable {name}: {said}")),
            "{value}: {error}"
        );
    }
}

#[test]
fn a_wrong_file_is_no_excuse_where_a_flag_hides_it() {
    let setting = Setting::new()
        .toml("time_zone = 5")
        .flag("--time-zone", "time_zone", "UTC");
    assert!(setting.error().contains("time_zone: found signed int"));
}

#[test]
fn a_path_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let path = OsStr::from_bytes(b"/x\xff");
    let error = Layer::flags("--audit-log", "audit_log", [path])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("--audit-log: '/x\\xff' is not UTF-8"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let setting = Setting::new();
    let error = setting
        .load_file(Some(Path::new("/no/such/file.toml")))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("--config: /no/such/file.toml: No such file"),
        "{error}"
    );
}

#[test]
fn the_go_programs_file_is_read_where_there_is_no_other() {
    let ini = "[main]\nAuditLogPath = /data/mysql\nsqlitepath = \"/x.db\"\nTimeLocation = Local\nLogLevel = info\nMaxWorkers = 8\nColour = red\n";
    let setting = Setting::new().file("conntracker.ini", ini);
    let loaded = setting.load().unwrap();
    assert_eq!(loaded.config.audit_log, [PathBuf::from("/data/mysql")]);
    assert_eq!(loaded.config.sqlite.path, PathBuf::from("/x.db"));
    assert_eq!(loaded.log_level, Some(LevelFilter::Warn));
    assert!(loaded.origins["sqlite.path"].ends_with("conntracker.ini: line 3: sqlitepath"));
    assert_eq!(
        setting.toml("").load().unwrap().config.sqlite.path,
        PathBuf::from(DEFAULT_SQLITE)
    );
}

#[test]
fn a_wrong_setting_in_the_go_programs_file_is_named() {
    let file = "ETC/conntracker.ini: ";
    for (text, said) in [
        (
            "TimeLocation = Mars",
            "line 1: TimeLocation: 'Mars' is not a time zone; ",
        ),
        (
            "\nAuditLogPath =",
            "line 2: AuditLogPath: a path is empty; ",
        ),
        ("SqlitePath = ''", "line 1: SqlitePath: it is empty; "),
        (
            "LogLevel = loud",
            "line 1: LogLevel: 'loud' is not a level; write debug, info, warn or error",
        ),
        ("SqlitePath", "line 1: write 'key = value'"),
    ] {
        let error = Setting::new().file("conntracker.ini", text).error();
        assert!(
            error.starts_with(&format!("{file}{said}")),
            "{text}: {error}"
        );
    }
}

#[test]
fn the_audited_server_is_this_machines() {
    let local = Setting::new()
        .toml("[mariadb]\nsocket = '/s'\nuser = 'u'\npassword_file = '/p'")
        .env("CONNTRACKER_MARIADB__PASSWORD", "secret");
    let config = local.load().unwrap().config;
    assert_eq!(config.server, config.mariadb.access);
    assert!(config.server.password.is_some());

    let central = Setting::new()
        .toml("[mariadb]\nhost = 'h'\nport = 3307\nuser = 'u'\npassword_file = '/p'")
        .env("CONNTRACKER_MARIADB__TLS_CA", "/ca")
        .env("CONNTRACKER_MARIADB__PASSWORD", "secret")
        .flag("--socket", "mariadb.socket", "/typed")
        .flag("--socket", "server.socket", "/typed");
    let config = central.load().unwrap().config;
    assert_eq!(config.mariadb.access.socket, None);
    assert_eq!(config.mariadb.access.port, Some(3307));
    assert_eq!(config.mariadb.access.tls_ca, Some("/ca".into()));
    let typed = Access {
        socket: Some("/typed".into()),
        ..Access::default()
    };
    assert_eq!(config.server, typed);
}

#[test]
fn a_password_is_not_shown() {
    let setting = Setting::new().env("CONNTRACKER_MARIADB__PASSWORD", "secret");
    let loaded = setting.load().unwrap();
    assert!(!format!("{loaded:?}").contains("secret"));
    let setting = Setting::new().env("CONNTRACKER_MARIADB__PORT", "many");
    assert_eq!(
        setting.error(),
        "environment variable CONNTRACKER_MARIADB__PORT: found string \"many\"; write a port, such as 3306"
    );
    let setting = Setting::new().env("CONNTRACKER_MARIADB__TLS", "false");
    assert_eq!(
        setting.load().unwrap().config.mariadb.access.tls,
        Some(false)
    );
}

/// The settings in the comments of the packaged example: key, and the line in its table.
fn settings_of_the_example() -> Vec<(String, String)> {
    let text = include_str!("../../packaging/conntracker.toml");
    let mut table = None;
    let mut settings = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = Some(name.trim_end_matches(']'));
        }
        let setting = line.strip_prefix('#').filter(|text| !text.starts_with(' '));
        if let Some((key, _)) = setting.and_then(|setting| setting.split_once(" = ")) {
            let setting = setting.unwrap_or_default();
            settings.push(match table {
                Some(table) => (format!("{table}.{key}"), format!("[{table}]\n{setting}")),
                None => (key.to_owned(), setting.to_owned()),
            });
        }
    }
    settings
}

#[test]
fn the_packaged_example_changes_nothing_as_it_stands() {
    let text = include_str!("../../packaging/conntracker.toml");
    assert_eq!(
        Setting::new().toml(text).load().unwrap().config,
        Setting::new().load().unwrap().config
    );
}

#[test]
fn the_packaged_example_has_every_key_once_and_each_is_right() {
    let mut keys: Vec<_> = layer::KEYS.iter().map(|(key, ..)| *key).collect();
    let settings = settings_of_the_example();
    let mut shown: Vec<_> = settings.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, keys);
    let defaults = Setting::new().load().unwrap();
    for (key, setting) in &settings {
        let with = Setting::new().toml(setting).load().unwrap();
        assert_ne!(with.origins[&**key], "default", "{setting}");
        if defaults.origins[&**key] == "default" {
            assert_eq!(with.config, defaults.config, "{setting}");
        }
    }
}
