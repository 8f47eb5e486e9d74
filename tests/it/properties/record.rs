//! `record::parse` on any bytes: it never panics, every piece lies in the line, and each stands
//! where the format says, between its neighbours.

use conntracker::audit_log::plain::{LONGEST, Plain, PlainLines, SLACK};
use conntracker::audit_log::record::{self, Head, Operation, Parsed, Port, Record};
use conntracker::audit_log::timestamp;

/// The line is what `input` is, without line end.
pub(crate) fn check(input: &[u8]) {
    // The reader passes on nothing longer.
    let line = &input[..input.len().min(conntracker::audit_log::reader::MAX_LINE)];
    let parsed = record::parse(line);
    match parsed {
        Parsed::Record(record) => {
            assert_eq!(record.head, Head::of(line));
            check_record(line, &record, record.head.unwrap().end());
        }
        Parsed::Tail(record) => {
            assert_eq!(record.head, None);
            // What looks like a head is a part of the name.
            let head = Head::of(line);
            assert!(head.is_none_or(|head| head.end() <= record.host.start()));
            check_record(line, &record, 0);
        }
        Parsed::Torn(record) => {
            assert!(record.torn);
            let head = record.head.unwrap();
            check_record(line, &record, head.end());
            let at = head.serverhost.start() - 1 - head.time_len as usize;
            assert!(at > 0, "not torn: {:?}", show(line));
        }
        Parsed::Head(head) => check_head(line, &head),
        Parsed::Neither => assert_eq!(Head::of(line), None),
    }
    assert_eq!(record::parse(line), parsed);
    check_plain(line, &parsed);
    if let Some(record) = parsed.record() {
        check_names(record.username.of(line), record.host.of(line));
    }
    let half = line.len() / 2;
    check_names(&line[..half], &line[half..]);
}

/// A plain line says the same as the record, wherever it stands. Whether it is one; not if it holds line
/// breaks, as only those out of syslog do.
fn check_plain(line: &[u8], parsed: &Parsed) -> bool {
    if line.contains(&b'\n') {
        return false;
    }
    let serverhost = match parsed {
        Parsed::Record(Record {
            head: Some(head), ..
        }) => head.serverhost.of(line),
        _ => b"db1",
    };
    let before = &b"20261122 19:04:50,db1,"[..line.len() % 23];
    let bytes = [before, line, b"\n", &[b','; SLACK]].concat();
    let mut lines = PlainLines::of(serverhost);
    let Some(plain) = lines.read(&bytes, before.len()) else {
        return false;
    };
    // The date is remembered.
    assert_eq!(lines.read(&bytes, before.len()), Some(plain));
    let Parsed::Record(record) = parsed else {
        panic!("{parsed:?}: {:?}", show(line));
    };
    let head = record.head.unwrap();
    let Plain {
        operation,
        time,
        connectionid,
        retcode,
        username_len,
        account_len,
        object,
        end,
    } = plain;
    assert!(end - before.len() == line.len() && line.len() < LONGEST);
    assert_eq!(head.time, timestamp::Stamp::Local(time.into()));
    assert_eq!(head.end(), lines.head_len());
    assert_eq!(operation, record.operation, "{:?}", show(line));
    assert_eq!(
        (connectionid, u32::from(retcode)),
        (record.connectionid, record.retcode)
    );
    assert_eq!(record.username.end(), head.end() + username_len);
    let host = &line[head.end() + username_len + 1..head.end() + account_len];
    let (host_len, port) = record::cut_port(host);
    assert_eq!(
        (record.host.of(line), record.port),
        (&host[..host_len], port)
    );
    assert!(!record.two_operations && !record.torn);
    if operation == Operation::Query {
        let object = (object.0 - before.len(), object.1 - before.len());
        assert_eq!(object, (record.object.start(), record.object.end()));
    }
    true
}

/// Servers write next to nothing else.
#[cfg(test)]
#[test]
fn lines_of_real_servers_are_plain() {
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/audit-cases");
    for (case, expected) in [
        ("parallel_load_order", 1.0),
        ("logrotate_copytruncate", 1.0),
        // Statements, some of which are too long for it.
        ("query_log_limit_large", 0.5),
    ] {
        let log = std::fs::read(cases.join(case).join("server_audit.log")).unwrap();
        let lines: Vec<_> = log.split(|byte| *byte == b'\n').collect();
        let lines = &lines[..lines.len() - 1];
        let plain = lines
            .iter()
            .filter(|line| check_plain(line, &record::parse(line)));
        let share = plain.count() as f64 / lines.len() as f64;
        assert!(share >= expected, "{case}: {share}");
    }
}

