//! Where the server can be reached: what its settings say, and what the kernel says.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::finding::{Finding, Outcome, Place, shell_path};
use crate::machine::{Machine, SocketFile};
use crate::name::escape;
use crate::server::{Facts, Settings};

/// The checks of this file.
pub(super) fn check(facts: &Facts, machine: &Machine) -> Outcome {
    let settings = &facts.settings;
    let mut outcome = Outcome::default();
    let listens = !settings.is_on("skip_networking") && settings.number("port") != Some(0);
    let exposed = if listens { Exposed::of(settings) } else { None };
    if let Some(finding) = exposed.as_ref().map(|exposed| exposed.finding(settings)) {
        outcome.find(finding);
    }
    match &machine.listeners {
        Ok(listeners) => outcome
            .findings
            .extend(difference(settings, listens, listeners)),
        Err(why) => outcome.not_checked(&["listening-sockets"], why),
    }
    match &machine.socket {
        Ok(socket) => outcome.findings.extend(unix_socket(socket)),
        Err(why) => outcome.not_checked(&["unix-socket"], why),
    }
    let beyond = |listeners: &Vec<SocketAddr>| listeners.iter().any(|one| !is_loopback(one.ip()));
    let reached = exposed.is_some() || machine.listeners.as_ref().is_ok_and(beyond);
    if reached && !settings.is_on("require_secure_transport") {
        outcome.find(plain_text(settings));
    }
    outcome
}

/// `bind_address` admits others than this machine.
struct Exposed(String);

impl Exposed {
    fn of(settings: &Settings) -> Option<Self> {
        let bound = settings.get("bind_address").unwrap_or_default();
        let local = |address: &str| match address.trim().parse::<IpAddr>() {
            Ok(ip) => is_loopback(ip),
            Err(_) => address.trim().eq_ignore_ascii_case("localhost"),
        };
        (!bound.split(',').all(local)).then(|| Self(bound.to_owned()))
    }

