//! `[[assets]]`, `[[rates]]` and `[[accounts]]`.

use std::collections::HashMap;
use std::path::Path;

use m2_codec::address::Prefix;
use m2_codec::url::{BtpUrl, Endpoint};
use m2_core::limits::in_flight_packets_default;
use m2_core::routes::ROUTE_SEGMENTS_MAX;
use m2_core::{
    Asset, AssetIndex, Durability, Limits, RateEntry, RateLimit, Rates, Relation, Settle,
};
use zeroize::Zeroizing;

use super::decimal;
use super::switch::{schemes, word};
use super::table::{At, Table};
use super::{Account, Dial, DialToken, SwitchSection, TokenHash, read_at_most, resolved};
use crate::limits::{
    ASSET_CODE_LEN_MAX, NAME_LEN_MAX, SCALE_MAX, SHARDS_MAX, TOKEN_FILE_LEN_MAX, TOKEN_LEN_MAX,
    UNIX_PATH_LEN_MAX,
};

const DIAL_EXAMPLE: &str = "\"btp+ws://us@example.org:7768/\"";

/// The assets that are right.
#[derive(Default)]
pub(super) struct Assets {
    pub(super) list: Vec<Asset>,
    /// Some are wrong, which was told: an asset that is not found may be one of them.
    incomplete: bool,
}

pub(super) fn assets(root: &Table<'_, '_>) -> Assets {
    let mut all = Assets::default();
    for table in root.tables("assets", "[[assets]]") {
        match one_asset(&table, &all.list) {
            Some(asset) => all.list.push(asset),
            None => all.incomplete = true,
        }
        table.finish();
    }
    all
}

fn one_asset(table: &Table<'_, '_>, all: &[Asset]) -> Option<Asset> {
    let code = table.text_required("code", "code = \"USD\"");
    if !table.has("scale") {
        table.complain(table.line(), "[[assets]] needs `scale`: add scale = 9".into());
    }
    let scale = table.number("scale", 0..=SCALE_MAX);
    let code = code?;
    if code.value.is_empty() || code.value.contains(|c: char| c == '/' || c.is_control()) {
        let text = format!("code = {:?} must be a word without a slash", code.value);
        table.complain(code.line, text);
        return None;
    }
    if code.value.len() > ASSET_CODE_LEN_MAX {
        let text = format!("code has more than {ASSET_CODE_LEN_MAX} bytes: shorten it");
        table.complain(code.line, text);
        return None;
    }
    let asset = Asset { code: code.value.to_owned(), scale: scale?.value };
    if all.contains(&asset) {
        let text = format!("the asset {} is already listed: remove one", name(&asset));
        table.complain(code.line, text);
    }
    Some(asset)
}

pub(super) fn rates(root: &Table<'_, '_>, assets: &Assets) -> Vec<RateEntry> {
    let mut all = Vec::new();
    let mut lines = Vec::new();
    for table in root.tables("rates", "[[rates]]") {
        let from = table.text_required("from", "from = \"USD/9\"");
        let to = table.text_required("to", "to = \"XRP/6\"");
        let rate = table.text_required("rate", "rate = \"2.5\"");
        let spread_ppm = table.integer("spread_ppm", 0..=999_999, 0);
        let from = from.and_then(|from| asset(&table, &from, assets));
        let to = to.and_then(|to| asset(&table, &to, assets));
        let ratio = rate.and_then(|rate| {
            let told = |error| {
                table.complain(rate.line, format!("rate = \"{}\" {error}", rate.value));
            };
            decimal::ratio(rate.value).map_err(told).ok()
        });
        if let (Some(from), Some(to), Some((num, den))) = (from, to, ratio) {
            lines.push(table.line());
            all.push(RateEntry { from, to, num, den, spread_ppm });
        }
        table.finish();
    }
    let assets = &assets.list;
    if let Err((position, error)) = Rates::build(1, assets, &all) {
        let entry = &all[position];
        let pair = [entry.from, entry.to].map(|index| name(&assets[usize::from(index.0)]));
        let text =
            format!("the rate from {} to {} {error}: change or remove this one", pair[0], pair[1]);
        root.complain(lines[position], text);
    }
    all
}

