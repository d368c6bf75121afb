//! The serial protocol: frames, messages, and the board's side of the conversation.

pub mod message;
