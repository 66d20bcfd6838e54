//! The demo's configuration and workload.
//!
//! ```text
//!   senders                         receivers
//!   alice  USD/9  ws    --------->  bob    XRP/6  ws      at a rate and a spread
//!   alice  USD/9  ws    --------->  dave   USD/9  unix
//!   carol  USD/9  tcp   --------->  dave   USD/9  unix
//!   erin   XRP/6  unix  --------->  frank  USD/9  tcp     at a rate and a spread
//! ```

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::Result;

/// The control socket's name in the folder for sockets.
pub(super) const CONTROL_SOCKET: &str = "control.sock";

/// An account of the switch, played by the generator.
struct Account {
    name: &'static str,
    role: &'static str,
    asset: &'static str,
    transport: &'static str,
}

const ACCOUNTS: [Account; 6] = [
    Account { name: "alice", role: "send", asset: "USD/9", transport: "ws" },
    Account { name: "carol", role: "send", asset: "USD/9", transport: "tcp" },
    Account { name: "erin", role: "send", asset: "XRP/6", transport: "unix" },
    Account { name: "bob", role: "receive", asset: "XRP/6", transport: "ws" },
    Account { name: "dave", role: "receive", asset: "USD/9", transport: "unix" },
    Account { name: "frank", role: "receive", asset: "USD/9", transport: "tcp" },
];

const SPREAD_PPM: u64 = 2_000;

/// What each account may owe and be owed: more than any run can move.
const LIMIT: u64 = 1_000_000_000_000_000_000;

/// Seconds and rate stand on the generator's command line.
///
/// Silent receivers: such a packet comes back as R00 at the expiry that the switch gave it, one
/// second before its own, so within the seconds that the generator waits for its last answers.
const WORKLOAD_HEAD: &str = r"seconds = 5
rate_per_s = 20000

[traffic]
amount = [1000, 1000000]
data_bytes = [32, 300]
expiry_ms = [10000, 30000]
silent_expiry_ms = [2500, 4000]

[mix] # per mille
fulfilled = 900
rejected = 40
expired = 10
wrong_fulfillment = 20
unroutable = 30
";

/// A rate, as the switch reads it and as the generator checks it: spread and scales folded in.
struct Rate {
    from: &'static str,
    to: &'static str,
    text: &'static str,
    /// The receiver gets `floor(amount x num / den)` units.
    num: u64,
    den: u64,
}

/// 2.5 x 0.998 x 10^6 / 10^9 and 0.4 x 0.998 x 10^9 / 10^6, reduced.
const RATES: [Rate; 2] = [
    Rate { from: "USD/9", to: "XRP/6", text: "2.5", num: 499, den: 200_000 },
    Rate { from: "XRP/6", to: "USD/9", text: "0.4", num: 1_996, den: 5 },
];

const FLOWS: [(&str, &str); 4] =
    [("alice", "bob"), ("alice", "dave"), ("carol", "dave"), ("erin", "frank")];

/// One random token for each account.
pub(super) struct Tokens([String; ACCOUNTS.len()]);

impl Tokens {
    pub(super) fn random() -> Result<Self> {
        let mut tokens = [const { String::new() }; ACCOUNTS.len()];
        for token in &mut tokens {
            *token = random_hex::<16>()?;
        }
        Ok(Self(tokens))
    }
}

/// `BYTES` bytes of chance, as hexadecimal digits.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0_u8; BYTES];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where the switch listens, by transport.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Listen(Vec<(String, String)>);

impl Listen {
    /// From the `status` of the control socket.
    pub(super) fn read(status: &Value) -> Result<Self> {
        let listen = status["listen"].as_array().ok_or("`status` names no `listen`")?;
        let text = |entry: &Value, key: &str| entry[key].as_str().map(str::to_owned);
        let pairs =
            listen.iter().map(|entry| Some((text(entry, "transport")?, text(entry, "address")?)));
        pairs.collect::<Option<_>>().map(Self).ok_or_else(|| "`listen` is not as documented".into())
    }

    fn address(&self, transport: &str) -> Result<&str> {
        let found = self.0.iter().find(|(named, _)| named == transport);
        let nobody = || format!("nobody listens on {transport}");
        found.map(|(_, address)| address.as_str()).ok_or_else(nobody)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (transport, address)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{transport} {address}")?;
        }
        Ok(())
    }
}

