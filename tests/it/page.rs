//! The page of `report --html` in a real browser: it tells what the other commands tell, sorts and
//! filters by click and by key, asks for nothing, and no name in it can act.

mod browser;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use self::browser::Page;
use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// Names that would like to act: on HTML, on a script, on an attribute, on the eye.
const HOSTILE: [&str; 8] = [
    "<script>window.owned = 1</script>",
    "</script><img src=x onerror=owned=2>",
    "</style></table><svg/onload=owned=3>",
    "\" onmouseover=owned=4 autofocus onfocus=owned=4 x=\"",
    "' style='background:url(//evil.example)",
    "javascript:owned=5//{{7*7}}&lt;&#60;",
    "a\u{202e}gnp.\u{200b}exe\u{9b}",
    "<a href=javascript:owned=6>x</a>",
];

/// What the log says of a login, `hours` ago.
fn session(hours: i64, name: &[u8], host: &str, id: u32) -> Vec<u8> {
    let at = (Utc::now() - TimeDelta::hours(hours)).format("%Y%m%d %H:%M:%S");
    let line = |what| {
        let before = format!("{at},db1,").into_bytes();
        [
            &before[..],
            name,
            format!(",{host},{id},0,{what},,,0\n").as_bytes(),
        ]
        .concat()
    };
    [line("CONNECT"), line("DISCONNECT")].concat()
}

fn refusal(hours: i64, name: &[u8], host: &str, id: u32) -> Vec<u8> {
    let text = session(hours, name, host, id);
    let at = text.windows(8).position(|part| part == b",CONNECT");
    let at = at.expect("a login");
    let mut text = [&text[..at], b",FAILED_CONNECT", &text[at + 8..]].concat();
    let end = text
        .windows(4)
        .position(|part| part == b",,0\n")
        .expect("its code");
    text.splice(end + 2..end + 3, *b"1045");
    text
}

/// A log with hostile names, and others; read already.
fn hostile_log() -> TestEnv {
    let env = TestEnv::new();
    let mut log = Vec::new();
    for (id, name) in (10..).zip(HOSTILE) {
        log.extend(session(60 - i64::from(id), name.as_bytes(), "10.0.0.1", id));
    }
    log.extend(session(30, b"bad\xff<b>", "10.0.0.2", 40));
    for (id, name) in (50..).zip(HOSTILE) {
        log.extend(refusal(20, name.as_bytes(), "203.0.113.9", id));
    }
    for id in 60..70 {
        log.extend(session(
            70 - i64::from(id),
            format!("app{id}").as_bytes(),
            "10.0.0.3",
            id,
        ));
    }
    fs::write(env.log_path(), log).expect("a log");
    env.collect();
    env
}

/// The page of `env`, which is not asked for by a server: it tells so (3).
fn page_without_server(env: &TestEnv) -> Page {
    let path = env.path("page.html");
    let args = [
        "report",
        "--html",
        path.to_str().expect("a path"),
        "--socket",
        "/nowhere/sock",
    ];
    let log = env.log_path().to_str().expect("a path");
    let more = [
        "--audit-log",
        log,
        "--time-zone",
        "Europe/Zurich",
        "--server-name",
        "db1",
    ];
    env.run(&[&args[..], &more].concat())
        .exits_with(3)
        .complains("/nowhere/sock");
    let mode = fs::metadata(&path).expect("the page").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others must not read it");
    Page::open(&path)
}

/// Text, times and numbers of the rows of a table that can be seen.
const ROWS: &str = "(table) => [...document.querySelectorAll(`#${table} tbody tr`)]
    .filter((row) => !row.hidden)
    .map((row) => [...row.cells].map((cell) => {
        const time = cell.querySelector('time');
        return time ? time.dateTime : cell.querySelector('i') ? null : cell.textContent;
    }))";

fn rows(page: &Page, table: &str) -> Vec<Vec<Value>> {
    let rows = page.value(&format!("({ROWS})('{table}')"));
    serde_json::from_value(rows).expect("rows")
}

fn column(page: &Page, table: &str, number: usize) -> Vec<Value> {
    let rows = rows(page, table);
    rows.into_iter()
        .map(|mut row| row.swap_remove(number))
        .collect()
}

/// A name as people see it.
fn shown(name: &str) -> String {
    let name = name
        .replace('\u{202e}', "\\u{202e}")
        .replace('\u{200b}', "\\u{200b}");
    name.replace('\u{9b}', "\\u{9b}")
}

