//! The program `galen`.

fn main() {}