    fn finding(&self, settings: &Settings) -> Finding {
        let port = settings.get("port").unwrap_or_default();
        let (shown, whence) = match &*self.0 {
            "" | "*" => ("*".to_owned(), "every network of this machine".to_owned()),
            bound => {
                let bound = escape(bound.as_bytes());
                (bound.clone(), format!("beyond this machine, on {bound}"))
            }
        };
        let message = format!(
            "the server answers {whence}, port {port}: whoever reaches it may try names and passwords"
        );
        Finding::new("bind-address", format!("bind_address = {shown}"), message)
            .options(&["bind-address = 127.0.0.1"])
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}

/// Sockets that no setting explains, and settings that no socket follows.
fn difference(settings: &Settings, listens: bool, listeners: &[SocketAddr]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ports = ["port", "extra_port"].map(|name| settings.number(name).unwrap_or(0));
    let bound = settings.get("bind_address").unwrap_or_default();
    let is_bound = |ip: IpAddr| {
        let allows = |address: &str| match (address.trim(), address.trim().parse::<IpAddr>()) {
            ("" | "*", _) => true,
            (_, Ok(IpAddr::V6(any))) if any.is_unspecified() => ip.is_unspecified(),
            (_, Ok(address)) => address == ip,
            // A name: what it stands for is not asked here.
            ("localhost", Err(_)) => is_loopback(ip),
            (_, Err(_)) => true,
        };
        bound.split(',').any(allows)
    };
    let explained = |one: &SocketAddr| {
        listens && ports.contains(&i64::from(one.port())) && one.port() != 0 && is_bound(one.ip())
    };
    for stray in listeners.iter().filter(|one| !explained(one)) {
        let message = "the server's process listens here, and neither bind_address nor port says so: \
                       it was given this socket, or a plugin or the cluster opened it";
        let finding = Finding::new("listening-sockets", stray.to_string(), message);
        findings.push(finding.look(who_listens(stray.port().into())));
    }
    if listens
        && !listeners
            .iter()
            .any(|one| i64::from(one.port()) == ports[0])
    {
        let message = "the server's settings say that it listens on this port, and the kernel knows \
                       of no such socket";
        let subject = format!("port {}", ports[0]);
        let finding = Finding::new("listening-sockets", subject, message).only_a_warning();
        findings.push(finding.look(who_listens(ports[0])));
    }
    findings
}

/// The process on a port (ss(8)); root sees it.
fn who_listens(port: i64) -> String {
    format!("ss --listening --tcp --numeric --processes 'sport = :{port}'")
}

/// World-writable is how the socket has to be: accounts are what protects the server.
fn unix_socket(socket: &SocketFile) -> Vec<Finding> {
    let shown = escape(socket.path.as_os_str().as_encoded_bytes());
    let folder = socket.path.parent().unwrap_or(Path::new("/"));
    let finding = |message: &str| Finding::new("unix-socket", shown.clone(), message);
    let mut findings = Vec::new();
    match socket.is_socket {
        None => findings.push(finding(
            "the server listens on this socket, and the file is gone: clients of this machine don't \
             find it, and whoever may write to the folder can put his own there; restart the server",
        )),
        Some(false) => findings.push(finding(
            "this is no socket: somebody put something else in its place",
        )),
        Some(true) => {}
    }
    if let Some((owner, data_owner)) = socket.owner
        && owner != data_owner
    {
        findings.push(finding(
            "the socket belongs to another user than the server's data: another server may answer here",
        ));
    }
    let (others_write, sticky) = (
        socket.folder_mode & 0o002 != 0,
        socket.folder_mode & 0o1000 != 0,
    );
    if others_write {
        let message = "everybody may write to its folder, and put a server of his own in its place \
                       that is told the passwords";
        let finding = finding(message);
        findings.push(match sticky {
            // A folder such as /tmp has to be so.
            true => finding.options(&["socket = /run/mysqld/mysqld.sock"]),
            false => finding.step(Place::Shell, format!("chmod o-w {}", shell_path(folder))),
        });
    }
    findings
}

fn plain_text(settings: &Settings) -> Finding {
    let certificate = match settings.get("have_ssl") {
        Some("YES") | None => "",
        _ => {
            "; it has no certificate yet: give it one (ssl_cert, ssl_key), or nobody comes in over TCP"
        }
    };
    let message = format!(
        "it answers beyond this machine and lets clients speak in plain text: whoever listens on the \
         way reads what they say{certificate}"
    );
    Finding::new(
        "secure-transport",
        "require_secure_transport = OFF",
        message,
    )
    .step(Place::Sql, "SET GLOBAL require_secure_transport = ON;")
    .options(&["require_secure_transport = ON"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(bind_address: &str) -> Settings {
        let pairs = [
            ("bind_address", bind_address),
            ("port", "3306"),
            ("extra_port", "3307"),
        ];
        Settings(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        )
    }

    #[test]
    fn an_address_of_this_machine_only_is_not_exposed() {
        for (bound, exposed) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("localhost", false),
            ("127.0.0.1,::1", false),
            ("::ffff:127.0.0.1", false),
            ("", true),
            ("*", true),
            ("::", true),
            ("0.0.0.0", true),
            ("10.0.0.5", true),
            ("127.0.0.1,10.0.0.5", true),
            ("db.example.com", true),
        ] {
            assert_eq!(Exposed::of(&settings(bound)).is_some(), exposed, "{bound}");
        }
    }

    #[test]
    fn sockets_and_settings_are_held_against_each_other() {
        for (bound, listeners, subjects) in [
            ("127.0.0.1", &["127.0.0.1:3306"][..], &[][..]),
            ("127.0.0.1", &["127.0.0.1:3306", "127.0.0.1:3307"], &[]),
            ("*", &["[::]:3306"], &[]),
            ("*", &["0.0.0.0:3306"], &[]),
            ("::", &["0.0.0.0:3306"], &[]),
            ("127.0.0.1", &["0.0.0.0:3306"], &["0.0.0.0:3306"]),
            ("0.0.0.0", &["[::]:3306"], &["[::]:3306"]),
            (
                "127.0.0.1",
                &["127.0.0.1:3306", "[::]:4567"],
                &["[::]:4567"],
            ),
            ("127.0.0.1", &[], &["port 3306"]),
        ] {
            let listeners: Vec<SocketAddr> =
                listeners.iter().map(|one| one.parse().unwrap()).collect();
            let found = difference(&settings(bound), true, &listeners);
            let found: Vec<_> = found.iter().map(|finding| &*finding.subject).collect();
            assert_eq!(found, subjects, "{bound} {listeners:?}");
        }
        // skip_networking
        assert!(difference(&settings("*"), false, &[]).is_empty());
        let stray = ["127.0.0.1:3306".parse().unwrap()];
        assert_eq!(difference(&settings("*"), false, &stray).len(), 1);
    }
}
