use std::fmt;
use std::str::FromStr;

/// How signatures of a chain are verified (`spec: signatures.md §2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureFamily {
    /// secp256k1 with recovery over an EIP-191 text.
    Evm,
    /// Ed25519 of Solana and Eclipse.
    Solana,
    /// Tezos on three curves.
    Tezos,
    /// Cosmos SDK, any prefix.
    Cosmos,
    /// Substrate sr25519.
    Substrate,
    /// Avalanche X, P and C chains.
    Avalanche,
    /// NULS 2.
    Nuls2,
    /// NULS 1.
    Nuls,
    /// The chain is named by the schema, but nothing verifies it: error 0.
    None,
}

/// A text that names no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown chain '{0}'")]
pub struct UnknownChain(pub String);

/// A chain whose keys may sign messages: the 33 values of the wire (`spec: signatures.md §2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is the name of the chain")]
pub enum Chain {
    Arb,
    Aurora,
    Avax,
    Base,
    Blast,
    Bob,
    Bsc,
    Csdk,
    Cyber,
    Dot,
    Es,
    Eth,
    Etherlink,
    Frax,
    Hype,
    Ink,
    Lens,
    Linea,
    Lisk,
    Metis,
    Mode,
    Neo,
    Nuls,
    Nuls2,
    Op,
    Pol,
    Sol,
    Stt,
    Sonic,
    Tezos,
    Unichain,
    Wld,
    Zora,
}

impl Chain {
    /// Every chain, in the order of the wire's documentation.
    pub const ALL: [Chain; 33] = [
        Chain::Arb,
        Chain::Aurora,
        Chain::Avax,
        Chain::Base,
        Chain::Blast,
        Chain::Bob,
        Chain::Bsc,
        Chain::Csdk,
        Chain::Cyber,
        Chain::Dot,
        Chain::Es,
        Chain::Eth,
        Chain::Etherlink,
        Chain::Frax,
        Chain::Hype,
        Chain::Ink,
        Chain::Lens,
        Chain::Linea,
        Chain::Lisk,
        Chain::Metis,
        Chain::Mode,
        Chain::Neo,
        Chain::Nuls,
        Chain::Nuls2,
        Chain::Op,
        Chain::Pol,
        Chain::Sol,
        Chain::Stt,
        Chain::Sonic,
        Chain::Tezos,
        Chain::Unichain,
        Chain::Wld,
        Chain::Zora,
    ];

    /// The code on the wire, upper case.
    pub fn as_str(self) -> &'static str {
        match self {
            Chain::Arb => "ARB",
            Chain::Aurora => "AURORA",
            Chain::Avax => "AVAX",
            Chain::Base => "BASE",
            Chain::Blast => "BLAST",
            Chain::Bob => "BOB",
            Chain::Bsc => "BSC",
            Chain::Csdk => "CSDK",
            Chain::Cyber => "CYBER",
            Chain::Dot => "DOT",
            Chain::Es => "ES",
            Chain::Eth => "ETH",
            Chain::Etherlink => "ETHERLINK",
            Chain::Frax => "FRAX",
            Chain::Hype => "HYPE",
            Chain::Ink => "INK",
            Chain::Lens => "LENS",
            Chain::Linea => "LINEA",
            Chain::Lisk => "LISK",
            Chain::Metis => "METIS",
            Chain::Mode => "MODE",
            Chain::Neo => "NEO",
            Chain::Nuls => "NULS",
            Chain::Nuls2 => "NULS2",
            Chain::Op => "OP",
            Chain::Pol => "POL",
            Chain::Sol => "SOL",
            Chain::Stt => "STT",
            Chain::Sonic => "SONIC",
            Chain::Tezos => "TEZOS",
            Chain::Unichain => "UNICHAIN",
            Chain::Wld => "WLD",
            Chain::Zora => "ZORA",
        }
    }

    /// The name people know.
    pub fn name(self) -> &'static str {
        match self {
            Chain::Arb => "Arbitrum",
            Chain::Aurora => "Aurora",
            Chain::Avax => "Avalanche",
            Chain::Base => "Base",
            Chain::Blast => "Blast",
            Chain::Bob => "Bob",
            Chain::Bsc => "BNB chain",
            Chain::Csdk => "Cosmos SDK",
            Chain::Cyber => "Cyber",
            Chain::Dot => "Substrate",
            Chain::Es => "Eclipse",
            Chain::Eth => "Ethereum",
            Chain::Etherlink => "Etherlink",
            Chain::Frax => "Fraxtal",
            Chain::Hype => "Hyperliquid",
            Chain::Ink => "Ink",
            Chain::Lens => "Lens",
            Chain::Linea => "Linea",
            Chain::Lisk => "Lisk",
            Chain::Metis => "Metis",
            Chain::Mode => "Mode",
            Chain::Neo => "Neo",
            Chain::Nuls => "NULS 1",
            Chain::Nuls2 => "NULS 2",
            Chain::Op => "Optimism",
            Chain::Pol => "Polygon",
            Chain::Sol => "Solana",
            Chain::Stt => "Somnia",
            Chain::Sonic => "Sonic",
            Chain::Tezos => "Tezos",
            Chain::Unichain => "Unichain",
            Chain::Wld => "World chain",
            Chain::Zora => "Zora",
        }
    }

    /// The verifier for this chain.
    pub fn family(self) -> SignatureFamily {
        match self {
            Chain::Arb
            | Chain::Base
            | Chain::Blast
            | Chain::Bob
            | Chain::Bsc
            | Chain::Cyber
            | Chain::Eth
            | Chain::Etherlink
            | Chain::Frax
            | Chain::Hype
            | Chain::Ink
            | Chain::Lens
            | Chain::Linea
            | Chain::Lisk
            | Chain::Metis
            | Chain::Mode
            | Chain::Neo
            | Chain::Op
            | Chain::Pol
            | Chain::Sonic
            | Chain::Unichain
            | Chain::Wld
            | Chain::Zora => SignatureFamily::Evm,
            Chain::Avax => SignatureFamily::Avalanche,
            Chain::Csdk => SignatureFamily::Cosmos,
            Chain::Dot => SignatureFamily::Substrate,
            Chain::Es => SignatureFamily::Solana,
            Chain::Sol => SignatureFamily::Solana,
            Chain::Nuls => SignatureFamily::Nuls,
            Chain::Nuls2 => SignatureFamily::Nuls2,
            Chain::Tezos => SignatureFamily::Tezos,
            Chain::Aurora | Chain::Stt => SignatureFamily::None,
        }
    }
}

impl FromStr for Chain {
    type Err = UnknownChain;

    /// Case counts.
    fn from_str(text: &str) -> Result<Self, UnknownChain> {
        Chain::ALL
            .into_iter()
            .find(|chain| chain.as_str() == text)
            .ok_or_else(|| UnknownChain(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Chain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Chain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
