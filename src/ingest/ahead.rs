//! Looks through long files with several threads, ahead of the one that counts.
//!
//! Each thread reads and scans blocks of a file by itself; what they find is taken in the order of
//! the file. A block depends on nothing but its bytes, so it does not matter which thread has it. The
//! threads stay from file to file: they know the accounts.

use std::fs::File;
use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::audit_log::calm::{self, Scanner, Stretch};
use crate::audit_log::plain;
use crate::audit_log::source::read_at_most;

/// How many bytes a block has. What stands before and behind it is looked at twice, 8 % of it; larger
/// blocks take more memory.
const BLOCK: u64 = 262_144;

/// A file that has less to read is not worth a thread.
pub(super) const WORTH: u64 = 24 * BLOCK;

/// A block of the file that was looked at.
#[derive(Default)]
pub(super) struct Block {
    number: u64,
    /// Which thread's accounts its events mean.
    pub(super) thread: usize,
    pub(super) bytes: Vec<u8>,
    /// Offset of the first of these bytes in the file.
    pub(super) base: u64,
    /// Where in the file it ends: lines that begin there or behind are of the next one.
    pub(super) end: u64,
    /// The calm stretch that begins with the first line of the block; it may go on behind it.
    pub(super) stretch: Stretch,
}

/// Threads that look at blocks of one file after the other, in the log of one server. Whoever asks for
/// the blocks is one of them.
pub(super) struct Ahead {
    /// How many blocks there are.
    count: usize,
    /// Number of the block that is needed next.
    next: u64,
    /// Blocks that came before their turn.
    early: Vec<Block>,
    looked_at: Receiver<Block>,
    own: Worker,
    others: Vec<JoinHandle<()>>,
}

impl Ahead {
    /// For the log of the server that calls itself `serverhost`.
    pub(super) fn new(serverhost: &[u8], threads: NonZero<usize>) -> Self {
        let shared = Arc::new(Shared::default());
        // One for each thread, and one that waits for its turn.
        let count = threads.get() + 1;
        shared.work().free = (0..count).map(|_| Block::default()).collect();
        let worker = |thread| Worker {
            thread,
            shared: Arc::clone(&shared),
            scanner: Scanner::of(serverhost),
        };
        let (tell, looked_at) = sync_channel(count);
        let start = |thread| {
            let (mut worker, tell) = (worker(thread), tell.clone());
            let run = move || {
                while let Some(block) = worker.next(true) {
                    if tell.send(block).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().spawn(run).ok()
        };
        Self {
            count,
            next: 0,
            early: Vec::new(),
            looked_at,
            own: worker(0),
            others: (1..threads.get()).filter_map(start).collect(),
        }
    }

    /// Whether blocks are looked at as those of this server.
    pub(super) fn is_of(&self, serverhost: &[u8]) -> bool {
        self.own.scanner.serverhost() == serverhost
    }

    /// Begins to look at these bytes of a plain file. All blocks were given back.
    pub(super) fn begin(&mut self, file: Arc<File>, range: Range<u64>) {
        self.next = 0;
        let mut work = self.own.shared.work();
        work.next = 0;
        work.of = Some((file, range));
        drop(work);
        self.own.shared.changed.notify_all();
    }

    /// The block that comes next; none at the end.
    pub(super) fn next(&mut self) -> Option<Block> {
        let number = self.next;
        self.own.shared.work().range_of(number)?;
        self.next += 1;
        loop {
            self.early.extend(self.looked_at.try_iter());
            if let Some(at) = self.early.iter().position(|block| block.number == number) {
                return Some(self.early.swap_remove(at));
            }
            let block = match self.own.next(false) {
                Some(block) => block,
                None => self.looked_at.recv().ok()?,
            };
            self.early.push(block);
        }
    }

    /// Whether there is nothing more to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.own.shared.work().range_of(self.next).is_none()
    }

    /// Looks at no more of the file. Returns the blocks that were looked at and not asked for, in their
    /// order: they tell of accounts, too.
    pub(super) fn stop(&mut self) -> Vec<Block> {
        let mut work = self.own.shared.work();
        work.of = None;
        let free = work.free.len();
        drop(work);
        let mut rest = std::mem::take(&mut self.early);
        while free + rest.len() < self.count {
            match self.looked_at.recv() {
                Ok(block) => rest.push(block),
                Err(_) => break,
            }
        }
        rest.sort_unstable_by_key(|block| block.number);
        rest
    }

    /// Gives back a block that is not needed any more.
    pub(super) fn give_back(&self, block: Block) {
        self.own.shared.work().free.push(block);
        self.own.shared.changed.notify_one();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let mut work = self.own.shared.work();
        (work.of, work.is_over) = (None, true);
        drop(work);
        self.own.shared.changed.notify_all();
        // So that none waits to tell.
        let (_, nobody) = sync_channel(0);
        drop(std::mem::replace(&mut self.looked_at, nobody));
        for thread in self.others.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

/// What there is to do.
#[derive(Default)]
struct Work {
    /// Blocks to be filled anew.
    free: Vec<Block>,
    /// Which bytes of which file are looked at.
    of: Option<(Arc<File>, Range<u64>)>,
    /// Number of the block that nobody looks at yet.
    next: u64,
    is_over: bool,
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Which bytes are block `number`; none behind the last one.
    fn range_of(&self, number: u64) -> Option<Range<u64>> {
        let (_, all) = self.of.as_ref()?;
        let start = number.checked_mul(BLOCK)?.checked_add(all.start)?;
        Some(start..all.end.min(start.saturating_add(BLOCK))).filter(|range| !range.is_empty())
    }

    /// A block to be filled, with what.
    fn take(&mut self) -> Option<(Block, Arc<File>, Range<u64>)> {
        let range = self.range_of(self.next)?;
        let file = Arc::clone(&self.of.as_ref()?.0);
        let mut block = self.free.pop()?;
        block.number = self.next;
        self.next += 1;
        Some((block, file, range))
    }
}

struct Worker {
    thread: usize,
    shared: Arc<Shared>,
    scanner: Scanner,
}

impl Worker {
    /// Looks at the block that nobody looks at yet. None if all is over, or, unless it `waits`, there is
    /// nothing to look at or to fill.
    fn next(&mut self, waits: bool) -> Option<Block> {
        let mut work = self.shared.work();
        // Whoever has an earlier number has a block as well, so that one will come back.
        let (mut block, file, range) = loop {
            match work.take() {
                Some(taken) => break taken,
                None if !waits || work.is_over => return None,
                None => {
                    let changed = &self.shared.changed;
                    work = changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(work);
        block.thread = self.thread;
        self.look(&mut block, &file, range);
        Some(block)
    }

    /// Fills a block with these bytes of the file. If they can't be read, nothing is found, and who counts
    /// will meet the error.
    fn look(&mut self, block: &mut Block, file: &File, range: Range<u64>) {
        block.base = range.start.saturating_sub(calm::CONTEXT as u64);
        block.end = range.end;
        let wanted = (range.end - block.base) as usize + calm::FORESIGHT + plain::LONGEST;
        block.bytes.resize(wanted, 0);
        let read = read_at_most(file, &mut block.bytes, block.base);
        block.bytes.truncate(read.unwrap_or(0));
        let start = (range.start - block.base) as usize;
        // A line may begin with the block.
        let first = calm::first_line(&block.bytes, start - 1..block.bytes.len());
        self.scanner.scan(&block.bytes, first, &mut block.stretch);
    }
}
