//! From a connection to an account: the WebSocket upgrade, then BTP's `auth`, for whoever connects
//! to us; and the same from the other end for whom we dial.
//!
//! Everything here is bounded by the caller in time and by [`Reading`] in bytes. A token is hashed
//! where it lies and wiped with the buffer it came in.

use core::fmt;

use m2_codec::btp::{self, Frame, auth};
use m2_codec::ws::{self, Role, close_code};
use m2_core::AccountId;
use std::os::fd::OwnedFd;
use zeroize::{Zeroize as _, Zeroizing};

use super::Shared;
use super::wire::Wire;
use crate::config::{Dial, TokenHash, Transport};
use crate::shard::message::{Framing, NewLink};

/// The request id of our own `auth`; nothing else is asked before it is answered.
const AUTH_REQUEST_ID: u32 = 1;

/// Why a connection does not become a link. It is logged, with the peer's address, and never holds
/// what the peer showed as its token.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The limit of time is up.
    TooSlow,
    /// The limit of bytes is reached.
    TooMuch,
    /// The connection ended.
    Ended,
    /// The kernel says so.
    Failed(std::io::Error),
    /// The HTTP part is wrong.
    Upgrade(ws::handshake::HandshakeError),
    /// The WebSocket part is wrong.
    WebSocket(ws::CloseReason),
    /// A text message.
    Text,
    /// The frame is none.
    Frame(btp::DecodeError),
    /// The frame is no `auth`.
    Auth(auth::AuthError),
    /// Path and username are not of one account.
    TwoNames,
    /// No account has this name.
    UnknownAccount(String),
    /// The account has another token, or none.
    WrongToken(String),
    /// No name was given, and the token is no account's.
    UnknownToken,
    /// Whom we dialled does not accept us.
    NotAccepted(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => f.write_str("not authenticated within handshake_ms"),
            Self::TooMuch => f.write_str("not authenticated within handshake_bytes_max"),
            Self::Ended => f.write_str("the peer ended the connection before it was authenticated"),
            Self::Failed(error) => write!(f, "the connection failed: {error}"),
            Self::Upgrade(error) => write!(f, "{error}"),
            Self::WebSocket(reason) => write!(f, "{reason}"),
            Self::Text => f.write_str("BTP frames come in binary messages"),
            Self::Frame(error) => write!(f, "{error}"),
            Self::Auth(error) => write!(f, "{error}"),
            Self::TwoNames => f.write_str("the path and auth_username name different accounts"),
            Self::UnknownAccount(name) => write!(f, "no account is named {name:?}"),
            Self::WrongToken(name) => write!(f, "wrong token for account {name:?}"),
            Self::UnknownToken => f.write_str("no account has this token"),
            Self::NotAccepted(why) => write!(f, "the peer does not accept us: {why}"),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error)
    }
}

/// An authenticated connection, but for its socket.
#[derive(Debug)]
pub(super) struct Welcomed {
    pub(super) account: AccountId,
    framing: Framing,
    received: Vec<u8>,
    greeting: Vec<u8>,
}

impl Welcomed {
    pub(super) fn into_link(self, socket: OwnedFd) -> NewLink {
        let Self { account, framing, received, greeting } = self;
        NewLink { account, socket, framing, received, greeting }
    }
}

/// Shakes hands with who connected to us. Who is refused has been told.
pub(super) async fn accept(
    shared: &Shared,
    transport: Transport,
    wire: &Wire,
) -> Result<Welcomed, Refusal> {
    let mut reading = Reading::new(shared, wire);
    let mut framing = Framing::Stream;
    let mut path_name = None;
    if transport == Transport::Ws {
        let request = upgrade(&mut reading).await?;
        path_name = name_in_path(&request.path).map(str::to_owned);
        let reader = Box::new(ws::Reader::new(Role::Server, btp::FRAME_LEN_MAX));
        framing = Framing::WebSocket { role: Role::Server, reader };
    }
    let first = reading.frame(&mut framing).await?;
    let frame = match Frame::new_checked(&first) {
        Ok(frame) => frame,
        Err(error) => {
            close(wire, &framing, close_code::PROTOCOL_ERROR, "no BTP frame").await;
            return Err(Refusal::Frame(error));
        }
    };
    let request_id = frame.request_id();
    let account = auth::read(&frame)
        .map_err(Refusal::Auth)
        .and_then(|auth| authenticate(shared, path_name.as_deref(), &auth));
    match account {
        Ok(account) => {
            let mut greeting = Vec::new();
            btp::put_response(&mut greeting, request_id, &[]);
            let greeting = framed(&framing, &greeting);
            Ok(Welcomed { account, framing, received: reading.rest(), greeting })
        }
        Err(refusal) => {
            refuse(wire, &framing, request_id).await;
            Err(refusal)
        }
    }
}

