//! The configuration: `docs/settlement.md` is its contract.
//!
//! Invariant: whatever cannot work is told before anything starts, with what to write instead. No key stands in
//! it: a chain names a file, or who else signs.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use m2_settlement::chain::{Party, Token};
use m2_settlement::config::{AccountConfig, ChainConfig, Config};
use m2_settlement::scale::{SCALE_DIFFERENCE_MAX, Scales};
use m2_settlement::wire::Place;
use serde::Deserialize;

use crate::evm::eip712::party_of;
use crate::evm::{EvmConfig, Tag};
use crate::limits::CONFIG_LEN_MAX;

/// What a file says, with paths that hold from anywhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The switch's `settlement_socket`.
    pub switch: PathBuf,
    /// The process's own store.
    pub store: PathBuf,
    /// A store that is not there is a mistake.
    #[serde(default)]
    pub must_exist: bool,
    /// Where operators ask.
    pub control_socket: PathBuf,
    /// `text` or `json`.
    #[serde(default)]
    pub log: LogFormat,
    #[serde(default)]
    chains: Vec<ChainSection>,
    #[serde(default)]
    tokens: Vec<TokenSection>,
    #[serde(default)]
    accounts: Vec<AccountSection>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainSection {
    name: String,
    #[serde(default = "evm")]
    kind: String,
    chain_id: u64,
    rpc: String,
    contract: String,
    #[serde(default = "finalized")]
    finality: String,
    key_file: Option<PathBuf>,
    signer: Option<Vec<String>>,
    #[serde(default = "default_look_ms")]
    look_ms: u64,
    #[serde(default = "default_batch_ms")]
    batch_ms: u64,
    #[serde(default = "default_send_again_ms")]
    send_again_ms: u64,
    #[serde(default = "default_replace_ms")]
    replace_ms: u64,
    #[serde(default = "default_rpc_ms")]
    rpc_ms: u64,
    #[serde(default = "default_rpc_batch")]
    rpc_batch: usize,
    #[serde(default = "default_fee_most")]
    fee_most: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenSection {
    name: String,
    chain: String,
    address: String,
    scale: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountSection {
    name: String,
    scale: u8,
    token: String,
    peer: String,
    #[serde(default = "default_window_s")]
    window_s: u32,
    window_s_min: Option<u32>,
    deposit: Amount,
    redeem_min: Option<Amount>,
    #[serde(default = "default_redeem_margin_s")]
    redeem_margin_s: u64,
}

fn evm() -> String {
    "evm".into()
}
fn finalized() -> String {
    "finalized".into()
}
fn default_look_ms() -> u64 {
    2_000
}
fn default_batch_ms() -> u64 {
    60_000
}
fn default_send_again_ms() -> u64 {
    30_000
}
fn default_replace_ms() -> u64 {
    60_000
}
fn default_rpc_ms() -> u64 {
    10_000
}
fn default_rpc_batch() -> usize {
    64
}
fn default_fee_most() -> Amount {
    Amount(500_000_000_000)
}
fn default_window_s() -> u32 {
    86_400
}
fn default_redeem_margin_s() -> u64 {
    300
}

/// A whole number of units, as a string where it does not fit TOML's integers.
#[derive(Clone, Copy, Debug, Default)]
struct Amount(u128);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Number(u64),
            Text(String),
        }
        let wrong =
            || serde::de::Error::custom("an amount is a whole number of units, or a string of one");
        match Given::deserialize(from).map_err(|_| wrong())? {
            Given::Number(number) => Ok(Self(number.into())),
            Given::Text(text) => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| digits).map(Self).ok_or_else(wrong)
            }
        }
    }
}

/// Who signs for us on a chain.
#[derive(Clone, Debug)]
pub enum SignerConfig {
    /// This process, by the key in a file.
    KeyFile(PathBuf),
    /// Another process: a program and its arguments.
    Process(Vec<String>),
}

/// A chain, as its worker is made.
#[derive(Debug)]
pub struct ChainWorker {
    /// As the file names it.
    pub name: String,
    /// For the worker.
    pub evm: EvmConfig,
    /// Who signs.
    pub signer: SignerConfig,
    place: Place,
    look_ms: u64,
    batch_ms: u64,
    send_again_ms: u64,
    replace_ms: u64,
    fee_most: u128,
}

