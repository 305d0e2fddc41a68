//! Any sequence of calls, against the reference model: every answer must be one that the model allows.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let policies = model::policy::samples();
    let policy = &policies[usize::from(*first) % policies.len()];
    model::run(&model::Operation::decode(rest), policy);
});
