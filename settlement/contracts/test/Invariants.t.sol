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

    struct Agreement {
        bytes32 id;
        /// Who may take back, or nobody: then it is one to close.
        address taker;
        uint128 first;
        uint128 second;
    }

    uint64 private constant EVER = type(uint64).max;

    bytes32[] public ids;
    Token[2] public tokens;
    /// By channel and side.
    mapping(bytes32 => Book[2]) public books;
    /// What each has of a token, or is owed: as our books say.
    mapping(Token => mapping(address => uint256)) public wealth;
    /// Agreements that were signed once; whoever has one may use it whenever it likes.
    Agreement[] private agreements;
    uint256[3] private keys = [ALICE_KEY, BOB_KEY, CAROL_KEY];
    /// How often each thing succeeded, so that a run in which nothing does is seen.
    mapping(string => uint256) public times;

    constructor() {
        prepare();
        BarringToken barring = new BarringToken();
        endow(barring);
        tokens = [token, Token(address(barring))];
        for (uint256 i = 0; i < 6; ++i) {
            wealth[tokens[i % 2]][vm.addr(keys[i / 2])] = MANY;
        }
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
            wealth[tokens[which % 2]][vm.addr(keys[first])] -= amount;
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
            wealth[tokenOf(id)][vm.addr(keys[from % 3])] -= total - books[id][side].deposit;
            books[id][side].deposit = total;
            ++times["deposit"];
        } catch {}
    }

    function redeem(uint256 which, uint256 side, uint128 total) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        side %= 2;
        total = uint128(within(total, 0, 3e24));
        bool pays = noteClaim(id, side, total);
        try channels.redeem(claim(keyOf(id, side), id, total)) {
            require(pays, "it pays what there is");
            ++times["redeem"];
        } catch {
            require(!pays, "what there is it pays");
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

    /// The other agrees that one may take back so much in all.
    function agreeToWithdraw(uint256 which, uint256 side, uint128 more) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        address taker = channels.channelOf(id).participants[side % 2];
        uint128 total = channels.channelOf(id).sides[side % 2].withdrawn + uint128(within(more, 0, 1e24));
        agreements.push(Agreement(id, taker, total, 0));
    }

    /// Both agree on what each has paid in all.
    function agreeToClose(uint256 which, uint128 first, uint128 second) external {
        if (ids.length == 0 || which % 5 != 0) return;
        bytes32 id = ids[which % ids.length];
        first = uint128(books[id][0].claimed + within(first, 0, left(id, 0)));
        second = uint128(books[id][1].claimed + within(second, 0, left(id, 1)));
        agreements.push(Agreement(id, address(0), first, second));
    }

    /// One of the agreements is used, however old it is, and however often it was used before.
    function use(uint256 which) external {
        if (agreements.length == 0) return;
        Agreement memory one = agreements[which % agreements.length];
        if (one.taker != address(0)) useWithdrawal(one);
        else useClose(one);
    }

    function useWithdrawal(Agreement memory one) private {
        uint256 side = channels.channelOf(one.id).participants[0] == one.taker ? 0 : 1;
        bytes memory agreed = signed(keyOf(one.id, 1 - side), withdrawDigest(one.id, one.taker, one.first, EVER));
        vm.prank(one.taker);
        try channels.withdraw(one.id, one.first, EVER, agreed) {
            wealth[tokenOf(one.id)][one.taker] += one.first - books[one.id][side].withdrawn;
            books[one.id][side].withdrawn = one.first;
            ++times["withdraw"];
        } catch {
            ++times["not withdrawn"];
        }
    }

    function useClose(Agreement memory one) private {
        bytes32 digest = closeDigest(one.id, one.first, one.second, EVER);
        bytes memory firstSignature = signed(keyOf(one.id, 0), digest);
        bytes memory secondSignature = signed(keyOf(one.id, 1), digest);
        try channels.closeTogether(one.id, one.first, one.second, EVER, firstSignature, secondSignature) {
            pay(one.id, 0, one.first);
            pay(one.id, 1, one.second);
            giveBack(one.id);
            ++times["closeTogether"];
        } catch {
            ++times["not closed together"];
        }
    }

    function close(uint256 which, uint256 who) external {
        // One channel in two stays open, so that there is something to do.
        if (ids.length == 0 || which % 2 == 0) return;
        vm.prank(vm.addr(keys[who % 3]));
        try channels.close(ids[which % ids.length]) {
            ++times["close"];
        } catch {}
    }

    function settle(uint256 which) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        PaymentChannels.Channel memory channel = channels.channelOf(id);
        bool isTime = channel.state == PaymentChannels.State.Closing && block.timestamp > channel.closesAt;
        try channels.settle(id) {
            require(isTime, "after the window");
            giveBack(id);
            ++times["settle"];
        } catch {
            require(!isTime, "after the window it never fails");
        }
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

    function collect(uint256 who, uint256 which, uint256 to, uint256 amount) external {
        address owner = vm.addr(keys[who % 3]);
        address receiver = vm.addr(keys[to % 3]);
        Token it = tokens[which % 2];
        amount = within(amount, 0, channels.owed(asToken(it), owner));
        vm.prank(owner);
        try channels.collect(asToken(it), owner, receiver, amount) {
            wealth[it][owner] -= amount;
            wealth[it][receiver] += amount;
            ++times["collect"];
        } catch {}
    }

    // What the books make of it.

    /// Whether a claim pays something now; if so, it is paid in the books.
    function noteClaim(bytes32 id, uint256 side, uint256 total) private returns (bool) {
        PaymentChannels.Channel memory channel = channels.channelOf(id);
        if (channel.state == PaymentChannels.State.Settled) return false;
        if (channel.state == PaymentChannels.State.Closing && block.timestamp > channel.closesAt) return false;
        Book memory book = books[id][side];
        uint256 most_ = book.deposit - book.withdrawn;
        if (total > most_) total = most_;
        if (total <= book.claimed) return false;
        pay(id, side, total);
        return true;
    }

    /// A side has paid so much in all.
    function pay(bytes32 id, uint256 side, uint256 total) private {
        wealth[tokenOf(id)][channels.channelOf(id).participants[1 - side]] += total - books[id][side].claimed;
        books[id][side].claimed = total;
    }

    function giveBack(bytes32 id) private {
        address[2] memory participants = channels.channelOf(id).participants;
        for (uint256 side = 0; side < 2; ++side) {
            wealth[tokenOf(id)][participants[side]] += left(id, side);
        }
    }

    function tokenOf(bytes32 id) private view returns (Token) {
        return Token(channels.channelOf(id).token);
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
            uint256 which = seed % 14;
            if (which == 0) anything.open(a, b, c, uint128(seed), bytes32(seed));
            else if (which == 1) anything.deposit(a, b, c, uint128(seed));
            else if (which < 4) anything.redeem(a, b, uint128(seed));
            else if (which == 4) anything.redeemBatch(a, b);
            else if (which == 5) anything.agreeToWithdraw(a, b, uint128(seed));
            else if (which == 6) anything.close(a, b);
            else if (which == 7) anything.agreeToClose(a, uint128(b), uint128(c));
            else if (which == 8) anything.settle(a);
            else if (which == 9) anything.wait_(a);
            else if (which == 10) anything.bar(a, b % 4 == 0);
            else if (which < 13) anything.use(a);
            else anything.collect(a, b, c, seed >> 192);
            if (i % 500 == 0) anything.allowMore();
        }
        string[12] memory ends = [
            "open",
            "deposit",
            "redeem",
            "redeemBatch",
            "withdraw",
            "close",
            "closeTogether",
            "settle",
            "collect",
            "not redeemed",
            "not withdrawn",
            "not closed together"
        ];
        for (uint256 i = 0; i < ends.length; ++i) {
            require(anything.times(ends[i]) > 0, string.concat("never: ", ends[i]));
        }
        invariant_every_unit_is_somebodys();
        invariant_each_side_is_as_the_books_say();
    }

    /// No unit is made or lost: what is there of a token is what is left in open channels and what is owed, with
    /// what people have it is all there ever was, and each has what the books say.
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
                uint256 owed = channels.owed(IERC20(address(token)), people[i]);
                wanted += owed;
                theirs += token.balanceOf(people[i]);
                eq(token.balanceOf(people[i]) + owed, anything.wealth(token, people[i]), "one's wealth");
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
        }
    }
}
