//! What the choice of a row depends on beside the rows: the version and one setting.

use crate::name::Name;

/// A version, as `@@version` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// The version in the text of `@@version`, such as `10.11.19-MariaDB-0+deb12u1`; none if it does
    /// not begin with three numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| c != '.' && !c.is_ascii_digit());
        let mut parts = text[..end.unwrap_or(text.len())].split('.');
        let mut number = || parts.next()?.parse().ok();
        Some(Self(number()?, number()?, number()?))
    }
}

/// The facts about the server that decide how rows are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// `@@version`.
    pub version: Version,
    /// `@@skip_name_resolve`: clients are known by address only.
    pub skip_name_resolve: bool,
}

impl Server {
    /// From 10.6.1 on names may be longer, and wildcards beyond the 31st do not count.
    fn is_new(&self) -> bool {
        self.version >= Version(10, 6, 1)
    }

    /// The longest user name, in characters: 128, and 80 before 10.6.1.
    pub fn name_length(&self) -> usize {
        if self.is_new() { 128 } else { 80 }
    }

    /// The longest host name, in bytes: 255, and 60 before 10.6.1. It is also the "MAX" of the order.
    pub fn host_length(&self) -> usize {
        if self.is_new() { 255 } else { 60 }
    }

    /// How many `_`, or runs of `%`, count for the order; none: all.
    pub fn wildcard_cap(&self) -> Option<usize> {
        self.is_new().then_some(31)
    }

    /// The user name that the server goes on with, for the one that a client sends: without one pair
    /// of surrounding `'`, and cut at the [longest name](Self::name_length). A character that the
    /// client's character set does not have is the server's `?` before that, which is not done here.
    ///
    /// The log shows names that went through this already: it must not be done to them again.
    pub fn login_name(&self, sent: &[u8]) -> Name {
        let name = match sent {
            [b'\'', inner @ .., b'\''] => inner,
            _ => sent,
        };
        Name::from(&name[..end_of_chars(name, self.name_length())])
    }
}

/// Where the first `count` characters of `text` end. A byte that is not UTF-8 is a character.
fn end_of_chars(text: &[u8], count: usize) -> usize {
    let mut left = count;
    let mut end = 0;
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        if let Some((at, _)) = valid.char_indices().nth(left) {
            return end + at;
        }
        left -= valid.chars().count();
        end += valid.len();
        let invalid = chunk.invalid().len().min(left);
        left -= invalid;
        end += invalid;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Server = Server {
        version: Version(10, 6, 1),
        skip_name_resolve: false,
    };
    const OLD: Server = Server {
        version: Version(10, 6, 0),
        skip_name_resolve: false,
    };

    #[test]
    fn versions_as_servers_tell_them() {
        for (text, version) in [
            ("10.11.19-MariaDB-0+deb12u1", Some(Version(10, 11, 19))),
            (
                "11.8.6-MariaDB-0+deb13u1 from Debian",
                Some(Version(11, 8, 6)),
            ),
            ("10.4.34", Some(Version(10, 4, 34))),
            ("10.11", None),
            ("MariaDB", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version(10, 11, 0) > Version(10, 6, 1));
    }

    #[test]
    fn lengths_and_caps_grew_with_10_6_1() {
        assert_eq!((NEW.name_length(), NEW.host_length()), (128, 255));
        assert_eq!((OLD.name_length(), OLD.host_length()), (80, 60));
        assert_eq!((NEW.wildcard_cap(), OLD.wildcard_cap()), (Some(31), None));
    }

    /// Each was sent to a 10.11 server, which answered USER().
    #[test]
    fn one_pair_of_quotes_around_a_login_name_is_removed() {
        for (sent, kept) in [
            ("'q'", "q"),
            ("''x''", "'x'"),
            ("'", "'"),
            ("''", ""),
            ("'''", "'"),
            ("'a", "'a"),
            ("a'", "a'"),
            ("\"x\"", "\"x\""),
            ("`x`", "`x`"),
        ] {
            assert_eq!(NEW.login_name(sent.as_bytes()), Name::from(kept), "{sent}");
        }
    }

    #[test]
    fn a_login_name_is_cut_in_characters_behind_its_quotes() {
        let cut = |server: Server, name: &str| server.login_name(name.as_bytes());
        assert_eq!(cut(NEW, &"é".repeat(130)), Name::from(&*"é".repeat(128)));
        assert_eq!(cut(OLD, &"é".repeat(130)), Name::from(&*"é".repeat(80)));
        assert_eq!(cut(NEW, &"q".repeat(128)), Name::from(&*"q".repeat(128)));
        let quoted = format!("'{}'", "q".repeat(129));
        assert_eq!(cut(NEW, &quoted), Name::from(&*"q".repeat(128)));
        let bad = [&[b'q'; 127][..], b"\xff\xff\xff"].concat();
        assert_eq!(NEW.login_name(&bad).0, bad[..128]);
        let mixed = [&[b'q'; 126][..], b"\xffq\xffq"].concat();
        assert_eq!(NEW.login_name(&mixed).0, mixed[..128]);
    }
}
