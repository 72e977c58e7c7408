//! What a message does.
