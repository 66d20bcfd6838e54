//! `[switch]`, `[log]`, `[connection]`, `[routes]` and `[[listen]]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use m2_codec::address::Address;
use m2_core::Network;
use m2_core::limits::{HOLD_MS_MAX, IN_FLIGHT_SLOTS_DEFAULT, IN_FLIGHT_SLOTS_MAX};

use super::table::{At, Table};
use super::{
    ConnectionSection, Listen, ListenAddress, LogFormat, LogSection, RoutesSection, SwitchIo,
    SwitchSection, Transport, resolved,
};
use crate::limits::{
    CORES_MAX, EGRESS_BYTES_MIN, HANDSHAKE_BYTES_LIMIT, SHARDS_MAX, SHUTDOWN_MS_MAX,
    UNIX_PATH_LEN_MAX,
};

pub(super) fn switch(file: &Path, root: &Table<'_, '_>) -> Option<SwitchSection> {
    let table = root.table("switch", "[switch]");
    let network = table.choice_required(
        "network",
        &[("g", Network::G), ("test", Network::Test), ("private", Network::Private)],
    );
    let address = address(&table, network);
    let control_socket =
        table.text_required("control_socket", "control_socket = \"run/control.sock\"");
    let settlement_socket = table
        .text("settlement_socket")
        .map(|path| socket_path(file, &table, "settlement_socket", &path));
    let shards = table.integer("shards", 1..=SHARDS_MAX, 1);
    let section = SwitchSection {
        shards,
        cores: cores(&table, shards),
        cores_line: table.line_of("cores"),
        expiry_margin_ms: table.integer("expiry_margin_ms", 0..=HOLD_MS_MAX, 1_000),
        remaining_ms_min: table.integer("remaining_ms_min", 0..=HOLD_MS_MAX, 1_000),
        hold_ms_max: table.integer("hold_ms_max", 1..=HOLD_MS_MAX, 30_000),
        in_flight_slots: table.integer(
            "in_flight_slots",
            64..=IN_FLIGHT_SLOTS_MAX,
            IN_FLIGHT_SLOTS_DEFAULT,
        ),
        reflect: table.boolean("reflect", false),
        spin_us: table.integer("spin_us", 0..=1_000_000, 0),
        io: io(&table),
        shutdown_ms: table.integer("shutdown_ms", 0..=SHUTDOWN_MS_MAX, 35_000),
        address: address?,
        network: network?,
        control_socket_line: control_socket.as_ref().map_or(1, |path| path.line),
        control_socket: socket_path(file, &table, "control_socket", &control_socket?),
        settlement_socket_line: table.line_of("settlement_socket"),
        settlement_socket,
    };
    if section.settlement_socket.as_ref() == Some(&section.control_socket) {
        let first = section.control_socket_line;
        let text = format!(
            "this path is the control_socket at line {first} as well: write another for one"
        );
        table.complain(section.settlement_socket_line, text);
    }
    if section.remaining_ms_min >= section.hold_ms_max {
        table.complain(
            table.line_of("remaining_ms_min"),
            format!(
                "remaining_ms_min = {} refuses every packet: write less than hold_ms_max = {}",
                section.remaining_ms_min, section.hold_ms_max
            ),
        );
    }
    table.finish();
    Some(section)
}

fn io(table: &Table<'_, '_>) -> SwitchIo {
    let words =
        [("auto", SwitchIo::Auto), ("epoll", SwitchIo::Epoll), ("io_uring", SwitchIo::Uring)];
    table.choice("io", &words).unwrap_or(SwitchIo::Auto)
}

/// One core for each shard, none twice.
fn cores(table: &Table<'_, '_>, shards: u16) -> Option<Vec<usize>> {
    let listed = table.numbers("cores", 0..=CORES_MAX - 1)?;
    if listed.len() != usize::from(shards) {
        let text = format!(
            "`cores` names {} where there are {shards} shards: write one number for each shard, or \
             remove the key",
            listed.len()
        );
        table.complain(table.line_of("cores"), text);
        return None;
    }
    let mut cores: Vec<usize> = Vec::with_capacity(listed.len());
    for At { line, value } in listed {
        if cores.contains(&value) {
            let text = format!("core {value} stands twice in `cores`: give each shard its own");
            table.complain(line, text);
        }
        cores.push(value);
    }
    Some(cores)
}

fn address(table: &Table<'_, '_>, network: Option<Network>) -> Option<Address> {
    let text = table.text_required("address", "address = \"test.m2m\"")?;
    let address: Address = match text.value.parse() {
        Ok(address) => address,
        Err(error) => {
            let value = text.value;
            table.complain(
                text.line,
                format!(
                    "address = \"{value}\" {error}: write a scheme and segments of letters, \
                     digits, _, ~ and -, as in \"test.m2m\""
                ),
            );
            return None;
        }
    };
    if let Some(network) = network
        && !network.serves(address.scheme())
    {
        table.complain(
            text.line,
            format!(
                "address = \"{}\" is not of the network: with network = \"{}\" it starts with {}",
                text.value,
                word(network),
                schemes(network)
            ),
        );
    }
    Some(address)
}

pub(crate) fn schemes(network: Network) -> &'static str {
    match network {
        Network::G => "g.",
        Network::Test => "test., test1., test2. or test3.",
        Network::Private => "private.",
    }
}

