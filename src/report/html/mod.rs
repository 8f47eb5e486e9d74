//! One page to look at, in one file: it asks for nothing over the network, so that it can be mailed,
//! printed and kept.
//!
//! `templates/report.html` says what stands where; it is filled in here. Whatever comes from the log or
//! the server goes through [`shown`] or [`harmless`] (control characters, marks that turn the direction
//! of writing), and every value is escaped for HTML by the template, by default. Should both fail, the
//! page's own policy (CSP) still lets no script run but ours, which it names by its hash; nor is there
//! anything in the page that could be loaded.

mod accounts;
mod chart;
mod failures;
mod findings;
mod rhythm;
mod week;

use std::io::Write;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use self::accounts::{Account, Clients, Unexplained};
use self::chart::Bar;
use self::failures::Sources;
use self::findings::{Accepted, Group};
use self::week::{Days, WeekMap, date};
use super::check::Checked;
use super::table::{harmless, readable};
use crate::check::{LogEvidence, Severity};
use crate::error::Result;
use crate::store::{AccountStatus, Doubtful};
use crate::time::{Span, UtcSeconds, Zone};

pub use rhythm::Rhythms;

const STYLE: &str = include_str!("../../../templates/report.css");
const SCRIPT: &str = include_str!("../../../templates/report.js");

/// Of older records of the quarantine only the number is told.
const MAX_DOUBTS: usize = 200;
/// The days of which logins and failures are drawn.
const DRAWN_DAYS: i64 = 92;

/// What the page tells.
pub struct Page<'a> {
    /// What the checks came to.
    pub checked: &'a Checked<'a>,
    /// What the store holds of the log; none if there was no store.
    pub log: Option<&'a LogEvidence>,
    /// When who came in.
    pub rhythms: &'a Rhythms,
    /// How an earlier check judged the accounts, and when; told where the server was not asked now.
    pub last_status: Option<&'a (UtcSeconds, Vec<AccountStatus>)>,
    /// Why the server was not asked, if it was not.
    pub unasked: Option<&'a str>,
    /// The server's zone.
    pub zone: Zone,
}

