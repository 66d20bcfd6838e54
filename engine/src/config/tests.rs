//! The whole file: what is right is read, what is wrong is told with its line and its fix.

use m2_core::routes::ROUTE_SEGMENTS_MAX;

use super::*;
use crate::limits::UNIX_PATH_LEN_MAX;

/// As short as a file can be, but for [`LISTEN`].
const SMALLEST: &str = r#"[switch]
address = "test.m2m"
network = "test"
control_socket = "run/control.sock"
[[assets]]
code = "USD"
scale = 9
[[accounts]]
name = "alice"
relation = "child"
asset = "USD/9"
token = "alice-secret"
"#;

/// Behind every text, so that alice can connect.
const LISTEN: &str = "[[listen]]\ntransport = \"tcp\"\naddress = \"127.0.0.1:7768\"\n";

fn read(text: &str) -> Result<Config, Problems> {
    read_alone(&format!("{text}\n{LISTEN}"))
}

fn read_alone(text: &str) -> Result<Config, Problems> {
    parse(Path::new("/etc/m2/switch.toml"), text)
}

/// The complaints about [`SMALLEST`] with one line replaced, or lines added at its end.
fn complaints(line: usize, replacement: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<&str> = SMALLEST.lines().collect();
    if line == 0 {
        lines.push(replacement);
    } else {
        lines[line - 1] = replacement;
    }
    let problems = read(&lines.join("\n")).expect_err("it is wrong");
    let at = |problem: &Problem| problem.line.expect("every complaint about a text has a line");
    problems.list.into_iter().map(|problem| (at(&problem), problem.text)).collect()
}

#[track_caller]
fn one_complaint(line: usize, replacement: &str, at: usize, words: &str) {
    let all = complaints(line, replacement);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, at, "{all:?}");
    assert!(all[0].1.contains(words), "{:?} should say {words:?}", all[0].1);
}

#[test]
fn the_smallest_file_has_every_default() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(config.switch.address.as_str(), "test.m2m");
    assert_eq!(config.switch.control_socket, Path::new("/etc/m2/run/control.sock"));
    assert_eq!(
        (config.switch.expiry_margin_ms, config.switch.remaining_ms_min, config.switch.hold_ms_max),
        (1_000, 1_000, 30_000)
    );
    assert_eq!(config.switch.in_flight_slots, 1 << 20);
    assert!(!config.switch.reflect);
    assert_eq!(config.log, LogSection { format: LogFormat::Text, level: tracing::Level::INFO });
    let [alice] = &config.accounts[..] else { panic!("one account") };
    assert_eq!((alice.limits.balance_max, alice.limits.payable_max), (0, 0));
    assert_eq!(alice.limits.packet_amount_max, u64::MAX);
    assert_eq!(alice.limits.in_flight_packets_max, 4 << 20);
    assert!(alice.token == Some(TokenHash::of(b"alice-secret")));
    assert_eq!(alice.routes, ["test.m2m.alice".parse().unwrap()]);
}

#[test]
fn accounts_are_spread_over_shards_by_their_numbers_unless_told() {
    let account = |number: usize, more: &str| {
        format!(
            "[[accounts]]\nname = \"a{number}\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
             token = \"secret-{number}\"\n{more}\n"
        )
    };
    let accounts = (1..6).map(|number| account(number, if number == 4 { "shard = 2" } else { "" }));
    let text = SMALLEST.replace("[[assets]]", "shards = 3\ncores = [4, 0, 2]\n[[assets]]");
    let config = read(&(text + &accounts.collect::<String>())).unwrap();
    let shards: Vec<u16> = (0..6).map(|number| config.shard_of(AccountId(number)).0).collect();
    assert_eq!(shards, [0, 1, 2, 0, 2, 2]);
    assert_eq!(config.switch.cores, Some(vec![4, 0, 2]));
    // A share of the slots of all.
    assert_eq!(config.accounts[0].limits.in_flight_packets_max, 3 * (4 << 20) / 6);
    let config = read(SMALLEST).unwrap();
    assert_eq!((config.switch.shards, config.switch.cores.as_ref()), (1, None));
    assert_eq!(config.shard_of(AccountId(0)), ShardId(0));
}

