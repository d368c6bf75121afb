//! The `lightwafer` command.
fn main() {}
