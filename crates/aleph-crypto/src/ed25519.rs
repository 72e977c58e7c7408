//! Ed25519 with the verdicts of libsodium, which the reference uses.

use std::collections::HashMap;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha512};

use crate::SignatureError::{self, Invalid};

/// Verifies with libsodium's rules: canonical key and `s`, no key or `R` of small order.
pub(crate) fn verify(key: &[u8; 32], payload: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    if !is_canonical(key) {
        return Err(Invalid);
    }
    let key = VerifyingKey::from_bytes(key).map_err(|_| Invalid)?;
    key.verify_strict(payload, &Signature::from_bytes(signature)).map_err(|_| Invalid)
}

/// A signature that is still to be verified.
pub(crate) struct Claim {
    pub(crate) key: [u8; 32],
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: [u8; 64],
}

/// How many points are inverted at once; more saves nothing.
const CHUNK: usize = 128;

/// [`verify`] for each claim: the same verdict, as every equation is still computed on its own. What is
/// shared is the reading of keys that come again and one inversion for many points; `R` is not read at all,
/// as it must equal the encoding of a point that is known by then. Sums of equations with random factors
/// would be faster, but accept what is refused one by one (`docs/adr/0011-ed25519-batches.md`).
pub(crate) fn verify_all(claims: &[Claim]) -> Vec<Result<(), SignatureError>> {
    if let [claim] = claims {
        return vec![verify(&claim.key, &claim.payload, &claim.signature)];
    }
    let mut keys = HashMap::new();
    let mut verdicts = Vec::with_capacity(claims.len());
    for chunk in claims.chunks(CHUNK) {
        let computed: Vec<Option<EdwardsPoint>> =
            chunk.iter().map(|claim| claim.expected_r(&mut keys)).collect();
        let points: Vec<EdwardsPoint> = computed.iter().flatten().copied().collect();
        let mut encoded = EdwardsPoint::compress_batch_alloc(&points).into_iter();
        verdicts.extend(chunk.iter().zip(&computed).map(|(claim, point)| {
            let point = point.as_ref().ok_or(Invalid)?;
            let encoded = encoded.next().ok_or(Invalid)?;
            let is_r = encoded.as_bytes()[..] == claim.signature[..32];
            if is_r && !point.is_small_order() { Ok(()) } else { Err(Invalid) }
        }));
    }
    verdicts
}

impl Claim {
    /// The point that `R` must be the encoding of; `None` when key or `s` are refused whatever `R` is.
    fn expected_r(&self, keys: &mut HashMap<[u8; 32], Option<EdwardsPoint>>) -> Option<EdwardsPoint> {
        let minus_key = (*keys.entry(self.key).or_insert_with(|| negated(&self.key)))?;
        let (r, s) = self.signature.split_at(32);
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let mut hasher = Sha512::new();
        hasher.update(r);
        hasher.update(self.key);
        hasher.update(&self.payload);
        let k = Scalar::from_bytes_mod_order_wide(&hasher.finalize().into());
        Some(EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &minus_key, &s))
    }
}

/// The negated point of a key that may sign.
fn negated(key: &[u8; 32]) -> Option<EdwardsPoint> {
    if !is_canonical(key) {
        return None;
    }
    let point = CompressedEdwardsY(*key).decompress()?;
    (!point.is_small_order()).then(|| -point)
}

