//! conntracker answers, for a MariaDB server, what the server itself cannot: when was each account
//! last used, and who failed to log in. This is the way of the data, from left to right, and no
//! module knows one to its right:
//!
//! ```text
//! files ─ audit_log::source ─ reader ─ record ─ trust ─ tally ─ store ─┐
//!                                        MariaDB server ─ server ──────┴─ check ─ report
//! ```
//!
//! - [`audit_log`] finds the files of a rotated log, knows each by its content, reads complete lines
//!   from where the last run ended, takes each line apart, and decides what may be believed.
//! - [`tally`] turns believed records into the use of each account, bounded in memory.
//! - [`store`] merges that with what is known, together with the [`checkpoint`], or not at all, and
//!   lists it: filtered (by a [`wildcard`], for one) and sorted.
//! - [`server`] asks a running server for its accounts and connections, [`account`] knows which of
//!   the accounts the server picks for a login, and [`check`] holds the two against each other.
//! - [`mariadb`] reaches a server, for the store and for `server`.
//! - [`report`] prints what the store holds, for people and for programs.
//! - [`setup`] works out what a server and its machine need first, the configuration that [`config`]
//!   reads among it.
//! - [`command`] ties them together, one file a subcommand; only it knows [`cli`].

pub mod account;
pub mod audit_log;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod command;
pub mod config;
pub mod error;
pub mod ingest;
pub mod machine;
pub mod mariadb;
pub mod name;
pub mod report;
pub mod server;
pub mod setup;
pub mod store;
pub mod tally;
pub mod time;
pub mod wildcard;