#[test]
fn a_settlement_socket_has_a_path_of_its_own() {
    let control = "control_socket = \"run/control.sock\"\n";
    let with = |path: &str| format!("{control}settlement_socket = \"{path}\"");
    let text = SMALLEST.replace(control, &format!("{}\n", with("run/settle.sock")));
    let config = read(&text).unwrap();
    let path = config.switch.settlement_socket.as_deref();
    assert_eq!(path, Some(Path::new("/etc/m2/run/settle.sock")));
    assert!(read(SMALLEST).unwrap().switch.settlement_socket.is_none());
    one_complaint(4, &with("run/control.sock"), 5, "the control_socket at line 4 as well");
    one_complaint(4, &with(""), 5, "must name a socket");
    one_complaint(4, &with(&"x".repeat(UNIX_PATH_LEN_MAX)), 5, "a socket's has at most 107");
    let listen = "[[listen]]\ntransport = \"unix\"\npath = \"run/settle.sock\"\n";
    let problems = read(&format!("{text}{listen}")).unwrap_err();
    assert!(problems.to_string().contains("the settlement_socket at line 5 as well"), "{problems}");
}

#[test]
fn an_account_is_paid_by_itself_where_it_says_so() {
    let settle = |keys: &str| read(&format!("{SMALLEST}{keys}")).unwrap().accounts[0].settle;
    assert_eq!(settle(""), None);
    assert_eq!(settle("settle_threshold = \"7\""), Some(Settle { threshold: 7, to: 0 }));
    let keys = "settle_threshold = 18446744073709551615\nsettle_to = \"18446744073709551614\"";
    assert_eq!(settle(keys), Some(Settle { threshold: u64::MAX, to: u64::MAX - 1 }));
}

#[test]
fn a_payment_that_makes_no_sense_is_told() {
    one_complaint(0, "settle_to = 5", 13, "needs `settle_threshold`");
    one_complaint(0, "settle_threshold = 0", 13, "must be more than settle_to = 0");
    one_complaint(0, "settle_to = 5\nsettle_threshold = 5", 14, "must be more than settle_to = 5");
    one_complaint(0, "settle_threshold = -1", 13, "out of range");
    let keys = "settle_threshold = 5\ndurability = \"none\"";
    one_complaint(0, keys, 13, "alice has durability = \"none\"");
    // What Alice is paid may rest on what Bob owes.
    let bob = "settle_threshold = 5\n[[accounts]]\nname = \"bob\"\nrelation = \"child\"\n\
               asset = \"USD/9\"\ntoken = \"bob-secret\"\ndurability = \"none\"";
    one_complaint(0, bob, 13, "bob has durability = \"none\"");
}

#[test]
fn shards_that_cannot_be_meant_are_told() {
    let network = "network = \"test\"\n";
    let told = |line: &str, at, words| one_complaint(3, &format!("{network}{line}"), at, words);
    told("shards = 0", 4, "write a number from 1 to 64");
    told("shards = 65", 4, "write a number from 1 to 64");
    told("shards = 2\ncores = [1]", 5, "names 1 where there are 2 shards");
    told("shards = 2\ncores = [1, 1]", 5, "core 1 stands twice");
    told("cores = 1", 4, "must be a list of whole numbers, as in [0, 2]");
    told("cores = [-1]", 4, "each of `cores` must be a whole number from 0 to 1023");
    told("cores = [1024]", 4, "each of `cores` must be a whole number from 0 to 1023");
    one_complaint(0, "shard = 1", 13, "with shards = 1 write a number from 0 to 0");
    one_complaint(0, "shard = 64", 13, "out of range");
}

#[test]
fn the_journal_stands_beside_the_file_unless_told() {
    let journal = read(SMALLEST).unwrap().journal;
    assert_eq!(journal.path, Path::new("/etc/m2/journal"));
    assert_eq!((journal.sync_grace_ms, journal.async_ms, journal.slow_ms), (250, 10, 2_000));
    assert_eq!((journal.archive, journal.spill, journal.io), (false, None, JournalIo::Auto));
    let text = format!(
        "{}[journal]\npath = \"/var/j\"\narchive = true\nspill = \"/mnt/spill\"\n\
         sync_grace_ms = 99\nio = \"blocking\"\n",
        SMALLEST.replace("[[assets]]", "expiry_margin_ms = 100\n[[assets]]")
    );
    let journal = read(&text).unwrap().journal;
    assert_eq!(journal.path, Path::new("/var/j"));
    assert!(journal.archive && journal.spill == Some("/mnt/spill".into()));
    assert_eq!((journal.sync_grace_ms, journal.io), (99, JournalIo::Blocking));
    let short = SMALLEST.replace("[[assets]]", "expiry_margin_ms = 100\n[[assets]]");
    assert_eq!(read(&short).unwrap().journal.sync_grace_ms, 25);
}

