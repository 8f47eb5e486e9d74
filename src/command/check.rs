//! `conntracker check`: which accounts of this server are used, and how sure is that?

use chrono::FixedOffset;
use hashbrown::HashMap;
use log::{error, warn};

use crate::check::{CrossCheck, Finding, Judged, Severity, finding};
use crate::cli::CheckFlags;
use crate::config::Config;
use crate::error::{Error, ExitStatus, Result};
use crate::name::Name;
use crate::report::{self, CheckFormat, Checked, Look};
use crate::server::{self, Facts, HostResolver};
use crate::store::{
    AccountFilter, AccountStatus, MAX_UNEXPLAINED, Status, Store, UnexplainedLogin,
};
use crate::time::Span;

/// How old the newest record may be where the log has just been read: a record is held back for so
/// long at the most until it is clear that it can be believed.
const HELD_BACK: Span = Span(120);

/// And where the log can't be read here: the runs of somebody else should have read it.
const FRESH_ENOUGH: Span = Span(3_600);

/// Compares the store with the server, keeps the result in every store, and prints it.
pub(super) fn run(flags: &CheckFlags, config: &Config) -> Result<ExitStatus> {
    let mut facts = server::ask(&config.server, &config.mariadb.database)?;
    facts.unknown.extend(other_zone(config, &facts));
    // Our own login stands in this server's log: if the log is read after it and does not reach up to
    // it, it is another one, or not written any more.
    let streams = config.audit_log.iter().any(|log| log.as_os_str() == "-");
    let read = match streams {
        true => ExitStatus::Failed,
        false => super::run::run(config)?,
    };
    let fresh = match read {
        ExitStatus::Failed => {
            let missing =
                "what was logged since the last run: the log, or a store, can't be used now";
            facts.unknown.push(missing.into());
            FRESH_ENOUGH
        }
        _ => HELD_BACK,
    };
    let mut status = Some(read)
        .filter(|read| *read == ExitStatus::Failed)
        .unwrap_or(ExitStatus::Fine);
    let mut stores = Vec::new();
    for kind in &config.stores {
        match super::run::open(*kind, config) {
            Ok(store) => stores.push(store),
            Err(problem) => {
                error!("{problem}");
                status = ExitStatus::Failed;
            }
        }
    }
    // The first one that is there is asked; all keep the answer.
    let Some(asked) = stores.first_mut() else {
        return Ok(status);
    };
    let server = name_of_server(config, &mut **asked, &facts)?;
    let judged = judge(config, &mut **asked, &facts, &server, fresh)?;
    let kept = status_of(&server, &judged);
    for store in &mut stores {
        if let Err(problem) = store.keep_status(&kept) {
            error!("{problem}");
            status = ExitStatus::Failed;
        }
    }

    let findings = finding::of_accounts(&judged);
    let checked = Checked {
        server: &server,
        facts: &facts,
        judged: &judged,
        findings: &findings,
    };
    match flags.format {
        CheckFormat::Json => report::print_check_json(&checked, super::stdout())?,
        // Nothing to say, and asked to say no more.
        CheckFormat::Table if findings.is_empty() && log::max_level() < log::Level::Warn => {}
        CheckFormat::Table => {
            for unknown in &facts.unknown {
                warn!("{}: not known: {unknown}", facts.described);
            }
            let look = Look::of_stdout(config.time_zone, judged.checked_at);
            report::print_check_tables(&checked, &look, super::stdout())?;
        }
    }
    Ok(status.max(worst(&findings, &facts)))
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

fn worst(findings: &[Finding], facts: &Facts) -> ExitStatus {
    let of = |finding: &Finding| match finding.severity {
        Severity::Warning => ExitStatus::Warning,
        Severity::Critical => ExitStatus::Critical,
    };
    let not_checked = match facts.unknown.is_empty() {
        true => ExitStatus::Fine,
        false => ExitStatus::Warning,
    };
    findings.iter().map(of).fold(not_checked, ExitStatus::max)
}

/// The name under which this server's logins stand in the store: as configured, or as the server and
/// its log call it. They must agree, for another server's logins would prove nothing.
fn name_of_server(config: &Config, store: &mut dyn Store, facts: &Facts) -> Result<Name> {
    if let Some(name) = &config.server_name {
        return Ok(Name::from(&**name));
    }
    let mut names: Vec<_> = store
        .checkpoints()?
        .into_iter()
        // Not those of other machines.
        .filter(|(_, checkpoint)| checkpoint.generation > 0)
        .map(|(_, checkpoint)| checkpoint.server)
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() || names.contains(&facts.hostname) {
        return Ok(facts.hostname.clone());
    }
    let shown: Vec<_> = names.iter().map(Name::escaped).collect();
    Err(Error::Config(format!(
        "{} holds the logins of {}, and the {} calls itself {}; if that is the same server, say so with \
         server_name or --server-name",
        store.describe(),
        shown.join(", "),
        facts.described,
        facts.hostname
    )))
}

fn judge(
    config: &Config,
    store: &mut dyn Store,
    facts: &Facts,
    server: &Name,
    fresh: Span,
) -> Result<Judged> {
    let mut resolver = HostResolver::default();
    let mut check = CrossCheck::new(facts, &mut resolver);
    let filter = AccountFilter {
        server: Some(server.clone()),
        not_active_since: None,
    };
    store.accounts(&filter, &mut |login| {
        check.login(login);
        Ok(())
    })?;
    for used in store.proxied_accounts(server)? {
        check.proxied(&used);
    }
    store.quarantine(None, &mut |doubtful| {
        if doubtful.server == *server {
            check.doubt(&doubtful);
        }
        Ok(())
    })?;
    let last_check: HashMap<_, _> = store
        .account_status(server)?
        .into_iter()
        .map(|status| ((status.user, status.host), status.known_since))
        .collect();
    let last_check = Some(&last_check).filter(|seen| !seen.is_empty());
    let coverage = store.coverage(server)?;
    Ok(check.judge(coverage, config.check.unused_after, last_check, fresh))
}

fn status_of(server: &Name, judged: &Judged) -> Status {
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
    let login = |login: &crate::check::Login| UnexplainedLogin {
        name: login.name.clone(),
        host: login.host.clone(),
        last_seen: login.last_seen,
        last_active: login.last_active,
        connects: login.connects,
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
