//! The contract's functions and errors, and tokens', as `PaymentChannels.sol` and ERC-20 have them.
//!
//! Invariant: what is called is made here, of a [`Call`] and of our own address. Nothing that a peer has sent is in
//! it but claims and its signature of an agreement, and those are what the contract judges.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol;
use alloy::sol_types::{Panic, Revert, SolCall, SolError, SolInterface};
use m2_settlement::chain::{Call, ChannelId, OnChain, Side, SignedClaim, Terms};

use super::eip712::{address_of, normalised, party_of, token_of};
use super::rpc::brief;

sol! {
    #![sol(all_derives)]

    /// The payment channels.
    interface PaymentChannels {
        enum State { None, Open, Closing, Settled }
        enum Refusal { None, NotOpen, TooLate, NotSigned, NothingNew, DepositSpent }

        struct Side {
            uint128 deposit;
            uint128 redeemed;
            uint128 withdrawn;
        }

        struct Channel {
            address token;
            State state;
            uint32 windowSeconds;
            uint40 closesAt;
            address[2] participants;
            Side[2] sides;
        }

        struct Claim {
            bytes32 channelId;
            uint128 cumulativeAmount;
            bytes signature;
        }

        error WindowOutOfBounds(uint32 windowSeconds, uint32 min, uint32 max);
        error NotTwoParticipants(address first, address second);
        error NoToken(address token);
        error ChannelExists(bytes32 channelId, State state);
        error ChannelNotOpen(bytes32 channelId, State state);
        error NotParticipant(bytes32 channelId, address who);
        error TotalNotHigher(uint128 total, uint128 before);
        error MoreThanIsLeft(uint128 wanted, uint128 left);
        error DepositDiffers(address token, uint256 wanted, uint256 came);
        error TransferDiffers(address token, uint256 wanted, uint256 gone);
        error TokenLacksSome(address token, uint256 held, uint256 has);
        error NotRedeemable(bytes32 channelId, Refusal why);
        error SignatureTooOld(uint64 validUntil);
        error NotSignedBy(address participant);
        error PaidOutOfBounds(uint128 paid, uint128 redeemed, uint128 most);
        error WindowStillOpen(bytes32 channelId, uint40 closesAt);
        error LessIsOwed(address token, address owner, uint256 owed);
        error NotTheOwner(address owner, address to);
        error NotOurselves();
        error ReentrancyGuardReentrantCall();
        error SafeERC20FailedOperation(address token);

        function open(address token, address other, uint32 windowSeconds, bytes32 salt, uint128 deposit)
            external returns (bytes32 channelId);
        function setTotalDeposit(bytes32 channelId, address participant, uint128 totalDeposit) external;
        function redeem(Claim calldata claim) external;
        function redeemBatch(Claim[] calldata claims) external;
        function close(bytes32 channelId) external;
        function closeTogether(
            bytes32 channelId,
            uint128 firstPaid,
            uint128 secondPaid,
            uint64 validUntil,
            bytes calldata firstSignature,
            bytes calldata secondSignature
        ) external;
        function settle(bytes32 channelId) external;
        function collect(address token, address owner, address to, uint256 amount) external;
        function channelOf(bytes32 channelId) external view returns (Channel memory);
        function judge(Claim calldata claim) external view returns (Refusal why, uint128 amount);
        function owed(address token, address owner) external view returns (uint256);
        function eip712Domain() external view returns (
            bytes1 fields,
            string name,
            string version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] extensions
        );
    }

    /// A token.
    interface IERC20 {
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);

        function approve(address spender, uint256 amount) external returns (bool);
        function balanceOf(address owner) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
    }
}

/// What a transaction calls, and with what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Calldata {
    pub(super) to: Address,
    pub(super) data: Bytes,
}

