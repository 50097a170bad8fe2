//! How each method is answered by many nodes.

/// What makes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The number of the newest block.
    Head,
    /// A number, as high as a quorum reaches.
    Highest,
    /// A block by number or tag.
    Block,
    /// A block by hash.
    BlockByHash,
    /// Receipts of a block.
    Receipts,
    /// The same result from a quorum.
    Equal,
    /// One node that takes it.
    Send,
    /// Nobody is asked.
    Refused,
}

/// How a method is answered.
pub(super) fn way(method: &str) -> Way {
    match method {
        "eth_blockNumber" => Way::Head,
        "eth_gasPrice" | "eth_maxPriorityFeePerGas" | "eth_estimateGas" => Way::Highest,
        "eth_getBlockByNumber" => Way::Block,
        "eth_getBlockByHash" => Way::BlockByHash,
        "eth_getBlockReceipts" => Way::Receipts,
        // A transaction that is signed has the same effect however often it is sent.
        "eth_sendRawTransaction" => Way::Send,
        // Filters live at one node; accounts that nodes hold would pay at each.
        _ if method.contains("ilter") || method.contains("ubscri") => Way::Refused,
        "eth_sign" | "eth_signTransaction" | "eth_signTypedData" => Way::Refused,
        _ if super::super::is_read(method) => Way::Equal,
        _ => Way::Refused,
    }
}

/// Which parameter names the block whose state is asked for.
pub(super) fn place_of_block(method: &str) -> Option<usize> {
    match method {
        "eth_call"
        | "eth_estimateGas"
        | "eth_createAccessList"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_getTransactionCount"
        | "eth_feeHistory" => Some(1),
        "eth_getStorageAt" | "eth_getProof" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Way, way};

    #[test]
    fn what_would_happen_at_every_node_is_refused() {
        for (method, expected) in [
            ("eth_blockNumber", Way::Head),
            ("eth_estimateGas", Way::Highest),
            ("eth_call", Way::Equal),
            ("eth_chainId", Way::Equal),
            ("eth_getLogs", Way::Equal),
            ("eth_sendRawTransaction", Way::Send),
            ("eth_sendRawTransactionSync", Way::Refused),
            ("eth_sendTransaction", Way::Refused),
            ("eth_sign", Way::Refused),
            ("eth_newBlockFilter", Way::Refused),
            ("eth_getFilterChanges", Way::Refused),
            ("eth_subscribe", Way::Refused),
            ("evm_mine", Way::Refused),
            ("anvil_setBalance", Way::Refused),
        ] {
            assert_eq!(way(method), expected, "{method}");
        }
    }
}
