//! What must hold is told in `aleph-hostile`.
#![no_main]

use aleph_hostile::target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(target) = target("car") {
        (target.run)(bytes);
    }
});
