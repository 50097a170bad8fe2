//! How proxies are spoken to.

pub mod wire;
