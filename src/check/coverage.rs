//! What the log covers, and what it can therefore prove.

use crate::store::Coverage;
use crate::time::{Span, UtcSeconds};

/// How old the newest record may be where the log has just been read: a record is held back for so
/// long at the most until it is clear that it can be believed.
pub const HELD_BACK: Span = Span(120);

/// A clock may be off by so much, in seconds.
const CLOCK: i64 = 3_600;

/// A time that the log does not cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Last record before.
    pub from: UtcSeconds,
    /// First record behind.
    pub to: UtcSeconds,
    /// Why, in words.
    pub why: String,
}

/// The time from the first to the last record that was read, and what is missing in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// First and last record; none if nothing was read.
    pub span: Option<(UtcSeconds, UtcSeconds)>,
    /// What is missing, oldest first.
    pub gaps: Vec<Gap>,
}

impl Covered {
    /// Joins the spans of a server, which may come from several logs: a gap in one is none where
    /// another covers it.
    pub fn of(mut spans: Vec<Coverage>) -> Self {
        spans.sort_by_key(|span| (span.from, span.to));
        let mut covered = Self::default();
        for span in &spans {
            let (from, to) = *covered.span.get_or_insert((span.from, span.to));
            let behind = span.from > to;
            if (behind || span.gap.is_some()) && !is_within(&spans, span) {
                covered.gaps.push(Gap {
                    from: to.min(span.from),
                    to: span.from,
                    why: span
                        .gap
                        .clone()
                        .unwrap_or_else(|| "nothing was read".into()),
                });
            }
            covered.span = Some((from, to.max(span.to)));
        }
        covered
    }

    /// How much of the time between the two is covered, in seconds.
    pub fn time(&self, from: UtcSeconds, to: UtcSeconds) -> i64 {
        let Some((first, last)) = self.span else {
            return 0;
        };
        let (from, to) = (from.max(first), to.min(last));
        let missing = |gap: &Gap| (gap.to.min(to).0 - gap.from.max(from).0).max(0);
        (to.0 - from.0 - self.gaps.iter().map(missing).sum::<i64>()).max(0)
    }

    /// Whether all of the time between the two is covered.
    pub fn is_whole(&self, from: UtcSeconds, to: UtcSeconds) -> bool {
        self.span
            .is_some_and(|(first, last)| first <= from && to <= last)
            && self.gaps.iter().all(|gap| gap.to < from || to < gap.from)
    }

    /// Why the log's times can't be right: they reach beyond now.
    pub fn is_ahead(&self, now: UtcSeconds) -> Option<String> {
        let (_, last) = self.span?;
        (last.0 - now.0 > CLOCK).then(|| {
            let last = last.rfc3339();
            format!("the log's times can't be right: they reach to {last}")
        })
    }

    /// Why a login since `from` may have been missed; none if the log covers all of that time.
    /// The newest record may be `fresh` seconds old at `now`.
    pub fn may_hide(&self, from: UtcSeconds, now: UtcSeconds, fresh: i64) -> Option<String> {
        let Some((first, last)) = self.span else {
            return Some("no log was read yet".into());
        };
        if let Some(why) = self.is_ahead(now) {
            return Some(why);
        }
        if now.0 - last.0 > fresh {
            return Some(format!("the log was read only until {}", last.rfc3339()));
        }
        if first > from {
            return Some(format!(
                "the log covers only the time since {}",
                first.rfc3339()
            ));
        }
        let gap = self.gaps.iter().rev().find(|gap| gap.to >= from)?;
        Some(format!(
            "the log has a gap from {} to {}: {}",
            gap.from.rfc3339(),
            gap.to.rfc3339(),
            gap.why
        ))
    }
}

/// Whether the beginning of `span` lies within another one.
fn is_within(spans: &[Coverage], span: &Coverage) -> bool {
    spans
        .iter()
        .any(|other| other.from < span.from && span.from < other.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64, gap: Option<&str>) -> Coverage {
        Coverage {
            from: UtcSeconds(from),
            to: UtcSeconds(to),
            gap: gap.map(Into::into),
        }
    }

    fn gaps(covered: &Covered) -> Vec<(i64, i64)> {
        let gap = |gap: &Gap| (gap.from.0, gap.to.0);
        covered.gaps.iter().map(gap).collect()
    }

    #[test]
    fn spans_are_joined_and_gaps_stay() {
        let one = Covered::of(vec![span(100, 200, None), span(300, 400, Some("lost"))]);
        assert_eq!(one.span, Some((UtcSeconds(100), UtcSeconds(400))));
        assert_eq!(gaps(&one), [(200, 300)]);
        // Lost within a second.
        let short = Covered::of(vec![span(100, 200, None), span(200, 400, Some("lost"))]);
        assert_eq!(gaps(&short), [(200, 200)]);
        // Another log covers it, or does not.
        let other = |from, to| {
            let spans = vec![
                span(100, 200, None),
                span(300, 400, Some("lost")),
                span(from, to, None),
            ];
            gaps(&Covered::of(spans))
        };
        assert_eq!(other(150, 350), []);
        assert_eq!(other(150, 250), [(250, 300)]);
        assert_eq!(
            gaps(&Covered::of(vec![span(5, 6, None), span(8, 9, None)])),
            [(6, 8)]
        );
    }

    #[test]
    fn tells_how_much_of_a_time_is_covered() {
        let spans = vec![
            span(100, 200, None),
            span(300, 400, Some("lost")),
            span(400, 500, Some("somebody came in")),
        ];
        let covered = Covered::of(spans);
        let at = UtcSeconds;
        for (from, to, time, whole) in [
            (0, 1_000, 300, false),
            (100, 199, 99, true),
            (100, 250, 100, false),
            (210, 290, 0, false),
            (250, 350, 50, false),
            (301, 399, 98, true),
            // A gap without length hides a login all the same.
            (301, 401, 100, false),
            (401, 500, 99, true),
            (401, 501, 99, false),
            (600, 700, 0, false),
        ] {
            assert_eq!(covered.time(at(from), at(to)), time, "{from} to {to}");
            assert_eq!(covered.is_whole(at(from), at(to)), whole, "{from} to {to}");
        }
        assert_eq!(Covered::default().time(at(0), at(1)), 0);
        assert!(!Covered::default().is_whole(at(0), at(1)));
    }

    #[test]
    fn what_is_not_covered_may_hide_a_login() {
        let day = 86_400;
        let now = UtcSeconds(100 * day);
        let may_hide = |spans, from: i64| Covered::of(spans).may_hide(UtcSeconds(from), now, day);
        let says = |spans, from, words: &str| {
            let why = may_hide(spans, from).expect("something");
            assert!(why.contains(words), "{why}");
        };
        let all = || vec![span(0, 100 * day, None)];
        assert_eq!(may_hide(all(), 0), None);
        says(all(), -1, "covers only the time since 1970-01-01T00:00:00Z");
        says(vec![], 0, "no log was read yet");
        says(vec![span(0, 99 * day - 1, None)], 0, "was read only until");
        assert_eq!(may_hide(vec![span(0, 99 * day, None)], 0), None);
        says(
            vec![span(0, 101 * day, None)],
            0,
            "can't be right: they reach to 1970-04-12",
        );
        let holed = || vec![span(0, 5, None), span(9, 100 * day, Some("lost"))];
        says(
            holed(),
            0,
            "gap from 1970-01-01T00:00:05Z to 1970-01-01T00:00:09Z: lost",
        );
        says(holed(), 9, "gap");
        assert_eq!(may_hide(holed(), 10), None);
    }
}