/// What a file comes to.
#[derive(Debug)]
pub struct Checked {
    /// The switch's `settlement_socket`.
    pub switch: PathBuf,
    /// The process's own store.
    pub store: PathBuf,
    /// A store that is not there is a mistake.
    pub must_exist: bool,
    /// Where operators ask.
    pub control_socket: PathBuf,
    /// How the log is written.
    pub log: LogFormat,
    /// In the order of the file.
    pub chains: Vec<ChainWorker>,
    /// In the order of the file.
    pub accounts: Vec<AccountConfig>,
    /// Of each account, what the switch must say of it.
    pub account_scales: Vec<(String, u8)>,
}

/// Reads and checks a file.
///
/// # Errors
///
/// Everything that is wrong with it, a line each.
pub fn load(path: &Path) -> Result<Checked, String> {
    let mut text = String::new();
    let told = |error: String| format!("{}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| told(error.to_string()))?;
    file.take(CONFIG_LEN_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| told(error.to_string()))?;
    if text.len() as u64 > CONFIG_LEN_MAX {
        return Err(told(format!("the file has more than {CONFIG_LEN_MAX} bytes")));
    }
    let file: File = toml::from_str(&text).map_err(|error| told(error.to_string()))?;
    check(path, file).map_err(|wrong| {
        let lines: Vec<String> = wrong.into_iter().map(told).collect();
        lines.join("\n")
    })
}

fn check(path: &Path, file: File) -> Result<Checked, Vec<String>> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut wrong = Vec::new();
    let mut chains = Vec::new();
    for section in &file.chains {
        match chain(folder, section) {
            Ok(chain) => chains.push(chain),
            Err(text) => wrong.push(format!("chain \"{}\": {text}", section.name)),
        }
    }
    once(&mut wrong, "chain", file.chains.iter().map(|it| &it.name));
    once(&mut wrong, "token", file.tokens.iter().map(|it| &it.name));
    once(&mut wrong, "account", file.accounts.iter().map(|it| &it.name));
    let mut accounts = Vec::new();
    for section in &file.accounts {
        match account(&file, section) {
            Ok(account) => accounts.push(account),
            Err(text) => wrong.push(format!("account \"{}\": {text}", section.name)),
        }
    }
    for path in [&file.switch, &file.control_socket] {
        let len = folder.join(path).as_os_str().len();
        if len > 107 {
            wrong.push(format!("{}: the path of a socket has at most 107 bytes", path.display()));
        }
    }
    if file.accounts.is_empty() {
        wrong.push("no account settles: add an [[accounts]]".into());
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Checked {
        switch: folder.join(&file.switch),
        store: folder.join(&file.store),
        must_exist: file.must_exist,
        control_socket: folder.join(&file.control_socket),
        log: file.log,
        chains,
        account_scales: file.accounts.iter().map(|it| (it.name.clone(), it.scale)).collect(),
        accounts,
    })
}

fn once<'a>(wrong: &mut Vec<String>, what: &str, names: impl Iterator<Item = &'a String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            wrong.push(format!("{what} \"{name}\" stands there twice: change one"));
        }
    }
}

fn chain(folder: &Path, section: &ChainSection) -> Result<ChainWorker, String> {
    if section.kind != "evm" {
        return Err(format!("kind = \"{}\" is not known: evm is", section.kind));
    }
    let contract: Address = address("contract", &section.contract)?;
    let finality: Tag = section.finality.parse().map_err(|error| format!("finality: {error}"))?;
    let signer = match (&section.key_file, &section.signer) {
        (Some(file), None) => SignerConfig::KeyFile(folder.join(file)),
        (None, Some(command)) if !command.is_empty() => SignerConfig::Process(command.clone()),
        (None, Some(_)) => return Err("signer = [] names no program".into()),
        (Some(_), Some(_)) => return Err("key_file and signer exclude each other: keep one".into()),
        (None, None) => {
            return Err("nobody signs: add key_file = \"...\" or signer = [\"program\"]".into());
        }
    };
    within("look_ms", section.look_ms, 50, 60_000)?;
    within("batch_ms", section.batch_ms, 0, 86_400_000)?;
    within("send_again_ms", section.send_again_ms, 500, 600_000)?;
    within("replace_ms", section.replace_ms, 1_000, 3_600_000)?;
    within("rpc_ms", section.rpc_ms, 100, 120_000)?;
    within("rpc_batch", section.rpc_batch as u64, 1, 1_000)?;
    Ok(ChainWorker {
        name: section.name.clone(),
        evm: EvmConfig {
            rpc_url: section.rpc.clone(),
            chain_id: section.chain_id,
            contract,
            finality,
            rpc_time: Duration::from_millis(section.rpc_ms),
            batch_most: section.rpc_batch,
            fee_most: section.fee_most.0,
        },
        signer,
        place: Place { chain: format!("eip155:{}", section.chain_id), contract: contract.to_vec() },
        look_ms: section.look_ms,
        batch_ms: section.batch_ms,
        send_again_ms: section.send_again_ms,
        replace_ms: section.replace_ms,
        fee_most: section.fee_most.0,
    })
}

