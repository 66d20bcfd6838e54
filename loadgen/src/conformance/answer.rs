//! What came back for a request, and how a report names it.
//!
//! Invariant: the words hold nothing that differs from run to run. What a target writes for the eye
//! may, so it stands apart.

use std::fmt;

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{ErrorCode, Fulfill, PacketType, Reject, packet_type};

/// The answer to one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// A RESPONSE with an entry `ilp`.
    Ilp(Vec<u8>),
    /// A RESPONSE without one.
    Bare,
    /// A BTP ERROR.
    Error {
        /// Three bytes.
        code: [u8; 3],
        /// As the target wrote it.
        name: String,
    },
    /// None in time.
    Nothing,
    /// The connection ended instead.
    Ended,
}

impl Answer {
    /// Reads a RESPONSE or ERROR.
    pub(super) fn read(frame: &[u8]) -> Self {
        let Ok(frame) = Frame::new_checked(frame) else { return Self::Nothing };
        match frame.frame_type() {
            FrameType::Error => {
                let error = frame.error().expect("an ERROR has its fields");
                let name = String::from_utf8_lossy(error.name).into_owned();
                Self::Error { code: error.code, name }
            }
            _ => frame.ilp().map_or(Self::Bare, |packet| Self::Ilp(packet.to_vec())),
        }
    }

    /// The packet of a RESPONSE.
    pub(super) fn packet(&self) -> Option<&[u8]> {
        match self {
            Self::Ilp(packet) => Some(packet),
            _ => None,
        }
    }

    pub(super) fn reject(&self) -> Option<Reject<'_>> {
        let packet = self.packet()?;
        if packet_type(packet) == Some(PacketType::Reject) {
            Reject::new_checked(packet).ok()
        } else {
            None
        }
    }

    pub(super) fn fulfill(&self) -> Option<Fulfill<'_>> {
        let packet = self.packet()?;
        if packet_type(packet) == Some(PacketType::Fulfill) {
            Fulfill::new_checked(packet).ok()
        } else {
            None
        }
    }

    /// The code of a REJECT.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        self.reject().map(|reject| reject.code())
    }

    pub(super) fn is_reject(&self, code: ErrorCode) -> bool {
        self.code() == Some(code)
    }

    /// Whether anything came: also an ERROR, or the end.
    pub(super) fn is_response_or_error(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Ended)
    }

    /// What the target wrote for the eye.
    pub(super) fn message(&self) -> Option<String> {
        let reject = self.reject()?;
        let message = String::from_utf8_lossy(reject.message()).into_owned();
        (!message.is_empty()).then_some(message)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no answer in time"),
            Self::Ended => f.write_str("no answer: the target closed the connection"),
            Self::Bare => f.write_str("RESPONSE without an ILP packet"),
            Self::Error { code, name } => {
                let standard = btp::error_name(code);
                let name = if standard == Some(name) { name } else { "of another name" };
                write!(f, "BTP ERROR {} {name}", code.escape_ascii())
            }
            Self::Ilp(_) => match (self.reject(), self.fulfill()) {
                (Some(reject), _) => {
                    let code = reject.code();
                    write!(f, "REJECT {code} {}", code.name().unwrap_or("of no name"))
                }
                (_, Some(_)) => f.write_str("FULFILL"),
                _ => f.write_str("RESPONSE with bytes that are no answer of ILP"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::reject;
    use super::*;

    #[test]
    fn each_answer_has_its_words() {
        let mut error = Vec::new();
        btp::put_error(&mut error, 7, b"F00", "NotAcceptedError", 0, b"", &[]);
        let mut bare = Vec::new();
        btp::put_response(&mut bare, 7, &[]);
        let f02 = Answer::Ilp(reject(*b"F02", b"test.x", b"nowhere", b""));
        for (answer, words) in [
            (Answer::read(&error), "BTP ERROR F00 NotAcceptedError"),
            (Answer::read(&bare), "RESPONSE without an ILP packet"),
            (f02.clone(), "REJECT F02 Unreachable"),
            (Answer::Ilp(vec![13, 0]), "RESPONSE with bytes that are no answer of ILP"),
            (Answer::Nothing, "no answer in time"),
        ] {
            assert_eq!(answer.to_string(), words);
        }
        assert_eq!(f02.message().as_deref(), Some("nowhere"));
        assert!(f02.is_reject(ErrorCode::F02_UNREACHABLE));
    }
}
