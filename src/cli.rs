//! What may be typed on the command line, and nothing of what it means: [`crate::command`] turns
//! the settings into a layer of [`crate::config`] and does the work.
//!
//! A setting may stand before or after the command's name. Clap's own global flags would let
//! `--audit-log A accounts --audit-log B` drop A without a word, so every command takes
//! [`Settings`] of its own, and [`read`] joins the two.

use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::PathBuf;

use clap::builder::{
    NonEmptyStringValueParser, OsStringValueParser, PossibleValue, TypedValueParser,
};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::check::State;
use crate::check::registry::{self, Check};
use crate::config::StoreKind;
use crate::name::Name;
use crate::report::{CheckFormat, Format, TABLE_ROWS};
use crate::store::SortBy;
use crate::time::Span;
use crate::wildcard::Wildcard;

const EXAMPLES: &str = "\
Examples:
  conntracker init                        what has to be set up on this database host?
  conntracker                             read what is new; for cron or a systemd timer
  conntracker accounts --unused-for 90d   accounts without a sign of use for 90 days
  conntracker accounts --state never_used --sort name
                                          what the last check found, one by one
  conntracker failures --since 24h        who failed to log in during the last 24 hours
  conntracker check                       is the server used, and exposed, as it should be?
  conntracker report --html page.html     all of it on one page, to look at, mail or print
  conntracker which app 10.0.5.21         which account is picked for that login, and why?
  conntracker --audit-log /data/server_audit.log --sqlite ./conn.sqlite --report
                                          try it without a configuration file

Exit codes:
  0  fine
  1  worth a look: records not understood or not believed, a gap in the log
  2  critical
  3  the work, or a part of it, could not be done";

/// What was asked for.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// The settings from before and after the command's name.
    pub settings: Settings,
}

/// Reads the command line. The error is a usage error, or the text of `--help` or `--version`.
pub fn read<I, T>(arguments: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let Cli {
        command,
        run,
        settings,
    } = Cli::try_parse_from(arguments)?;
    let conflict = |message| Cli::command().error(ErrorKind::ArgumentConflict, message);
    let (mut command, later) = match command {
        None => (Command::Run(RunFlags::default()), Settings::default()),
        Some(Commands::Run(With { flags, settings })) => (Command::Run(flags), settings),
        Some(Commands::Accounts(With { flags, settings })) => (Command::Accounts(flags), settings),
        Some(Commands::Failures(With { flags, settings })) => (Command::Failures(flags), settings),
        Some(Commands::Quarantine(With { flags, settings })) => {
            (Command::Quarantine(flags), settings)
        }
        Some(Commands::Check(With { flags, settings })) => (Command::Check(flags), settings),
        Some(Commands::Report(With { flags, settings })) => (Command::Report(flags), settings),
        Some(Commands::Which(With { flags, settings })) => (Command::Which(flags), settings),
        Some(Commands::Init(With { flags, settings })) => (Command::Init(flags), settings),
        Some(Commands::Schema(settings)) => (Command::Schema, settings),
        Some(Commands::Config(settings)) => (Command::Config, settings),
        Some(Commands::Version(settings)) => (Command::Version, settings),
    };
    match &mut command {
        Command::Run(flags) => *flags = run.join(std::mem::take(flags)).map_err(conflict)?,
        _ => run.are_none().map_err(conflict)?,
    }
    let settings = settings.join(later).map_err(conflict)?;
    Ok(Invocation { command, settings })
}

/// The command line as clap knows it, for what describes it: man pages and shell completions.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// The commands with their flags.
#[derive(Debug)]
pub enum Command {
    /// Read what is new.
    Run(RunFlags),
    /// Show the last use of each account.
    Accounts(AccountsFlags),
    /// Show failed logins.
    Failures(SinceFlags),
    /// Show records that were not believed.
    Quarantine(SinceFlags),
    /// Compare with the server.
    Check(CheckFlags),
    /// Write a page to look at.
    Report(ReportFlags),
    /// Explain the choice of an account.
    Which(WhichFlags),
    /// Propose what a server needs first.
    Init(InitFlags),
    /// Print the SQL.
    Schema,
    /// Print the configuration.
    Config,
    /// Print the version.
    Version,
}

