//! Which of two patterns is more specific, by the server's own measure.

use super::pattern::{Element, HostPattern};
use super::server::Server;

/// How specific a pattern is. The smaller one is asked first.
///
/// With N literals, M `_`, K runs of `%` and P literals before the first wildcard (0 if there is
/// none), and L = MAX − N − M where there is a `%`, else 0: the key is (2L+1, K, M, P) if L > M, else
/// (2M, L, K, P). From 10.6.1 K and M count up to 31 and MAX is 255, before all count and it is 60.
/// Source: probed on 10.5.29, 10.11.19 and 11.8.6; `mysql.user` is sorted by it since 10.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity(usize, usize, usize, usize);

impl Specificity {
    /// How specific `pattern` is on `server`. A netmask is a text without wildcards, whatever its
    /// width.
    pub fn of(pattern: &HostPattern, server: &Server) -> Self {
        let (mut n, mut m, mut k, mut p) = (0, 0, 0, 0);
        for element in pattern.elements() {
            if m + k == 0 {
                p = n;
            }
            match element {
                Element::Literal(_) => n += 1,
                Element::One => m += 1,
                Element::Many => k += 1,
            }
        }
        if m + k == 0 {
            p = 0;
        }
        if let Some(cap) = server.wildcard_cap() {
            m = m.min(cap);
            k = k.min(cap);
        }
        // A pattern longer than the longest name matches nothing, so its place does not matter.
        let l = match k {
            0 => 0,
            _ => server.host_length().saturating_sub(n + m),
        };
        if l > m {
            Self(2 * l + 1, k, m, p)
        } else {
            Self(2 * m, l, k, p)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::Version;
    use super::*;

    fn key(pattern: &str, new: bool) -> Specificity {
        let version = if new {
            Version(11, 8, 6)
        } else {
            Version(10, 5, 29)
        };
        let server = Server {
            version,
            skip_name_resolve: false,
        };
        Specificity::of(&HostPattern::new(pattern), &server)
    }

    #[test]
    fn the_key_is_that_of_the_formula() {
        for (pattern, new, old) in [
            ("localhost", (0, 0, 0, 0), (0, 0, 0, 0)),
            ("", (511, 1, 0, 0), (121, 1, 0, 0)),
            ("%", (511, 1, 0, 0), (121, 1, 0, 0)),
            ("10.1.2.%", (497, 1, 0, 7), (107, 1, 0, 7)),
            ("10.%%.%", (503, 2, 0, 3), (113, 2, 0, 3)),
            ("10.1_.%", (499, 1, 1, 4), (109, 1, 1, 4)),
            ("_________", (18, 0, 0, 0), (18, 0, 0, 0)),
            ("a\\_b_", (2, 0, 0, 3), (2, 0, 0, 3)),
            ("a\\", (0, 0, 0, 0), (0, 0, 0, 0)),
        ] {
            let tuple = |(a, b, c, d)| Specificity(a, b, c, d);
            assert_eq!(key(pattern, true), tuple(new), "{pattern}");
            assert_eq!(key(pattern, false), tuple(old), "{pattern}");
        }
    }

    #[test]
    fn wildcards_beyond_the_31st_count_only_before_10_6_1() {
        let ones = "_".repeat(40);
        assert_eq!(key(&ones, true), Specificity(62, 0, 0, 0));
        assert_eq!(key(&ones, false), Specificity(80, 0, 0, 0));
        let many = "%a".repeat(33);
        assert_eq!(key(&many, true), Specificity(2 * 222 + 1, 31, 0, 0));
        assert_eq!(key(&many, false), Specificity(2 * 27 + 1, 33, 0, 0));
        // L = 25 is not more than M = 31: the key begins with M.
        let long = format!("{}%{}", "_".repeat(31), "a".repeat(199));
        assert_eq!(key(&long, true), Specificity(62, 25, 1, 0));
        let long = format!("{}%{}", "_".repeat(31), "a".repeat(192));
        assert_eq!(key(&long, true), Specificity(65, 1, 31, 0));
        let long = format!("{}%{}", "_".repeat(31), "a".repeat(193));
        assert_eq!(key(&long, true), Specificity(62, 31, 1, 0));
        let beyond = format!("%{}", "a".repeat(300));
        assert_eq!(key(&beyond, true), Specificity(0, 0, 1, 0));
    }
}
