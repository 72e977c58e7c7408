//! A signature text, a newline, a payload: whoever is recovered is recovered from every other form of the
//! text too.
#![no_main]

use aleph_crypto::{EvmSignature, recover_eip191};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (text, payload) = (&bytes[..end], &bytes[end + 1..]);
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(signature) = text.parse::<EvmSignature>() else { return };
    let Ok(signer) = recover_eip191(payload, &signature) else { return };
    let upper = signature.to_string().to_ascii_uppercase();
    let again: EvmSignature = upper.parse().expect("upper case is accepted");
    assert_eq!(recover_eip191(payload, &again), Ok(signer));
});
