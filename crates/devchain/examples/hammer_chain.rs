//! Sends transactions to the chain in the directory of its first argument, as many as the second
//! says, and prints the height after each one is acknowledged. One that is refused is sent once
//! more. `tests/kill.rs` kills it at every write and lets every write fail.
#![expect(clippy::print_stdout, reason = "the test reads what it prints")]

use std::io::Write as _;

#[path = "../tests/common/mod.rs"]
mod common;

use galen_devchain::{Config, DevChain};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("hammer_chain DIRECTORY COUNT")?;
    let count: u64 = arguments.next().ok_or("hammer_chain DIRECTORY COUNT")?.parse()?;
    let chain = DevChain::open(directory, Config { snapshot_every: 4, ..common::config() })?;
    let start = chain.head().number;
    for nonce in start..start + count {
        let transfer = common::transfer(nonce, nonce + 1);
        chain.send_raw_transaction(&transfer).or_else(|_| chain.send_raw_transaction(&transfer))?;
        println!("{}", chain.head().number);
        std::io::stdout().flush()?;
    }
    Ok(())
}
