//! Who we are, and how a server knows: passwords and where they are kept, the operating system's user,
//! encryption. A password is never shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::{ALICE, BOB, append, configure, env_in, names};
use crate::env::TestEnv;
use crate::mariadb::Server;

const SECRET: &str = "se#cr\"et";

/// A file with mode 0600.
fn private(env: &TestEnv, name: &str, text: &str) -> String {
    let path = env.path(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
    path.to_str().expect("a path").to_owned()
}

/// A run says in one line that it was not let in, and not with which password.
#[track_caller]
fn is_denied(env: &TestEnv) {
    let log = env.log_path().to_str().expect("a path");
    let run = env.run(&["run", "-vv", "--audit-log", log]);
    run.exits_with(3)
        .complains("conntracker: error: MariaDB store conntrack at ")
        .complains("Access denied for user")
        .complains(
            "is its password in password_file, defaults_file or CONNTRACKER_MARIADB__PASSWORD?",
        );
    assert!(!run.stderr().contains(SECRET), "{}", run.stderr());
}

#[test]
fn each_way_to_authenticate_works_from_each_place_of_a_password() {
    let server = Server::start(&["--plugin-load-add=auth_ed25519"]);
    for (number, via) in [
        ("1", "mysql_native_password USING PASSWORD('se#cr\"et')"),
        ("2", "ed25519 USING PASSWORD('se#cr\"et')"),
        (
            "3",
            "unix_socket OR mysql_native_password USING PASSWORD('se#cr\"et')",
        ),
        (
            "4",
            "ed25519 USING PASSWORD('se#cr\"et') OR mysql_native_password USING 'invalid'",
        ),
    ] {
        let user = format!("u{number}");
        server.sql(&format!(
            "CREATE USER {user}@localhost IDENTIFIED VIA {via};
             GRANT ALL ON c{number}.* TO {user}@localhost"
        ));
        let database = format!("database = 'c{number}'");
        let env = env_in(&server, &user, &database);
        append(&env, ALICE);
        let said = env.start_collecting().finish();
        said.exits_with(3).complains("Access denied for user");

        let file = private(&env, "password", &format!("{SECRET}\n"));
        let from_file = format!("{database}\npassword_file = '{file}'");
        let env = configure(env, &server, &user, &from_file);
        env.collect();

        let file = private(
            &env,
            "my.cnf",
            &format!("[mysqld]\npassword=x\n[client]\npassword='{SECRET}'\nuser=nobody\n"),
        );
        let from_options = format!("{database}\ndefaults_file = '{file}'");
        let env = configure(env, &server, &user, &from_options);
        append(&env, BOB);
        env.collect();
        assert_eq!(names(&env), ["alice", "bob"]);

        let env = configure(env, &server, &user, &database);
        for (password, code) in [(SECRET, 0), ("wrong", 3)] {
            let mut command = env.command(&["accounts"]);
            command.env("CONNTRACKER_MARIADB__PASSWORD", password);
            env.start_command(command).finish().exits_with(code);
        }
        let mut command = env.command(&["config"]);
        command.env("CONNTRACKER_MARIADB__PASSWORD", SECRET);
        let shown = env.start_command(command).finish();
        shown.exits_with(0);
        assert!(!shown.stdout().contains(SECRET), "{}", shown.stdout());
    }
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::start(&["--plugin-load-add=auth_ed25519"]);
    server.sql(
        "CREATE USER native@localhost IDENTIFIED BY 'right';
         CREATE USER ed@localhost IDENTIFIED VIA ed25519 USING PASSWORD('right');
         CREATE USER chain@localhost
             IDENTIFIED VIA ed25519 USING PASSWORD('right') OR mysql_native_password USING 'invalid'",
    );
    for user in ["native", "ed", "chain", "nobody-of-that-name"] {
        let env = env_in(&server, user, "");
        append(&env, ALICE);
        let file = private(&env, "password", SECRET);
        is_denied(&configure(
            env,
            &server,
            user,
            &format!("password_file = '{file}'"),
        ));
    }
}

#[test]
fn the_operating_systems_user_comes_in_over_the_socket_without_a_word() {
    let server = Server::start(&[]);
    let output = Command::new("id")
        .arg("-un")
        .output()
        .expect("the program id");
    let user = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned();
    server.sql(&format!(
        "CREATE OR REPLACE USER `{user}`@localhost IDENTIFIED VIA unix_socket;
         GRANT ALL ON *.* TO `{user}`@localhost"
    ));
    let socket = server.address().socket.to_str().expect("a path");
    let env = TestEnv::new();
    append(&env, ALICE);
    let log = env.log_path().to_str().expect("a path");
    let run = [
        "run",
        "--audit-log",
        log,
        "--store",
        "mariadb",
        "--socket",
        socket,
    ];
    env.run(&run).is_silent_success();
    let other = [&run[..], &["--user", "somebody-else"]].concat();
    env.run(&other).exits_with(3).complains("Access denied");
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let server = Server::start(&[]);
    for (key, text) in [
        ("password_file", "secret\n"),
        ("defaults_file", "[client]\npassword=secret\n"),
    ] {
        let env = env_in(&server, "root", "");
        append(&env, ALICE);
        let file = private(&env, "secret", text);
        let env = configure(env, &server, "root", &format!("{key} = '{file}'"));
        for (mode, message) in [
            (
                0o604,
                "open to every user of this machine; run 'chmod o= FILE'",
            ),
            (0o602, "open to every user"),
        ] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("its mode");
            let run = env.start_collecting().finish();
            run.exits_with(3).complains_once(&[&file, message]);
        }
        fs::remove_file(&file).expect("the file");
        let run = env.start_collecting().finish();
        run.exits_with(3).complains_once(&[&file, "No such file"]);
    }
}

