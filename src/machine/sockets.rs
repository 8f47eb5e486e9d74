//! The kernel's tables of sockets: proc(5), `/proc/net/tcp`, `tcp6` and `unix`.
//!
//! The unix socket says which process is the server's, whatever the server itself says: its inode is
//! among the open files of that process. Only root may look at another user's open files; else the
//! sockets of the unix socket's owner on the server's own ports are taken for the server's.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// State of a TCP socket that listens.
const LISTEN: &str = "0A";

/// Flag of a unix socket that listens (`__SO_ACCEPTCON`).
const ACCEPTS: u32 = 1 << 16;

/// A TCP socket that listens.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// Whether somebody listens on this unix socket in our network, which is then the server's too.
pub(super) fn is_here(socket: &Path) -> Result<bool, String> {
    Ok(inode_of(socket)?.is_some())
}

/// The unix sockets on which somebody listens, in our network.
pub(super) fn unix_listeners() -> Vec<PathBuf> {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    let path = |line: &[u8]| {
        // `Num RefCount Protocol Flags Type St Inode Path`: a path may hold blanks.
        let at = memchr::memchr(b'/', line)?;
        let path = &line[at..];
        unix_inode_in(line, path).map(|_| PathBuf::from(OsStr::from_bytes(path)))
    };
    let mut paths: Vec<_> = table
        .split(|byte| *byte == b'\n')
        .filter_map(path)
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The folder in /proc of the process that listens on `socket`; none if we may not see whose it is.
pub(super) fn process_of(socket: &Path) -> Option<PathBuf> {
    process_with(inode_of(socket).ok()??).map(|(folder, _)| folder)
}

/// The addresses on which the process listens that listens on `socket`.
pub(super) fn of(
    socket: &Path,
    owner: Option<u32>,
    ports: &[u16],
) -> Result<Vec<SocketAddr>, String> {
    let inode = inode_of(socket)?.ok_or("nobody listens on the unix socket")?;
    let mut listeners = listeners_in(&read("/proc/net/tcp")?);
    // A kernel without IPv6 does not have it.
    if let Ok(table) = fs::read_to_string("/proc/net/tcp6") {
        listeners.extend(listeners_in(&table));
    }
    let open = sockets_of_process_with(inode);
    Ok(own(listeners, open.as_ref(), owner, ports))
}

/// The server's among all listeners: `open` are the sockets of its process, as far as known.
fn own(
    listeners: Vec<Listener>,
    open: Option<&HashSet<u64>>,
    owner: Option<u32>,
    ports: &[u16],
) -> Vec<SocketAddr> {
    let is_own = |listener: &Listener| match open {
        Some(open) => open.contains(&listener.inode),
        None => Some(listener.uid) == owner && ports.contains(&listener.address.port()),
    };
    let own = listeners.into_iter().filter(is_own);
    let mut found: Vec<_> = own.map(|one| one.address).collect();
    found.sort();
    found.dedup();
    found
}

fn read(table: &str) -> Result<String, String> {
    fs::read_to_string(table).map_err(|error| format!("{table}: {error}"))
}

fn inode_of(socket: &Path) -> Result<Option<u64>, String> {
    const TABLE: &str = "/proc/net/unix";
    let table = fs::read(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    Ok(unix_inode_in(&table, socket.as_os_str().as_bytes()))
}

/// The inode of the socket that listens at `path`: `Num RefCount Protocol Flags Type St Inode Path`.
fn unix_inode_in(table: &[u8], path: &[u8]) -> Option<u64> {
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let before = line.strip_suffix(path)?.strip_suffix(b" ")?;
        let mut fields = std::str::from_utf8(before).ok()?.split_ascii_whitespace();
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        let inode = fields.nth(2)?.parse().ok()?;
        (flags & ACCEPTS != 0 && fields.next().is_none()).then_some(inode)
    })
}

/// `sl local_address rem_address st queues timer retrnsmt uid timeout inode …`.
fn listeners_in(table: &str) -> Vec<Listener> {
    let listener = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = address(fields.nth(1)?)?;
        (fields.nth(1)? == LISTEN).then_some(())?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Listener {
            address,
            uid,
            inode,
        })
    };
    table.lines().filter_map(listener).collect()
}

/// `0100007F:0CEA`: each 32 bits of the address as a number of this machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The inodes of all sockets of the process that has this one; none if we may not see them.
fn sockets_of_process_with(inode: u64) -> Option<HashSet<u64>> {
    process_with(inode).map(|(_, sockets)| sockets)
}