/// A call as bytes, for us to send.
///
/// # Errors
///
/// When it can do nothing but fail.
pub(super) fn calldata(call: &Call, us: Address, contract: Address) -> Result<Calldata, String> {
    let data = match call {
        Call::Approve { token } => {
            let to = address(&token.0, "the token")?;
            let approve = IERC20::approveCall { spender: contract, amount: U256::MAX };
            return Ok(Calldata { to, data: approve.abi_encode().into() });
        }
        Call::Nothing => return Ok(Calldata { to: us, data: Bytes::new() }),
        Call::Open { terms, deposit } => open(terms, *deposit, us)?,
        Call::Deposit { channel, total } => PaymentChannels::setTotalDepositCall {
            channelId: id(*channel),
            participant: us,
            totalDeposit: *total,
        }
        .abi_encode(),
        Call::Redeem { claims } => redeem(claims)?,
        Call::Close { channel } => {
            PaymentChannels::closeCall { channelId: id(*channel) }.abi_encode()
        }
        Call::CloseTogether { agreement, first_signature, second_signature } => {
            PaymentChannels::closeTogetherCall {
                channelId: id(agreement.channel),
                firstPaid: agreement.first_paid,
                secondPaid: agreement.second_paid,
                validUntil: agreement.valid_until_s,
                firstSignature: signature(&first_signature.0),
                secondSignature: signature(&second_signature.0),
            }
            .abi_encode()
        }
        Call::Settle { channel } => {
            PaymentChannels::settleCall { channelId: id(*channel) }.abi_encode()
        }
        Call::Collect { token, amount } => PaymentChannels::collectCall {
            token: address(&token.0, "the token")?,
            owner: us,
            to: us,
            amount: U256::from(*amount),
        }
        .abi_encode(),
    };
    Ok(Calldata { to: contract, data: data.into() })
}

fn open(terms: &Terms, deposit: u128, us: Address) -> Result<Vec<u8>, String> {
    if terms.first != party_of(us) {
        return Err(format!("a channel is opened by its first party, and {us} is not"));
    }
    let open = PaymentChannels::openCall {
        token: address(&terms.token.0, "the token")?,
        other: address(&terms.second.0, "the second party")?,
        windowSeconds: terms.window_s,
        salt: terms.salt.into(),
        deposit,
    };
    Ok(open.abi_encode())
}

/// One alone fails if it pays nothing; of several, those that pay are paid.
fn redeem(claims: &[SignedClaim]) -> Result<Vec<u8>, String> {
    match claims {
        [] => Err("there is no claim to redeem".into()),
        [one] => Ok(PaymentChannels::redeemCall { claim: claim(one) }.abi_encode()),
        several => {
            let claims = several.iter().map(claim).collect();
            Ok(PaymentChannels::redeemBatchCall { claims }.abi_encode())
        }
    }
}

/// A claim as the contract takes it.
pub(super) fn claim(signed: &SignedClaim) -> PaymentChannels::Claim {
    PaymentChannels::Claim {
        channelId: id(signed.claim.channel),
        cumulativeAmount: signed.claim.total,
        signature: signature(&signed.signature.0),
    }
}

/// Bytes that are no signature are left out: the contract finds nothing signed.
fn signature(bytes: &[u8]) -> Bytes {
    normalised(bytes).map_or_else(Bytes::new, Bytes::from)
}

fn id(channel: ChannelId) -> B256 {
    B256::from(channel.0)
}

fn address(word: &[u8; 32], of_what: &str) -> Result<Address, String> {
    address_of(word)
        .ok_or_else(|| format!("{of_what} is no address of an EVM chain: 20 bytes behind 12 of 0"))
}

/// A channel as the contract shows it; none if there is none.
///
/// # Errors
///
/// When the bytes are no channel.
pub(super) fn channel(bytes: &[u8]) -> Result<Option<OnChain>, String> {
    use m2_settlement::chain::ChannelState;
    let channel = PaymentChannels::channelOfCall::abi_decode_returns_validate(bytes)
        .map_err(|error| format!("channelOf: {error}"))?;
    let state = match channel.state {
        PaymentChannels::State::None => return Ok(None),
        PaymentChannels::State::Open => ChannelState::Open,
        PaymentChannels::State::Closing => ChannelState::Closing,
        PaymentChannels::State::Settled => ChannelState::Settled,
        PaymentChannels::State::__Invalid => return Err("channelOf: an unknown state".into()),
    };
    Ok(Some(OnChain {
        parties: channel.participants.map(party_of),
        token: token_of(channel.token),
        window_s: channel.windowSeconds,
        state,
        closes_at_s: channel.closesAt.to::<u64>(),
        sides: channel.sides.map(|side| Side {
            deposit: side.deposit,
            redeemed: side.redeemed,
            withdrawn: side.withdrawn,
        }),
    }))
}

/// Why a call failed, by the name that the contract gives it, with its values.
pub(super) fn revert_text(data: &[u8]) -> String {
    use IERC20::IERC20Errors;
    use PaymentChannels::PaymentChannelsErrors;
    if let Ok(error) = PaymentChannelsErrors::abi_decode_validate(data) {
        return shown(&error);
    }
    if let Ok(error) = IERC20Errors::abi_decode_validate(data) {
        return shown(&error);
    }
    if let Ok(error) = Revert::abi_decode_validate(data) {
        return format!("\"{}\"", brief(&error.reason));
    }
    if let Ok(error) = Panic::abi_decode_validate(data) {
        return error.to_string();
    }
    match data.first_chunk::<4>() {
        None => "without a reason".into(),
        Some(selector) => {
            let selector = alloy::hex::encode_prefixed(selector);
            format!("an error {selector} that neither the contract nor ERC-20 has")
        }
    }
}

