// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannels} from "../src/PaymentChannels.sol";
import {eq, vm} from "./Vm.sol";

/// What outside tools have signed is what the contract reads: see vectors/README.md.
contract VectorsTest {
    bytes private code;

    function setUp() public {
        code = address(new PaymentChannels(10 minutes, 30 days)).code;
    }

    function test_a_claim_is_what_eth_account_and_cast_sign() public {
        string memory json = vm.readFile("vectors/claims.json");
        address signer = vm.parseJsonAddress(json, ".address");
        uint256 count;
        for (; vm.keyExistsJson(json, path("claims", count, "digest")); ++count) {
            PaymentChannels channels = on(
                vm.parseJsonUint(json, path("claims", count, "domain.chainId")),
                vm.parseJsonAddress(json, path("claims", count, "domain.verifyingContract"))
            );
            bytes32 id = vm.parseJsonBytes32(json, path("claims", count, "channelId"));
            uint128 total = uint128(vm.parseJsonUint(json, path("claims", count, "cumulativeAmount")));
            bytes32 digest = channels.claimDigest(id, total);
            eq(uint256(digest), uint256(vm.parseJsonBytes32(json, path("claims", count, "digest"))), "digest");
            isSigned(digest, vm.parseJsonBytes(json, path("claims", count, "signature_rsv")), signer);
        }
        eq(count, 36, "claims");
    }

    function test_an_agreement_is_what_eth_account_and_viem_sign() public {
        string memory json = vm.readFile("vectors/agreements.json");
        address where = vm.parseJsonAddress(json, ".contract");
        for (uint256 i = 0; i < 3; ++i) {
            PaymentChannels channels = on(vm.parseJsonUint(json, path("withdrawals", i, "chainId")), where);
            bytes32 digest = channels.withdrawDigest(
                vm.parseJsonBytes32(json, path("withdrawals", i, "message.channelId")),
                vm.parseJsonAddress(json, path("withdrawals", i, "message.participant")),
                uint128(vm.parseJsonUint(json, path("withdrawals", i, "message.totalWithdrawn"))),
                uint64(vm.parseJsonUint(json, path("withdrawals", i, "message.validUntil")))
            );
            areSigned(json, "withdrawals", i, digest);
            channels = on(vm.parseJsonUint(json, path("closes", i, "chainId")), where);
            digest = channels.closeDigest(
                vm.parseJsonBytes32(json, path("closes", i, "message.channelId")),
                uint128(vm.parseJsonUint(json, path("closes", i, "message.firstPaid"))),
                uint128(vm.parseJsonUint(json, path("closes", i, "message.secondPaid"))),
                uint64(vm.parseJsonUint(json, path("closes", i, "message.validUntil")))
            );
            areSigned(json, "closes", i, digest);
        }
    }

    function areSigned(string memory json, string memory of_, uint256 index, bytes32 digest) private pure {
        eq(uint256(digest), uint256(vm.parseJsonBytes32(json, path(of_, index, "digest"))), "digest");
        isSigned(
            digest, vm.parseJsonBytes(json, path(of_, index, "signatures[0]")), vm.parseJsonAddress(json, ".signers[0]")
        );
        isSigned(
            digest, vm.parseJsonBytes(json, path(of_, index, "signatures[1]")), vm.parseJsonAddress(json, ".signers[1]")
        );
    }

    /// The contract, as if it stood there.
    function on(uint256 chainId, address where) private returns (PaymentChannels) {
        vm.chainId(chainId);
        vm.etch(where, code);
        return PaymentChannels(where);
    }

    function path(string memory list, uint256 index, string memory field) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(index), "].", field);
    }

    function isSigned(bytes32 digest, bytes memory signature, address signer) private pure {
        eq(signature.length, 65, "bytes");
        (bytes32 r, bytes32 s, uint8 v) = (bytes32(0), bytes32(0), uint8(signature[64]));
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        require(ecrecover(digest, v, r, s) == signer, "it is signed by its signer");
    }
}
