//! Account rows in SQL: `'user'@'host'` such that the statement means this row and nothing else,
//! whatever the session's `sql_mode` is and whatever bytes the names hold.
//!
//! Each form was tried on 10.11.19, in the modes ANSI_QUOTES, NO_BACKSLASH_ESCAPES and ORACLE:
//! - `'…'` with `'` doubled is a string in every mode. A backslash in it is not the same in all, so a
//!   name with a backslash is written `` `…` ``, where it never means anything; `` ` `` is doubled.
//! - Characters that can act on a terminal are not printed, and others that are not ASCII could mean
//!   another name in a session of another character set: then the whole statement is given as
//!   hexadecimal, `EXECUTE IMMEDIATE CONVERT(x'…' USING utf8mb4)`.
//! - Rows that account statements can't address, because the server changes what they say: it reads
//!   `'u'@''` as `'u'@'%'`, **another row**, and turns host names into lower case. Such rows came in by
//!   INSERT; only `DELETE` gets at them.
//!
//! A server that does not resolve names knows no rows with host names: it can drop such a row, but not
//! alter it (error 1396).

use super::Account;
use crate::name::{is_unsafe_to_show, to_hex};

/// A statement about one account row, to be printed for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The statement with its semicolon.
    Sql(String),
    /// No account statement can name this row. It can only be deleted as a row, which leaves its
    /// privileges on databases and tables behind: these statements do that.
    RowOnly(String),
}

impl Statement {
    /// `before 'user'@'host' after;`, such as `ALTER USER 'bob'@'10.%' ACCOUNT LOCK;`. `before` and
    /// `after` are SQL, and stand there as they are.
    pub fn new(before: &str, account: &Account, after: &str) -> Self {
        let (user, host) = (&account.user.0, &account.host.text().0);
        let names =
            std::str::from_utf8(user).and_then(|user| Ok((user, std::str::from_utf8(host)?)));
        let Ok((user, host)) = names else {
            return Self::row_only(user, host);
        };
        if !is_kept(user) || !is_kept(host) || host.is_empty() || !is_lower_case(host) {
            return Self::row_only(user.as_bytes(), host.as_bytes());
        }
        let mut sql = format!("{before} {}@{}", quote(user), quote(host));
        if !after.is_empty() {
            sql.push(' ');
            sql.push_str(after);
        }
        if !sql.is_ascii() || sql.chars().any(is_unsafe_to_show) {
            sql = format!(
                "EXECUTE IMMEDIATE CONVERT(x'{}' USING utf8mb4)",
                to_hex(sql.as_bytes())
            );
        }
        Self::Sql(sql + ";")
    }

    fn row_only(user: &[u8], host: &[u8]) -> Self {
        Self::RowOnly(format!(
            "DELETE FROM mysql.global_priv WHERE User = x'{}' AND Host = x'{}'; FLUSH PRIVILEGES;",
            to_hex(user),
            to_hex(host)
        ))
    }

    /// The SQL.
    pub fn sql(&self) -> &str {
        match self {
            Self::Sql(sql) | Self::RowOnly(sql) => sql,
        }
    }
}

/// A name in SQL.
pub(crate) fn quote(name: &str) -> String {
    if name.contains('\\') {
        format!("`{}`", name.replace('`', "``"))
    } else {
        format!("'{}'", name.replace('\'', "''"))
    }
}

/// The server's own character set (utf8mb3) has all of it, and it is one C string.
fn is_kept(name: &str) -> bool {
    name.chars().all(|c| c != '\0' && c.len_utf8() < 4)
}

fn is_lower_case(host: &str) -> bool {
    host.chars().flat_map(char::to_lowercase).eq(host.chars())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn drop(user: &str, host: &str) -> Statement {
        Statement::new("DROP USER", &Account::new(user, host), "")
    }

    #[test]
    fn names_are_quoted_whatever_the_mode() {
        for (user, host, sql) in [
            ("bob", "10.%", "DROP USER 'bob'@'10.%';"),
            ("", "localhost", "DROP USER ''@'localhost';"),
            ("o'brien", "%", "DROP USER 'o''brien'@'%';"),
            ("a\"b`c", "%", "DROP USER 'a\"b`c'@'%';"),
            ("x\\y", "db\\_%", "DROP USER `x\\y`@`db\\_%`;"),
            ("it's", "h\\_x", "DROP USER 'it''s'@`h\\_x`;"),
            ("'`\\", "%", "DROP USER `'``\\`@'%';"),
        ] {
            assert_eq!(
                drop(user, host),
                Statement::Sql(sql.into()),
                "{user}@{host}"
            );
        }
        let lock = Statement::new("ALTER USER", &Account::new("bob", "%"), "ACCOUNT LOCK");
        assert_eq!(lock.sql(), "ALTER USER 'bob'@'%' ACCOUNT LOCK;");
    }

    #[test]
    fn what_acts_on_a_terminal_is_not_printed() {
        for name in ["müller", "a\nb", "a\tb", "\x1b[2J", "\u{202e}", "\u{9b}"] {
            let hex = to_hex(format!("DROP USER '{name}'@'%'").as_bytes());
            let sql = format!("EXECUTE IMMEDIATE CONVERT(x'{hex}' USING utf8mb4);");
            assert_eq!(drop(name, "%"), Statement::Sql(sql), "{name:?}");
        }
    }

    #[test]
    fn a_row_that_account_statements_cannot_name_is_deleted_as_a_row() {
        for (user, host) in [
            ("u", ""),
            ("u", "App1.example.test"),
            ("u", "É"),
            ("a\0b", "%"),
            ("u", "%\0"),
            ("\u{1f600}", "%"),
            ("u", "\u{1f600}"),
        ] {
            let sql = format!(
                "DELETE FROM mysql.global_priv WHERE User = x'{}' AND Host = x'{}'; \
                 FLUSH PRIVILEGES;",
                to_hex(user.as_bytes()),
                to_hex(host.as_bytes())
            );
            let expected = Statement::RowOnly(sql);
            assert_eq!(drop(user, host), expected, "{user:?}@{host:?}");
        }
        for account in [
            Account::new(Name(vec![0xff]), "%"),
            Account::new("u", Name(vec![0xff])),
        ] {
            let statement = Statement::new("DROP USER", &account, "");
            assert!(statement.sql().starts_with("DELETE FROM"), "{statement:?}");
        }
    }
}
