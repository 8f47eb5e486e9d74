//! `conntracker check`: is this server used, and exposed, the way its owner believes?

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use chrono::FixedOffset;
use hashbrown::HashMap;
use log::{error, warn};

use crate::audit_log::source;
use crate::check::memory::Memory;
use crate::check::registry::Needs;
use crate::check::rhythm::Rhythm;
use crate::check::{
    Applied, Covered, CrossCheck, Evidence, Finding, Judged, LogEvidence, Policy, Severity,
};
use crate::checkpoint::Checkpoint;
use crate::cli::CheckFlags;
use crate::config::Config;
use crate::error::{Error, ExitStatus, Result};
use crate::machine::Machine;
use crate::name::Name;
use crate::report::{self, CheckFormat, Checked, Look};
use crate::server::{self, Facts, HostResolver};
use crate::store::{
    AccountFilter, AccountStatus, ActivityFilter, MAX_UNEXPLAINED, ProxiedAccount, Status, Store,
    UnexplainedLogin,
};
use crate::time::{Span, UtcSeconds};

/// How old the newest record may be where the log has just been read: a record is held back for so
/// long at the most until it is clear that it can be believed.
const HELD_BACK: Span = Span(120);

/// And where the log can't be read here: the runs of somebody else should have read it.
const FRESH_ENOUGH: Span = Span(3_600);

/// Reads the server, its machine and the store, makes the checks, keeps in every store what the next
/// check has to know, and prints what was found.
pub(super) fn run(flags: &CheckFlags, config: &Config) -> Result<ExitStatus> {
    let result = check(flags, config);
    if let (Err(problem), CheckFormat::Nagios) = (&result, flags.format) {
        report::print_nagios_unknown(&problem.to_string(), super::stdout())?;
    }
    result
}