pub(super) fn accounts(
    file: &Path,
    root: &Table<'_, '_>,
    assets: &Assets,
    switch: Option<&SwitchSection>,
) -> Vec<Account> {
    let tables = root.tables("accounts", "[[accounts]]");
    if tables.is_empty() {
        root.complain(1, "there is no account: add at least one [[accounts]]".into());
    }
    let count = u32::try_from(tables.len()).unwrap_or(u32::MAX);
    let slots = switch.map_or(1, |it| it.in_flight_slots.saturating_mul(it.shards.into()));
    let mut reader = Reader {
        file,
        assets,
        switch,
        in_flight_packets_default: in_flight_packets_default(slots, count),
        someone_listens: root.has_any("listen"),
        seen: Seen::default(),
        settle_lines: Vec::new(),
    };
    let mut all = Vec::with_capacity(tables.len());
    for table in tables {
        all.extend(reader.account(&table));
        table.finish();
    }
    refuse_unrecorded(root, &all, &reader.settle_lines);
    all
}

/// A payment rests on what it pays for, which may have come from any account.
fn refuse_unrecorded(root: &Table<'_, '_>, all: &[Account], settle_lines: &[usize]) {
    let Some(one) = all.iter().find(|account| account.durability == Durability::None) else {
        return;
    };
    for line in settle_lines {
        let text = format!(
            "`settle_threshold` pays what a restart would forget: {} has durability = \"none\". Write \
             \"async\" or \"sync\" there, or remove this key",
            one.name
        );
        root.complain(*line, text);
    }
}

/// What is known around an account while it is read.
struct Reader<'a> {
    file: &'a Path,
    assets: &'a Assets,
    /// Absent when `[switch]` itself is wrong.
    switch: Option<&'a SwitchSection>,
    in_flight_packets_default: u32,
    /// There is a `[[listen]]`; also true once it was told that there is none.
    someone_listens: bool,
    seen: Seen,
    /// Where accounts are to be paid by themselves.
    settle_lines: Vec<usize>,
}

/// What must not stand twice, with the line where it stands first.
#[derive(Default)]
struct Seen {
    names: HashMap<String, usize>,
    tokens: HashMap<[u8; 32], usize>,
    routes: HashMap<String, usize>,
    segments: HashMap<String, usize>,
}

