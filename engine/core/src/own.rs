//! Requests that end at this switch: its own address (echo) and `peer.*` (IL-DCP).
//!
//! Each costs us work and the sender nothing, so each account has a bucket for them that cannot be
//! turned off. No `peer.*` packet is ever forwarded (RFC 15, RFC 34).

use m2_codec::address::{self, Scheme};
use m2_codec::ildcp;
use m2_codec::ilp::Prepare;
use m2_codec::oer;

use crate::account::Account;
use crate::refusal::Refusal;

/// What the data of an echo request and of its answer begin with.
const ECHO_PREFIX: &[u8; 16] = b"ECHOECHOECHOECHO";
const ECHO_REQUEST: u8 = 0;
/// The data of the PREPARE that goes back: the prefix and type 1.
pub(crate) const ECHO_ANSWER: &[u8; 17] = b"ECHOECHOECHOECHO\x01";

/// Puts the FULFILL for a `peer.*` request into `out`.
///
/// # Errors
///
/// When it is no request that we serve, or not from one whom we serve it to.
pub(crate) fn answer_peer_request<T: AsRef<[u8]>>(
    prepare: &Prepare<T>,
    account: &Account,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if prepare.amount() != 0 {
        return Err(Refusal::PeerProtocolAmount);
    }
    if prepare.destination() != ildcp::DESTINATION {
        return Err(Refusal::PeerProtocolUnknown);
    }
    if *prepare.condition() != ildcp::PEER_CONDITION {
        return Err(Refusal::PeerProtocolCondition);
    }
    let address = account.child_address.as_ref().ok_or(Refusal::NotAChild)?;
    ildcp::put_response(out, address, account.config.asset_scale, &account.config.asset_code);
    Ok(())
}

/// Whom an echo request wants its answer sent to.
///
/// # Errors
///
/// `OwnAddress` when the data is no echo at all; `InvalidEcho` when it is one that we do not answer:
/// of another type than 0, malformed, or from an address that is ours or no network's.
pub(crate) fn echo_source<'a>(data: &'a [u8], own_address: &[u8]) -> Result<&'a [u8], Refusal> {
    let rest = data.strip_prefix(ECHO_PREFIX).ok_or(Refusal::OwnAddress)?;
    let [ECHO_REQUEST, source @ ..] = rest else { return Err(Refusal::InvalidEcho) };
    let range = oer::octet_string(source, 0, address::LEN_MAX).map_err(|_| Refusal::InvalidEcho)?;
    let source = &source[range];
    address::check(source).map_err(|_| Refusal::InvalidEcho)?;
    if source == own_address || address::scheme(source) == Scheme::Peer {
        return Err(Refusal::InvalidEcho);
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[u8] = b"test.m2m";

    fn echo(tail: &[u8]) -> Result<Vec<u8>, Refusal> {
        let data = [&ECHO_PREFIX[..], tail].concat();
        echo_source(&data, OWN).map(<[u8]>::to_vec)
    }

    #[test]
    fn b27_an_echo_request_names_its_source() {
        assert_eq!(echo(b"\0\x0atest.alice").unwrap(), b"test.alice");
        assert_eq!(echo(b"\0\x0atest.alicejunk").unwrap(), b"test.alice");
    }

    #[test]
    fn b27_an_echo_that_cannot_be_answered_is_f01() {
        let refused: [&[u8]; 9] = [
            b"",
            b"\0",
            b"\0\0",
            b"\0\x0btest.alice",
            b"\0\x0atest..lice",
            b"\x01\x0atest.alice",
            b"\x02\x0atest.alice",
            b"\0\x08test.m2m",
            b"\0\x0bpeer.config",
        ];
        for tail in refused {
            assert_eq!(echo(tail), Err(Refusal::InvalidEcho), "{tail:?}");
        }
    }

    #[test]
    fn b27_other_data_to_our_own_address_is_f02() {
        for data in [&b""[..], b"ECHO", b"echoechoechoecho\0\x0atest.alice"] {
            assert_eq!(echo_source(data, OWN), Err(Refusal::OwnAddress));
        }
    }
}
