//! Attacks and honest logs, as lines and what becomes of each.

use super::*;

/// Notes what becomes of each line, in the order of the verdicts.
#[derive(Default)]
struct Notes(Vec<(u64, &'static str)>);

impl Sink for Notes {
    fn line(&mut self, _: &[u8], place: Place, verdict: Verdict<'_>, _: Option<&Whole>) {
        self.0.push((
            place.offset,
            match verdict {
                Verdict::Believed(_) => "believed",
                Verdict::Doubtful(..) | Verdict::DoubtfulAfterAll(..) => "doubtful",
                Verdict::Explained => "explained",
                Verdict::Malformed => "malformed",
            },
        ));
    }

    fn withdraw(&mut self, _: &[u8], place: Place, _: &Record) {
        self.0.push((place.offset, "withdrawn"));
    }
}

/// Judges a log written with a mark before each line: `+` believed, `-` doubtful, `.` part of a
/// name, `?` malformed, `_` still waiting or set aside and not told. Tried whole, and with a run
/// that ends after each line.
#[track_caller]
fn judges(marked: &str) {
    judges_in(&Zone::UTC, marked);
}

#[track_caller]
fn judges_in(zone: &Zone, marked: &str) {
    let lines: Vec<(char, &str)> = marked
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty())
        .map(|line| (line.chars().next().unwrap(), &line[1..]))
        .collect();
    for stop_after_each in [false, true] {
        let verdicts = run(zone, &lines, stop_after_each);
        let found: Vec<(char, &str)> = verdicts
            .into_iter()
            .zip(&lines)
            .map(|(found, (_, line))| (found, *line))
            .collect();
        let show = |lines: &[(char, &str)]| {
            lines
                .iter()
                .map(|(mark, line)| format!("{mark}{line}\n"))
                .collect::<String>()
        };
        assert!(
            found == lines,
            "a run after each line: {stop_after_each}\nexpected:\n{}found:\n{}",
            show(&lines),
            show(&found)
        );
    }
}

fn run(zone: &Zone, lines: &[(char, &str)], stop_after_each: bool) -> Vec<char> {
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new()).in_zone(*zone);
    let mut offsets = Vec::new();
    let mut offset = 0;
    let files = vec![String::from("log")];
    for (at, (_, line)) in lines.iter().enumerate() {
        offsets.push(offset);
        trust.push(line.as_bytes(), Place { file: 0, offset }, &mut notes);
        offset += line.len() as u64 + 1;
        // A payload is written at once: no run ends within one.
        let inside = lines.get(at + 1).is_some_and(|(_, next)| {
            lines[at].0 == '.' || *next == "y,192.0.2.66,6,0,FAILED_CONNECT,,,1045"
        });
        if stop_after_each && !inside && lines[at].0 == '+' {
            trust.finish(false, false, &mut notes);
            trust = reopen(&trust, &files).in_zone(*zone);
        }
    }
    trust.finish(false, true, &mut notes);
    if !stop_after_each {
        for (offset, told) in &notes.0 {
            let before = notes.0.iter().find(|(at, _)| at == offset);
            assert!(
                *told != "doubtful" || before == Some(&(*offset, "doubtful")),
                "believed at first: byte {offset}"
            );
        }
    }
    offsets
        .into_iter()
        .map(|offset| {
            match notes
                .0
                .iter()
                .rfind(|(at, _)| *at == offset)
                .map(|(_, verdict)| *verdict)
            {
                Some("believed") => '+',
                Some("doubtful") => '-',
                Some("explained") => '.',
                Some("malformed") => '?',
                _ => '_',
            }
        })
        .collect()
}

/// What the next run begins with.
fn reopen(trust: &Trust, files: &[String]) -> Trust {
    let mut next = Trust::new(trust.serverhost().cloned(), trust.aside(files));
    for pending in trust.pending(files) {
        let place = Place {
            file: 0,
            offset: pending.offset,
        };
        next.resume(pending, place);
    }
    next
}

const HONEST: &str = "
    +20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,shop,,0
    +20261122 19:04:50,db1,app,10.1.2.3,3,0,DISCONNECT,shop,,0
";

#[test]
fn an_honest_log_is_believed() {
    judges(
        "+20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,shop,,0
         +20261122 19:04:50,db1,load1,10.1.2.3,5,0,FAILED_CONNECT,,,1045
         +20261122 19:04:50,db1,load2,10.1.2.3,6,0,FAILED_CONNECT,,,1045
         +20261122 19:04:50,db1,a,10.1.2.3,7,0,CONNECT,,,0
         +20261122 19:04:51,db1,load2,10.1.2.3,6,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,load1,10.1.2.3,5,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,,,0,0,DISCONNECT,,,1040
         +20261122 19:04:51,db1,,,0,0,DISCONNECT,,,1040
         +20261122 19:04:51,db1,a,10.1.2.3,7,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,app,10.1.2.3,3,0,DISCONNECT,shop,,0
         +20261122 19:04:40,db1,root,localhost,4,11,QUERY,mysql,'SELECT SLEEP(10)',0",
    );
}

#[test]
fn a_restart_that_counts_ids_anew_is_believed() {
    judges(
        "+20261122 19:04:50,db1,,localhost,3,0,FAILED_CONNECT,,,1158
         +20261122 19:04:50,db1,,localhost,3,0,DISCONNECT,,,0
         +20261122 19:04:50,db1,root,localhost,4,0,CONNECT,,,0
         +20261122 19:04:52,db1,,localhost,3,0,FAILED_CONNECT,,,1158
         +20261122 19:04:52,db1,,localhost,3,0,DISCONNECT,,,0
         +20261122 19:04:52,db1,app,10.1.2.3,4,0,CONNECT,,,0
         +20261122 19:04:52,db1,app,10.1.2.3,4,0,DISCONNECT,,,0",
    );
}

