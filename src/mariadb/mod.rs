//! Connections to a MariaDB server: where it is, who we are, and what its errors mean.
//!
//! A session never depends on what the server's administrator chose as defaults: character set,
//! time zone, SQL mode and the like are set by ourselves (`SESSION`).

mod credentials;
mod option_file;

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use mysql::{Conn, DriverError, Error as Refusal, OptsBuilder, SslOpts};

use crate::error::{Error, Result};
use crate::name::escape;

use credentials::Credentials;
pub use credentials::Password;

/// Views of the server's own tables, for the cross-check. Only an administrator can create them.
pub const SERVER_VIEWS: &str = include_str!("../../sql/server_views.sql");

/// Where servers listen unless told otherwise: Debian's and Red Hat's packages, then the source's.
const USUAL_SOCKETS: [&str; 3] = [
    "/run/mysqld/mysqld.sock",
    "/var/lib/mysql/mysql.sock",
    "/tmp/mysql.sock",
];

const DEFAULT_PORT: u16 = 3306;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No answer takes longer, not even that to a COMMIT of 200,000 rows that waits for a lock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// What every session sets for itself. `utf8mb4_nopad_bin` compares byte for byte.
const SESSION: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin, \
    SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00', \
    SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN', SESSION sql_safe_updates = 0, \
    SESSION sql_select_limit = 18446744073709551615, SESSION max_statement_time = 0, \
    SESSION innodb_lock_wait_timeout = 15, SESSION sql_auto_is_null = 0";

/// Nodes of a Galera cluster that write the same row at once take transactions back. Under READ
/// COMMITTED one in some hundred got lost on that way (seen on MariaDB 10.11.19), under this level none.
/// The variables for this got other names in 11.1.
const TRANSACTIONS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE";

/// Where a server is looked for that nobody named: at the first of the usual places that is there.
pub fn usual_socket() -> PathBuf {
    let usual = || USUAL_SOCKETS.iter().map(Path::new);
    let found = usual().find(|path| path.exists()).or(usual().next());
    found.unwrap_or(Path::new("")).to_owned()
}

/// How to reach a server, and as whom. What is not said here is taken from `defaults_file`, then
/// from MariaDB's own conventions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The unix socket.
    pub socket: Option<PathBuf>,
    /// A host to reach over TCP; `localhost` means the socket, as for MariaDB's own clients.
    pub host: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Whether TCP is encrypted and the server's certificate verified; it is, unless told otherwise.
    pub tls: Option<bool>,
    /// File with the certificates (PEM) of the authorities that may vouch for the server, beside
    /// the public ones.
    pub tls_ca: Option<PathBuf>,
    /// User name; else that of the operating system.
    pub user: Option<String>,
    /// Password, from the environment.
    pub password: Option<Password>,
    /// A file that holds nothing but the password.
    pub password_file: Option<PathBuf>,
    /// An option file (my.cnf) whose groups `[client]` and `[conntracker]` are read.
    pub defaults_file: Option<PathBuf>,
}

impl Access {
    /// Whoever comes in so need not be a user of the operating system.
    pub fn has_password(&self) -> bool {
        self.password.is_some() || self.password_file.is_some() || self.defaults_file.is_some()
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Socket(PathBuf),
    Tcp {
        host: String,
        port: u16,
        /// `None`: in plain text. `Some(None)`: verified by public authorities only.
        tls: Option<Option<PathBuf>>,
    },
}

/// A server that can be connected to, again and again.
#[derive(Clone, Debug)]
pub struct Server {
    endpoint: Endpoint,
    user: String,
    password: Option<Password>,
}

impl Server {
    /// Reads the files that `access` names.
    ///
    /// # Errors
    /// If one of them can't be read, or may be read by others; or if nothing says who we are.
    pub fn find(access: &Access) -> Result<Self> {
        let Credentials {
            access,
            user,
            password,
        } = credentials::read(access)?;
        let host = access.host.filter(|host| host != "localhost");
        let endpoint = match (access.socket, host) {
            (Some(socket), _) => Endpoint::Socket(socket),
            (None, Some(host)) => Endpoint::Tcp {
                host,
                port: access.port.unwrap_or(DEFAULT_PORT),
                tls: access.tls.unwrap_or(true).then_some(access.tls_ca),
            },
            (None, None) => Endpoint::Socket(usual_socket()),
        };
        Ok(Self {
            endpoint,
            user,
            password,
        })
    }