fn account(file: &File, section: &AccountSection) -> Result<AccountConfig, String> {
    let token = file.tokens.iter().find(|it| it.name == section.token).ok_or_else(|| {
        let known: Vec<&str> = file.tokens.iter().map(|it| it.name.as_str()).collect();
        let listed = match known.is_empty() {
            true => "add a [[tokens]] for it".to_owned(),
            false => format!("listed are {}", known.join(", ")),
        };
        format!("no token \"{}\": {listed}", section.token)
    })?;
    let chain = file.chains.iter().position(|it| it.name == token.chain).ok_or_else(|| {
        format!("its token is on the chain \"{}\", which is not listed", token.chain)
    })?;
    let scales = Scales::new(section.scale, token.scale).ok_or_else(|| {
        format!(
            "scale {} and the token's {} are more than {SCALE_DIFFERENCE_MAX} apart",
            section.scale, token.scale
        )
    })?;
    let peer: Address = address("peer", &section.peer)?;
    let of_token: Address = address("its token's address", &token.address)?;
    within("window_s", section.window_s.into(), 600, 365 * 86_400)?;
    let window_s_min = section.window_s_min.unwrap_or(section.window_s);
    within("window_s_min", window_s_min.into(), 600, 365 * 86_400)?;
    let shortest = u64::from(section.window_s.min(window_s_min));
    if section.redeem_margin_s * 2 > shortest {
        return Err(format!(
            "redeem_margin_s = {} leaves less than half of a window of {shortest} s: lower it",
            section.redeem_margin_s
        ));
    }
    Ok(AccountConfig {
        name: section.name.clone(),
        chain,
        token: Token(party_of(of_token).0),
        scales,
        peer: party_of(peer),
        window_s: section.window_s,
        window_s_min,
        deposit: section.deposit.0,
        redeem_min: section.redeem_min.map_or(section.deposit.0 / 10, |least| least.0),
        redeem_margin_s: section.redeem_margin_s,
    })
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value} is not from {least} to {most}"))
}

/// 20 bytes; in mixed case its checksum (EIP-55) must be right.
fn address(key: &str, text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let has_cases = digits.bytes().any(|it| it.is_ascii_lowercase())
        && digits.bytes().any(|it| it.is_ascii_uppercase());
    let parsed: Address = text
        .parse()
        .map_err(|_| format!("{key} = \"{text}\" is no address: 0x and 40 hexadecimal digits"))?;
    if has_cases && Address::parse_checksummed(text, None).is_err() {
        return Err(format!("{key} = \"{text}\" has a wrong checksum: is a digit mistyped?"));
    }
    if parsed.is_zero() {
        return Err(format!("{key} is the zero address"));
    }
    Ok(parsed)
}

