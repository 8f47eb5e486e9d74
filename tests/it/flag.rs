//! A flag that keeps threads at work, and comes down when its guard goes: also when a test fails,
//! which would otherwise wait for its own threads for ever.

use std::sync::atomic::{AtomicBool, Ordering};

/// True until the guard of [`lower_on_drop`](Self::lower_on_drop) is dropped.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn raised() -> Self {
        Self(AtomicBool::new(true))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn lower_on_drop(&self) -> impl Drop {
        Guard(&self.0)
    }
}

struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
