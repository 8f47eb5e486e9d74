//! Which time zone is the server's. The log is written in the local time of the server's process, which
//! SQL does not name: it tells today's offset and an abbreviation that many zones share. So zones are
//! held against these two, those first that are likely.

use chrono::{FixedOffset, Offset};

use super::Notes;
use crate::machine::ServerClock;
use crate::server::Facts;
use crate::time::{UtcSeconds, Zone};

/// A quarter of a year, in seconds: no daylight saving time is shorter than two of them are long.
const QUARTER: i64 = 7_884_000;

/// What may be the server's zone.
#[derive(Clone, Debug)]
pub struct Zones {
    /// What flags, environment or a file say.
    pub configured: Option<Zone>,
    /// The machine's.
    pub machine: Option<Zone>,
    /// What the server's process goes by.
    pub clock: ServerClock,
}

/// The server's zone.
pub(super) fn of_server(facts: &Facts, zones: &Zones, notes: &mut Notes) -> Zone {
    let system = facts.settings.get("system_time_zone").unwrap_or_default();
    let offset = FixedOffset::east_opt(facts.utc_offset.try_into().unwrap_or(0));
    let offset = offset.unwrap_or_else(|| chrono::Utc.fix());
    let fits =
        |zone: &Zone| *zone.at(facts.now).offset() == offset && is_called(zone, system, facts.now);
    if let Some(zone) = zones.configured {
        // A fixed offset can be right in one half of the year only, and whoever set it knows that.
        if *zone.at(facts.now).offset() == offset {
            return zone;
        }
        notes.doubt(format!(
            "why time_zone is {zone}: the server's clock is at UTC{offset} ({}) now, which is another one",
            shown(system)
        ));
    }
    let own = match &zones.clock {
        ServerClock::Tz(text) => Zone::parse(text.strip_prefix(':').unwrap_or(text)),
        ServerClock::Machine | ServerClock::Unknown => zones.machine,
    };
    if let Some(zone) = own.or(zones.machine).filter(fits) {
        return zone;
    }
    if offset.local_minus_utc() == 0 && system == "UTC" {
        return Zone::UTC;
    }
    let why = match (&zones.clock, zones.machine) {
        (ServerClock::Tz(text), _) => format!("its TZ is '{}'", shown(text)),
        (ServerClock::Machine, _) => "the machine's has no name that is known".into(),
        (ServerClock::Unknown, Some(zone)) => format!("the machine's, {zone}, is another one"),
        (ServerClock::Unknown, None) => "the machine's has no name that is known".into(),
    };
    notes.doubt(format!(
        "the name of the server's time zone: its clock is at UTC{offset} now, it calls that '{}', and {why}; \
         put a name such as Europe/Zurich into time_zone, or times will be wrong after the next change \
         to or from daylight saving time",
        shown(system)
    ));
    Zone::Fixed(offset)
}

/// Whether the zone has this abbreviation at some time of the year. The server says the one that held
/// when it was started.
fn is_called(zone: &Zone, abbreviation: &str, now: UtcSeconds) -> bool {
    let Zone::Named(zone) = zone else {
        return true;
    };
    let mut times = (0..4).map(|quarters| UtcSeconds(now.0 - quarters * QUARTER));
    abbreviation.is_empty() || times.any(|at| zone.abbreviation(at) == Some(abbreviation))
}

fn shown(text: &str) -> String {
    crate::name::escape(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tests::facts;

    /// 2026-11-25, and half a year before.
    const WINTER: i64 = 1_795_600_000;
    const SUMMER: i64 = WINTER - 2 * QUARTER;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn of(
        (now, hours, called): (i64, i64, &str),
        configured: Option<&str>,
        machine: Option<&str>,
        clock: ServerClock,
    ) -> (String, usize) {
        let mut facts = facts(&[("system_time_zone", called)]);
        facts.now = UtcSeconds(now);
        facts.utc_offset = hours * 3_600;
        let zones = Zones {
            configured: configured.map(zone),
            machine: machine.map(zone),
            clock,
        };
        let mut notes = Notes::default();
        let found = of_server(&facts, &zones, &mut notes);
        (found.to_string(), notes.doubts.len())
    }

    #[test]
    fn the_process_knows_best_then_the_machine() {
        use ServerClock::{Machine, Tz, Unknown};
        let zurich = Some("Europe/Zurich");
        for (server, machine, clock, expected) in [
            ((WINTER, 1, "CET"), zurich, Unknown, ("Europe/Zurich", 0)),
            // Started in winter, asked in summer.
            ((SUMMER, 2, "CET"), zurich, Machine, ("Europe/Zurich", 0)),
            (
                (SUMMER, 2, "CEST"),
                Some("UTC"),
                Tz(":Europe/Oslo".into()),
                ("Europe/Oslo", 0),
            ),
            // Same offset in winter, another name: it is not the machine's.
            (
                (WINTER, 0, "UTC"),
                Some("Europe/London"),
                Unknown,
                ("UTC", 0),
            ),
            (
                (WINTER, 0, "GMT"),
                Some("Europe/London"),
                Unknown,
                ("Europe/London", 0),
            ),
            ((WINTER, 0, "UTC"), None, Unknown, ("UTC", 0)),
            // Zones without letters are called by their offset.
            (
                (WINTER, -3, "-03"),
                Some("America/Sao_Paulo"),
                Unknown,
                ("America/Sao_Paulo", 0),
            ),
            // Nobody knows the name.
            ((WINTER, 1, "CET"), Some("UTC"), Unknown, ("+01:00", 1)),
            (
                (WINTER, 1, "CET"),
                Some("UTC"),
                Tz("CET-1CEST,M3.5.0,M10.5.0/3".into()),
                ("+01:00", 1),
            ),
            ((WINTER, -9, "X\n"), None, Machine, ("-09:00", 1)),
        ] {
            let (found, doubts) = of(server, None, machine, clock.clone());
            assert_eq!(
                (&*found, doubts),
                expected,
                "{server:?} {machine:?} {clock:?}"
            );
        }
    }

    #[test]
    fn what_is_configured_stays_unless_it_is_wrong() {
        let server = (WINTER, 1, "CET");
        for (configured, expected) in [
            ("Europe/Oslo", ("Europe/Oslo", 0)),
            ("+01:00", ("+01:00", 0)),
            ("Europe/London", ("Europe/Zurich", 1)),
        ] {
            let (found, doubts) = of(
                server,
                Some(configured),
                Some("Europe/Zurich"),
                ServerClock::Machine,
            );
            assert_eq!((&*found, doubts), expected, "{configured}");
        }
    }
}