#[test]
fn the_page_tells_what_accounts_tells_and_no_name_acts() {
    let env = hostile_log();
    let page = page_without_server(&env);
    let expected: Vec<_> = env
        .accounts()
        .iter()
        .map(|row| {
            vec![
                json!(shown(row["name"].as_str().expect("a name"))),
                row["host"].clone(),
                row["first_seen"].clone(),
                row["last_seen"].clone(),
                row["last_active"].clone(),
                json!(row["connects"].to_string()),
            ]
        })
        .collect();
    let mut told = rows(&page, "clients-t");
    told.iter_mut().for_each(|row| row.truncate(6));
    assert_eq!(told, expected);
    assert_eq!(told.len(), HOSTILE.len() + 11);

    // A day is sorted as a day.
    page.run("document.querySelector('#rhythm details').open = true");
    page.click("#rhythm .sortable th button");
    page.click("#rhythm .sortable th button");
    let days = page.value("[...document.querySelectorAll('#rhythm .sortable tbody th')].map((day) => day.textContent)");
    let days: Vec<String> = serde_json::from_value(days).expect("days");
    assert!(
        days.len() > 2 && days.is_sorted_by(|a, b| a > b),
        "{days:?}"
    );

    // All refusals came from one source.
    let refused = page.value("document.querySelector('#failures tbody').textContent");
    let refused = refused.as_str().expect("text").trim();
    assert!(refused.starts_with("203.0.113.98"), "{refused}");
    assert!(refused.contains(HOSTILE[3]), "{refused}");
    let week = page.value(
        "[...document.querySelectorAll('.week data')].reduce((sum, cell) => sum + +cell.value, 0)",
    );
    assert_eq!(week, json!(HOSTILE.len() + 11));
    let times = page.value("document.querySelector('#clients-t time').title");
    assert!(
        times.as_str().is_some_and(|title| title.ends_with(" UTC")),
        "{times}"
    );

    // Nothing of a name has become part of the page.
    page.run(
        "for (const one of document.querySelectorAll('*')) {
        for (const type of ['mouseover', 'focus', 'error']) one.dispatchEvent(new Event(type));
    }",
    );
    let facts = page.value(
        "({ owned: window.owned ?? null, scripts: document.scripts.length, images: document.images.length,
            bold: document.querySelectorAll('td b, th b').length,
            away: [...document.querySelectorAll('[href], [src]')]
                .filter((one) => !one.getAttribute('href')?.startsWith('#')).length,
            on: [...document.querySelectorAll('*')]
                .filter((one) => [...one.attributes].some((a) => /^(on|style)/.test(a.name))).length })",
    );
    let nothing = json!({"owned": null, "scripts": 1, "images": 0, "bold": 0, "away": 0, "on": 0});
    assert_eq!(facts, nothing);
    page.asked_for_nothing_and_has_no_errors();
}

#[test]
fn should_a_script_get_into_the_page_it_would_not_run() {
    let env = hostile_log();
    let path = env.path("page.html");
    page_without_server(&env);
    let html = fs::read_to_string(&path).expect("the page");
    let with = html.replace(
        "<main>",
        "<main><script>owned = 1</script><img src=//evil.example onerror=owned=2>",
    );
    fs::write(&path, with).expect("the page");
    let page = Page::open(&path);
    assert_eq!(page.value("window.owned ?? null"), Value::Null);
    // Our own does.
    assert_eq!(
        page.value("document.querySelector('form').hidden"),
        json!(false)
    );
    page.was_refused("violates the following Content Security Policy");
}

#[test]
fn it_can_be_read_without_a_script() {
    let env = hostile_log();
    let path = env.path("page.html");
    drop(page_without_server(&env));
    let page = Page::open_without_scripts(&path);
    assert_eq!(rows(&page, "clients-t").len(), HOSTILE.len() + 11);
    let facts = page.value(
        "({ controls: [...document.querySelectorAll('button, input, select')]
                .filter((one) => one.checkVisibility()).length,
            weeks: [...document.querySelectorAll('td[data-week]')]
                .every((cell) => /\\w{3} \\d+–\\d+/.test(cell.textContent)),
            cells: document.querySelectorAll('.week td').length })",
    );
    assert_eq!(facts, json!({"controls": 0, "weeks": true, "cells": 168}));
    page.asked_for_nothing_and_has_no_errors();
}

