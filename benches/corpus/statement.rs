//! The texts of statements, as programs send them, and as the plugin writes them.

use std::io::Write;

use super::random::Random;

const TABLES: [&str; 8] = [
    "orders",
    "order_items",
    "customers",
    "products",
    "stock",
    "invoices",
    "sessions",
    "audit_trail",
];
const COLUMNS: [&str; 12] = [
    "id",
    "customer_id",
    "name",
    "email",
    "city",
    "price",
    "quantity",
    "state",
    "created_at",
    "updated_at",
    "note",
    "country",
];
const VALUES: [&str; 10] = [
    "Zürich",
    "O'Brien & Sons, Ltd.",
    "it's open, 9-17",
    "new",
    "paid",
    "anna.meier@example.com",
    "2026-11-01 08:15:00",
    "C:\\import\\batch",
    "12,5 kg",
    "line one\nline two",
];

/// Puts the text of a statement at the end of `line`, without the quotes around it. `sql` is room for
/// it, so that none is asked for again and again.
pub(crate) fn push(line: &mut Vec<u8>, sql: &mut Vec<u8>, random: &mut Random) {
    sql.clear();
    match random.below(100) {
        0..8 => sql.extend_from_slice(b"SET NAMES utf8mb4"),
        8..20 => sql.extend_from_slice(random.of(&["COMMIT", "BEGIN", "ROLLBACK"]).as_bytes()),
        20..70 => select(sql, random),
        70..85 => insert(sql, random),
        _ => update(sql, random),
    }
    escape(line, sql);
}

fn select(sql: &mut Vec<u8>, random: &mut Random) {
    sql.extend_from_slice(b"SELECT ");
    columns(sql, 1 + random.below(8), random);
    text(sql, &[" FROM ", random.of(&TABLES)]);
    condition(sql, random);
    if random.chance(0.4) {
        text(sql, &[" ORDER BY ", random.of(&COLUMNS)]);
        number(sql, " LIMIT ", random);
    }
}

fn insert(sql: &mut Vec<u8>, random: &mut Random) {
    text(sql, &["INSERT INTO ", random.of(&TABLES), " ("]);
    let width = 2 + random.below(5);
    columns(sql, width, random);
    sql.extend_from_slice(b") VALUES ");
    let rows = if random.chance(0.2) {
        2 + random.below(5)
    } else {
        1
    };
    for row in 0..rows {
        sql.extend_from_slice(if row == 0 { b"(" } else { b", (" });
        for column in 0..width {
            let before = if column == 0 { "" } else { ", " };
            value(sql, before, random);
        }
        sql.push(b')');
    }
}

fn update(sql: &mut Vec<u8>, random: &mut Random) {
    text(sql, &["UPDATE ", random.of(&TABLES), " SET "]);
    for column in 0..1 + random.below(3) {
        let before = if column == 0 { "" } else { ", " };
        text(sql, &[before, random.of(&COLUMNS)]);
        value(sql, " = ", random);
    }
    condition(sql, random);
}

fn condition(sql: &mut Vec<u8>, random: &mut Random) {
    for term in 0..1 + random.below(3) {
        let before = if term == 0 { " WHERE " } else { " AND " };
        text(sql, &[before, random.of(&COLUMNS)]);
        value(sql, random.of(&[" = ", " >= ", " <> "]), random);
    }
}

fn columns(sql: &mut Vec<u8>, count: usize, random: &mut Random) {
    for column in 0..count {
        let before = if column == 0 { "" } else { ", " };
        text(sql, &[before, "`", random.of(&COLUMNS), "`"]);
    }
}

/// A number or a string, quoted as SQL wants it.
fn value(sql: &mut Vec<u8>, before: &str, random: &mut Random) {
    if random.chance(0.5) {
        number(sql, before, random);
        return;
    }
    let value = random.of(&VALUES);
    text(sql, &[before, "'"]);
    for &byte in value.as_bytes() {
        if byte == b'\'' || byte == b'\\' {
            sql.push(byte);
        }
        sql.push(byte);
    }
    sql.push(b'\'');
}

fn number(sql: &mut Vec<u8>, before: &str, random: &mut Random) {
    // Writing to a Vec does not fail.
    let _ = write!(sql, "{before}{}", random.below(1_000_000));
}

fn text(sql: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        sql.extend_from_slice(part.as_bytes());
    }
}

/// As server_audit 1.4.14 escapes the text of a QUERY.
fn escape(line: &mut Vec<u8>, sql: &[u8]) {
    for &byte in sql {
        match byte {
            b'\'' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            _ => line.push(byte),
        }
    }
}