/// Shakes hands with whom we dialled.
pub(super) async fn dial(
    shared: &Shared,
    account: AccountId,
    dial: &Dial,
    host: Option<(&str, &str)>,
    wire: &Wire,
) -> Result<Welcomed, Refusal> {
    let mut reading = Reading::new(shared, wire);
    let mut framing = Framing::Stream;
    if let Some((host, path)) = host {
        ask_upgrade(&mut reading, host, path).await?;
        let reader = Box::new(ws::Reader::new(Role::Client, btp::FRAME_LEN_MAX));
        framing = Framing::WebSocket { role: Role::Client, reader };
    }
    let mut frame = Zeroizing::new(Vec::with_capacity(8192));
    auth::put(&mut frame, AUTH_REQUEST_ID, dial.username.as_deref(), dial.token.expose());
    wire.send(&Zeroizing::new(framed(&framing, &frame))).await?;
    let first = reading.frame(&mut framing).await?;
    let answer = Frame::new_checked(&first).map_err(Refusal::Frame)?;
    if answer.request_id() == AUTH_REQUEST_ID && answer.frame_type() == btp::FrameType::Response {
        return Ok(Welcomed { account, framing, received: reading.rest(), greeting: Vec::new() });
    }
    let why = match answer.error() {
        Some(error) => format!(
            "{} {}",
            String::from_utf8_lossy(&error.code),
            String::from_utf8_lossy(&error.name[..error.name.len().min(64)])
        ),
        None => "its first frame does not answer our `auth`".into(),
    };
    Err(Refusal::NotAccepted(why.escape_debug().to_string()))
}

/// The account that a peer proved to be. The named one's token must match; without a name the token
/// alone says who it is (C9).
fn authenticate(
    shared: &Shared,
    path_name: Option<&str>,
    auth: &auth::Auth<'_>,
) -> Result<AccountId, Refusal> {
    let shown = TokenHash::of(auth.token.as_bytes());
    let name = match (path_name, auth.username) {
        (Some(path_name), Some(username)) if path_name != username => {
            return Err(Refusal::TwoNames);
        }
        (path_name, username) => path_name.or(username),
    };
    let Some(name) = name else {
        // A look-up by hash tells an onlooker nothing of the token.
        return shared.by_token.get(shown.as_bytes()).copied().ok_or(Refusal::UnknownToken);
    };
    let shortened = || name.chars().take(64).collect::<String>();
    let account = *shared.names.get(name).ok_or_else(|| Refusal::UnknownAccount(shortened()))?;
    // Equality of hashes takes the same time wherever they differ.
    match shared.config.accounts[account.0 as usize].token {
        Some(token) if token == shown => Ok(account),
        _ => Err(Refusal::WrongToken(shortened())),
    }
}

/// `/accounts/NAME/ilp/btp`
fn name_in_path(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/accounts/")?.strip_suffix("/ilp/btp")?;
    (!name.is_empty()).then_some(name)
}

/// Takes a WebSocket client's request and accepts it, or says what is wrong with it.
async fn upgrade(reading: &mut Reading<'_>) -> Result<ws::handshake::Request, Refusal> {
    loop {
        match ws::handshake::parse_request(&reading.bytes) {
            Ok(Some(request)) => {
                reading.bytes.drain(..request.consumed);
                let mut response = Vec::new();
                request.put_response(&mut response);
                reading.wire.send(&response).await?;
                return Ok(request);
            }
            Ok(None) => {}
            Err(error) => {
                let mut refusal = Vec::new();
                ws::handshake::put_refusal(&mut refusal, error.status(), &error.to_string());
                let _ = reading.wire.send(&refusal).await;
                return Err(Refusal::Upgrade(error));
            }
        }
        reading.more().await?;
    }
}

/// Asks a WebSocket server for an upgrade.
async fn ask_upgrade(reading: &mut Reading<'_>, host: &str, path: &str) -> Result<(), Refusal> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).expect("the system has random bytes");
    let mut request = Vec::new();
    ws::handshake::put_request(&mut request, host, path, &key);
    reading.wire.send(&request).await?;
    loop {
        let checked = ws::handshake::check_response(&reading.bytes, &key);
        if let Some(consumed) = checked.map_err(Refusal::Upgrade)? {
            reading.bytes.drain(..consumed);
            return Ok(());
        }
        reading.more().await?;
    }
}

/// The bytes of a connection that is not authenticated: bounded, and wiped when dropped.
struct Reading<'a> {
    wire: &'a Wire,
    bytes: Zeroizing<Vec<u8>>,
    /// How many more may come.
    allowance: usize,
}

impl<'a> Reading<'a> {
    fn new(shared: &Shared, wire: &'a Wire) -> Self {
        let allowance = shared.config.connection.handshake_bytes_max as usize;
        // Never grown, so no copy of a token is left behind.
        Self { wire, bytes: Zeroizing::new(Vec::with_capacity(allowance)), allowance }
    }

