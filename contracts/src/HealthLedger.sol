// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessLog} from "./AccessLog.sol";
import {Attestations} from "./Attestations.sol";
import {Consortium} from "./Consortium.sol";
import {IHealthLedger} from "./IHealthLedger.sol";
import {Records} from "./Records.sol";
import {Recovery} from "./Recovery.sol";
import {Registrar} from "./Registrar.sol";
import {Status} from "./Types.sol";

/// @title Health ledger
/// @notice Who may read whose health records, who signed them, and who read them.
/// @dev Immutable: no owner, no pause, no proxy, no upgrade. The only power from outside is the
/// consortium's over the standing of organizations.
contract HealthLedger is Recovery, Records, AccessLog, Attestations, IHealthLedger {
    /// @param founders The first members, strictly ascending, all active at once. They and the code
    /// decide the CREATE2 address; the consortium is made here, so that one deployment does it.
    constructor(address[] memory founders) Registrar(address(new Consortium(founders))) {
        for (uint256 i; i < founders.length; ++i) {
            _participants[founders[i]] = uint256(Status.Active) << 160;
            emit StatusChanged(founders[i], Status.Active);
        }
    }

    function _domainNameAndVersion()
        internal
        pure
        override
        returns (string memory name, string memory version)
    {
        return ("Galen", "1");
    }
}