fn check(flags: &CheckFlags, config: &Config) -> Result<ExitStatus> {
    let policy = policy(flags, config);
    let mut status = ExitStatus::Fine;
    let mut fail = |problem: &Error| {
        error!("{problem}");
        status = ExitStatus::Failed;
    };
    let mut facts = match policy.needs(&[Needs::Server, Needs::Both]) {
        // Without the server nothing would be left to do.
        true if !policy.needs(&[Needs::Log]) => Ok(ask(config)?),
        true => ask(config)
            .inspect_err(&mut fail)
            .map_err(|problem| problem.to_string()),
        false => Err("the server was not asked".into()),
    };
    // Our own login stands in this server's log: if the log is read after it and does not reach up to
    // it, it is another one, or not written any more.
    let streams = config.audit_log.iter().any(|log| log.as_os_str() == "-");
    let wanted = policy.needs(&[Needs::Log, Needs::Both]);
    let unread = wanted && (streams || super::run::run(config)? == ExitStatus::Failed);
    if let (true, Ok(facts)) = (unread, &mut facts) {
        let missing = "what was logged since the last run: the log, or a store, can't be used now";
        facts.unknown.push(missing.into());
    }
    let fresh = if unread { FRESH_ENOUGH } else { HELD_BACK };
    let mut stores = open_all(config, &mut fail);
    let asked = stores.first_mut();
    let server = match (&asked, &facts) {
        (None, Ok(facts)) => facts.hostname.clone(),
        (None, Err(_)) => return Err(Error::Config("there is nothing to check".into())),
        (Some(_), _) => Name::default(),
    };
    // The first store that is there is asked; all keep the answer.
    let known = facts.as_ref().ok();
    let (server, read, past) = match asked {
        None => (server, Err("no store could be read".to_owned()), None),
        Some(store) => {
            let checkpoints = store.checkpoints()?;
            let server = name_of_server(config, &store.describe(), &checkpoints, known)?;
            let past = Past::of(&mut **store, &server)?;
            let mut log = log_evidence(&mut **store, &checkpoints, &server)?;
            if let Some((_, newest)) = log.covered.span {
                let read = past.memory.log.as_ref().and_then(|known| known.read);
                let rhythm = Rhythm::new(config.time_zone, read, newest);
                log.rhythm = Some(rhythm_of(&mut **store, &server, rhythm)?);
            }
            (server, Ok(log), Some(past))
        }
    };
    let judged = match (&read, &past, known) {
        (Ok(log), Some(past), Some(facts)) => Some(judge(config, past, facts, log, fresh)),
        _ => None,
    };
    let judged = judged.as_ref();
    let now = facts
        .as_ref()
        .map_or_else(|_| UtcSeconds::now(), |facts| facts.now);
    let machine = facts
        .as_ref()
        .map(|facts| Machine::look(facts, logs(config)));
    let nothing = Memory::default();
    let evidence = Evidence {
        server: &server,
        facts: match (&facts, &machine) {
            (Ok(facts), Ok(machine)) => Ok((facts, machine)),
            (Err(why), _) => Err(why.clone()),
            (_, Err(why)) => Err((*why).clone()),
        },
        log: read.as_ref().map_err(String::clone),
        unread,
        judged,
        since: UtcSeconds(now.0.saturating_sub(config.check.unused_after.0)),
        memory: past.as_ref().map_or(&nothing, |past| &past.memory),
        expected: &policy.expect_clients,
        now,
    };
    let (outcome, mut memory) = crate::check::run(&evidence);
    if !(flags.only.is_empty() && flags.skip.is_empty()) {
        // Somebody has a look: the next check must not miss what this one did not tell.
        memory = evidence.memory.clone();
    }
    let kept = judged.map(|judged| status_of(&server, judged));
    for store in &mut stores {
        let kept = kept.iter().try_for_each(|kept| store.keep_status(kept));
        let kept = kept.and_then(|()| store.keep_memory(&server, now, &memory.write()));
        let _ = kept.inspect_err(&mut fail);
    }
    let empty = Covered::default();
    let applied = policy.apply(outcome, now);
    let checked = Checked {
        server: &server,
        checked_at: now,
        facts: facts.as_ref().ok(),
        covered: read.as_ref().map_or(&empty, |read| &read.covered),
        judged,
        policy: &policy,
        applied: &applied,
    };
    let read = if unread {
        ExitStatus::Failed
    } else {
        ExitStatus::Fine
    };
    let status = status.max(read).max(worst(&applied, facts.as_ref().ok()));
    if let Some(path) = &flags.evidence {
        let file = File::create(path).map_err(|error| Error::file(path, error))?;
        report::evidence(&checked, BufWriter::new(file))?;
    }
    print(flags.format, config, &checked, status)?;
    Ok(status)
}

fn print(
    format: CheckFormat,
    config: &Config,
    checked: &Checked<'_>,
    status: ExitStatus,
) -> Result<()> {
    match format {
        CheckFormat::Json => report::print_check_json(checked, super::stdout()),
        CheckFormat::Nagios => report::print_nagios(checked, status, super::stdout()),
        // Nothing to say, and asked to say no more.
        CheckFormat::Table if checked.applied.findings.is_empty() && is_quiet() => Ok(()),
        CheckFormat::Table => {
            if let Some(facts) = checked.facts {
                for unknown in &facts.unknown {
                    warn!("{}: not known: {unknown}", facts.described);
                }
            }
            let look = Look::of_stdout(config.time_zone, checked.checked_at);
            report::print_check_tables(checked, &look, super::stdout())
        }
    }
}

fn is_quiet() -> bool {
    log::max_level() < log::Level::Warn
}

/// What the configuration wants; `--only` counts in place of its list, `--skip` beside its own.
fn policy(flags: &CheckFlags, config: &Config) -> Policy {
    let mut policy = config.check.policy.clone();
    if !flags.only.is_empty() {
        policy.only.clone_from(&flags.only);
    }
    policy.skip.extend(&flags.skip);
    policy
}