#[test]
fn one_line_break_in_a_refused_name() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:52,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn two_line_breaks_leave_fragments() {
    judges(&format!(
        "{HONEST}
         .20261122 19:04:51,db1,x
         -20261122 10:00:00,db1,root2,localhost,99,0,CONNECT,,,0
         +y,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         .20261122 19:04:51,db1,x
         -20261122 10:00:00,db1,root2,localhost,99,0,CONNECT,,,0
         +y,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn several_forged_records_in_one_name() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,r,h,9,0,CONNECT,,,0
         -20261122 19:04:51,db1,r,h,9,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,r,h,9,0,CONNECT,,,0
         -20261122 19:04:51,db1,r,h,9,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn an_innocent_address_is_not_blamed() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root,198.51.100.1,9,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root,198.51.100.1,9,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_refused_change_of_user_writes_its_name_once() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CHANGEUSER,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn an_honest_login_before_a_refused_change_of_user_is_found_genuine() {
    judges(
        "+20261122 19:04:50,db1,alice,127.0.0.1,9,0,CONNECT,,,0
         +20261122 19:04:50,db1,bob,127.0.0.1,9,0,CHANGEUSER,,,1045
         +20261122 19:04:53,db1,alice,127.0.0.1,9,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_name_that_is_damaged_in_one_of_two_records() {
    // 33 characters of four bytes fill the 132 bytes that FAILED_CONNECT shows.
    let filler = "\u{1f600}".repeat(33);
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,{filler}w,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,{filler},h,9,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root2,h,99,0,CONNECT,,,0
         -20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_database_name_writes_behind_both_records() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,CONNECT,,,0
         -20261122 19:04:51,db1,root,::1,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root,::1,99,0,CONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn an_anonymous_account_lets_such_a_name_in() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:52,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn commas_in_a_name_make_no_login() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0,192.0.2.66,6,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,192.0.2.66,8,0,CONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_renamed_server_is_believed_and_a_foreign_one_is_not() {
    judges(
        "+20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,shop,,0
         -20261122 19:04:50,db2,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:50,db1,app,10.1.2.3,3,0,DISCONNECT,shop,,0
         +20261122 19:05:50,db3,app,10.1.2.3,3,0,CONNECT,shop,,0
         +20261122 19:05:50,db3,app,10.1.2.3,3,0,DISCONNECT,shop,,0
         +20261122 19:05:50,db3,app,10.1.2.3,4,0,CONNECT,shop,,0",
    );
}

#[test]
fn what_a_full_disk_leaves_is_believed_if_the_connection_goes_on() {
    judges(
        "+20261122 19:04:50,db1,alice,192.0.2.66,75,0,CONNECT,,,0
         +20261122 19:04:50,db1,alice,192.0.2.620261122 19:04:59,db1,bob,192.0.2.66,95,0,CONNECT,,,0
         +20261122 19:04:59,db1,bob,192.0.2.66,95,0,DISCONNECT,,,0
         -20261122 19:04:59,db1,alice,192.020261122 19:05:59,db1,eve,192.0.2.66,97,0,CONNECT,,,0",
    );
}

#[test]
fn a_forged_record_may_bear_the_id_of_its_own_connection() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,6,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:52,db1,root2,localhost,6,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,CONNECT,,,0
         -20261122 19:04:51,db1,root,::1,7,0,CONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root,::1,7,0,CONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_change_into_an_anonymous_account_writes_its_name_once() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,,,0
         +20261122 19:04:51,db1,,,6,0,CHANGEUSER,,,0
         -20261122 19:04:51,db1,root2,l,9,0,CONNECT,,,0
         -20261122 19:04:51,db1,root2,l,9,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_forged_beginning_of_its_own_connection_vouches_for_nothing() {
    // Id, user and host of the attacker's own connection, before and behind its refusal.
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,9,0,CONNECT,,,0
         +20261122 19:04:51,db1,,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,9,0,CONNECT,,,0
         +20261122 19:04:51,db1,,192.0.2.66,6,0,DISCONNECT,,,0
         -20261122 19:04:52,db1,root2,192.0.2.66,7,0,CONNECT,,,0
         +20261122 19:04:52,db1,root2,192.0.2.66,7,0,FAILED_CONNECT,,,1045
         -20261122 19:04:52,db1,root2,192.0.2.66,7,0,CONNECT,,,0
         +20261122 19:04:52,db1,root2,192.0.2.66,7,0,DISCONNECT,,,0
         -20261122 19:04:53,db1,x,192.0.2.66,8,0,FAILED_CONNECT,,,1045
         +20261122 19:04:53,db1,x,192.0.2.66,8,0,FAILED_CONNECT,,,1045
         -20261122 19:04:53,db1,x,192.0.2.66,8,0,FAILED_CONNECT,,,1045
         +20261122 19:04:53,db1,x,192.0.2.66,8,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn forged_records_of_two_connections_do_not_vouch_for_each_other() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,guest,192.0.2.66,6,0,CHANGEUSER,,,0
         -20261122 19:04:51,db1,root2,localhost,6,0,CONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CHANGEUSER,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.67,7,0,CONNECT,,,0
         -20261122 19:04:51,db1,guest,192.0.2.67,7,0,CHANGEUSER,,,0
         -20261122 19:04:51,db1,root2,localhost,6,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.67,7,0,CHANGEUSER,,,1045"
    ));
}

#[test]
fn a_refusal_of_the_same_id_contradicts_a_login() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,5,0,CONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CHANGEUSER,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,DISCONNECT,,,0
         +20261122 19:04:52,db1,root2,localhost,5,0,FAILED_CONNECT,,,1045
         +20261122 19:04:52,db1,root2,localhost,5,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_name_appended_to_a_torn_record_vouches_for_nothing() {
    judges(&format!(
        "{HONEST}
         -2026120261122 19:04:51,db1,x,192.0.2.66,6,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,9,0,CONNECT,,,0
         -20261122 19:04:51,db1,y,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

// --- Found by fuzzing (fuzz/, target trust).

#[test]
fn a_name_that_puts_its_own_end_in_doubt_hides_nothing() {
    // The last line of the payload names another server: the genuine end looks foreign.
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         -20261122 19:04:51,db9,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         -20261122 19:04:51,db9,m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         .20261122 18:00:00,db9,x
         +m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         .20261122 18:00:00,db9,x
         +m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_payload_with_a_refused_login_of_its_own_connection() {
    // The server tells a client its connection's id before it asks for a name.
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         -20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         -20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_damaged_name_behind_a_forged_login() {
    // FAILED_CONNECT shows 132 bytes, which end within the second line of the name.
    let filler = "\u{1f600}".repeat(26);
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,\u{1f600}w,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         ?20261122 19:04:51,db1,{filler}
         -20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_statement_without_head_is_not_believed() {
    judges(
        "?20261122 19:04:51,db1,x
         -root,localhost,4,9,QUERY,,'SET GLOBAL server_audit_logging=OFF',0
         ?20261122 19:04:51,db1,
         -,,4,0,CHANGEUSER,,,0",
    );
}

#[test]
fn lives_that_go_alike_are_believed() {
    judges(
        "+20261122 22:14:53,vm,app,127.0.0.7,5,0,CONNECT,,,0
         +20261122 22:14:53,vm,report,127.0.0.8,6,0,CONNECT,,,0
         +20261122 22:14:53,vm,report,127.0.0.8,6,0,DISCONNECT,,,0
         +20261122 22:14:53,vm,root,localhost,3,0,CONNECT,,,0
         +20261122 22:14:53,vm,root,localhost,3,0,DISCONNECT,,,0
         +20261122 22:14:53,vm,app,127.0.0.7,5,0,CONNECT,,,0
         +20261122 22:14:53,vm,report,127.0.0.8,6,0,CONNECT,,,0
         +20261122 22:14:53,vm,report,127.0.0.8,6,0,DISCONNECT,,,0
         +20261122 22:14:53,vm,app,127.0.0.7,5,0,DISCONNECT,,,0
         +20261122 22:14:53,vm,root,localhost,3,0,CONNECT,,,0
         +20261122 22:14:53,vm,app,127.0.0.7,5,0,CONNECT,,,0
         +20261122 22:14:53,vm,report,127.0.0.8,6,0,CONNECT,,,0
         +20261122 22:14:53,vm,report,127.0.0.8,6,0,DISCONNECT,,,0
         +20261122 22:14:53,vm,root,localhost,3,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_forged_end_is_not_begun_by_its_copy() {
    // FAILED_CONNECT shows 132 bytes, which end within the third line of the name.
    let filler = "\u{1f600}".repeat(20);
    judges(&format!(
        "-20261122 19:04:51,db1,root,localhost,9,0,DISCONNECT,,,0
         .{filler}
         -\u{1f600}w,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root,localhost,9,0,DISCONNECT,,,0
         ?{filler}
         .{filler}
         -,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn what_leaves_the_queue_is_forgotten_and_judged_on() {
    // Much more than the window and the arena's bound, then an attack.
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let mut offset = 0;
    let mut push = |trust: &mut Trust, notes: &mut Notes, line: &str| {
        trust.push(line.as_bytes(), Place { file: 0, offset }, notes);
        offset += line.len() as u64 + 1;
    };
    for id in 0..3_000 {
        let line = format!("20261122 19:04:50,db1,app,10.1.2.3,{id},0,CONNECT,shop,,0");
        push(&mut trust, &mut notes, &line);
        let waiting = trust.pending(&[]);
        assert!(waiting.len() < 60, "{} lines are kept", waiting.len());
        assert!(notes.0.len() + 60 > id, "only {} verdicts", notes.0.len());
    }
    let before = notes.0.len();
    push(
        &mut trust,
        &mut notes,
        "20261122 19:04:51,db1,r,h,9999,0,CONNECT,,,0",
    );
    push(
        &mut trust,
        &mut notes,
        "20261122 19:04:51,db1,m,i,6,0,FAILED_CONNECT,,,1045",
    );
    push(
        &mut trust,
        &mut notes,
        "20261122 19:04:51,db1,r,h,9999,0,CONNECT,,,0",
    );
    push(
        &mut trust,
        &mut notes,
        "20261122 19:04:51,db1,m,i,6,0,DISCONNECT,,,0",
    );
    trust.finish(false, false, &mut notes);
    assert!(notes.0[..3_000].iter().all(|(_, told)| *told == "believed"));
    assert!(before <= 3_000 && notes.0.len() == 3_004);
    let told: Vec<_> = notes.0[3_000..].iter().map(|(_, told)| *told).collect();
    assert_eq!(told, ["doubtful", "believed", "doubtful", "believed"]);
}

#[test]
fn a_run_that_may_end_within_a_record_keeps_what_can_be_a_part_of_it() {
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let lines = [
        "20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,shop,,0",
        "20261122 19:04:50,db1,app,10.1.2.3,4,0,CONNECT,shop,,0",
        "20261122 19:04:50,db1,app,10.1.2.3,5,0,CONNECT,shop,,0",
        "20261122 19:04:51,db1,root,localhost,99,0,CONNECT,,,0",
    ];
    for (at, line) in lines.iter().enumerate() {
        let place = Place {
            file: 0,
            offset: at as u64 * 1_000,
        };
        trust.push(line.as_bytes(), place, &mut notes);
    }
    // None is adjacent to the one before: only the last can be the beginning of a name.
    trust.finish(true, false, &mut notes);
    assert_eq!(notes.0.len(), 3);
    trust.finish(true, true, &mut notes);
    assert_eq!(notes.0.len(), 4);
}

#[test]
fn a_refused_login_of_its_own_connection_within_the_name() {
    judges(
        "-20261122 19:04:51,db1,root2,localhost,3,0,CONNECT,,,0
         -m,192.0.2.66,3,0,FAILED_CONNECT,,,1045
         -m,192.0.2.66,3,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,3,0,CONNECT,,,0
         -m,192.0.2.66,3,0,FAILED_CONNECT,,,1045
         +m,192.0.2.66,3,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_damaged_name_of_several_lines_is_compared_exactly() {
    // FAILED_CONNECT shows 132 bytes, 21 characters of the second line, and the low byte of the
    // length (290), which is a quotation mark.
    let (shown, whole) = ("\u{1f600}".repeat(21), "\u{1f600}".repeat(54));
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root22,hi,9,7,QUERY,,'',0
         +20261122 19:04:51,db1,{shown}\",192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root22,hi,9,7,QUERY,,'',0
         .20261122 19:04:51,db1,{whole}
         -,,6,0,CHANGEUSER,,,0
         +abcd,192.0.2.66,6,0,DISCONNECT,,,0
         {HONEST}"
    ));
    // Where it shows another second line it is another name.
    let shown = "\u{1f601}".repeat(21);
    judges(&format!(
        "+20261122 19:04:51,db1,root22,hi,9,7,QUERY,,'',0
         +20261122 19:04:51,db1,{shown}\",192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root22,hi,9,7,QUERY,,'',0
         ?20261122 19:04:51,db1,{whole}
         -,,6,0,CHANGEUSER,,,0
         -abcd,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_run_that_ends_while_a_renamed_server_refuses_doubts_nothing() {
    judges(
        "+20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,,,0
         +20261122 19:04:50,db2,app,10.1.2.3,3,0,FAILED_CONNECT,,,1045
         +20261122 19:04:50,db2,app,10.1.2.3,4,0,CONNECT,,,0
         +20261122 19:04:50,db2,app,10.1.2.3,5,0,CONNECT,,,0
         +20261122 19:04:50,db2,app,10.1.2.3,3,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_client_that_makes_its_own_refusal_look_forged() {
    judges(
        "-20261122 19:04:51,db1,m,192.0.2.66,4,0,FAILED_CONNECT,,,1045
         -root2,localhost,3,0,CONNECT,,,0
         +,192.0.2.66,3,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,app,10.1.2.3,3,7,QUERY,,'',0
         .20261122 19:04:51,db1,x
         -m,192.0.2.66,4,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,app,10.1.2.3,3,7,QUERY,,'',0
         .20261122 19:04:51,db1,x
         +m,192.0.2.66,4,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_new_name_that_holds_a_beginning_of_its_own_connection() {
    judges(
        "+20261122 19:04:51,db1,guest,192.0.2.66,3,0,CONNECT,,,0
         -20261122 19:04:51,db1,,,3,0,CHANGEUSER,,,0
         .20261122 19:04:51,db1,y,
         -20261122 19:04:51,db1,root2,192.0.2.66,3,0,CONNECT,,,0
         ?x
         .y,
         -root2,192.0.2.66,3,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_login_of_an_open_connection_is_not_repeated() {
    // The end of alice's session vouches for her login, not for what repeats it.
    judges(
        "+20261122 19:04:51,db1,alice,10.1.2.3,3,0,CONNECT,,,0
         +20261122 19:04:51,db1,bob,10.1.2.3,4,0,CONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,5,0,CONNECT,,,0
         -20261122 19:04:51,db1,alice,10.1.2.3,3,0,CONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,5,0,CHANGEUSER,,,1045
         +20261122 19:04:52,db1,guest,192.0.2.66,5,0,DISCONNECT,,,0
         +20261122 19:04:52,db1,alice,10.1.2.3,3,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_refused_change_of_user_names_the_new_user_of_another_session() {
    judges(
        "+20261122 19:04:51,db1,guest,192.0.2.66,5,0,CONNECT,,,0
         +20261122 19:04:51,db1,,,5,0,CHANGEUSER,OOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOO,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root,localhost,5,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,x,192.0.2.66,6,0,CHANGEUSER,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_refused_login_does_not_end_twice() {
    // Its second end would look like that of a session.
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,root,localhost,5,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,root,localhost,5,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root,localhost,5,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,x,192.0.2.66,6,0,CHANGEUSER,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn an_anonymous_account_writes_such_a_name_before_each_statement() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,CONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,7,QUERY,,'SELECT 1',0"
    ));
}

#[test]
fn a_name_that_is_clipped_within_a_head_of_its_own() {
    // The line that ends in the refusal looks as if it began with a head, whose server is called d.
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,d,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,d,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_fragment_that_is_explained_explains_no_other() {
    let filler = "\u{1f600}".repeat(20);
    judges(&format!(
        "{HONEST}
         .20261122 19:04:51,db1,x
         .x
         -m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         ?{filler}
         -m,192.0.2.67,7,0,FAILED_CONNECT,,,1045
         .20261122 19:04:51,db1,x
         .x
         -m,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

/// A refusal whose name holds a login, then `between`, more of the log than anything looks back, and
/// the end of the refusal.
fn waits_through(between: &str) {
    let forged = "-20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0";
    let more: String = (10..70)
        .map(|id| format!("+20261122 19:04:51,db1,app,10.1.2.3,{id},0,CONNECT,shop,,0\n"))
        .collect();
    let lines = format!(
        "{forged}
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         {between}
         {more}{forged}
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0"
    );
    judges(&lines);
}

#[test]
fn a_time_in_a_name_ends_no_waiting() {
    // Long past, or to come.
    for time in ["20261121 19:04:51", "20261122 20:04:51"] {
        let forged = format!("-{time},db1,r,h,9,0,DISCONNECT,,,0");
        waits_through(&format!(
            "{forged}
             +20261122 19:04:51,db1,n,192.0.2.66,7,0,FAILED_CONNECT,,,1045
             {forged}
             +20261122 19:04:51,db1,n,192.0.2.66,7,0,DISCONNECT,,,0"
        ));
    }
}

// --- Found by mutation testing.

#[test]
fn each_reason_has_its_words() {
    let all = [
        Why::WrittenTwice,
        Why::Fragment,
        Why::Unended,
        Why::ChangeOfUser,
        Why::OtherName,
        Why::ChangedName,
        Why::DatabaseName,
        Why::TimeBackwards,
        Why::OtherServer,
        Why::TwoOperations,
        Why::Torn,
    ];
    for (at, why) in all.iter().enumerate() {
        assert!(why.text().len() > 20);
        assert!(all[..at].iter().all(|other| other.text() != why.text()));
    }
}

#[test]
fn what_stands_before_a_line_that_waits_is_kept() {
    // The login that the name repeats has long been believed when the refusal is given up.
    let more: String = (10..70)
        .map(|id| format!("+20261122 19:04:51,db1,app,10.1.2.3,{id},0,CONNECT,shop,,0\n"))
        .collect();
    judges(&format!(
        "{more}
         +20261122 19:04:51,db1,alice,10.1.2.3,4,0,CONNECT,,,0
         -20261122 19:04:51,db1,alice,10.1.2.3,4,0,CONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         {}
         +20261122 19:04:51,db1,alice,10.1.2.3,4,0,DISCONNECT,,,0",
        more.replace(",10.1.2.3,", ",10.1.2.3,1")
    ));
}

#[test]
fn a_fragment_at_the_beginning_of_the_log() {
    judges(
        ".20261122 19:04:51,db1,x
         -20261122 10:00:00,db1,root2,localhost,99,0,CONNECT,,,0
         +y,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         .20261122 19:04:51,db1,x
         -20261122 10:00:00,db1,root2,localhost,99,0,CONNECT,,,0
         +y,192.0.2.66,6,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_foreign_name_is_judged_by_a_later_run() {
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let mut push = |trust: &mut Trust, offset, server: &str| {
        let line = format!(
            "20261122 19:04:51,{server},root2,h,{},0,CONNECT,,,0",
            offset + 9
        );
        trust.push(line.as_bytes(), Place { file: 0, offset }, &mut notes);
        trust.finish(false, false, &mut notes);
    };
    push(&mut trust, 0, "db1");
    push(&mut trust, 100, "db2");
    trust = reopen(&trust, &[String::from("log")]);
    push(&mut trust, 200, "db1");
    assert_eq!(
        notes.0,
        [(0, "believed"), (100, "doubtful"), (200, "believed")]
    );
}

#[test]
fn a_refused_change_of_user_may_be_the_end_of_a_name() {
    let far = "o".repeat(64);
    judges(&format!(
        "+20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,{far},,0
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +y,192.0.2.66,6,0,CHANGEUSER,,,1045"
    ));
}

#[test]
fn a_name_is_known_as_a_whole() {
    struct Names(Vec<Whole>);
    impl Sink for Names {
        fn line(&mut self, _: &[u8], _: Place, _: Verdict<'_>, whole: Option<&Whole>) {
            self.0.extend(whole.cloned());
        }
        fn withdraw(&mut self, _: &[u8], _: Place, _: &Record) {}
    }
    let time = |line: &str| record::Head::of(line.as_bytes()).map(|head| head.time);
    let logs: [(&[&str], &[_]); 3] = [
        (
            &[
                "20261122 19:04:51,db1,x",
                "20261122 19:04:52,db1,z",
                "y,192.0.2.66,6,0,FAILED_CONNECT,,,1045",
                "20261122 19:04:53,db1,x",
                "a",
                "b,192.0.2.66,6,0,FAILED_CONNECT,,,1045",
            ],
            &[
                ("z\ny", time("20261122 19:04:52,db1,")),
                ("x\na\nb", time("20261122 19:04:53,db1,")),
            ],
        ),
        // It may begin with a whole record.
        (
            &[
                "20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0",
                "y,192.0.2.66,6,0,FAILED_CONNECT,,,1045",
            ],
            &[(
                "root2,localhost,99,0,CONNECT,,,0\ny",
                time("20261122 19:04:51,db1,"),
            )],
        ),
        // Before the log, too.
        (&["y,192.0.2.66,6,0,FAILED_CONNECT,,,1045"], &[("y", None)]),
    ];
    for (lines, expected) in logs {
        let mut names = Names(Vec::new());
        let mut trust = Trust::new(None, Vec::new());
        let mut offset = 0;
        for line in lines {
            trust.push(line.as_bytes(), Place { file: 0, offset }, &mut names);
            offset += line.len() as u64 + 1;
        }
        trust.finish(false, true, &mut names);
        let found = names.0.iter().map(|it| (&it.name[..], it.time));
        let expected = expected.iter().map(|(name, time)| (name.as_bytes(), *time));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_time_that_runs_backwards_may_be_a_part_of_a_name() {
    let far = "o".repeat(64);
    // Clocks are set back by an hour or half of one; records are a few seconds out of order.
    for (time, mark) in [
        ("19:04:50", '+'),
        ("19:04:49", '-'),
        ("18:05:10", '+'),
        ("18:05:11", '-'),
        ("18:04:50", '+'),
        ("18:04:49", '-'),
        ("18:35:00", '+'),
        ("19:05:20", '+'),
    ] {
        judges(&format!(
            "+20261122 19:05:00,db1,app,10.1.2.3,3,0,CONNECT,{far},,0
             {mark}20261122 19:05:00,db1,root2,localhost,99,0,CONNECT,,,0
             +20261122 {time},db1,m,192.0.2.66,6,0,DISCONNECT,,,0"
        ));
    }
    // From ten to three, autumn goes back to ten past two, and no further.
    for (zone, from, to, mark) in [
        ("Europe/Zurich", "02:50", "02:10", '+'),
        ("Europe/Zurich", "02:50", "01:55", '-'),
        ("Europe/Zurich", "03:25", "02:45", '-'),
        ("UTC", "02:50", "02:10", '-'),
    ] {
        judges_in(
            &Zone::parse(zone).unwrap(),
            &format!(
                "+20261025 {from}:00,db1,app,10.1.2.3,3,0,CONNECT,{far},,0
                 {mark}20261025 {from}:00,db1,root2,localhost,99,0,CONNECT,,,0
                 +20261025 {to}:00,db1,m,192.0.2.66,6,0,DISCONNECT,,,0"
            ),
        );
    }
}

#[test]
fn a_database_name_writes_several_lines() {
    judges(&format!(
        "{HONEST}
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,CONNECT,,,0
         -20261122 19:04:51,db1,r,h,9,0,CONNECT,,,0
         -20261122 19:04:51,db1,s,h,8,0,CONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,r,h,9,0,CONNECT,,,0
         -20261122 19:04:51,db1,s,h,8,0,CONNECT,,,0
         {HONEST}"
    ));
}

#[test]
fn a_server_is_renamed_when_more_is_written_than_a_name_can_hold() {
    // Two lines of so many characters, line ends included.
    for (len, mark) in [(63, '_'), (64, '+')] {
        let line = |len: usize| {
            let front = "20261122 19:04:50,db2,";
            let tail = ",10.1.2.3,3,0,CONNECT,,,0";
            format!(
                "{front}{}{tail}",
                "u".repeat(len - front.len() - tail.len())
            )
        };
        judges(&format!(
            "+20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,,,0
             {mark}{}
             {mark}{}",
            line(63),
            line(len)
        ));
    }
}

#[test]
fn a_refused_login_vouches_with_its_end_before_a_changed_name() {
    let far = "o".repeat(64);
    judges(&format!(
        "+20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,{far},,0
         +20261122 19:04:51,db1,,,6,0,CHANGEUSER,{far}{far},,0
         +20261122 19:04:51,db1,r,h,7,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,r,h,7,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
    judges(&format!(
        "+20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,{far},,0
         +20261122 19:04:51,db1,,,6,0,CHANGEUSER,{far}{far},,0
         -20261122 19:04:51,db1,r,h,7,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,s,h,7,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

/// How many verdicts there are behind a login, a refused login at `refused`, and so many more logins
/// at each of these times.
fn told_while_waiting(refused: &str, more: &[(&str, u64)]) -> usize {
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let mut offset = 0;
    let mut push = |line: String| {
        trust.push(line.as_bytes(), Place { file: 0, offset }, &mut notes);
        offset += line.len() as u64 + 1;
    };
    push("20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,,,0".into());
    push(format!(
        "20261122 {refused},db1,r,h,4,0,FAILED_CONNECT,,,1045"
    ));
    for (time, count) in more {
        for id in 0..*count {
            push(format!(
                "20261122 {time},db1,app,10.1.2.3,{id},0,CONNECT,,,0"
            ));
        }
    }
    trust.finish(false, false, &mut notes);
    notes.0.len()
}

#[test]
fn a_refused_login_is_waited_for_until_more_records_than_a_name_holds_are_late() {
    assert_eq!(told_while_waiting("19:04:51", &[("19:05:22", 11)]), 0);
    assert_eq!(told_while_waiting("19:04:51", &[("19:05:22", 12)]), 14);
    assert_eq!(told_while_waiting("19:04:51", &[("19:05:21", 99)]), 0);
    // Late in a row, for a name may hold the time of long ago.
    let between = [("19:05:22", 11), ("19:04:51", 1), ("19:05:22", 11)];
    assert_eq!(told_while_waiting("19:04:51", &between), 0);
    // A name may end in a head with a time to come, too.
    let earlier = [("19:04:51", 11), ("19:05:22", 12)];
    assert_eq!(told_while_waiting("20:04:51", &earlier), 0);
    let earlier = [("19:04:51", 12), ("19:05:22", 12)];
    assert_eq!(told_while_waiting("20:04:51", &earlier), 26);
    // What says the same time does not say that it was earlier.
    let same = [("19:04:51", 11), ("19:04:00", 1), ("19:04:40", 12)];
    assert_eq!(told_while_waiting("19:04:51", &same), 0);
}

#[test]
fn a_refused_login_without_anything_before_it_waits_for_nothing() {
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let line = b"20261122 19:04:51,db1,r,h,4,0,FAILED_CONNECT,,,1045";
    trust.push(line, Place { file: 0, offset: 0 }, &mut notes);
    trust.finish(false, false, &mut notes);
    assert_eq!(notes.0, [(0, "believed")]);
}

#[test]
fn a_refusal_that_began_on_an_earlier_line_has_an_end_that_does_not_tell_where() {
    let far = "o".repeat(64);
    judges(&format!(
        "+20261122 19:04:51,db1,app,10.1.2.3,3,0,CONNECT,{far},,0
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +y,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         +20261122 19:04:52,db1,y,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_forged_end_does_not_hide_the_beginning() {
    // Once where the forged end is known as such, and once where its own refusal still waits.
    let end = "20261122 19:04:51,db1,root,h,3,0,DISCONNECT,,,0";
    let (first, last) = (
        "-20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,3,0,FAILED_CONNECT,,,1045",
        "-20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,3,0,DISCONNECT,,,0",
    );
    judges(&format!(
        "{first}
         -{end}
         +20261122 19:04:51,db1,n,192.0.2.66,5,0,FAILED_CONNECT,,,1045
         -{end}
         +20261122 19:04:51,db1,n,192.0.2.66,5,0,DISCONNECT,,,0
         {last}"
    ));
    // He makes his own records look doubtful there.
    let (first, last) = (
        first.replace("+2026", "-2026"),
        last.replace("+2026", "-2026"),
    );
    judges(&format!(
        "{first}
         -{end}
         +20261122 19:04:51,db1,n,192.0.2.66,5,0,FAILED_CONNECT,,,1045
         {last}
         -{end}
         +20261122 19:04:51,db1,n,192.0.2.66,5,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_name_has_128_characters_and_no_more() {
    // All heads but the first are a part of it.
    for (more, mark) in [(0, '-'), (1, '+')] {
        let line = |id: usize, body: usize| {
            let tail = format!(",h,{id},0,CONNECT,,,0");
            let user = "\u{e9}".repeat(body - tail.len());
            format!("20261122 19:04:51,db1,{user}{tail}")
        };
        for lines in [
            vec![line(99, 98 + more)],
            vec![line(98, 26 + more), line(99, 49)],
        ] {
            let payload: String = (lines.iter().enumerate())
                .map(|(at, line)| {
                    let last = at + 1 == lines.len() && lines.len() > 1;
                    format!("{}{line}\n", if last { '-' } else { mark })
                })
                .collect();
            judges(&format!(
                "{HONEST}
                 {payload}+20261122 19:04:51,db1,mallory,192.0.2.66,6,0,FAILED_CONNECT,,,1045
                 {payload}+20261122 19:04:51,db1,mallory,192.0.2.66,6,0,DISCONNECT,,,0
                 {HONEST}"
            ));
        }
    }
}

#[test]
fn what_a_refused_login_may_have_written_begins_no_session() {
    // The refusal of m has not ended, so that nobody knows yet who wrote alice's login.
    let far = "o".repeat(64);
    judges(&format!(
        "-20261122 19:04:51,db1,alice,10.1.2.3,3,0,CONNECT,,,0
         +20261122 19:04:51,db1,m,192.0.2.66,4,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,{far},,0
         -20261122 19:04:51,db1,alice,10.1.2.3,3,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,x,192.0.2.66,6,0,CHANGEUSER,,,1045
         +20261122 19:04:51,db1,guest,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_line_is_judged_when_the_window_stands_behind_it() {
    // However long it is itself.
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let mut offset = 0;
    for (len, told) in [(1_500, 0), (1_000, 0), (1_044, 0), (1, 1)] {
        let line = "x".repeat(len);
        trust.push(line.as_bytes(), Place { file: 0, offset }, &mut notes);
        offset += len as u64 + 1;
        assert_eq!(notes.0.len(), told);
    }
}

#[test]
fn a_run_that_reads_nothing_keeps_nothing() {
    let mut notes = Notes::default();
    let mut trust = Trust::new(Some(Name::from("db1")), Vec::new());
    trust.finish(true, false, &mut notes);
    assert_eq!(trust.first_serverhost(), Some(&Name::from("db1")));
    assert!(notes.0.is_empty() && trust.pending(&[]).is_empty());
}

#[test]
fn a_record_that_is_set_aside_says_in_which_file_it_is() {
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    for (offset, line) in [
        (0, "20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0"),
        (
            55,
            "20261122 19:04:51,db1,x,192.0.2.66,6,0,CHANGEUSER,,,1045",
        ),
    ] {
        trust.push(line.as_bytes(), Place { file: 1, offset }, &mut notes);
    }
    trust.finish(false, false, &mut notes);
    let files = |names: [&str; 2]| names.map(String::from).to_vec();
    let aside = trust.aside(&files(["old", "log"]));
    assert_eq!(aside[0].file, "log");
    let later = Trust::new(None, aside);
    assert_eq!(later.aside(&files(["log", "new"]))[0].file, "log");
}

#[test]
fn a_question_reaches_as_far_as_a_name() {
    // A refused change of user, whose head is a part of the name, behind one login and behind two.
    let far = "o".repeat(64);
    for (more, mark) in [(0, '-'), (1, '+')] {
        let line = |id: usize, body: usize| {
            let tail = format!(",h,{id},0,CONNECT,,,0");
            let user = "\u{e9}".repeat(body - tail.len());
            format!("20261122 19:04:51,db1,{user}{tail}")
        };
        for lines in [
            format!("{mark}{}", line(99, 104 + more)),
            format!("{mark}{}\n-{}", line(98, 41 + more), line(99, 40)),
        ] {
            judges(&format!(
                "+20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,{far}{far},,0
                 {lines}
                 +20261122 19:04:51,db1,x,192.0.2.66,6,0,CHANGEUSER,,,1045"
            ));
        }
    }
}

#[test]
fn a_fragment_reaches_as_far_forward_as_a_name() {
    // The fragment before the login is explained, the one behind it is not.
    for (len, mark) in [(95, '-'), (96, '+')] {
        let filler = "\u{1f600}".repeat(len);
        judges(&format!(
            "{HONEST}
             .20261122 19:04:51,db1,x
             .x
             +m,192.0.2.66,6,0,FAILED_CONNECT,,,1045
             {mark}20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0
             ?{filler}
             -m,192.0.2.67,7,0,FAILED_CONNECT,,,1045
             .20261122 19:04:51,db1,x
             .x
             +m,192.0.2.66,6,0,DISCONNECT,,,0"
        ));
    }
}

#[test]
fn a_fragment_at_the_beginning_of_the_log_casts_doubt() {
    judges(
        "?20261122 19:04:51,db1,x
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0",
    );
    // Where the log begins in the middle of a name there is nothing to cast doubt on.
    judges("+y,192.0.2.66,6,0,DISCONNECT,,,0");
}

#[test]
fn the_end_of_a_session_is_no_name_of_its_database() {
    judges(
        "+20261122 19:04:51,db1,alice,127.0.0.1,7,0,CONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0",
    );
    // The login may be the first line of the log.
    judges(
        "+20261122 19:04:51,db1,alice,127.0.0.1,7,0,CONNECT,,,0
         -20261122 19:04:51,db1,root,::1,99,0,CONNECT,,,0
         +20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root,::1,99,0,CONNECT,,,0",
    );
}

#[test]
fn who_wrote_a_record_into_his_database_name_is_told() {
    struct From(Vec<Option<Name>>);
    impl Sink for From {
        fn line(&mut self, _: &[u8], _: Place, verdict: Verdict<'_>, _: Option<&Whole>) {
            if let Verdict::Doubtful(_, _, from) = verdict {
                self.0.push(from.cloned());
            }
        }
        fn withdraw(&mut self, _: &[u8], _: Place, _: &Record) {}
    }
    let mut from = From(Vec::new());
    let mut trust = Trust::new(None, Vec::new());
    let mut offset = 0;
    for line in [
        "20261122 19:04:51,db1,alice,127.0.0.1,7,0,CONNECT,,,0",
        "20261122 19:04:51,db1,root,::1,99,0,CONNECT,,,0",
        "20261122 19:04:51,db1,alice,127.0.0.1,7,0,DISCONNECT,,,0",
        "20261122 19:04:51,db1,root,::1,99,0,CONNECT,,,0",
    ] {
        trust.push(line.as_bytes(), Place { file: 0, offset }, &mut from);
        offset += line.len() as u64 + 1;
    }
    trust.finish(false, true, &mut from);
    assert_eq!(from.0, [(); 2].map(|()| Some(Name::from("127.0.0.1"))));
}

#[test]
fn one_line_renames_no_server_however_long() {
    let user = "u".repeat(130);
    judges(&format!(
        "+20261122 19:04:50,db1,app,10.1.2.3,3,0,CONNECT,,,0
         -20261122 19:04:50,db2,{user},10.1.2.3,4,0,CONNECT,,,0
         +20261122 19:04:50,db1,app,10.1.2.3,3,0,DISCONNECT,,,0"
    ));
}

#[test]
fn lines_without_a_server_keep_a_foreign_one_waiting_for_so_long() {
    // Each line is 1,024 bytes long with its end, and 64 of them are not too many.
    let mut notes = Notes::default();
    let mut trust = Trust::new(None, Vec::new());
    let [known, foreign] = ["db1", "db2"].map(|server| {
        let front = format!("20261122 19:04:50,{server},");
        format!("{front}{}", "o".repeat(1_023 - front.len()))
    });
    let without = "o".repeat(1_023);
    let lines = [&known, &foreign].into_iter().chain([&without; 65]);
    for (at, line) in lines.enumerate() {
        let offset = at as u64 * 1_024;
        trust.push(line.as_bytes(), Place { file: 0, offset }, &mut notes);
        assert_eq!(notes.0.len() > 1, at > 65, "{at}");
    }
}

#[test]
fn what_is_known_of_a_changed_user_is_what_the_change_explains() {
    let far = "o".repeat(64);
    let guest = format!("+20261122 19:04:51,db1,guest,192.0.2.66,6,0,CONNECT,{far},,0");
    let changed = format!("+20261122 19:04:51,db1,,,6,0,CHANGEUSER,{far}{far},,0");
    let end = "+20261122 19:04:51,db1,m,192.0.2.66,6,0,DISCONNECT,,,0";
    // The change itself, but not another one.
    judges(&format!(
        "{guest}
         +20261122 19:04:51,db1,,,6,0,CHANGEUSER,OO,,0
         {end}"
    ));
    judges(&format!(
        "{guest}
         {changed}
         -20261122 19:04:51,db1,,,7,0,CHANGEUSER,OO,,0
         {end}"
    ));
    // A refused login with its own end, but not with another one's.
    judges(&format!(
        "{guest}
         {changed}
         -20261122 19:04:51,db1,r,h,7,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,s,h,8,0,DISCONNECT,,,0
         {end}"
    ));
    // Not where a change of user is refused.
    judges(&format!(
        "{guest}
         -20261122 19:04:51,db1,r,h,7,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,r,h,7,0,DISCONNECT,,,0
         +20261122 19:04:51,db1,x,192.0.2.66,6,0,CHANGEUSER,,,1045"
    ));
}

#[test]
fn the_use_of_a_table_twice_is_no_name() {
    judges(
        "+20261122 19:04:51,db1,x,h,5,12,READ,db,t,
         +20261122 19:04:51,db1,a,h,6,0,CONNECT,,,0
         +20261122 19:04:51,db1,x,h,5,12,READ,db,t,
         +20261122 19:04:51,db1,a,h,6,13,READ,db,u,",
    );
}

#[test]
fn a_login_that_is_refused_twice_asks_about_what_stands_before() {
    judges(
        "-20261122 19:04:51,db1,root3,localhost,97,0,CONNECT,,,0
         +20261122 19:04:51,db1,x,192.0.2.66,8,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,x,192.0.2.66,8,0,FAILED_CONNECT,,,1045
         -20261122 19:04:51,db1,root2,localhost,98,0,CONNECT,,,0
         +20261122 19:04:51,db1,x,192.0.2.66,8,0,DISCONNECT,,,0",
    );
}

#[test]
fn a_forged_end_that_is_all_that_fits_does_not_hide_the_beginning() {
    let forged = "-20261122 19:04:51,db1,m,192.0.2.66,3,0,DISCONNECT,,,0
         -20261122 19:04:51,db1,root2,localhost,99,0,CONNECT,,,0";
    judges(&format!(
        "{forged}
         +20261122 19:04:51,db1,m,192.0.2.66,3,0,FAILED_CONNECT,,,1045
         {forged}
         +20261122 19:04:51,db1,m,192.0.2.66,3,0,DISCONNECT,,,0"
    ));
}

#[test]
fn refusals_beyond_the_limit_end_no_connection() {
    judges(&format!(
        "{HONEST}
         -20261122 19:04:51,db1,root2,localhost,0,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         +20261122 19:04:51,db1,,,0,0,DISCONNECT,,,1040
         -20261122 19:04:51,db1,root2,localhost,0,0,CONNECT,,,0
         +20261122 19:04:51,db1,mallory,192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn behind_a_torn_line_only_its_own_connection_goes_on() {
    for (id, mark) in [(95, '+'), (96, '-')] {
        judges(&format!(
            "+20261122 19:04:50,db1,a,192.0.2.620261122 19:04:59,db1,bob,192.0.2.66,95,0,CONNECT,,,0
             +20261122 19:04:59,db1,bob,192.0.2.66,95,0,DISCONNECT,,,0
             {mark}20261122 19:04:59,db1,bob,192.0.2.66,{id},0,DISCONNECT,,,0"
        ));
    }
}

#[test]
fn a_damaged_name_is_at_most_as_long_as_a_name() {
    // FAILED_CONNECT shows 132 bytes and the length: of the second line, or of a third.
    let shown = "\u{1f600}".repeat(33);
    for (more, length, between, mark) in [
        (93, '@', "", '.'),
        (94, 'B', "", '?'),
        (83, '6', "bbbbbbbbb", '.'),
        (84, '8', "bbbbbbbbb", '?'),
    ] {
        let whole = format!("{shown}{}", "\u{e9}".repeat(more));
        let end = if mark == '.' { '+' } else { '-' };
        let between = match between {
            "" => String::new(),
            _ => format!("{mark}{between}\n"),
        };
        judges(&format!(
            "{HONEST}
             +20261122 19:04:51,db1,{shown}{length},192.0.2.66,6,0,FAILED_CONNECT,,,1045
             {mark}20261122 19:04:51,db1,{whole}
             {between}{end}m,192.0.2.66,6,0,DISCONNECT,,,0"
        ));
    }
}

#[test]
fn a_damaged_name_has_a_head_and_its_own_beginning() {
    let (shown, more) = ("\u{1f600}".repeat(33), "\u{e9}".repeat(93));
    let other = "\u{1f601}".repeat(33);
    for whole in [
        format!("{shown}{more}"),
        format!("20261122 19:04:51,db1,{other}{more}"),
    ] {
        judges(&format!(
            "{HONEST}
             +20261122 19:04:51,db1,{shown}@,192.0.2.66,6,0,FAILED_CONNECT,,,1045
             ?{whole}
             -m,192.0.2.66,6,0,DISCONNECT,,,0"
        ));
    }
}

#[test]
fn a_name_of_64_bytes_is_whole() {
    let rest = "r".repeat(62);
    judges(&format!(
        "{HONEST}
         .20261122 19:04:51,db1,x
         +{rest}@,192.0.2.66,6,0,FAILED_CONNECT,,,1045
         .20261122 19:04:51,db1,x
         -{rest},192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}

#[test]
fn a_damaged_record_is_no_part_of_its_own_name() {
    // What stands behind the head of the refusal, and all up to the end of the other name, are as
    // long as the refusal says.
    let shown = "\u{1f600}".repeat(33);
    let tail = "0,192.0.2.66,6,0,FAILED_CONNECT,,,1045";
    let head = "20261122 19:04:51,db1,";
    let len = usize::from(b'0') + 256 - shown.len() - tail.len() - 1 - head.len();
    let name = ["\u{1f600}".repeat(len / 4), "m".repeat(len % 4)].concat();
    judges(&format!(
        "-{head}root2,localhost,99,0,CONNECT,,,0
         -{head}{shown}{tail}
         -{head}{name},192.0.2.66,6,0,DISCONNECT,,,0"
    ));
}