/// Whether the coordinate of a point is below 2²⁵⁵ − 19; the highest bit is the sign of the other one.
fn is_canonical(key: &[u8; 32]) -> bool {
    key[0] < 0xed || key[1..31].iter().any(|&byte| byte != 0xff) || key[31] & 0x7f != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_and_odd_encodings_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify(&identity, b"x", &signature), Err(Invalid));
        assert!(!is_canonical(&[0xff; 32]));
        assert!(is_canonical(&identity));
    }

    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    /// A signature with torsion added to the key, to `R`, or both; `s` fits the part of prime order.
    fn with_torsion(scalar: u64, key_torsion: usize, r_torsion: usize, payload: &[u8]) -> Claim {
        let (a, nonce) = (Scalar::from(scalar | 1), Scalar::from(scalar.rotate_left(17) | 2));
        let key = (a * ED25519_BASEPOINT_POINT + EIGHT_TORSION[key_torsion]).compress().to_bytes();
        let r = (nonce * ED25519_BASEPOINT_POINT + EIGHT_TORSION[r_torsion]).compress().to_bytes();
        let digest = Sha512::new().chain_update(r).chain_update(key).chain_update(payload).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&digest.into());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice((nonce + k * a).as_bytes());
        Claim { key, payload: payload.to_vec(), signature }
    }

    fn one_by_one(claims: &[Claim]) -> Vec<Result<(), SignatureError>> {
        claims.iter().map(|claim| verify(&claim.key, &claim.payload, &claim.signature)).collect()
    }

    /// Encodings at the edges: small order, not canonical, negative zero, no point, highest.
    fn odd_points() -> Vec<[u8; 32]> {
        let mut points: Vec<[u8; 32]> =
            EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
        let mut near_p = [0xff; 32];
        near_p[31] = 0x7f;
        // p - 2 to 2^255 - 1, of which those from p on are second encodings of 0 to 18.
        for low in 0xeb..=0xff {
            near_p[0] = low;
            points.push(near_p);
        }
        points.extend((0..5u8).map(|low| {
            let mut point = [0; 32];
            point[0] = low;
            point
        }));
        for index in 0..points.len() {
            let mut other_sign = points[index];
            other_sign[31] ^= 0x80;
            points.push(other_sign);
        }
        points
    }

    #[test]
    fn the_edges_have_the_same_verdict() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let good = signer.sign(b"x").to_bytes();
        let order_and: [u8; 32] = {
            // s + L, which encodes the same scalar.
            let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
            let order = hex::decode(order).unwrap();
            let mut sum = [0; 32];
            let mut carry = 0u16;
            for index in 0..32 {
                let digit = u16::from(good[32 + index]) + u16::from(order[index]) + carry;
                sum[index] = digit as u8;
                carry = digit >> 8;
            }
            sum
        };
        let own = signer.verifying_key().to_bytes();
        let scalars = [good[32..].try_into().unwrap(), order_and, [0; 32], [0xff; 32]];
        let points: Vec<[u8; 32]> =
            odd_points().into_iter().chain([own, good[..32].try_into().unwrap()]).collect();
        let mut claims = Vec::new();
        for key in &points {
            for r in &points {
                for s in &scalars {
                    let mut signature = [0; 64];
                    signature[..32].copy_from_slice(r);
                    signature[32..].copy_from_slice(s);
                    claims.push(Claim { key: *key, payload: b"x".to_vec(), signature });
                }
            }
        }
        let verdicts = one_by_one(&claims);
        assert_eq!(verify_all(&claims), verdicts);
        // The genuine one, and nothing else.
        assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 1);
    }

    #[test]
    fn torsion_has_the_same_verdict() {
        let mut claims = Vec::new();
        for key_torsion in 0..8 {
            for r_torsion in 0..8 {
                claims.extend((0..8u8).map(|byte| with_torsion(99, key_torsion, r_torsion, &[byte])));
            }
        }
        let verdicts = one_by_one(&claims);
        assert_eq!(verify_all(&claims), verdicts);
        let accepted = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
        // Where key and R both have torsion it cancels by chance: such signatures are accepted, too.
        assert!(accepted > 8 && accepted < claims.len() / 2, "{accepted}");
    }

    /// Why equations are not summed: both of these are refused, but what is left of them cancels, whatever
    /// the factors are, as long as both are odd or both even.
    #[test]
    fn a_sum_of_equations_would_accept_what_is_refused() {
        let claims = [with_torsion(5, 0, 4, b"a"), with_torsion(6, 0, 4, b"b")];
        assert_eq!(one_by_one(&claims), [Err(Invalid), Err(Invalid)]);
        let rest = |claim: &Claim| {
            let r = CompressedEdwardsY(claim.signature[..32].try_into().unwrap()).decompress().unwrap();
            claim.expected_r(&mut HashMap::new()).unwrap() - r
        };
        let sum = Scalar::from(3u8) * rest(&claims[0]) + Scalar::from(0xdead_beefu32) * rest(&claims[1]);
        assert_eq!(sum.compress(), CompressedEdwardsY(EIGHT_TORSION[0].compress().to_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_same_verdict(
            made in prop::collection::vec((0u8..6, any::<u64>(), 0usize..8, 0usize..8, 0usize..96, any::<u8>()), 0..200),
        ) {
            let claims: Vec<Claim> = made
                .iter()
                .map(|&(kind, scalar, key_torsion, r_torsion, at, byte)| {
                    if kind == 0 {
                        return with_torsion(scalar, key_torsion, r_torsion, &[byte]);
                    }
                    let signer = SigningKey::from_bytes(&[byte % 4; 32]);
                    let signature = signer.sign(&scalar.to_le_bytes()).to_bytes();
                    let key = signer.verifying_key().to_bytes();
                    let mut claim = Claim { key, payload: scalar.to_le_bytes().to_vec(), signature };
                    match (kind, at) {
                        (1, 0..64) => claim.signature[at] ^= byte,
                        (1, _) => claim.key[at - 64] ^= byte,
                        _ => {}
                    }
                    claim
                })
                .collect();
            prop_assert_eq!(verify_all(&claims), one_by_one(&claims));
        }
    }

    /// `cargo test -p aleph-crypto --release -- --ignored --nocapture cost`
    #[test]
    #[ignore = "prints times, asserts nothing about them"]
    fn cost() {
        for keys in [1, 256] {
            let claims: Vec<Claim> = (0..1024u32)
                .map(|index| {
                    let mut secret = [0; 32];
                    secret[..4].copy_from_slice(&(index % keys).to_le_bytes());
                    let signer = SigningKey::from_bytes(&secret);
                    let payload = [index.to_le_bytes().as_slice(), &[0; 100]].concat();
                    let signature = signer.sign(&payload).to_bytes();
                    Claim { key: signer.verifying_key().to_bytes(), payload, signature }
                })
                .collect();
            let best = |run: fn(&[Claim]) -> Vec<Result<(), SignatureError>>| {
                let times = (0..20).map(|_| {
                    let start = std::time::Instant::now();
                    assert!(run(&claims).iter().all(Result::is_ok));
                    start.elapsed()
                });
                times.min().unwrap() / 1024
            };
            println!("{keys} keys: one by one {:?}, in batches {:?}", best(one_by_one), best(verify_all));
        }
    }
}
