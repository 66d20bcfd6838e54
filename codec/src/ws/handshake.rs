//! The HTTP request and response that a WebSocket begins with (RFC 6455, 4).
//!
//! The caller bounds how many bytes and how much time it gives to them.

use core::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::limits::HANDSHAKE_HEADERS_MAX;

/// What the server hashes with the key, to show that it speaks WebSocket (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a handshake fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandshakeError {
    /// It is no HTTP.
    BadHttp,
    /// It has more header lines than [`HANDSHAKE_HEADERS_MAX`].
    TooManyHeaders,
    /// The method is not GET.
    BadMethod,
    /// It is not HTTP/1.1.
    BadHttpVersion,
    /// There is no `Host`.
    NoHost,
    /// `Upgrade` does not say `websocket`.
    NoUpgrade,
    /// `Connection` does not say `Upgrade`.
    NoConnectionUpgrade,
    /// `Sec-WebSocket-Version` is not 13.
    BadVersion,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64, once.
    BadKey,
    /// The server answered with another status than 101.
    Refused(u16),
    /// `Sec-WebSocket-Accept` does not fit the key.
    BadAccept,
    /// The server chose an extension or a sub-protocol that was not offered.
    NotOffered,
}

impl HandshakeError {
    /// Status for [`put_refusal`].
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooManyHeaders => 431,
            Self::BadMethod => 405,
            Self::BadHttpVersion => 505,
            Self::NoUpgrade | Self::BadVersion => 426,
            _ => 400,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadHttp => "this is not HTTP",
            Self::TooManyHeaders => "the request has too many header lines",
            Self::BadMethod => "the method is not GET",
            Self::BadHttpVersion => "this is not HTTP/1.1",
            Self::NoHost => "the request has no Host",
            Self::NoUpgrade => "Upgrade does not say websocket",
            Self::NoConnectionUpgrade => "Connection does not say Upgrade",
            Self::BadVersion => "Sec-WebSocket-Version is not 13",
            Self::BadKey => "Sec-WebSocket-Key is not 16 bytes in base64",
            Self::Refused(status) => {
                return write!(f, "the server answered with HTTP status {status}");
            }
            Self::BadAccept => "Sec-WebSocket-Accept does not fit the key",
            Self::NotOffered => "the server chose an extension or a sub-protocol we did not offer",
        })
    }
}

impl core::error::Error for HandshakeError {}

/// A key as it stands in the request: 16 bytes in base64.
pub type Key = [u8; 24];

/// What a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Path without the query.
    pub path: String,
    /// For the answer.
    pub key: Key,
    /// First sub-protocol that the client offers, if it offers any; some clients give up when none
    /// of theirs is chosen. The deployed BTP clients offer none.
    pub protocol: Option<String>,
    /// Bytes of the request; what follows is the first frame.
    pub consumed: usize,
}

impl Request {
    /// Appends the answer that accepts this request.
    pub fn put_response(&self, out: &mut Vec<u8>) {
        put_accept(out, &self.key, self.protocol.as_deref());
    }
}

/// Reads a client's request, or `None` while it is incomplete.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn parse_request(bytes: &[u8]) -> Result<Option<Request>, HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Some(consumed) = complete(request.parse(bytes))? else { return Ok(None) };
    if request.method != Some("GET") {
        return Err(HandshakeError::BadMethod);
    }
    if request.version != Some(1) {
        return Err(HandshakeError::BadHttpVersion);
    }
    let headers = &*request.headers;
    if values(headers, "Host").next().is_none() {
        return Err(HandshakeError::NoHost);
    }
    check_upgrade(headers)?;
    if only(headers, "Sec-WebSocket-Version") != Some(b"13") {
        return Err(HandshakeError::BadVersion);
    }
    let key = only(headers, "Sec-WebSocket-Key").and_then(key_of).ok_or(HandshakeError::BadKey)?;
    let protocol = tokens(headers, "Sec-WebSocket-Protocol")
        .find(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
    let target = request.path.unwrap_or("/");
    let path = target.split('?').next().unwrap_or("/").to_owned();
    Ok(Some(Request { path, key, protocol: protocol.map(str::to_owned), consumed }))
}

/// Appends the answer that accepts a request with this key.
pub fn put_response(out: &mut Vec<u8>, key: &Key) {
    put_accept(out, key, None);
}

/// Appends an answer that refuses a request with an HTTP status and says why; the connection is to
/// be closed after it.
pub fn put_refusal(out: &mut Vec<u8>, status: u16, text: &str) {
    let phrase = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    };
    // RFC 6455, 4.4 and RFC 9110, 15.5.22: who is refused for its version is told ours.
    let version = match status {
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        405 => "Allow: GET\r\n",
        _ => "",
    };
    let len = text.len() + 1;
    put(
        out,
        format_args!(
            "HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n{version}Content-Type: \
             text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\r\n{text}\n"
        ),
    );
}