impl Checked {
    /// For the core, once it is known who we are on each chain.
    ///
    /// # Errors
    ///
    /// When a peer is we ourselves.
    pub fn core(&self, us: &[Party]) -> Result<Config, String> {
        let chains = self.chains.iter().zip(us).map(|(chain, us)| ChainConfig {
            place: chain.place.clone(),
            us: *us,
            look_ms: chain.look_ms,
            batch_ms: chain.batch_ms,
            send_again_ms: chain.send_again_ms,
            replace_ms: chain.replace_ms,
            fee_most: chain.fee_most,
        });
        for (at, chain) in self.chains.iter().enumerate() {
            let same = |other: &ChainWorker| other.evm.chain_id == chain.evm.chain_id;
            if let Some(twice) =
                (0..at).find(|other| same(&self.chains[*other]) && us[*other] == us[at])
            {
                return Err(format!(
                    "chains \"{}\" and \"{}\" are one chain and one account: two orders of nonces would \
                     displace each other; give one of them another key",
                    self.chains[twice].name, chain.name
                ));
            }
        }
        for (at, account) in self.accounts.iter().enumerate() {
            let same = |other: &&AccountConfig| {
                (other.chain, other.token, other.peer)
                    == (account.chain, account.token, account.peer)
            };
            if let Some(twice) = self.accounts[..at].iter().find(same) {
                return Err(format!(
                    "accounts \"{}\" and \"{}\" have one peer and one token: a channel could be either's",
                    twice.name, account.name
                ));
            }
            if account.peer == us[account.chain] {
                return Err(format!("account \"{}\": its peer is we ourselves", account.name));
            }
        }
        Ok(Config { chains: chains.collect(), accounts: self.accounts.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = r#"
        switch = "settlement.sock"
        store = "/var/settle.redb"
        control_socket = "control.sock"

        [[chains]]
        name = "local"
        chain_id = 31337
        rpc = "http://127.0.0.1:8545"
        contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
        key_file = "key"

        [[tokens]]
        name = "USD"
        chain = "local"
        address = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
        scale = 6

        [[accounts]]
        name = "bob"
        scale = 9
        token = "USD"
        peer = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
        deposit = "340282366920938463463374607431768211455"
    "#;

    fn checked(text: &str) -> Result<Checked, String> {
        let file = toml::from_str(text).map_err(|error| error.to_string())?;
        check(Path::new("/etc/m2/settle.toml"), file).map_err(|wrong| wrong.join("\n"))
    }

    #[test]
    fn what_is_right_is_read_and_paths_hold_from_anywhere() {
        let config = checked(RIGHT).unwrap();
        assert_eq!(config.switch, Path::new("/etc/m2/settlement.sock"));
        assert_eq!(config.store, Path::new("/var/settle.redb"));
        assert_eq!(config.accounts[0].deposit, u128::MAX);
        assert_eq!(config.accounts[0].scales.to_token(1_999), Some(1));
        let core = config.core(&[Party([7; 32])]).unwrap();
        assert_eq!(core.chains[0].place.chain, "eip155:31337");
        let error = config.core(&[core.accounts[0].peer]).unwrap_err();
        assert!(error.contains("we ourselves"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let told = |from: &str, to: &str, words: &str| {
            assert!(RIGHT.contains(from), "{from}");
            let error = checked(&RIGHT.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        told("0x5FbDB", "0x5FbDb", "wrong checksum");
        told("0x5FbDB2315678afecb367f032d93F642f64180aa3", "0x5F", "40 hexadecimal digits");
        let zero = format!("0x{}", "0".repeat(40));
        told("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", &zero, "zero address");
        told("key_file = \"key\"", "", "nobody signs: add key_file");
        told("key_file = \"key\"", "key_file = \"key\"\nsigner = [\"a\"]", "exclude each other");
        told("key_file = \"key\"", "signer = []", "names no program");
        told("token = \"USD\"", "token = \"EUR\"", "no token \"EUR\": listed are USD");
        told("chain = \"local\"", "chain = \"far\"", "which is not listed");
        told(
            "[[accounts]]",
            "[[accounts]]\nname = \"eve\"\nscale = 9\ntoken = \"USD\"\npeer = \"0x12\"\ndeposit = 1\n[[accounts]]",
            "\"0x12\" is no address",
        );
        told("scale = 9", "scale = 200", "more than 38 apart");
        told("deposit = \"3", "deposit = \"-3", "a whole number of units");
        told("scale = 9", "scale = 9\nwindow_s = 5", "window_s = 5 is not from 600");
        told("scale = 9", "scale = 9\nwindow_s = 600\nredeem_margin_s = 301", "less than half");
        told("key_file = \"key\"", "key_file = \"key\"\nfinality = \"soon\"", "finality");
        told("key_file = \"key\"", "key = \"0xac\"", "unknown field `key`");
        told("name = \"local\"", "name = \"local\"\nkind = \"xrp\"", "kind = \"xrp\" is not known");
        told(
            "[[accounts]]",
            "[[chains]]\nname=\"local\"\nchain_id=1\nrpc=\"\"\ncontract=\"\"\n[[accounts]]",
            "twice",
        );
    }
}
