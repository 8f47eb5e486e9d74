use proptest::prelude::*;

use super::super::tests::*;
use super::super::{Format::Table, Look};
use super::*;
use crate::store::AccountUse;

fn terminal(width: u16) -> Look {
    Look {
        width: Some(width),
        ..look()
    }
}

#[test]
fn accounts_stand_in_columns() {
    let rows = [
        account(b"app", "app1.example.com"),
        account(b"", "localhost"),
        hardly_seen(),
    ];
    assert_eq!(
        printed(Table, &look(), &rows),
        "\
server  name  host              first seen                                 last seen                                last active                                 connects
db1     app   app1.example.com  2026-06-25 21:43:01 +02:00 (150 days ago)  2026-11-20 20:43:01 +01:00 (2 days ago)  2026-11-22 18:38:01 +01:00 (2 h 5 min ago)        12
db1     ''    localhost         2026-06-25 21:43:01 +02:00 (150 days ago)  2026-11-20 20:43:01 +01:00 (2 days ago)  2026-11-22 18:38:01 +01:00 (2 h 5 min ago)        12
db1     pool  10.0.0.9          -                                          -                                        2026-11-22 18:38:01 +01:00 (2 h 5 min ago)         0
"
    );
}

#[test]
fn a_terminal_is_told_what_fits() {
    let rows = [account(b"app", "app1.example.com"), hardly_seen()];
    assert_eq!(
        printed(Table, &terminal(80), &rows),
        "\
name  host              first seen  last seen  last active  connects
app   app1.example.com  150 d ago   2 d ago    2 h ago            12
pool  10.0.0.9          -           -          2 h ago             0
"
    );
    assert_eq!(
        printed(Table, &terminal(100), &rows),
        "\
name  host              first seen        last seen         last active       connects
app   app1.example.com  2026-06-25 21:43  2026-11-20 20:43  2026-11-22 18:38        12
pool  10.0.0.9          -                 -                 2026-11-22 18:38         0
"
    );
    let wide = printed(Table, &terminal(140), &rows);
    assert!(
        wide.contains("  2026-06-25 21:43 (150 days ago)  "),
        "{wide}"
    );
}

