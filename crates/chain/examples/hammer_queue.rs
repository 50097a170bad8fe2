//! Pays one wei to as many fresh addresses as it is told, from one wallet, and prints
//! `INDEX TRANSACTION BLOCK` for each that landed. With `resume` it first
//! sees to what an earlier run left behind.
//! `tests/queue.rs` runs sixteen of it at once, and kills it at every write.
//!
//! Arguments: directory of the queue, URL of the node, first index, count, and perhaps `resume`.
#![expect(clippy::print_stdout, reason = "the test reads what it prints")]

use std::{io::Write as _, time::Duration};

use alloy::rpc::types::TransactionRequest;
use alloy_primitives::{Address, U256, keccak256};
use galen_chain::{
    Account, Fees, Payer, Queue, key_from_mnemonic,
    rpc::{RpcOptions, connect},
};

/// The mnemonic of Hardhat and anvil; its first account has ether there and nowhere else.
const JUNK: &str = "test test test test test test test test test test test junk";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("hammer_queue DIRECTORY URL FIRST COUNT");
    let (directory, url) = (next()?, next()?);
    let (first, count): (u64, u64) = (next()?.parse()?, next()?.parse()?);
    let resume = arguments.next().is_some_and(|word| word == "resume");

    let account = Account::new(key_from_mnemonic(JUNK, 0)?);
    let provider = connect(&[url], RpcOptions { chain_id: Some(31_337), ..RpcOptions::default() })?;
    let queue = Queue::open(directory, 31_337, account.controller())?;
    let fees = Fees { deadline: Duration::from_secs(240), ..Fees::default() };
    let payer = Payer::wallet(provider, account, Some(queue), fees);
    if resume {
        payer.resume().await?;
    }
    for index in first..first + count {
        let to = Address::from_word(keccak256(index.to_be_bytes()));
        let request = TransactionRequest::default().to(to).value(U256::ONE);
        let sent = payer.send(request).await?;
        println!("{index} {:#x} {}", sent.transaction, sent.block);
        std::io::stdout().flush()?;
    }
    Ok(())
}