    async fn more(&mut self) -> Result<(), Refusal> {
        if self.allowance == 0 {
            return Err(Refusal::TooMuch);
        }
        match self.wire.receive(&mut self.bytes, self.allowance).await? {
            0 => Err(Refusal::Ended),
            count => {
                self.allowance -= count;
                Ok(())
            }
        }
    }

    /// The first BTP frame. Pings before it are answered; a peer that breaks the rules is told.
    async fn frame(&mut self, framing: &mut Framing) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        loop {
            let frame = match framing {
                Framing::Stream => self.stream_frame()?,
                Framing::WebSocket { .. } => self.message(framing).await?,
            };
            match frame {
                Some(frame) => return Ok(frame),
                None => self.more().await?,
            }
        }
    }

    fn stream_frame(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let len = btp::frame_len(&self.bytes).map_err(Refusal::Frame)?;
        let Some(len) = len.filter(|len| *len <= self.bytes.len()) else { return Ok(None) };
        let frame = Zeroizing::new(self.bytes[..len].to_vec());
        self.bytes.drain(..len);
        Ok(Some(frame))
    }

    async fn message(
        &mut self,
        framing: &mut Framing,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        loop {
            let Framing::WebSocket { role, reader } = framing else {
                unreachable!("the caller looked")
            };
            let role = *role;
            let (consumed, event) = match reader.next(&mut self.bytes) {
                Ok(None) => return Ok(None),
                Ok(Some(next)) => next,
                Err(reason) => {
                    close(self.wire, framing, reason.code(), reason.as_str()).await;
                    return Err(Refusal::WebSocket(reason));
                }
            };
            let mut message = None;
            match event {
                ws::Event::Message(range) => {
                    message = Some(Zeroizing::new(self.bytes[range].to_vec()));
                }
                ws::Event::Assembled => {
                    message = Some(Zeroizing::new(reader.assembled().to_vec()));
                    // The reader goes on with the link, and a token must not.
                    reader.assembled_mut().zeroize();
                }
                ws::Event::Ping(range) => {
                    let mut pong = Vec::new();
                    let payload = &self.bytes[range];
                    ws::put_control(&mut pong, ws::Opcode::Pong, payload, mask(role));
                    self.wire.send(&pong).await?;
                }
                ws::Event::Pong | ws::Event::Fragment => {}
                ws::Event::Text => {
                    let code = close_code::UNSUPPORTED_DATA;
                    close(self.wire, framing, code, "BTP frames are binary").await;
                    return Err(Refusal::Text);
                }
                ws::Event::Close { code } => {
                    close(self.wire, framing, code, "").await;
                    return Err(Refusal::Ended);
                }
            }
            self.bytes.drain(..consumed);
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// What came behind the first frame.
    fn rest(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}

/// Tells a peer that it is not accepted, the same whatever the reason, and ends a WebSocket.
async fn refuse(wire: &Wire, framing: &Framing, request_id: u32) {
    let mut error = Vec::new();
    let name = btp::error_name(btp::NOT_ACCEPTED).expect("the RFC names it");
    let utc_ms = crate::clock::now().utc_ms;
    btp::put_error(&mut error, request_id, btp::NOT_ACCEPTED, name, utc_ms, b"", &[]);
    // If the peer does not take it, it is refused all the same.
    let _ = wire.send(&framed(framing, &error)).await;
    close(wire, framing, close_code::POLICY_VIOLATION, "not accepted").await;
}

/// Sends a WebSocket close; streams have none.
async fn close(wire: &Wire, framing: &Framing, code: u16, text: &str) {
    if let Framing::WebSocket { role, .. } = framing {
        let mut bytes = Vec::new();
        ws::put_close(&mut bytes, code, text, mask(*role));
        let _ = wire.send(&bytes).await;
    }
}

/// A BTP frame as it stands on this connection.
fn framed(framing: &Framing, frame: &[u8]) -> Vec<u8> {
    let Framing::WebSocket { role, .. } = framing else { return frame.to_vec() };
    let mut out = Vec::with_capacity(frame.len() + 14);
    let mask = mask(*role);
    ws::put_binary_header(&mut out, frame.len(), mask);
    let start = out.len();
    out.extend_from_slice(frame);
    if let Some(mask) = mask {
        ws::apply_mask(&mut out[start..], mask);
    }
    out
}

/// A client masks, unforeseeably.
fn mask(role: Role) -> Option<[u8; 4]> {
    (role == Role::Client).then(|| {
        let mut mask = [0; 4];
        getrandom::fill(&mut mask).expect("the system has random bytes");
        mask
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c09_a_path_names_an_account_in_one_form_only() {
        assert_eq!(name_in_path("/accounts/alice/ilp/btp"), Some("alice"));
        for path in ["/", "", "/accounts//ilp/btp", "/accounts/alice/ilp", "/alice", "/ilp/btp"] {
            assert_eq!(name_in_path(path), None, "{path}");
        }
    }
}
