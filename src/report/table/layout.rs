//! How wide the columns of a table are, and what becomes of a cell that is wider.
//!
//! On a terminal a line that is broken by the terminal itself can't be read as a row. So what has a
//! bounded length (numbers, times) keeps its width always, names are cut short at the end, and longer
//! words are broken into lines, in their column or, where there is no room for one, below the row.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands between two columns.
pub(super) const GAP: usize = 2;

/// How far lines below a row are moved in.
pub(super) const INDENT: usize = 4;

/// A name is not cut shorter than this.
const LEAST_NAME: usize = 8;

/// Words are not broken into a column that is narrower than this.
const LEAST_WORDS: usize = 20;

/// Names and words that are longer do not keep times from being told in full.
const USUAL_NAME: usize = 24;
const USUAL_WORDS: usize = 30;

/// What may be done to the cells of a column to save room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: a figure that is cut is a wrong one.
    Figure,
    /// They are cut short.
    Name,
    /// They are broken into lines.
    Words,
}

/// A column and the width of its widest cell, the heading included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) kind: Kind,
    pub(super) natural: usize,
}

impl Column {
    fn at_most(&self, name: usize, words: usize) -> usize {
        match self.kind {
            Kind::Figure => self.natural,
            Kind::Name => self.natural.min(name),
            Kind::Words => self.natural.min(words),
        }
    }
}

/// Where a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the row, so wide.
    Wide(usize),
    /// Below the row.
    Below,
}

/// Whether the table, its longest names cut and its longest words broken, fits into `width`.
pub(super) fn fits(columns: &[Column], width: usize) -> bool {
    let usual = columns
        .iter()
        .map(|column| column.at_most(USUAL_NAME, USUAL_WORDS));
    usual.sum::<usize>() + GAP * columns.len().saturating_sub(1) <= width
}

/// Where each column stands in a table of this width; none: as wide as it likes.
pub(super) fn places(columns: &[Column], width: Option<usize>) -> Vec<Place> {
    let Some(width) = width else {
        let natural = columns.iter().map(|column| Place::Wide(column.natural));
        return natural.collect();
    };
    let least = |column: &Column| column.at_most(LEAST_NAME, LEAST_WORDS);
    let mut places: Vec<_> = columns
        .iter()
        .map(|column| Place::Wide(least(column)))
        .collect();
    while used(&places) > width {
        let last = (0..columns.len()).rev().find(|at| {
            columns[*at].kind == Kind::Words
                && columns[*at].natural > LEAST_WORDS
                && places[*at] != Place::Below
        });
        match last {
            Some(at) => places[at] = Place::Below,
            // Narrower than any terminal that a table is for.
            None => return places,
        }
    }
    let mut left = width - used(&places);
    // What is left is shared out evenly among those that could do with more.
    loop {
        let before = left;
        for (column, place) in columns.iter().zip(&mut places) {
            if let Place::Wide(wide) = place
                && *wide < column.natural
                && left > 0
            {
                *wide += 1;
                left -= 1;
            }
        }
        if left == before {
            return places;
        }
    }
}

fn used(places: &[Place]) -> usize {
    let wide = places.iter().filter_map(|place| match place {
        Place::Wide(width) => Some(*width),
        Place::Below => None,
    });
    wide.clone().sum::<usize>() + GAP * wide.count().saturating_sub(1)
}

/// How many columns of a terminal the text takes.
pub(super) fn width_of(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text, cut short to this width if it is wider; an ellipsis tells.
pub(super) fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let (mut cut, mut left) = (String::new(), width.saturating_sub(1));
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// The text in lines of this width at most, broken between words where there are any.
pub(super) fn broken(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = width_of(word);
        let is_first = used == 0;
        if !is_first && used + 1 + wide > width {
            lines.push(String::new());
            used = 0;
        } else if !is_first {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
            }
            used += 1;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            used += wide;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind, natural: usize) -> Column {
        Column { kind, natural }
    }

    #[test]
    fn figures_keep_their_width_and_the_rest_is_shared_out() {
        let columns = [
            column(Kind::Name, 300),
            column(Kind::Name, 12),
            column(Kind::Figure, 30),
            column(Kind::Figure, 10),
        ];
        let wide = |width| match &places(&columns, width)[..] {
            [
                Place::Wide(a),
                Place::Wide(b),
                Place::Wide(c),
                Place::Wide(d),
            ] => [*a, *b, *c, *d],
            other => panic!("{other:?}"),
        };
        assert_eq!(wide(None), [300, 12, 30, 10]);
        assert_eq!(wide(Some(80)), [22, 12, 30, 10]);
        assert_eq!(wide(Some(66)), [10, 10, 30, 10]);
        assert_eq!(wide(Some(20)), [8, 8, 30, 10]);
        assert!(fits(&columns, 82) && !fits(&columns, 81));
    }

    #[test]
    fn words_without_room_stand_below() {
        let columns = [
            column(Kind::Name, 30),
            column(Kind::Words, 200),
            column(Kind::Figure, 20),
            column(Kind::Words, 10),
        ];
        assert_eq!(places(&columns, Some(80))[1], Place::Wide(28));
        assert_eq!(places(&columns, Some(60))[1], Place::Below);
        assert_eq!(places(&columns, Some(60))[3], Place::Wide(10));
    }

    #[test]
    fn what_is_too_wide_is_cut_by_the_width_that_is_seen() {
        assert_eq!(cut("app", 3), "app");
        assert_eq!(cut("apps", 3), "ap…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(broken("one two three", 7), ["one two", "three"]);
        assert_eq!(broken("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(broken("", 3), [""]);
        assert_eq!(broken("日本語", 4), ["日本", "語"]);
    }
}
