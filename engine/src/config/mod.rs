//! The configuration: one TOML file, read and checked whole before anything starts.
//!
//! ```text
//!  file -> problem::Collector        every complaint, with its line
//!       -> table::Table              kinds, ranges, unknown keys
//!       -> switch, accounts          meaning: names, assets, rates, secrets, routes
//!       -> Config                    right in itself; nothing after this refuses it
//! ```
//!
//! `docs/configuration.md` documents every key; a test holds that none is missing there.

mod accounts;
mod decimal;
mod journal;
mod problem;
mod switch;
mod table;
mod token;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use m2_codec::address::{Address, Prefix};
use m2_codec::url::Endpoint;
use m2_core::{
    AccountId, Asset, AssetIndex, Durability, Limits, Network, RateEntry, Relation, Settle, ShardId,
};
use toml::de::DeTable;
use zeroize::Zeroizing;

pub use journal::{JournalIo, JournalSection};
pub(crate) use problem::escaped;
pub use problem::{Problem, Problems};
pub(crate) use switch::{schemes, word as network_word};
pub use token::{DialToken, TokenHash};

use crate::limits::CONFIG_LEN_MAX;
use problem::Collector;
use table::Table;

/// Everything an operator decides.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from, for errors found when binding.
    pub file: PathBuf,
    /// `[switch]`
    pub switch: SwitchSection,
    /// `[journal]`
    pub journal: JournalSection,
    /// `[log]`
    pub log: LogSection,
    /// `[connection]`
    pub connection: ConnectionSection,
    /// `[routes]`
    pub routes: RoutesSection,
    /// `[[listen]]`
    pub listen: Vec<Listen>,
    /// `[[assets]]`; an account's asset is a position in this list.
    pub assets: Vec<Asset>,
    /// `[[rates]]`, known to fit.
    pub rates: Vec<RateEntry>,
    /// `[[accounts]]`; an account's id is its position in this list.
    pub accounts: Vec<Account>,
    /// Pass packets on and keep no books: set by `m2-forwarder`, never by a file.
    #[cfg(feature = "forwarder")]
    pub forwards: bool,
}

/// `[switch]`: what the switch is, and the rules of time.
#[derive(Debug)]
pub struct SwitchSection {
    /// Our own ILP address.
    pub address: Address,
    /// Which schemes we forward.
    pub network: Network,
    /// Where operators ask.
    pub control_socket: PathBuf,
    /// Line in the file, for errors found when binding.
    pub control_socket_line: usize,
    /// Where the process that settles connects.
    pub settlement_socket: Option<PathBuf>,
    /// Line in the file, for errors found when binding.
    pub settlement_socket_line: usize,
    /// Taken off a packet's expiry.
    pub expiry_margin_ms: u32,
    /// R02 when less remains after that.
    pub remaining_ms_min: u32,
    /// The longest that a packet holds money.
    pub hold_ms_max: u32,
    /// How many packets may be in flight at once on each shard.
    pub in_flight_slots: u32,
    /// How many shards forward packets, each on a thread of its own.
    pub shards: u16,
    /// Which core each shard runs on; absent where the system is to choose.
    pub cores: Option<Vec<usize>>,
    /// Line in the file, for what this machine makes of it.
    pub cores_line: usize,
    /// Whether a packet may go back to its sender.
    pub reflect: bool,
    /// How long a shard polls before it sleeps.
    pub spin_us: u32,
    /// By which system calls the shard moves bytes.
    pub io: SwitchIo,
    /// How long what is in flight may finish once we are told to stop.
    pub shutdown_ms: u32,
}

/// By which system calls bytes get from sockets to links and back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SwitchIo {
    /// Whichever is faster here, of those that the kernel permits.
    Auto,
    /// `epoll_wait`, `recv` and `send`.
    Epoll,
    /// io_uring or nothing.
    Uring,
}

