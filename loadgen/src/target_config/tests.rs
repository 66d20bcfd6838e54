//! What a workload asks of a target, and what each target is told.

use serde_json::Value;

use super::*;
use crate::named::{self, Named};
use crate::workload::Overrides;

fn named(name: &str) -> Workload {
    let named = Named::find(name).unwrap();
    Workload::parse(named.text, name, Overrides::default(), 1).unwrap()
}

fn flow(num: u64, den: u64) -> Flow {
    Flow { from: 0, to: 1, num, den }
}

fn configured(target: Target, workload: &Workload) -> Configuration {
    Configuration::new(target, workload, Path::new("folder")).unwrap()
}

/// The one file that holds no token alone.
fn text(configuration: &Configuration) -> &str {
    &configuration.files[0].text
}

#[test]
fn a_ratio_of_units_is_a_rate_of_standard_units() {
    for (num, den, from, to, expected) in [
        (1, 1, 9, 9, Some("1")),
        (1, 1000, 9, 6, Some("1")),
        (1000, 1, 6, 9, Some("1")),
        (499, 200_000, 9, 6, Some("2.495")),
        (1_996, 5, 6, 9, Some("0.3992")),
        (1, 3, 0, 0, None),
        (7, 8, 2, 0, Some("87.5")),
        (u64::MAX, 1, 19, 0, Some("184467440737095516150000000000000000000")),
        (u64::MAX, 1, 20, 0, None),
    ] {
        assert_eq!(rate(&flow(num, den), from, to).as_deref(), expected, "{num} / {den}");
    }
}

#[test]
fn every_named_workload_has_a_configuration_for_each_target() {
    for named in named::ALL {
        let workload = self::named(named.name);
        let switch = configured(Target::M2Switch, &workload);
        assert_eq!(switch.files.len(), 1 + workload.ends.len(), "{}", named.name);
        let parsed: toml::Table = text(&switch).parse().unwrap();
        assert_eq!(parsed["accounts"].as_array().unwrap().len(), workload.ends.len());
        assert_eq!(parsed["switch"]["address"].as_str(), Some("test.m2-load"));
        let connector = configured(Target::IlpConnector, &workload);
        assert!(text(&connector).starts_with("#!/bin/sh\n"));
        assert_eq!(connector.arguments, "--target btp+ws://127.0.0.1:7800+");
    }
}

#[test]
fn the_standard_workload_has_ten_thousand_routes() {
    let workload = named("standard");
    let switch = configured(Target::M2Switch, &workload);
    assert_eq!(text(&switch).matches("    \"test.m2-load.").count(), 10_016);
    assert!(text(&switch).contains("\"test.m2-load.usd-receiving-end-of-flow-1.net.312\""));
    assert_eq!(routes(&workload, &workload.ends[0]), Vec::<String>::new());
}

#[test]
fn too_many_destinations_have_one_route_for_each_receiver() {
    let text = Named::find("standard").unwrap().text.replace("count = 10000", "count = 20001");
    let workload = Workload::parse(&text, "w", Overrides::default(), 1).unwrap();
    let receiver = workload.ends.last().unwrap();
    assert_eq!(routes(&workload, receiver), ["test.m2-load.eur-receiving-end-of-flow-16"]);
}

#[test]
fn tokens_are_in_files_that_only_the_owner_reads() {
    let workload = named("smoke");
    for target in [Target::M2Switch, Target::IlpConnector] {
        for file in configured(target, &workload).files {
            let has_token = file.text.contains("public-");
            assert_eq!(
                has_token,
                file.mode & 0o077 == 0,
                "{} {:o}",
                file.path.display(),
                file.mode
            );
        }
    }
}

#[test]
fn what_the_javascript_connector_is_told_is_what_the_workload_says() {
    let workload = named("smoke");
    let configuration = configured(Target::IlpConnector, &workload);
    let of = |key: &str| {
        let line = text(&configuration).lines().find(|line| line.contains(key)).unwrap();
        line.split_once("='").unwrap().1.strip_suffix('\'').unwrap()
    };
    assert_eq!(of("CONNECTOR_ILP_ADDRESS"), "test.m2-load");
    let accounts: Value = serde_json::from_str(of("CONNECTOR_ACCOUNTS")).unwrap();
    let bob = &accounts["eur-receiver-2"];
    assert_eq!((&bob["assetCode"], &bob["assetScale"]), (&"EUR".into(), &6.into()));
    assert_eq!(bob["options"]["listener"]["wsOpts"]["port"], 7805);
    let routes: Value = serde_json::from_str(of("CONNECTOR_ROUTES")).unwrap();
    assert_eq!(routes[3]["targetPrefix"], "test.m2-load.eur-receiver-2");
    assert_eq!(routes[3]["peerId"], "eur-receiver-2");
}

#[test]
fn what_no_target_can_be_told_is_a_sentence() {
    let smoke = Named::find("smoke").unwrap().text;
    for (target, piece, by, words) in [
        (Target::M2Switch, "asset = \"USD/9\"", "asset = \"USD\"", "add asset = \"USD/9\""),
        (Target::M2Switch, "den = 1000", "den = 3", "without an end of digits"),
        (Target::M2Switch, "asset = \"EUR/6\"", "asset = \"USD/7\"", "are worth the same"),
        (Target::M2Switch, "usd-sender-{n}\"", "Usd-{n}\"", "no account of m2-switch"),
        (Target::M2Switch, "127.0.0.1", "example.test", "needs an IP address"),
        (Target::IlpConnector, "den = 1000", "den = 500", "backend one-to-one"),
    ] {
        assert!(smoke.contains(piece));
        let workload = Workload::parse(&smoke.replace(piece, by), "w", Overrides::default(), 1);
        let sentence = Configuration::new(target, &workload.unwrap(), Path::new("f")).unwrap_err();
        assert!(sentence.contains(words), "{by}: {sentence}");
    }
    let text = format!(
        "{smoke}\n[[flows]]\nfrom = \"usd-sender-1\"\nto = \"eur-receiver-2\"\nden = 500\n"
    );
    let workload = Workload::parse(&text, "w", Overrides::default(), 1).unwrap();
    let sentence = Configuration::new(Target::M2Switch, &workload, Path::new("f")).unwrap_err();
    assert!(sentence.contains("one rate for both"), "{sentence}");
}