/// When was each MariaDB account last used, and who failed to log in?
///
/// Reads what is new in the log of the server's audit plugin and keeps the answer. Without a
/// command it does what `run` does.
#[derive(Debug, Parser)]
#[command(name = "conntracker", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Commands>,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Read what is new in the audit log and update the store (the default)
    Run(With<RunFlags>),
    /// Show the last use of each account
    Accounts(With<AccountsFlags>),
    /// Show failed logins by name, host and error code
    Failures(With<SinceFlags>),
    /// Show records that were not believed, why, and who wrote them
    Quarantine(With<SinceFlags>),
    /// Is the server used and exposed as it should be? Unused accounts, logins, settings, rights
    Check(With<CheckFlags>),
    /// Write one page with all of it, to look at in a browser: coverage, accounts, rhythm, failures
    Report(With<ReportFlags>),
    /// Show which account the server picks for a login, and why
    Which(With<WhichFlags>),
    /// Print what fits this machine's server: configuration, account, plugin settings, first steps
    Init(With<InitFlags>),
    /// Print the SQL of the store's tables
    Schema(Settings),
    /// Print the effective configuration, and where each value comes from
    Config(Settings),
    /// Print the version
    Version(Settings),
}

#[derive(Debug, Args)]
struct With<F: Args> {
    #[command(flatten)]
    flags: F,
    #[command(flatten)]
    settings: Settings,
}

/// Flags of `run`.
#[derive(Debug, Default, Args)]
pub struct RunFlags {
    /// When done, print what `accounts` prints
    #[arg(long)]
    pub report: bool,
    /// When done, write figures for Prometheus to this file, for node_exporter's textfile collector; its
    /// name ends in .prom
    #[arg(long, value_name = "PATH")]
    pub textfile: Option<PathBuf>,
    /// Also those of each account name and client host, which may be many series
    #[arg(long)]
    pub textfile_accounts: bool,
    /// How many threads may look through a long log; one for each processor if not given, at most 8
    #[arg(long, value_name = "NUMBER")]
    pub threads: Option<NonZero<u8>>,
}

impl RunFlags {
    /// These, and those typed after the command's name. The error is a usage error's message.
    fn join(self, later: Self) -> Result<Self, String> {
        Ok(Self {
            report: self.report | later.report,
            textfile: either("--textfile <PATH>", self.textfile, later.textfile)?,
            textfile_accounts: self.textfile_accounts | later.textfile_accounts,
            threads: either("--threads <NUMBER>", self.threads, later.threads)?,
        })
    }

    /// They stand before the name of another command.
    fn are_none(&self) -> Result<(), String> {
        let given = [
            ("--report", self.report),
            ("--textfile", self.textfile.is_some()),
            ("--textfile-accounts", self.textfile_accounts),
            ("--threads", self.threads.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!("{flag} belongs to the command 'run'")),
            None => Ok(()),
        }
    }
}

fn either<T>(flag: &str, before: Option<T>, after: Option<T>) -> Result<Option<T>, String> {
    match (before, after) {
        (Some(_), Some(_)) => Err(format!(
            "the argument '{flag}' cannot be used multiple times"
        )),
        (before, after) => Ok(before.or(after)),
    }
}