#[test]
fn the_server_is_left_out_where_there_is_one() {
    let mut rows = vec![account(b"app", "h"); 3];
    let mut out = Vec::new();
    let mut print = |rows: &[AccountUse], limit| {
        out.clear();
        let feed =
            |row: &mut dyn FnMut(AccountUse) -> Result<()>| rows.iter().cloned().try_for_each(row);
        let printed = super::print(&terminal(80), limit, &mut out, feed).unwrap();
        (printed, String::from_utf8_lossy(&out).into_owned())
    };
    let (printed, text) = print(&rows, 9);
    assert_eq!(printed.common, [("server", "db1".to_owned())]);
    assert!(text.starts_with("name  host"), "{text}");
    // A row that is not shown counts.
    rows[2].server = "db2".into();
    let (printed, text) = print(&rows, 2);
    assert_eq!((printed.rows, printed.shown), (3, 2));
    assert_eq!(printed.common, []);
    assert!(text.starts_with("server  name"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_long_name_is_cut_on_a_terminal_only() {
    let long = "n".repeat(400);
    let rows = [account(long.as_bytes(), &"h".repeat(60)), hardly_seen()];
    let narrow = printed(Table, &terminal(80), &rows);
    for line in narrow.lines() {
        assert!(layout::width_of(line) <= 80, "{narrow}");
    }
    assert!(
        narrow.contains("nn…  hh") && narrow.contains("hh…  150 d ago"),
        "{narrow}"
    );
    assert!(printed(Table, &look(), &rows).contains(&long));
}

proptest! {
    /// Whoever chooses a name can neither move a figure out of sight nor out of its column.
    #[test]
    fn every_line_fits_and_every_figure_is_whole(
        rows in proptest::collection::vec((any::<Vec<u8>>(), "\\PC{0,70}", any::<u64>()), 1..5),
        width in 90_u16..200,
    ) {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(name, host, connects)| AccountUse { connects, ..account(&name, &host) })
            .collect();
        let text = printed(Table, &terminal(width), &rows);
        prop_assert_eq!(text.lines().count(), rows.len() + 1);
        for line in text.lines() {
            prop_assert!(layout::width_of(line) <= usize::from(width), "{}", text);
        }
        for (line, row) in text.lines().skip(1).zip(&rows) {
            let figure = format!(" {}", row.connects);
            prop_assert!(line.ends_with(&figure), "{}", text);
        }
    }
}

#[test]
fn rows_that_stand_for_many_say_so() {
    let rows = [
        failure(Some("root"), Some("10.0.0.9")),
        failure(None, Some("h")),
        failure(None, None),
    ];
    assert_eq!(
        printed(Table, &look(), &rows),
        "\
server  name           host           code  first seen                            last seen                             attempts
db1     root           10.0.0.9       1045  2026-11-22 20:43:01 +01:00 (0 s ago)  2026-11-22 20:43:01 +01:00 (0 s ago)         3
db1     (other names)  h                 -  2026-11-22 20:43:01 +01:00 (0 s ago)  2026-11-22 20:43:01 +01:00 (0 s ago)         3
db1     (other names)  (other hosts)     -  2026-11-22 20:43:01 +01:00 (0 s ago)  2026-11-22 20:43:01 +01:00 (0 s ago)         3
"
    );
}

#[test]
fn words_stand_below_a_row_that_has_no_room_for_them() {
    let rows = [crate::store::Doubtful {
        why: "it stands where a client that was refused wrote it".into(),
        ..doubtful()
    }];
    assert_eq!(
        printed(Table, &terminal(80), &rows),
        "\
name  host       time  connectionid  why                            from  offset
root  localhost  -                7  it stands where a client that  -       1234
                                     was refused wrote it
    /var/log/a\\u{202e}.log
"
    );
    let nothing_to_say = crate::store::Doubtful {
        why: String::new(),
        ..rows[0].clone()
    };
    let rows = [rows[0].clone(), nothing_to_say];
    let narrow = printed(Table, &terminal(66), &rows);
    assert!(
        narrow.lines().all(|line| !line.trim().is_empty()),
        "{narrow}"
    );
    assert!(
        narrow.contains("\n    it stands where a client"),
        "{narrow}"
    );
}

#[test]
fn a_name_cannot_forge_a_line_or_act_on_a_terminal() {
    let row = account(b"a\ndb1  root\x1b[2J\xe2\x80\xae\xff", "h");
    for look in [look(), terminal(120)] {
        let text = printed(Table, &look, std::slice::from_ref(&row));
        assert_eq!(text.lines().count(), 2);
        let shown = "a\\ndb1  root\\x1b[2J\\u{202e}\\xff";
        assert!(text.contains(shown), "{text}");
    }
    assert!(printed(Table, &look(), &[doubtful()]).contains("/var/log/a\\u{202e}.log"));
}

#[test]
fn nothing_is_printed_of_nothing() {
    assert_eq!(printed::<AccountUse>(Table, &look(), &[]), "");
}

#[test]
fn colours_do_not_move_a_column() {
    let rows = [hardly_seen(), account(b"app", "h")];
    let look = Look {
        colour: true,
        ..look()
    };
    let coloured = printed(Table, &look, &rows);
    assert!(coloured.contains("\x1b[2m-\x1b[0m"), "{coloured:?}");
    let mut plain = coloured;
    for style in [BOLD, DIM, RESET] {
        plain = plain.replace(style, "");
    }
    let without = Look {
        colour: false,
        ..look
    };
    assert_eq!(plain, printed(Table, &without, &rows));
}

#[test]
fn a_time_to_come_is_not_ago() {
    let then = UtcSeconds(NOW.0 + 3_600);
    assert_eq!(age(then, NOW, Span::in_words), "in 1 h");
    assert_eq!(age(NOW, NOW, Span::in_short), "0 s ago");
}
