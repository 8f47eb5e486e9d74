//! The settings file of the Go program that conntracker succeeds: its users keep it as it is.
//!
//! `key = value` lines, `[section]` headers (they mean nothing here), `;` and `#` comments,
//! optional quotes around a value. What each key means: [`super::layer`].

/// One `key = value` of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The line, from 1.
    pub(super) line: usize,
    /// The key as it is written.
    pub(super) key: String,
    /// The value without quotes and comment.
    pub(super) value: String,
}

/// The entries of `text`, or what is wrong in which line.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let (line, content) = (index + 1, content.trim());
        let section = content.starts_with('[') && without_comment(content).ends_with(']');
        if content.is_empty() || content.starts_with([';', '#']) || section {
            continue;
        }
        let (key, value) = match content.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => (key.trim(), value.trim()),
            _ => return Err(format!("line {line}: write 'key = value'")),
        };
        let value =
            unquoted(value).ok_or_else(|| format!("line {line}: {key}: a quote is not closed"))?;
        entries.push(Entry {
            line,
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok(entries)
}

/// The text inside of quotes, or else the text before a comment. `None`: a quote is left open.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return match rest.split_once(quote) {
                Some((inner, after)) if without_comment(&format!(" {after}")).is_empty() => {
                    Some(inner)
                }
                _ => None,
            };
        }
    }
    Some(without_comment(value))
}

/// A comment begins after a blank, so that a `#` or `;` within a path belongs to the path.
fn without_comment(value: &str) -> &str {
    let end = value
        .char_indices()
        .zip(value.chars().skip(1))
        .find(|((_, before), c)| before.is_whitespace() && matches!(c, ';' | '#'))
        .map_or(value.len(), |((at, _), _)| at);
    value[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_go_program_read() {
        let text = "; comment\r\n[main] # x\n# another\nAuditLogPath = /var/log/a;b ; live\nSqlitePath=\"/x # y.db\" # z\n\nTimeLocation = 'Local'\nEmpty =\n";
        let entries = parse(text).unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|e| (e.line, e.key.as_str(), e.value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (4, "AuditLogPath", "/var/log/a;b"),
                (5, "SqlitePath", "/x # y.db"),
                (7, "TimeLocation", "Local"),
                (8, "Empty", ""),
            ]
        );
    }

    #[test]
    fn names_the_line_that_it_does_not_understand() {
        assert_eq!(
            parse("a=1\nSqlitePath /x\n").unwrap_err(),
            "line 2: write 'key = value'"
        );
        assert_eq!(parse("= 1").unwrap_err(), "line 1: write 'key = value'");
        assert_eq!(
            parse("a = \"x").unwrap_err(),
            "line 1: a: a quote is not closed"
        );
        assert_eq!(
            parse("a = \"x\" y").unwrap_err(),
            "line 1: a: a quote is not closed"
        );
    }
}