#[test]
fn what_is_read_is_not_written_over() {
    let env = TestEnv::new();
    fs::write(env.log_path(), session(1, b"app", "10.0.0.1", 10)).expect("a log");
    env.collect();
    let log = env.log_path();
    let log = log.to_str().expect("a path");
    for flags in [
        &["report", "--html", log][..],
        &["check", "--evidence", log],
        &["report", "--html", "conntracker.sqlite"],
        &["check", "--evidence", "conntracker.sqlite"],
    ] {
        env.run(&[flags, &["--audit-log", log]].concat())
            .exits_with(3)
            .complains("this is the store or the audit log");
    }
    fs::hard_link(log, env.path("log.prom")).expect("another name");
    env.run(&["run", "--textfile", "log.prom", "--audit-log", log])
        .exits_with(3)
        .complains("this is the store or the audit log");
    env.run(&["accounts"]).exits_with(0);
    assert!(fs::read(log).expect("the log").starts_with(b"20"));
}

#[test]
fn the_file_appears_whole_and_is_not_for_others() {
    let env = TestEnv::new();
    let log: Vec<_> = (0..2_000_u32)
        .flat_map(|n| {
            session(
                i64::from(2_000 - n),
                format!("app_{n:04}").as_bytes(),
                "10.0.0.1",
                n + 10,
            )
        })
        .collect();
    fs::write(env.log_path(), log).expect("a log");
    env.collect();
    let report = |path: &str| env.run(&["report", "--html", path, "--socket", "/nowhere/sock"]);
    let page = report("-").exits_with(3).stdout();
    assert!(
        page.starts_with("<!doctype html>") && page.ends_with("</html>\n"),
        "{page}"
    );
    assert_eq!(page.matches("<th scope=row>app_").count(), 2_000);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());

    let (path, link) = (env.path("page.html"), env.path("link.html"));
    fs::write(&path, "old").expect("a page");
    symlink("page.html", &link).expect("a link");
    report("link.html").exits_with(3);
    assert!(!link.is_symlink(), "who planted the link chose its target");
    assert_eq!(fs::read_to_string(&path).expect("what was there"), "old");
    report("page.html").exits_with(3);
    for path in [&link, &path] {
        let length = fs::read_to_string(path).expect("the page").len();
        assert!(length.abs_diff(page.len()) < 100, "{length}");
        let mode = fs::metadata(path).expect("the page").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    report("/dev/null").exits_with(3);
    let null = fs::metadata("/dev/null").expect("/dev/null").file_type();
    assert!(null.is_char_device(), "a device stays a device");
    // The system's own links lead to what the shell has opened: a pipe, or a file.
    let piped = report("/dev/stdout").exits_with(3).stdout();
    assert!(piped.len().abs_diff(page.len()) < 100, "{piped}");
    let to_file = env.shell(
        "\"$@\" > shell.html",
        &[
            "report",
            "--html",
            "/dev/stdout",
            "--socket",
            "/nowhere/sock",
        ],
    );
    env.start_command(to_file).finish().exits_with(3);
    let length = fs::metadata(env.path("shell.html")).expect("a page").len();
    assert!(length.abs_diff(page.len() as u64) < 100, "{length}");
    assert!(Path::new("/dev/stdout").is_symlink());
    report("nowhere/page.html")
        .exits_with(3)
        .complains("nowhere/page.html: No such file");
    assert!(!env.listing().contains(".tmp"), "{}", env.listing());
}

#[test]
fn what_check_tells_once_it_tells_after_a_report_too() {
    let server = Server::start(&[]);
    let env = asking(&server);
    env.run(&["check"]);
    administrator(&server, "CREATE USER newcomer@localhost IDENTIFIED BY 'x'");
    let page = env.run(&["report", "--html", "-"]).exits_with(0).stdout();
    let tells = |text: &str| text.contains("new-account") && text.contains("newcomer");
    assert!(tells(&page));
    let check = env.run(&["check", "--format", "json"]).stdout();
    assert!(tells(&check), "{check}");
    assert!(
        !env.run(&["report", "--html", "-"])
            .stdout()
            .contains("new-account")
    );
}

/// An environment that reads this server's log and asks it.
fn asking(server: &Server) -> TestEnv {
    let text = format!(
        "audit_log = ['{}']\ntime_zone = 'UTC'\n[server]\nsocket = '{}'\nuser = 'root'\n",
        server.audit_log().display(),
        server.address().socket.display()
    );
    TestEnv::reading(server.audit_log()).configured("page.toml", &text)
}

