//! The figures of a run in the text format that Prometheus reads, for node_exporter's textfile
//! collector (exposition format 0.0.4).
//!
//! A run is over when it is asked for, so what belongs to one run is a gauge. Counters come from the
//! store, which adds up over all runs. No sample has a timestamp: the collector refuses such a file.
//!
//! Names come from the log, and whoever can't log in chooses some of them. One line that the collector
//! does not understand, or two samples with the same labels, and it drops the whole file. So names are
//! written as tables write them ([`Name::escaped`]): valid UTF-8, and different for different bytes.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use crate::check::State;
use crate::error::Result;
use crate::name::Name;
use crate::store::AccountUse;
use crate::time::UtcSeconds;

/// When the last good run ended; a run that fails takes it over from the file before it.
pub const LAST_SUCCESS: &str = "conntracker_last_success_timestamp_seconds";

/// The server's error number of nearly all refused logins.
const ACCESS_DENIED: u32 = 1045;

/// What there is to tell after a run.
#[derive(Debug)]
pub struct Figures {
    /// The run did all of its work.
    pub success: bool,
    /// When it ended.
    pub ended_at: UtcSeconds,
    /// When the last good one ended; none if none is known.
    pub last_success: Option<UtcSeconds>,
    /// How long it took.
    pub duration: Duration,
    /// What it read, for each store that was there.
    pub passes: Vec<PassFigures>,
    /// What is known of the servers whose logs are read here.
    pub servers: Vec<ServerFigures>,
    /// The use of each account, if that is wanted.
    pub accounts: Option<AccountFigures>,
}

/// What a run read for one store.
#[derive(Clone, Debug, Default)]
pub struct PassFigures {
    /// The kind of the store.
    pub store: &'static str,
    /// Bytes of the log, unpacked.
    pub bytes: u64,
    /// Records that were believed.
    pub records: u64,
    /// Lines that are no records.
    pub malformed: u64,
    /// Records that were not believed.
    pub doubtful: u64,
    /// Gaps that were found.
    pub gaps: u64,
}

/// What a store knows of one server.
#[derive(Clone, Debug, Default)]
pub struct ServerFigures {
    /// The server.
    pub server: Name,
    /// Time of the newest record that was read.
    pub newest_record: Option<UtcSeconds>,
    /// Gaps since the first run.
    pub gaps: u64,
    /// Failed logins since the first run, by code.
    pub failed: Vec<(Option<u32>, u64)>,
    /// When its accounts were judged last, and the state of each.
    pub judged: Option<(UtcSeconds, Vec<String>)>,
}

