//! Where a BTP link is, as peers write it.
//!
//! ```text
//! btp+ws://[username:token@]host:port/path       BTP in a WebSocket
//! btp+tcp://[username:token@]host:port           BTP frames straight on TCP
//! btp+unix://[username:token@]/path              BTP frames straight on a Unix socket
//! ```
//!
//! Name and token may be written with `%` escapes. Neither `Debug` nor `Display` shows the token.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

/// Port of a WebSocket address that names none.
const WS_PORT: u16 = 80;

/// A BTP address.
#[derive(Clone, Eq, PartialEq)]
pub struct BtpUrl {
    /// What to connect to.
    pub endpoint: Endpoint,
    /// Account at the other end; an empty name counts as none.
    pub username: Option<String>,
    /// What proves that it is ours; empty where the address has none.
    pub token: Option<String>,
}

/// What to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// A WebSocket server.
    Ws {
        /// Name or address, brackets around IPv6 removed.
        host: String,
        /// TCP port.
        port: u16,
        /// Path and query for the handshake, beginning with `/`.
        path: String,
    },
    /// A TCP port.
    Tcp {
        /// Name or address, brackets around IPv6 removed.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Where it is.
        path: PathBuf,
    },
}

/// Why a text is no BTP address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UrlError {
    /// It begins with none of the schemes.
    UnknownScheme,
    /// It asks for TLS.
    Tls,
    /// No host stands before the port or the path.
    NoHost,
    /// The port is missing, or no number from 1 to 65535.
    BadPort,
    /// A Unix address has no path, or a TCP address has one.
    BadPath,
    /// It holds a blank or a control character, a bracket that is not around a host, or a broken
    /// escape.
    BadCharacter,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownScheme => {
                "the address does not begin with btp+ws://, btp+tcp:// or btp+unix://"
            }
            Self::Tls => "btp+wss:// is not supported yet: put a TLS proxy before the link",
            Self::NoHost => "the address has no host",
            Self::BadPort => "the port is missing or no number from 1 to 65535",
            Self::BadPath => "btp+unix:// needs a path, and btp+tcp:// takes none",
            Self::BadCharacter => {
                "the address has a blank, a control character, a bracket that is not around its host \
                 or a broken % escape"
            }
        })
    }
}

impl core::error::Error for UrlError {}

impl FromStr for BtpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::UnknownScheme)?;
        // A line break in a path would end a header line of the handshake.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::BadCharacter);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        let endpoint = match scheme {
            "btp+ws" => {
                let (host, port) = host_and_port(host, Some(WS_PORT))?;
                Endpoint::Ws { host, port, path: request_target(path) }
            }
            "btp+tcp" if matches!(path, "" | "/") => {
                let (host, port) = host_and_port(host, None)?;
                Endpoint::Tcp { host, port }
            }
            "btp+unix" if host.is_empty() && path.len() > 1 => Endpoint::Unix { path: path.into() },
            "btp+tcp" | "btp+unix" => return Err(UrlError::BadPath),
            "btp+wss" => return Err(UrlError::Tls),
            _ => return Err(UrlError::UnknownScheme),
        };
        let (username, token) = credentials(user_info)?;
        Ok(Self { endpoint, username, token })
    }
}

fn host_and_port(text: &str, default: Option<u16>) -> Result<(String, u16), UrlError> {
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of an IPv6 address without a port stands inside of its brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => default.ok_or(UrlError::BadPort)?,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|&port| port > 0).ok_or(UrlError::BadPort)?
        }
        Some(_) => return Err(UrlError::BadPort),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        Err(UrlError::NoHost)
    } else if host.contains(['[', ']']) {
        Err(UrlError::BadCharacter)
    } else {
        Ok((host.into(), port))
    }
}

/// What a request line asks for: begins with `/`, and has no fragment.
fn request_target(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.into() } else { format!("/{path}") }
}

type Credentials = (Option<String>, Option<String>);

fn credentials(user_info: Option<&str>) -> Result<Credentials, UrlError> {
    let Some(user_info) = user_info else { return Ok((None, None)) };
    let (username, token) = match user_info.split_once(':') {
        Some((username, token)) => (username, Some(token)),
        None => (user_info, None),
    };
    let username = Some(unescape(username)?).filter(|name| !name.is_empty());
    Ok((username, token.map(unescape).transpose()?))
}

fn unescape(text: &str) -> Result<String, UrlError> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some(([high, low], behind)) = rest.split_first_chunk::<2>() else {
            return Err(UrlError::BadCharacter);
        };
        let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or(UrlError::BadCharacter);
        let value = nibble(*high)? << 4 | nibble(*low)?;
        out.push(u8::try_from(value).map_err(|_| UrlError::BadCharacter)?);
        rest = behind;
    }
    let text = String::from_utf8(out).map_err(|_| UrlError::BadCharacter)?;
    if text.chars().any(char::is_control) { Err(UrlError::BadCharacter) } else { Ok(text) }
}

