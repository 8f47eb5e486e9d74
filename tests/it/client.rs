//! A MySQL-protocol client that says exactly what a test wants said: any bytes as user name, a
//! handshake that is never finished, a session that ends without a word. Client libraries are too
//! well-behaved for that, and they log in more often than one asks them to.
//!
//! It blocks, reads with a time limit, and panics with the reason where the server does not behave
//! like a server; a refusal (an error packet) is an ordinary result.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sha1::{Digest, Sha1};

/// No answer takes longer than this, not even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const CLIENT_LONG_PASSWORD: u32 = 1;
const CLIENT_CONNECT_WITH_DB: u32 = 1 << 3;
const CLIENT_PROTOCOL_41: u32 = 1 << 9;
const CLIENT_TRANSACTIONS: u32 = 1 << 13;
const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_CHANGE_USER: u8 = 0x11;

const NATIVE_PASSWORD: &[u8] = b"mysql_native_password";
const UTF8MB4_GENERAL_CI: u8 = 45;
const LARGEST_PACKET: u32 = 1 << 24;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) socket: PathBuf,
    pub(crate) port: u16,
}

/// The way that a client comes in, which decides the host that the server logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// The unix socket: the log says `localhost`.
    Socket,
    /// TCP from this address of 127.0.0.0/8: the log names the address.
    Tcp(Ipv4Addr),
}

impl Via {
    /// TCP from 127.0.0.`last`.
    pub(crate) fn tcp(last: u8) -> Self {
        Self::Tcp(Ipv4Addr::new(127, 0, 0, last))
    }

    /// The host that a server with `skip_name_resolve` writes for a client that comes this way.
    pub(crate) fn host(self) -> String {
        match self {
            Self::Socket => "localhost".to_owned(),
            Self::Tcp(address) => address.to_string(),
        }
    }
}

/// What the server said instead of "welcome".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.code, self.message)
    }
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    /// Any bytes but NUL.
    pub(crate) user: &'a [u8],
    pub(crate) password: &'a [u8],
    pub(crate) database: Option<&'a [u8]>,
    /// The number of the client's collation; the server reads the names in its character set.
    pub(crate) charset: u8,
}

impl<'a> Login<'a> {
    pub(crate) fn new(user: &'a (impl AsRef<[u8]> + ?Sized), password: &'a str) -> Self {
        Self {
            user: user.as_ref(),
            password: password.as_bytes(),
            database: None,
            charset: UTF8MB4_GENERAL_CI,
        }
    }

    pub(crate) fn database(self, name: &'a str) -> Self {
        Self {
            database: Some(name.as_bytes()),
            ..self
        }
    }
}

/// A connection that has read the server's greeting and has not said anything yet.
/// Dropping it gives the handshake up; keeping it keeps the handshake open.
#[derive(Debug)]
pub(crate) struct Greeting {
    wire: Wire,
    scramble: Vec<u8>,
    /// The id by which the audit log knows this connection.
    pub(crate) connection_id: u32,
}

impl Greeting {
    /// Connects and reads the greeting.
    pub(crate) fn receive(address: &Address, via: Via) -> Result<Self, Refusal> {
        let stream = open(address, via)
            .unwrap_or_else(|error| panic!("cannot connect to {address:?} via {via:?}: {error}"));
        Self::read(stream)
    }

    /// The same over a socket that may not be listened to yet.
    pub(crate) fn try_socket(socket: &Path) -> io::Result<Result<Self, Refusal>> {
        Ok(Self::read(Stream::Unix(UnixStream::connect(socket)?)))
    }

    fn read(stream: Stream) -> Result<Self, Refusal> {
        let mut wire = Wire {
            stream,
            sequence: 0,
        };
        wire.stream.limit(PATIENCE);
        let packet = wire.receive();
        if packet.first() == Some(&0xff) {
            return Err(refusal(&packet));
        }
        // Protocol version, server version up to NUL, connection id, 8 bytes of scramble, filler,
        // capabilities, collation, status, capabilities, length, 10 reserved, 12 bytes of scramble.
        assert_eq!(packet[0], 10, "unknown protocol version in {packet:?}");
        let version = packet[1..]
            .iter()
            .position(|&byte| byte == 0)
            .expect("a server version");
        let rest = &packet[version + 2..];
        let connection_id = u32::from_le_bytes(rest[..4].try_into().expect("four bytes"));
        let scramble = [&rest[4..12], &rest[31..43]].concat();
        Ok(Self {
            wire,
            scramble,
            connection_id,
        })
    }

