// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannels} from "../src/PaymentChannels.sol";
import {Setting} from "./Setting.sol";
import {vm} from "./Vm.sol";

/// What each call costs as a transaction of its own, kept in snapshots/: a change is seen in a review.
contract GasTest is Setting {
    function setUp() public {
        prepare();
        // Whoever is paid has tokens already, as most do; and so has the contract.
        token.mint(address(channels), 1);
    }

    function test_gas_of_a_channels_life() public {
        bytes32 id = opened(1e9, 0);
        vm.snapshotGasLastCall("open with a deposit");
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 2e9);
        vm.snapshotGasLastCall("raise a deposit");
        PaymentChannels.Claim memory one = claim(ALICE_KEY, id, 10);
        channels.redeem(one);
        vm.snapshotGasLastCall("redeem the first claim");
        one = claim(ALICE_KEY, id, 20);
        channels.redeem(one);
        vm.snapshotGasLastCall("redeem a later claim");
        bytes memory agreed = signed(BOB_KEY, channels.withdrawDigest(id, ALICE, 5, 1 days));
        vm.prank(ALICE);
        channels.withdraw(id, 5, 1 days, agreed);
        vm.snapshotGasLastCall("withdraw");
        vm.prank(ALICE);
        channels.close(id);
        vm.snapshotGasLastCall("close");
        vm.warp(block.timestamp + WINDOW + 1);
        channels.settle(id);
        vm.snapshotGasLastCall("settle");
    }

    function test_gas_of_closing_together() public {
        bytes32 id = opened(1e9, 1e9);
        bytes32 digest = channels.closeDigest(id, 7e8, 0, 1 days);
        (bytes memory first, bytes memory second) = (signed(ALICE_KEY, digest), signed(BOB_KEY, digest));
        channels.closeTogether(id, 7e8, 0, 1 days, first, second);
        vm.snapshotGasLastCall("close together");
    }

    function test_gas_of_batches() public {
        redeemMany(10, "redeem a batch of 10");
        redeemMany(100, "redeem a batch of 100");
    }

    /// Later claims of so many channels that pay one payee.
    function redeemMany(uint256 count, string memory name) private {
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](count);
        for (uint256 i = 0; i < count; ++i) {
            vm.prank(ALICE);
            bytes32 id = channels.open(asToken(token), BOB, WINDOW, keccak256(abi.encode(count, i)), 1e9);
            channels.redeem(claim(ALICE_KEY, id, 10));
            claims[i] = claim(ALICE_KEY, id, 20);
        }
        channels.redeemBatch(claims);
        vm.snapshotGasLastCall(name);
    }
}