/// Writes the page.
pub fn print(page: &Page<'_>, mut out: impl Write) -> Result<()> {
    let html = Html::of(page);
    html.write_into(&mut out)?;
    // The template ends without the end of its last line.
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// A time: for programs in UTC, for people in the server's zone.
pub(super) struct When {
    utc: String,
    local: String,
}

impl When {
    fn at(time: UtcSeconds, zone: &Zone) -> Self {
        Self {
            utc: time.rfc3339(),
            local: zone.at(time).format("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    fn of(time: Option<UtcSeconds>, zone: &Zone) -> Option<Self> {
        time.map(|time| Self::at(time, zone))
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Html {
    style: &'static str,
    script: &'static str,
    style_hash: String,
    script_hash: String,
    version: &'static str,
    server: String,
    server_version: Option<String>,
    zone: String,
    made: When,
    unasked: Option<String>,
    critical: usize,
    warnings: usize,
    findings: Vec<Group>,
    accepted: Vec<Accepted>,
    unchecked: Vec<(String, String)>,
    unknown: Vec<String>,
    covered: Option<(When, When, String)>,
    gaps: Vec<(Option<When>, When, String, String)>,
    gap_bars: Vec<Bar>,
    /// The accounts, and when they were judged if that was not now.
    accounts: Option<Vec<Account>>,
    judged: Option<When>,
    clients: Option<Clients>,
    unexplained: Unexplained,
    newest_use: Option<When>,
    week: Option<WeekMap>,
    first_day: Option<String>,
    days: Option<Days>,
    sources: Sources,
    doubts: Vec<Doubt>,
    older_doubts: usize,
}

/// A record that was not believed.
struct Doubt {
    time: Option<When>,
    name: String,
    host: String,
    from: Option<String>,
    why: String,
    place: String,
}

impl Html {
    fn of(page: &Page<'_>) -> Self {
        let Page {
            checked,
            log,
            rhythms,
            zone,
            ..
        } = page;
        let at = |time| When::at(time, zone);
        let nothing = LogEvidence::default();
        let log = log.unwrap_or(&nothing);
        let applied = checked.applied;
        let before = match (checked.judged, page.last_status) {
            (None, Some(last)) => Some(last),
            _ => None,
        };
        let accounts = match (checked.judged, before) {
            (Some(judged), _) => Some(accounts::judged(&judged.verdicts, rhythms, zone)),
            (None, Some((_, status))) => Some(accounts::judged_before(status, rhythms, zone)),
            (None, None) => None,
        };
        let days = rhythm::last_days(&rhythms.days, DRAWN_DAYS);
        let newest_doubts = log.doubts.iter().rev().take(MAX_DOUBTS);
        Self {
            style: STYLE,
            script: SCRIPT,
            style_hash: hash(STYLE),
            script_hash: hash(SCRIPT),
            version: env!("CARGO_PKG_VERSION"),
            server: match checked.server.0.is_empty() {
                // Nothing was read, nobody was asked.
                true => "server without a name".into(),
                false => checked.server.escaped(),
            },
            server_version: checked.facts.map(|facts| harmless(&facts.version)),
            zone: zone.to_string(),
            made: at(checked.checked_at),
            unasked: page.unasked.map(harmless),
            critical: checked.count(Severity::Critical),
            warnings: checked.count(Severity::Warning),
            findings: findings::by_check(&applied.findings),
            accepted: applied.accepted.iter().map(Accepted::of).collect(),
            unchecked: checked
                .unchecked()
                .into_iter()
                .map(|(why, checks)| (checks.join(", "), harmless(why)))
                .collect(),
            unknown: checked
                .facts
                .map(|facts| facts.unknown.iter().map(|one| harmless(one)).collect())
                .unwrap_or_default(),
            covered: checked.covered.span.map(|(from, to)| {
                let length = Span(to.0.saturating_sub(from.0)).in_words();
                (at(from), at(to), length)
            }),
            gaps: checked
                .covered
                .gaps
                .iter()
                .map(|gap| {
                    let length = Span(gap.to.0.saturating_sub(gap.from.0)).in_words();
                    (Some(at(gap.from)), at(gap.to), length, harmless(&gap.why))
                })
                .collect(),
            gap_bars: chart::gaps(checked.covered),
            judged: before.map(|(checked_at, _)| at(*checked_at)),
            // Where the server was asked, its accounts say it all, and in the order that counts.
            clients: checked
                .judged
                .is_none()
                .then(|| accounts::clients(&log.logins, rhythms, zone)),
            unexplained: match checked.judged {
                Some(judged) => accounts::unexplained(judged, rhythms, zone),
                None => Unexplained {
                    rows: Vec::new(),
                    more: 0,
                },
            },
            newest_use: When::of(accounts::newest(&log.logins), zone),
            accounts,
            week: WeekMap::of(rhythms, zone),
            first_day: rhythms.first_day().map(date),
            days: Days::of(&days),
            sources: failures::by_source(&log.failures, zone),
            doubts: newest_doubts.map(|one| Doubt::of(one, zone)).collect(),
            older_doubts: log.doubts.len().saturating_sub(MAX_DOUBTS),
        }
    }

    fn states(&self) -> Vec<(&str, usize)> {
        self.accounts
            .as_deref()
            .map(accounts::by_state)
            .unwrap_or_default()
    }

    /// How many accounts can go.
    fn unused(&self) -> usize {
        let is_unused = |state: &str| matches!(state, "unused" | "never_used");
        let states = self.states().into_iter();
        states
            .filter(|(state, _)| is_unused(state))
            .map(|(_, count)| count)
            .sum()
    }
}

impl Doubt {
    fn of(doubtful: &Doubtful, zone: &Zone) -> Self {
        Self {
            time: When::of(doubtful.time, zone),
            name: readable(&doubtful.name),
            host: doubtful.host.escaped(),
            from: doubtful.from.as_ref().map(crate::name::Name::escaped),
            why: harmless(&doubtful.why),
            place: format!("{} byte {}", harmless(&doubtful.file), doubtful.offset),
        }
    }
}

/// How a policy (CSP) names a script or a style sheet that stands in the page.
fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Applied, Covered, Gap, Policy};
    use crate::name::is_unsafe_to_show;
    use crate::report::tests::{NOW, account, doubtful, failure};

    /// The page of a server that was not asked.
    fn page(server: &str, log: &LogEvidence, covered: &Covered) -> String {
        let zone = Zone::parse("Europe/Zurich").unwrap();
        let (policy, applied) = (Policy::default(), Applied::default());
        let checked = Checked {
            server: &server.into(),
            checked_at: NOW,
            facts: None,
            covered,
            judged: None,
            policy: &policy,
            applied: &applied,
        };
        let page = Page {
            checked: &checked,
            log: Some(log),
            rhythms: &Rhythms::new(zone),
            last_status: None,
            unasked: Some("it is <gone>\u{9b}"),
            zone,
        };
        let mut out = Vec::new();
        print(&page, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_ours_is_shown_and_harmless() {
        let log = LogEvidence {
            failures: vec![failure(Some("<b>\u{202e}"), Some("\"h'"))],
            doubts: vec![doubtful()],
            ..LogEvidence::default()
        };
        let gap = Gap {
            from: NOW,
            to: UtcSeconds(NOW.0 + 60),
            why: "<i>".into(),
        };
        let covered = Covered {
            span: Some((UtcSeconds(NOW.0 - 3_600), UtcSeconds(NOW.0 + 3_600))),
            gaps: vec![gap],
        };
        let page = page("</title>\n", &log, &covered);
        for text in [
            "<title>&#60;/title&#62;\\n: use of",
            "&#60;b&#62;\\u{202e}",
            "<th scope=row>&#34;h&#39;",
            "<td class=wide>&#60;i&#62;",
            "/var/log/a\\u{202e}.log byte 1234",
            "it is &#60;gone&#62;\\u{9b}",
            "<time datetime=2026-11-22T19:43:01Z>2026-11-22 20:43:01</time>",
            "zone Europe/Zurich",
        ] {
            assert!(page.contains(text), "{text}\n{page}");
        }
        let is_unsafe = |c: &char| is_unsafe_to_show(*c) && *c != '\n';
        assert_eq!(page.chars().find(is_unsafe), None);
    }

    #[test]
    fn ever_new_clients_do_not_fill_it() {
        let login = |n: usize| {
            let mut used = account(b"app", &format!("host{n:05}"));
            // The first two came last.
            used.last_active = Some(UtcSeconds(
                NOW.0 - 100_000 + if n < 2 { 50_000 } else { n as i64 },
            ));
            used
        };
        let mut log = LogEvidence {
            logins: (0..accounts::MAX_CLIENTS + 3).map(login).collect(),
            ..LogEvidence::default()
        };
        let full = page("db1", &log, &Covered::default());
        assert_eq!(
            full.matches("<th scope=row>app").count(),
            accounts::MAX_CLIENTS
        );
        assert!(full.contains("3 more, whose last use is older"), "{full}");
        let place = |host: &str| full.find(&format!("<td>{host}<"));
        assert!(place("host00000").is_some() && place("host00000") < place("host00001"));
        assert_eq!(["host00002", "host00004"].map(place), [None; 2]);
        assert!(place("host00001") < place("host00005"));
        log.logins.truncate(accounts::MAX_CLIENTS);
        let whole = page("db1", &log, &Covered::default());
        assert!(!whole.contains("whose last use is older"));
    }

    #[test]
    fn of_nothing_it_says_so() {
        let page = page("", &LogEvidence::default(), &Covered::default());
        for text in [
            "server without a name",
            "No log was read yet",
            "No login was seen yet",
        ] {
            assert!(page.contains(text), "{text}\n{page}");
        }
        // Where nothing was read, nothing is claimed.
        for text in ["was refused in the time", "record of the log was believed"] {
            assert!(!page.contains(text), "{text}\n{page}");
        }
    }

    #[test]
    fn a_policy_names_only_our_script_and_style() {
        let page = page("db1", &LogEvidence::default(), &Covered::default());
        let (_, policy) = page
            .split_once("Content-Security-Policy content=\"")
            .unwrap();
        let (policy, _) = policy.split_once('"').unwrap();
        let hash = |tag: &str| {
            let (_, text) = page.split_once(&format!("<{tag}>")).unwrap();
            let (text, _) = text.split_once(&format!("</{tag}>")).unwrap();
            STANDARD.encode(Sha256::digest(text))
        };
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
                 base-uri 'none'; form-action 'none'",
                hash("style"),
                hash("script")
            )
        );
    }
}
