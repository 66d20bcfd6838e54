// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Payment channels between two participants, in one ERC-20 token each
///
/// ```text
///   open -> Open -- close -> Closing -- the window passes, settle --> Settled
///             |                 |                                        ^
///             '-----------------'-------- closeTogether -----------------'
///   in Open: setTotalDeposit, withdraw; in Open and in Closing: redeem
/// ```
///
/// Each participant has a deposit of its own, and pays by signing how much it has paid in all: a claim,
/// which draws on that deposit and on nothing else. A claim can be redeemed by anybody, at any time until
/// the channel is settled, and always pays the other participant; redeeming closes nothing. A claim beyond
/// what is there pays what is there, and the rest once more is deposited.
///
/// Invariants. For each participant `redeemed + withdrawn <= deposit`. What the contract holds of a token
/// is at least the sum of what is left in its channels and of what it owes to those it could not pay, unless
/// the token takes it away.
/// Nobody but the participants can move what is in a channel, and nobody else's signature counts: there
/// is no owner, no upgrade, no pause.
///
/// Amounts are in the token's smallest unit, times in seconds since 1970.
contract PaymentChannels is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// What is known of one participant.
    struct Side {
        /// Put in, in all.
        uint128 deposit;
        /// Paid out of it to the other participant by claims, in all.
        uint128 redeemed;
        /// Taken back with the other's consent, in all.
        uint128 withdrawn;
    }

    enum State {
        None,
        Open,
        Closing,
        Settled
    }

    struct Channel {
        address token;
        State state;
        /// How long a close waits for claims.
        uint32 windowSeconds;
        /// Until when claims count once a close was asked for. 40 bits last, and leave all of this in one word.
        uint40 closesAt;
        address[2] participants;
        Side[2] sides;
    }

    /// A claim: its payer's signature over channel and total.
    struct Claim {
        bytes32 channelId;
        uint128 cumulativeAmount;
        bytes signature;
    }

    /// Why a claim pays nothing.
    enum Refusal {
        None,
        /// There is no such channel, or it is settled.
        NotOpen,
        /// The window has passed.
        TooLate,
        /// It is signed by neither participant.
        NotSigned,
        /// As much was redeemed before.
        NothingNew,
        /// The payer's deposit is spent: it pays once more is deposited.
        DepositSpent
    }

    bytes32 private constant CLAIM_TYPEHASH = keccak256("Claim(bytes32 channelId,uint128 cumulativeAmount)");
    bytes32 private constant WITHDRAW_TYPEHASH =
        keccak256("Withdraw(bytes32 channelId,address participant,uint128 totalWithdrawn,uint64 validUntil)");
    bytes32 private constant CLOSE_TYPEHASH =
        keccak256("CloseTogether(bytes32 channelId,uint128 firstPaid,uint128 secondPaid,uint64 validUntil)");

    /// What a deployment may choose for windows: below, nobody could answer a close; above, a deposit were locked
    /// for ever.
    uint32 private constant WINDOW_SECONDS_LEAST = 10 minutes;
    uint32 private constant WINDOW_SECONDS_MOST = 365 days;
    /// Gas that a token gets for a transfer. One that wants more has it owed: it may not spend what the rest of a
    /// batch needs.
    uint256 private constant TRANSFER_GAS = 300_000;

    /// A window is at least so long.
    uint32 public immutable WINDOW_SECONDS_MIN;
    /// A window is at most so long.
    uint32 public immutable WINDOW_SECONDS_MAX;

    mapping(bytes32 channelId => Channel) private _channels;
    /// Of each token, what is left in its channels and what is owed.
    mapping(IERC20 token => uint256) public held;
    /// What could not be paid, as the token refused the transfer; its owner collects it.
    mapping(IERC20 token => mapping(address owner => uint256)) public owed;

    event Opened(
        bytes32 indexed channelId,
        address indexed first,
        address indexed second,
        IERC20 token,
        uint32 windowSeconds,
        bytes32 salt
    );
    event Deposited(bytes32 indexed channelId, address indexed participant, uint128 totalDeposit);
    event Redeemed(bytes32 indexed channelId, address indexed payee, uint128 totalRedeemed, uint128 cumulativeAmount);
    event NotRedeemed(bytes32 indexed channelId, uint128 cumulativeAmount, Refusal why);
    event Withdrawn(bytes32 indexed channelId, address indexed participant, uint128 totalWithdrawn);
    event CloseRequested(bytes32 indexed channelId, address indexed by, uint40 closesAt);
    event Settled(bytes32 indexed channelId, uint256 firstAmount, uint256 secondAmount);
    event NotPaid(IERC20 indexed token, address indexed owner, uint256 amount);
    event Collected(IERC20 indexed token, address indexed owner, address to, uint256 amount);

    error WindowOutOfBounds(uint32 windowSeconds, uint32 min, uint32 max);
    error NotTwoParticipants(address first, address second);
    error NoToken(address token);
    error ChannelExists(bytes32 channelId, State state);
    error ChannelNotOpen(bytes32 channelId, State state);
    error NotParticipant(bytes32 channelId, address who);
    error TotalNotHigher(uint128 total, uint128 before);
    error MoreThanIsLeft(uint128 wanted, uint128 left);
    error DepositDiffers(IERC20 token, uint256 wanted, uint256 came);
    error TransferDiffers(IERC20 token, uint256 wanted, uint256 gone);
    error TokenLacksSome(IERC20 token, uint256 held, uint256 has);
    error NotRedeemable(bytes32 channelId, Refusal why);
    error SignatureTooOld(uint64 validUntil);
    error NotSignedBy(address participant);
    error PaidOutOfBounds(uint128 paid, uint128 redeemed, uint128 most);
    error WindowStillOpen(bytes32 channelId, uint40 closesAt);
    error LessIsOwed(IERC20 token, address owner, uint256 owed);
    error NotTheOwner(address owner, address to);
    error NotOurselves();

    constructor(uint32 windowSecondsMin, uint32 windowSecondsMax) EIP712("M2MPayChan", "1") {
        if (windowSecondsMin < WINDOW_SECONDS_LEAST || windowSecondsMax > WINDOW_SECONDS_MOST) {
            revert WindowOutOfBounds(windowSecondsMin, WINDOW_SECONDS_LEAST, WINDOW_SECONDS_MOST);
        }
        if (windowSecondsMin > windowSecondsMax) {
            revert WindowOutOfBounds(windowSecondsMin, WINDOW_SECONDS_LEAST, windowSecondsMax);
        }
        WINDOW_SECONDS_MIN = windowSecondsMin;
        WINDOW_SECONDS_MAX = windowSecondsMax;
    }

    // What participants do.

    /// Opens a channel with `other`, and puts `deposit` into the caller's side of it, which may be 0. The id
    /// is made of all that was agreed on, so that no reorganisation can give it to another channel, and of
    /// `salt`: the same call sent twice opens one channel.
    function open(IERC20 token, address other, uint32 windowSeconds, bytes32 salt, uint128 deposit)
        external
        nonReentrant
        returns (bytes32 channelId)
    {
        if (windowSeconds < WINDOW_SECONDS_MIN || windowSeconds > WINDOW_SECONDS_MAX) {
            revert WindowOutOfBounds(windowSeconds, WINDOW_SECONDS_MIN, WINDOW_SECONDS_MAX);
        }
        if (other == address(0) || other == msg.sender || other == address(this)) {
            revert NotTwoParticipants(msg.sender, other);
        }
        if (address(token).code.length == 0) revert NoToken(address(token));
        channelId = channelIdOf(msg.sender, other, token, windowSeconds, salt);
        Channel storage channel = _channels[channelId];
        if (channel.state != State.None) revert ChannelExists(channelId, channel.state);
        channel.token = address(token);
        channel.state = State.Open;
        channel.windowSeconds = windowSeconds;
        channel.participants = [msg.sender, other];
        emit Opened(channelId, msg.sender, other, token, windowSeconds, salt);
        if (deposit > 0) _deposit(channelId, channel, 0, deposit);
    }

    /// Raises a participant's deposit to `totalDeposit`, with the caller's tokens. A total, so that one sent
    /// twice is taken once.
    function setTotalDeposit(bytes32 channelId, address participant, uint128 totalDeposit) external nonReentrant {
        Channel storage channel = _channels[channelId];
        if (channel.state != State.Open) revert ChannelNotOpen(channelId, channel.state);
        _deposit(channelId, channel, _indexOf(channelId, channel, participant), totalDeposit);
    }

    /// Pays the payee what a claim has above what was paid before.
    function redeem(Claim calldata claim) external nonReentrant {
        (Refusal why, IERC20 token, address payee, uint128 amount) = _redeem(claim);
        if (why != Refusal.None) revert NotRedeemable(claim.channelId, why);
        _pay(token, payee, amount);
    }

    /// Redeems each claim that can be, and tells of each that cannot. Claims that follow each other and pay
    /// the same payee in the same token are paid by one transfer.
    function redeemBatch(Claim[] calldata claims) external nonReentrant {
        IERC20 payToken;
        address payTo;
        uint256 sum;
        for (uint256 i = 0; i < claims.length; ++i) {
            (Refusal why, IERC20 token, address payee, uint128 amount) = _redeem(claims[i]);
            if (why != Refusal.None) {
                emit NotRedeemed(claims[i].channelId, claims[i].cumulativeAmount, why);
                continue;
            }
            if (address(token) != address(payToken) || payee != payTo) {
                _pay(payToken, payTo, sum);
                (payToken, payTo, sum) = (token, payee, 0);
            }
            sum += amount;
        }
        _pay(payToken, payTo, sum);
    }

    /// Gives the caller some of its own deposit back, to a total that the other has agreed to.
    function withdraw(bytes32 channelId, uint128 totalWithdrawn, uint64 validUntil, bytes calldata otherSignature)
        external
        nonReentrant
    {
        Channel storage channel = _channels[channelId];
        if (channel.state != State.Open) revert ChannelNotOpen(channelId, channel.state);
        if (block.timestamp > validUntil) revert SignatureTooOld(validUntil);
        uint256 index = _indexOf(channelId, channel, msg.sender);
        bytes32 digest = withdrawDigest(channelId, msg.sender, totalWithdrawn, validUntil);
        _requireSigned(channel.participants[1 - index], digest, otherSignature);
        Side storage side = channel.sides[index];
        uint128 before = side.withdrawn;
        if (totalWithdrawn <= before) revert TotalNotHigher(totalWithdrawn, before);
        uint128 amount = totalWithdrawn - before;
        if (amount > _left(side)) revert MoreThanIsLeft(amount, _left(side));
        side.withdrawn = totalWithdrawn;
        emit Withdrawn(channelId, msg.sender, totalWithdrawn);
        _pay(IERC20(channel.token), msg.sender, amount);
    }

    /// Asks for the channel's end: claims count until the window has passed.
    function close(bytes32 channelId) external nonReentrant {
        Channel storage channel = _channels[channelId];
        if (channel.state != State.Open) revert ChannelNotOpen(channelId, channel.state);
        _indexOf(channelId, channel, msg.sender);
        channel.state = State.Closing;
        channel.closesAt = uint40(block.timestamp) + channel.windowSeconds;
        emit CloseRequested(channelId, msg.sender, channel.closesAt);
    }

    /// Ends the channel at once, as both have signed: `firstPaid` and `secondPaid` are what each has paid the
    /// other in all, redeemed or not. Totals, so that whatever is deposited, withdrawn or redeemed after they
    /// signed, nobody is paid more or less than that.
    function closeTogether(
        bytes32 channelId,
        uint128 firstPaid,
        uint128 secondPaid,
        uint64 validUntil,
        bytes calldata firstSignature,
        bytes calldata secondSignature
    ) external nonReentrant {
        Channel storage channel = _channels[channelId];
        if (channel.state != State.Open && channel.state != State.Closing) {
            revert ChannelNotOpen(channelId, channel.state);
        }
        if (block.timestamp > validUntil) revert SignatureTooOld(validUntil);
        bytes32 digest = closeDigest(channelId, firstPaid, secondPaid, validUntil);
        _requireSigned(channel.participants[0], digest, firstSignature);
        _requireSigned(channel.participants[1], digest, secondSignature);
        uint128 toSecond = _raise(channel.sides[0], firstPaid);
        uint128 toFirst = _raise(channel.sides[1], secondPaid);
        _settle(channelId, channel, toFirst, toSecond);
    }

    /// After the window: each gets back what is left of its own deposit. Anybody may ask for it.
    function settle(bytes32 channelId) external nonReentrant {
        Channel storage channel = _channels[channelId];
        if (channel.state != State.Closing) revert ChannelNotOpen(channelId, channel.state);
        if (block.timestamp <= channel.closesAt) revert WindowStillOpen(channelId, channel.closesAt);
        _settle(channelId, channel, 0, 0);
    }

    /// Pays some of what could not be paid before: anybody may have it paid to its owner, and the owner to any
    /// address.
    function collect(IERC20 token, address owner, address to, uint256 amount) external nonReentrant {
        if ((to != owner && msg.sender != owner) || to == address(this)) revert NotTheOwner(owner, to);
        uint256 before = owed[token][owner];
        if (amount == 0 || amount > before) revert LessIsOwed(token, owner, before);
        owed[token][owner] = before - amount;
        held[token] -= amount;
        emit Collected(token, owner, to, amount);
        _transferExactly(token, to, amount);
    }

    /// A transfer of a call above, in a frame that can be undone by itself. Nobody else may call it.
    function transferExactly(IERC20 token, address to, uint256 amount) external {
        if (msg.sender != address(this)) revert NotOurselves();
        _transferExactly(token, to, amount);
    }

    // What anybody may read.

    /// All that is known of a channel.
    function channelOf(bytes32 channelId) external view returns (Channel memory) {
        return _channels[channelId];
    }

    /// What a claim would do now: why it pays nothing, or how much.
    function judge(Claim calldata claim) external view returns (Refusal why, uint128 amount) {
        uint256 index;
        uint128 total;
        (why, index, total) = _judge(claim);
        if (why == Refusal.None) amount = total - _channels[claim.channelId].sides[index].redeemed;
    }

    /// The id of the channel that `first` opens or has opened with `second`. It is never used again.
    function channelIdOf(address first, address second, IERC20 token, uint32 windowSeconds, bytes32 salt)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), first, second, token, windowSeconds, salt));
    }

    /// What a payer signs (EIP-712).
    function claimDigest(bytes32 channelId, uint128 cumulativeAmount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CLAIM_TYPEHASH, channelId, cumulativeAmount)));
    }

    /// What the other participant signs for `withdraw`.
    function withdrawDigest(bytes32 channelId, address participant, uint128 totalWithdrawn, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(WITHDRAW_TYPEHASH, channelId, participant, totalWithdrawn, validUntil))
        );
    }

    /// What both sign for `closeTogether`.
    function closeDigest(bytes32 channelId, uint128 firstPaid, uint128 secondPaid, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(CLOSE_TYPEHASH, channelId, firstPaid, secondPaid, validUntil)));
    }

    // Steps of the above.

    function _deposit(bytes32 channelId, Channel storage channel, uint256 index, uint128 totalDeposit) private {
        Side storage side = channel.sides[index];
        uint128 before = side.deposit;
        if (totalDeposit <= before) revert TotalNotHigher(totalDeposit, before);
        uint128 amount = totalDeposit - before;
        IERC20 token = IERC20(channel.token);
        uint256 has = token.balanceOf(address(this));
        // A token whose balances shrink would let the last channels pay for it: no more is taken of one that has.
        if (has < held[token]) revert TokenLacksSome(token, held[token], has);
        side.deposit = totalDeposit;
        held[token] += amount;
        emit Deposited(channelId, channel.participants[index], totalDeposit);
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 came = token.balanceOf(address(this)) - has;
        if (came != amount) revert DepositDiffers(token, amount, came);
    }

    /// Notes a claim as redeemed; the caller pays. Changes nothing if it refuses.
    function _redeem(Claim calldata claim) private returns (Refusal why, IERC20 token, address payee, uint128 amount) {
        uint256 index;
        uint128 total;
        (why, index, total) = _judge(claim);
        if (why != Refusal.None) return (why, token, payee, 0);
        Channel storage channel = _channels[claim.channelId];
        amount = total - channel.sides[index].redeemed;
        channel.sides[index].redeemed = total;
        (token, payee) = (IERC20(channel.token), channel.participants[1 - index]);
        emit Redeemed(claim.channelId, payee, total, claim.cumulativeAmount);
    }

    /// Which side a claim draws on, and up to which total.
    function _judge(Claim calldata claim) private view returns (Refusal, uint256 index, uint128 total) {
        Channel storage channel = _channels[claim.channelId];
        State state = channel.state;
        if (state != State.Open && state != State.Closing) return (Refusal.NotOpen, 0, 0);
        if (state == State.Closing && block.timestamp > channel.closesAt) return (Refusal.TooLate, 0, 0);
        bytes32 digest = claimDigest(claim.channelId, claim.cumulativeAmount);
        (address payer, ECDSA.RecoverError fault,) = ECDSA.tryRecoverCalldata(digest, claim.signature);
        if (fault != ECDSA.RecoverError.NoError) return (Refusal.NotSigned, 0, 0);
        if (payer == channel.participants[1]) index = 1;
        else if (payer != channel.participants[0]) return (Refusal.NotSigned, 0, 0);
        Side storage side = channel.sides[index];
        if (claim.cumulativeAmount <= side.redeemed) return (Refusal.NothingNew, 0, 0);
        total = side.deposit - side.withdrawn;
        if (claim.cumulativeAmount < total) total = claim.cumulativeAmount;
        return (total > side.redeemed ? Refusal.None : Refusal.DepositSpent, index, total);
    }

    /// What a side has paid is `paid` in all, from now on; how much that is more than was redeemed.
    function _raise(Side storage side, uint128 paid) private returns (uint128 rise) {
        uint128 most = side.deposit - side.withdrawn;
        if (paid < side.redeemed || paid > most) revert PaidOutOfBounds(paid, side.redeemed, most);
        rise = paid - side.redeemed;
        side.redeemed = paid;
    }

    /// Ends a channel: each gets what is left of its own deposit, and these rises of what the other has paid.
    function _settle(bytes32 channelId, Channel storage channel, uint256 first, uint256 second) private {
        channel.state = State.Settled;
        first += _left(channel.sides[0]);
        second += _left(channel.sides[1]);
        emit Settled(channelId, first, second);
        _pay(IERC20(channel.token), channel.participants[0], first);
        _pay(IERC20(channel.token), channel.participants[1], second);
    }

    /// Pays out of what is held. A token that refuses (it may have barred the payee), takes more than was asked for
    /// or spends too much gas holds up nobody else: the amount is owed then.
    function _pay(IERC20 token, address to, uint256 amount) private {
        if (amount == 0) return;
        // Who brings too little gas makes the call fail, not the transfer: what EIP-150 leaves us then, a 64th of
        // less than TRANSFER_GAS, does not pay for writing down what is owed.
        held[token] -= amount;
        try this.transferExactly{gas: TRANSFER_GAS}(token, to, amount) {}
        catch {
            held[token] += amount;
            owed[token][to] += amount;
            emit NotPaid(token, to, amount);
        }
    }

    /// Whatever a token says: exactly so much is gone, or nothing has happened.
    function _transferExactly(IERC20 token, address to, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransfer(to, amount);
        uint256 gone = before - token.balanceOf(address(this));
        if (gone != amount) revert TransferDiffers(token, amount, gone);
    }

    function _requireSigned(address participant, bytes32 digest, bytes calldata signature) private pure {
        (address signer, ECDSA.RecoverError fault,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (fault != ECDSA.RecoverError.NoError || signer != participant) revert NotSignedBy(participant);
    }

    function _indexOf(bytes32 channelId, Channel storage channel, address who) private view returns (uint256) {
        if (who == channel.participants[0]) return 0;
        if (who == channel.participants[1]) return 1;
        revert NotParticipant(channelId, who);
    }

    /// What is left of a side's own deposit.
    function _left(Side storage side) private view returns (uint128) {
        return side.deposit - side.redeemed - side.withdrawn;
    }
}
