// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.37;

/// @notice A 2-of-3 wallet that signs by ERC-1271: two 65-byte signatures of its owners over the same
/// digest, the owners ascending.
contract MultiSigWallet {
    mapping(address owner => bool) private _isOwner;

    constructor(address[3] memory owners) {
        for (uint256 i; i < 3; ++i) {
            _isOwner[owners[i]] = true;
        }
    }

    function isValidSignature(bytes32 digest, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        if (signature.length != 130) return 0xffffffff;
        address first = _recover(digest, signature[:65]);
        address second = _recover(digest, signature[65:]);
        bool valid = _isOwner[first] && _isOwner[second] && first < second;
        return valid ? this.isValidSignature.selector : bytes4(0xffffffff);
    }

    function _recover(bytes32 digest, bytes calldata one) private pure returns (address) {
        return ecrecover(digest, uint8(one[64]), bytes32(one), bytes32(one[32:]));
    }
}

/// @notice Wallets that answer in every wrong way. `kind` chooses which.
contract OddWallet {
    enum Kind {
        Yes, // the right answer
        No, // a wrong one
        Dirty, // the right four bytes and a bit behind them
        Short, // four bytes only
        Empty, // nothing
        Reverts,
        Burns, // all the gas it gets
        Bomb, // as many bytes as it can pay for
        Long // the right word and more
    }

    Kind private immutable _kind;

    constructor(Kind kind) {
        _kind = kind;
    }

    fallback() external {
        Kind kind = _kind;
        bytes4 magic = 0x1626ba7e;
        assembly {
            switch kind
            case 0 {
                mstore(0, magic)
                return(0, 32)
            }
            case 1 {
                mstore(0, 0)
                return(0, 32)
            }
            case 2 {
                mstore(0, or(magic, 1))
                return(0, 32)
            }
            case 3 {
                mstore(0, magic)
                return(0, 4)
            }
            case 4 { return(0, 0) }
            case 5 { revert(0, 0) }
            case 6 { for {} 1 {} {} }
            case 7 { return(0, 440000) }
            default {
                mstore(0, magic)
                return(0, 64)
            }
        }
    }
}
