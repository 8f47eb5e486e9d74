//! Looks through a long file with several threads, ahead of the one that counts.
//!
//! Each thread reads and scans blocks of the file by itself; what they find is taken in the order of
//! the file. A block depends on nothing but its bytes, so it does not matter which thread has it.

use std::fs::File;
use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::audit_log::calm::{self, Scanner, Stretch};
use crate::audit_log::plain;
use crate::audit_log::source::read_at_most;

/// How many bytes a block has. What stands before and behind it is looked at twice, a tenth of it; larger
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
    /// The calm stretch that begins with the first line of the block; it may go on behind it.
    pub(super) stretch: Stretch,
}

/// Blocks from one byte of a file up to another. Whoever asks for them is one of the threads that look.
pub(super) struct Ahead {
    /// Number of the block that is needed next.
    next: u64,
    /// Blocks that came before their turn.
    early: Vec<Block>,
    looked_at: Receiver<Block>,
    own: Worker,
    others: Vec<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to look at `range` of a plain file, in the log of the server that calls itself `serverhost`.
    pub(super) fn start(
        file: &Arc<File>,
        range: Range<u64>,
        serverhost: &[u8],
        threads: NonZero<usize>,
    ) -> Self {
        // One for each thread, and one that waits for its turn.
        let blocks = (0..=threads.get()).map(|_| Block::default());
        let free = Free {
            blocks: blocks.collect(),
            next: 0,
        };
        let shared = Arc::new(Shared {
            free: Mutex::new(free),
            given_back: Condvar::new(),
            range,
        });
        let worker = |thread| Worker {
            thread,
            file: Arc::clone(file),
            shared: Arc::clone(&shared),
            scanner: Scanner::of(serverhost),
        };
        let (tell, looked_at) = sync_channel(threads.get() + 1);
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
            next: 0,
            early: Vec::new(),
            looked_at,
            own: worker(0),
            others: (1..threads.get()).filter_map(start).collect(),
        }
    }

    /// Whether blocks were looked at as those of this server.
    pub(super) fn is_of(&self, serverhost: &[u8]) -> bool {
        self.own.scanner.serverhost() == serverhost
    }

    /// The block that comes next; none at the end.
    pub(super) fn next(&mut self) -> Option<Block> {
        let number = self.next;
        self.own.shared.start_of(number)?;
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

    /// Where in the file a block ends: lines that begin there or behind are of the next one.
    pub(super) fn end_of(&self, block: &Block) -> u64 {
        self.own.shared.end_of(block.number)
    }

    /// Gives back a block that is not needed any more.
    pub(super) fn give_back(&self, block: Block) {
        self.own.shared.free().blocks.push(block);
        self.own.shared.given_back.notify_one();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.own.shared.free().next = u64::MAX;
        self.own.shared.given_back.notify_all();
        // So that none waits to tell.
        let (_, nobody) = sync_channel(0);
        drop(std::mem::replace(&mut self.looked_at, nobody));
        for thread in self.others.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Shared {
    free: Mutex<Free>,
    given_back: Condvar,
    range: Range<u64>,
}

struct Free {
    /// To be filled anew.
    blocks: Vec<Block>,
    /// Number of the block that nobody looks at yet.
    next: u64,
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where block `number` begins in the file; none behind the last one.
    fn start_of(&self, number: u64) -> Option<u64> {
        let start = number.checked_mul(BLOCK)?.checked_add(self.range.start)?;
        Some(start).filter(|start| *start < self.range.end)
    }

    fn end_of(&self, number: u64) -> u64 {
        self.start_of(number + 1).unwrap_or(self.range.end)
    }
}

struct Worker {
    thread: usize,
    file: Arc<File>,
    shared: Arc<Shared>,
    scanner: Scanner,
}

impl Worker {
    /// Looks at the block that nobody looks at yet. None if there is no more, or, unless it `waits`,
    /// nothing to fill.
    fn next(&mut self, waits: bool) -> Option<Block> {
        let mut free = self.shared.free();
        let (start, mut block) = loop {
            let start = self.shared.start_of(free.next)?;
            match free.blocks.pop() {
                Some(block) => break (start, block),
                None if !waits => return None,
                None => {
                    let given_back = &self.shared.given_back;
                    free = (given_back.wait(free)).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        // Whoever has an earlier number has a block as well, so that this one will come back.
        block.number = free.next;
        free.next += 1;
        drop(free);
        block.thread = self.thread;
        self.look(&mut block, start);
        Some(block)
    }

    /// Fills a block that begins at this byte of the file. If that can't be read, nothing is found, and
    /// who counts will meet the error.
    fn look(&mut self, block: &mut Block, start: u64) {
        let end = self.shared.end_of(block.number);
        block.base = start.saturating_sub(calm::CONTEXT as u64);
        let wanted = (end - block.base) as usize + calm::FORESIGHT + plain::LONGEST;
        block.bytes.resize(wanted, 0);
        let read = read_at_most(&self.file, &mut block.bytes, block.base);
        block.bytes.truncate(read.unwrap_or(0));
        let start = (start - block.base) as usize;
        // A line may begin with the block.
        let first = calm::first_line(&block.bytes, start - 1..block.bytes.len());
        self.scanner.scan(&block.bytes, first, &mut block.stretch);
    }
}
