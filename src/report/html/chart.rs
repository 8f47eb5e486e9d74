//! The geometry of what is drawn. Colours and text are the template's.

use crate::check::Covered;
use crate::check::rhythm::Counts;
use crate::time::UtcSeconds;

/// All drawings are this wide; they are scaled to the page.
const WIDTH: f64 = 1_000.0;
/// What is shorter could not be seen.
const LEAST: f64 = 3.0;
/// Height of the bars of days.
const HEIGHT: f64 = 100.0;

/// From left to right in a drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) width: f64,
}

/// A span of time, drawn from left to right.
pub(super) struct Axis {
    first: i64,
    length: f64,
}

impl Axis {
    pub(super) fn of(span: Option<(UtcSeconds, UtcSeconds)>) -> Self {
        let (first, last) = span.map_or((0, 0), |(first, last)| (first.0, last.0));
        Self {
            first,
            length: (last.saturating_sub(first)).max(1) as f64,
        }
    }

    pub(super) fn bar(&self, from: UtcSeconds, to: UtcSeconds) -> Bar {
        let place = |at: UtcSeconds| {
            let part = at.0.saturating_sub(self.first) as f64 / self.length;
            part.clamp(0.0, 1.0) * WIDTH
        };
        let width = (place(to) - place(from)).max(LEAST);
        let x = place(from).min(WIDTH - width);
        let rounded = |number: f64| (number * 10.0).round() / 10.0;
        Bar {
            x: rounded(x),
            width: rounded(width),
        }
    }
}

/// The gaps of what is covered.
pub(super) fn gaps(covered: &Covered) -> Vec<Bar> {
    let axis = Axis::of(covered.span);
    let gaps = covered.gaps.iter();
    gaps.map(|gap| axis.bar(gap.from, gap.to)).collect()
}

/// The figures of days as one path of bars; and the greatest of them.
pub(super) fn bars(
    days: &[(UtcSeconds, Counts)],
    figure: impl Fn(&Counts) -> u64,
) -> (String, u64) {
    let most = days.iter().map(|(_, day)| figure(day)).max().unwrap_or(0);
    let step = WIDTH / days.len().max(1) as f64;
    let mut path = String::new();
    for (number, (_, day)) in days.iter().enumerate() {
        let count = figure(day);
        if count > 0 {
            let height = (count as f64 / most as f64 * HEIGHT).max(2.0);
            let (x, width) = (number as f64 * step, step * 0.8);
            path += &format!("M{x:.1} {HEIGHT}v-{height:.1}h{width:.1}v{height:.1}z");
        }
    }
    (path, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_can_be_seen_and_nothing_leaves_the_drawing() {
        let axis = Axis::of(Some((UtcSeconds(100), UtcSeconds(1_100))));
        let bar = |from, to| {
            let Bar { x, width } = axis.bar(UtcSeconds(from), UtcSeconds(to));
            (x, width)
        };
        assert_eq!(bar(100, 1_100), (0.0, 1_000.0));
        assert_eq!(bar(600, 600), (500.0, 3.0));
        assert_eq!(bar(1_100, 1_100), (997.0, 3.0));
        assert_eq!(bar(i64::MIN, i64::MAX), (0.0, 1_000.0));
        let none = Axis::of(None);
        assert_eq!(none.bar(UtcSeconds(0), UtcSeconds(0)).width, 3.0);
    }

    #[test]
    fn a_day_with_one_failure_among_thousands_has_a_bar() {
        let day = |failures| {
            let day = Counts {
                logins: 0,
                failures,
            };
            (UtcSeconds(0), day)
        };
        let days = [day(1), day(0), day(10_000), day(5_000)];
        let (path, most) = bars(&days, |day| day.failures);
        assert_eq!(most, 10_000);
        assert_eq!(
            path,
            "M0.0 100v-2.0h200.0v2.0zM500.0 100v-100.0h200.0v100.0zM750.0 100v-50.0h200.0v50.0z"
        );
        assert_eq!(bars(&days, |day| day.logins), (String::new(), 0));
    }
}
