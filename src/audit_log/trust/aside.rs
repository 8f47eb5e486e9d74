//! Records that wait for another one of the same connection, without holding up what follows.
//!
//! Where a name is written only once (by a refused change of user, say) nothing can be compared.
//! A login that stands before it is believed as soon as a record beyond doubt tells of the same
//! connection id, user and host; until then it is reported as doubtful.

use serde::{Deserialize, Serialize};

use super::{Asked, Place, Sink, Verdict, Why, is_same_connection};
use crate::audit_log::record::{self, Operation, Record};
use crate::name::Name;

/// How many records may be set aside at once; beyond, the oldest are given up.
const MAX_ASIDE: usize = 256;

/// A record that is believed as soon as another record beyond doubt tells of the same connection.
/// It blocks nothing meanwhile. Kept in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Its file's path when it was read.
    pub file: String,
    /// Its first byte in the file (unpacked).
    pub offset: u64,
    /// The line.
    pub text: Name,
    /// Why it is not believed by itself, and who wrote it.
    pub why: Why,
    /// The address of the connection that wrote it, as far as known.
    pub from: Option<Name>,
    /// First byte of the line of the record that it may be a part of.
    pub asker: u64,
    /// It was reported as doubtful, which is to be withdrawn should it prove genuine.
    pub told: bool,
    /// Number of the file in this run's list.
    #[serde(skip)]
    pub number: usize,
}

impl Aside {
    fn place(&self) -> Place {
        Place {
            file: self.number,
            offset: self.offset,
        }
    }

    /// Reports the record as doubtful, once.
    pub(super) fn tell(&mut self, sink: &mut dyn Sink) {
        if self.told {
            return;
        }
        if let Some(record) = record::parse(&self.text.0).record() {
            let verdict = Verdict::Doubtful(record, self.why, self.from.as_ref());
            sink.line(&self.text.0, self.place(), verdict, None);
        }
        self.told = true;
    }
}

pub(super) fn set_aside(
    aside: &mut Vec<Aside>,
    text: &[u8],
    place: Place,
    (record, asked): (&Record, &Asked),
    sink: &mut dyn Sink,
) {
    let logs_in = matches!(
        record.operation,
        Operation::Connect | Operation::FailedConnect | Operation::ProxyConnect
    );
    if !logs_in {
        sink.line(
            text,
            place,
            Verdict::Doubtful(record, asked.why, asked.from.as_ref()),
            None,
        );
        return;
    }
    if aside.len() >= MAX_ASIDE {
        let mut oldest = aside.remove(0);
        oldest.tell(sink);
    }
    aside.push(Aside {
        file: String::new(),
        offset: place.offset,
        text: Name::from(text),
        why: asked.why,
        from: asked.from.clone(),
        asker: asked.asker,
        told: false,
        number: place.file,
    });
}

/// A record beyond doubt proves those that were set aside genuine, or, if it opens the same
/// connection id, leaves them in doubt for good.
///
/// `asker`: where the record begins, or, if it is itself in doubt, the record that put it there. It
/// proves nothing about what may be one payload with that.
pub(super) fn believe_aside(
    aside: &mut Vec<Aside>,
    (record, text): (&Record, &[u8]),
    asker: u64,
    sink: &mut dyn Sink,
) {
    if aside.is_empty() {
        return;
    }
    let opens = matches!(
        record.operation,
        Operation::Connect | Operation::FailedConnect
    );
    aside.retain_mut(|entry| {
        let parsed = record::parse(&entry.text.0);
        let Some(other) = parsed.record() else {
            return false;
        };
        let one_payload = asker == entry.asker;
        if other.connectionid != record.connectionid || one_payload {
            return true;
        }
        // A record that opens the id again contradicts a login instead of proving it.
        if !opens && is_same_connection((record, text), (other, &entry.text.0)) {
            if entry.told {
                sink.withdraw(&entry.text.0, entry.place(), other);
            }
            sink.line(&entry.text.0, entry.place(), Verdict::Believed(other), None);
            return false;
        }
        if opens {
            entry.tell(sink);
        }
        !opens
    });
}
