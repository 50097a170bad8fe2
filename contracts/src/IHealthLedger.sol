// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

import {IAccessLog} from "./IAccessLog.sol";
import {IAttestations} from "./IAttestations.sol";
import {IConsents} from "./IConsents.sol";
import {IRecords} from "./IRecords.sol";
import {IRecovery} from "./IRecovery.sol";
import {IRegistrar} from "./IRegistrar.sol";
import {ISignatures} from "./ISignatures.sol";

/// @notice The whole ledger: see each part.
interface IHealthLedger is
    ISignatures,
    IRegistrar,
    IConsents,
    IRecords,
    IAccessLog,
    IRecovery,
    IAttestations
{}