/// The use of each account.
#[derive(Clone, Debug, Default)]
pub struct AccountFigures {
    /// Those that were used last, in the order in which they are printed.
    pub rows: Vec<AccountUse>,
    /// How many there are beside them.
    pub omitted: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// The labels of a sample, and its value.
type Sample = (Vec<(&'static str, String)>, String);

/// Prints the figures.
pub fn print(figures: &Figures, mut out: impl Write) -> Result<()> {
    run(figures, &mut out)?;
    passes(&figures.passes, &mut out)?;
    servers(&figures.servers, &mut out)?;
    if let Some(used) = &figures.accounts {
        accounts(used, &mut out)?;
    }
    Ok(out.flush()?)
}

fn run(figures: &Figures, out: &mut impl Write) -> Result<()> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    family(
        out,
        "conntracker_build_info",
        Kind::Gauge,
        "The version of conntracker.",
        [(version, "1".into())],
    )?;
    for (name, help, value) in [
        (
            "conntracker_last_run_success",
            "Whether the last run did all of its work (1) or not (0).",
            u8::from(figures.success).to_string(),
        ),
        (
            "conntracker_last_run_timestamp_seconds",
            "When the last run ended, whether it did its work or not.",
            figures.ended_at.0.to_string(),
        ),
        (
            LAST_SUCCESS,
            "When the last run ended that did all of its work; 0 if none is known.",
            figures.last_success.map_or(0, |at| at.0).to_string(),
        ),
        (
            "conntracker_last_run_duration_seconds",
            "How long the last run took.",
            format!("{:.3}", figures.duration.as_secs_f64()),
        ),
    ] {
        family(out, name, Kind::Gauge, help, [(Vec::new(), value)])?;
    }
    Ok(())
}

fn passes(passes: &[PassFigures], out: &mut impl Write) -> Result<()> {
    type Figure = fn(&PassFigures) -> u64;
    let families: [(&str, &str, Figure); 5] = [
        (
            "conntracker_last_run_read_bytes",
            "Bytes of the audit log, unpacked, that the last run read for a store.",
            |pass| pass.bytes,
        ),
        (
            "conntracker_last_run_records",
            "Records that the last run believed.",
            |pass| pass.records,
        ),
        (
            "conntracker_last_run_malformed_lines",
            "Lines that the last run did not understand.",
            |pass| pass.malformed,
        ),
        (
            "conntracker_last_run_quarantined_records",
            "Records that the last run did not believe: a client may have forged them.",
            |pass| pass.doubtful,
        ),
        (
            "conntracker_last_run_gaps",
            "Spans of time without a log that the last run found.",
            |pass| pass.gaps,
        ),
    ];
    for (name, help, figure) in families {
        let samples = passes.iter().map(|pass| {
            let labels = vec![("store", pass.store.to_owned())];
            (labels, figure(pass).to_string())
        });
        family(out, name, Kind::Gauge, help, samples)?;
    }
    Ok(())
}

fn servers(servers: &[ServerFigures], out: &mut impl Write) -> Result<()> {
    let of = |server: &ServerFigures| ("server", server.server.escaped());
    family(
        out,
        "conntracker_newest_record_timestamp_seconds",
        Kind::Gauge,
        "Time of the newest record of a server's audit log that was read.",
        servers
            .iter()
            .filter_map(|server| Some((vec![of(server)], server.newest_record?.0.to_string()))),
    )?;
    family(
        out,
        "conntracker_gaps_total",
        Kind::Counter,
        "Spans of time without a log that were found so far.",
        servers
            .iter()
            .map(|server| (vec![of(server)], server.gaps.to_string())),
    )?;
    let failed = |server: &ServerFigures| -> Vec<Sample> {
        // A series that begins with its first failures hides them: nothing tells that they are new.
        let mut failed = BTreeMap::from([(None, 0), (Some(ACCESS_DENIED), 0)]);
        failed.extend(server.failed.iter().copied());
        let failed = failed.into_iter().map(|(code, attempts)| {
            // Those beyond the bound of a store are counted without their code.
            let code = code.map_or("other".into(), |code| code.to_string());
            (vec![of(server), ("code", code)], attempts.to_string())
        });
        failed.collect()
    };
    family(
        out,
        "conntracker_failed_logins_total",
        Kind::Counter,
        "Failed logins by the server's error number (1045: access denied).",
        servers.iter().flat_map(failed),
    )?;
    let states = |server: &ServerFigures| -> Vec<Sample> {
        let states = server.judged.iter().flat_map(|(_, states)| {
            // Those that no account has, too: a series that comes and goes can't be compared.
            State::ALL.map(|state| {
                let labels = vec![of(server), ("state", state.name().to_owned())];
                let count = states.iter().filter(|found| *found == state.name()).count();
                (labels, count.to_string())
            })
        });
        states.collect()
    };
    family(
        out,
        "conntracker_accounts",
        Kind::Gauge,
        "Accounts of a server by state, as the last check judged them.",
        servers.iter().flat_map(states),
    )?;
    family(
        out,
        "conntracker_check_timestamp_seconds",
        Kind::Gauge,
        "When the accounts of a server were judged last.",
        servers.iter().filter_map(|server| {
            let (at, _) = server.judged.as_ref()?;
            Some((vec![of(server)], at.0.to_string()))
        }),
    )
}

fn accounts(accounts: &AccountFigures, out: &mut impl Write) -> Result<()> {
    let labels = |used: &AccountUse| {
        vec![
            ("server", used.server.escaped()),
            ("name", used.name.escaped()),
            ("host", used.host.escaped()),
        ]
    };
    let rows = accounts.rows.iter();
    family(
        out,
        "conntracker_account_connects_total",
        Kind::Counter,
        "Logins of an account name from a client host.",
        rows.clone()
            .map(|used| (labels(used), used.connects.to_string())),
    )?;
    family(
        out,
        "conntracker_account_last_active_timestamp_seconds",
        Kind::Gauge,
        "Last sign of use of an account name from a client host.",
        rows.filter_map(|used| Some((labels(used), used.last_active?.0.to_string()))),
    )?;
    family(
        out,
        "conntracker_account_series_omitted",
        Kind::Gauge,
        "Account names and client hosts that are left out here because there are too many.",
        [(Vec::new(), accounts.omitted.to_string())],
    )
}

/// What it is, then its samples. A family without a sample is left out.
fn family(
    out: &mut impl Write,
    name: &str,
    kind: Kind,
    help: &str,
    samples: impl IntoIterator<Item = Sample>,
) -> Result<()> {
    let kind = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    let mut is_first = true;
    for (labels, value) in samples {
        if std::mem::take(&mut is_first) {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        }
        let labels = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", quoted(value)));
        let labels: Vec<_> = labels.collect();
        match &labels[..] {
            [] => writeln!(out, "{name} {value}")?,
            labels => writeln!(out, "{name}{{{}}} {value}", labels.join(","))?,
        }
    }
    Ok(())
}

/// A label's value as it stands between quotes.
fn quoted(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

/// The time of the last success in a file that [`print()`] wrote.
pub fn last_success(text: &str) -> Option<UtcSeconds> {
    let value = |line: &str| line.strip_prefix(LAST_SUCCESS)?.trim().parse().ok();
    let at = text.lines().find_map(value)?;
    Some(UtcSeconds(at)).filter(|at| at.0 > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{NOW, account};
    use super::*;

    fn figures() -> Figures {
        Figures {
            success: true,
            ended_at: NOW,
            last_success: Some(NOW),
            duration: Duration::from_millis(1_234),
            passes: vec![PassFigures {
                store: "sqlite",
                bytes: 4_096,
                records: 12,
                malformed: 1,
                doubtful: 2,
                gaps: 3,
            }],
            servers: vec![ServerFigures {
                server: "db1".into(),
                newest_record: Some(UtcSeconds(NOW.0 - 60)),
                gaps: 4,
                failed: vec![(None, 5), (Some(1045), 6)],
                judged: Some((NOW, vec!["unused".into(), "unused".into(), "active".into()])),
            }],
            accounts: None,
        }
    }

    fn printed(figures: &Figures) -> String {
        let mut out = Vec::new();
        print(figures, &mut out).unwrap();
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn each_figure_has_its_place() {
        let text = printed(&figures());
        for line in [
            "# TYPE conntracker_last_run_success gauge",
            "conntracker_last_run_success 1",
            "conntracker_last_run_timestamp_seconds 1795376581",
            "conntracker_last_success_timestamp_seconds 1795376581",
            "conntracker_last_run_duration_seconds 1.234",
            "conntracker_last_run_read_bytes{store=\"sqlite\"} 4096",
            "conntracker_last_run_records{store=\"sqlite\"} 12",
            "conntracker_last_run_malformed_lines{store=\"sqlite\"} 1",
            "conntracker_last_run_quarantined_records{store=\"sqlite\"} 2",
            "conntracker_last_run_gaps{store=\"sqlite\"} 3",
            "conntracker_newest_record_timestamp_seconds{server=\"db1\"} 1795376521",
            "# TYPE conntracker_gaps_total counter",
            "conntracker_gaps_total{server=\"db1\"} 4",
            "conntracker_failed_logins_total{server=\"db1\",code=\"other\"} 5",
            "conntracker_failed_logins_total{server=\"db1\",code=\"1045\"} 6",
            "conntracker_accounts{server=\"db1\",state=\"unused\"} 2",
            "conntracker_accounts{server=\"db1\",state=\"never_used\"} 0",
            "conntracker_check_timestamp_seconds{server=\"db1\"} 1795376581",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("conntracker_account_"), "{text}");
        assert_eq!(last_success(&text), Some(NOW));
    }

    #[test]
    fn failures_can_be_seen_to_begin() {
        let mut quiet = figures();
        let failed = |figures: &Figures| -> Vec<String> {
            let text = printed(figures);
            let of_family = |line: &str| {
                let sample =
                    line.strip_prefix("conntracker_failed_logins_total{server=\"db1\",")?;
                Some(sample.to_owned())
            };
            text.lines().filter_map(of_family).collect()
        };
        quiet.servers[0].failed.clear();
        assert_eq!(failed(&quiet), ["code=\"other\"} 0", "code=\"1045\"} 0"]);
        quiet.servers[0].failed = vec![(Some(1045), 5_000), (Some(1698), 1)];
        let expected = [
            "code=\"other\"} 0",
            "code=\"1045\"} 5000",
            "code=\"1698\"} 1",
        ];
        assert_eq!(failed(&quiet), expected);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = Figures {
            success: false,
            last_success: None,
            passes: Vec::new(),
            servers: vec![ServerFigures {
                judged: None,
                newest_record: None,
                failed: Vec::new(),
                ..figures().servers.remove(0)
            }],
            ..figures()
        };
        let text = printed(&nothing);
        for name in ["records", "newest_record", "accounts", "check"] {
            assert!(!text.contains(name), "{name}: {text}");
        }
        assert!(
            text.contains("\nconntracker_last_run_success 0\n"),
            "{text}"
        );
        assert!(text.contains(&format!("\n{LAST_SUCCESS} 0\n")), "{text}");
        assert_eq!(last_success(&text), None);
        assert_eq!(last_success(""), None);
        assert_eq!(last_success(&format!("{LAST_SUCCESS} x")), None);
    }

    /// The labels of a sample, read as Prometheus reads them.
    fn labels(line: &str) -> Vec<String> {
        let mut labels = Vec::new();
        let mut rest = line;
        while let Some((_, behind)) = rest.split_once("=\"") {
            let (mut value, mut chars) = (String::new(), behind.chars());
            loop {
                match chars.next().expect("an end quote") {
                    '"' => break,
                    '\\' => match chars.next().expect("an escape") {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("\\{c} is no escape"),
                    },
                    c => value.push(c),
                }
            }
            labels.push(value);
            rest = chars.as_str();
        }
        labels
    }

    proptest! {
        #[test]
        fn no_name_breaks_a_line_or_is_taken_for_another(
            names in proptest::collection::hash_set(proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\\'), Just(b'"'), Just(b'\n'), Just(b'x')], 0..12
            ), 1..5),
        ) {
            let rows: Vec<_> = names.iter().map(|name| account(name, "h\"} 1\n")).collect();
            let accounts = AccountFigures { rows, omitted: 0 };
            let text = printed(&Figures { accounts: Some(accounts), ..figures() });
            let samples: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with("conntracker_account_connects_total{"))
                .map(labels)
                .collect();
            let expected: Vec<_> = names
                .iter()
                .map(|name| vec!["db1".into(), Name::from(&name[..]).escaped(), "h\"} 1\\n".into()])
                .collect();
            prop_assert_eq!(&samples, &expected);
            let mut different = samples.clone();
            different.sort();
            different.dedup();
            prop_assert_eq!(different.len(), names.len());
            for line in text.lines() {
                prop_assert!(line.starts_with("# ") || line.starts_with("conntracker_"), "{}", line);
                prop_assert!(line.chars().all(|c| !c.is_control()), "{}", line);
            }
        }
    }
}
