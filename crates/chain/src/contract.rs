//! Bindings of the deployed contracts, generated from the committed `abi/`.
#![allow(missing_docs, reason = "the Solidity interfaces hold the documentation")]
#![allow(clippy::too_many_arguments, reason = "generated")]

alloy::sol!(
    #[sol(rpc, all_derives)]
    HealthLedger,
    "../../abi/HealthLedger.json"
);

alloy::sol!(
    #[sol(rpc, all_derives)]
    Consortium,
    "../../abi/Consortium.json"
);