    /// Says who it is, and answers what the server asks.
    pub(crate) fn log_in(mut self, login: &Login<'_>) -> Result<Client, Refusal> {
        let mut capabilities = CLIENT_LONG_PASSWORD
            | CLIENT_PROTOCOL_41
            | CLIENT_TRANSACTIONS
            | CLIENT_SECURE_CONNECTION
            | CLIENT_PLUGIN_AUTH;
        if login.database.is_some() {
            capabilities |= CLIENT_CONNECT_WITH_DB;
        }
        let mut packet = capabilities.to_le_bytes().to_vec();
        packet.extend(LARGEST_PACKET.to_le_bytes());
        packet.push(login.charset);
        packet.extend([0; 23]);
        push_with_nul(&mut packet, login.user);
        push_with_length(
            &mut packet,
            &native_password(login.password, &self.scramble),
        );
        if let Some(database) = login.database {
            push_with_nul(&mut packet, database);
        }
        push_with_nul(&mut packet, NATIVE_PASSWORD);
        self.wire.send(&packet);
        self.wire.authenticate(login.password, &mut self.scramble)?;
        let Self {
            wire,
            scramble,
            connection_id,
        } = self;
        Ok(Client {
            wire,
            scramble,
            connection_id,
        })
    }
}

/// A client that has been let in. Dropping it breaks the connection off without a word.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
    scramble: Vec<u8>,
    pub(crate) connection_id: u32,
}

/// One row of an answer; `None` is NULL.
pub(crate) type Row = Vec<Option<Vec<u8>>>;

impl Client {
    /// Connects and logs in.
    pub(crate) fn connect(address: &Address, via: Via, login: &Login<'_>) -> Result<Self, Refusal> {
        Greeting::receive(address, via)?.log_in(login)
    }

    /// Runs one statement and reads its whole answer.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Vec<Row>, Refusal> {
        self.wire.command(COM_QUERY, sql.as_bytes());
        let head = self.wire.receive();
        match head[0] {
            0x00 => return Ok(Vec::new()),
            0xff => return Err(refusal(&head)),
            0xfb => panic!("the server asks for a local file after {sql:?}"),
            _ => {}
        }
        while !is_end(&self.wire.receive()) {} // the columns
        let mut rows = Vec::new();
        loop {
            let packet = self.wire.receive();
            if packet[0] == 0xff {
                return Err(refusal(&packet));
            }
            if is_end(&packet) {
                return Ok(rows);
            }
            rows.push(row(&packet));
        }
    }

    /// Becomes another user on the same connection (COM_CHANGE_USER). After a refusal the server
    /// keeps the connection as it was.
    pub(crate) fn change_user(&mut self, login: &Login<'_>) -> Result<(), Refusal> {
        let mut packet = Vec::new();
        push_with_nul(&mut packet, login.user);
        push_with_length(
            &mut packet,
            &native_password(login.password, &self.scramble),
        );
        push_with_nul(&mut packet, login.database.unwrap_or_default());
        packet.extend(u16::from(login.charset).to_le_bytes());
        push_with_nul(&mut packet, NATIVE_PASSWORD);
        self.wire.command(COM_CHANGE_USER, &packet);
        self.wire.authenticate(login.password, &mut self.scramble)
    }

    /// Takes its leave (COM_QUIT).
    pub(crate) fn quit(mut self) {
        self.wire.command(COM_QUIT, &[]);
    }
}

/// Packets over a byte stream: a length of three bytes, a sequence number, the content.
#[derive(Debug)]
struct Wire {
    stream: Stream,
    sequence: u8,
}

impl Wire {
    fn command(&mut self, command: u8, argument: &[u8]) {
        self.sequence = 0;
        self.send(&[&[command], argument].concat());
    }

    fn send(&mut self, content: &[u8]) {
        let length = u32::try_from(content.len()).expect("a packet of less than 4 GiB");
        assert!(
            length < LARGEST_PACKET - 1,
            "a packet of {length} bytes needs splitting"
        );
        let mut packet = length.to_le_bytes()[..3].to_vec();
        packet.push(self.sequence);
        packet.extend(content);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream
            .write_all(&packet)
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut head = [0; 4];
        self.stream
            .read_exact(&mut head)
            .unwrap_or_else(|error| panic!("no answer from the server: {error}"));
        self.sequence = head[3].wrapping_add(1);
        head[3] = 0;
        let mut content = vec![0; u32::from_le_bytes(head) as usize];
        self.stream
            .read_exact(&mut content)
            .unwrap_or_else(|error| panic!("half an answer from the server: {error}"));
        assert!(!content.is_empty(), "an empty packet from the server");
        content
    }

