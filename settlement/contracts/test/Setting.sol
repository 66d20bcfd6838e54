// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannels} from "../src/PaymentChannels.sol";
import {Token} from "./Tokens.sol";
import {vm} from "./Vm.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// Alice and Bob, who have tokens, and a contract that takes them.
abstract contract Setting {
    uint256 internal constant ALICE_KEY = 0xa11ce;
    uint256 internal constant BOB_KEY = 0xb0b;
    uint256 internal constant CAROL_KEY = 0xca201;
    uint32 internal constant WINDOW = 1 hours;
    uint128 internal constant MANY = 1e30;

    address internal immutable ALICE = vm.addr(ALICE_KEY);
    address internal immutable BOB = vm.addr(BOB_KEY);
    address internal immutable CAROL = vm.addr(CAROL_KEY);

    PaymentChannels internal channels;
    Token internal token;

    function prepare() internal {
        channels = new PaymentChannels(10 minutes, 30 days);
        token = new Token();
        endow(token);
    }

    function endow(Token it) internal {
        address[3] memory owners = [ALICE, BOB, CAROL];
        for (uint256 i = 0; i < owners.length; ++i) {
            it.mint(owners[i], MANY);
            vm.prank(owners[i]);
            it.approve(address(channels), type(uint256).max);
        }
    }

    /// A channel that Alice has opened with Bob, with these deposits.
    function opened(Token it, uint128 alices, uint128 bobs) internal returns (bytes32 id) {
        vm.prank(ALICE);
        id = channels.open(IERC20(address(it)), BOB, WINDOW, "salt", alices);
        if (bobs > 0) {
            vm.prank(BOB);
            channels.setTotalDeposit(id, BOB, bobs);
        }
    }

    function opened(uint128 alices, uint128 bobs) internal returns (bytes32) {
        return opened(token, alices, bobs);
    }

    function asToken(Token it) internal pure returns (IERC20) {
        return IERC20(address(it));
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function claim(uint256 key, bytes32 id, uint128 total) internal view returns (PaymentChannels.Claim memory) {
        return PaymentChannels.Claim(id, total, signed(key, channels.claimDigest(id, total)));
    }

    function domainSeparator() internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("M2MPayChan"),
                keccak256("1"),
                block.chainid,
                address(channels)
            )
        );
    }

    function typed(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(), structHash));
    }

    function withdrawDigest(bytes32 id, address who, uint128 total, uint64 until) internal view returns (bytes32) {
        bytes32 typehash =
            keccak256("Withdraw(bytes32 channelId,address participant,uint128 totalWithdrawn,uint64 validUntil)");
        return typed(keccak256(abi.encode(typehash, id, who, total, until)));
    }

    function closeDigest(bytes32 id, uint128 first, uint128 second, uint64 until) internal view returns (bytes32) {
        bytes32 typehash =
            keccak256("CloseTogether(bytes32 channelId,uint128 firstPaid,uint128 secondPaid,uint64 validUntil)");
        return typed(keccak256(abi.encode(typehash, id, first, second, until)));
    }
}
