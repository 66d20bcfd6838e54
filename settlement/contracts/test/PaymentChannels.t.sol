// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannels} from "../src/PaymentChannels.sol";
import {Setting} from "./Setting.sol";
import {
    BarringToken,
    BurningToken,
    CallingToken,
    GenerousToken,
    LyingToken,
    ShrinkingToken,
    SilentToken,
    SurchargingToken,
    TaxedToken,
    Token,
    WorkingToken
} from "./Tokens.sol";
import {eq, vm, within} from "./Vm.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// What each call does, and what each refuses.
contract PaymentChannelsTest is Setting {
    function setUp() public {
        prepare();
    }

    // Opening and paying in.

    function test_what_is_opened_is_what_was_asked_for() public {
        bytes32 id = channels.channelIdOf(ALICE, BOB, asToken(token), WINDOW, "salt");
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Opened(id, ALICE, BOB, asToken(token), WINDOW, "salt");
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Deposited(id, ALICE, 70);
        eq(uint256(opened(70, 30)), uint256(id), "id");
        PaymentChannels.Channel memory channel = channels.channelOf(id);
        eq(uint256(channel.state), uint256(PaymentChannels.State.Open), "state");
        eq(channel.sides[0].deposit, 70, "alice's deposit");
        eq(channel.sides[1].deposit, 30, "bob's deposit");
        eq(token.balanceOf(address(channels)), 100, "tokens");
        eq(channels.held(asToken(token)), 100, "held");
    }

    function test_the_same_open_sent_twice_opens_one_channel() public {
        bytes32 id = opened(70, 0);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.ChannelExists.selector, id, PaymentChannels.State.Open));
        vm.prank(ALICE);
        channels.open(asToken(token), BOB, WINDOW, "salt", 70);
        vm.prank(ALICE);
        require(channels.open(asToken(token), BOB, WINDOW, "other", 70) != id, "another salt, another channel");
    }

    function test_a_settled_channel_is_not_opened_again() public {
        bytes32 id = settled();
        vm.expectRevert(
            abi.encodeWithSelector(PaymentChannels.ChannelExists.selector, id, PaymentChannels.State.Settled)
        );
        vm.prank(ALICE);
        channels.open(asToken(token), BOB, WINDOW, "salt", 1);
    }

    function test_whatever_was_agreed_on_is_in_the_id() public {
        IERC20 it = asToken(token);
        bytes32[8] memory ids;
        ids[0] = channels.channelIdOf(ALICE, BOB, it, WINDOW, "salt");
        ids[1] = channels.channelIdOf(BOB, ALICE, it, WINDOW, "salt");
        ids[2] = channels.channelIdOf(ALICE, CAROL, it, WINDOW, "salt");
        ids[3] = channels.channelIdOf(ALICE, BOB, IERC20(CAROL), WINDOW, "salt");
        ids[4] = channels.channelIdOf(ALICE, BOB, it, WINDOW + 1, "salt");
        ids[5] = channels.channelIdOf(ALICE, BOB, it, WINDOW, "other");
        ids[6] = new PaymentChannels(10 minutes, 30 days).channelIdOf(ALICE, BOB, it, WINDOW, "salt");
        vm.chainId(block.chainid + 1);
        ids[7] = channels.channelIdOf(ALICE, BOB, it, WINDOW, "salt");
        for (uint256 i = 0; i < ids.length; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                require(ids[i] != ids[j], "another channel, another id");
            }
        }
    }

    function test_windows_out_of_bounds_are_refused() public {
        uint32[4] memory windows = [0, 10 minutes - 1, 30 days + 1, type(uint32).max];
        for (uint256 i = 0; i < windows.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    PaymentChannels.WindowOutOfBounds.selector, windows[i], uint32(10 minutes), uint32(30 days)
                )
            );
            channels.open(asToken(token), BOB, windows[i], "", 0);
        }
        channels.open(asToken(token), BOB, 10 minutes, "", 0);
        channels.open(asToken(token), BOB, 30 days, "", 0);
        uint32 least = 10 minutes;
        uint32 most = 365 days;
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.WindowOutOfBounds.selector, least - 1, least, most));
        new PaymentChannels(least - 1, most);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.WindowOutOfBounds.selector, least, least, most));
        new PaymentChannels(least, most + 1);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.WindowOutOfBounds.selector, most, least, least));
        new PaymentChannels(most, least);
        new PaymentChannels(least, least);
    }

    function test_nobody_opens_a_channel_with_itself_or_nobody() public {
        address[3] memory others = [ALICE, address(0), address(channels)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotTwoParticipants.selector, ALICE, others[i]));
            vm.prank(ALICE);
            channels.open(asToken(token), others[i], WINDOW, "", 0);
        }
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NoToken.selector, CAROL));
        channels.open(IERC20(CAROL), BOB, WINDOW, "", 0);
    }

    function test_a_total_deposit_sent_twice_is_taken_once() public {
        bytes32 id = opened(70, 0);
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 90);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.TotalNotHigher.selector, uint128(90), uint128(90)));
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 90);
        eq(token.balanceOf(address(channels)), 90, "tokens");
    }

    function test_anybody_may_pay_in_for_a_participant_and_for_nobody_else() public {
        bytes32 id = opened(0, 0);
        vm.prank(CAROL);
        channels.setTotalDeposit(id, BOB, 5);
        eq(channels.channelOf(id).sides[1].deposit, 5, "bob's deposit");
        eq(token.balanceOf(CAROL), MANY - 5, "with her tokens");
        eq(token.balanceOf(BOB), MANY, "and not with his");
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotParticipant.selector, id, CAROL));
        vm.prank(CAROL);
        channels.setTotalDeposit(id, CAROL, 5);
    }

    function test_a_deposit_of_which_less_or_more_comes_is_refused() public {
        refusesDeposit(new TaxedToken(), 1000, 990);
        refusesDeposit(new GenerousToken(), 1000, 1001);
    }

    function test_no_more_is_taken_of_a_token_that_has_shrunk() public {
        ShrinkingToken shrinking = new ShrinkingToken();
        endow(shrinking);
        bytes32 id = opened(shrinking, 1000, 0);
        shrinking.shrink(50);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.TokenLacksSome.selector, shrinking, 1000, 500));
        vm.prank(BOB);
        channels.setTotalDeposit(id, BOB, 10);
    }

    function test_a_token_that_returns_nothing_is_taken() public {
        SilentToken silent = new SilentToken();
        silent.mint(ALICE, 100);
        vm.prank(ALICE);
        silent.approve(address(channels), 100);
        vm.prank(ALICE);
        bytes32 id = channels.open(IERC20(address(silent)), BOB, WINDOW, "", 100);
        channels.redeem(claim(ALICE_KEY, id, 40));
        eq(silent.balanceOf(BOB), 40, "bob's tokens");
    }

    // Claims.

    function test_a_claim_pays_its_payee_whoever_redeems_it_and_closes_nothing() public {
        bytes32 id = opened(70, 30);
        PaymentChannels.Claim memory one = claim(ALICE_KEY, id, 25);
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Redeemed(id, BOB, 25, 25);
        vm.prank(CAROL);
        channels.redeem(one);
        eq(token.balanceOf(BOB), MANY - 30 + 25, "bob's tokens");
        channels.redeem(claim(ALICE_KEY, id, 40));
        eq(token.balanceOf(BOB), MANY - 30 + 40, "bob's tokens");
        channels.redeem(claim(BOB_KEY, id, 30));
        eq(token.balanceOf(ALICE), MANY - 70 + 30, "alice's tokens");
        eq(uint256(channels.channelOf(id).state), uint256(PaymentChannels.State.Open), "state");
    }

    function test_a_claim_that_was_redeemed_or_a_lower_one_pays_nothing() public {
        bytes32 id = opened(70, 0);
        channels.redeem(claim(ALICE_KEY, id, 40));
        for (uint128 total = 0; total <= 40; total += 20) {
            refuses(claim(ALICE_KEY, id, total), PaymentChannels.Refusal.NothingNew);
        }
    }

    function test_a_claim_beyond_the_deposit_pays_the_rest_once_it_is_there() public {
        bytes32 id = opened(70, 0);
        PaymentChannels.Claim memory one = claim(ALICE_KEY, id, 100);
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Redeemed(id, BOB, 70, 100);
        channels.redeem(one);
        eq(token.balanceOf(BOB), MANY + 70, "bob's tokens");
        refuses(one, PaymentChannels.Refusal.DepositSpent);
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 95);
        channels.redeem(one);
        eq(token.balanceOf(BOB), MANY + 95, "bob's tokens");
    }

    function test_a_claim_never_draws_on_the_others_deposit() public {
        bytes32 id = opened(10, 1000);
        channels.redeem(claim(ALICE_KEY, id, type(uint128).max));
        eq(token.balanceOf(BOB), MANY - 1000 + 10, "bob's tokens");
        eq(token.balanceOf(address(channels)), 1000, "bob's deposit");
    }

    function test_a_claim_of_anybody_else_is_refused() public {
        bytes32 id = opened(70, 30);
        refuses(claim(CAROL_KEY, id, 5), PaymentChannels.Refusal.NotSigned);
        refuses(PaymentChannels.Claim(id, 5, ""), PaymentChannels.Refusal.NotSigned);
        refuses(PaymentChannels.Claim(id, 5, new bytes(65)), PaymentChannels.Refusal.NotSigned);
        PaymentChannels.Claim memory other = claim(ALICE_KEY, id, 5);
        other.cumulativeAmount = 6;
        refuses(other, PaymentChannels.Refusal.NotSigned);
    }

    function test_the_other_signature_of_the_same_claim_is_refused() public {
        bytes32 id = opened(70, 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ALICE_KEY, channels.claimDigest(id, 5));
        bytes32 flipped = bytes32(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s));
        bytes memory signature = abi.encodePacked(r, flipped, v == 27 ? uint8(28) : uint8(27));
        refuses(PaymentChannels.Claim(id, 5, signature), PaymentChannels.Refusal.NotSigned);
    }

    function test_a_claim_of_another_channel_chain_or_contract_is_refused() public {
        bytes32 id = opened(70, 0);
        vm.prank(ALICE);
        bytes32 other = channels.open(asToken(token), BOB, WINDOW, "other", 70);
        PaymentChannels.Claim memory one = claim(ALICE_KEY, other, 5);
        one.channelId = id;
        refuses(one, PaymentChannels.Refusal.NotSigned);
        one.channelId = "there is none";
        refuses(one, PaymentChannels.Refusal.NotOpen);

        PaymentChannels here = channels;
        channels = new PaymentChannels(10 minutes, 30 days);
        one = claim(ALICE_KEY, id, 5);
        channels = here;
        refuses(one, PaymentChannels.Refusal.NotSigned);

        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        one = claim(ALICE_KEY, id, 5);
        vm.chainId(chain);
        refuses(one, PaymentChannels.Refusal.NotSigned);
    }

    function test_a_batch_pays_what_it_can_and_tells_of_the_rest() public {
        bytes32 first = opened(70, 30);
        vm.prank(CAROL);
        bytes32 second = channels.open(asToken(token), BOB, WINDOW, "", 50);
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](6);
        claims[0] = claim(ALICE_KEY, first, 10);
        claims[1] = claim(CAROL_KEY, first, 10);
        claims[2] = claim(ALICE_KEY, first, 15);
        claims[3] = claim(CAROL_KEY, second, 50);
        claims[4] = claim(BOB_KEY, first, 7);
        claims[5] = claim(BOB_KEY, first, 6);
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.NotRedeemed(first, 10, PaymentChannels.Refusal.NotSigned);
        vm.expectEmit(true, true, true, true, address(token));
        emit IERC20.Transfer(address(channels), BOB, 65);
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.NotRedeemed(first, 6, PaymentChannels.Refusal.NothingNew);
        channels.redeemBatch(claims);
        eq(token.balanceOf(BOB), MANY - 30 + 65, "bob's tokens");
        eq(token.balanceOf(ALICE), MANY - 70 + 7, "alice's tokens");
        eq(channels.held(asToken(token)), 150 - 72, "held");
        channels.redeemBatch(new PaymentChannels.Claim[](0));
    }

    function test_a_batch_of_two_tokens_pays_each_in_its_own() public {
        Token other = new Token();
        endow(other);
        bytes32 first = opened(70, 0);
        vm.prank(ALICE);
        bytes32 second = channels.open(asToken(other), BOB, WINDOW, "", 50);
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](2);
        claims[0] = claim(ALICE_KEY, first, 10);
        claims[1] = claim(ALICE_KEY, second, 20);
        channels.redeemBatch(claims);
        eq(token.balanceOf(BOB), MANY + 10, "bob's tokens");
        eq(other.balanceOf(BOB), MANY + 20, "bob's other tokens");
    }

    // Taking back.

    function test_a_participant_takes_back_what_the_other_agrees_to() public {
        bytes32 id = opened(70, 30);
        uint64 until = uint64(block.timestamp) + 60;
        bytes memory agreed = signed(BOB_KEY, withdrawDigest(id, ALICE, 20, until));
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Withdrawn(id, ALICE, 20);
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, agreed);
        eq(token.balanceOf(ALICE), MANY - 50, "alice's tokens");
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.TotalNotHigher.selector, uint128(20), uint128(20)));
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, agreed);
        agreed = signed(BOB_KEY, withdrawDigest(id, ALICE, 25, until));
        vm.prank(ALICE);
        channels.withdraw(id, 25, until, agreed);
        eq(token.balanceOf(ALICE), MANY - 45, "a total, not an amount");
        channels.redeem(claim(ALICE_KEY, id, 70));
        eq(token.balanceOf(BOB), MANY - 30 + 45, "no more than is left");
        vm.prank(BOB);
        channels.close(id);
        vm.warp(block.timestamp + WINDOW + 1);
        channels.settle(id);
        eq(token.balanceOf(ALICE), MANY - 45, "nothing is left of alice's");
        eq(token.balanceOf(BOB), MANY + 45, "bob's deposit");
    }

    function test_what_nobody_agreed_to_is_not_taken_back() public {
        bytes32 id = opened(70, 30);
        uint64 until = uint64(block.timestamp) + 60;
        bytes memory own = signed(ALICE_KEY, withdrawDigest(id, ALICE, 20, until));
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotSignedBy.selector, BOB));
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, own);
        bytes memory agreed = signed(BOB_KEY, withdrawDigest(id, ALICE, 20, until));
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotSignedBy.selector, ALICE));
        vm.prank(BOB);
        channels.withdraw(id, 20, until, agreed);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotParticipant.selector, id, CAROL));
        vm.prank(CAROL);
        channels.withdraw(id, 20, until, agreed);
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.SignatureTooOld.selector, until));
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, agreed);
    }

    function test_what_was_redeemed_is_not_taken_back() public {
        bytes32 id = opened(70, 0);
        channels.redeem(claim(ALICE_KEY, id, 60));
        uint64 until = uint64(block.timestamp);
        bytes memory agreed = signed(BOB_KEY, withdrawDigest(id, ALICE, 20, until));
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.MoreThanIsLeft.selector, uint128(20), uint128(10)));
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, agreed);
    }

    // Ending.

    function test_a_stale_close_is_answered_inside_its_window() public {
        bytes32 id = opened(70, 30);
        channels.redeem(claim(ALICE_KEY, id, 10));
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.CloseRequested(id, ALICE, uint40(block.timestamp) + WINDOW);
        vm.prank(ALICE);
        channels.close(id);
        vm.warp(block.timestamp + WINDOW);
        channels.redeem(claim(ALICE_KEY, id, 60));
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.WindowStillOpen.selector, id, uint64(block.timestamp)));
        channels.settle(id);
        vm.warp(block.timestamp + 1);
        refuses(claim(ALICE_KEY, id, 70), PaymentChannels.Refusal.TooLate);
        vm.prank(CAROL);
        channels.settle(id);
        eq(token.balanceOf(ALICE), MANY - 60, "alice's tokens");
        eq(token.balanceOf(BOB), MANY + 60, "bob's tokens");
        eq(token.balanceOf(address(channels)), 0, "nothing is left");
        refuses(claim(ALICE_KEY, id, 70), PaymentChannels.Refusal.NotOpen);
    }

    function test_participants_alone_close_and_once() public {
        bytes32 id = opened(70, 30);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotParticipant.selector, id, CAROL));
        vm.prank(CAROL);
        channels.close(id);
        vm.prank(BOB);
        channels.close(id);
        notOpen(id, PaymentChannels.State.Closing);
        vm.prank(ALICE);
        channels.close(id);
    }

    function test_nothing_is_paid_in_or_taken_back_while_it_closes() public {
        bytes32 id = opened(70, 30);
        vm.prank(BOB);
        channels.close(id);
        notOpen(id, PaymentChannels.State.Closing);
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 100);
        uint64 until = uint64(block.timestamp);
        bytes memory agreed = signed(BOB_KEY, withdrawDigest(id, ALICE, 20, until));
        notOpen(id, PaymentChannels.State.Closing);
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, agreed);
    }

    function test_an_open_or_a_settled_channel_is_not_settled() public {
        bytes32 id = opened(70, 30);
        notOpen(id, PaymentChannels.State.Open);
        channels.settle(id);
        vm.prank(ALICE);
        channels.close(id);
        vm.warp(block.timestamp + WINDOW + 1);
        channels.settle(id);
        notOpen(id, PaymentChannels.State.Settled);
        channels.settle(id);
    }

    function test_both_together_close_at_once_also_while_it_closes() public {
        bytes32 id = opened(70, 30);
        vm.prank(ALICE);
        channels.close(id);
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Settled(id, 15 + 10, 20 + 55);
        closeTogether(id, 55, 10, uint64(block.timestamp), ALICE_KEY, BOB_KEY);
        eq(token.balanceOf(ALICE), MANY - 45, "alice's tokens");
        eq(token.balanceOf(BOB), MANY + 45, "bob's tokens");
        eq(channels.held(asToken(token)), 0, "held");
    }

    function test_what_they_agree_on_is_within_what_is_there() public {
        bytes32 id = opened(70, 30);
        channels.redeem(claim(ALICE_KEY, id, 10));
        uint64 until = uint64(block.timestamp);
        outOfBounds(9, 10, 70);
        closeTogether(id, 9, 0, until, ALICE_KEY, BOB_KEY);
        outOfBounds(71, 10, 70);
        closeTogether(id, 71, 0, until, ALICE_KEY, BOB_KEY);
        outOfBounds(31, 0, 30);
        closeTogether(id, 10, 31, until, ALICE_KEY, BOB_KEY);
        closeTogether(id, 70, 30, until, ALICE_KEY, BOB_KEY);
        eq(token.balanceOf(ALICE), MANY - 40, "alice's tokens");
    }

    /// Goal: an agreement that was signed and not used pays nothing twice, whatever happens meanwhile. Method: Bob
    /// redeems what the agreement gives him, Alice deposits as much again, and he uses it after all.
    function test_an_old_agreement_pays_nothing_twice() public {
        bytes32 id = opened(70, 30);
        uint64 until = uint64(block.timestamp);
        bytes32 digest = closeDigest(id, 55, 0, until);
        (bytes memory first, bytes memory second) = (signed(ALICE_KEY, digest), signed(BOB_KEY, digest));
        channels.redeem(claim(ALICE_KEY, id, 55));
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 125);
        channels.closeTogether(id, 55, 0, until, first, second);
        eq(token.balanceOf(BOB), MANY + 55, "bob's tokens");
        eq(token.balanceOf(ALICE), MANY - 55, "alice's tokens");
    }

    function test_a_deposit_of_a_stranger_does_not_void_an_agreement() public {
        bytes32 id = opened(70, 30);
        vm.prank(CAROL);
        channels.setTotalDeposit(id, ALICE, 71);
        closeTogether(id, 55, 0, uint64(block.timestamp), ALICE_KEY, BOB_KEY);
        eq(token.balanceOf(BOB), MANY + 55, "bob's tokens");
        eq(token.balanceOf(ALICE), MANY - 54, "alice's tokens");
    }

    function test_nothing_is_done_to_a_settled_channel() public {
        bytes32 id = settled();
        uint64 until = uint64(block.timestamp);
        notOpen(id, PaymentChannels.State.Settled);
        vm.prank(ALICE);
        channels.setTotalDeposit(id, ALICE, 1000);
        bytes memory agreed = signed(BOB_KEY, withdrawDigest(id, ALICE, 20, until));
        notOpen(id, PaymentChannels.State.Settled);
        vm.prank(ALICE);
        channels.withdraw(id, 20, until, agreed);
        notOpen(id, PaymentChannels.State.Settled);
        vm.prank(ALICE);
        channels.close(id);
        notOpen(id, PaymentChannels.State.Settled);
        closeTogether(id, 0, 0, until, ALICE_KEY, BOB_KEY);
        refuses(claim(ALICE_KEY, id, 1), PaymentChannels.Refusal.NotOpen);
    }

    function test_one_alone_does_not_close_at_once() public {
        bytes32 id = opened(70, 30);
        uint64 until = uint64(block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotSignedBy.selector, BOB));
        closeTogether(id, 55, 0, until, ALICE_KEY, ALICE_KEY);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotSignedBy.selector, ALICE));
        closeTogether(id, 55, 0, until, BOB_KEY, BOB_KEY);
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.SignatureTooOld.selector, until));
        closeTogether(id, 55, 0, until, ALICE_KEY, BOB_KEY);
    }

    // Tokens that do not do as they should.

    function test_a_barred_payee_holds_up_nobody_and_collects_later() public {
        BarringToken barring = new BarringToken();
        IERC20 it = asToken(barring);
        endow(barring);
        bytes32 id = opened(barring, 70, 30);
        vm.prank(CAROL);
        bytes32 other = channels.open(it, ALICE, WINDOW, "", 50);
        barring.bar(BOB, true);
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](2);
        claims[0] = claim(ALICE_KEY, id, 40);
        claims[1] = claim(CAROL_KEY, other, 9);
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.NotPaid(it, BOB, 40);
        channels.redeemBatch(claims);
        eq(barring.balanceOf(ALICE), MANY - 70 + 9, "alice's tokens");
        closeTogether(id, 40, 0, uint64(block.timestamp), ALICE_KEY, BOB_KEY);
        eq(channels.owed(it, BOB), 70, "bob is owed");
        eq(channels.held(it), 41 + 70, "held");

        vm.expectRevert("barred");
        channels.collect(it, BOB, BOB, 70);
        eq(channels.owed(it, BOB), 70, "bob is still owed");
        vm.expectEmit(true, true, true, true, address(channels));
        emit PaymentChannels.Collected(it, BOB, CAROL, 60);
        vm.prank(BOB);
        channels.collect(it, BOB, CAROL, 60);
        eq(barring.balanceOf(CAROL), MANY - 50 + 60, "where bob wants it");
        barring.bar(BOB, false);
        vm.prank(CAROL);
        channels.collect(it, BOB, BOB, 10);
        eq(barring.balanceOf(BOB), MANY - 30 + 10, "anybody has it paid to him");
        eq(channels.held(it), 41, "held");
        for (uint256 amount = 0; amount < 2; ++amount) {
            vm.expectRevert(abi.encodeWithSelector(PaymentChannels.LessIsOwed.selector, it, BOB, 0));
            channels.collect(it, BOB, BOB, amount);
        }
    }

    function test_nobody_else_says_where_what_is_owed_goes() public {
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotTheOwner.selector, BOB, CAROL));
        vm.prank(CAROL);
        channels.collect(asToken(token), BOB, CAROL, 1);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotTheOwner.selector, BOB, address(channels)));
        vm.prank(BOB);
        channels.collect(asToken(token), BOB, address(channels), 1);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotOurselves.selector));
        vm.prank(CAROL);
        channels.transferExactly(asToken(token), CAROL, 1);
    }

    function test_what_a_shrunken_token_still_has_can_be_collected() public {
        ShrinkingToken shrinking = new ShrinkingToken();
        endow(shrinking);
        bytes32 id = opened(shrinking, 1000, 0);
        shrinking.burn(address(channels), 1);
        channels.redeem(claim(ALICE_KEY, id, 1000));
        eq(channels.owed(asToken(shrinking), BOB), 1000, "bob is owed");
        channels.collect(asToken(shrinking), BOB, BOB, 999);
        eq(shrinking.balanceOf(BOB), MANY + 999, "all that is there");
    }

    function test_a_token_that_takes_more_takes_it_from_nobody() public {
        SurchargingToken surcharging = new SurchargingToken();
        endow(surcharging);
        bytes32 id = opened(surcharging, 1000, 0);
        vm.prank(CAROL);
        bytes32 other = channels.open(asToken(surcharging), BOB, WINDOW, "", 1000);
        surcharging.charge();
        channels.redeem(claim(ALICE_KEY, id, 1000));
        eq(surcharging.balanceOf(address(channels)), 2000, "nothing has moved");
        eq(channels.owed(asToken(surcharging), BOB), 1000, "bob is owed");
        channels.redeem(claim(CAROL_KEY, other, 500));
    }

    function test_a_token_that_moves_and_says_no_has_not_moved() public {
        LyingToken lying = new LyingToken();
        endow(lying);
        bytes32 id = opened(lying, 1000, 0);
        lying.lie(true);
        channels.redeem(claim(ALICE_KEY, id, 1000));
        eq(lying.balanceOf(BOB), MANY, "bob's tokens");
        lying.lie(false);
        channels.collect(asToken(lying), BOB, BOB, 1000);
        eq(lying.balanceOf(BOB), MANY + 1000, "bob's tokens");
    }

    function test_a_token_that_burns_gas_spends_its_own_share() public {
        BurningToken burning = new BurningToken();
        endow(burning);
        bytes32 id = opened(burning, 1000, 0);
        bytes32 other = opened(70, 0);
        burning.burnGas();
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](2);
        claims[0] = claim(ALICE_KEY, id, 1000);
        claims[1] = claim(ALICE_KEY, other, 70);
        channels.redeemBatch{gas: 1_000_000}(claims);
        eq(channels.owed(asToken(burning), BOB), 1000, "bob is owed");
        eq(token.balanceOf(BOB), MANY + 70, "bob's tokens");
    }

    function test_who_brings_too_little_gas_makes_no_transfer_fail() public {
        WorkingToken working = new WorkingToken();
        endow(working);
        bytes32 id = opened(working, 70, 0);
        PaymentChannels.Claim memory one = claim(ALICE_KEY, id, 70);
        working.work(200_000);
        for (uint256 gas_ = 50_000; gas_ < 450_000; gas_ += 5_000) {
            (bool succeeded,) = address(channels).call{gas: gas_}(abi.encodeCall(channels.redeem, (one)));
            eq(channels.owed(asToken(working), BOB), 0, "nothing is owed");
            if (succeeded) break;
        }
        eq(working.balanceOf(BOB), MANY + 70, "paid with gas enough");
    }

    /// Each call would do something by itself; while another is under way it does nothing.
    function test_a_token_that_calls_back_gets_nowhere() public {
        CallingToken calling = new CallingToken();
        endow(calling);
        bytes32 id = opened(calling, 70, 30);
        uint64 until = uint64(block.timestamp);
        bytes32 digest = closeDigest(id, 60, 0, until);
        bytes32 takes = withdrawDigest(id, ALICE, 5, until);
        PaymentChannels.Claim[] memory claims = new PaymentChannels.Claim[](1);
        claims[0] = claim(ALICE_KEY, id, 50);
        bytes[9] memory calls = [
            abi.encodeCall(channels.open, (asToken(calling), BOB, WINDOW, "other", 0)),
            abi.encodeCall(channels.setTotalDeposit, (id, ALICE, 90)),
            abi.encodeCall(channels.redeem, (claims[0])),
            abi.encodeCall(channels.redeemBatch, (claims)),
            abi.encodeCall(channels.withdraw, (id, 5, until, signed(BOB_KEY, takes))),
            abi.encodeCall(
                channels.closeTogether, (id, 60, 0, until, signed(ALICE_KEY, digest), signed(BOB_KEY, digest))
            ),
            abi.encodeCall(channels.settle, (id)),
            abi.encodeCall(channels.collect, (asToken(calling), BOB, BOB, 1)),
            abi.encodeCall(channels.close, (id))
        ];
        for (uint128 i = 0; i < calls.length; ++i) {
            calling.arm(address(channels), calls[i]);
            channels.redeem(claim(ALICE_KEY, id, 10 + i));
            bytes4 guard = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
            require(bytes4(calling.answer()) == guard, "the guard refuses it");
        }
        eq(calling.balanceOf(BOB), MANY - 30 + 18, "bob's tokens");
    }

    // Any amounts.

    function testFuzz_what_claims_pay_is_what_is_gone(uint128 deposit, uint128 firstTotal, uint128 secondTotal) public {
        deposit = uint128(within(deposit, 1, MANY));
        bytes32 id = opened(deposit, 0);
        uint128 most = firstTotal > secondTotal ? firstTotal : secondTotal;
        uint128 paid = most < deposit ? most : deposit;
        if (firstTotal > 0) channels.redeem(claim(ALICE_KEY, id, firstTotal));
        if (secondTotal > firstTotal && firstTotal < deposit) channels.redeem(claim(ALICE_KEY, id, secondTotal));
        else if (secondTotal > paid) refuses(claim(ALICE_KEY, id, secondTotal), PaymentChannels.Refusal.DepositSpent);
        else refuses(claim(ALICE_KEY, id, secondTotal), PaymentChannels.Refusal.NothingNew);
        eq(token.balanceOf(BOB), MANY + paid, "bob's tokens");
        vm.prank(BOB);
        channels.close(id);
        vm.warp(block.timestamp + WINDOW + 1);
        channels.settle(id);
        eq(token.balanceOf(ALICE), MANY - paid, "alice's tokens");
    }

    function testFuzz_no_other_bytes_are_a_signature(bytes calldata signature, uint128 total) public {
        bytes32 id = opened(70, 30);
        refuses(PaymentChannels.Claim(id, total, signature), PaymentChannels.Refusal.NotSigned);
    }

    // Steps of the above.

    function settled() private returns (bytes32 id) {
        id = opened(70, 30);
        closeTogether(id, 0, 0, uint64(block.timestamp), ALICE_KEY, BOB_KEY);
    }

    function refuses(PaymentChannels.Claim memory one, PaymentChannels.Refusal why) private {
        (PaymentChannels.Refusal judged, uint128 amount) = channels.judge(one);
        eq(uint256(judged), uint256(why), "judged");
        eq(amount, 0, "amount");
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.NotRedeemable.selector, one.channelId, why));
        channels.redeem(one);
    }

    function refusesDeposit(Token it, uint128 wanted, uint256 came) private {
        endow(it);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.DepositDiffers.selector, it, wanted, came));
        vm.prank(ALICE);
        channels.open(asToken(it), BOB, WINDOW, "", wanted);
    }

    function outOfBounds(uint128 paid, uint128 redeemed, uint128 most) private {
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.PaidOutOfBounds.selector, paid, redeemed, most));
    }

    function notOpen(bytes32 id, PaymentChannels.State state) private {
        vm.expectRevert(abi.encodeWithSelector(PaymentChannels.ChannelNotOpen.selector, id, state));
    }

    function closeTogether(bytes32 id, uint128 first, uint128 second, uint64 until, uint256 firstKey, uint256 secondKey)
        private
    {
        bytes32 digest = closeDigest(id, first, second, until);
        channels.closeTogether(id, first, second, until, signed(firstKey, digest), signed(secondKey, digest));
    }
}
