//! Where the server can be reached, and who is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{
    HARDENED, checked, configure, cure, env_of, found, hardened, is_innocent, options, steps,
};
use crate::client::{Login, Via};
use crate::mariadb::{Server, administrator};

/// Starts the server anew with the hardened options and `more`, and checks what is printed as the
/// remedy's options by starting it with them too.
#[track_caller]
fn options_cure(server: &mut Server, more: &[&str], expected: &[String]) {
    server.restart_with(&[&HARDENED, more].concat());
    let env = env_of(server, "");
    let document = checked(&env, &[]);
    let mut found = found(&document);
    found.retain(|finding| !finding.starts_with("log-gap"));
    assert_eq!(found, expected, "{:#}", document["findings"]);
    let cures = options(&document);
    let all: Vec<_> = HARDENED
        .iter()
        .chain(more)
        .copied()
        .chain(cures.iter().map(String::as_str))
        .collect();
    server.restart_with(&all);
    is_innocent(&configure(env, server, ""));
}

#[test]
fn a_server_that_answers_beyond_this_machine() {
    let mut server = hardened();
    is_innocent(&env_of(&server, ""));
    let plain = "secure-transport require_secure_transport = OFF".to_owned();
    for bound in ["*", "0.0.0.0"] {
        let expected = [
            format!("bind-address bind_address = {bound}"),
            plain.clone(),
        ];
        options_cure(
            &mut server,
            &[&format!("--bind-address={bound}")],
            &expected,
        );
    }
    // Of the two findings one may be wanted: then the other's remedy by itself.
    server.restart_with(&[&HARDENED[..], &["--bind-address=*"]].concat());
    let env = env_of(&server, "skip = ['bind-address']");
    let document = checked(&env, &[]);
    assert_eq!(found(&document), [plain]);
    cure(&server, &document);
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
    assert_eq!(options(&document), ["--require_secure_transport=ON"]);
    server.restart_with(
        &[
            &HARDENED[..],
            &["--bind-address=*", "--require_secure_transport=ON"],
        ]
        .concat(),
    );
    is_innocent(&configure(env, &server, "skip = ['bind-address']"));
    // Without TCP there is nothing to be found.
    server.restart_with(&[&HARDENED[..], &["--skip-networking"]].concat());
    is_innocent(&env_of(&server, ""));
}

#[test]
fn sockets_that_no_setting_names_are_found() {
    let mut server = hardened();
    is_innocent(&env_of(&server, ""));
    // A second port that a setting names is none of them.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
    let extra = format!("--extra-port={}", port.expect("a port").port());
    server.restart_with(&[&HARDENED[..], &[&*extra]].concat());
    is_innocent(&env_of(&server, ""));
    // A socket that the service manager opens is the server's, whatever bind_address says.
    // Servers take sockets from it since 10.6 (MDEV-5536).
    let given: &[&str] = match server.version() >= (10, 6) {
        true => &["0.0.0.0:0", "[::]:0"],
        false => &[],
    };
    for address in given {
        let Ok(listener) = std::net::TcpListener::bind(address) else {
            continue;
        };
        let given = listener.local_addr().expect("its address");
        server.restart_given(&listener, &HARDENED);
        drop(listener);
        let document = checked(&env_of(&server, ""), &[]);
        let found = found(&document);
        assert!(
            found.contains(&format!("listening-sockets {given}")),
            "{given}: {found:?}"
        );
        assert!(
            found.iter().any(|one| one.starts_with("secure-transport")),
            "{found:?}"
        );
    }
    server.restart_with(&HARDENED);
    is_innocent(&env_of(&server, ""));
}

#[test]
fn the_unix_socket_and_its_folder() {
    let server = hardened();
    let env = env_of(&server, "");
    is_innocent(&env);
    let socket = server.address().socket.clone();
    let folder = socket.parent().expect("a folder").to_owned();
    let subject = format!("unix-socket {}", socket.display());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("permissions");
    let document = checked(&env, &[]);
    assert_eq!(found(&document), [&*subject]);
    cure(&server, &document);
    let mode = fs::metadata(&folder)
        .expect("the folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o775, "only the others lost a right");
    is_innocent(&env);

    // Somebody puts something else in its place; we still come in by another name of it.
    let aside = folder.join("aside");
    fs::rename(&socket, &aside).expect("another name");
    let text = fs::read_to_string(env.path("check.toml")).expect("a configuration");
    let env = env.configured("aside.toml", &text.replace("/sock'", "/aside'"));
    let document = checked(&env, &[]);
    assert_eq!(found(&document), [&*subject]);
    assert!(
        document["findings"][0]["message"]
            .as_str()
            .expect("a text")
            .contains("the file is gone")
    );
    fs::write(&socket, "").expect("a file");
    let document = checked(&env, &[]);
    // It is not the server's user's, either.
    assert_eq!(found(&document), [&*subject, &*subject]);
    fs::remove_file(&socket).expect("a file");
    fs::rename(&aside, &socket).expect("its name");
    is_innocent(&configure(env, &server, ""));

    // In a folder such as /tmp others can't be kept out: it has to move.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).expect("permissions");
    let document = checked(&env_of(&server, ""), &[]);
    assert_eq!(found(&document), [&*subject]);
    assert_eq!(
        steps(&document, "options"),
        ["[mariadbd]\nsocket = /run/mysqld/mysqld.sock"]
    );
}

#[test]
fn clients_that_nobody_expects() {
    let server = hardened();
    administrator(
        &server,
        "CREATE DATABASE shop; CREATE USER app@'127.0.0.%' IDENTIFIED BY 'x';
         GRANT SELECT ON shop.* TO app@'127.0.0.%'",
    );
    let env = env_of(
        &server,
        "expect_clients = ['localhost', '127.0.0.1', '127.0.0.8/31']",
    );
    let login = Login::new("app", "x").database("shop");
    let expected = server.log_in(Via::tcp(9), &login).expect("a client");
    let not_expected = [7, 7].map(|last| server.log_in(Via::tcp(last), &login).expect("a client"));
    env.collect();
    let document = checked(&env, &[]);
    let subjects = [
        "client-host 'app' from '127.0.0.7'",
        "login-host 'app' from '127.0.0.7'",
    ];
    assert_eq!(found(&document), subjects, "{:#}", document["findings"]);
    let message = document["findings"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.starts_with("2 connections from a client that is not expected: database 'shop'"),
        "{message}"
    );
    let message = document["findings"][1]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.contains("2 times since the last check"),
        "{message}"
    );
    // The login is told once, the connection as long as it is there.
    assert_eq!(found(&checked(&env, &[])), subjects[..1]);
    cure(&server, &document);
    drop(not_expected);
    is_innocent(&env);
    let mut expected = expected;
    expected
        .query("DO 0")
        .expect("who is expected is still there");
    expected.quit();
    server.log_in(Via::tcp(7), &login).expect("a client").quit();
    server.settle();
    env.collect();
    assert_eq!(found(&checked(&env, &[])), subjects[1..]);
}
