use std::ops::Deref;

use aleph_types::{Message, ParsedMessage, SignatureFamily};

use crate::{SignatureError, avalanche, cosmos, ed25519, evm, nuls, solana, substrate, tezos};

/// Where messages come from that need no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrustedSource {
    /// The genesis file of a private network.
    Genesis,
    /// An event of a smart contract: the chain checked who sent it (`spec: signatures.md §3`).
    SmartContractEvent,
}

/// Something whose signature was verified, or that comes from a [`TrustedSource`].
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T> {
    value: T,
    trusted: Option<TrustedSource>,
}

impl<T> Verified<T> {
    /// Accepts `value` without looking at a signature. The caller vouches for the source.
    pub fn trusted(value: T, source: TrustedSource) -> Self {
        Self { value, trusted: Some(source) }
    }

    /// The source that stands for the signature; `None` when the signature was verified.
    pub fn trusted_source(&self) -> Option<TrustedSource> {
        self.trusted
    }

    /// The value, which is no longer known to be verified.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Verified<ParsedMessage> {
    /// Adds the content that was fetched by the hash which the signature covers.
    pub fn with_content(mut self, content: aleph_types::content::Content) -> Self {
        self.value.content = Some(content);
        self
    }
}

/// A message that was not accepted, given back with the reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("message {} refused: {error}", message.message.item_hash)]
pub struct Refused {
    /// The message as it was given.
    pub message: Box<ParsedMessage>,
    /// Why.
    #[source]
    pub error: SignatureError,
}

/// Verifies the signature of a message. About 31 µs for EVM chains.
///
/// # Errors
/// [`Refused`] gives the message back; [`SignatureError::code`] is the network's code.
pub fn verify(parsed: ParsedMessage) -> Result<Verified<ParsedMessage>, Refused> {
    let verdict = check(&parsed.message);
    judged(parsed, verdict)
}

fn judged(
    parsed: ParsedMessage,
    verdict: Result<(), SignatureError>,
) -> Result<Verified<ParsedMessage>, Refused> {
    match verdict {
        Ok(()) => Ok(Verified { value: parsed, trusted: None }),
        Err(error) => Err(Refused { message: Box::new(parsed), error }),
    }
}

/// [`verify`] for many messages at once, with the same verdicts in the same order. Those of Solana and
/// Eclipse share the work on the curve; the others are verified one by one.
pub fn verify_batch(parsed: Vec<ParsedMessage>) -> Vec<Result<Verified<ParsedMessage>, Refused>> {
    let mut claims = Vec::new();
    // `None` waits for the verdict on its claim.
    let read: Vec<_> = parsed
        .iter()
        .map(|parsed| match check_or_claim(&parsed.message) {
            Ok(None) => Some(Ok(())),
            Ok(Some(claim)) => {
                claims.push(claim);
                None
            }
            Err(error) => Some(Err(error)),
        })
        .collect();
    let mut of_claims = ed25519::verify_all(&claims).into_iter();
    parsed
        .into_iter()
        .zip(read)
        .map(|(parsed, verdict)| {
            // There is one verdict for each claim.
            let verdict = verdict.or_else(|| of_claims.next()).unwrap_or(Err(SignatureError::Invalid));
            judged(parsed, verdict)
        })
        .collect()
}

/// What is left to verify of an Ed25519 signature, `None` for the other families, which are verified here.
fn check_or_claim(message: &Message) -> Result<Option<ed25519::Claim>, SignatureError> {
    match message.chain.family() {
        SignatureFamily::Solana => solana::read(message, text_of(message)?).map(Some),
        _ => check(message).map(|()| None),
    }
}

fn text_of(message: &Message) -> Result<&str, SignatureError> {
    message
        .signature
        .as_ref()
        .map(|signature| signature.as_str())
        .filter(|text| !text.is_empty())
        .ok_or(SignatureError::Missing)
}

/// The same for who needs the verdict only, such as an upload with a message (`spec: signatures.md §13`).
///
/// # Errors
/// Why the signature is not accepted.
pub fn check(message: &Message) -> Result<(), SignatureError> {
    let signature = text_of(message)?;
    match message.chain.family() {
        SignatureFamily::Evm => evm::check(message, signature),
        SignatureFamily::None => Err(SignatureError::UnknownChain(message.chain)),
        SignatureFamily::Solana => solana::check(message, signature),
        SignatureFamily::Tezos => tezos::check(message, signature),
        SignatureFamily::Cosmos => cosmos::check(message, signature),
        SignatureFamily::Substrate => substrate::check(message, signature),
        SignatureFamily::Avalanche => avalanche::check(message, signature),
        SignatureFamily::Nuls2 => nuls::check_v2(message, signature),
        SignatureFamily::Nuls => nuls::check_v1(message, signature),
    }
}