impl Reader<'_> {
    fn account(&mut self, table: &Table<'_, '_>) -> Option<Account> {
        let name = account_name(table, &mut self.seen);
        let relation = table.choice_required(
            "relation",
            &[("child", Relation::Child), ("peer", Relation::Peer), ("parent", Relation::Parent)],
        );
        let asset = table
            .text_required("asset", "asset = \"USD/9\"")
            .and_then(|wanted| asset(table, &wanted, self.assets));
        let token = token(self.file, table, &mut self.seen);
        let dial = dial(self.file, table);
        self.connects(table, name.as_deref());
        let limits = limits(table, self.in_flight_packets_default);
        let settle = self.settle(table);
        let shard = shard(table, self.switch);
        let durability = table.choice(
            "durability",
            &[("sync", Durability::Sync), ("async", Durability::Async), ("none", Durability::None)],
        );
        let segment = ildcp_segment(table, name.as_deref(), relation, &mut self.seen);
        self.child_address(table, relation, segment.as_deref());
        let routes = self.routes(table, relation, segment.as_deref());
        Some(Account {
            name: name?,
            relation: relation?,
            asset: asset?,
            token,
            dial,
            limits,
            settle,
            shard,
            durability: durability.unwrap_or_default(),
            line: table.line_of("durability"),
            dormant: false,
            ildcp_segment: segment?,
            routes,
        })
    }

    /// When the peer is paid by itself.
    fn settle(&mut self, table: &Table<'_, '_>) -> Option<Settle> {
        let (threshold, to) = (table.amount("settle_threshold"), table.amount("settle_to"));
        if let (Some(to), false) = (&to, table.has("settle_threshold")) {
            let text =
                "`settle_to` needs `settle_threshold`: add settle_threshold = \"1000000000\"";
            table.complain(to.line, text.into());
        }
        let At { line, value: threshold } = threshold?;
        self.settle_lines.push(line);
        let to = to.map_or(0, |to| to.value);
        if threshold <= to {
            let text = format!(
                "settle_threshold = {threshold} must be more than settle_to = {to}, or there is nothing \
                 to pay"
            );
            table.complain(line, text);
        }
        Some(Settle { threshold, to })
    }

    /// One of the two must be able to reach the other.
    fn connects(&mut self, table: &Table<'_, '_>, name: Option<&str>) {
        let waits = ["token", "token_file", "token_blake3"].iter().any(|key| table.has(key));
        if !waits && !table.has("dial") {
            table.complain(
                table.line(),
                "[[accounts]] can never connect: add token, token_file or token_blake3 for a peer \
                 that connects to us, or dial for one that we connect to"
                    .into(),
            );
        }
        if waits && !table.has("dial") && !core::mem::replace(&mut self.someone_listens, true) {
            let text = format!(
                "{} can never connect: it has a token and no `dial`, and there is no [[listen]] \
                 where its peer could connect to us: add one",
                name.unwrap_or("the account")
            );
            table.complain(table.line(), text);
        }
    }

    /// What IL-DCP tells a child must be an address, also where other routes lead to it.
    fn child_address(
        &self,
        table: &Table<'_, '_>,
        relation: Option<Relation>,
        segment: Option<&str>,
    ) {
        let (Some(switch), Some(segment), Some(Relation::Child)) = (self.switch, segment, relation)
        else {
            return;
        };
        if let Err(error) = switch.address.child(segment) {
            let text = format!(
                "the address that this child is told, ours and \"{segment}\", is none: {error}: \
                 shorten our own address"
            );
            table.complain(table.line(), text);
        }
    }

    /// A child without `routes` is reached at the address that IL-DCP gives it.
    fn routes(
        &mut self,
        table: &Table<'_, '_>,
        relation: Option<Relation>,
        segment: Option<&str>,
    ) -> Vec<Prefix> {
        let Some(texts) = table.texts("routes") else {
            let child = matches!(relation, Some(Relation::Child)) && !table.has("routes");
            let (Some(switch), Some(segment), true) = (self.switch, segment, child) else {
                return Vec::new();
            };
            let address = format!("{}.{segment}", switch.address);
            return self.default_route(table, &address).into_iter().collect();
        };
        texts.iter().filter_map(|text| self.route(table, text)).collect()
    }

    fn default_route(&mut self, table: &Table<'_, '_>, address: &str) -> Option<Prefix> {
        let what = format!("the route that a child has unless told, \"{address}\",");
        twice(table, &mut self.seen.routes, address, table.line(), &what);
        shallow(table, address, table.line(), &what);
        // If it is none, that has been told of the child's address.
        address.parse().ok()
    }

    fn route(&mut self, table: &Table<'_, '_>, text: &At<&str>) -> Option<Prefix> {
        let value = text.value;
        let prefix: Prefix = match value.parse() {
            Ok(prefix) => prefix,
            Err(error) => {
                let example = "write an address or a scheme, as in \"test.m2m.alice\" or \"g\"";
                table.complain(text.line, format!("the route {value:?} {error}: {example}"));
                return None;
            }
        };
        if let Some(network) = self.switch.map(|switch| switch.network)
            && !network.serves(prefix.scheme())
        {
            table.complain(
                text.line,
                format!(
                    "the route \"{value}\" is never used: with network = \"{}\" it starts with {}",
                    word(network),
                    schemes(network)
                ),
            );
        }
        let what = format!("the route \"{value}\"");
        shallow(table, value, text.line, &what);
        twice(table, &mut self.seen.routes, value, text.line, &what);
        Some(prefix)
    }
}

fn account_name(table: &Table<'_, '_>, seen: &mut Seen) -> Option<String> {
    let name = table.text_required("name", "name = \"alice\"")?;
    let legal = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'~' | b'-')
    };
    if name.value.is_empty() || name.value.len() > NAME_LEN_MAX || !name.value.bytes().all(legal) {
        table.complain(
            name.line,
            format!(
                "name = {:?} must be 1 to {NAME_LEN_MAX} of a-z, 0-9, _, ~ and -, as it stands \
                 in URL paths",
                name.value
            ),
        );
        return None;
    }
    // A second account of a name has no segment and no route of its own to complain about.
    let what = format!("the name \"{}\"", name.value);
    let first = !twice(table, &mut seen.names, name.value, name.line, &what);
    first.then(|| name.value.to_owned())
}

/// A shard that there is.
fn shard(table: &Table<'_, '_>, switch: Option<&SwitchSection>) -> Option<u16> {
    let At { line, value } = table.number("shard", 0..=SHARDS_MAX - 1)?;
    let shards = switch.map_or(SHARDS_MAX, |switch| switch.shards);
    if value >= shards {
        let last = shards - 1;
        let text = format!(
            "shard = {value} is none of ours: with shards = {shards} write a number from 0 to {last}, \
             or remove the key"
        );
        table.complain(line, text);
    }
    Some(value)
}

