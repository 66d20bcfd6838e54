//! Bytes <-> fields of ILP, BTP, IL-DCP and WebSocket, in the buffer that the caller owns.
//!
//! ```text
//!   ws      WebSocket frames and handshake (RFC 6455)          url   where a peer listens
//!   btp     request id, type, sub-protocols (IL-RFC 23)
//!   ilp     PREPARE, FULFILL, REJECT (IL-RFC 27)               ildcp addresses for children (IL-RFC 31)
//!   oer     length prefixes (IL-RFC 30)   address (IL-RFC 15)  timestamp (IL-RFC 30)
//! ```
//!
//! Reading checks every length and every character once and allocates nothing (an address or a URL
//! that is to be kept is the exception); a view keeps offsets, never copies of values. Whatever the
//! bytes are, reading them ends in a value or in a refusal that says what is wrong, never in a panic.
//! Writing appends to a buffer of the caller, or, for packets, fills room that it has. No I/O, no clock.
//!
//! The rules are in `docs/protocol.md`; the name of a test begins with the id of the rule it holds.

pub mod address;
pub mod btp;
pub mod ildcp;
pub mod ilp;
pub mod limits;
pub mod oer;
pub mod timestamp;
pub mod url;
pub mod ws;
