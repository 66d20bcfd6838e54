//! Why a link did not open, in words for who wrote its address and token.

use std::io;

use m2_codec::btp::{Frame, FrameType};
use m2_codec::ws::handshake;

use super::{AUTH_ID, LinkError, Nonsense};
use crate::limits;
use crate::workload::End;

/// Why a link did not open.
pub(super) enum Refusal {
    Io(io::Error),
    Handshake(handshake::HandshakeError),
    Nonsense(Nonsense),
    NotAccepted(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<handshake::HandshakeError> for Refusal {
    fn from(error: handshake::HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl Refusal {
    pub(super) fn explain(self, end: &End) -> LinkError {
        let who = format!("end '{}' at {}", end.name, end.url);
        LinkError(match self {
            Self::Io(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                format!(
                    "{who}: no answer to the handshake within {} s; is it a BTP server, and is \
                     the scheme of the url right (btp+ws, btp+tcp, btp+unix)?",
                    limits::CONNECT_MS / 1_000
                )
            }
            Self::Io(error) => format!(
                "{who}: the connection ended before the token was accepted ({error}); check name \
                 and token of the end, and the scheme of its url"
            ),
            Self::Handshake(error) => format!(
                "{who}: the WebSocket handshake failed: {error}; check host, port and path of the \
                 url"
            ),
            Self::Nonsense(Nonsense::Closed(code)) => format!(
                "{who}: the target closed the WebSocket with code {code} instead of accepting the \
                 token; check name and token of the end"
            ),
            Self::Nonsense(_) => format!(
                "{who}: the answer is no BTP; check that the scheme of the url fits the port \
                 (btp+ws, btp+tcp, btp+unix)"
            ),
            Self::NotAccepted(reason) => format!(
                "{who}: the target does not accept the token ({reason}); check name and token of \
                 the end"
            ),
        })
    }
}

/// Reads the answer to the message that authenticates.
pub(super) fn accepted(frame: &[u8]) -> Result<(), Refusal> {
    let not_accepted = |reason: String| Err(Refusal::NotAccepted(reason));
    match Frame::new_checked(frame) {
        Ok(frame) if frame.request_id() != AUTH_ID => {
            not_accepted("it answers something else first".to_owned())
        }
        Ok(frame) if frame.frame_type() == FrameType::Response => Ok(()),
        Ok(frame) => not_accepted(frame.error().map_or_else(
            || "it answers with another type of frame".to_owned(),
            |error| format!("{} {}", error.code.escape_ascii(), error.name.escape_ascii()),
        )),
        Err(error) => Err(Refusal::Nonsense(Nonsense::Btp(error))),
    }
}
