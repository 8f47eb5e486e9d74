//! From lines to figures: [`Trust`] judges them, [`Session`] credits them, and calm stretches, which are
//! nearly all of an honest log, go a shorter way ([`calm`]).

use std::io;
use std::num::NonZero;
use std::sync::Arc;

use super::ahead::{self, Ahead, Block};
use crate::audit_log::calm::{self, Scanner, Stretch};
use crate::audit_log::reader::{Line, Lines};
use crate::audit_log::session::{Clients, Session};
use crate::audit_log::syslog::Unframer;
use crate::audit_log::trust::{Place, Trust};

/// To leave [`Trust`] and come back to it costs as much as it does to judge so many bytes.
const WORTH: usize = 8_192;

/// When a rule has something to say, it is asked again after so many bytes.
const AGAIN: u64 = 1_024;

/// Turns the lines of a log into figures.
pub struct Judge<'a> {
    /// What may be believed.
    pub trust: Trust,
    /// Whom it is credited to.
    pub session: Session<'a>,
    scanner: Option<Scanner>,
    clients: Clients,
    stretch: Stretch,
    /// How many threads look ahead in a long file; none if there is but this one.
    threads: Option<NonZero<usize>>,
    /// Where the file that is read ended when it was opened.
    file_end: u64,
    ahead: Option<Ahead>,
    /// The block that is being taken, and the accounts of each thread that looks ahead.
    block: Option<Block>,
    clients_of: Vec<Clients>,
    /// No calm stretch begins before this byte of the file that is read.
    calm_from: u64,
    /// The line before was in a calm stretch: [`Trust`] holds no lines.
    is_calm: bool,
}

impl<'a> Judge<'a> {
    /// With what earlier runs left.
    pub fn new(trust: Trust, session: Session<'a>) -> Self {
        Self {
            trust,
            session,
            scanner: None,
            clients: Clients::default(),
            stretch: Stretch::default(),
            threads: None,
            file_end: 0,
            ahead: None,
            block: None,
            clients_of: Vec::new(),
            calm_from: u64::MAX,
            is_calm: false,
        }
    }

    /// Lets so many threads look ahead.
    pub fn with_threads(self, threads: NonZero<usize>) -> Self {
        Self {
            threads: Some(threads).filter(|threads| threads.get() > 1),
            ..self
        }
    }

    /// A file, which ends at byte `end` so far, is read from byte `offset` on. Without that, no stretch is
    /// taken for calm.
    pub fn begin(&mut self, offset: u64, end: u64) {
        self.calm_from = offset + calm::CONTEXT as u64;
        self.file_end = end;
        let Some(ahead) = &mut self.ahead else { return };
        if let Some(done) = self.block.take() {
            ahead.give_back(done);
        }
        for mut block in ahead.stop() {
            learn(&mut self.clients_of, &mut block);
            ahead.give_back(block);
        }
    }

    /// Takes the next line of a file, or a calm stretch of lines. How far the file was read, in bytes;
    /// none at its end.
    ///
    /// # Errors
    /// If reading fails.
    pub fn next(
        &mut self,
        lines: &mut Lines,
        file: usize,
        unframer: Option<&mut Unframer>,
    ) -> io::Result<Option<u64>> {
        if unframer.is_none() && self.pass_calm(lines, file) {
            return Ok(Some(lines.offset()));
        }
        let Some(line) = lines.next_line()? else {
            return Ok(None);
        };
        self.push(&line, file, unframer);
        Ok(Some(line.offset))
    }

    /// Takes a line of a file.
    pub fn push(&mut self, line: &Line<'_>, file: usize, unframer: Option<&mut Unframer>) {
        let place = Place {
            file,
            offset: line.offset,
        };
        match unframer {
            None => self.trust.push(line.text, place, &mut self.session),
            Some(unframer) => {
                if let Some(text) = unframer.unframe(line.text) {
                    self.trust.push(&text, place, &mut self.session);
                }
            }
        }
    }

    /// Takes what is known of a calm stretch, if one begins at the next line of `lines` or goes on
    /// there. True if it did.
    fn pass_calm(&mut self, lines: &mut Lines, file: usize) -> bool {
        let offset = lines.offset();
        if offset < self.calm_from {
            return false;
        }
        let Some(from) = self.stretch_from(offset, file) else {
            return false;
        };
        if self.is_calm && self.pass_block(lines, file) {
            return true;
        }
        lines.fill_up();
        let (bytes, base) = lines.in_memory();
        let context = from.checked_sub(base).map(|at| at as usize);
        let Some(at) = context.filter(|at| *at >= calm::CONTEXT) else {
            self.calm_from = offset + calm::CONTEXT as u64;
            self.end_calm(lines, file);
            return false;
        };
        if bytes.len() - at < calm::FORESIGHT + WORTH {
            self.calm_from = u64::MAX;
            self.end_calm(lines, file);
            return false;
        }
        self.scan(bytes, at);
        let Stretch { end, alarm, .. } = self.stretch;
        let passes = self.is_calm || end - at >= WORTH;
        // A line may be longer than what is in memory.
        let alarm = alarm.or(Some(at).filter(|_| end == at || !passes));
        if let Some(alarm) = alarm {
            self.calm_from = base + (alarm + calm::CONTEXT) as u64;
        }
        if passes {
            if !self.is_calm {
                self.trust.leave();
                self.is_calm = true;
            }
            let events = self.stretch.events_in(at..end);
            self.session.calm(events, &mut self.clients);
            lines.go_to(base + end as u64);
        }
        if alarm.is_some() {
            self.end_calm(lines, file);
        } else if passes {
            self.look_ahead(lines);
        }
        passes
    }

