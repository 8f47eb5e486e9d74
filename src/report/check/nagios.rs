//! What Nagios and Icinga read: a line with the state and figures, then lines with details.
//!
//! Format: Nagios Plugins Development Guidelines, "Plugin Output". A `|` begins figures, also in the
//! details, so that one in a name must not stand there.

use std::io::Write;

use super::Checked;
use crate::check::{Severity, State};
use crate::error::{ExitStatus, Result};

/// Prints the answer; `status` is what the caller is told.
pub fn print(checked: &Checked<'_>, status: ExitStatus, mut out: impl Write) -> Result<()> {
    let state = match status {
        ExitStatus::Fine => "OK",
        ExitStatus::Warning => "WARNING",
        ExitStatus::Critical => "CRITICAL",
        ExitStatus::Failed => "UNKNOWN",
    };
    let mut figures = vec![
        format!("critical={};;0;0", checked.count(Severity::Critical)),
        format!("warnings={};0;;0", checked.count(Severity::Warning)),
        format!("accepted={};;;0", checked.applied.accepted.len()),
        format!("not_checked={};0;;0", checked.applied.unchecked.len()),
    ];
    if let Some(judged) = checked.judged {
        let count = |states: &[State]| {
            let verdicts = judged.verdicts.iter();
            verdicts
                .filter(|verdict| states.contains(&verdict.state))
                .count()
        };
        figures.push(format!("accounts={};;;0", judged.verdicts.len()));
        figures.push(format!(
            "unused={};;;0",
            count(&[State::Unused, State::NeverUsed])
        ));
    }
    if let Some(connections) = checked.facts.and_then(|facts| facts.connections.as_ref()) {
        figures.push(format!("connections={};;;0", connections.len()));
    }
    let line = format!("{state} - {}: {}", checked.server, checked.result());
    writeln!(out, "CONNTRACKER {}|{}", harmless(&line), figures.join(" "))?;
    for finding in &checked.applied.findings {
        let (severity, check) = (finding.severity.name(), finding.check.id);
        let line = format!(
            "{severity}: {check}: {}: {}",
            finding.subject, finding.message
        );
        writeln!(out, "{}", harmless(&line))?;
    }
    for (why, checks) in checked.unchecked() {
        writeln!(
            out,
            "{}",
            harmless(&format!("not checked: {}: {why}", checks.join(", ")))
        )?;
    }
    out.flush()?;
    Ok(())
}

/// Prints that the work could not be done, and why.
pub fn unknown(why: &str, mut out: impl Write) -> Result<()> {
    writeln!(out, "CONNTRACKER UNKNOWN - {}", harmless(why))?;
    out.flush()?;
    Ok(())
}

fn harmless(text: &str) -> String {
    text.replace('|', "\\x7c")
}
