//! Which number each account has: the one it had when the journal first saw it, for good.
//!
//! Records name accounts by number. So an account of the configuration takes the number under which
//! the journal knows its name, a new one the next that was never used, and one that the configuration
//! no longer has stays as it is owed, without link, route or credit.
//!
//! Invariant: after this, an account's id is its position in [`Config::accounts`], as everywhere.

use m2_core::{Asset, AssetIndex, Durability, Limits, Relation};

use crate::config::{Account, Config, Problem, Problems};

/// An account as the journal knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) asset: Asset,
}

/// Puts the accounts of a configuration in the order of their numbers, those that the journal alone
/// knows among them.
///
/// # Errors
///
/// A complaint for each account whose asset is another than it was: what it owed is no amount of that.
pub(crate) fn adopt(config: &mut Config, known: &[Known]) -> Result<(), Problems> {
    let mut configured: Vec<Option<Account>> =
        core::mem::take(&mut config.accounts).into_iter().map(Some).collect();
    let mut problems = Vec::new();
    for known in known {
        let same =
            |account: &Option<Account>| account.as_ref().is_some_and(|it| it.name == known.name);
        let found = configured.iter_mut().find(|account| same(account)).and_then(Option::take);
        let account = match found {
            Some(account) => {
                let asset = &config.assets[usize::from(account.asset.0)];
                if *asset != known.asset {
                    problems.push(other_asset(&account, asset, &known.asset));
                }
                account
            }
            None => dormant(known, asset_index(&mut config.assets, &known.asset)),
        };
        config.accounts.push(account);
    }
    config.accounts.extend(configured.into_iter().flatten());
    if problems.is_empty() {
        return Ok(());
    }
    Err(Problems { file: config.file.clone(), list: problems })
}

fn other_asset(account: &Account, now: &Asset, before: &Asset) -> Problem {
    let text = format!(
        "account {} is in {}/{} in the journal, and in {}/{} here: what it owes is no amount of that. \
         Give the account another name",
        account.name, before.code, before.scale, now.code, now.scale
    );
    Problem { line: Some(account.line), text }
}

/// The position of an asset, which is listed if it is not.
fn asset_index(assets: &mut Vec<Asset>, wanted: &Asset) -> AssetIndex {
    let position = assets.iter().position(|asset| asset == wanted).unwrap_or_else(|| {
        assets.push(wanted.clone());
        assets.len() - 1
    });
    AssetIndex(u16::try_from(position).expect("assets are numbered by u16"))
}

/// An account that the configuration no longer has.
fn dormant(known: &Known, asset: AssetIndex) -> Account {
    Account {
        name: known.name.clone(),
        relation: Relation::Peer,
        asset,
        token: None,
        dial: None,
        limits: Limits {
            balance_max: 0,
            payable_max: 0,
            packet_amount_max: 0,
            packets: None,
            amount: None,
            in_flight_packets_max: 0,
            in_flight_value_max: None,
        },
        settle: None,
        shard: None,
        durability: Durability::Sync,
        line: 1,
        dormant: true,
        ildcp_segment: known.name.clone(),
        routes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[&str]) -> Config {
        let account = |name: &&str| {
            format!(
                "[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
                 dial = \"btp+ws://:x@h/{name}\"\n"
            )
        };
        let accounts: String = names.iter().map(account).collect();
        let text = format!(
            "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
             [[assets]]\ncode = \"USD\"\nscale = 9\n{accounts}"
        );
        crate::config::parse(std::path::Path::new("/m2/switch.toml"), &text).unwrap()
    }

    fn known(name: &str, scale: u8) -> Known {
        Known { name: name.into(), asset: Asset { code: "USD".into(), scale } }
    }

    #[test]
    fn numbers_stay_whatever_the_order_of_the_file() {
        let mut config = config(&["carol", "alice", "dave"]);
        adopt(&mut config, &[known("alice", 9), known("bob", 6), known("carol", 9)]).unwrap();
        let names: Vec<_> = config.accounts.iter().map(|it| (&*it.name, it.dormant)).collect();
        assert_eq!(names, [("alice", false), ("bob", true), ("carol", false), ("dave", false)]);
        let bob = &config.accounts[1];
        assert_eq!(config.assets[usize::from(bob.asset.0)].scale, 6);
        assert!(bob.routes.is_empty() && bob.token.is_none() && bob.dial.is_none());
        assert_eq!((bob.limits.balance_max, bob.limits.in_flight_packets_max), (0, 0));
    }

    #[test]
    fn an_account_in_another_asset_is_refused() {
        let problems = adopt(&mut config(&["alice"]), &[known("alice", 6)]).unwrap_err();
        let text = problems.to_string();
        assert!(text.contains("alice is in USD/6 in the journal, and in USD/9 here"), "{text}");
    }
}