/// The process that has this socket, with the inodes of all of its sockets.
fn process_with(inode: u64) -> Option<(PathBuf, HashSet<u64>)> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| {
            let sockets = sockets_in(&entry.path().join("fd")).ok()?;
            Some((entry.path(), sockets))
        })
        .find(|(_, sockets)| sockets.contains(&inode))
}

fn sockets_in(folder: &Path) -> io::Result<HashSet<u64>> {
    let inode = |path: &Path| {
        let target = fs::read_link(path).ok()?;
        let inner = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        inner.parse().ok()
    };
    let open = fs::read_dir(folder)?.flatten();
    Ok(open.filter_map(|entry| inode(&entry.path())).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn real_listeners_are_found_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a socket");
        assert_eq!(is_here(&path), Ok(false));
        let unix = UnixListener::bind(&path).unwrap();
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let any = TcpListener::bind("0.0.0.0:0").unwrap();
        let v6 = TcpListener::bind("[::1]:0").ok();
        let _udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let _unix_client = UnixStream::connect(&path).unwrap();
        assert_eq!(is_here(&path), Ok(true));
        assert!(unix_listeners().contains(&path));
        let own = format!("/proc/{}", std::process::id());
        assert_eq!(process_of(&path), Some(PathBuf::from(own)));
        let found = of(&path, None, &[]).unwrap();
        for listener in [Some(&v4), Some(&any), v6.as_ref()].into_iter().flatten() {
            let address = listener.local_addr().unwrap();
            assert!(found.contains(&address), "{address} in {found:?}");
        }
        assert!(
            !found.contains(&client.local_addr().unwrap()),
            "a client in {found:?}"
        );
        drop((unix, v4));
        assert!(of(&path, None, &[]).is_err(), "nobody listens any more");
    }

    #[test]
    fn without_a_look_at_the_process_owner_and_port_decide() {
        let listener = |port, uid, inode| Listener {
            address: SocketAddr::from(([0, 0, 0, 0], port)),
            uid,
            inode,
        };
        let all = || {
            vec![
                listener(3306, 102, 1),
                listener(3306, 0, 2),
                listener(4567, 102, 3),
            ]
        };
        let ports = |found: Vec<SocketAddr>| found.iter().map(SocketAddr::port).collect::<Vec<_>>();
        assert_eq!(ports(own(all(), None, Some(102), &[3306])), [3306]);
        assert_eq!(own(all(), None, Some(33), &[3306]), []);
        assert_eq!(own(all(), None, None, &[3306]), []);
        let open = HashSet::from([1, 3]);
        assert_eq!(ports(own(all(), Some(&open), None, &[])), [3306, 4567]);
    }

    #[test]
    fn the_tables_of_the_kernel_are_read() {
        // Of Linux 6.1, little-endian.
        let tcp = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   102        0 351524 1 00000000393b2c12 100 0 0 10 0
   1: 0100007F:0CEA 0100007F:8000 01 00000000:00000000 00:00000000 00000000   102        0 351525 1 00000000393b2c12 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:0CEB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0000000018db7e4b 100 0 0 10 0
";
        let found: Vec<_> = listeners_in(tcp)
            .into_iter()
            .map(|one| (one.address.to_string(), one.uid, one.inode))
            .collect();
        if cfg!(target_endian = "little") {
            assert_eq!(
                found,
                [
                    ("127.0.0.1:3306".to_owned(), 102, 351_524),
                    ("[::ffff:127.0.0.1]:3307".to_owned(), 0, 7),
                ]
            );
        }
        let unix = b"Num       RefCount Protocol Flags    Type St Inode Path
ffff8880: 00000002 00000000 00010000 0001 01 22 /run/mysqld/mysqld.sock
ffff8881: 00000003 00000000 00000000 0001 03 23 /run/other
ffff8882: 00000002 00000000 00010000 0001 01 24 /tmp/a b.sock
";
        let inode = |path: &str| unix_inode_in(unix, path.as_bytes());
        assert_eq!(inode("/run/mysqld/mysqld.sock"), Some(22));
        assert_eq!(inode("/tmp/a b.sock"), Some(24));
        for absent in ["/run/other", "mysqld.sock", "b.sock", "/none"] {
            assert_eq!(inode(absent), None, "{absent}");
        }
    }
}