// --- TLS.

/// Certificates for a server that is called `localhost`, by an authority nobody knows.
fn certificates() -> TempDir {
    let folder = TempDir::with_prefix("conntracker-tls-").expect("a temporary folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
    let mut params = CertificateParams::new([]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["server.test".to_owned(), "127.0.0.1".to_owned()])
        .and_then(|params| params.signed_by(&key, &authority))
        .expect("a certificate");
    let other = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([]).expect("parameters");
    let stranger = params.self_signed(&other).expect("an authority");
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
        ("stranger.pem", stranger.pem()),
    ] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn over_tcp(env: TestEnv, server: &Server, host: &str, more: &str) -> TestEnv {
    let port = server.address().port;
    env.configured(
        "tcp.toml",
        &format!(
            "stores = ['mariadb']\n[mariadb]\nhost = '{host}'\nport = {port}\nuser = 'tcp'\n{more}\n"
        ),
    )
}

#[test]
fn tcp_is_encrypted_and_verified_unless_told_otherwise() {
    let folder = certificates();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let server = Server::start(&[
        &format!("--ssl-ca={}", file("ca.pem")),
        &format!("--ssl-cert={}", file("server.pem")),
        &format!("--ssl-key={}", file("key.pem")),
        "--require-secure-transport=ON",
    ]);
    server.sql("CREATE USER tcp@127.0.0.1; GRANT ALL ON conntrack.* TO tcp@127.0.0.1");
    let ca = format!("tls_ca = '{}'", file("ca.pem"));
    let mut env = TestEnv::new();
    append(&env, ALICE);
    for (more, words) in [
        ("", "TLS: "),
        ("tls = false", "TLS is required"),
        (&*format!("tls_ca = '{}'", file("stranger.pem")), "TLS: "),
        (&*format!("tls_ca = '{}'", file("none.pem")), "none.pem: "),
    ] {
        env = over_tcp(env, &server, "127.0.0.1", more);
        let run = env.start_collecting().finish();
        run.exits_with(3)
            .complains_once(&["MariaDB store conntrack at 127.0.0.1:", words]);
    }
    // The certificate is not for this name.
    env = over_tcp(env, &server, "127.0.0.2", &ca);
    let run = env.start_collecting().finish();
    run.exits_with(3).complains_once(&["TLS: ", "set tls_ca"]);
    env = over_tcp(env, &server, "127.0.0.1", &ca);
    env.collect();
    assert_eq!(names(&env), ["alice"]);
}

#[test]
fn plain_text_is_sent_only_where_that_is_asked_for() {
    let server = Server::start(&["--ssl=0"]);
    server.sql("CREATE USER tcp@127.0.0.1; GRANT ALL ON conntrack.* TO tcp@127.0.0.1");
    let env = TestEnv::new();
    append(&env, ALICE);
    let env = over_tcp(env, &server, "127.0.0.1", "");
    let run = env.start_collecting().finish();
    run.exits_with(3)
        .complains_once(&["does not offer TLS", "tls = false"]);
    let env = over_tcp(env, &server, "127.0.0.1", "tls = false");
    env.collect();
    assert_eq!(names(&env), ["alice"]);
}

#[test]
fn parsec_lets_in_where_the_server_knows_it() {
    let server = Server::start(&[]);
    let installed = server.root().query("INSTALL SONAME 'auth_parsec'");
    let version = server.version();
    println!("parsec on MariaDB {version:?}: {installed:?}");
    if version < (11, 6) {
        // Then there is nothing that one could log in with.
        installed.expect_err("parsec came with 11.6");
        return;
    }
    installed.expect("the plugin");
    server.sql(
        "CREATE USER modern@localhost IDENTIFIED VIA parsec USING PASSWORD('se#cr\"et');
         GRANT ALL ON conntrack.* TO modern@localhost",
    );
    let env = env_in(&server, "modern", "");
    append(&env, ALICE);
    is_denied(&env);
    let file = private(&env, "password", "wrong");
    let env = configure(env, &server, "modern", &format!("password_file = '{file}'"));
    is_denied(&env);
    let file = private(&env, "password", SECRET);
    let env = configure(env, &server, "modern", &format!("password_file = '{file}'"));
    env.collect();
    assert_eq!(names(&env), ["alice"]);
}
