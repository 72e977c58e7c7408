use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, Signature, SignatureFamily};

use crate::error::{Error, Result};

/// A key that signs, and the address that it signs for.
///
/// The key's bytes are never shown by `Debug`.
#[derive(Clone)]
pub struct Account {
    key: Key,
    chain: Chain,
    address: Address,
}

/// One variant a family of signatures.
#[derive(Clone)]
enum Key {
    Evm(EvmKey),
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("chain", &self.chain)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// A new random Ethereum account.
    pub fn generate() -> Result<Self> {
        // A number is a key with overwhelming probability; the loop serves the rest.
        loop {
            let mut secret = [0u8; 32];
            getrandom::fill(&mut secret).map_err(|error| Error::Sign(Box::new(error)))?;
            if let Ok(account) = Self::from_secret(Chain::Eth, &secret) {
                return Ok(account);
            }
        }
    }

    /// The account of a 32-byte secret key on `chain`.
    ///
    /// # Errors
    /// [`Error::Input`] when the chain's signatures can't be made yet or the bytes are no key of its curve.
    pub fn from_secret(chain: Chain, secret: &[u8; 32]) -> Result<Self> {
        match chain.family() {
            SignatureFamily::Evm => {
                let key = EvmKey::from_bytes(*secret).map_err(|error| Error::Sign(Box::new(error)))?;
                let address = Address::from(key.address());
                Ok(Self { key: Key::Evm(key), chain, address })
            }
            _ => Err(Error::input(format!(
                "keys of {} can't sign here yet; use an EVM chain such as ETH",
                chain.name()
            ))),
        }
    }

    /// The account of a secret key written in hexadecimal, with or without `0x`.
    pub fn from_hex(chain: Chain, text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let bytes = hex::decode(digits)
            .map_err(|_| Error::input("a secret key is written with hexadecimal digits"))?;
        let secret: [u8; 32] = bytes
            .try_into()
            .map_err(|_| Error::input("a secret key has 32 bytes, that is 64 hexadecimal digits"))?;
        Self::from_secret(chain, &secret)
    }

    /// The chain under which messages are signed.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The sender of messages.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The secret key in hexadecimal, to keep it. Handle with care.
    pub fn secret_hex(&self) -> String {
        match &self.key {
            Key::Evm(key) => key.to_secret_hex(),
        }
    }

    /// Signs bytes as the chain's wallets do; EVM: EIP-191 (`spec: signatures.md §4`).
    pub fn sign(&self, message: &[u8]) -> Result<Signature> {
        match &self.key {
            Key::Evm(key) => Ok(Signature::from(key.sign_eip191(message).to_string())),
        }
    }
}