pub(crate) fn word(network: Network) -> &'static str {
    match network {
        Network::G => "g",
        Network::Test => "test",
        Network::Private => "private",
    }
}

pub(super) fn log(root: &Table<'_, '_>) -> LogSection {
    use tracing::Level;
    let table = root.table("log", "[log]");
    let format = table.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let level = table.choice(
        "level",
        &[
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ],
    );
    table.finish();
    LogSection { format: format.unwrap_or(LogFormat::Text), level: level.unwrap_or(Level::INFO) }
}

pub(super) fn connection(root: &Table<'_, '_>) -> ConnectionSection {
    let table = root.table("connection", "[connection]");
    let section = ConnectionSection {
        handshake_ms: table.integer("handshake_ms", 1..=300_000, 10_000),
        handshake_bytes_max: table.integer(
            "handshake_bytes_max",
            512..=HANDSHAKE_BYTES_LIMIT,
            16_384,
        ),
        unauthenticated_max: table.integer("unauthenticated_max", 1..=65_536, 256),
        egress_bytes_max: table.integer("egress_bytes_max", EGRESS_BYTES_MIN..=1 << 30, 8 << 20),
        bad_frames_max: table.integer("bad_frames_max", 1..=1_000_000, 10),
        ping_ms: table.integer("ping_ms", 10..=3_600_000, 20_000),
        close_ms: table.integer("close_ms", 1..=60_000, 2_000),
    };
    table.finish();
    section
}

pub(super) fn routes(file: &Path, root: &Table<'_, '_>) -> RoutesSection {
    let table = root.table("routes", "[routes]");
    let path = table.text("file");
    if path.as_ref().is_some_and(|path| path.value.is_empty()) {
        table
            .complain(table.line_of("file"), "`file` is empty: write file = \"routes.txt\"".into());
    }
    table.finish();
    RoutesSection { file: path.map(|path| resolved(file, path.value)) }
}

pub(super) fn listen(
    file: &Path,
    root: &Table<'_, '_>,
    switch: Option<&SwitchSection>,
) -> Vec<Listen> {
    let mut all: Vec<Listen> = Vec::new();
    for table in root.tables("listen", "[[listen]]") {
        let Some(listen) = one_listen(file, &table) else {
            table.finish();
            continue;
        };
        let free_port =
            matches!(&listen.address, ListenAddress::Socket(address) if address.port() == 0);
        let same = all.iter().find(|other| other.address == listen.address && !free_port);
        if let Some(same) = same {
            table.complain(
                listen.line,
                format!("this address is already listened on at line {}: remove one", same.line),
            );
        }
        if let (Some(switch), ListenAddress::Path(path)) = (switch, &listen.address)
            && let Some((key, first)) = socket_at(switch, path)
        {
            let text =
                format!("this path is the {key} at line {first} as well: write another for one");
            table.complain(listen.line, text);
        }
        table.finish();
        all.push(listen);
    }
    all
}

/// Which socket of `[switch]` is at a path, and its line.
fn socket_at(switch: &SwitchSection, path: &Path) -> Option<(&'static str, usize)> {
    if switch.control_socket == path {
        return Some(("control_socket", switch.control_socket_line));
    }
    let is_settlement = switch.settlement_socket.as_deref() == Some(path);
    is_settlement.then_some(("settlement_socket", switch.settlement_socket_line))
}

/// Where a socket of ours is made.
fn socket_path(file: &Path, table: &Table<'_, '_>, key: &str, path: &At<&str>) -> PathBuf {
    let resolved = resolved(file, path.value);
    if resolved.file_name().is_none() || path.value.is_empty() || path.value.ends_with('/') {
        table.complain(path.line, format!("{key} = {:?} must name a socket", path.value));
    }
    let len = resolved.as_os_str().len();
    if len > UNIX_PATH_LEN_MAX {
        let path_ = resolved.display();
        table.complain(
            path.line,
            format!(
                "the path {path_} is {len} bytes long, and a socket's has at most \
                 {UNIX_PATH_LEN_MAX}: write a shorter one, as in \"/run/m2.sock\""
            ),
        );
    }
    resolved
}

fn one_listen(file: &Path, table: &Table<'_, '_>) -> Option<Listen> {
    let transport = table.choice_required(
        "transport",
        &[("ws", Transport::Ws), ("tcp", Transport::Tcp), ("unix", Transport::Unix)],
    );
    let (socket, path) = (table.has("address"), table.has("path"));
    match transport? {
        Transport::Unix => {
            if socket {
                let line = table.line_of("address");
                table.complain(line, "a unix listener has no `address`: write `path`".into());
            }
            let path = table.text_required("path", "path = \"run/btp.sock\"")?;
            let address = ListenAddress::Path(socket_path(file, table, "path", &path));
            Some(Listen { transport: Transport::Unix, address, line: path.line })
        }
        transport => {
            if path {
                let line = table.line_of("path");
                let text = "only a unix listener has a `path`: write `address`".into();
                table.complain(line, text);
            }
            let text = table.text_required("address", "address = \"127.0.0.1:7768\"")?;
            let Ok(address) = text.value.parse::<SocketAddr>() else {
                table.complain(
                    text.line,
                    format!(
                        "address = \"{}\" must be an IP address and a port, as in \
                         \"127.0.0.1:7768\" or \"[::]:7768\"",
                        text.value
                    ),
                );
                return None;
            };
            Some(Listen { transport, address: ListenAddress::Socket(address), line: text.line })
        }
    }
}
