//! `conntracker check`: is this server used, and exposed, the way its owner believes?

use log::warn;

use super::look::{Answer, look};
use super::replace::{must_not_be_read, write_file};
use crate::check::{Applied, Finding, Policy, Severity};
use crate::cli::CheckFlags;
use crate::config::Config;
use crate::error::{ExitStatus, Result};
use crate::report::{self, CheckFormat, Checked, Look};
use crate::server::Facts;

/// Makes the checks and prints what was found.
pub(super) fn run(flags: &CheckFlags, config: &Config) -> Result<ExitStatus> {
    let only_a_look = !(flags.only.is_empty() && flags.skip.is_empty());
    if let Some(path) = &flags.evidence {
        must_not_be_read(path, config)?;
    }
    let policy = policy(flags, config);
    let result = look(&policy, only_a_look, config, |answer| {
        tell(&answer, flags, config)
    });
    if let (Err(problem), CheckFormat::Nagios) = (&result, flags.format) {
        report::print_nagios_unknown(&problem.to_string(), super::stdout())?;
    }
    result
}

fn tell(answer: &Answer<'_>, flags: &CheckFlags, config: &Config) -> Result<ExitStatus> {
    let checked = &answer.checked;
    let status = answer.status.max(worst(checked.applied, checked.facts));
    if let Some(path) = &flags.evidence {
        write_file(path, |out| report::evidence(checked, out))?;
    }
    print(flags.format, config, checked, status)?;
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