fn ask(config: &Config) -> Result<Facts> {
    let mut facts = server::ask(&config.server, &config.mariadb.database)?;
    facts.unknown.extend(other_zone(config, &facts));
    Ok(facts)
}

/// The stores that are there.
fn open_all(config: &Config, fail: &mut impl FnMut(&Error)) -> Vec<Box<dyn Store>> {
    let kinds = config.stores.iter();
    let opened = kinds.map(|kind| super::run::open(*kind, config).inspect_err(&mut *fail));
    opened.filter_map(Result::ok).collect()
}

/// The live files of the logs that are configured.
fn logs(config: &Config) -> Vec<PathBuf> {
    let files: Vec<_> = config
        .audit_log
        .iter()
        .filter(|path| path.as_os_str() != "-")
        .cloned()
        .collect();
    let (logs, problems) = source::find(&files);
    match problems.is_empty() {
        true => logs.iter().map(source::Log::path).collect(),
        // What is not there is told as such.
        false => files,
    }
}

type Checkpoints = [(String, Checkpoint)];

/// What the store holds of the log of a server.
fn log_evidence(
    store: &mut dyn Store,
    checkpoints: &Checkpoints,
    server: &Name,
) -> Result<LogEvidence> {
    let own = checkpoints
        .iter()
        .filter(|(_, checkpoint)| checkpoint.server == *server);
    let mut log = LogEvidence {
        covered: Covered::of(store.coverage(server)?),
        passes: own.map(|(_, checkpoint)| checkpoint.generation).sum(),
        ..LogEvidence::default()
    };
    let filter = AccountFilter {
        server: Some(server.clone()),
        ..AccountFilter::default()
    };
    store.accounts(&filter, &mut |login| {
        log.logins.push(login);
        Ok(())
    })?;
    store.failed_connects(None, &mut |row| {
        log.failures.extend((row.server == *server).then_some(row));
        Ok(())
    })?;
    store.quarantine(None, &mut |doubtful| {
        log.doubts
            .extend((doubtful.server == *server).then_some(doubtful));
        Ok(())
    })?;
    Ok(log)
}

/// Fills `rhythm`. Of the past, which is long, only what is needed is kept.
fn rhythm_of(store: &mut dyn Store, server: &Name, mut rhythm: Rhythm) -> Result<Rhythm> {
    let filter = |since| ActivityFilter {
        server: server.clone(),
        name: None,
        since: Some(since),
    };
    store.activity(&filter(rhythm.judged_from()), &mut |row| {
        rhythm.judge(row);
        Ok(())
    })?;
    if let Some(since) = rhythm.learned_from() {
        store.activity(&filter(since), &mut |row| {
            rhythm.learn(&row);
            Ok(())
        })?;
    }
    Ok(rhythm)
}

/// What the store holds of a server beside its log.
struct Past {
    proxied: Vec<ProxiedAccount>,
    /// How the last check judged.
    status: Vec<AccountStatus>,
    /// What it remembered.
    memory: Memory,
}

impl Past {
    fn of(store: &mut dyn Store, server: &Name) -> Result<Self> {
        Ok(Self {
            proxied: store.proxied_accounts(server)?,
            status: store.account_status(server)?,
            memory: Memory::read(store.check_memory(server)?.as_deref()),
        })
    }
}

/// The log's times are the server's local ones: another zone here makes all of them wrong.
fn other_zone(config: &Config, facts: &Facts) -> Option<String> {
    let here = config.time_zone.at(facts.now);
    let there = FixedOffset::east_opt(facts.utc_offset.try_into().ok()?)?;
    (*here.offset() != there).then(|| {
        format!(
            "whether the log's times were understood: the server's clock is at UTC{there}, time_zone {} at \
             UTC{}; set time_zone to the server's",
            config.time_zone,
            here.offset()
        )
    })
}