#[test]
fn tables_sort_and_filter_by_click_and_by_key() {
    let server = Server::start(&[]);
    administrator(
        &server,
        "CREATE USER app@localhost; CREATE USER zoe@'%'; CREATE ROLE readers;
         CREATE USER `<b>\"it's\"`@'10.0.0.%' ACCOUNT LOCK; CREATE USER gone@localhost ACCOUNT LOCK",
    );
    let env = asking(&server);
    let path = env.path("page.html");
    env.run(&["report", "--html", path.to_str().expect("a path")])
        .exits_with(0);
    let page = Page::open(&path);

    // The same accounts in the same states as check, which looked a moment later.
    let check = env.run(&["check", "--format", "json"]);
    let check: Value = serde_json::from_str(&check.stdout()).expect("a document");
    let mut judged: Vec<_> = check["accounts"]
        .as_array()
        .expect("accounts")
        .iter()
        .collect();
    judged.sort_by_key(|account| (account["user"].to_string(), account["host"].to_string()));
    let mut told = rows(&page, "accounts-t");
    told.sort_by_key(|row| (row[0].to_string(), row[1].to_string()));
    assert_eq!(told.len(), judged.len());
    for (told, judged) in told.iter().zip(judged) {
        let user = judged["user"].as_str().filter(|user| !user.is_empty());
        assert_eq!(told[0], json!(user.unwrap_or("''")));
        assert_eq!([&told[1], &told[2]], [&judged["host"], &judged["state"]]);
    }
    let logins = |rows: &[Value]| -> u64 {
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        rows.iter().filter_map(number).sum()
    };
    // The report came in itself, after the log had been read.
    let connects = column(&page, "accounts-t", 4);
    let accounts: Vec<_> = env
        .accounts()
        .iter()
        .map(|row| json!(row["connects"].to_string()))
        .collect();
    assert!(logins(&connects) > 0 && logins(&connects) <= logins(&accounts));

    let users = || column(&page, "accounts-t", 0);
    let mut sorted = users();
    sorted.sort_by_key(|user| user.to_string().trim_matches('"').to_lowercase());
    let first = "#accounts-t thead th:first-child";
    page.click(&format!("{first} button"));
    assert_eq!(
        page.value(&format!("document.querySelector('{first}').ariaSort")),
        json!("ascending")
    );
    assert_eq!(users().len(), sorted.len());
    assert_eq!(users().last(), Some(&json!("zoe")));
    // The same by key.
    page.focus(&format!("{first} button"));
    page.press("Enter");
    assert_eq!(
        page.value(&format!("document.querySelector('{first}').ariaSort")),
        json!("descending")
    );
    assert_eq!(users().first(), Some(&json!("zoe")));

    // Filters: by text, then by state too.
    page.click("form[data-for=accounts-t] input");
    page.type_text("LOCALhost o");
    let filtered = users();
    assert!(
        filtered.contains(&json!("gone")) && !filtered.contains(&json!("zoe")),
        "{filtered:?}"
    );
    let said = page.value("document.querySelector('form[data-for=accounts-t] output').value");
    let wanted = format!("{} of {} rows", filtered.len(), told.len());
    assert_eq!(said, json!(wanted));
    page.press("Tab");
    page.type_text("locked");
    assert_eq!(users(), [json!("gone")]);

    // A week opens by key, and says in words what it draws.
    page.run(
        "document.querySelector('form[data-for=accounts-t] input').value = '';
        document.querySelector('form[data-for=accounts-t] select').value = '';
        document.querySelector('form[data-for=accounts-t]').dispatchEvent(new Event('input'))",
    );
    page.focus("td[data-week] button");
    page.press("Enter");
    let drawn = page.value(
        "({ cells: document.querySelectorAll('svg.own rect').length,
            used: document.querySelectorAll('svg.own rect:not(.d0)').length > 0,
            same: document.querySelector('svg.own').ariaLabel
                === document.querySelector('td[data-week] button').textContent })",
    );
    assert_eq!(drawn, json!({"cells": 168, "used": true, "same": true}));
    page.press("Enter");
    assert_eq!(
        page.value("document.querySelectorAll('svg.own').length"),
        json!(0)
    );

    // Nothing is wider than a phone, and a column that is cut off can be reached.
    page.is_as_wide_as(390);
    page.asked_for_nothing_and_has_no_errors();
}
