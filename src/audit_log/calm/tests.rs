use super::*;

/// Where the second half of a log begins, in lines.
const MIDDLE: usize = 800;

/// The lines of an honest log, with `lines` in the midst; what stands behind the server's name.
fn log(lines: &[&str]) -> Vec<String> {
    let sessions = |time: &'static str, from: usize| {
        (from..from + MIDDLE / 2).flat_map(move |n| {
            let account = format!("user{},10.0.0.{}", n % 7, n % 5);
            let line =
                move |id: usize, word: &str| format!("{time} {account},{id},0,{word},shop,,0");
            [line(n, "CONNECT"), line(n, "DISCONNECT")]
        })
    };
    let lines = lines.iter().map(|line| (*line).to_owned());
    let before = sessions("00:00", 10_000);
    before
        .chain(lines)
        .chain(sessions("00:40", 20_000))
        .collect()
}

/// Each line begins with minutes and seconds of one hour.
fn text(lines: &[String]) -> (Vec<u8>, Vec<usize>) {
    let mut text = Vec::new();
    let mut starts = Vec::new();
    for line in lines {
        starts.push(text.len());
        let (time, rest) = line.split_at(5);
        text.extend_from_slice(format!("20261122 19:{time},db1,{}\n", &rest[1..]).as_bytes());
    }
    (text, starts)
}

/// Which of the lines in the midst raises an alarm, the last one.
fn alarm(lines: &[&str]) -> Option<usize> {
    let (text, starts) = text(&log(lines));
    let from = starts[starts.partition_point(|start| *start < CONTEXT)];
    let mut stretch = Stretch::default();
    Scanner::of(b"db1").scan(&text, from, &mut stretch);
    let events = stretch.events_in(from..stretch.end);
    assert_eq!(events.first().map(|event| event.start as usize), Some(from));
    let Some(alarm) = stretch.alarm else {
        assert!(text.len() - stretch.end < FORESIGHT + plain::LONGEST);
        return None;
    };
    assert!(stretch.end + BEFORE <= starts[MIDDLE + lines.len()]);
    assert!(starts.contains(&stretch.end), "the end of a line");
    Some(starts.iter().position(|start| *start == alarm)? - MIDDLE)
}

#[test]
fn an_honest_log_is_calm_to_its_end() {
    assert_eq!(alarm(&[]), None);
    for calm in [
        // The records of a refused login, at once and with others in between.
        &[
            "00:00 eve,h,1,0,FAILED_CONNECT,,,1045",
            "00:00 eve,h,1,0,DISCONNECT,,,0",
        ][..],
        &[
            "00:00 eve,h,1,0,FAILED_CONNECT,,,1045",
            "00:00 a,h,2,0,CONNECT,,,0",
            "00:30 eve,h,1,0,DISCONNECT,,,0",
            "00:20 a,h,2,0,DISCONNECT,,,0",
        ],
        // Statements, whenever they began.
        &[
            "00:00 a,h,2,0,CONNECT,,,0",
            "00:00 a,h,2,7,QUERY,,'SET NAMES utf8mb4',0",
            "00:00 a,h,2,8,QUERY,,'SET GLOBAL server_audit_logging = 1',0",
            "00:00 a,h,2,9,READ,shop,item,",
            "00:00 a,h,2,0,DISCONNECT,,,0",
        ],
        // Names that are alike, before another's records.
        &[
            "00:00 a,h,2,9,QUERY,,'x',0",
            "00:00 b,h,3,0,CONNECT,,,0",
            "00:00 a,h,2,10,QUERY,,'x',0",
            "00:00 b,h,3,0,DISCONNECT,,,0",
        ],
    ] {
        assert_eq!(alarm(calm), None, "{calm:#?}");
    }
}