/// `[log]`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogSection {
    /// How a line looks.
    pub format: LogFormat,
    /// The least that is told.
    pub level: tracing::Level,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[connection]`: limits of time and bytes on every connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionSection {
    /// How long a peer may take from connecting to being authenticated.
    pub handshake_ms: u32,
    /// How many bytes it may send until then.
    pub handshake_bytes_max: u32,
    /// How many connections may be unauthenticated at once; more are closed at once.
    pub unauthenticated_max: u32,
    /// A link with more bytes unsent is closed; above half of it PREPAREs get T02.
    pub egress_bytes_max: u32,
    /// How many malformed frames inside good framing close a connection.
    pub bad_frames_max: u32,
    /// How often we look whether a silent peer still lives.
    pub ping_ms: u32,
    /// How long a closing connection may take to read what we still had for it.
    pub close_ms: u32,
}

/// `[routes]`: routes beside those that stand with their accounts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoutesSection {
    /// The route file.
    pub file: Option<PathBuf>,
}

/// `[[listen]]`: where peers connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// What they speak there.
    pub transport: Transport,
    /// Where.
    pub address: ListenAddress,
    /// Line in the file, for errors found when binding.
    pub line: usize,
}

/// What carries BTP frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// BTP over WebSocket.
    Ws,
    /// BTP frames straight on TCP.
    Tcp,
    /// BTP frames straight on a Unix socket.
    Unix,
}

impl Transport {
    /// As the configuration has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }
}

/// Where a listener is bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// A TCP address; port 0 takes a free one.
    Socket(SocketAddr),
    /// A path.
    Path(PathBuf),
}

/// `[[accounts]]`: a peer, and what we allow it.
#[derive(Debug)]
pub struct Account {
    /// As in URL paths, `auth_username`, the control socket and the log.
    pub name: String,
    /// What it is to us.
    pub relation: Relation,
    /// Position in [`Config::assets`].
    pub asset: AssetIndex,
    /// What the peer must show when it connects to us; without one it cannot.
    pub token: Option<TokenHash>,
    /// How we connect to it.
    pub dial: Option<Dial>,
    /// What it may owe, send and have in flight.
    pub limits: Limits,
    /// When it is paid by itself.
    pub settle: Option<Settle>,
    /// Which shard it is on; absent where its number says so.
    pub shard: Option<u16>,
    /// What a FULFILL for it waits for.
    pub durability: Durability,
    /// Line in the file of its durability.
    pub line: usize,
    /// The file no longer has it: only the journal does.
    pub dormant: bool,
    /// The segment that IL-DCP appends to our address for it.
    pub ildcp_segment: String,
    /// Prefixes that lead to it.
    pub routes: Vec<Prefix>,
}

/// `dial`: a peer that we connect to.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where.
    pub endpoint: Endpoint,
    /// The `auth_username` that we show.
    pub username: Option<String>,
    /// The `auth_token` that we show.
    pub token: DialToken,
}

/// Reads and checks a file.
///
/// # Errors
///
/// Every complaint there is about it, each with its line and its fix.
pub fn load(file: &Path) -> Result<Config, Problems> {
    let text = read(file)?;
    parse(file, &text)
}

/// Checks the text of a file; relative paths in it start from the file's folder.
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &Path, text: &str) -> Result<Config, Problems> {
    let problems = Collector::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| problems.line(&span));
        problems.add(line, format!("not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        // What a broken file means is a guess; complaints about a guess mislead.
        return problems.finish(None);
    }
    let config = sections(file, &Table::root(document.get_ref(), &problems));
    problems.finish(config)
}

impl Config {
    /// Which shard an account is on. It may be another after a restart: a journal's shards are those
    /// that wrote it.
    #[must_use]
    pub fn shard_of(&self, account: AccountId) -> ShardId {
        let count = u32::from(self.switch.shards);
        let by_number = u16::try_from(account.0 % count).expect("it is below a u16");
        ShardId(self.accounts[account.0 as usize].shard.unwrap_or(by_number))
    }

    /// Refuses accounts whose debts are not recorded, unless the command line accepts that.
    ///
    /// # Errors
    ///
    /// A complaint for each.
    pub fn refuse_loss(&self) -> Result<(), Problems> {
        let unrecorded = self.accounts.iter().filter(|it| it.durability == Durability::None);
        let complaint = |account: &Account| Problem {
            line: Some(account.line),
            text: format!(
                "durability = \"none\" forgets at a restart what {} owes and is owed: write \
                 \"async\" or \"sync\", or accept it with --accept-loss",
                account.name
            ),
        };
        let list: Vec<_> = unrecorded.map(complaint).collect();
        if list.is_empty() { Ok(()) } else { Err(Problems { file: self.file.clone(), list }) }
    }
}

/// A path in the file is relative to the file.
fn resolved(file: &Path, path: &str) -> PathBuf {
    file.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}

fn sections(file: &Path, root: &Table<'_, '_>) -> Option<Config> {
    let switch = switch::switch(file, root);
    let journal = journal::journal(file, root, switch.as_ref());
    let log = switch::log(root);
    let connection = switch::connection(root);
    let routes = switch::routes(file, root);
    let listen = switch::listen(file, root, switch.as_ref());
    let assets = accounts::assets(root);
    let rates = accounts::rates(root, &assets);
    let accounts = accounts::accounts(file, root, &assets, switch.as_ref());
    root.finish();
    let file = file.to_owned();
    Some(Config {
        file,
        switch: switch?,
        journal,
        log,
        connection,
        routes,
        listen,
        assets: assets.list,
        rates,
        accounts,
        #[cfg(feature = "forwarder")]
        forwards: false,
    })
}

fn read(file: &Path) -> Result<Zeroizing<String>, Problems> {
    let complaint =
        |text: String| Problems { file: file.to_owned(), list: vec![Problem { line: None, text }] };
    let text = read_at_most(file, CONFIG_LEN_MAX + 1)
        .map_err(|error| complaint(format!("cannot be read: {error}")))?;
    if text.len() as u64 > CONFIG_LEN_MAX {
        return Err(complaint(format!("is longer than the {CONFIG_LEN_MAX} bytes that are read")));
    }
    Ok(text)
}

/// The leading bytes of a file as text. A device or a pipe may have no end, and tells no length.
fn read_at_most(file: &Path, len_max: u64) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(file)?.take(len_max).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
