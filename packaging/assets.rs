//! Writes what the package holds besides the program: a man page for conntracker and for each of its
//! commands, and the completions for bash, zsh and fish. Of no use to whoever runs conntracker, so it
//! is no part of the program, and what it needs is needed for building only.
//!
//! ```text
//! cargo run --example assets -- FOLDER DATE
//! ```
//!
//! The date stands in the man pages: that of the source, so that the same source makes the same pages.
//! Clap knows names and flags. What else belongs into a man page stands in `packaging/man`:
//! `common.roff` goes into every page, each other file into the page of its name: what is before its
//! first section is the page's DESCRIPTION.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use conntracker::check::registry::{CHECKS, Check};

/// Where the texts that clap does not know are.
const TEXTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/man");

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [folder, date] = arguments.as_slice() else {
        return Err("write: assets FOLDER DATE".into());
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    completions(folder)?;
    // The page about `help` would have nothing to say.
    let mut command = conntracker::cli::definition().disable_help_subcommand(true);
    command.build();
    man_pages(&command, folder, date)
}

fn completions(folder: &Path) -> Result<(), Box<dyn Error>> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = conntracker::cli::definition();
        clap_complete::generate_to(shell, &mut command, "conntracker", folder)?;
    }
    Ok(())
}

fn man_pages(command: &Command, folder: &Path, date: &str) -> Result<(), Box<dyn Error>> {
    let own: Vec<_> = command.get_subcommands().collect();
    let names: Vec<_> = own.iter().map(|command| page(command)).collect();
    man_page(command, &names, folder, date)?;
    for command in own {
        man_page(command, &["conntracker".to_owned()], folder, date)?;
    }
    Ok(())
}

/// The name of the page about `command`.
fn page(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.to_owned()
}

fn man_page(
    command: &Command,
    see: &[String],
    folder: &Path,
    date: &str,
) -> Result<(), Box<dyn Error>> {
    let name = page(command);
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(date)
        .source(format!("conntracker {}", env!("CARGO_PKG_VERSION")))
        .manual("conntracker");
    let text_of_page = text(&name)?;
    let at = text_of_page.find(".SH").ok_or("no section")?;
    let (description, rest) = text_of_page.split_at(at);
    let mut out = File::create(folder.join(format!("{name}.1")))?;
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    // In clap_mangen's, every flag is named, and no value.
    let usage = command
        .clone()
        .render_usage()
        .to_string()
        .replace('-', "\\-");
    let usage = usage.trim_start_matches("Usage: ");
    writeln!(out, ".SH SYNOPSIS\n{usage}\n.SH DESCRIPTION\n{description}")?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    if name == "conntracker-check" {
        checks(&mut out)?;
    }
    write!(out, "{}{rest}", text("common")?)?;
    let see: Vec<_> = see.iter().map(|name| format!(".BR {name} (1)")).collect();
    writeln!(out, ".SH SEE ALSO\n{}", see.join(",\n"))?;
    Ok(())
}

fn checks(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(out, ".SH CHECKS")?;
    for Check {
        id,
        severity,
        title,
        ..
    } in &CHECKS
    {
        let (id, severity) = (id.replace('-', "\\-"), severity.name());
        writeln!(out, ".TP\n.B {id}\n{title} ({severity}).")?;
    }
    Ok(())
}

/// The text of `packaging/man`.
fn text(name: &str) -> Result<String, Box<dyn Error>> {
    let path = format!("{TEXTS}/{name}.roff");
    fs::read_to_string(&path).map_err(|error| format!("{path}: {error}").into())
}
