//! The property itself is shared with the tests: see tests/it/properties/calm.rs.
#![no_main]

#[path = "../../tests/it/properties/calm.rs"]
mod property;
#[allow(dead_code)] // Only the server that it imagines is needed.
#[path = "../../tests/it/properties/trust.rs"]
mod trust;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
