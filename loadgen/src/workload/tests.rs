//! What is read from a workload file, and how each mistake in it is told.

use super::*;
use m2_codec::url::Endpoint;

use crate::schedule::{Phase, Process};
use crate::traffic::{Mix, Span};

const GOOD: &str = r#"
seed = 42
seconds = 5
rate_per_s = 20000

[traffic]
amount = [2, 1000]
data_bytes = [32, 120]
expiry_ms = [10000, 30000]
silent_expiry_ms = [2500, 4000]

[mix]
fulfilled = 900
rejected = 40
expired = 10
wrong_fulfillment = 10
unroutable = 40

[[ends]]
name = "alice"
url = "btp+ws://alice@127.0.0.1:7768/accounts/alice/ilp/btp"
token = "hush-a"
role = "send"
asset = "USD/9"

[[ends]]
name = "bob"
url = "btp+tcp://bob:hush-b@127.0.0.1:7769"
role = "receive"
asset = "XRP/6"
address = "test.m2m.bob"

[[flows]]
from = "alice"
to = "bob"
num = 5
den = 2
"#;

fn parse(text: &str) -> Result<Workload, WorkloadError> {
    Workload::parse(text, "w.toml", Overrides::default(), 1)
}

/// The error that `GOOD` gives with one piece of it replaced.
fn refused(piece: &str, by: &str) -> String {
    assert!(GOOD.contains(piece), "{piece}");
    parse(&GOOD.replacen(piece, by, 1)).expect_err(by).to_string()
}

#[test]
fn a_whole_workload_is_read() {
    let workload = parse(GOOD).unwrap();
    assert_eq!(workload.phases, [Phase::constant(20_000, 5)]);
    assert_eq!((workload.process, workload.traffic.seed), (Process::Constant, 42));
    assert_eq!(workload.schedule().count(), 100_000);
    assert_eq!(workload.traffic.mix, Mix::new([900, 40, 10, 10, 40]).unwrap());
    assert_eq!(workload.traffic.silent_expiry_ms.most(), 4_000);
    assert_eq!(workload.traffic.data_len, Span::new(&(32..=120)).unwrap());
    assert_eq!(workload.receiver(&workload.flows[0]).as_str(), "test.m2m.bob");
    assert_eq!(workload.ends[0].token.expose(), "hush-a");
    assert_eq!(workload.ends[1].token.expose(), "hush-b");
    assert_eq!(workload.flows[0].converted(3), Some(7));
    assert_eq!(workload.unroutable.as_str(), "test.m2-load-unroutable");
    assert_eq!(workload.expiry_ms_max(), 30_000);
}