impl fmt::Display for BtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.endpoint {
            Endpoint::Ws { .. } => "btp+ws",
            Endpoint::Tcp { .. } => "btp+tcp",
            Endpoint::Unix { .. } => "btp+unix",
        };
        write!(f, "{scheme}://")?;
        if let Some(username) = &self.username {
            write!(f, "{username}@")?;
        }
        match &self.endpoint {
            Endpoint::Ws { host, port, path } => write!(f, "{}:{port}{path}", bracketed(host)),
            Endpoint::Tcp { host, port } => write!(f, "{}:{port}", bracketed(host)),
            Endpoint::Unix { path } => write!(f, "{}", path.display()),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.into() }
}

impl fmt::Debug for BtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BtpUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Endpoint, Option<String>, Option<String>) {
        let url: BtpUrl = text.parse().unwrap();
        (url.endpoint, url.username, url.token)
    }

    fn ws(host: &str, port: u16, path: &str) -> Endpoint {
        Endpoint::Ws { host: host.into(), port, path: path.into() }
    }

    #[test]
    fn c09_the_forms_that_peers_write_are_read() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            parts("btp+ws://alice:s3cret@localhost:7768/accounts/alice/ilp/btp"),
            (ws("localhost", 7768, "/accounts/alice/ilp/btp"), some("alice"), some("s3cret"))
        );
        assert_eq!(
            parts("btp+ws://:s3cret@127.0.0.1:7768"),
            (ws("127.0.0.1", 7768, "/"), None, some("s3cret"))
        );
        assert_eq!(parts("btp+ws://host?x=1#y"), (ws("host", 80, "/?x=1"), None, None));
        assert_eq!(parts("btp+ws://alice@[::1]:1/"), (ws("::1", 1, "/"), some("alice"), None));
        assert_eq!(parts("btp+ws://[::1]"), (ws("::1", 80, "/"), None, None));
        assert_eq!(
            parts("btp+tcp://a%40b:p%3a%2Fw@h:9"),
            (Endpoint::Tcp { host: "h".into(), port: 9 }, some("a@b"), some("p:/w"))
        );
        assert_eq!(
            parts("btp+unix://alice:t@/run/m2/btp.sock"),
            (Endpoint::Unix { path: "/run/m2/btp.sock".into() }, some("alice"), some("t"))
        );
        assert_eq!(
            parts("btp+unix:///run/btp.sock").0,
            Endpoint::Unix { path: "/run/btp.sock".into() }
        );
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        let refused = |text: &str| text.parse::<BtpUrl>().unwrap_err();
        assert_eq!(refused("ws://host/"), UrlError::UnknownScheme);
        assert_eq!(refused("host:7768"), UrlError::UnknownScheme);
        assert_eq!(refused("btp+wss://host/"), UrlError::Tls);
        assert_eq!(refused("btp+ws://:7768/"), UrlError::NoHost);
        assert_eq!(refused("btp+tcp://host"), UrlError::BadPort);
        for port in ["", "0", "65536", "+80", "x"] {
            assert_eq!(refused(&format!("btp+ws://host:{port}/")), UrlError::BadPort, "{port:?}");
        }
        assert_eq!(refused("btp+tcp://host:1/path"), UrlError::BadPath);
        assert_eq!(refused("btp+unix://host/path"), UrlError::BadPath);
        assert_eq!(refused("btp+unix://"), UrlError::BadPath);
        assert_eq!(refused("btp+ws://host/a\r\nX: y"), UrlError::BadCharacter);
        assert_eq!(refused("btp+ws://host/a b"), UrlError::BadCharacter);
        assert_eq!(refused("btp+ws://a%4:b@host/"), UrlError::BadCharacter);
        assert_eq!(refused("btp+ws://a%zz:b@host/"), UrlError::BadCharacter);
        assert_eq!(refused("btp+ws://%ff:b@host/"), UrlError::BadCharacter);
        assert_eq!(refused("btp+ws://a%0ab@host/"), UrlError::BadCharacter);
        // Found by fuzzing: shown as btp+ws://[]:80/, which is none.
        for host in ["[[]]", "[[::1]]", "[::1", "::1]", "a]b", "[::1]x:80"] {
            assert_eq!(refused(&format!("btp+ws://{host}")), UrlError::BadCharacter, "{host}");
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        let url: BtpUrl = "btp+ws://alice:s3cret@[::1]:7768/x".parse().unwrap();
        assert_eq!(url.to_string(), "btp+ws://alice@[::1]:7768/x");
        assert_eq!(format!("{url:?}"), "BtpUrl(btp+ws://alice@[::1]:7768/x)");
    }
}
