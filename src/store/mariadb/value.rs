//! Values on their way into columns and out of them.

use mysql::{Row, Value};

use super::text;
use crate::name::Name;
use crate::time::UtcSeconds;

/// Lengths of the columns, in characters.
pub(super) const SERVER: usize = 160;
pub(super) const NAME: usize = 352;
pub(super) const HOST: usize = 255;
pub(super) const ACCOUNT: usize = 600;
pub(super) const REASON: usize = 500;
pub(super) const VERDICT: usize = 1_000;
pub(super) const CANDIDATES: usize = 10_000;
pub(super) const FILE: usize = 4_096;
pub(super) const SOURCE: usize = 512;
pub(super) const COLLECTOR: usize = 128;

/// What a `TIMESTAMP` can hold before MariaDB 11.5.
const TIMES: std::ops::RangeInclusive<i64> = 1..=2_147_483_647;

/// Words of ours, or a path.
pub(super) fn encode(text: &str, most: usize) -> Vec<u8> {
    text::encode(&Name::from(text), most)
}

/// A name, for a column of `most` characters.
pub(super) fn encode_name(name: &Name, most: usize) -> Value {
    Value::Bytes(text::encode(name, most))
}

/// A parameter for `FROM_UNIXTIME`. What a `TIMESTAMP` can't hold, no running server's clock shows;
/// it is held at the nearer end.
pub(super) fn time(at: Option<UtcSeconds>) -> Value {
    at.map_or(Value::NULL, |at| {
        Value::Int(at.0.clamp(*TIMES.start(), *TIMES.end()))
    })
}

/// The name in a column, which is taken out of the row.
pub(super) fn name(row: &mut Row, column: usize) -> Name {
    match row.take_opt(column) {
        Some(Ok(bytes)) => text::decode(bytes),
        _ => Name::default(),
    }
}

/// The result of `UNIX_TIMESTAMP` in a column; none if it is NULL.
pub(super) fn seconds(row: &Row, column: usize) -> Option<UtcSeconds> {
    row.get_opt(column)?.ok().map(UtcSeconds)
}

/// The number in a column.
pub(super) fn count(row: &Row, column: usize) -> u64 {
    row.get_opt(column).and_then(Result::ok).unwrap_or(0)
}

/// Words of ours in a column.
pub(super) fn words(row: &mut Row, column: usize) -> String {
    String::from_utf8_lossy(&name(row, column).0).into_owned()
}