    /// From here on other threads are worth it, if so much of a file is to be read.
    fn look_ahead(&mut self, lines: &Lines) {
        let is_busy = self.ahead.as_ref().is_some_and(|ahead| !ahead.is_idle());
        let range = lines.offset()..self.file_end;
        if is_busy || range.end.saturating_sub(range.start) < ahead::WORTH {
            return;
        }
        let (Some(threads), Some(file)) = (self.threads, lines.file()) else {
            return;
        };
        let Some(serverhost) = self.trust.serverhost() else {
            return;
        };
        let ahead = match &mut self.ahead {
            Some(ahead) if ahead.is_of(&serverhost.0) => ahead,
            other => {
                self.clients_of = (0..threads.get()).map(|_| Clients::default()).collect();
                other.insert(Ahead::new(&serverhost.0, threads))
            }
        };
        ahead.begin(Arc::clone(file), range);
    }

    /// Takes the block in which the next line begins, if it was looked at ahead and is calm there. True
    /// if so.
    fn pass_block(&mut self, lines: &mut Lines, file: usize) -> bool {
        let Some(ahead) = &mut self.ahead else {
            return false;
        };
        let serverhost = self.trust.serverhost();
        if !serverhost.is_some_and(|name| ahead.is_of(&name.0)) {
            // It was renamed: all that was looked at is another's.
            (self.ahead, self.block) = (None, None);
            return false;
        }
        let offset = lines.offset();
        while self.block.as_ref().is_none_or(|block| block.end <= offset) {
            if let Some(done) = self.block.take() {
                ahead.give_back(done);
            }
            let Some(mut block) = ahead.next() else {
                return false;
            };
            learn(&mut self.clients_of, &mut block);
            self.block = Some(block);
        }
        let Some(block) = &mut self.block else {
            return false;
        };
        let Some(at) = offset.checked_sub(block.base).map(|at| at as usize) else {
            return false;
        };
        block
            .stretch
            .end_before(at, &self.trust.waiting_connections());
        let block_end = (block.end - block.base) as usize;
        let end = block.stretch.line_behind(block_end);
        if end <= at {
            return false;
        }
        let events = block.stretch.events_in(at..end);
        self.session
            .calm(events, &mut self.clients_of[block.thread]);
        lines.jump_to(block.base + end as u64, &block.bytes[..end]);
        if let Some(alarm) = block.stretch.alarm.filter(|_| end < block_end) {
            self.calm_from = block.base + (alarm + calm::CONTEXT) as u64;
            self.end_calm(lines, file);
        }
        true
    }

    /// Where a calm stretch may begin or go on, if the next line that is read begins at `offset`.
    fn stretch_from(&mut self, offset: u64, file: usize) -> Option<u64> {
        if self.is_calm {
            return Some(offset);
        }
        let Some(place) = self.trust.calm_from() else {
            self.calm_from = offset + AGAIN;
            return None;
        };
        Some(place.offset).filter(|from| place.file == file && *from >= self.calm_from)
    }

    fn scan(&mut self, bytes: &[u8], at: usize) {
        let serverhost = self.trust.serverhost().map_or(&b""[..], |name| &name.0);
        let scanner = match &mut self.scanner {
            Some(scanner) if scanner.serverhost() == serverhost => scanner,
            other => {
                self.clients = Clients::default();
                other.insert(Scanner::of(serverhost))
            }
        };
        let stretch = &mut self.stretch;
        scanner.scan(bytes, at, stretch);
        self.clients.learn(&mut stretch.accounts, stretch.anew);
        stretch.end_before(at, &self.trust.waiting_connections());
    }

    /// Hands over to [`Trust`] where a calm stretch has ended.
    pub fn end_calm(&mut self, lines: &Lines, file: usize) {
        if !std::mem::take(&mut self.is_calm) {
            return;
        }
        let (bytes, base) = lines.in_memory();
        let end = (lines.offset() - base) as usize;
        let from = calm::look_back(bytes, end);
        let place = Place {
            file,
            offset: base + from as u64,
        };
        self.trust.enter(&bytes[from..end], place);
    }

    /// Ends the run; see [`Trust::finish`].
    pub fn finish(&mut self, in_flight: bool, quiet: bool) {
        self.trust.finish(in_flight, quiet, &mut self.session);
    }
}

/// Learns the accounts that a thread met in a block.
fn learn(clients_of: &mut [Clients], block: &mut Block) {
    let Stretch { accounts, anew, .. } = &mut block.stretch;
    clients_of[block.thread].learn(accounts, *anew);
}