#[test]
fn whatever_a_rule_might_find_raises_an_alarm() {
    // A name of 109 bytes, `m` as a byte, that holds two line breaks: 64 are shown, and `m`. What its
    // lines begin with, up to the server's name, is the name's as well.
    let first = "00:00 a,h,2,9,READ,x,yy,";
    let damaged = format!("00:00 {}m,h,5,0,CONNECT,,,0", "z".repeat(23));
    let second = format!("00:00 {},h,3,0,CONNECT,,,0", "z".repeat(24));
    let last = "00:00 end,h,5,7,QUERY,,'',0";
    for (expected, lines) in [
        // No plain line, and such that Trust must see.
        (0, &["00:00 a,b,h,1,0,CONNECT,,,0"][..]),
        (0, &["00:00 ,,1,0,CHANGEUSER,OO,,0"]),
        (
            0,
            &["00:00 a,h,1,7,QUERY,,'SET GLOBAL server_audit_logging = 0',0"],
        ),
        // Before both records of a connection, and behind them.
        (
            0,
            &[
                "00:00 root,h,9,0,CONNECT,,,0",
                "00:00 x,h,5,0,FAILED_CONNECT,,,1045",
                "00:01 root,h,9,0,CONNECT,,,0",
                "00:00 x,h,5,0,DISCONNECT,,,0",
            ],
        ),
        (
            0,
            &[
                "00:00 root,h,9,0,CONNECT,,,0",
                "00:00 x,h,5,0,CONNECT,,,0",
                "00:01 root,h,9,0,CONNECT,,,0",
                "00:00 x,h,5,7,QUERY,,'',0",
                "00:00 x,h,5,0,DISCONNECT,,,0",
            ],
        ),
        (
            1,
            &[
                "00:00 x,h,5,0,CONNECT,,,0",
                "00:00 root,h,9,7,READ,a,b,",
                "00:00 x,h,5,0,DISCONNECT,,,0",
                "00:00 root,h,9,7,READ,a,b,",
            ],
        ),
        // A damaged name of two lines.
        (0, &[first, &damaged, first, &second, last]),
        // An end by another name, a connection that is opened twice.
        (
            0,
            &["00:00 x,h,5,0,CONNECT,,,0", "00:00 y,h,5,0,DISCONNECT,,,0"],
        ),
        (
            0,
            &["00:00 x,h,5,0,CONNECT,,,0", "00:00 x,h,5,0,CONNECT,,,0"],
        ),
        // A refused login that has no end, or late.
        (0, &["00:00 x,h,5,0,FAILED_CONNECT,,,1045"]),
        (
            0,
            &[
                "00:00 x,h,5,0,FAILED_CONNECT,,,1045",
                "00:31 x,h,5,0,DISCONNECT,,,0",
            ],
        ),
        (
            0,
            &[
                "00:01 x,h,5,0,FAILED_CONNECT,,,1045",
                "00:00 x,h,5,0,DISCONNECT,,,0",
            ],
        ),
        // A time that runs backwards.
        (
            1,
            &["00:11 x,h,5,0,CONNECT,,,0", "00:00 y,h,6,0,CONNECT,,,0"],
        ),
    ] {
        assert_eq!(alarm(lines), Some(expected), "{lines:#?}");
    }
    assert_eq!(
        alarm(&["00:10 x,h,5,0,CONNECT,,,0", "00:00 y,h,6,0,CONNECT,,,0"]),
        None
    );
}

#[test]
fn without_its_context_nothing_is_calm() {
    let (text, starts) = text(&log(&[]));
    let mut stretch = Stretch::default();
    for from in [0, starts[10], text.len(), text.len() + 1] {
        Scanner::of(b"db1").scan(&text, from, &mut stretch);
        assert_eq!((stretch.end, stretch.alarm), (from, None));
    }
}

#[test]
fn a_stretch_may_be_ended_before_a_connection() {
    let (text, starts) = text(&log(&["00:00 x,h,5,0,CONNECT,,,0"]));
    let from = starts[starts.partition_point(|start| *start < CONTEXT)];
    let mut stretch = Stretch::default();
    let mut scanner = Scanner::of(b"db1");
    scanner.scan(&text, from, &mut stretch);
    let end = stretch.end;
    stretch.end_before(from, &[6]);
    assert_eq!(stretch.end, end);
    stretch.end_before(from, &[6, 5]);
    assert_eq!(stretch.alarm, Some(starts[MIDDLE]));
    assert!(stretch.end + BEFORE <= starts[MIDDLE] && stretch.end > from);
    // One that is too near leaves nothing.
    stretch.end_before(from, &[stretch.events_in(from..usize::MAX)[0].connectionid]);
    assert_eq!((stretch.end, stretch.alarm), (from, Some(from)));
    assert!(stretch.events_in(from..usize::MAX).is_empty());
}

#[test]
fn accounts_are_numbered_once() {
    let long = "x".repeat(70);
    let lines: Vec<String> = [
        "a,h".to_owned(),
        "a,h:40812".to_owned(),
        "a,h:40813".to_owned(),
        format!("{},10.0.0.1", &long[..40]),
        format!("{long},h"),
    ]
    .iter()
    .flat_map(|account| [1, 2].map(|id| format!("00:00 {account},{id},0,CONNECT,,,0")))
    .collect();
    let lines: Vec<String> = lines.iter().cycle().take(1_000).cloned().collect();
    let (text, starts) = text(&lines);
    let from = starts[starts.partition_point(|start| *start < CONTEXT)];
    let mut stretch = Stretch::default();
    Scanner::of(b"db1").scan(&text, from, &mut stretch);
    let mut told: Vec<_> = stretch
        .accounts
        .iter()
        .map(|account| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let name = text(account.username());
            (name.len(), text(account.host()), account.port())
        })
        .collect();
    told.sort_by_key(|(len, _, port)| (*len, *port == Port::Cut));
    let expected = [
        (1, "h", Port::None),
        (1, "h", Port::Cut),
        (40, "10.0.0.1", Port::None),
        (70, "h", Port::None),
    ];
    let shown: Vec<_> = told
        .iter()
        .map(|(len, host, port)| (*len, &host[..], *port))
        .collect();
    assert_eq!(shown, expected);
}
