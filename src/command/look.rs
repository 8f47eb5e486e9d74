//! What `check` and `report` both come to before they tell it: the log is read, the server and its
//! machine are asked, the checks are made, and the stores keep what the next check has to know.

use chrono::FixedOffset;
use hashbrown::HashMap;
use log::error;

use super::run::{self, Ended};
use crate::check::memory::Memory;
use crate::check::registry::Needs;
use crate::check::rhythm::Rhythm;
use crate::check::{Covered, CrossCheck, Evidence, HELD_BACK, Judged, LogEvidence, Policy};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::{Error, ExitStatus, Result};
use crate::machine::Machine;
use crate::name::Name;
use crate::report::{self, Checked};
use crate::server::{self, Facts, HostResolver};
use crate::store::{
    AccountFilter, AccountStatus, ActivityFilter, MAX_UNEXPLAINED, ProxiedAccount, Status, Store,
    UnexplainedLogin,
};
use crate::time::{Span, UtcSeconds};

/// And where the log can't be read here: the runs of somebody else should have read it.
const FRESH_ENOUGH: Span = Span(3_600);

/// What there is to tell.
pub(super) struct Answer<'a> {
    pub(super) checked: Checked<'a>,
    /// What the store that was asked holds of the log; none if there was no store.
    pub(super) log: Option<&'a LogEvidence>,
    /// How the check before this one judged, and when.
    pub(super) last_status: Option<&'a (UtcSeconds, Vec<AccountStatus>)>,
    /// The store that was asked.
    pub(super) store: Option<&'a mut dyn Store>,
    /// Why the server's side is missing, if it is.
    pub(super) unasked: Option<&'a str>,
    /// Whether all could be read.
    pub(super) status: ExitStatus,
}

/// Reads the server, its machine and the store, makes the checks that `policy` wants, keeps the result
/// in every store, and hands all of it to `tell`. If somebody only has a look, the next check must not
/// miss what this one did not tell: then what is remembered for it stays as it was.
pub(super) fn look(
    policy: &Policy,
    only_a_look: bool,
    config: &Config,
    tell: impl FnOnce(Answer<'_>) -> Result<ExitStatus>,
) -> Result<ExitStatus> {
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
    let (unread, untold) = match wanted && !streams {
        true => {
            let Ended { work, told } = run::read_and_tell(config)?;
            // That Prometheus can't be told is no reason to doubt what was read.
            (work == ExitStatus::Failed, told == ExitStatus::Failed)
        }
        false => (wanted, false),
    };
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
    let now = known.map_or_else(UtcSeconds::now, |facts| facts.now);
    let (server, read, past) = match asked {
        None => (server, Err("no store could be read".to_owned()), None),
        Some(store) => {
            let checkpoints = store.checkpoints()?;
            let server = name_of_server(config, &store.describe(), &checkpoints, known)?;
            let past = Past::of(&mut **store, &server)?;
            let mut log = log_evidence(&mut **store, &checkpoints, &server)?;
            if let Some((_, newest)) = log.covered.span {
                let read = past.memory.log.as_ref().and_then(|known| known.read);
                let rhythm = Rhythm::new(config.time_zone, read, newest, now, config.activity);
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
    let machine = facts
        .as_ref()
        .map(|facts| Machine::look(facts, super::live_files(config)));
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
        read_now: wanted && !unread,
        judged,
        since: UtcSeconds(now.0.saturating_sub(config.check.unused_after.0)),
        memory: past.as_ref().map_or(&nothing, |past| &past.memory),
        expected: &policy.expect_clients,
        now,
    };
    let (outcome, memory) = crate::check::run(&evidence);
    // Not even as it was: another check may have written there since, or a newer program.
    let memory = (!only_a_look).then(|| memory.write());
    let kept = judged.map(|judged| status_of(&server, judged));
    for store in &mut stores {
        let kept = kept.iter().try_for_each(|kept| store.keep_status(kept));
        let kept = kept.and_then(|()| {
            let mut memory = memory.iter();
            memory.try_for_each(|memory| store.keep_memory(&server, now, memory))
        });
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
        policy,
        applied: &applied,
    };
    if unread || untold {
        status = ExitStatus::Failed;
    }
    tell(Answer {
        checked,
        log: read.as_ref().ok(),
        last_status: past.as_ref().and_then(|past| past.status.as_ref()),
        store: match stores.first_mut() {
            Some(store) => Some(&mut **store),
            None => None,
        },
        unasked: facts.as_ref().err().map(String::as_str),
        status,
    })
}

fn ask(config: &Config) -> Result<Facts> {
    let mut facts = server::ask(&config.server, &config.mariadb.database)?;
    facts.unknown.extend(other_zone(config, &facts));
    Ok(facts)
}

/// The stores that are there.
fn open_all(config: &Config, fail: &mut impl FnMut(&Error)) -> Vec<Box<dyn Store>> {
    let kinds = config.stores.iter();
    let opened = kinds.map(|kind| run::open(*kind, config).inspect_err(&mut *fail));
    opened.filter_map(Result::ok).collect()
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
    /// How the last check judged, and when.
    status: Option<(UtcSeconds, Vec<AccountStatus>)>,
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
    let last_check: Option<HashMap<_, _>> = past.status.as_ref().map(|(_, accounts)| {
        let row = |status: &AccountStatus| {
            let row = (status.user.clone(), status.host.clone());
            (row, status.known_since)
        };
        accounts.iter().map(row).collect()
    });
    check.judge(
        &log.covered,
        config.check.unused_after,
        last_check.as_ref(),
        fresh,
    )
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