fn check_head(line: &[u8], head: &Head) {
    let server = head.serverhost;
    assert!(server.start() <= server.end() && server.end() < line.len());
    assert_eq!((line[server.start() - 1], line[server.end()]), (b',', b','));
    assert!(!server.of(line).contains(&b','));
    let from = server.start() - 1 - head.time_len as usize;
    assert_eq!(
        timestamp::parse(&line[from..]),
        Some((head.time, head.time_len as usize))
    );
}

fn check_record(line: &[u8], record: &Record, body: usize) {
    if let Some(head) = record.head {
        check_head(line, &head);
    }
    let (name, host, object) = (record.username, record.host, record.object);
    assert!(
        name.start() == body && name.start() <= name.end(),
        "{record:?}"
    );
    assert!(name.end() < host.start() && host.start() <= host.end());
    assert!(host.end() < object.start() && object.start() <= object.end());
    assert!(object.end() <= line.len());
    assert_eq!(line[name.end()], b',', "{:?}", show(line));
    assert_eq!(name.end() + 1, host.start());
    assert!(!host.of(line).contains(&b','));

    // Behind the host: a port, an empty field, then id, query id and operation.
    let mut fields = line[host.end()..].split(|byte| *byte == b',');
    let mut at = host.end();
    let mut next = || {
        let field = fields.next().unwrap();
        at += field.len() + 1;
        (field, at - 1)
    };
    let (port, _) = next();
    assert_eq!(
        !port.is_empty(),
        record.port == Port::Cut,
        "{:?}",
        show(line)
    );
    assert!(port.is_empty() || port[0] == b':');
    let (mut id, _) = next();
    if id.is_empty() {
        id = next().0;
    }
    assert_eq!(number(id), record.connectionid, "{:?}", show(line));
    let (query, _) = next();
    number(query);
    let (word, word_end) = next();
    let word = std::str::from_utf8(word).unwrap();
    let expected: &[&str] = match record.operation {
        Operation::Connect => &["CONNECT"],
        Operation::FailedConnect => &["FAILED_CONNECT"],
        Operation::Disconnect => &["DISCONNECT"],
        Operation::ChangeUser => &["CHANGEUSER"],
        Operation::ProxyConnect => &["PROXY_CONNECT"],
        Operation::Query => &["QUERY", "AUDIT_CONFIG"],
        Operation::Table => &["READ", "WRITE", "CREATE", "ALTER", "RENAME", "DROP"],
    };
    assert!(expected.contains(&word), "{word}: {:?}", show(line));
    match record.operation {
        Operation::Query => {
            assert!(object.of(line).starts_with(b"'") && object.of(line).ends_with(b"'"));
            assert_eq!(line[object.end()], b',');
            let code = line[object.end() + 1..].split(|byte| *byte == b',').next();
            assert_eq!(number(code.unwrap()), u64::from(record.retcode));
        }
        Operation::Table => {
            assert!(object.of(line).is_empty() && record.retcode == 0);
            assert_eq!(line.last(), Some(&b','));
        }
        _ => {
            assert_eq!(query.iter().find(|byte| **byte != b'0'), None);
            let code = line[object.end() + 1..].split(|byte| *byte == b',').next();
            assert_eq!(number(code.unwrap()), u64::from(record.retcode));
            check_again(line, record, word_end);
        }
    }
}

/// With nothing but an empty database name between operation and object, the line says the same.
fn check_again(line: &[u8], record: &Record, word_end: usize) {
    let mut again = line[..word_end].to_vec();
    again.extend_from_slice(b",,");
    let object = again.len();
    again.extend_from_slice(record.object.of(line));
    again.extend_from_slice(format!(",{}", record.retcode).as_bytes());
    let parsed = record::parse(&again);
    let found = parsed
        .record()
        .unwrap_or_else(|| panic!("{:?}", show(&again)));
    assert_eq!(found.object.start(), object, "{:?}", show(line));
    assert_eq!(found.object.of(&again), record.object.of(line));
    assert_eq!(
        Record {
            object: record.object,
            ..*found
        },
        *record,
        "{:?} and {:?}",
        show(line),
        show(&again)
    );
}

fn check_names(a: &[u8], b: &[u8]) {
    for (a, b) in [(a, b), (b, a)] {
        let cut = record::cut_ambiguous_port(a);
        assert!(a.starts_with(cut));
        let kept = record::damaged_prefix(a);
        assert!(kept.is_none_or(|kept| kept < a.len()));
        if record::repairs(b, a) {
            assert!(b.len() > kept.unwrap() && b[..kept.unwrap()] == a[..kept.unwrap()]);
        }
    }
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

fn show(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
