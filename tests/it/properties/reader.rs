//! `Lines` over any content that comes in pieces of any size, with interruptions, against a naive
//! split at LF: the same lines at the same places, of long ones both ends, in bounded memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use conntracker::audit_log::reader::{self, Lines, MAX_LINE};
use conntracker::checkpoint::DIGEST_BYTES;

/// The most that `Lines` may ever read at once or ahead.
const BUFFER: usize = 262_144;

/// Four bytes say how the content is read, the rest what it is; see [`content`].
pub(crate) fn check(input: &[u8]) {
    let Some((head, rest)) = input.split_first_chunk::<4>() else {
        return;
    };
    let content = content(rest);
    check_lines(&content, head);
    check_skip(&content, head);
    let complete = reader::complete_lines(&content);
    assert!(content.starts_with(complete));
    assert!(complete.is_empty() || complete.ends_with(b"\n"));
    assert!(!content[complete.len()..].contains(&b'\n'));
}

/// Three bytes are a piece: what it consists of, and how long it is, up to a megabyte.
fn content(input: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for piece in input.chunks(3) {
        let [kind, low, high] = [0, 1, 2].map(|at| piece.get(at).copied().unwrap_or(0));
        let len = usize::from(low) | usize::from(high) << 8;
        // Long pieces have to lie around the sizes at which something changes.
        let len = match kind >> 5 {
            0 | 1 => usize::from(low),
            2 => len,
            3 => MAX_LINE - 128 + usize::from(low),
            4 => BUFFER - MAX_LINE - 128 + usize::from(low),
            5 => BUFFER - 2 * MAX_LINE - 1_024 - 128 + usize::from(low),
            6 => BUFFER - 128 + usize::from(low),
            _ => len * 8,
        };
        let len = match kind & 0x1f {
            16..=23 => len.min(3_000),
            _ => len,
        };
        if content.len() + len > 1 << 20 {
            break;
        }
        let from = content.len();
        match kind & 0x1f {
            // Text in which each place can be told from others.
            0..=15 => content.extend((from..from + len).map(|at| b'A' + (at % 37) as u8)),
            16..=19 => content.resize(from + len, b'\n'),
            20..=23 => {
                content.extend((from..from + len).map(|at| [b'\n', b'x', b'y'][at % 3]));
            }
            24 => content.resize(from + len, 0),
            _ => {}
        }
        if kind & 1 == 1 {
            content.push(b'\n');
        }
    }
    content
}

/// Gives `content` in pieces, with interruptions; what `shown` says is there, the rest comes later.
struct Pieces {
    content: Rc<Vec<u8>>,
    at: usize,
    shown: Rc<Cell<usize>>,
    sizes: [usize; 3],
    calls: usize,
    /// The end of what is there is an error, as in a packed file that is still being written.
    torn: bool,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        assert!(!out.is_empty() && out.len() <= BUFFER);
        self.calls += 1;
        if self.calls % 7 == 3 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let there = &self.content[self.at..self.shown.get().max(self.at)];
        if there.is_empty() && self.torn {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = there
            .len()
            .min(out.len())
            .min(self.sizes[self.calls % self.sizes.len()]);
        out[..len].copy_from_slice(&there[..len]);
        self.at += len;
        Ok(len)
    }
}

fn open(content: &Rc<Vec<u8>>, shown: &Rc<Cell<usize>>, head: &[u8; 4], base: u64) -> Lines {
    let size = |byte: u8| match byte {
        // Bytes one by one take long.
        0..=9 if content.len() < 4_096 => usize::from(byte) + 1,
        0..=99 => usize::from(byte) * 41 + 301,
        _ => usize::from(byte - 99) * 2_000,
    };
    let torn = head[3] & 1 == 1;
    let pieces = Pieces {
        content: content.clone(),
        at: 0,
        shown: shown.clone(),
        sizes: [size(head[0]), size(head[1]), size(head[2])],
        calls: 0,
        torn,
    };
    Lines::new(Box::new(pieces), base, torn)
}

/// What `Lines` should pass on of a line.
fn expected(line: &[u8]) -> Vec<u8> {
    if line.len() <= MAX_LINE {
        return line.to_vec();
    }
    let half = MAX_LINE / 2;
    [&line[..half], &line[line.len() - half..]].concat()
}

fn check_lines(content: &[u8], head: &[u8; 4]) {
    let base = u64::from(head[3] >> 1) * 1_000_003;
    let content = Rc::new(content.to_vec());
    // The file grows once while it is read.
    let shown = Rc::new(Cell::new(match head[3] & 2 {
        0 => content.len(),
        _ => content.len() * usize::from(head[1]) / 256,
    }));
    let mut lines = open(&content, &shown, head, base);
    let mut at = 0;
    loop {
        let rest = &content[at..shown.get()];
        let Some(len) = rest.iter().position(|byte| *byte == b'\n') else {
            assert!(lines.next_line().unwrap().is_none());
            assert_eq!(lines.is_unfinished(), !rest.is_empty());
            check_place(&lines, &content, at, base);
            assert_eq!(lines.read_to(), base + shown.get() as u64);
            if shown.get() == content.len() {
                return;
            }
            shown.set(content.len());
            continue;
        };
        let line = lines.next_line().unwrap().expect("a line");
        assert_eq!(line.offset, base + at as u64);
        assert!(line.text == expected(&rest[..len]), "line at {at}");
        at += len + 1;
        check_place(&lines, &content, at, base);
    }
}

fn check_place(lines: &Lines, content: &[u8], at: usize, base: u64) {
    assert_eq!(lines.offset(), base + at as u64);
    let ahead = lines.read_to() - lines.offset();
    assert!(ahead <= BUFFER as u64 || lines.is_unfinished());
    let tail = lines.tail();
    assert_eq!(tail.len(), at.min(DIGEST_BYTES));
    assert!(content[..at].ends_with(tail));
}

/// Going on in the middle is the same as having read all before.
fn check_skip(content: &[u8], head: &[u8; 4]) {
    let content = Rc::new(content.to_vec());
    let shown = Rc::new(Cell::new(content.len()));
    let to = match head[2] {
        255 => content.len() + 1,
        share => content.len() * usize::from(share) / 254,
    };
    let mut lines = open(&content, &shown, head, 0);
    let reached = lines.skip_to(to as u64).unwrap();
    assert_eq!(reached, to <= content.len());
    if !reached {
        return;
    }
    check_place(&lines, &content, to, 0);
    let mut at = to;
    while let Some(line) = lines.next_line().unwrap() {
        let len = content[at..].iter().position(|byte| *byte == b'\n');
        assert_eq!(line.offset, at as u64);
        assert!(line.text == expected(&content[at..at + len.unwrap()]));
        at += len.unwrap() + 1;
        check_place(&lines, &content, at, 0);
    }
    assert!(!content[at..].contains(&b'\n'));
}