/// Flags of every list.
#[derive(Clone, Debug, Default, Args)]
pub struct ListFlags {
    /// Only this server's
    #[arg(long, value_name = "NAME", value_parser = name_parser())]
    pub server: Option<Name>,
    /// How to print them: table, json, ndjson (an object a line) or csv
    #[arg(long, default_value = "table", value_parser = format_parser(), hide_possible_values = true)]
    pub format: Format,
    /// Not more rows than this; 0: all [default: 1000 in a table, else all]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

impl ListFlags {
    /// How many rows to print at the most.
    pub fn limit(&self) -> u64 {
        match (self.limit, self.format) {
            (Some(0), _) => u64::MAX,
            (Some(limit), _) => limit,
            // It is held in memory.
            (None, Format::Table) => TABLE_ROWS,
            (None, _) => u64::MAX,
        }
    }
}

/// Flags of `accounts`.
#[derive(Clone, Debug, Default, Args)]
pub struct AccountsFlags {
    /// Only accounts without a sign of use for so long: 90d, 36h, 2w
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub unused_for: Option<Span>,
    /// Only this user name, upper and lower case told apart; * stands for anything: 'app_*'
    #[arg(long, value_name = "PATTERN", value_parser = wildcard_parser(), allow_hyphen_values = true)]
    pub name: Option<Wildcard>,
    /// Only this client host (with --state: this host pattern, as text); * stands for anything
    #[arg(long, value_name = "PATTERN", value_parser = wildcard_parser(), allow_hyphen_values = true)]
    pub host: Option<Wildcard>,
    /// Instead: the server's accounts that the last `check` judged so: unused, never_used, unknown,
    /// locked, active, connected, system, role
    #[arg(
        long, value_name = "STATE,…", value_delimiter = ',', value_parser = state_parser(), hide_possible_values = true,
        conflicts_with = "unused_for"
    )]
    pub state: Vec<State>,
    /// By last-active, last-seen, first-seen, connects, name or host, the oldest and the least first,
    /// before them what is not known [default: by server, name and host]
    #[arg(long, value_name = "ORDER", value_parser = sort_parser(), hide_possible_values = true)]
    pub sort: Option<SortBy>,
    /// The same from its end
    #[arg(long)]
    pub reverse: bool,
    /// What every list takes.
    #[command(flatten)]
    pub list: ListFlags,
}

/// Flags of `failures` and `quarantine`.
#[derive(Debug, Args)]
pub struct SinceFlags {
    /// Only what happened within the last: 24h, 90m, 7d
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub since: Option<Span>,
    /// What every list takes.
    #[command(flatten)]
    pub list: ListFlags,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckFlags {
    /// How to print what was found: table, json or nagios
    #[arg(long, default_value = "table", value_parser = check_format_parser(), hide_possible_values = true)]
    pub format: CheckFormat,
    /// Only these checks
    #[arg(long, value_name = "CHECK,…", value_delimiter = ',', value_parser = check_parser(),
          hide_possible_values = true)]
    pub only: Vec<&'static Check>,
    /// Not these checks
    #[arg(long, value_name = "CHECK,…", value_delimiter = ',', value_parser = check_parser(),
          hide_possible_values = true)]
    pub skip: Vec<&'static Check>,
    /// Also write all of it, with every check's result, to this file (JSON)
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportFlags {
    /// Where to write the page: a file, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub html: PathBuf,
}

/// Flags of `which`.
#[derive(Debug, Args)]
pub struct WhichFlags {
    /// User name that the client gives
    #[arg(id = "login", value_name = "USER", value_parser = name_parser(), allow_hyphen_values = true)]
    pub user: Name,
    /// Where the client is: an address, a name, or localhost
    #[arg(value_parser = name_parser())]
    pub host: Name,
    /// How to print the rows: table, json, ndjson or csv
    #[arg(long, default_value = "table", value_parser = format_parser(), hide_possible_values = true)]
    pub format: Format,
}

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitFlags {
    /// Write the configuration file, where there is none yet
    #[arg(long)]
    pub write: bool,
    /// Operating system's user who will run conntracker [default: the configured one, or conntracker]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub run_as: Option<String>,
}

