//! The parts of a MariaDB option file (my.cnf) that say how to reach a server, as documented under
//! "Configuring MariaDB with Option Files": groups, `option = value`, comments, quotes, escapes.
//! Of the groups, `[client]`, `[client-mariadb]` and `[conntracker]` count; the last mention wins.
//! `!include` and `!includedir` are refused instead of being passed over, for what they name might
//! be what counts.

use std::path::PathBuf;

use super::Password;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) socket: Option<PathBuf>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) tls: Option<bool>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
}

/// Reads the options of our groups in `text`; the error names the line.
pub(super) fn read(text: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let mut is_ours = false;
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('!') {
            return Err(format!(
                "line {number}: !include and !includedir are not read; name the options here"
            ));
        }
        if let Some(group) = line.strip_prefix('[') {
            let group = group.split(']').next().unwrap_or_default().trim();
            is_ours = matches!(group, "client" | "client-mariadb" | "conntracker");
            continue;
        }
        if is_ours {
            let (option, value) = match line.split_once('=') {
                Some((option, value)) => (option.trim_end(), Some(unquote(value.trim()))),
                None => (line, None),
            };
            take(&mut options, &option.replace('_', "-"), value)
                .map_err(|message| format!("line {number}: {message}"))?;
        }
    }
    Ok(options)
}

/// Takes one option; those that are not about reaching a server mean nothing here.
fn take(options: &mut Options, option: &str, value: Option<String>) -> Result<(), String> {
    match (option, value) {
        ("user", Some(user)) => options.user = Some(user),
        ("password", Some(password)) => options.password = Some(Password::new(password)),
        ("host", Some(host)) => options.host = Some(host),
        ("socket", Some(socket)) => options.socket = Some(socket.into()),
        ("port", Some(port)) => {
            let number = port.parse().map_err(|_| "port is not a number".to_owned());
            // 0 is the clients' word for the usual port.
            options.port = Some(number?).filter(|port| *port != 0);
        }
        ("ssl-ca", Some(path)) => {
            options.tls_ca = Some(path.into());
            options.tls.get_or_insert(true);
        }
        ("ssl" | "ssl-verify-server-cert", None) => options.tls = Some(true),
        ("ssl", Some(value)) => {
            options.tls = Some(!matches!(
                value.to_ascii_lowercase().as_str(),
                "0" | "off" | "false"
            ));
        }
        ("skip-ssl", None) => options.tls = Some(false),
        ("user" | "password" | "host" | "socket" | "port" | "ssl-ca", None) => {
            return Err(format!("{option} has no value; write {option} = …"));
        }
        _ => {}
    }
    Ok(())
}

/// The value without comment and quotes, its escapes resolved.
fn unquote(value: &str) -> String {
    let value = without_comment(value).trim_end();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let mut out = String::new();
    let mut chars = inner.unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('b') => out.push('\u{8}'),
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('s') => out.push(' '),
                Some(c @ ('\\' | '"' | '\'')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

/// A comment begins with a `#` that stands in no quotes.
fn without_comment(value: &str) -> &str {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in value.char_indices() {
        match quote {
            None if c == '#' => return &value[..at],
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open && !escaped => quote = None,
            _ => {}
        }
        escaped = quote.is_some() && c == '\\' && !escaped;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_read() {
        let text = "\
[mysqld]\nuser=mysql\nsocket=/server\n\
[client]  # for all\nuser = app\nport=3307\npassword = \"a#b \\\"c\\\"\\\\\"\n; comment\n# comment\n\
[mysqldump]\nuser=dump\n\
[conntracker]\nuser='conntrack' # wins\nhost=db.example # central\nssl_ca=/etc/ca.pem\n";
        assert_eq!(
            read(text).unwrap(),
            Options {
                socket: None,
                host: Some("db.example".into()),
                port: Some(3307),
                tls: Some(true),
                tls_ca: Some("/etc/ca.pem".into()),
                user: Some("conntrack".into()),
                password: Some(Password::new("a#b \"c\"\\")),
            }
        );
        assert_eq!(read("user=x\n[mysql]\nuser=y").unwrap(), Options::default());
    }

    #[test]
    fn values_are_unquoted() {
        for (value, expected) in [
            ("plain", "plain"),
            ("two words # comment", "two words"),
            (r"\sspace\s", " space "),
            (r"a\tb\nc", "a\tb\nc"),
            (r"C:\path", r"C:\path"),
            ("'it''s' # x", "it''s"),
            ("'open # all of it", "'open # all of it"),
            (r##""a\"#b" # x"##, "a\"#b"),
            ("''", ""),
            (r"end\", r"end\"),
        ] {
            assert_eq!(unquote(value), expected, "{value}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("[client]\n!include /etc/other.cnf", "line 2: !include"),
            ("!includedir /etc/my.cnf.d", "line 1: !include"),
            ("[client]\nport = many", "line 2: port is not a number"),
            ("[client]\npassword", "line 2: password has no value"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