/// `NotRedeemable { channelId: 0x.., why: NothingNew }` without the name of the enum around it.
fn shown(error: &impl core::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use m2_settlement::chain::{Claim, Party, Token};
    use proptest::prelude::*;

    use super::*;

    const US: Address = Address::repeat_byte(0xaa);
    const CONTRACT: Address = Address::repeat_byte(0xcc);

    fn terms() -> Terms {
        let (first, second) = (party_of(US), party_of(Address::repeat_byte(0xbb)));
        let token = token_of(Address::repeat_byte(0xdd));
        Terms { first, second, token, window_s: 3600, salt: [5; 32] }
    }

    fn signed(signature: &[u8]) -> SignedClaim {
        let claim = Claim { channel: ChannelId([1; 32]), total: 9 };
        SignedClaim { claim, signature: m2_settlement::chain::Bytes(signature.to_vec()) }
    }

    #[test]
    fn every_call_goes_to_the_contract_but_an_approval_which_is_of_the_contract() {
        let token = terms().token;
        let made = calldata(&Call::Approve { token }, US, CONTRACT).unwrap();
        assert_eq!(made.to, Address::repeat_byte(0xdd));
        let approve = IERC20::approveCall::abi_decode_validate(&made.data).unwrap();
        assert_eq!((approve.spender, approve.amount), (CONTRACT, U256::MAX));
        let channel = ChannelId([1; 32]);
        for call in [
            Call::Open { terms: terms(), deposit: 1 },
            Call::Deposit { channel, total: 1 },
            Call::Redeem { claims: vec![signed(&[])] },
            Call::Close { channel },
            Call::Settle { channel },
            Call::Collect { token, amount: 1 },
        ] {
            assert_eq!(calldata(&call, US, CONTRACT).unwrap().to, CONTRACT, "{call:?}");
        }
    }

    #[test]
    fn what_can_do_nothing_but_fail_is_refused_with_its_reason() {
        let others = Terms { first: Party([0; 32]), ..terms() };
        let no_token = Terms { token: Token([1; 32]), ..terms() };
        let no_party = Terms { second: Party([1; 32]), ..terms() };
        for (call, what) in [
            (Call::Open { terms: others, deposit: 0 }, "first party"),
            (Call::Open { terms: no_token, deposit: 0 }, "the token is no address"),
            (Call::Open { terms: no_party, deposit: 0 }, "the second party is no address"),
            (Call::Approve { token: Token([1; 32]) }, "the token is no address"),
            (Call::Collect { token: Token([1; 32]), amount: 1 }, "the token is no address"),
            (Call::Redeem { claims: vec![] }, "no claim"),
        ] {
            let error = calldata(&call, US, CONTRACT).unwrap_err();
            assert!(error.contains(what), "{call:?}: {error}");
        }
    }

    #[test]
    fn a_signature_is_sent_as_the_contract_takes_it_or_not_at_all() {
        let mut low_v = [1; 65];
        low_v[64] = 0;
        assert_eq!(claim(&signed(&low_v)).signature[64], 27);
        let endless = vec![1; 1 << 20];
        assert!(claim(&signed(&endless)).signature.is_empty());
    }

    #[test]
    fn errors_have_the_names_and_values_of_the_contract() {
        let why = PaymentChannels::Refusal::NothingNew;
        let error = PaymentChannels::NotRedeemable { channelId: B256::repeat_byte(1), why };
        let text = revert_text(&error.abi_encode());
        assert!(text.starts_with("NotRedeemable { channelId: 0x0101"), "{text}");
        assert!(text.ends_with("why: NothingNew }"), "{text}");
        let error = Revert::from("no".to_owned());
        assert_eq!(revert_text(&error.abi_encode()), "\"no\"");
        assert_eq!(revert_text(&[]), "without a reason");
        assert!(revert_text(&[1, 2, 3, 4]).contains("0x01020304"));
        let long = Revert::from("x".repeat(1 << 20));
        assert!(revert_text(&long.abi_encode()).len() < 1000);
    }

    proptest! {
        #[test]
        fn no_answer_of_a_node_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            drop(channel(&bytes));
            drop(revert_text(&bytes));
        }
    }
}
