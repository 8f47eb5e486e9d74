//! The property itself is shared with the tests: see tests/it/properties/account.rs.
#![no_main]

#[path = "../../tests/it/properties/account.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
