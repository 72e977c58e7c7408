//! What must hold is told in `aleph-ccn` (`intake/catch_up/tried.rs`): it is no code of the core.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aleph_ccn::sync_answer(bytes));
