use std::fmt;

use aleph_types::{Address, Chain, Message, Signature, SignatureFamily};
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey};
use secp256k1::{PublicKey, SecretKey};

use crate::nuls::{Nuls2Network, NulsTemplate};
use crate::tezos::{TezosCurve, TezosKey, TezosPayload};
use crate::{EvmKey, KeyError, avalanche, cosmos, nuls, solana, substrate};

/// Longest prefix of a Cosmos address (BIP 173).
const MOST_HRP: usize = 83;
/// What keeps NULS 1's main network apart.
const NULS_MAIN: i16 = 8964;
/// Substrate's prefix for any network.
const SUBSTRATE_ANY: u16 = 42;
/// Longest URL that travels in a signature, in bytes: the whole text must stay well below what nodes read.
const MOST_DAPP: usize = 2048;

/// A private key with the account that it signs for, of any chain that has a verifier.
///
/// Signatures are made in the text form of the official clients (`spec: signatures.md §14`). No randomness
/// enters: ECDSA takes its nonces from RFC 6979, Ed25519 and sr25519 from the secret key and the message, so
/// the same message always gets the same signature. The secret is never shown, not even by `Debug`.
///
/// ```
/// use aleph_crypto::{SigningKey, TezosCurve, TezosPayload};
/// use aleph_types::Chain;
///
/// let solana = SigningKey::for_chain(Chain::Sol, [7; 32])?;
/// let polkadot = SigningKey::substrate([7; 32], 0, false)?;
/// let tezos = SigningKey::tezos([7; 32], TezosCurve::P256, TezosPayload::Raw)?;
/// assert!(tezos.address().as_str().starts_with("tz3"));
/// # Ok::<(), aleph_crypto::KeyError>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    chain: Chain,
    address: Address,
    secret: [u8; 32],
    signer: Signer,
}

#[derive(Clone)]
enum Signer {
    Evm(EvmKey),
    Solana(Box<ed25519_dalek::SigningKey>),
    Tezos(TezosKey, TezosPayload),
    Cosmos(SecretKey),
    Substrate { key: Box<Keypair>, as_extension: bool },
    Avalanche(SecretKey),
    Nuls2(SecretKey),
    Nuls(SecretKey, NulsTemplate),
}

fn secp256k1_key(secret: [u8; 32]) -> Result<(SecretKey, PublicKey), KeyError> {
    let key = SecretKey::from_secret_bytes(secret).map_err(|_| KeyError::OutOfRange)?;
    Ok((key, PublicKey::from_secret_key(&key)))
}

impl SigningKey {
    /// The key of an account as the official clients make it when they are told nothing else: tz1 and the
    /// plain buffer for Tezos, prefix `cosmos`, SS58 network 42, Avalanche's `X` chain, the main networks of
    /// NULS and today's text of NULS 1.
    ///
    /// # Errors
    /// [`KeyError::NoVerifier`] for chains that nobody verifies, [`KeyError::OutOfRange`] for bytes that are
    /// no key of the curve; Ed25519 and sr25519 take any bytes.
    pub fn for_chain(chain: Chain, secret: [u8; 32]) -> Result<Self, KeyError> {
        match chain.family() {
            SignatureFamily::Evm => {
                let key = EvmKey::from_bytes(secret)?;
                Ok(Self { chain, address: key.address().into(), secret, signer: Signer::Evm(key) })
            }
            SignatureFamily::Solana => Self::solana(chain, secret),
            SignatureFamily::Tezos => Self::tezos(secret, TezosCurve::Ed25519, TezosPayload::Raw),
            SignatureFamily::Cosmos => Self::cosmos(secret, "cosmos"),
            SignatureFamily::Substrate => Self::substrate(secret, SUBSTRATE_ANY, false),
            SignatureFamily::Avalanche => Self::avalanche(secret, "X"),
            SignatureFamily::Nuls2 => Self::nuls2(secret, Nuls2Network::Main),
            SignatureFamily::Nuls => Self::nuls(secret, NULS_MAIN, NulsTemplate::Shown),
            SignatureFamily::None => Err(KeyError::NoVerifier(chain)),
        }
    }

    /// Solana or Eclipse; `secret` is the seed, the first half of a 64-byte key file.
    ///
    /// # Errors
    /// [`KeyError::OtherFamily`] for another chain.
    pub fn solana(chain: Chain, secret: [u8; 32]) -> Result<Self, KeyError> {
        if chain.family() != SignatureFamily::Solana {
            return Err(KeyError::OtherFamily(chain));
        }
        let key = ed25519_dalek::SigningKey::from_bytes(&secret);
        Ok(Self { chain, address: solana::address(&key).into(), secret, signer: Signer::Solana(key.into()) })
    }

    /// Tezos; for Ed25519 `secret` is the seed.
    ///
    /// # Errors
    /// [`KeyError`] for bytes that are no key of the curve and for a URL beyond 2,048 bytes.
    pub fn tezos(secret: [u8; 32], curve: TezosCurve, payload: TezosPayload) -> Result<Self, KeyError> {
        if matches!(&payload, TezosPayload::Micheline { dapp } if dapp.len() > MOST_DAPP) {
            return Err(KeyError::Parameter("the URL of the application is longer than 2048 bytes"));
        }
        let key = TezosKey::from_bytes(curve, &secret)?;
        let address = key.address().into();
        Ok(Self { chain: Chain::Tezos, address, secret, signer: Signer::Tezos(key, payload) })
    }

