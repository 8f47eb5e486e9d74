//! Writes an honest audit log of any size, as server_audit does, to measure with.
//!
//! ```text
//! cargo run --release --example generate-log -- --kind mixed --size 1G FOLDER
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Parser, ValueEnum};

mod corpus;

use corpus::Settings;

/// Writes an honest audit log as server_audit does; the same flags make the same bytes.
#[derive(Parser)]
#[command(name = "generate-log")]
struct Arguments {
    /// What is logged.
    #[arg(long, value_enum, default_value = "connections")]
    kind: Kind,
    /// Of all files together, in bytes; K, M or G may follow.
    #[arg(long, default_value = "100M", value_parser = size)]
    size: u64,
    /// The live one and the rotated ones.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    files: u64,
    /// How many pairs of user and host come in.
    #[arg(long, default_value_t = 2000, value_parser = count)]
    accounts: usize,
    /// How much more often some come in than others: the exponent of Zipf's law; 0: in turn.
    #[arg(long, default_value_t = 1.0)]
    skew: f64,
    /// Which part of the logins is refused.
    #[arg(long, default_value_t = 0.01)]
    failures: f64,
    /// Which part of the records are statements, in a mixed log.
    #[arg(long, default_value_t = 0.95)]
    queries: f64,
    /// The day of the first record.
    #[arg(long, default_value = "2026-10-15")]
    start: NaiveDate,
    /// How many days the log tells of.
    #[arg(long, default_value_t = 40)]
    days: u64,
    /// Another seed makes another log.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The name of the server's host.
    #[arg(long, default_value = "db1")]
    server: String,
    /// Where to; it is made if need be.
    folder: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Logins and their ends: server_audit_events=CONNECT.
    Connections,
    /// Statements, too: server_audit_events=CONNECT,QUERY.
    Mixed,
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| "write: 500, 64K, 10M or 1G")?;
    match number.checked_mul(unit) {
        Some(size) if size > 0 => Ok(size),
        _ => Err("no such size".to_owned()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("write a number from 1".to_owned()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let written = corpus::write(
        &Settings {
            size: arguments.size,
            files: arguments.files,
            accounts: arguments.accounts,
            skew: arguments.skew,
            failures: arguments.failures,
            queries: match arguments.kind {
                Kind::Connections => 0.0,
                Kind::Mixed => arguments.queries,
            },
            start: arguments.start,
            days: arguments.days,
            seed: arguments.seed,
            server: arguments.server,
        },
        &arguments.folder,
    )?;
    writeln!(
        io::stdout(),
        "{} bytes in {} files: {} records, {} logins, {} refused, {} statements",
        written.bytes,
        arguments.files,
        written.records,
        written.logins,
        written.refused,
        written.queries
    )?;
    Ok(())
}