fn worst(applied: &Applied, facts: Option<&Facts>) -> ExitStatus {
    let of = |finding: &Finding| match finding.severity {
        Severity::Warning => ExitStatus::Warning,
        Severity::Critical => ExitStatus::Critical,
    };
    let all_known = facts.is_none_or(|facts| facts.unknown.is_empty());
    let not_checked = match applied.unchecked.is_empty() && all_known {
        true => ExitStatus::Fine,
        false => ExitStatus::Warning,
    };
    applied
        .findings
        .iter()
        .map(of)
        .fold(not_checked, ExitStatus::max)
}

/// The name under which this server's logins stand in the store: as configured, or as the server and
/// its log call it. They must agree, for another server's logins would prove nothing.
fn name_of_server(
    config: &Config,
    store: &str,
    checkpoints: &Checkpoints,
    facts: Option<&Facts>,
) -> Result<Name> {
    if let Some(name) = &config.server_name {
        return Ok(Name::from(&**name));
    }
    let mut names: Vec<_> = checkpoints
        .iter()
        // Not those of other machines.
        .filter(|(_, checkpoint)| checkpoint.generation > 0)
        .map(|(_, checkpoint)| checkpoint.server.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    let shown = || {
        names
            .iter()
            .map(Name::escaped)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let Some(facts) = facts else {
        return match &names[..] {
            [] => Ok(Name::default()),
            [name] => Ok(name.clone()),
            _ => Err(Error::Config(format!(
                "{store} holds the logins of {}; say with server_name or --server-name which of them to check",
                shown()
            ))),
        };
    };
    if names.is_empty() || names.contains(&facts.hostname) {
        return Ok(facts.hostname.clone());
    }
    Err(Error::Config(format!(
        "{store} holds the logins of {}, and the {} calls itself {}; if that is the same server, say so \
         with server_name or --server-name",
        shown(),
        facts.described,
        facts.hostname
    )))
}

fn judge<'a>(
    config: &Config,
    past: &Past,
    facts: &'a Facts,
    log: &'a LogEvidence,
    fresh: Span,
) -> Judged<'a> {
    let mut resolver = HostResolver::default();
    let mut check = CrossCheck::new(facts, &mut resolver);
    for login in &log.logins {
        check.login(login);
    }
    for used in &past.proxied {
        check.proxied(used);
    }
    for doubtful in &log.doubts {
        check.doubt(doubtful);
    }
    let last_check: HashMap<_, _> = past
        .status
        .iter()
        .map(|status| {
            let row = (status.user.clone(), status.host.clone());
            (row, status.known_since)
        })
        .collect();
    let last_check = Some(&last_check).filter(|seen| !seen.is_empty());
    check.judge(&log.covered, config.check.unused_after, last_check, fresh)
}

fn status_of(server: &Name, judged: &Judged<'_>) -> Status {
    let account = |verdict: &crate::check::Verdict| AccountStatus {
        user: verdict.user.clone(),
        host: verdict.host.clone(),
        state: verdict.state.name().to_owned(),
        reason: verdict.reason.clone(),
        last_seen: verdict.last_seen,
        last_active: verdict.last_active,
        connects: verdict.connects,
        clients: verdict.clients,
        exact: verdict.exact,
        // From now on it is known that it is there.
        known_since: verdict.known_since.or(Some(judged.checked_at)),
    };
    let login = |login: &crate::check::Login<'_>| UnexplainedLogin {
        name: login.used.name.clone(),
        host: login.used.host.clone(),
        last_seen: login.used.last_seen,
        last_active: login.used.last_active,
        connects: login.used.connects,
        accounts: report::candidates(login, &judged.accounts),
    };
    let unexplained = judged.logins.iter();
    Status {
        server: server.clone(),
        checked_at: judged.checked_at,
        accounts: judged.verdicts.iter().map(account).collect(),
        unexplained: unexplained
            .filter(|login| login.attribution.exact().is_none())
            .take(MAX_UNEXPLAINED)
            .map(login)
            .collect(),
    }
}
