// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannels} from "../src/PaymentChannels.sol";
import {Setting} from "./Setting.sol";
import {BarringToken, Token} from "./Tokens.sol";
import {eq, vm, within} from "./Vm.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// Does anything that three people may do, in any order, in two tokens, one of which bars people; and keeps
/// books of its own.
contract Anything is Setting {
    uint256 internal constant CHANNELS_MORE = 8;

    struct Book {
        uint256 deposit;
        uint256 claimed;
        uint256 withdrawn;
    }

    uint256 private mostChannels = CHANNELS_MORE;
    bytes32[] public ids;
    Token[2] public tokens;
    /// By channel and side.
    mapping(bytes32 => Book[2]) public books;
    /// What came back to each when a channel was settled.
    mapping(bytes32 => uint256[2]) public returned;
    uint256[3] private keys = [ALICE_KEY, BOB_KEY, CAROL_KEY];
    /// How often each thing succeeded, so that a run in which nothing does is seen.
    mapping(string => uint256) public times;

    constructor() {
        prepare();
        BarringToken barring = new BarringToken();
        endow(barring);
        tokens = [token, Token(address(barring))];
    }

    function open(uint256 first, uint256 second, uint256 which, uint128 amount, bytes32 salt) external {
        if (ids.length >= mostChannels) return;
        (first, second) = (first % 3, second % 3);
        amount = uint128(within(amount, 0, 1e24));
        vm.prank(vm.addr(keys[first]));
        try channels.open(IERC20(address(tokens[which % 2])), vm.addr(keys[second]), WINDOW, salt, amount) returns (
            bytes32 id
        ) {
            ids.push(id);
            books[id][0].deposit = amount;
            ++times["open"];
        } catch {}
    }

    function deposit(uint256 which, uint256 side, uint256 from, uint128 more) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        side %= 2;
        uint128 total = channels.channelOf(id).sides[side].deposit + uint128(within(more, 0, 1e24));
        address who = channels.channelOf(id).participants[side];
        vm.prank(vm.addr(keys[from % 3]));
        try channels.setTotalDeposit(id, who, total) {
            books[id][side].deposit = total;
            ++times["deposit"];
        } catch {}
    }

    function redeem(uint256 which, uint256 side, uint128 total) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        side %= 2;
        total = uint128(within(total, 0, 3e24));
        try channels.redeem(claim(keyOf(id, side), id, total)) {
            noteClaim(id, side, total);
            ++times["redeem"];
        } catch {
            ++times["not redeemed"];
        }
    }

    function redeemBatch(uint256 seed, uint256 howMany) external {
        if (ids.length == 0) return;
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](within(howMany, 0, 6));
        uint256[6] memory sides;
        for (uint256 i = 0; i < claims.length; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            bytes32 id = ids[seed % ids.length];
            sides[i] = (seed >> 32) % 2;
            claims[i] = claim(keyOf(id, sides[i]), id, uint128(within(seed >> 64, 0, 3e24)));
        }
        channels.redeemBatch(claims);
        for (uint256 i = 0; i < claims.length; ++i) {
            noteClaim(claims[i].channelId, sides[i], claims[i].cumulativeAmount);
        }
        ++times["redeemBatch"];
    }

    function withdraw(uint256 which, uint256 side, uint128 more) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        side %= 2;
        address who = channels.channelOf(id).participants[side];
        uint128 total = channels.channelOf(id).sides[side].withdrawn + uint128(within(more, 0, 1e24));
        uint64 until = uint64(block.timestamp);
        bytes memory agreed = signed(keyOf(id, 1 - side), withdrawDigest(id, who, total, until));
        try channels.withdraw(id, who, total, until, agreed) {
            books[id][side].withdrawn = total;
            ++times["withdraw"];
        } catch {}
    }

    function close(uint256 which, uint256 who) external {
        // One channel in two stays open, so that there is something to do.
        if (ids.length == 0 || which % 2 == 0) return;
        vm.prank(vm.addr(keys[who % 3]));
        try channels.close(ids[which % ids.length]) {
            ++times["close"];
        } catch {}
    }

    function closeTogether(uint256 which, uint256 share) external {
        if (ids.length == 0 || which % 5 != 0) return;
        bytes32 id = ids[which % ids.length];
        uint256 all = left(id, 0) + left(id, 1);
        uint128 first = uint128(within(share, 0, all));
        uint128 second = uint128(all - first);
        uint64 until = uint64(block.timestamp);
        bytes32 digest = closeDigest(id, first, second, until);
        bytes memory firstSignature = signed(keyOf(id, 0), digest);
        try channels.closeTogether(id, first, second, until, firstSignature, signed(keyOf(id, 1), digest)) {
            returned[id] = [uint256(first), uint256(second)];
            ++times["closeTogether"];
        } catch {}
    }

    function settle(uint256 which) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        (uint256 first, uint256 second) = (left(id, 0), left(id, 1));
        try channels.settle(id) {
            returned[id] = [first, second];
            ++times["settle"];
        } catch {}
    }

    /// More channels may be opened beside those that there are.
    function allowMore() external {
        mostChannels += CHANNELS_MORE;
    }

    function wait_(uint256 time) external {
        vm.warp(block.timestamp + within(time, 0, 2 * uint256(WINDOW)));
    }

    function bar(uint256 who, bool is_) external {
        BarringToken(address(tokens[1])).bar(vm.addr(keys[who % 3]), is_);
    }

    function collect(uint256 who, uint256 which) external {
        vm.prank(vm.addr(keys[who % 3]));
        try channels.collect(IERC20(address(tokens[which % 2])), vm.addr(keys[(who % 3 + 1) % 3])) {
            ++times["collect"];
        } catch {}
    }

    // What the books make of it.

    function noteClaim(bytes32 id, uint256 side, uint256 total) private {
        if (channels.channelOf(id).state == PaymentChannels.State.Settled) return;
        PaymentChannels.Channel memory channel = channels.channelOf(id);
        if (channel.state == PaymentChannels.State.Closing && block.timestamp > channel.closesAt) return;
        Book storage book = books[id][side];
        uint256 most = book.deposit - book.withdrawn;
        if (total > most) total = most;
        if (total > book.claimed) book.claimed = total;
    }

    function left(bytes32 id, uint256 side) public view returns (uint256) {
        Book memory book = books[id][side];
        return book.deposit - book.claimed - book.withdrawn;
    }

    function keyOf(bytes32 id, uint256 side) private view returns (uint256) {
        address who = channels.channelOf(id).participants[side];
        return who == ALICE ? ALICE_KEY : who == BOB ? BOB_KEY : CAROL_KEY;
    }

    function count() external view returns (uint256) {
        return ids.length;
    }

    function contractOf() external view returns (PaymentChannels) {
        return channels;
    }

    function people() external view returns (address[3] memory) {
        return [ALICE, BOB, CAROL];
    }
}

