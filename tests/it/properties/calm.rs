//! What goes the short way says the same as if each line had been judged: long honest stretches of a
//! server's log, and between them whatever clients do to forge records.
//!
//! The first bytes choose the honest stretches, the others what happens between them.

use std::io::Cursor;
use std::num::NonZero;

use conntracker::audit_log::reader::Lines;
use conntracker::audit_log::session::{Connections, Malformed, Session};
use conntracker::audit_log::timestamp::Clock;
use conntracker::audit_log::trust::Trust;
use conntracker::ingest::Judge;
use conntracker::name::Name;
use conntracker::store::Retention;
use conntracker::tally::Tally;
use conntracker::time::{UtcSeconds, Zone};

use super::trust::{Input, Server, stamp};

pub(crate) fn check(input: &[u8]) {
    let mut input = Input(input);
    let mut random = u64::from_le_bytes(std::array::from_fn(|_| input.next()));
    let mut server = Server::default();
    steady(&mut server, &mut random);
    for _ in 0..3 {
        let steps = input.next() % 8;
        for _ in 0..steps {
            match input.next() & 3 {
                0 => forge(&mut server, &mut input),
                _ => server.step(&mut input),
            }
        }
        steady(&mut server, &mut random);
    }
    let files = server.files();
    let lines = |text: &Vec<u8>| Lines::new(Box::new(Cursor::new(text.clone())), 0, false);
    let judged = |short| judge(files.iter().map(lines).collect(), short, ONE);
    assert_eq!(judged(false), judged(true));
}

const ONE: NonZero<usize> = NonZero::<usize>::MIN;

/// Several threads look through two files of some megabytes, with attacks here and there; the end of the
/// first one is no log.
#[cfg(test)]
#[test]
fn several_threads_find_the_same() {
    let mut random = 1;
    let mut server = Server::default();
    let mut write = |until: usize| {
        while server.files().last().unwrap().len() < until {
            for _ in 0..10 {
                steady(&mut server, &mut random);
            }
            let input = random.to_le_bytes();
            forge(&mut server, &mut Input(&input));
        }
        server.files().last().unwrap().clone()
    };
    let first = write(7_000_000);
    let second = write(14_000_000).split_off(first.len());
    // Clients that come in where nobody asks any more for what other threads have found, and later.
    let late = |before: &[u8], id: usize| {
        let head = before.rsplit(|byte| *byte == b'\n').nth(1).unwrap();
        let head = String::from_utf8_lossy(&head[.."20261122 19:04:51,db1,".len()]).into_owned();
        (0..60).map(move |n| format!("{head}late{n},h,{},0,CONNECT,,,0\n", id + n))
    };
    let noise = late(&first, 90_000_000).map(|line| line + &"no record\n".repeat(500));
    let noise: String = noise.collect();
    let mut again = Vec::new();
    for line in second.split_inclusive(|byte| *byte == b'\n') {
        again.extend_from_slice(line);
        if again.len() % 500_000 < line.len() {
            let lines: String = late(&again, 91_000_000 + again.len()).collect();
            again.extend_from_slice(lines.as_bytes());
        }
    }
    let files = [[&first[..], noise.as_bytes()].concat(), again];
    let folder = tempfile::tempdir().unwrap();
    let paths = [0, 1].map(|number| {
        let path = folder.path().join(number.to_string());
        std::fs::write(&path, &files[number]).unwrap();
        path
    });
    let judged = |short, threads| {
        let open = |path| Lines::of_file(std::fs::File::open(path).unwrap().into(), 0);
        judge(paths.iter().map(open).collect(), short, threads)
    };
    let expected = judged(false, ONE);
    for threads in [1, 2, 5] {
        assert_eq!(
            judged(true, NonZero::new(threads).unwrap()),
            expected,
            "{threads}"
        );
    }
}

