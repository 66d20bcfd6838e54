//! IL-DCP (IL-RFC 31): a child asks its parent for an address and the asset of their account.
//!
//! ```text
//! request    PREPARE of amount 0 to peer.config with the condition that everybody can fulfill
//! response   FULFILL with 32 zero bytes; data: client_address (string) | asset_scale 1 |
//!            asset_code (string)
//! ```

use core::fmt;

use crate::address::{self, Address};
use crate::ilp::{Fulfill, Prepare, put_fulfill, put_prepare};
use crate::oer;
use crate::timestamp;

/// Where the question goes: to the other end of the link.
pub const DESTINATION: &[u8] = b"peer.config";

/// Fulfillment of what two peers say to each other: nothing is paid, so nothing is proved.
pub const PEER_FULFILLMENT: [u8; 32] = [0; 32];

/// SHA-256 of [`PEER_FULFILLMENT`].
pub const PEER_CONDITION: [u8; 32] = [
    0x66, 0x68, 0x7a, 0xad, 0xf8, 0x62, 0xbd, 0x77, 0x6c, 0x8f, 0xc1, 0x8b, 0x8e, 0x9f, 0x8e, 0x20,
    0x08, 0x97, 0x14, 0x85, 0x6e, 0xe2, 0x33, 0xb3, 0x90, 0x2a, 0x59, 0x1d, 0x0d, 0x5f, 0x29, 0x25,
];

/// Why a PREPARE is no IL-DCP request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestError {
    /// It goes elsewhere.
    WrongDestination,
    /// Its amount is not 0.
    NonZeroAmount,
    /// Its condition is not [`PEER_CONDITION`].
    WrongCondition,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongDestination => "the destination is not peer.config",
            Self::NonZeroAmount => "the amount is not 0",
            Self::WrongCondition => "the condition is not that of the peer protocol",
        })
    }
}

impl core::error::Error for RequestError {}

/// Why the answer to a request gives no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseError {
    /// The fulfillment is not [`PEER_FULFILLMENT`].
    WrongFulfillment,
    /// The data ends before its last field does.
    Truncated,
    /// A length prefix is not in its shortest form.
    BadLength,
    /// `client_address` is not an ILP address.
    BadAddress,
    /// `asset_code` is not UTF-8.
    BadAssetCode,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongFulfillment => "the fulfillment is not that of the peer protocol",
            Self::Truncated => "the data ends before its last field does",
            Self::BadLength => "a length prefix is not in its shortest form",
            Self::BadAddress => "the client's address is not an ILP address",
            Self::BadAssetCode => "the asset code is not UTF-8",
        })
    }
}

impl core::error::Error for ResponseError {}

impl From<oer::DecodeError> for ResponseError {
    fn from(error: oer::DecodeError) -> Self {
        match error {
            oer::DecodeError::Truncated | oer::DecodeError::TooLong => Self::Truncated,
            oer::DecodeError::BadLength | oer::DecodeError::BadInteger => Self::BadLength,
        }
    }
}

/// Checks that `prepare` asks for an address. Its data means nothing yet, and is ignored (A6).
///
/// # Errors
///
/// Says what is wrong.
pub fn check_request<T: AsRef<[u8]>>(prepare: &Prepare<T>) -> Result<(), RequestError> {
    if prepare.destination() != DESTINATION {
        Err(RequestError::WrongDestination)
    } else if prepare.amount() != 0 {
        Err(RequestError::NonZeroAmount)
    } else if *prepare.condition() != PEER_CONDITION {
        Err(RequestError::WrongCondition)
    } else {
        Ok(())
    }
}

/// Appends a request that is to be answered before `expires_at_ms`.
///
/// # Panics
///
/// If `expires_at_ms` is beyond [`timestamp::MS_MAX`].
pub fn put_request(out: &mut Vec<u8>, expires_at_ms: u64) {
    let expires_at = timestamp::write(expires_at_ms);
    put_prepare(out, 0, &expires_at, &PEER_CONDITION, DESTINATION, &[]);
}

/// What the parent answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Response<'a> {
    /// Address under which the child can be reached; checked.
    pub client_address: &'a [u8],
    /// Scale of the account between the two.
    pub asset_scale: u8,
    /// Asset of the account between the two.
    pub asset_code: &'a str,
}

