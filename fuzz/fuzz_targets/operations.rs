//! Any sequence of calls, against the reference model: every answer must be one that the model allows.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the crate's tests use more of it")]
mod model;

use model::samples::{everything, guarded, narrow, rates_only, zoned};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let policy = match first % 5 {
        0 => narrow(),
        1 => rates_only(),
        2 => guarded(),
        3 => zoned(),
        _ => everything(),
    };
    model::run(&model::Operation::decode(rest), &policy);
});
