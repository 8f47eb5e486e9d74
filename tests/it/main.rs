//! The program as its users meet it: the binary, real files and, in `live`, a real MariaDB server.
//!
//! `TestEnv` runs the binary, `Server` and `Client` make a server log what a test needs, `Figures`
//! are what both are compared by. `tests/run` sets up what these tests need and runs them, and by
//! `tests/compose` the one against a server in a container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account_rows;
mod activity;
mod attacks;
mod cases;
mod check;
mod checks;
mod cli;
mod client;
mod container;
mod defects;
mod env;
mod faults;
mod figures;
mod flag;
mod galera;
mod grafana;
mod honest;
mod init;
mod kill;
mod live;
mod mariadb;
mod model;
mod oracle;
mod page;
mod properties;
mod random;
mod readme;
mod store;
mod textfile;
