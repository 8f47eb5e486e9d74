//! `Unframer` on any bytes, and on records that were put into each of the frames: what comes out is
//! what went in.

use chrono::{DateTime, Datelike};
use conntracker::audit_log::record::{self, Parsed};
use conntracker::audit_log::syslog::{Framing, Unframer};

/// 2026-11-22 20:00:00 UTC.
const WRITTEN: i64 = 1_795_377_600;

const IDENT: &[u8] = b"mysql-server_auditing";

/// First byte: bit 0 to take the rest as lines of a file that was written at a time said by the
/// next eight bytes, else as records to be framed.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    if kind & 1 == 0 {
        any_lines(rest);
    } else {
        framed(*kind, rest);
    }
}

fn any_lines(input: &[u8]) {
    let Some((written, text)) = input.split_first_chunk::<8>() else {
        return;
    };
    let written = i64::from_le_bytes(*written);
    let last = (written & 1 == 1).then_some(written.rotate_left(17));
    let mut unframer = Unframer::new(written, last);
    let lines = || text.split(|byte| *byte == b'\n');
    for line in lines() {
        let mut again = unframer.clone();
        let out = unframer.unframe(line);
        assert_eq!(again.unframe(line), out);
        let Some(out) = out else { continue };
        if !matches!(record::parse(&out), Parsed::Record(_)) {
            assert!(line.windows(IDENT.len()).any(|part| part == IDENT));
        }
        assert!(out.len() <= line.len() + 32);
    }
    Framing::of(lines());
}

/// Two bytes a record: how much later it is, and which it is.
fn framed(kind: u8, input: &[u8]) {
    const HOSTS: [&str; 2] = ["db1", "db-2.example.org"];
    const IDENTS: [&str; 3] = [
        "mysql-server_auditing",
        "my-ident",
        "mysql-server_auditing[77]",
    ];
    const INFOS: [&str; 3] = ["", "prod", "an info, with commas"];
    const NAMES: [&str; 8] = [
        "alice",
        "a,b",
        "x\n20261122 10:00:00,db1,root2,localhost,99,0,CONNECT,,,0\ny",
        "",
        "#",
        "tab\there",
        "#01 db1,x",
        "\u{1f600}: , {}\"\\",
    ];
    const TAILS: [&str; 5] = [
        "192.0.2.66,5,0,CONNECT,shop,,0",
        "localhost,6,0,FAILED_CONNECT,,,1045",
        "2001:db8::66,7,0,DISCONNECT,,,0",
        "db1,8,11,QUERY,shop,'SELECT \\'a: b\\', 1',0",
        ",0,0,DISCONNECT,,,1040",
    ];
    let shape = kind >> 1 & 3;
    let host = HOSTS[usize::from(kind >> 3 & 1)];
    let ident = IDENTS[usize::from(kind >> 4 & 3) % 3];
    let info = INFOS[usize::from(kind >> 6) % 3];
    // The file's last line is what it was written by, and no two lines are further apart than the
    // years could be told for.
    let steps: Vec<(i64, u8)> = input
        .chunks_exact(2)
        .take(40)
        .map(|two| (i64::from(two[0]) * i64::from(two[0]) * 120, two[1]))
        .collect();
    let total: i64 = steps.iter().map(|(step, _)| step).sum();
    if total > 300 * 86_400 {
        return;
    }
    let mut unframer = Unframer::new(WRITTEN, None);
    let mut at = WRITTEN - total;
    for (step, which) in steps {
        at += step;
        let name = NAMES[usize::from(which & 7)];
        let tail = TAILS[usize::from(which >> 3) % TAILS.len()];
        // JSON has no host's name to look for: there the first comma is the record's.
        let info = if shape == 3 {
            info.replace(',', "")
        } else {
            info.into()
        };
        let record = format!("{host},{name},{tail}");
        let message = format!(" {info} {record}");
        let time = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
        let line = match shape {
            0 => format!(
                "{} {:>2} {} {host} {ident}: {}",
                time.format("%b"),
                time.day(),
                time.format("%H:%M:%S"),
                escape(&message)
            ),
            1 => format!(
                "{} {host} {ident}: {}",
                time.format("%Y-%m-%dT%H:%M:%S.021053+00:00"),
                escape(&message)
            ),
            2 => format!(
                "<14>1 {} {host} {ident} - - - {}",
                time.format("%Y-%m-%dT%H:%M:%SZ"),
                escape(&message)
            ),
            _ => serde_json::json!({
                "t": time.format("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
                "tag": ident,
                "msg": escape(&message),
            })
            .to_string(),
        };
        let stamp = match shape {
            0 => time.format("%Y%m%d %H:%M:%S").to_string(),
            _ => format!("{at:010}"),
        };
        let out = unframer.unframe(line.as_bytes());
        let out = out.map(|out| String::from_utf8_lossy(&out).into_owned());
        assert_eq!(out, Some(format!("{stamp},{record}")), "{line}");
        assert_eq!(
            Framing::of(std::iter::once(line.as_bytes())),
            Some(Framing::Syslog)
        );
    }
}

/// As rsyslog does by default.
fn escape(message: &str) -> String {
    message
        .chars()
        .map(|c| match c {
            c if c.is_ascii_control() => format!("#{:03o}", c as u32),
            c => c.to_string(),
        })
        .collect()
}