#[test]
fn a_journal_that_cannot_be_meant_is_told() {
    let told = |text, words| one_complaint(0, text, 14, words);
    told("[journal]\nsync_grace_ms = 1000", "less than expiry_margin_ms = 1000");
    told("[journal]\npath = \"\"", "must name a folder");
    told("[journal]\nspill = \"journal/spill\"", "lies in the journal's own folder");
    told("[journal]\nio = \"mmap\"", "must be one of");
    told("[journal]\nsegment_bytes = 4096", "out of range");
}

#[test]
fn an_account_is_sync_unless_told_and_none_must_be_accepted() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(config.accounts[0].durability, Durability::Sync);
    assert!(config.refuse_loss().is_ok());
    let config = read(&format!("{SMALLEST}durability = \"async\"")).unwrap();
    assert_eq!(config.accounts[0].durability, Durability::Async);
    assert!(config.refuse_loss().is_ok());
    let config = read(&format!("{SMALLEST}durability = \"none\"")).unwrap();
    let problems = config.refuse_loss().unwrap_err();
    assert_eq!(problems.list[0].line, Some(13));
    assert!(problems.to_string().contains("--accept-loss"), "{problems}");
    one_complaint(0, "durability = \"fsync\"", 13, "must be one of \"sync\", \"async\"");
}

#[test]
fn no_token_is_printed_by_debug() {
    let config = read(SMALLEST).unwrap();
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_the_nearest_key() {
    one_complaint(0, "balence_max = 1", 13, "unknown key `balence_max` in [[accounts]]");
    one_complaint(0, "balence_max = 1", 13, "did you mean `balance_max`?");
    one_complaint(0, "[swithc]\nx = 1", 13, "did you mean `switch`?");
    one_complaint(0, "[log]\ncolour = true", 14, "known are format, level");
}

#[test]
fn every_mistake_is_told_not_only_the_first() {
    let text = SMALLEST.replace("\"test\"", "\"tset\"").replace("USD/9", "USD/8") + "x = 1\n";
    let problems = read(&text).unwrap_err();
    let lines: Vec<Option<usize>> = problems.list.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(3), Some(11), Some(13)], "{problems}");
    assert!(problems.to_string().starts_with("/etc/m2/switch.toml:3: network = \"tset\" must be"));
}

#[test]
fn a_wrong_kind_or_range_names_what_to_write() {
    one_complaint(2, "address = 7", 2, "must be a string in quotes");
    one_complaint(0, "balance_max = 1.5", 13, "must be a whole number from 0 to");
    one_complaint(0, "balance_max = \"1e3\"", 13, "from 0 to 18446744073709551615, not \"1e3\"");
    one_complaint(0, "in_flight_packets_max = true", 13, "from 1 to 4294967295, not a boolean");
    one_complaint(0, "[connection]\nping_ms = 1", 14, "write a number from 10 to 3600000");
    one_complaint(0, "routes = \"x\"", 13, "must be a list of strings");
    one_complaint(0, "packets_burst = 5", 13, "needs `packets_per_s`");
    one_complaint(0, "packets_per_s = 0", 13, "lets nothing through");
}

#[test]
fn a_number_out_of_range_is_told_with_the_range() {
    let to_u64 = "out of range: write a number from 0 to 18446744073709551615";
    for wrong in ["-1", "18446744073709551616", "\"18446744073709551616\"", "\"-1\""] {
        one_complaint(0, &format!("balance_max = {wrong}"), 13, to_u64);
    }
    one_complaint(0, "balance_max = -1", 13, "balance_max = -1 is");
    one_complaint(0, "in_flight_packets_max = 0", 13, "write a number from 1 to 4294967295");
    one_complaint(0, "[connection]\nping_ms = -5", 14, "write a number from 10 to 3600000");
}

