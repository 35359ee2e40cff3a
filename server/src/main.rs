//! Metergate.

fn main() {}
