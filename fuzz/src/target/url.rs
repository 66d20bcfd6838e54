//! BTP addresses, as operators write them.

use std::fmt::Write as _;

use m2_codec::url::{BtpUrl, Endpoint};
use m2_codec::ws::handshake::{parse_request, put_request};

/// Any text is an address or a sentence; what is shown of an address is read back as the same end
/// of a link and holds no token; the request that a WebSocket begins with asks for its path.
pub fn url(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let url: BtpUrl = match text.parse() {
        Ok(url) => url,
        Err(error) => {
            let error: m2_codec::url::UrlError = error;
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // A name that was escaped is shown as it is, and is not read back.
    let alone = BtpUrl { username: None, token: None, endpoint: url.endpoint.clone() };
    let mut shown = String::new();
    write!(shown, "{alone}").expect("a string takes what is written to it");
    assert_eq!(shown.parse(), Ok(alone), "{shown} is not read as it is shown");
    if let Some(token) = url.token.as_deref().filter(|token| token.len() > 8) {
        let hidden = BtpUrl { token: Some("-".into()), ..url.clone() };
        assert_eq!(url.to_string(), hidden.to_string(), "the token {token} is shown");
    }
    if let Endpoint::Ws { host, port, path } = &url.endpoint {
        let mut out = Vec::new();
        put_request(&mut out, &format!("{host}:{port}"), path, b"the sample nonce");
        let request = parse_request(&out).expect("our own request").expect("it is complete");
        assert_eq!(request.consumed, out.len());
        assert_eq!(Some(&request.path[..]), path.split('?').next());
    }
}