#[test]
fn what_is_missing_is_told_with_a_line_to_add() {
    one_complaint(2, "", 1, "add address = \"test.m2m\"");
    one_complaint(7, "", 5, "[[assets]] needs `scale`: add scale = 9");
    one_complaint(12, "", 8, "can never connect: add token");
    one_complaint(10, "", 8, "add relation = \"child\"");
}

#[test]
fn text_that_is_not_toml_is_told_by_its_line() {
    one_complaint(3, "network = ", 3, "not TOML");
}

#[test]
fn amounts_beyond_the_integers_of_toml_may_be_strings() {
    let text = SMALLEST.to_owned()
        + "balance_max = \"18446744073709551615\"\npayable_max = 9223372036854775807\n";
    let config = read(&text).unwrap();
    assert_eq!(config.accounts[0].limits.balance_max, u64::MAX);
    assert_eq!(config.accounts[0].limits.payable_max, (1 << 63) - 1);
}

#[test]
fn addresses_and_routes_fit_the_network() {
    one_complaint(2, "address = \"test.\"", 2, "as in \"test.m2m\"");
    let all = complaints(2, "address = \"g.m2m\"");
    assert!(all[0].1.contains("starts with test."), "{all:?}");
    one_complaint(0, "routes = [\"g.far\"]", 13, "is never used");
    one_complaint(0, "routes = [\"test.a\", \"test.a\"]", 13, "already stands at line 13");
    let deep = format!("routes = [\"test{}\"]", ".a".repeat(40));
    one_complaint(0, &deep, 13, &format!("at most {ROUTE_SEGMENTS_MAX} segments"));
    // So it is for the route that a child has by default, or no route table can be built.
    let own = format!("address = \"test{}\"", ".a".repeat(ROUTE_SEGMENTS_MAX - 1));
    one_complaint(2, &own, 8, &format!("at most {ROUTE_SEGMENTS_MAX} segments"));
    let own = format!("address = \"test.{}\"", "a".repeat(1_015));
    one_complaint(2, &own, 8, "the address that this child is told");
}

#[test]
fn rates_are_exact_and_those_that_cannot_be_used_are_told() {
    let with = |rate: &str| {
        let lines =
            "[[assets]]\ncode = \"XRP\"\nscale = 6\n[[rates]]\nfrom = \"USD/9\"\nto = \"XRP/6\"";
        format!("{SMALLEST}{lines}\nrate = {rate}\n")
    };
    let config = read(&with("\"2.5\"\nspread_ppm = 100")).unwrap();
    let rate = &config.rates[0];
    assert_eq!((rate.num, rate.den, rate.spread_ppm), (5, 2, 100));
    assert_eq!((rate.from, rate.to), (AssetIndex(0), AssetIndex(1)));
    for (wrong, words) in [
        ("2.5", "must be a string in quotes, not a float"),
        ("\"2,5\"", "must be digits with at most one point"),
        ("\"0\"", "must be above zero"),
        ("\"0.00000000000000000001\"", "too many digits"),
    ] {
        let problems = read(&with(wrong)).unwrap_err();
        assert_eq!(problems.list[0].line, Some(19), "{problems}");
        assert!(problems.to_string().contains(words), "{problems}");
    }
    let twice = with("\"1\"\n[[rates]]\nfrom = \"USD/9\"\nto = \"XRP/6\"\nrate = \"2\"");
    let problems = read(&twice).unwrap_err();
    assert_eq!(problems.list[0].line, Some(20), "{problems}");
}

#[test]
fn a_rate_that_the_core_cannot_use_is_told_with_its_line_and_why() {
    use m2_core::rates::RateError;
    let assets = "[[assets]]\ncode = \"USD\"\nscale = 6\n[[assets]]\ncode = \"XRP\"\nscale = 6\n";
    let with = |to: &str, rate: &str| {
        let rate = format!("[[rates]]\nfrom = \"USD/9\"\nto = \"{to}\"\nrate = \"{rate}\"\n");
        format!("{SMALLEST}{assets}{rate}")
    };
    for (to, rate, error) in [
        ("USD/6", "1.01", RateError::SameCode),
        ("USD/9", "2", RateError::SameCode),
        ("XRP/6", "0.3333333333333333333", RateError::DoesNotFit),
    ] {
        let problems = read(&with(to, rate)).unwrap_err();
        let [problem] = &problems.list[..] else { panic!("{problems}") };
        assert_eq!(problem.line, Some(19), "{problems}");
        let words = format!("the rate from USD/9 to {to} {error}");
        assert!(problem.text.starts_with(&words), "{problems}");
    }
    assert!(read(&with("USD/6", "1.00\"\nspread_ppm = 50 #\"")).is_ok());
}