    /// A Cosmos chain by the prefix of its addresses, such as `cosmos` or `osmo`.
    ///
    /// # Errors
    /// [`KeyError::Parameter`] for a prefix that is not 1 to 83 lower-case letters and digits without `1`;
    /// [`KeyError::OutOfRange`].
    pub fn cosmos(secret: [u8; 32], hrp: &str) -> Result<Self, KeyError> {
        let good = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'0' | b'2'..=b'9');
        if hrp.is_empty() || hrp.len() > MOST_HRP || !hrp.bytes().all(good) {
            return Err(KeyError::Parameter(
                "the prefix of an address is lower-case letters and digits, no 1",
            ));
        }
        let (key, public) = secp256k1_key(secret)?;
        let address = cosmos::address(hrp, &public).into();
        Ok(Self { chain: Chain::Csdk, address, secret, signer: Signer::Cosmos(key) })
    }

    /// A Substrate chain by its SS58 prefix: 0 is Polkadot, 2 Kusama, 42 any. `secret` is the mini secret
    /// that wallets derive from a phrase. `as_extension` signs the buffer between `<Bytes>` and `</Bytes>`,
    /// as browser extensions do; nodes accept both.
    ///
    /// # Errors
    /// [`KeyError::Parameter`] for the reserved prefixes 46 and 47 and for those beyond 14 bits.
    pub fn substrate(secret: [u8; 32], network: u16, as_extension: bool) -> Result<Self, KeyError> {
        if !substrate::is_network(network) {
            return Err(KeyError::Parameter("SS58 prefixes are 0 to 16383 without 46 and 47"));
        }
        let mini = MiniSecretKey::from_bytes(&secret)
            .map_err(|_| KeyError::Parameter("a mini secret key has 32 bytes"))?;
        let key = Box::new(mini.expand_to_keypair(ExpansionMode::Ed25519));
        let address = substrate::address(network, &key.public).into();
        Ok(Self { chain: Chain::Dot, address, secret, signer: Signer::Substrate { key, as_extension } })
    }

    /// Avalanche's chain `X`, `P` or `C`, of the main network: no other verifies.
    ///
    /// # Errors
    /// [`KeyError::Parameter`] for another chain; [`KeyError::OutOfRange`].
    pub fn avalanche(secret: [u8; 32], chain: &str) -> Result<Self, KeyError> {
        if !matches!(chain, "X" | "P" | "C") {
            return Err(KeyError::Parameter("Avalanche's chains are X, P and C"));
        }
        let (key, public) = secp256k1_key(secret)?;
        let address = avalanche::address(chain, &public).into();
        Ok(Self { chain: Chain::Avax, address, secret, signer: Signer::Avalanche(key) })
    }

    /// NULS 2.
    ///
    /// # Errors
    /// [`KeyError::OutOfRange`].
    pub fn nuls2(secret: [u8; 32], network: Nuls2Network) -> Result<Self, KeyError> {
        let (key, public) = secp256k1_key(secret)?;
        let address = nuls::address_v2(network, &public).into();
        Ok(Self { chain: Chain::Nuls2, address, secret, signer: Signer::Nuls2(key) })
    }

    /// NULS 1 by its chain id: 8964 is the main network, 261 the test network.
    ///
    /// # Errors
    /// [`KeyError::OutOfRange`].
    pub fn nuls(secret: [u8; 32], chain_id: i16, template: NulsTemplate) -> Result<Self, KeyError> {
        let (key, public) = secp256k1_key(secret)?;
        let address = nuls::address_v1(chain_id, &public).into();
        Ok(Self { chain: Chain::Nuls, address, secret, signer: Signer::Nuls(key, template) })
    }

    /// The `chain` of messages that the key signs.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The `sender` of messages that the key signs.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The key of an EVM account, which signs more than messages.
    pub fn as_evm(&self) -> Option<&EvmKey> {
        match &self.signer {
            Signer::Evm(key) => Some(key),
            _ => None,
        }
    }

    /// The secret itself, 64 hexadecimal digits, for key files only.
    pub fn to_secret_hex(&self) -> String {
        hex::encode(self.secret)
    }

    /// The signature of a message whose `chain` and `sender` are [`Self::chain`] and [`Self::address`]; for
    /// others it verifies nowhere. `sender`, `chain`, type and item hash are covered, with
    /// [`TezosPayload::Micheline`] also the time: fill them in before.
    pub fn sign_message(&self, message: &Message) -> Signature {
        match &self.signer {
            Signer::Evm(key) => key.sign_message(message),
            Signer::Solana(key) => solana::sign(message, key).into(),
            Signer::Tezos(key, payload) => key.sign(message, payload).into(),
            Signer::Cosmos(key) => cosmos::sign(message, key).into(),
            Signer::Substrate { key, as_extension } => substrate::sign(message, key, *as_extension).into(),
            Signer::Avalanche(key) => avalanche::sign(message, key).into(),
            Signer::Nuls2(key) => nuls::sign_v2(message, key).into(),
            Signer::Nuls(key, template) => nuls::sign_v1(message, key, *template).into(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("chain", &self.chain)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
