//! The first message on a link: who connects, and the proof.
//!
//! A MESSAGE whose first entry is `auth`, and which has an entry `auth_token`; `auth_username` may
//! be missing where the path or the token itself says who it is (C8, C9).

use core::fmt;

use super::{Entry, Frame, FrameType, OCTET_STREAM, TEXT, put_message};

const AUTH: &[u8] = b"auth";
const AUTH_USERNAME: &[u8] = b"auth_username";
const AUTH_TOKEN: &[u8] = b"auth_token";

/// What a connecting peer says of itself. The token is not shown by `Debug`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Auth<'a> {
    /// Account that it wants; an empty name counts as none.
    pub username: Option<&'a str>,
    /// What proves it.
    pub token: &'a str,
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why a frame does not authenticate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthError {
    /// It is no MESSAGE.
    NotMessage,
    /// Its first entry is not `auth`.
    NotAuth,
    /// It has no entry `auth_token`.
    NoToken,
    /// It has two entries of one name, and whoever reads it may believe either.
    Repeated,
    /// Name or token is not UTF-8.
    NotText,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMessage => "the first frame is no MESSAGE",
            Self::NotAuth => "the first entry of the first frame is not `auth`",
            Self::NoToken => "the first frame has no entry `auth_token`",
            Self::Repeated => "`auth_username` or `auth_token` stands twice in the first frame",
            Self::NotText => "`auth_username` or `auth_token` is not UTF-8",
        })
    }
}

impl core::error::Error for AuthError {}

/// Reads the first frame of a link.
///
/// # Errors
///
/// Says what is missing.
pub fn read<'a>(frame: &Frame<'a>) -> Result<Auth<'a>, AuthError> {
    if frame.frame_type() != FrameType::Message {
        return Err(AuthError::NotMessage);
    }
    if frame.protocol_data().next().is_none_or(|entry| entry.name != AUTH) {
        return Err(AuthError::NotAuth);
    }
    let token = text(frame, AUTH_TOKEN)?.ok_or(AuthError::NoToken)?;
    let username = text(frame, AUTH_USERNAME)?.filter(|name| !name.is_empty());
    Ok(Auth { username, token })
}

fn text<'a>(frame: &Frame<'a>, name: &[u8]) -> Result<Option<&'a str>, AuthError> {
    let mut entries = frame.protocol_data().filter(|entry| entry.name == name);
    let Some(entry) = entries.next() else { return Ok(None) };
    if entries.next().is_some() {
        return Err(AuthError::Repeated);
    }
    core::str::from_utf8(entry.data).map(Some).map_err(|_| AuthError::NotText)
}

/// Appends the first frame of a link.
///
/// # Panics
///
/// If name and token together are longer than a frame.
pub fn put(out: &mut Vec<u8>, request_id: u32, username: Option<&str>, token: &str) {
    let auth = Entry { name: AUTH, content_type: OCTET_STREAM, data: &[] };
    let token = Entry { name: AUTH_TOKEN, content_type: TEXT, data: token.as_bytes() };
    match username {
        None => put_message(out, request_id, &[auth, token]),
        Some(name) => {
            let username = Entry { name: AUTH_USERNAME, content_type: TEXT, data: name.as_bytes() };
            put_message(out, request_id, &[auth, username, token]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let entries: Vec<_> =
            entries.iter().map(|&(name, data)| Entry { name, content_type: 1, data }).collect();
        let mut out = Vec::new();
        put_message(&mut out, 1, &entries);
        out
    }

    fn read_bytes(bytes: &[u8]) -> Result<(Option<&str>, &str), AuthError> {
        read(&Frame::new_checked(bytes).unwrap()).map(|auth| (auth.username, auth.token))
    }

    #[test]
    fn c08_what_is_written_is_read_and_stands_in_the_order_that_peers_send() {
        let mut out = Vec::new();
        put(&mut out, 7, Some("alice"), "secret");
        assert_eq!(read_bytes(&out), Ok((Some("alice"), "secret")));
        let names: Vec<_> =
            Frame::new_checked(&out).unwrap().protocol_data().map(|entry| entry.name).collect();
        assert_eq!(names, [AUTH, AUTH_USERNAME, AUTH_TOKEN]);

        let mut out = Vec::new();
        put(&mut out, 7, None, "secret");
        assert_eq!(read_bytes(&out), Ok((None, "secret")));
    }

    #[test]
    fn c08_each_refusal_says_what_is_missing() {
        let mut response = frame(&[(AUTH, b""), (AUTH_TOKEN, b"t")]);
        response[0] = FrameType::Response as u8;
        assert_eq!(read_bytes(&response), Err(AuthError::NotMessage));
        assert_eq!(read_bytes(&frame(&[])), Err(AuthError::NotAuth));
        assert_eq!(read_bytes(&frame(&[(AUTH_TOKEN, b"t"), (AUTH, b"")])), Err(AuthError::NotAuth));
        assert_eq!(read_bytes(&frame(&[(AUTH, b"")])), Err(AuthError::NoToken));
        assert_eq!(
            read_bytes(&frame(&[(AUTH, b""), (AUTH_TOKEN, b"t"), (AUTH_TOKEN, b"u")])),
            Err(AuthError::Repeated)
        );
        assert_eq!(
            read_bytes(&frame(&[(AUTH, b""), (AUTH_TOKEN, b"\xff")])),
            Err(AuthError::NotText)
        );
    }

    #[test]
    fn c08_an_empty_username_counts_as_none() {
        let bytes = frame(&[(AUTH, b""), (AUTH_USERNAME, b""), (AUTH_TOKEN, b"t")]);
        assert_eq!(read_bytes(&bytes), Ok((None, "t")));
    }

    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", Auth { username: Some("alice"), token: "secret" });
        assert!(shown.contains("alice") && !shown.contains("secret"), "{shown}");
    }
}