/// Appends a client's request. `host` is what stands in the URL, port included.
///
/// # Panics
///
/// If `host` or `path` holds a blank or a control character: a URL that was read has none.
pub fn put_request(out: &mut Vec<u8>, host: &str, path: &str, key: &[u8; 16]) {
    assert!(
        [host, path].iter().all(|text| text.bytes().all(|byte| byte > b' ' && byte != 0x7f)),
        "a URL that was read holds no blanks"
    );
    let key = STANDARD.encode(key);
    put(
        out,
        format_args!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: \
             Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ),
    );
}

/// Reads a server's answer to [`put_request`]: its bytes, or `None` while it is incomplete.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn check_response(bytes: &[u8], key: &[u8; 16]) -> Result<Option<usize>, HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Some(consumed) = complete(response.parse(bytes))? else { return Ok(None) };
    match response.code {
        Some(101) => {}
        status => return Err(HandshakeError::Refused(status.unwrap_or_default())),
    }
    let headers = &*response.headers;
    check_upgrade(headers)?;
    let key = STANDARD.encode(key);
    if only(headers, "Sec-WebSocket-Accept") != Some(accept(key.as_bytes()).as_bytes()) {
        return Err(HandshakeError::BadAccept);
    }
    let chosen = |name| tokens(headers, name).any(|token| !token.is_empty());
    if chosen("Sec-WebSocket-Extensions") || chosen("Sec-WebSocket-Protocol") {
        return Err(HandshakeError::NotOffered);
    }
    Ok(Some(consumed))
}

fn put_accept(out: &mut Vec<u8>, key: &Key, protocol: Option<&str>) {
    let accept = accept(key);
    put(
        out,
        format_args!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \
             Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        ),
    );
    if let Some(protocol) = protocol {
        put(out, format_args!("Sec-WebSocket-Protocol: {protocol}\r\n"));
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes what is written to it");
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

fn key_of(value: &[u8]) -> Option<Key> {
    let key: Key = value.try_into().ok()?;
    (STANDARD.decode(key).ok()?.len() == 16).then_some(key)
}

fn complete(
    parsed: Result<httparse::Status<usize>, httparse::Error>,
) -> Result<Option<usize>, HandshakeError> {
    match parsed {
        Ok(httparse::Status::Complete(len)) => Ok(Some(len)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(HandshakeError::TooManyHeaders),
        Err(httparse::Error::Version) => Err(HandshakeError::BadHttpVersion),
        Err(_) => Err(HandshakeError::BadHttp),
    }
}

fn check_upgrade(headers: &[httparse::Header<'_>]) -> Result<(), HandshakeError> {
    let says = |name, token: &str| tokens(headers, name).any(|it| it.eq_ignore_ascii_case(token));
    if !says("Upgrade", "websocket") {
        Err(HandshakeError::NoUpgrade)
    } else if !says("Connection", "upgrade") {
        Err(HandshakeError::NoConnectionUpgrade)
    } else {
        Ok(())
    }
}

fn values<'a>(
    headers: &'a [httparse::Header<'_>],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value)
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a [httparse::Header<'_>], name: &'a str) -> Option<&'a [u8]> {
    let mut values = values(headers, name);
    let value = values.next()?;
    values.next().is_none().then(|| value.trim_ascii())
}