/// The switch's configuration. Port 0 lets the kernel choose.
pub(super) fn config(sockets: &Path, Tokens(tokens): &Tokens, shards: u16) -> String {
    let control = sockets.join(CONTROL_SOCKET).display().to_string();
    let btp = sockets.join("btp.sock").display().to_string();
    let mut text = format!(
        r#"[switch]
address = "test.m2m"
network = "test"
control_socket = {control:?}
shards = {shards}

[[listen]]
transport = "ws"
address = "127.0.0.1:0"

[[listen]]
transport = "tcp"
address = "127.0.0.1:0"

[[listen]]
transport = "unix"
path = {btp:?}

[[assets]]
code = "USD"
scale = 9

[[assets]]
code = "XRP"
scale = 6
"#
    );
    for Rate { from, to, text: rate, .. } in &RATES {
        text += &format!(
            r#"
[[rates]]
from = "{from}"
to = "{to}"
rate = "{rate}"
spread_ppm = {SPREAD_PPM}
"#
        );
    }
    for (Account { name, asset, .. }, token) in ACCOUNTS.iter().zip(tokens) {
        text += &format!(
            r#"
[[accounts]]
name = "{name}"
relation = "child"
asset = "{asset}"
token = "{token}"
balance_max = {LIMIT}
payable_max = {LIMIT}
routes = ["test.m2m.{name}"]
"#
        );
    }
    text
}

/// The generator's workload.
pub(super) fn workload(listen: &Listen, Tokens(tokens): &Tokens) -> Result<String> {
    let mut text = WORKLOAD_HEAD.to_owned();
    for (account, token) in ACCOUNTS.iter().zip(tokens) {
        text += &end(account, listen.address(account.transport)?, token);
    }
    for (from, to) in FLOWS {
        let (num, den) = ratio(from, to);
        text += &format!(
            r#"
[[flows]]
from = "{from}"
to = "{to}"
num = {num}
den = {den}
"#
        );
    }
    Ok(text)
}

fn end(account: &Account, address: &str, token: &str) -> String {
    let Account { name, role, asset, transport } = account;
    let path = if *transport == "ws" { format!("/accounts/{name}/ilp/btp") } else { String::new() };
    format!(
        r#"
[[ends]]
name = "{name}"
role = "{role}"
asset = "{asset}"
address = "test.m2m.{name}"
url = "btp+{transport}://{name}@{address}{path}"
token = "{token}"
"#
    )
}

/// The ratio between the assets of two accounts.
fn ratio(from: &str, to: &str) -> (u64, u64) {
    let asset = |name| ACCOUNTS.iter().find(|account| account.name == name).map(|a| a.asset);
    let is_the_pair = |rate: &&Rate| Some(rate.from) == asset(from) && Some(rate.to) == asset(to);
    RATES.iter().find(is_the_pair).map_or((1, 1), |rate| (rate.num, rate.den))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `text`, scales and spread as one fraction, over 10^6 for the spread and 10 for the point.
    #[test]
    fn the_generator_checks_the_rate_that_the_switch_reads() {
        for Rate { from, to, text, num, den } in &RATES {
            let (whole, tenths) = text.split_once('.').unwrap();
            let rate: u128 = format!("{whole}{tenths}").parse().unwrap();
            assert_eq!(tenths.len(), 1);
            let scale = |asset: &str| asset.split_once('/').unwrap().1.parse::<u32>().unwrap();
            let kept = u128::from(1_000_000 - SPREAD_PPM);
            let exact_num = rate * kept * 10_u128.pow(scale(to));
            let exact_den = 10 * 1_000_000 * 10_u128.pow(scale(from));
            assert_eq!(exact_num * u128::from(*den), exact_den * u128::from(*num));
        }
    }

    #[test]
    fn every_account_has_its_own_token_and_both_files_name_it() {
        let tokens = Tokens::random().unwrap();
        let listen = Listen::read(&json!({ "listen": [
            { "transport": "ws", "address": "127.0.0.1:1" },
            { "transport": "tcp", "address": "127.0.0.1:2" },
            { "transport": "unix", "address": "/tmp/x" },
        ]}));
        let workload = workload(&listen.unwrap(), &tokens).unwrap();
        let config = config(Path::new("/tmp"), &tokens, 2);
        for (index, token) in tokens.0.iter().enumerate() {
            assert!(!tokens.0[..index].contains(token));
            assert_eq!(config.matches(token).count(), 1);
            assert_eq!(workload.matches(token).count(), 1);
        }
        assert!(workload.contains("btp+unix://erin@/tmp/x\""), "{workload}");
    }

    #[test]
    fn a_status_without_addresses_is_a_sentence() {
        assert!(Listen::read(&json!({})).is_err());
        assert!(Listen::read(&json!({ "listen": [{ "transport": "ws" }] })).is_err());
        assert!(Listen(Vec::new()).address("ws").is_err());
    }

    #[test]
    fn flows_between_two_assets_carry_their_rate() {
        assert_eq!(ratio("alice", "bob"), (499, 200_000));
        assert_eq!(ratio("carol", "dave"), (1, 1));
        assert_eq!(ratio("erin", "frank"), (1_996, 5));
    }
}
