//! From files to records that may be believed.
//!
//! [`source`] says which files make up a rotated log, [`reader`] yields their complete lines from
//! where the last run ended, [`syslog`] takes off what a daemon put in front, [`record`] takes one
//! line apart, [`timestamp`] turns the server's local time into an instant, [`trust`] decides what may
//! be believed, and [`session`] follows each connection to know whom a record is to be credited to.
//!
//! Most lines go a shorter way: [`plain`] reads those of the common form, and [`calm`] finds the
//! stretches of them that need not be judged.

pub mod calm;
pub mod plain;
pub mod reader;
pub mod record;
pub mod session;
pub mod source;
pub mod syslog;
pub mod timestamp;
pub mod trust;