    /// Opens a session, in `database` if there is one to be named.
    ///
    /// # Errors
    /// Whatever the server or the network says; see [`Server::explain`].
    pub fn connect(&self, database: Option<&str>) -> Result<Conn, Refusal> {
        match self.try_connect(database) {
            // The crate takes a NUL at the end of ed25519's random challenge for none of it, and
            // fails with one login in 256 (mysql 28.0.4; 5 of 800 seen).
            Err(error) if self.password.is_some() && is_denied(&error) => {
                self.try_connect(database)
            }
            connected => connected,
        }
    }

    fn try_connect(&self, database: Option<&str>) -> Result<Conn, Refusal> {
        let mut opts = OptsBuilder::new()
            .user(Some(&self.user))
            .pass(self.password.as_ref().map(Password::reveal))
            .db_name(database)
            .read_timeout(Some(ANSWER_TIMEOUT))
            .write_timeout(Some(ANSWER_TIMEOUT))
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            // It would leave TCP, and its encryption, for the socket that the server names.
            .prefer_socket(false)
            .init(vec![SESSION, TRANSACTIONS]);
        opts = match &self.endpoint {
            Endpoint::Socket(path) => opts.socket(path.to_str()),
            Endpoint::Tcp { host, port, tls } => {
                let tls = tls.as_ref().map(|ca| {
                    if let Some(path) = ca {
                        // The crate's own message would not name the file.
                        std::fs::metadata(path).map_err(|error| {
                            let shown = escape(path.as_os_str().as_encoded_bytes());
                            io::Error::new(error.kind(), format!("tls_ca {shown}: {error}"))
                        })?;
                    }
                    Ok::<_, io::Error>(SslOpts::default().with_root_cert_path(ca.clone()))
                });
                opts.ip_or_hostname(Some(host))
                    .tcp_port(*port)
                    .ssl_opts(tls.transpose()?)
            }
        };
        let password = self.password.as_ref().map(Password::reveal);
        if password.is_none_or(str::is_empty) {
            return without_panic(opts);
        }
        Conn::new(opts)
    }

    /// Where the server is, for a message.
    pub fn describe(&self) -> String {
        match &self.endpoint {
            Endpoint::Socket(path) => escape(path.as_os_str().as_encoded_bytes()),
            Endpoint::Tcp { host, port, .. } => format!("{}:{port}", escape(host.as_bytes())),
        }
    }

    /// What went wrong, and what to do about it. The server's own words may hold a client's.
    pub fn explain(&self, error: &Refusal) -> String {
        let user = escape(self.user.as_bytes());
        let (words, hint) = match error {
            Refusal::MySqlError(error) => {
                let words = format!("{} (error {})", error.message, error.code);
                // A server that insists on TLS refuses in the same words (seen on 10.11).
                let plain = matches!(self.endpoint, Endpoint::Tcp { tls: None, .. });
                let hint = match (error.code, plain) {
                    (1045 | 3159, true) => PLAIN,
                    (code, _) => hint(code),
                };
                (words, hint.replace("USER", &user))
            }
            // So the crate sees the server's answer to a wrong password where there are
            // alternatives (`IDENTIFIED VIA … OR …`).
            Refusal::DriverError(DriverError::UnexpectedPacket | DriverError::PacketOutOfSync) => (
                format!("Access denied for user '{user}'"),
                hint(1045).replace("USER", &user),
            ),
            _ if is_too_large(error) => ("a packet is too large".into(), hint(1153).into()),
            Refusal::DriverError(DriverError::TlsNotSupported) => (
                "does not offer TLS".into(),
                "; give it a certificate, or set tls = false to send everything in plain text"
                    .into(),
            ),
            Refusal::TlsError(error) => (format!("TLS: {error}"), UNTRUSTED.into()),
            Refusal::DriverError(DriverError::CouldNotConnect(Some((_, words, kind)))) => {
                (words.clone(), self.unreachable(*kind).into())
            }
            other => match io_error(other) {
                // What TLS finds comes as an error of input.
                Some(error) if error.kind() == io::ErrorKind::InvalidData => {
                    (format!("TLS: {error}"), UNTRUSTED.into())
                }
                Some(error) => (error.to_string(), self.unreachable(error.kind()).into()),
                None => (other.to_string(), String::new()),
            },
        };
        format!("{}{hint}", escape(words.as_bytes()))
    }

    fn unreachable(&self, kind: io::ErrorKind) -> &'static str {
        match (kind, &self.endpoint) {
            (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, _) => {
                "; is the server running, and does it listen there?"
            }
            (io::ErrorKind::PermissionDenied, Endpoint::Socket(_)) => {
                "; this user may not use the socket"
            }
            _ => "; the next run catches up",
        }
    }
}

