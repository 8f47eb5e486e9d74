//! Reads the command line, does what it asks for, and tells the caller how it went.

use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;

use conntracker::cli::{self, Settings};
use conntracker::command;
use conntracker::error::{Error, ExitStatus};
use env_logger::Builder;
use log::{Level, LevelFilter};

fn main() -> ExitCode {
    let invocation = match cli::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(answer) => {
            let usage_error = answer.use_stderr();
            // Whoever closed the pipe has seen enough of the help.
            let _ = answer.print();
            return exit(if usage_error {
                ExitStatus::Failed
            } else {
                ExitStatus::Fine
            });
        }
    };
    start_log(&invocation.settings);
    exit(command::dispatch(&invocation).unwrap_or_else(|error| {
        complain(&error);
        ExitStatus::Failed
    }))
}

fn exit(status: ExitStatus) -> ExitCode {
    ExitCode::from(status as u8)
}

/// Messages go to stderr as `conntracker: warning: …`, and by default only where something is wrong.
fn start_log(settings: &Settings) {
    let mut builder = Builder::new();
    builder.format(|out, record| {
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        writeln!(out, "conntracker: {level}: {}", record.args())
    });
    match std::env::var("CONNTRACKER_LOG") {
        Ok(filters) if !filters.is_empty() => builder.parse_filters(&filters).init(),
        _ => {
            // The logger lets all of ours pass, so that the level can still be changed by a setting.
            builder
                .filter_module("conntracker", LevelFilter::Trace)
                .init();
            log::set_max_level(match (settings.quiet, settings.verbose) {
                (true, _) => LevelFilter::Error,
                (false, 0) => LevelFilter::Warn,
                (false, 1) => LevelFilter::Info,
                (false, _) => LevelFilter::Debug,
            });
        }
    }
}

/// Says on stderr what went wrong, and why as far as the message does not say it already.
fn complain(error: &Error) {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    // If stderr is closed, the exit code still tells.
    let _ = writeln!(io::stderr(), "conntracker: error: {message}");
}