fn ildcp_segment(
    table: &Table<'_, '_>,
    name: Option<&str>,
    relation: Option<Relation>,
    seen: &mut Seen,
) -> Option<String> {
    let given = table.text("ildcp_segment");
    let segment = given.as_ref().map_or(name, |given| Some(given.value))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'~' | b'-');
    let line = table.line_of("ildcp_segment");
    if given.is_some() && (segment.is_empty() || !segment.bytes().all(legal)) {
        let text = format!(
            "ildcp_segment = {segment:?} must be one segment of letters, digits, _, ~ and -"
        );
        table.complain(line, text);
        return None;
    }
    let why = if given.is_some() { "" } else { ", as it is its name," };
    let what = format!("the ildcp_segment \"{segment}\"{why}");
    let told = matches!(relation, Some(Relation::Child))
        && twice(table, &mut seen.segments, segment, line, &what);
    (!told).then(|| segment.to_owned())
}

fn limits(table: &Table<'_, '_>, in_flight_packets_default: u32) -> Limits {
    let amount = |key| table.amount(key).map(|amount| amount.value);
    let rate = rate_limit(table, "amount_per_s", "amount_burst");
    Limits {
        balance_max: amount("balance_max").unwrap_or(0),
        payable_max: amount("payable_max").unwrap_or(0),
        packet_amount_max: packet_amount_max(table, rate),
        packets: rate_limit(table, "packets_per_s", "packets_burst"),
        amount: rate,
        in_flight_packets_max: table.integer(
            "in_flight_packets_max",
            1..=u32::MAX,
            in_flight_packets_default,
        ),
        in_flight_value_max: amount("in_flight_value_max"),
    }
}

/// A packet above the burst could never pass, and its sender, told T04, would try for ever.
fn packet_amount_max(table: &Table<'_, '_>, rate: Option<RateLimit>) -> u64 {
    let burst = rate.map_or(u64::MAX, |rate| rate.burst);
    let Some(At { line, value }) = table.amount("packet_amount_max") else { return burst };
    if value > burst {
        let text = format!(
            "packet_amount_max = {value} is more than the {burst} that may pass at once: lower it, \
             or raise amount_burst"
        );
        table.complain(line, text);
    }
    value
}

/// A bucket that fills at `per_s` up to `burst`, which is one second's worth unless told.
fn rate_limit(
    table: &Table<'_, '_>,
    per_s: &'static str,
    burst: &'static str,
) -> Option<RateLimit> {
    let rate = table.amount(per_s);
    let size = table.amount(burst);
    if let (None, Some(size)) = (&rate, &size) {
        table.complain(size.line, format!("`{burst}` needs `{per_s}`: add {per_s} = 1000"));
    }
    let (rate, size) = (rate?, size);
    for (key, given) in [(per_s, Some(&rate)), (burst, size.as_ref())] {
        if let Some(At { line, value: 0 }) = given {
            let text = format!("{key} = 0 lets nothing through: write more, or remove the key");
            table.complain(*line, text);
        }
    }
    let burst = size.map_or(rate.value, |size| size.value);
    Some(RateLimit { per_s: rate.value, burst })
}

fn token(file: &Path, table: &Table<'_, '_>, seen: &mut Seen) -> Option<TokenHash> {
    let keys = ["token", "token_file", "token_blake3"];
    only_one(table, &keys);
    let hash = if let Some(token) = table.text("token") {
        check_token(table, token.line, "token", token.value)?;
        TokenHash::of(token.value.as_bytes())
    } else if let Some(path) = table.text("token_file") {
        TokenHash::of(token_file(file, table, &path, "token_file")?.as_bytes())
    } else {
        let digits = table.text("token_blake3")?;
        let hash = TokenHash::from_hex(digits.value);
        if hash.is_none() {
            let text = "token_blake3 must be 64 hexadecimal digits, as b3sum prints them";
            table.complain(digits.line, text.into());
        }
        hash?
    };
    let line = keys
        .iter()
        .find(|key| table.has(key))
        .map_or_else(|| table.line(), |key| table.line_of(key));
    if let Some(first) = seen.tokens.insert(*hash.as_bytes(), line) {
        let text = format!(
            "this token is already another account's at line {first}: a token alone must tell \
             who connects, so give each account its own"
        );
        table.complain(line, text);
    }
    Some(hash)
}