/// Settings that every command takes. They win over the environment and the configuration file.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Configuration file [default: /etc/conntracker/conntracker.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Audit log: the live file, a folder, a glob, or - for standard input; may be repeated
    #[arg(long, value_name = "PATH")]
    pub audit_log: Vec<PathBuf>,
    /// The database server's time zone: Europe/Zurich, +01:00 [default: this machine's]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub time_zone: Option<String>,
    /// What to call the database server [default: the serverhost that the log names]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Where the answer is kept: sqlite, mariadb; may be repeated
    #[arg(long, value_name = "STORE", value_parser = store_parser(), hide_possible_values = true)]
    pub store: Vec<StoreKind>,
    /// SQLite file
    #[arg(long, value_name = "PATH")]
    pub sqlite: Option<PathBuf>,
    /// Unix socket of the audited server, and of the store unless that is reached over TCP
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// User name there [default: the operating system's user]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Say more; -vv says still more
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

impl Settings {
    /// These, and those typed after the command's name. The error is a usage error's message.
    fn join(mut self, later: Self) -> Result<Self, String> {
        self.audit_log.extend(later.audit_log);
        self.store.extend(later.store);
        let joined = Self {
            config: either("--config <FILE>", self.config, later.config)?,
            audit_log: self.audit_log,
            time_zone: either("--time-zone <ZONE>", self.time_zone, later.time_zone)?,
            server_name: either("--server-name <NAME>", self.server_name, later.server_name)?,
            store: self.store,
            sqlite: either("--sqlite <PATH>", self.sqlite, later.sqlite)?,
            socket: either("--socket <PATH>", self.socket, later.socket)?,
            user: either("--user <NAME>", self.user, later.user)?,
            verbose: self.verbose.saturating_add(later.verbose),
            quiet: self.quiet | later.quiet,
        };
        if joined.quiet && joined.verbose > 0 {
            return Err("'--verbose' cannot be used with '--quiet'".into());
        }
        Ok(joined)
    }
}

/// Tells shell completions which values there are. Clap's own parser for such would also have the last
/// word on any other value, and its message does not say what to write.
#[derive(Clone)]
struct OneOf<P, const N: usize> {
    values: [&'static str; N],
    parser: P,
}

impl<P: TypedValueParser, const N: usize> TypedValueParser for OneOf<P, N> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        self.parser.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.values.into_iter().map(PossibleValue::new)))
    }
}

fn format_parser() -> impl TypedValueParser<Value = Format> {
    one_of(["table", "json", "ndjson", "csv"], Format::parse)
}

fn check_format_parser() -> impl TypedValueParser<Value = CheckFormat> {
    one_of(["table", "json", "nagios"], CheckFormat::parse)
}

fn state_parser() -> impl TypedValueParser<Value = State> {
    one_of(State::ALL.map(State::name), State::parse)
}

fn sort_parser() -> impl TypedValueParser<Value = SortBy> {
    let names = [
        "last-active",
        "last-seen",
        "first-seen",
        "connects",
        "name",
        "host",
    ];
    one_of(names, SortBy::parse)
}

fn store_parser() -> impl TypedValueParser<Value = StoreKind> {
    one_of(["sqlite", "mariadb"], StoreKind::parse)
}

fn check_parser() -> impl TypedValueParser<Value = &'static Check> {
    one_of(
        registry::CHECKS.each_ref().map(|check| check.id),
        registry::parse,
    )
}