/// Records by a client whose name or database holds some: all lines look as the server writes them.
fn forge(server: &mut Server, input: &mut Input<'_>) {
    let (own, how) = (server.id(), input.next());
    let mut forged = String::new();
    for _ in 0..=how & 1 {
        let id = [own, 99, own - 1, own + 1][usize::from(input.next() & 3)];
        forged.push_str(&match input.next() % 6 {
            0 | 1 => format!("root2,h,{id},0,CONNECT,,,0"),
            2 => format!("root2,h,{id},0,DISCONNECT,,,0"),
            3 => format!("r,h,{id},0,FAILED_CONNECT,,,1045"),
            4 => format!("root2,h,{id},7,READ,a,b,"),
            _ => format!("root2,h,{id},7,QUERY,,'',0"),
        });
        let seconds = [0, 0, 0, 11, -11][usize::from(input.next()) % 5];
        forged.push_str(&format!("\n{},db1,", stamp(server.now + seconds)));
    }
    let rest = |word: &str, code: u16| format!(",192.0.2.66,{own},0,{word},,,{code}");
    let (begin, end) = match how & 2 {
        0 => (rest("FAILED_CONNECT", 1045), rest("DISCONNECT", 0)),
        _ => (rest("CONNECT", 0), rest("DISCONNECT", 0)),
    };
    // As the name of a database it stands behind the records.
    let database = how & 0x0c == 0x0c;
    let (name, behind) = match forged.split_once('\n') {
        Some((first, _)) if database => ("m".into(), Some(first.to_owned())),
        _ => (forged + input.pick(&["m", "", "mallory"]), None),
    };
    let write = |server: &mut Server, name: &[u8], rest: &str| match &behind {
        None => server.write_bytes(name, own, rest),
        Some(behind) => {
            let behind = format!("{},db1,{behind}", stamp(server.now));
            server.write_bytes(name, own, &format!("{}\n{behind}", rest));
        }
    };
    // 10.5 shows so many bytes of a long name, later versions more.
    let kept = [64, 132][usize::from(how >> 6 & 1)];
    let shown = match name.len() > kept {
        true => [&name.as_bytes()[..kept], &[name.len() as u8]].concat(),
        false => name.clone().into_bytes(),
    };
    write(server, &shown, &begin);
    for _ in 0..how >> 4 & 3 {
        server.step(&mut Input(&[8, how, 0]));
    }
    if how & 0x80 != 0 && how & 2 != 0 {
        let query = server.query();
        let statement = format!(",192.0.2.66,{own},{query},QUERY,,'x',0");
        server.write_bytes(name.as_bytes(), own, &statement);
    }
    write(server, name.as_bytes(), &end);
}

/// What an honest server writes for a while: 35 to 70 KB, now and then more than fits into memory.
fn steady(server: &mut Server, random: &mut u64) {
    let mut next = || {
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*random >> 33) as u32
    };
    let steps = match next() % 16 {
        0 => 6_000,
        _ => 800,
    };
    // Some servers tell connections only, some statements, some are attacked by who guesses passwords.
    let kinds: &[&[u8]] = &[
        &[0, 4, 0, 4, 10],
        &[0, 4, 8, 8, 8, 8, 9, 9, 10],
        &[0, 4, 2, 3, 8, 10],
    ];
    let kind = kinds[next() as usize % kinds.len()];
    for _ in 0..steps {
        let what = kind[next() as usize % kind.len()];
        let how = next().to_le_bytes();
        let how = match what {
            // At once or a few records later.
            2 | 3 => how[0] & 0x13,
            0 => how[0] & 0x0f,
            // The clock seldom goes on.
            10 => [1, 1, 1, 2, 3, 4, 0, 0][usize::from(how[0] & 7)],
            _ => how[0],
        };
        let user = [0, 1, 2, 3, 6, 7][next() as usize % 6];
        server.step(&mut Input(&[what, how, user]));
    }
}

/// All that becomes of a log.
fn judge(files: Vec<Lines>, short: bool, threads: NonZero<usize>) -> Vec<String> {
    let mut tally = Tally::new(Retention::default(), None);
    let session = Session {
        clock: Clock::new(Zone::UTC, None),
        connections: Connections::default(),
        tally: &mut tally,
        files: (0..files.len()).map(|file| file.to_string()).collect(),
        malformed: Malformed::default(),
        gaps: Vec::new(),
        records: 0,
        latest: UtcSeconds(i64::MAX),
    };
    let mut judge = Judge::new(Trust::new(None, Vec::new()), session).with_threads(threads);
    for (number, mut lines) in files.into_iter().enumerate() {
        let end = lines
            .file()
            .map_or(0, |file| file.metadata().unwrap().len());
        if short {
            judge.begin(0, end);
        }
        while judge.next(&mut lines, number, None).unwrap().is_some() {}
    }
    let names = judge.session.files.clone();
    let mut told = vec![
        format!("{:?}", judge.trust.pending(&names)),
        format!("{:?}", judge.trust.aside(&names)),
    ];
    judge.finish(false, true);
    let session = &judge.session;
    told.push(format!("{:?} {:?}", session.connections, session.gaps));
    told.push(format!("{} {:?}", session.records, session.malformed));
    told.push(format!("{:?}", session.clock.last()));
    let batch = tally.take(&Name::from("db1"));
    told.extend(format!("{batch:#?}").lines().map(str::to_owned));
    told
}