fn dial(file: &Path, table: &Table<'_, '_>) -> Option<Dial> {
    only_one(table, &["dial_token", "dial_token_file"]);
    let told = table.text("dial_token");
    let told_file = table.text("dial_token_file");
    let Some(url) = table.text("dial") else {
        if let Some(stray) = told.as_ref().or(told_file.as_ref()) {
            table.complain(
                stray.line,
                format!("a dial token needs `dial`: add dial = {DIAL_EXAMPLE}"),
            );
        }
        return None;
    };
    let BtpUrl { endpoint, username, token: in_url } = match url.value.parse() {
        Ok(parts) => parts,
        Err(error) => {
            // The URL may hold a token: the complaint must not repeat it.
            let text = format!("`dial` is no BTP address: {error}, as in {DIAL_EXAMPLE}");
            table.complain(url.line, text);
            return None;
        }
    };
    if let Endpoint::Unix { path } = &endpoint
        && path.as_os_str().len() > UNIX_PATH_LEN_MAX
    {
        let text = format!(
            "the path in `dial` is {} bytes long, and a socket's has at most {UNIX_PATH_LEN_MAX}",
            path.as_os_str().len()
        );
        table.complain(url.line, text);
    }
    let token = match (told, told_file, in_url) {
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let text = "the token stands in `dial` and in a key of its own: keep the key";
            table.complain(url.line, text.into());
            return None;
        }
        (Some(token), _, None) => {
            check_token(table, token.line, "dial_token", token.value)?;
            DialToken::new(token.value.to_owned())
        }
        (None, Some(path), None) => {
            DialToken::new(token_file(file, table, &path, "dial_token_file")?.to_string())
        }
        (None, None, Some(token)) => DialToken::new(token),
        (None, None, None) => {
            table.complain(
                url.line,
                "`dial` needs a token: add dial_token = \"...\" or dial_token_file = \"...\""
                    .into(),
            );
            return None;
        }
    };
    Some(Dial { endpoint, username, token })
}

fn token_file(
    file: &Path,
    table: &Table<'_, '_>,
    path: &At<&str>,
    key: &str,
) -> Option<Zeroizing<String>> {
    let text = match read_at_most(&resolved(file, path.value), TOKEN_FILE_LEN_MAX) {
        Ok(text) => text,
        Err(error) => {
            let value = path.value;
            let fix = "write a path relative to this file";
            table
                .complain(path.line, format!("{key} = \"{value}\" cannot be read: {error}; {fix}"));
            return None;
        }
    };
    let token = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    check_token(table, path.line, key, &token)?;
    Some(token)
}

fn check_token(table: &Table<'_, '_>, line: usize, key: &str, token: &str) -> Option<()> {
    let right = (1..=TOKEN_LEN_MAX).contains(&token.len());
    if !right {
        let text = format!("{key} must hold 1 to {TOKEN_LEN_MAX} bytes: write a long random one");
        table.complain(line, text);
    }
    right.then_some(())
}

fn only_one(table: &Table<'_, '_>, keys: &[&'static str]) {
    let given: Vec<&str> = keys.iter().copied().filter(|key| table.has(key)).collect();
    if given.len() > 1 {
        let text = format!("{} exclude each other: keep one", given.join(" and "));
        table.complain(table.line(), text);
    }
}

fn shallow(table: &Table<'_, '_>, route: &str, line: usize, what: &str) {
    if route.split('.').count() > ROUTE_SEGMENTS_MAX {
        table.complain(line, format!("{what} must have at most {ROUTE_SEGMENTS_MAX} segments"));
    }
}

/// Whether `value` stood somewhere before, which is told. `what` is how the complaint begins.
fn twice(
    table: &Table<'_, '_>,
    seen: &mut HashMap<String, usize>,
    value: &str,
    line: usize,
    what: &str,
) -> bool {
    let first = seen.insert(value.to_owned(), line);
    if let Some(first) = first {
        table.complain(line, format!("{what} already stands at line {first}: change one"));
    }
    first.is_some()
}

fn asset(table: &Table<'_, '_>, wanted: &At<&str>, assets: &Assets) -> Option<AssetIndex> {
    let position = assets.list.iter().position(|asset| name(asset) == wanted.value);
    let index = position.and_then(|position| u16::try_from(position).ok()).map(AssetIndex);
    if index.is_none() && !assets.incomplete {
        let known: Vec<String> = assets.list.iter().map(name).collect();
        let known = if known.is_empty() {
            "add an [[assets]] for it".to_owned()
        } else {
            format!("listed are {}", known.join(", "))
        };
        table.complain(wanted.line, format!("no asset \"{}\": {known}", wanted.value));
    }
    index
}

fn name(asset: &Asset) -> String {
    format!("{}/{}", asset.code, asset.scale)
}