fn one_of<const N: usize, P: TypedValueParser>(
    values: [&'static str; N],
    parser: P,
) -> OneOf<P, N> {
    OneOf { values, parser }
}

/// Takes the bytes of an argument as they are: a server's name need not be UTF-8.
fn name_parser() -> impl TypedValueParser<Value = Name> {
    OsStringValueParser::new().map(|text: OsString| Name(text.into_encoded_bytes()))
}

fn wildcard_parser() -> impl TypedValueParser<Value = Wildcard> {
    OsStringValueParser::new().try_map(|text: OsString| Wildcard::parse(&text.into_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, clap::Error> {
        read(line.split(' '))
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_completions_offer_is_understood() {
        fn each(command: &clap::Command) -> Vec<(String, String)> {
            let with_value = |argument: &&Arg| argument.get_action().takes_values();
            let own = command
                .get_arguments()
                .filter(with_value)
                .flat_map(|argument| {
                    let values = argument.get_possible_values();
                    let name = argument.get_long().unwrap_or_default().to_owned();
                    values.into_iter().map(move |value| {
                        (
                            command.get_name().to_owned(),
                            format!("--{name}={}", value.get_name()),
                        )
                    })
                });
            own.chain(command.get_subcommands().flat_map(each))
                .collect()
        }
        let offered = each(&definition());
        assert!(offered.len() > 2 * registry::CHECKS.len());
        for (command, argument) in offered {
            let line = match &*command {
                "conntracker" => format!("conntracker {argument}"),
                "which" => format!("conntracker which app localhost {argument}"),
                "report" => format!("conntracker report --html page {argument}"),
                command => format!("conntracker {command} {argument}"),
            };
            assert!(parse(&line).is_ok(), "{line}");
        }
    }

    #[test]
    fn settings_count_before_and_after_the_command() {
        let settings = parse("conntracker --audit-log A -v accounts --audit-log B -v")
            .unwrap()
            .settings;
        assert_eq!(settings.audit_log, [PathBuf::from("A"), PathBuf::from("B")]);
        assert_eq!(settings.verbose, 2);
        assert!(parse("conntracker --sqlite A accounts --sqlite B").is_err());
        assert!(parse("conntracker -q run -v").is_err());
        let settings = parse("conntracker config --time-zone -03:30")
            .unwrap()
            .settings;
        assert_eq!(settings.time_zone.as_deref(), Some("-03:30"));
    }

    #[test]
    fn run_needs_no_word() {
        for line in [
            "conntracker --report --audit-log X",
            "conntracker run --report",
            "conntracker --report run",
        ] {
            let command = parse(line).unwrap().command;
            assert!(
                matches!(command, Command::Run(RunFlags { report: true, .. })),
                "{line}"
            );
        }
        assert!(matches!(
            parse("conntracker").unwrap().command,
            Command::Run(RunFlags { report: false, .. })
        ));
        assert!(parse("conntracker --report accounts").is_err());
        assert!(parse("conntracker --textfile a.prom accounts").is_err());
        assert!(parse("conntracker --textfile a.prom run --textfile b.prom").is_err());
        let line = "conntracker --textfile a.prom run --textfile-accounts";
        let Command::Run(flags) = parse(line).unwrap().command else {
            panic!("another command");
        };
        assert_eq!(flags.textfile, Some("a.prom".into()));
        assert!(flags.textfile_accounts);
    }

    #[test]
    fn init_writes_only_when_told_to() {
        for (line, expected) in [
            ("conntracker init", (false, None)),
            ("conntracker init --run-as app --write", (true, Some("app"))),
        ] {
            match parse(line).unwrap().command {
                Command::Init(InitFlags { write, run_as }) => {
                    assert_eq!((write, run_as.as_deref()), expected, "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(parse("conntracker --write").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (line, said) in [
            ("conntracker acounts", "accounts"),
            (
                "conntracker accounts --unused-for 90",
                "write 90d, 36h or 2w",
            ),
            (
                "conntracker accounts --format yaml",
                "write table, json, ndjson or csv",
            ),
            ("conntracker --store oracle", "write sqlite or mariadb"),
            ("conntracker accounts --sort size", "write last-active,"),
            ("conntracker accounts --state unused,gone", "write unused,"),
            ("conntracker accounts --name a\\b", "write \\\\ for a"),
            (
                "conntracker accounts --state unused --unused-for 90d",
                "cannot be used with",
            ),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(said), "{line}: {message}");
        }
    }
}