#[test]
fn what_a_child_is_told_by_ildcp_can_be_told() {
    one_complaint(6, &format!("code = \"{}\"", "U".repeat(33)), 6, "more than 32 bytes");
    let long = format!("test.{}", "a".repeat(1_013));
    let told = "is none: the address has more than 1023 bytes";
    one_complaint(2, &format!("address = \"{long}\""), 8, told);
    let lines = SMALLEST.replace("test.m2m", &long) + "routes = [\"test.alice\"]\n";
    let problems = read(&lines).unwrap_err();
    let [problem] = &problems.list[..] else { panic!("{problems}") };
    assert!(problem.text.contains(told), "{problems}");
}

#[test]
fn no_packet_may_be_larger_than_what_may_pass_at_once() {
    let config = read(&format!("{SMALLEST}amount_per_s = 10\namount_burst = 50\n")).unwrap();
    assert_eq!(config.accounts[0].limits.packet_amount_max, 50);
    let keys = "amount_per_s = 10\npacket_amount_max = 11";
    one_complaint(0, keys, 14, "more than the 10 that may pass at once");
}

/// What the documentation promises of rates.
#[test]
fn a_rate_fits_where_its_digits_spread_and_scales_are_19_together() {
    let mut count = 0;
    for (spread_ppm, spread_digits) in [(0, 0), (1, 6)] {
        for digits in 1..=19 - spread_digits {
            let rest = u8::try_from(19 - spread_digits - digits).unwrap();
            for (whole, scales) in
                (1..=digits).flat_map(|whole| [(whole, [rest, 0]), (whole, [0, rest])])
            {
                let text = format!("{}.{}", "9".repeat(whole), "7".repeat(digits - whole) + "0");
                let (num, den) = decimal::ratio(&text).unwrap();
                let assets = [("USD", scales[0]), ("XRP", scales[1])]
                    .map(|(code, scale)| Asset { code: code.into(), scale });
                let (from, to) = (AssetIndex(0), AssetIndex(1));
                let entry = RateEntry { from, to, num, den, spread_ppm };
                assert!(m2_core::Rates::build(1, &assets, &[entry]).is_ok(), "{text} {scales:?}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 19 * 20 + 13 * 14);
}

#[test]
fn every_example_of_the_documentation_is_right() {
    let document = include_str!("../../../docs/configuration.md");
    let examples: Vec<&str> = document.split("```toml\n").skip(1).collect();
    for example in &examples {
        let (text, _) = example.split_once("```").unwrap();
        let text = text.replace("token_file = \"", "token = \"");
        read_alone(&text).unwrap_or_else(|problems| panic!("{problems}"));
    }
    assert!(!examples.is_empty());
}

#[test]
fn two_accounts_share_no_name_token_route_or_segment() {
    let second =
        |changes: &str| format!("[[accounts]]\nrelation = \"peer\"\nasset = \"USD/9\"\n{changes}");
    one_complaint(0, &second("name = \"alice\"\ntoken = \"b\""), 16, "already stands at line 9");
    one_complaint(0, &second("name = \"bob\"\ntoken = \"alice-secret\""), 17, "another account's");
    let route = second("name = \"bob\"\ntoken = \"b\"\nroutes = [\"test.m2m.alice\"]");
    one_complaint(0, &route, 18, "already stands at line 8");
    let segment =
        second("name = \"bob\"\ntoken = \"b\"\nildcp_segment = \"alice\"").replace("peer", "child");
    one_complaint(0, &segment, 18, "the ildcp_segment \"alice\" already stands at line 8");
}

#[test]
fn one_mistake_gets_one_complaint() {
    let child = |name: &str| {
        let lines = "relation = \"child\"\nasset = \"USD/9\"\ntoken = \"other\"";
        format!("[[accounts]]\nname = \"{name}\"\n{lines}")
    };
    // Neither its ildcp_segment nor its route was ever written.
    one_complaint(0, &child("alice"), 14, "the name \"alice\" already stands at line 9");
    one_complaint(0, &child("Alice!"), 14, "must be 1 to 64");
    let twice = format!("{}\n{}", child("Al ice"), child("Al ice").replace("other", "third"));
    assert_eq!(complaints(0, &twice).len(), 2);
    let defaulted = format!("ildcp_segment = \"bob\"\n{}", child("bob"));
    one_complaint(
        0,
        &defaulted,
        14,
        "the ildcp_segment \"bob\", as it is its name, already stands",
    );
    // What an asset that is itself wrong would have been called, nobody knows.
    one_complaint(7, "scale = -9", 7, "write a number from 0 to 19");
    one_complaint(7, "", 5, "[[assets]] needs `scale`");
    one_complaint(6, "code = 7", 6, "must be a string in quotes");
    one_complaint(6, "code = \"U/D\"", 6, "must be a word without a slash");
}

#[test]
fn a_name_is_one_segment_of_a_url_path() {
    for name in ["", "Alice", "a b", "a/b", "a.b", &"a".repeat(65)] {
        let all = complaints(9, &format!("name = \"{name}\""));
        assert!(
            all.iter().any(|(line, text)| *line == 9 && text.contains("must be 1 to 64")),
            "{all:?}"
        );
    }
}

#[test]
fn listeners_name_an_address_or_a_path_as_their_transport_needs() {
    one_complaint(0, "[[listen]]\ntransport = \"ws\"", 13, "add address = ");
    one_complaint(0, "[[listen]]\ntransport = \"unix\"", 13, "add path = ");
    one_complaint(
        0,
        "[[listen]]\ntransport = \"ws\"\naddress = \"localhost:1\"",
        15,
        "an IP address and a port",
    );
    let twice = "[[listen]]\ntransport = \"tcp\"\naddress = \"[::1]:7\"\n".repeat(2);
    one_complaint(0, &twice, 18, "already listened on at line 15");
    let free = "[[listen]]\ntransport = \"tcp\"\naddress = \"[::1]:0\"\n".repeat(2);
    assert_eq!(read(&(SMALLEST.to_owned() + &free)).unwrap().listen.len(), 3);
}

#[test]
fn accounts_that_wait_for_their_peer_need_a_listener() {
    let alone = |text: &str| read_alone(text).map_err(|problems| problems.to_string());
    let nobody = alone(SMALLEST).unwrap_err();
    let words = "/etc/m2/switch.toml:8: alice can never connect: it has a token and no `dial`, \
                 and there is no [[listen]]";
    assert!(nobody.starts_with(words), "{nobody}");
    assert_eq!(alone(&format!("listen = []\n{SMALLEST}")).unwrap_err().lines().count(), 1);
    // One complaint for all of them, and none where a listener is only written wrongly.
    let bob =
        "[[accounts]]\nname = \"bob\"\nrelation = \"peer\"\nasset = \"USD/9\"\ntoken = \"b\"\n";
    assert_eq!(alone(&format!("{SMALLEST}{bob}")).unwrap_err().lines().count(), 1);
    let wrong = alone(&format!("{SMALLEST}[[listen]]\ntransport = \"wss\"\n")).unwrap_err();
    assert!(wrong.lines().count() == 1 && wrong.contains("must be one of"), "{wrong}");
    let dial = "dial = \"btp+tcp://us:token@example.org:1\"\n";
    assert!(alone(&format!("{SMALLEST}{dial}")).is_ok());
}

#[test]
fn no_two_sockets_share_a_path() {
    let unix = |path: &str| format!("[[listen]]\ntransport = \"unix\"\npath = \"{path}\"\n");
    one_complaint(0, &unix("run/control.sock"), 15, "is the control_socket at line 4 as well");
    one_complaint(0, &unix("./run//control.sock"), 15, "is the control_socket");
    one_complaint(0, &unix("/etc/m2/run/control.sock"), 15, "is the control_socket");
    one_complaint(0, &unix("x.sock").repeat(2), 18, "already listened on at line 15");
    one_complaint(0, &unix(""), 15, "must name a socket");
}

#[test]
fn a_socket_path_longer_than_the_kernel_takes_is_told_with_the_limit() {
    let room = UNIX_PATH_LEN_MAX - "/etc/m2/".len();
    let unix = |path: &str| format!("[[listen]]\ntransport = \"unix\"\npath = \"{path}\"\n");
    assert!(read(&format!("{SMALLEST}{}", unix(&"a".repeat(room)))).is_ok());
    let long = "a".repeat(room + 1);
    one_complaint(0, &unix(&long), 15, "is 108 bytes long, and a socket's has at most 107");
    one_complaint(4, &format!("control_socket = \"{long}\""), 4, "has at most 107: write");
    let dial = format!("dial = \"btp+unix://us:token@/{}\"", "a".repeat(107));
    one_complaint(0, &dial, 13, "at most 107");
}

#[test]
fn the_limit_of_a_socket_path_is_the_kernels() {
    use std::os::unix::net::SocketAddr;
    assert!(SocketAddr::from_pathname("a".repeat(UNIX_PATH_LEN_MAX)).is_ok());
    assert!(SocketAddr::from_pathname("a".repeat(UNIX_PATH_LEN_MAX + 1)).is_err());
}

#[test]
fn a_dialled_peer_needs_an_address_and_one_token() {
    let dial = |lines: &str| format!("{SMALLEST}{lines}\n");
    let right = dial("dial = \"btp+ws://us@example.org:7768/btp\"\ndial_token = \"s3cret\"");
    let account = read(&right).unwrap().accounts.remove(0);
    let dialled = account.dial.unwrap();
    assert_eq!(dialled.username.as_deref(), Some("us"));
    assert_eq!(dialled.token.expose(), "s3cret");
    assert!(!format!("{dialled:?}").contains("s3cret"));
    let in_url = dial("dial = \"btp+tcp://us:s3cret@example.org:7768\"");
    assert_eq!(read(&in_url).unwrap().accounts[0].dial.as_ref().unwrap().token.expose(), "s3cret");

    one_complaint(0, "dial = \"btp+tcp://us@example.org:1\"", 13, "add dial_token");
    one_complaint(0, "dial_token = \"x\"", 13, "a dial token needs `dial`");
    one_complaint(0, "dial = \"btp+tcp://u:s3@h:1\"\ndial_token = \"x\"", 13, "keep the key");
    let wrong = complaints(0, "dial = \"http://us:s3cret@example.org/\"");
    assert!(wrong[0].1.contains("no BTP address") && !wrong[0].1.contains("s3cret"), "{wrong:?}");
    one_complaint(0, "token_file = \"nowhere\"", 8, "exclude each other");
    let missing = complaints(12, "token_file = \"nowhere\"");
    assert!(missing[0].1.contains("cannot be read"), "{missing:?}");
}

#[test]
fn a_file_without_an_end_is_a_complaint() {
    let endless = complaints(12, "token_file = \"/dev/zero\"");
    assert!(endless[0].1.contains("must hold 1 to 4096 bytes"), "{endless:?}");
    let problems = load(Path::new("/dev/zero")).unwrap_err();
    assert!(problems.list[0].text.contains("is longer than"), "{problems:?}");
}

#[test]
fn every_key_is_documented() {
    // Every key of every table, out of the complaint about one that is not known.
    let tables = "[switch]\nzzzzzzzzzz = 1\n[log]\nzzzzzzzzzz = 1\n[connection]\nzzzzzzzzzz = 1\n\
        [routes]\nzzzzzzzzzz = 1\n        [[listen]]\nzzzzzzzzzz = 1\ntransport = \"ws\"\n[[assets]]\nzzzzzzzzzz = 1\n\
        [[rates]]\nzzzzzzzzzz = 1\n[[accounts]]\nzzzzzzzzzz = 1\nzzzz = 1\n";
    let document = include_str!("../../../docs/configuration.md");
    let problems = read(tables).unwrap_err();
    let mut count = 0;
    for problem in &problems.list {
        let Some((_, keys)) = problem.text.split_once("known are ") else { continue };
        for key in keys.split(", ") {
            count += 1;
            assert!(document.contains(&format!("`{key}`")), "docs/configuration.md lacks `{key}`");
        }
    }
    assert!(count > 50, "{count}");
}