/// Connects without a password, over which the crate panics if the account is one of parsec
/// (mysql 28.0.4).
fn without_panic(opts: OptsBuilder) -> Result<Conn, Refusal> {
    static HOOK: Once = Once::new();
    thread_local!(static CONNECTING: Cell<bool> = const { Cell::new(false) });
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !CONNECTING.get() {
                usual(panicked);
            }
        }));
    });
    CONNECTING.set(true);
    let connected = panic::catch_unwind(|| Conn::new(opts));
    CONNECTING.set(false);
    connected.unwrap_or(Err(DriverError::UnexpectedPacket.into()))
}

/// Whether the server did not believe who we are; where there are alternatives to authenticate, the
/// crate does not understand its answer.
fn is_denied(error: &Refusal) -> bool {
    code(error) == Some(1045)
        || matches!(error, Refusal::DriverError(DriverError::UnexpectedPacket))
}

/// The error of input or output in an error of the crate.
fn io_error(error: &Refusal) -> Option<&io::Error> {
    match error {
        Refusal::IoError(error) => Some(error),
        Refusal::CodecError(error) => error.source()?.downcast_ref(),
        _ => None,
    }
}

fn is_too_large(error: &Refusal) -> bool {
    match error {
        Refusal::DriverError(error) => matches!(error, DriverError::PacketTooLarge),
        // The crate does not let the kind be named.
        Refusal::CodecError(error) => error.to_string().contains("max_allowed_packet"),
        _ => false,
    }
}

const PLAIN: &str = "; is 'USER' the right account, with the right password? Or TLS is required, by \
    the server or for this account: take tls = false away";

const UNTRUSTED: &str =
    "; set tls_ca to the authority of its certificate, and host to a name in it";

/// What to do about an error of the server.
fn hint(code: u16) -> &'static str {
    match code {
        1045 | 1698 => {
            "; is 'USER' the right account, and is its password in password_file, defaults_file or \
             CONNTRACKER_MARIADB__PASSWORD? IDENTIFIED VIA unix_socket lets in only the operating \
             system's user of that name, over the socket"
        }
        1040 | 1180 | 1203 | 1226 => "; the next run catches up",
        1129 => "; an administrator runs mariadb-admin flush-hosts there",
        1130 => "; create the account for this client's address",
        1290 | 1792 | 1836 => "; it is read-only now, the next run catches up",
        1021 | 1114 | 1030 | 1026 | 1713 => {
            "; make room on its file system, the next run catches up"
        }
        1153 => "; raise max_allowed_packet on the server",
        1205 | 1213 | 1020 => "; others hold the same rows locked, the next run catches up",
        1047 => "; this node of the cluster is not ready, the next run catches up",
        1273 | 1115 => "; conntracker needs MariaDB 10.4 or later",
        _ => "",
    }
}

/// Whether the work can be done anew at once: the server took it back (deadlock, lock wait timeout,
/// a row changed since it was read, certification failure of Galera), or the connection is gone.
pub fn is_transient(error: &Refusal) -> bool {
    match error {
        Refusal::MySqlError(error) => matches!(
            error.code,
            1205 | 1213 | 1020 | 1047 | 1053 | 1317 | 1927 | 4031
        ),
        _ => is_lost(error),
    }
}

/// Whether the connection is gone.
pub fn is_lost(error: &Refusal) -> bool {
    match error {
        Refusal::MySqlError(error) => matches!(error.code, 1047 | 1053 | 1317 | 1927 | 4031),
        Refusal::IoError(_) | Refusal::CodecError(_) => !is_too_large(error),
        Refusal::DriverError(error) => matches!(
            error,
            DriverError::PacketOutOfSync | DriverError::ConnectTimeout | DriverError::Timeout
        ),
        _ => false,
    }
}

/// The server's number of an error; none if the error is not the server's.
pub fn code(error: &Refusal) -> Option<u16> {
    match error {
        Refusal::MySqlError(error) => Some(error.code),
        _ => None,
    }
}

/// An identifier in SQL, in backticks where it is not plain.
pub fn quote(identifier: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !identifier.is_empty() && identifier.chars().all(plain) {
        identifier.to_owned()
    } else {
        format!("`{}`", identifier.replace('`', "``"))
    }
}

/// An error about a file with credentials.
fn about_file(path: &Path, message: &str) -> Error {
    Error::Content {
        path: path.to_owned(),
        message: message.to_owned(),
    }
}
