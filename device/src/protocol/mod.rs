//! The serial protocol's bytes, the same code on boards and hosts; `docs/serial-protocol.md` describes them.
//!
//! Nothing here reads or writes by itself. Bytes from the line never panic; each kind of damage has a name.
//!
//! * [`frame`]: bytes on the line ⇄ payloads with a CRC-32.
//! * [`message`]: payloads ⇄ requests and responses.
//! * [`mask_code`]: mask rows in few bytes.

pub mod frame;
pub mod mask_code;
pub mod message;