impl<'a> Response<'a> {
    /// Reads the data of the FULFILL that answers a request.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn read(data: &'a [u8]) -> Result<Self, ResponseError> {
        let client_address = oer::octet_string(data, 0, usize::MAX)?;
        let asset_scale = *data.get(client_address.end).ok_or(ResponseError::Truncated)?;
        let asset_code = oer::octet_string(data, client_address.end + 1, usize::MAX)?;
        let client_address = &data[client_address];
        address::check(client_address).map_err(|_| ResponseError::BadAddress)?;
        let asset_code =
            core::str::from_utf8(&data[asset_code]).map_err(|_| ResponseError::BadAssetCode)?;
        Ok(Self { client_address, asset_scale, asset_code })
    }

    /// Reads the FULFILL that answers a request.
    ///
    /// # Errors
    ///
    /// As [`Response::read`], and [`ResponseError::WrongFulfillment`].
    pub fn from_fulfill(fulfill: &Fulfill<'a>) -> Result<Self, ResponseError> {
        if *fulfill.fulfillment() != PEER_FULFILLMENT {
            return Err(ResponseError::WrongFulfillment);
        }
        Self::read(fulfill.data())
    }
}

/// Appends the FULFILL that answers a request.
///
/// # Panics
///
/// If `asset_code` makes the data longer than a packet holds.
pub fn put_response(
    out: &mut Vec<u8>,
    client_address: &Address,
    asset_scale: u8,
    asset_code: &str,
) {
    let mut data = Vec::new();
    oer::put_octet_string(&mut data, client_address.as_bytes());
    data.push(asset_scale);
    oer::put_octet_string(&mut data, asset_code.as_bytes());
    put_fulfill(out, &PEER_FULFILLMENT, &data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let mut out = vec![0xdb];
        put_request(&mut out, 1_795_175_100_000);
        let prepare = Prepare::new_checked(&out[1..]).unwrap();
        assert_eq!(check_request(&prepare), Ok(()));
        assert_eq!(prepare.expires_at(), b"20261120114500000");
        assert_eq!(prepare.data(), b"");
    }

    #[test]
    fn a_request_with_another_destination_amount_or_condition_is_refused() {
        let prepare = |amount, condition: &[u8; 32], destination: &[u8]| {
            let mut out = Vec::new();
            put_prepare(&mut out, amount, b"20261120114500000", condition, destination, b"");
            check_request(&Prepare::new_checked(&out[..]).unwrap())
        };
        assert_eq!(prepare(0, &PEER_CONDITION, DESTINATION), Ok(()));
        assert_eq!(
            prepare(0, &PEER_CONDITION, b"peer.config.x"),
            Err(RequestError::WrongDestination)
        );
        assert_eq!(prepare(1, &PEER_CONDITION, DESTINATION), Err(RequestError::NonZeroAmount));
        assert_eq!(prepare(0, &[0; 32], DESTINATION), Err(RequestError::WrongCondition));
    }

    #[test]
    fn a_response_is_read_as_it_was_written() {
        let mut out = vec![0xdb];
        put_response(&mut out, &"test.m2m.alice".parse().unwrap(), 9, "USD");
        let fulfill = Fulfill::new_checked(&out[1..]).unwrap();
        let response =
            Response { client_address: b"test.m2m.alice", asset_scale: 9, asset_code: "USD" };
        assert_eq!(Response::from_fulfill(&fulfill), Ok(response));
        let data = fulfill.data();
        assert_eq!(Response::read(&[data, b"later fields"].concat()), Ok(response));
        for len in 0..data.len() {
            assert_eq!(Response::read(&data[..len]), Err(ResponseError::Truncated));
        }
    }

    #[test]
    fn b33_a_response_with_another_fulfillment_address_or_code_is_refused() {
        let mut out = Vec::new();
        put_response(&mut out, &"test.m2m.alice".parse().unwrap(), 9, "USD");
        let with = |index: usize, value: u8| {
            let mut bytes = out.clone();
            bytes[index] = value;
            Response::from_fulfill(&Fulfill::new_checked(&bytes).unwrap()).map(|_| ())
        };
        assert_eq!(with(3, 1), Err(ResponseError::WrongFulfillment));
        assert_eq!(with(36, b'T'), Err(ResponseError::BadAddress));
        assert_eq!(with(35, 0x80), Err(ResponseError::BadLength));
        assert_eq!(with(out.len() - 1, 0xff), Err(ResponseError::BadAssetCode));
    }
}
