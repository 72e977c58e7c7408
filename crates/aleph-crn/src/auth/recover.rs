//! Who signed some bytes with `personal_sign` (EIP-191).

use aleph_crypto::{EvmSignature, recover_eip191};

/// The lower-case address whose key made `signature` (65 bytes `r ‖ s ‖ v`) over `payload`; `None` when
/// the signature has no such form.
pub(super) fn eip191_signer(payload: &[u8], signature: &[u8]) -> Option<String> {
    let signature = EvmSignature::from_bytes(signature.try_into().ok()?);
    let address = recover_eip191(payload, &signature).ok()?;
    Some(address.to_string().to_ascii_lowercase())
}
