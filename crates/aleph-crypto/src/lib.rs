//! Signatures of messages: verify and sign, one module per chain family.
