//! Answers, as people read them.

use std::io::Write as _;

use serde_json::{Value, json};

use super::Subject;
use super::ask::ask;
use crate::output::{Failure, Table, Verdict, printable, stdout};

/// For people: tables, and what has to be looked at; and for programs.
pub(super) type Part = (Vec<Table>, Vec<String>, Value);

/// Asks for everything, and shows a part of it.
pub(super) fn shown(subject: &Subject, part: fn(&Value) -> Part) -> Result<Verdict, Failure> {
    let view = ask(&subject.socket, &json!({ "cmd": "status" }))?;
    let (tables, sentences, json) = part(&view);
    let mut out = stdout();
    if subject.json {
        writeln!(out, "{json}")?;
    } else {
        for table in tables {
            table.print(&mut out)?;
        }
        for sentence in &sentences {
            writeln!(out, "{}", printable(sentence))?;
        }
    }
    out.flush()?;
    Ok(Verdict::fine_if(sentences.is_empty()))
}

/// What a command that changes something has come to.
pub(super) fn done(subject: &Subject, answer: &Value, text: &str) -> Result<Verdict, Failure> {
    let mut out = stdout();
    if subject.json {
        writeln!(out, "{answer}")?;
    } else {
        writeln!(out, "{}", printable(text))?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn table(rows: &Value, columns: &[(&str, &str)]) -> Table {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let mut table = Table::new(&heads);
    for row in rows.as_array().map_or(&[][..], Vec::as_slice) {
        table.row(columns.iter().map(|(_, key)| text(&row[*key])).collect());
    }
    table
}

/// A value in a cell: short names of what is long.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) if text.len() == 64 => {
            text.chars().take(12).chain("..".chars()).collect()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn each<'a>(view: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    view[key].as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What somebody has to look at.
fn troubles(view: &Value) -> Vec<String> {
    let mut troubles = Vec::new();
    if view["switch_connected"] != true {
        troubles
            .push("the switch is not there: what peers pay is credited when it comes back".into());
    }
    for chain in each(view, "chains") {
        if let Some(error) = chain["error"].as_str() {
            troubles.push(format!("{} is not seen: {error}", word(chain, "name")));
        }
    }
    for account in each(view, "accounts") {
        if let Some(why) = account["paused"].as_str() {
            troubles.push(format!("{} is paused: {why}", word(account, "account")));
        }
    }
    for channel in each(view, "channels").filter(|it| it["disputed"] == true) {
        troubles.push(format!(
            "channel {} of {} is closing, and what is held is not redeemed yet: it is until {} seconds since 1970",
            word(channel, "channel"),
            word(channel, "account"),
            channel["closes_at_s"]
        ));
    }
    troubles
}

pub(super) fn status(view: &Value) -> Part {
    let accounts = table(
        &view["accounts"],
        &[
            ("account", "account"),
            ("link", "connected"),
            (">frozen", "frozen"),
            (">keys open", "keys_open"),
            (">given", "given"),
            (">settled", "settled"),
            (">left over", "left_over"),
            (">credited", "credited"),
        ],
    );
    let chains = table(
        &view["chains"],
        &[
            ("chain", "name"),
            (">latest", "latest_block"),
            (">final", "final_block"),
            (">seen ms ago", "seen_ms_ago"),
            (">gas money", "gas_money"),
        ],
    );
    let transactions = table(
        &view["transactions"],
        &[
            ("transaction on", "chain"),
            (">nonce", "nonce"),
            ("in a block", "included"),
            (">offers", "fee_most"),
        ],
    );
    let mut tables = vec![accounts, chains];
    if each(view, "transactions").next().is_some() {
        tables.push(transactions);
    }
    (tables, troubles(view), view.clone())
}

pub(super) fn channels(view: &Value) -> Part {
    let columns = [
        ("channel", "channel"),
        ("account", "account"),
        ("state", "state"),
        ("to end", "ending"),
        (">closes at", "closes_at_s"),
        ("disputed", "disputed"),
        (">our deposit", "our_deposit"),
        (">their deposit", "their_deposit"),
    ];
    (vec![table(&view["channels"], &columns)], Vec::new(), view["channels"].clone())
}

pub(super) fn claims(view: &Value) -> Part {
    let columns = [
        ("channel", "channel"),
        ("account", "account"),
        (">given", "given"),
        (">acknowledged", "acknowledged"),
        (">held", "held"),
        (">credited", "credited"),
        (">redeemed", "redeemed"),
    ];
    let json = json!({ "channels": view["channels"], "counters": view["counters"] });
    (vec![table(&view["channels"], &columns)], Vec::new(), json)
}

pub(super) fn cost(view: &Value) -> Part {
    let columns = [
        ("chain", "name"),
        (">succeeded", "succeeded"),
        (">failed", "failed"),
        (">lost", "lost"),
        (">claims redeemed", "claims_redeemed"),
        (">gas", "gas"),
        (">cost", "cost"),
    ];
    (vec![table(&view["chains"], &columns)], Vec::new(), view["chains"].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_looked_at_is_said() {
        let fine = json!({ "switch_connected": true, "chains": [{ "name": "a", "error": null }] });
        assert_eq!(troubles(&fine), Vec::<String>::new());
        let wrong = json!({
            "switch_connected": false,
            "chains": [{ "name": "eip155:1/00", "error": "no answer" }],
            "accounts": [{ "account": "bob", "paused": "a deposit is gone" }],
            "channels": [{ "channel": "ab", "account": "bob", "disputed": true, "closes_at_s": 7 },
                         { "channel": "cd", "account": "bob", "disputed": false }],
        });
        let troubles = troubles(&wrong);
        assert_eq!(troubles.len(), 4, "{troubles:?}");
        assert!(troubles[1].contains("eip155:1/00 is not seen: no answer"));
        assert!(troubles[3].contains("channel ab of bob"));
    }

    #[test]
    fn cells_are_short_and_move_no_cursor() {
        assert_eq!(text(&json!("ab".repeat(32))), "abababababab..");
        assert_eq!(text(&json!("é".repeat(32))), "é".repeat(12) + "..");
        let channels = json!([{ "channel": "\u{1b}[2J", "account": "a" }]);
        let (tables, ..) = super::channels(&json!({ "channels": channels }));
        let mut shown = Vec::new();
        tables[0].print(&mut shown).unwrap();
        assert!(!shown.contains(&0x1b), "{}", String::from_utf8_lossy(&shown));
        assert_eq!((text(&json!(null)), text(&json!(5))), ("-".into(), "5".into()));
    }
}