/// The TOML of the page, block by block.
fn page() -> Vec<&'static str> {
    let page = include_str!("../../../docs/m2-load-workloads.md");
    page.split("```toml").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn tokens_are_read_from_files_beside_the_workload() {
    let folder = std::env::temp_dir().join(format!("m2-load-tokens-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for number in 1..=3 {
        std::fs::write(folder.join(format!("{number}.token")), format!("hush-{number}\n")).unwrap();
    }
    std::fs::write(folder.join("empty.token"), "\n").unwrap();
    let path = folder.join("w.toml");
    let load = |piece: &str, by: &str| {
        let text = format!("{GROUPS}{}", flow("sender-{n}", "receiver-{n}", ""));
        assert!(text.contains(piece), "{piece}");
        std::fs::write(&path, text.replacen(piece, by, 1)).unwrap();
        Workload::load(&path, Overrides::default(), 1)
    };
    let own = "token = \"hush-{n}\"";
    let tokens = load(own, "token_file = \"{n}.token\"").unwrap();
    assert_eq!(tokens.ends[2].token.expose(), "hush-3");
    for (by, words) in [
        ("token_file = \"absent.token\"", "it must hold the token"),
        ("token_file = \"empty.token\"", "is empty"),
        ("token_file = \"/dev/zero\"", "too long to be a token"),
        ("token_file = \"1.token\"\ntoken = \"hush\"", "leave one out"),
        ("token_file = 1", "`token_file` takes a text in quotes"),
    ] {
        let error = load(own, by).unwrap_err().to_string();
        assert!(error.contains("w.toml:8: ") && error.contains(words), "{by}: {error}");
        assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_workloads_of_the_page_can_be_run() {
    let [whole, phases, groups] = page()[..] else { panic!("three blocks") };
    let workload = parse(whole).unwrap();
    assert_eq!(workload.ends[1].destinations.as_ref().unwrap().count(), 10_000);
    let phased = whole.replace("rate_per_s = 20000", "").replace("seconds = 5", "");
    let phased = phased.replacen("[arrivals]", &format!("{phases}\n[arrivals]"), 1);
    assert_eq!(parse(&phased).unwrap().seconds(), 70);
    let grouped = parse(&format!("seconds = 1\nrate_per_s = 1\n{groups}")).unwrap();
    assert_eq!((grouped.ends.len(), grouped.flows.len()), (64, 32));
}

#[test]
fn the_command_line_wins_over_the_file_and_a_missing_seed_is_chosen() {
    let overrides = Overrides { seconds: Some(2), rate_per_s: Some(7), seed: Some(9) };
    let workload = Workload::parse(GOOD, "w.toml", overrides, 1).unwrap();
    assert_eq!((workload.phases, workload.traffic.seed), (vec![Phase::constant(7, 2)], 9));
    let unseeded = parse(&GOOD.replacen("seed = 42", "", 1)).unwrap();
    assert_eq!(unseeded.traffic.seed, 1);
}

/// `GOOD` with more tables and keys.
fn with(piece: &str, by: &str) -> Workload {
    assert!(GOOD.contains(piece), "{piece}");
    parse(&GOOD.replacen(piece, by, 1)).unwrap()
}

#[test]
fn destinations_are_spread_below_their_receivers() {
    let one = with("[mix]", "[mix]");
    assert_eq!(one.destination(&one.traffic.plan(0)), b"test.m2m.bob");
    let many = with("[mix]", "[destinations]\ncount = 100\nzipf = 1\ndepth = 6\n[mix]");
    let destinations = many.ends[1].destinations.as_ref().unwrap();
    assert_eq!((destinations.count(), destinations.at(7)), (100, &b"test.m2m.bob.net.net.07"[..]));
    assert_eq!(many.receiver(&many.flows[0]).as_str(), "test.m2m.bob");
    let mut counts = std::collections::HashMap::new();
    for plan in (0..100_000).map(|sequence| many.traffic.plan(sequence)) {
        let destination = many.destination(&plan).to_vec();
        if plan.kind == Kind::Unroutable {
            assert_eq!(destination, many.unroutable.as_bytes());
        } else {
            assert!(destinations.contains(&destination));
            *counts.entry(destination).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len(), 100);
    // One in 5.187, the sum of all 1 / k to a hundred, of the 96 % that are routable.
    let first = counts[&b"test.m2m.bob.net.net.00"[..]];
    assert!((17_900..19_100).contains(&first), "{first}");
}

#[test]
fn expiries_are_mixed_and_amounts_shaped() {
    let mix =
        "expiry_ms = [{ share = 900, ms = [5000, 5999] }, { share = 100, ms = [30000, 30000] }]";
    let workload = with("expiry_ms = [10000, 30000]", mix);
    let plans = (0..10_000).map(|sequence| workload.traffic.plan(sequence));
    let expiries: Vec<u64> =
        plans.filter(|plan| plan.kind != Kind::Expired).map(|plan| plan.expiry_ms).collect();
    assert!(expiries.iter().all(|ms| (5_000..6_000).contains(ms) || *ms == 30_000));
    let long = expiries.iter().filter(|ms| **ms == 30_000).count() * 1000 / expiries.len();
    assert!((85..115).contains(&long), "{long} per mille");

    let amount = "amount_shape = \"log\"\namount = [10, 99999]";
    let workload = with("amount = [2, 1000]", amount);
    let plans = (0..10_000).map(|sequence| workload.traffic.plan(sequence));
    let amounts: Vec<u64> = plans.map(|plan| plan.amount).collect();
    assert!(amounts.iter().all(|amount| (10..100_000).contains(amount)));
    let small = amounts.iter().filter(|amount| **amount < 100).count();
    assert!((2_300..2_700).contains(&small), "{small} of 10,000 for one size of four");
}

#[test]
fn destinations_expiries_and_shapes_that_make_no_sense_are_told() {
    let below = |keys: &str| format!("[destinations]\n{keys}\n[mix]");
    for (piece, by, words) in [
        ("[mix]", below("count = 0"), &["w.toml:13: ", "at least one for each"][..]),
        ("[mix]", below("count = 1048577"), &["w.toml:13: ", "at most 1048576"]),
        ("[mix]", below("count = 9\nzipf = -1"), &["w.toml:14: ", "from 0 (all alike) to 4"]),
        ("[mix]", below("count = 9\nzipf = nan"), &["w.toml:14: ", "from 0 (all alike) to 4"]),
        ("[mix]", below("count = 9\ndepth = 3"), &["w.toml:14: ", "'test.m2m.bob'; write 4"]),
        ("[mix]", below("count = 9\ndepth = 400"), &["w.toml:14: ", "1023", "lower depth"]),
        ("[mix]", below("count = 9\ndepth = 999999999"), &["w.toml:14: ", "lower depth"]),
        ("[mix]", below("zipf = 1"), &["w.toml:12: ", "`count` is missing"]),
        ("[mix]", below("count = 1.5"), &["w.toml:13: ", "`count` takes a whole number"]),
        ("[mix]", below("count = 1\nzipf = \"x\""), &["w.toml:14: ", "`zipf` takes a number"]),
        ("[10000, 30000]", "[{ share = 999, ms = [1, 2] }]".into(), &["w.toml:9: ", "up to 999"]),
        ("[10000, 30000]", "[{ share = 1000, ms = [2, 1] }]".into(), &["w.toml:9: ", "[2, 1]"]),
        ("[10000, 30000]", "[{ share = 1000 }]".into(), &["w.toml:9: ", "tables of share and ms"]),
        ("[10000, 30000]", "[]".into(), &["w.toml:9: ", "`expiry_ms` takes two whole"]),
        ("[2, 1000]", "[2, 9]\namount_shape = \"bell\"".into(), &["w.toml:8: ", "\"log\""]),
    ] {
        let error = refused(piece, &by);
        for word in words {
            assert!(error.contains(word) && !error.contains('\n'), "{by}: {error}");
        }
    }
}

/// Two groups, and a single end that does both.
const GROUPS: &str = r#"
seconds = 1
rate_per_s = 1000
[[ends]]
name = "sender-{n}"
count = 3
url = "btp+ws://sender-{n}@127.0.0.1:7768/accounts/sender-{n}/ilp/btp"
token = "hush-{n}"
role = "send"
[[ends]]
name = "receiver-{n}"
count = 3
url = "btp+tcp://receiver-{n}:hush{n}@127.0.0.1:7769"
role = "receive"
address = "test.m2m.receiver-{n}"
[[ends]]
name = "{n}"
url = "btp+tcp://127.0.0.1:7769"
token = "hush-{n}"
role = "both"
address = "test.m2m.both"
"#;

fn grouped(flows: &str) -> Result<Workload, WorkloadError> {
    parse(&format!("{GROUPS}{flows}"))
}

fn flow(from: &str, to: &str, keys: &str) -> String {
    format!("[[flows]]\nfrom = \"{from}\"\nto = \"{to}\"\n{keys}\n")
}

#[test]
fn a_group_is_as_many_ends_that_differ_in_their_number() {
    let workload = grouped(&flow("sender-{n}", "receiver-{n}", "")).unwrap();
    let names: Vec<&str> = workload.ends.iter().map(|end| end.name.as_str()).collect();
    let (senders, receivers) =
        (["sender-1", "sender-2", "sender-3"], ["receiver-1", "receiver-2", "receiver-3"]);
    assert_eq!(names, [&senders[..], &receivers, &["{n}"]].concat());
    let tokens: Vec<&str> = workload.ends.iter().map(|end| end.token.expose()).collect();
    assert_eq!(tokens, ["hush-1", "hush-2", "hush-3", "hush1", "hush2", "hush3", "hush-{n}"]);
    let second = &workload.ends[1];
    assert_eq!(second.url.username.as_deref(), Some("sender-2"));
    let Endpoint::Ws { path, .. } = &second.url.endpoint else { panic!("{:?}", second.url) };
    assert_eq!(path, "/accounts/sender-2/ilp/btp");
    assert_eq!(workload.receiver(&workload.flows[2]).as_str(), "test.m2m.receiver-3");
}

#[test]
fn flows_between_groups_pair_like_with_like_or_each_with_each() {
    let pairs = |flows: &str| -> Vec<(usize, usize)> {
        grouped(flows).unwrap().flows.iter().map(|flow| (flow.from, flow.to)).collect()
    };
    assert_eq!(pairs(&flow("sender-{n}", "receiver-{n}", "")), [(0, 3), (1, 4), (2, 5)]);
    let each = pairs(&flow("sender-{n}", "receiver-{n}", "each_to_each = true"));
    assert_eq!(each, [(0, 3), (0, 4), (0, 5), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)]);
    assert_eq!(pairs(&flow("sender-{n}", "{n}", "")), [(0, 6), (1, 6), (2, 6)]);
    assert_eq!(pairs(&flow("{n}", "receiver-{n}", "")), [(6, 3), (6, 4), (6, 5)]);
    assert_eq!(pairs(&flow("sender-2", "receiver-3", "")), [(1, 5)]);
    let both =
        flow("sender-{n}", "receiver-{n}", "num = 2\nweight = 3") + &flow("sender-1", "{n}", "");
    let workload = grouped(&both).unwrap();
    assert_eq!(workload.flows.iter().map(|flow| flow.num).collect::<Vec<_>>(), [2, 2, 2, 1]);
    let plans = (0..10_000).map(|sequence| workload.traffic.plan(sequence));
    let single = plans.filter(|plan| plan.flow == 3).count();
    assert!((900..1100).contains(&single), "{single} of 10,000 for one of ten");
}

#[test]
fn groups_and_flows_that_make_no_sense_are_told() {
    let pair = flow("sender-{n}", "receiver-{n}", "");
    for (piece, by, words) in [
        (
            "count = 3\nurl = \"btp+ws",
            "count = 0\nurl = \"btp+ws",
            &["w.toml:6: ", "1 to 4096"][..],
        ),
        ("count = 3\nurl = \"btp+ws", "count = 9\nurl = \"btp+ws", &["w.toml:22: ", "9 ends 'se"]),
        ("name = \"sender-{n}\"", "name = \"sender\"", &["w.toml:5: ", "two ends", "{n} in it"]),
        ("to = \"receiver-{n}\"", "to = \"receiver\"", &["w.toml:24: ", "are: sender-{n}, rec"]),
        ("to = \"receiver-{n}\"", "to = \"sender-{n}\"", &["w.toml:24: ", "only sends"]),
        ("from = \"sender-{n}\"", "from = \"receiver-{n}\"", &["w.toml:23: ", "only receives"]),
        ("role = \"receive\"", "role = \"both\"", &[]),
        ("from = \"sender-{n}\"", "each_to_each = 1\nfrom = \"sender-{n}\"", &["true or false"]),
        ("m2m.receiver-{n}", "m2m.{n}-", &[]),
        ("m2m.receiver-{n}", "m2m.receiver {n}", &["w.toml:15: ", "'test.m2m.receiver 1'"]),
        ("count = 3\nurl = \"btp+t", "count = 4096\nurl = \"btp+t", &["w.toml:1: ", "4100 ends"]),
    ] {
        let text = format!("{GROUPS}{pair}");
        assert!(text.contains(piece), "{piece}");
        let result = parse(&text.replacen(piece, by, 1));
        assert_eq!(result.is_err(), !words.is_empty(), "{by}");
        let Err(error) = result else { continue };
        for word in words {
            assert!(error.to_string().contains(word), "{word} is not in {error}");
        }
    }
    let both = GROUPS.replace("role = \"receive\"", "role = \"both\"");
    let to_itself = parse(&(both.clone() + &flow("receiver-{n}", "receiver-{n}", ""))).unwrap_err();
    assert!(to_itself.to_string().contains("each_to_each = true for a group"), "{to_itself}");
    let each = flow("receiver-{n}", "receiver-{n}", "each_to_each = true");
    assert_eq!(parse(&(both + &each)).unwrap().flows.len(), 6);
    let many = GROUPS.replace("count = 3", "count = 65")
        + &flow("sender-{n}", "receiver-{n}", "each_to_each = true");
    let error = parse(&many).unwrap_err().to_string();
    assert!(error.contains("more than 4096 flows"), "{error}");
}

/// `GOOD` with phases in place of its one rate.
fn phased(phases: &str) -> String {
    GOOD.replacen("seconds = 5\nrate_per_s = 20000\n", phases, 1)
}

const TWO_PHASES: &str = "[[phases]]\nseconds = 2\nrate_per_s = 0\nto_rate_per_s = 100\n\
                          [[phases]]\nseconds = 3\nrate_per_s = 50\n";

#[test]
fn phases_and_arrivals_are_read() {
    let text = phased(TWO_PHASES) + "[arrivals]\nprocess = \"poisson\"\n";
    let workload = parse(&text).unwrap();
    let ramp = Phase { seconds: 2, rate_per_s: 0, to_rate_per_s: 100 };
    assert_eq!(workload.phases, [ramp, Phase::constant(50, 3)]);
    assert_eq!(workload.process, Process::Poisson);
    assert_eq!((workload.seconds(), workload.rate_per_s()), (5, 50));
    assert_eq!(workload.schedule().count(), 250);
    assert_eq!(workload.at_rate(9, 1).phases, [Phase::constant(9, 1)]);
}

#[test]
fn the_command_line_takes_the_place_of_phases_if_it_names_a_rate() {
    let text = phased(TWO_PHASES);
    let given = |rate_per_s, seconds| Overrides { rate_per_s, seconds, seed: None };
    let parse = |overrides| Workload::parse(&text, "w.toml", overrides, 1);
    assert_eq!(parse(given(Some(9), None)).unwrap().phases, [Phase::constant(9, 5)]);
    assert_eq!(parse(given(Some(9), Some(1))).unwrap().phases, [Phase::constant(9, 1)]);
    let error = parse(given(None, Some(1))).unwrap_err().to_string();
    assert!(error.contains("give --rate too"), "{error}");
    let error = parse(given(Some(0), None)).unwrap_err().to_string();
    assert!(error.contains("--rate is 0"), "{error}");
}

#[test]
fn phases_that_cannot_be_run_are_told_by_line_cause_and_fix() {
    for (phases, line, words) in [
        ("seconds = 5\n[[phases]]\nseconds = 1\nrate_per_s = 1\n", 3, "one of the two ways out"),
        ("[[phases]]\nseconds = 0\nrate_per_s = 1\n", 4, "seconds is 0"),
        ("[[phases]]\nseconds = 1\nrate_per_s = 0\n", 3, "no phase has a packet"),
        ("[[phases]]\nseconds = 1\nrate_per_s = 20000001\n", 5, "from 0 (a pause) to 20000000"),
        ("[[phases]]\nseconds = 1\nrate_per_s = 1\nto_rate_per_s = 20000001\n", 6, "no run can"),
        ("[[phases]]\nseconds = 86401\nrate_per_s = 1\n", 4, "from 1 to 86400"),
        (&"[[phases]]\nseconds = 86400\nrate_per_s = 1\n".repeat(2), 3, "the sum of all seconds"),
        (&"[[phases]]\nseconds = 1\nrate_per_s = 1\n".repeat(2001), 3, "2001 phases"),
        ("[[phases]]\nseconds = 1\n", 3, "`rate_per_s` is missing"),
        ("[phases]\nseconds = 1\n", 3, "`phases` takes any number of tables"),
        ("seconds = 1\n", 1, "`rate_per_s` is missing; add one like rate_per_s = 20000, or [[ph"),
        ("arrivals = 1\n", 3, "`arrivals` takes a table"),
        ("arrivals = { process = \"burst\" }\n", 3, "`process` takes \"constant\" or"),
    ] {
        let error = parse(&phased(phases)).expect_err(phases).to_string();
        assert!(error.starts_with(&format!("w.toml:{line}: ")), "{phases}: {error}");
        assert!(error.contains(words) && !error.contains('\n'), "{phases}: {error}");
    }
}

#[test]
fn a_token_stands_in_no_debug_text() {
    let text = format!("{:?}", parse(GOOD).unwrap());
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn every_error_names_its_line() {
    for (piece, by, line) in [
        ("seconds = 5", "seconds = 0", 3),
        ("rate_per_s = 20000", "rate_per_s = 0", 4),
        ("rate_per_s = 20000", "rate_per_s = -3", 4),
        ("rate_per_s = 20000", "rate_per_s = 20000001", 4),
        ("rate_per_s = 20000", "rate_per_s = \"fast\"", 4),
        ("amount = [2, 1000]", "amount = [0, 1000]", 7),
        ("amount = [2, 1000]", "amount = [3, 2]", 7),
        ("data_bytes = [32, 120]", "data_bytes = [31, 120]", 8),
        ("data_bytes = [32, 120]", "data_bytes = [32, 32768]", 8),
        ("expiry_ms = [10000", "expiry_ms = [0", 9),
        ("expiry_ms = [10000", "repeat = 0\nexpiry_ms = [10000", 9),
        ("expiry_ms = [10000", "repeat = 1001\nexpiry_ms = [10000", 9),
        ("expiry_ms = [10000", "fulfillment = \"fix\"\nexpiry_ms = [10000", 9),
        ("silent_expiry_ms = [2500, 4000]", "silent_expiry_ms = [1, 300001]", 10),
        ("unroutable = 40", "unroutable = 41", 12),
        ("name = \"bob\"", "name = \"alice\"", 27),
        ("role = \"receive\"", "role = \"relay\"", 29),
        ("test.m2m.bob", "test..bob", 31),
        ("to = \"bob\"", "to = \"rob\"", 35),
        ("den = 2", "dem = 2", 37),
    ] {
        let error = refused(piece, by);
        assert!(error.starts_with(&format!("w.toml:{line}: ")), "{by}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn an_unknown_key_is_named_with_the_known_ones() {
    let error = refused("seconds = 5", "second = 5");
    assert!(error.contains("unknown key `second`"), "{error}");
    assert!(error.contains("`seconds`"), "{error}");
}

#[test]
fn each_refusal_says_cause_and_fix() {
    for (piece, by, cause, fix) in [
        ("rate_per_s = 20000", "rate_per_s = 0", "is 0", "from 1 to 20000000"),
        ("amount = [2", "repeat = 64\namount = [2", "its share", "a multiple of 1000"),
        ("amount = [2", "repeat = 900000000\namount = [2", "repeat is", "from 1 to 639132"),
        ("unroutable = 40", "", "add up to 960", "make it 1000"),
        ("token = \"hush-a\"", "", "'alice' has no token", "add token ="),
        ("address = \"test.m2m.bob\"", "", "has no address", "add address ="),
        ("from = \"alice\"", "from = \"bob\"", "only receives", "role = \"both\""),
        ("to = \"bob\"", "to = \"alice\"", "only sends", "role = \"both\""),
        ("num = 5", "num = 0", "at least 1", "at least 1"),
        ("den = 2", "den = 11", "with 0", "change [traffic] amount"),
        ("num = 5", "num = 18446744073709551615", "2^64 - 1", "change [traffic] amount"),
    ] {
        let error = refused(piece, by);
        assert!(error.contains(cause) && error.contains(fix), "{by}: {error}");
    }
    let twice = refused("alice@127", "alice:other@127");
    assert!(twice.contains("leave one out") && !twice.contains("hush"), "{twice}");
}

#[test]
fn more_silent_packets_than_request_ids_are_refused() {
    let text = GOOD.replace("rate_per_s = 20000", "rate_per_s = 20000000");
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains("800000 silent packets"), "{error}");
}

#[test]
fn a_missing_file_is_a_sentence() {
    let path = Path::new("/nonexistent/w.toml");
    let error = Workload::load(path, Overrides::default(), 1).unwrap_err().to_string();
    assert!(error.contains("cannot read the workload") && error.contains("--workload"));
}

#[test]
fn a_file_without_an_end_is_a_sentence() {
    let path = Path::new("/dev/zero");
    let error = Workload::load(path, Overrides::default(), 1).unwrap_err().to_string();
    assert!(error.contains("it has more than 4194304 bytes"), "{error}");
}
