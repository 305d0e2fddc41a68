//! Policies that follow each other under any sequence of calls, against a list of what was admitted.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/succession/mod.rs"]
#[allow(dead_code, reason = "the crate's tests use more of it")]
mod succession;

fuzz_target!(|bytes: &[u8]| {
    succession::run(bytes);
});