    /// Reads answers until the server says yes or no, and sends the password again where it asks
    /// for it with another scramble (an authentication switch).
    fn authenticate(&mut self, password: &[u8], scramble: &mut Vec<u8>) -> Result<(), Refusal> {
        loop {
            let packet = self.receive();
            match packet[0] {
                0x00 => return Ok(()),
                0xff => return Err(refusal(&packet)),
                0xfe => {
                    let mut parts = packet[1..].splitn(2, |&byte| byte == 0);
                    let plugin = parts.next().unwrap_or_default();
                    if plugin == b"unix_socket" {
                        // The server asks the kernel; it only waits for any answer.
                        self.send(&[]);
                        continue;
                    }
                    assert_eq!(
                        plugin,
                        NATIVE_PASSWORD,
                        "this client only knows mysql_native_password, the server wants {}",
                        plugin.escape_ascii()
                    );
                    let data = parts.next().unwrap_or_default();
                    *scramble = data.strip_suffix(b"\0").unwrap_or(data).to_vec();
                    self.send(&native_password(password, scramble));
                }
                other => panic!("unknown answer {other:#x} to a login"),
            }
        }
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn limit(&self, time: Duration) {
        let limits = match self {
            Self::Tcp(stream) => [
                stream.set_read_timeout(Some(time)),
                stream.set_write_timeout(Some(time)),
            ],
            Self::Unix(stream) => [
                stream.set_read_timeout(Some(time)),
                stream.set_write_timeout(Some(time)),
            ],
        };
        for limit in limits {
            limit.expect("a time limit on a socket");
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(address: &Address, via: Via) -> io::Result<Stream> {
    let from = match via {
        Via::Socket => return Ok(Stream::Unix(UnixStream::connect(&address.socket)?)),
        Via::Tcp(from) => from,
    };
    // The standard library cannot choose the address that a connection comes from.
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(
        &socket,
        &SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port),
    )?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

/// What mysql_native_password sends: SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password))), and
/// nothing for no password.
fn native_password(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let salted = Sha1::new()
        .chain_update(scramble)
        .chain_update(twice)
        .finalize();
    once.iter().zip(salted).map(|(a, b)| a ^ b).collect()
}

fn push_with_nul(packet: &mut Vec<u8>, bytes: &[u8]) {
    assert!(
        !bytes.contains(&0),
        "the protocol ends this field at NUL: {bytes:?}"
    );
    packet.extend(bytes);
    packet.push(0);
}

fn push_with_length(packet: &mut Vec<u8>, bytes: &[u8]) {
    packet.push(u8::try_from(bytes.len()).expect("at most 255 bytes"));
    packet.extend(bytes);
}

fn refusal(packet: &[u8]) -> Refusal {
    let code = u16::from_le_bytes([packet[1], packet[2]]);
    let message = packet.get(3..).unwrap_or_default();
    // A SQLSTATE, `#` and five characters, stands before the message once the client is known.
    let message = if message.first() == Some(&b'#') {
        &message[6..]
    } else {
        message
    };
    Refusal {
        code,
        message: String::from_utf8_lossy(message).into_owned(),
    }
}

fn is_end(packet: &[u8]) -> bool {
    packet[0] == 0xfe && packet.len() < 9
}

fn row(mut packet: &[u8]) -> Row {
    let mut row = Row::new();
    while let Some((&first, rest)) = packet.split_first() {
        let (length, rest) = match first {
            0xfb => {
                row.push(None);
                packet = rest;
                continue;
            }
            0xfc => (
                usize::from(u16::from_le_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            0xfd => (
                u32::from_le_bytes([rest[0], rest[1], rest[2], 0]) as usize,
                &rest[3..],
            ),
            0xfe => panic!("a value of more than 16 MiB"),
            length => (usize::from(length), rest),
        };
        let (value, rest) = rest.split_at(length);
        row.push(Some(value.to_vec()));
        packet = rest;
    }
    row
}