contract InvariantsTest {
    Anything private anything;

    function setUp() public {
        anything = new Anything();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(anything);
    }

    /// Goal: every thing that can be done does happen in runs like these. Method: a long one, with its checks at
    /// the end.
    function test_a_long_run_comes_to_every_end() public {
        uint256 seed = 1;
        for (uint256 i = 0; i < 4_000; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            (uint256 a, uint256 b, uint256 c) = (seed >> 16, seed >> 64, seed >> 128);
            uint256 which = seed % 12;
            if (which == 0) anything.open(a, b, c, uint128(seed), bytes32(seed));
            else if (which == 1) anything.deposit(a, b, c, uint128(seed));
            else if (which < 4) anything.redeem(a, b, uint128(seed));
            else if (which == 4) anything.redeemBatch(a, b);
            else if (which == 5) anything.withdraw(a, b, uint128(seed));
            else if (which == 6) anything.close(a, b);
            else if (which == 7) anything.closeTogether(a, b);
            else if (which == 8) anything.settle(a);
            else if (which == 9) anything.wait_(a);
            else if (which == 10) anything.bar(a, b % 4 == 0);
            else anything.collect(a, b);
            if (i % 500 == 0) anything.allowMore();
        }
        string[10] memory ends = [
            "open",
            "deposit",
            "redeem",
            "redeemBatch",
            "withdraw",
            "close",
            "closeTogether",
            "settle",
            "collect",
            "not redeemed"
        ];
        for (uint256 i = 0; i < ends.length; ++i) {
            require(anything.times(ends[i]) > 0, string.concat("never: ", ends[i]));
        }
        invariant_every_unit_is_somebodys();
        invariant_each_side_is_as_the_books_say();
    }

    /// No unit is made or lost: what is there of a token is what is left in open channels and what is owed, and
    /// with what people have it is all there ever was.
    function invariant_every_unit_is_somebodys() public view {
        PaymentChannels channels = anything.contractOf();
        for (uint256 t = 0; t < 2; ++t) {
            Token token = anything.tokens(t);
            uint256 wanted;
            for (uint256 i = 0; i < anything.count(); ++i) {
                bytes32 id = anything.ids(i);
                PaymentChannels.Channel memory channel = channels.channelOf(id);
                if (channel.token != address(token) || channel.state == PaymentChannels.State.Settled) continue;
                wanted += anything.left(id, 0) + anything.left(id, 1);
            }
            address[3] memory people = anything.people();
            uint256 theirs;
            for (uint256 i = 0; i < 3; ++i) {
                wanted += channels.owed(IERC20(address(token)), people[i]);
                theirs += token.balanceOf(people[i]);
            }
            eq(channels.held(IERC20(address(token))), wanted, "held");
            eq(token.balanceOf(address(channels)), wanted, "tokens");
            eq(theirs + wanted, token.totalSupply(), "all there is");
        }
    }

    /// Each side of a channel is what our own books say: nobody lost more than it signed, or got more than was
    /// signed to it.
    function invariant_each_side_is_as_the_books_say() public view {
        PaymentChannels channels = anything.contractOf();
        for (uint256 i = 0; i < anything.count(); ++i) {
            bytes32 id = anything.ids(i);
            PaymentChannels.Channel memory channel = channels.channelOf(id);
            for (uint256 side = 0; side < 2; ++side) {
                (uint256 deposit, uint256 claimed, uint256 withdrawn) = anything.books(id, side);
                eq(channel.sides[side].deposit, deposit, "deposit");
                eq(channel.sides[side].redeemed, claimed, "redeemed");
                eq(channel.sides[side].withdrawn, withdrawn, "withdrawn");
            }
            if (channel.state != PaymentChannels.State.Settled) continue;
            uint256 back = anything.returned(id, 0) + anything.returned(id, 1);
            eq(back, anything.left(id, 0) + anything.left(id, 1), "returned");
        }
    }
}
