//! Tests of what is not public: primitives against published vectors, and secrets in `Debug`.

mod debug;
mod published;
mod wycheproof;