/// The parts of a list, over all lines with that name.
fn tokens<'a>(headers: &'a [httparse::Header<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    values(headers, name)
        .filter_map(|value| core::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455, 1.3, without what a BTP client does not send.
    const REQUEST: &str = "GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\n\
        Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    const KEY: &[u8; 16] = b"the sample nonce";

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let bytes = [REQUEST.as_bytes(), b"\x82"].concat();
        let request = parse_request(&bytes).unwrap().unwrap();
        assert_eq!(request.path, "/chat");
        assert_eq!(&request.key, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(request.protocol, None);
        assert_eq!(request.consumed, REQUEST.len());
        let mut out = Vec::new();
        put_response(&mut out, &request.key);
        let text = core::str::from_utf8(&out).unwrap();
        assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        let mut same = Vec::new();
        request.put_response(&mut same);
        assert_eq!(same, out);
        assert_eq!(check_response(&out, KEY), Ok(Some(out.len())));
    }

    #[test]
    fn our_request_is_accepted_by_our_server() {
        let mut out = Vec::new();
        put_request(&mut out, "localhost:7768", "/accounts/alice/ilp/btp", KEY);
        let request = parse_request(&out).unwrap().unwrap();
        assert_eq!(request.path, "/accounts/alice/ilp/btp");
        assert_eq!(request.consumed, out.len());
    }

    #[test]
    fn an_offered_sub_protocol_is_chosen() {
        let text =
            REQUEST.replace("Connection", "Sec-WebSocket-Protocol: btp, other\r\nConnection");
        let request = parse_request(text.as_bytes()).unwrap().unwrap();
        assert_eq!(request.protocol.as_deref(), Some("btp"));
        let mut out = Vec::new();
        request.put_response(&mut out);
        assert!(
            String::from_utf8(out.clone()).unwrap().contains("Sec-WebSocket-Protocol: btp\r\n")
        );
        assert_eq!(check_response(&out, KEY), Err(HandshakeError::NotOffered));
    }

    #[test]
    fn a_part_of_a_request_or_a_response_wants_more() {
        for len in 0..REQUEST.len() {
            assert_eq!(parse_request(&REQUEST.as_bytes()[..len]), Ok(None), "{len}");
        }
        let mut response = Vec::new();
        put_response(&mut response, b"dGhlIHNhbXBsZSBub25jZQ==");
        for len in 0..response.len() {
            assert_eq!(check_response(&response[..len], KEY), Ok(None), "{len}");
        }
    }

    #[test]
    fn each_refusal_of_a_request_says_what_is_wrong() {
        let key_line = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let twice = format!("{key_line}{key_line}");
        let many = format!("Host: x\r\n{}", "a: b\r\n".repeat(HANDSHAKE_HEADERS_MAX));
        let cases = [
            ("GET ", "POST ", HandshakeError::BadMethod, 405),
            ("HTTP/1.1", "HTTP/1.0", HandshakeError::BadHttpVersion, 505),
            ("HTTP/1.1", "HTTP/2", HandshakeError::BadHttpVersion, 505),
            ("Host: ", "Hosts: ", HandshakeError::NoHost, 400),
            ("Upgrade: websocket", "Upgrade: h2c", HandshakeError::NoUpgrade, 426),
            ("keep-alive, Upgrade", "keep-alive", HandshakeError::NoConnectionUpgrade, 400),
            ("Version: 13", "Version: 8", HandshakeError::BadVersion, 426),
            ("dGhl", "", HandshakeError::BadKey, 400),
            ("dGhl", "!Ghl", HandshakeError::BadKey, 400),
            (key_line, "", HandshakeError::BadKey, 400),
            (key_line, &twice, HandshakeError::BadKey, 400),
            ("Host: ", "Ho st: ", HandshakeError::BadHttp, 400),
            ("Host: server.example.com\r\n", &many, HandshakeError::TooManyHeaders, 431),
        ];
        for (from, to, expected, status) in cases {
            let text = REQUEST.replace(from, to);
            assert_eq!(parse_request(text.as_bytes()), Err(expected), "{from} -> {to}");
            assert_eq!(expected.status(), status);
        }
    }

    #[test]
    fn each_refusal_of_a_response_says_what_is_wrong() {
        let mut response = Vec::new();
        put_response(&mut response, b"dGhlIHNhbXBsZSBub25jZQ==");
        let response = String::from_utf8(response).unwrap();
        let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\nConnection:";
        let cases = [
            ("101", "200", HandshakeError::Refused(200)),
            ("Upgrade: websocket", "Upgrade: h2c", HandshakeError::NoUpgrade),
            ("Connection: Upgrade", "Connection: close", HandshakeError::NoConnectionUpgrade),
            ("s3pP", "S3pP", HandshakeError::BadAccept),
            ("Connection:", extension, HandshakeError::NotOffered),
        ];
        for (from, to, expected) in cases {
            let text = response.replace(from, to);
            assert_eq!(check_response(text.as_bytes(), KEY), Err(expected), "{from} -> {to}");
        }
    }

    #[test]
    fn a_refusal_is_http_that_a_client_understands() {
        for status in [400, 401, 404, 405, 426, 431, 503, 505] {
            let mut out = Vec::new();
            put_refusal(&mut out, status, "no");
            assert_eq!(check_response(&out, KEY), Err(HandshakeError::Refused(status)));
            let text = String::from_utf8(out).unwrap();
            assert!(text.ends_with("Content-Length: 3\r\n\r\nno\n"));
            assert_eq!(text.contains("Sec-WebSocket-Version: 13"), status == 426);
        }
    }

    #[test]
    #[should_panic(expected = "no blanks")]
    fn a_path_cannot_add_a_header_line() {
        put_request(&mut Vec::new(), "host", "/\r\nX:y", KEY);
    }
}
