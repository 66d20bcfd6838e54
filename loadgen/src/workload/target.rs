//! Another target for all ends of a workload: `--target URL`.
//!
//! Transport, host, port and path are the target's; names and tokens stay those of the ends.
//! `{name}` in a path is the end's name. A port with a plus, `btp+ws://127.0.0.1:7800+`, is that of
//! the first end, and each end after it has the next: some connectors listen on one for each account.

use m2_codec::url::BtpUrl;

use super::{End, Workload};

/// What stands for an end's name in a path.
const NAME: &str = "{name}";

/// Where all ends connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Up to and with the colon before the port, where ports are counted; else all of it.
    before_port: String,
    first_port: Option<u16>,
    after_port: String,
}

impl Target {
    /// Reads the value of `--target`.
    ///
    /// # Errors
    ///
    /// A sentence, when it is no BTP address, or names an account.
    pub fn parse(text: &str) -> Result<Self, String> {
        let target = Self::split(text).unwrap_or_else(|| Self {
            before_port: text.to_owned(),
            first_port: None,
            after_port: String::new(),
        });
        let url = target.url("name", 0)?;
        if url.username.is_some() || url.token.is_some() {
            return Err(
                "--target names an account or shows a token; leave out what stands before \
                        the @, as names and tokens are those of the workload's ends"
                    .to_owned(),
            );
        }
        Ok(target)
    }

    /// Where the port has a plus.
    fn split(text: &str) -> Option<Self> {
        let host = text.find("://")? + "://".len();
        let path = text[host..].find('/').map_or(text.len(), |at| host + at);
        let authority = text[..path].strip_suffix('+')?;
        let (before_port, port) = authority.rsplit_once(':')?;
        Some(Self {
            before_port: format!("{before_port}:"),
            first_port: Some(port.parse().ok()?),
            after_port: text[path..].to_owned(),
        })
    }

    /// Where the end with this index connects.
    fn url(&self, name: &str, index: usize) -> Result<BtpUrl, String> {
        let Self { before_port, first_port, after_port } = self;
        let port = match first_port {
            None => String::new(),
            Some(first) => u16::try_from(index)
                .ok()
                .and_then(|index| first.checked_add(index))
                .ok_or_else(|| format!("--target has no port for end {index} from {first} on"))?
                .to_string(),
        };
        let text = format!("{before_port}{port}{after_port}").replace(NAME, name);
        text.parse().map_err(|error| {
            // Not the text itself: somebody may have put a token into it.
            format!(
                "--target: {error}; write one like btp+ws://127.0.0.1:7768/, \
                 btp+tcp://127.0.0.1:7769 or btp+unix:///run/btp.sock"
            )
        })
    }
}

impl Workload {
    /// The same workload against another target.
    ///
    /// # Errors
    ///
    /// A sentence, when an end's name or number makes no address of it.
    pub fn at_target(mut self, target: &Target) -> Result<Self, String> {
        for (index, End { name, url, .. }) in self.ends.iter_mut().enumerate() {
            url.endpoint = target.url(name, index)?.endpoint;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Overrides;

    fn at(target: &str) -> Result<Vec<String>, String> {
        let smoke = crate::named::Named::find("smoke").unwrap();
        let workload = Workload::parse(smoke.text, "smoke", Overrides::default(), 1).unwrap();
        let moved = workload.clone().at_target(&Target::parse(target)?)?;
        for (old, new) in workload.ends.iter().zip(&moved.ends) {
            assert_eq!((&old.name, old.token.expose()), (&new.name, new.token.expose()));
            assert_eq!(old.url.username, new.url.username);
        }
        Ok(moved.ends.iter().map(|end| end.url.to_string()).collect())
    }

    #[test]
    fn transport_host_port_and_path_are_the_targets_and_names_stay() {
        let urls = at("btp+ws://10.0.0.1:99/a/{name}/b").unwrap();
        assert_eq!(urls[0], "btp+ws://usd-sender-1@10.0.0.1:99/a/usd-sender-1/b");
        assert_eq!(urls[5], "btp+ws://eur-receiver-2@10.0.0.1:99/a/eur-receiver-2/b");
        assert_eq!(at("btp+tcp://[::1]:5").unwrap()[1], "btp+tcp://usd-sender-2@[::1]:5");
        assert_eq!(at("btp+unix:///x+").unwrap()[0], "btp+unix://usd-sender-1@/x+");
    }

    #[test]
    fn a_port_with_a_plus_is_counted_on() {
        let urls = at("btp+ws://127.0.0.1:7800+/p").unwrap();
        assert_eq!(urls[0], "btp+ws://usd-sender-1@127.0.0.1:7800/p");
        assert_eq!(urls[5], "btp+ws://eur-receiver-2@127.0.0.1:7805/p");
        assert!(at("btp+ws://127.0.0.1:65531+").unwrap_err().contains("no port for end 5"));
    }

    #[test]
    fn what_is_no_address_or_names_an_account_is_a_sentence() {
        for (target, words) in [
            ("http://127.0.0.1", "btp+tcp://"),
            ("btp+tcp://127.0.0.1", "port"),
            ("btp+tcp://127.0.0.1:x+", "port"),
            ("btp+tcp://bob@127.0.0.1:1", "leave out what stands before the @"),
            ("btp+tcp://bob:hush@127.0.0.1", "port"),
            ("btp+tcp://bob:hush@127.0.0.1:1", "leave out what stands before the @"),
        ] {
            let sentence = at(target).unwrap_err();
            assert!(sentence.contains(words) && !sentence.contains("hush"), "{sentence}");
        }
    }
}
