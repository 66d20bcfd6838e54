//! docs/journal.md tells the truth: every field of every layout stands there with its offset and its
//! length, and every kind of record with its number.

use std::collections::BTreeMap;

use m2_journal::layout::{BatchHead, FORMAT_VERSION, SegmentHead, Slot, image, record};
use m2_journal::limits::{BATCH_BYTES_MAX, PAGE_LEN, SEGMENT_BYTES_DEFAULT};
use m2_journal::record::kind;

const PAGE: &str = include_str!("../../docs/journal.md");

/// Offset, bytes and name of a field.
type Field = (usize, usize, &'static str);

/// The fields of a layout. The lengths are what lies between offsets, so a field that is left out
/// makes the one before it too long.
macro_rules! fields {
    ($layout:ty: $($field:ident),+) => {{
        let mut fields: Vec<Field> =
            vec![$((core::mem::offset_of!($layout, $field), 0, stringify!($field))),+];
        let mut end = size_of::<$layout>();
        for field in fields.iter_mut().rev() {
            field.1 = end - field.0;
            end = field.0;
        }
        fields
    }};
}

fn layouts() -> BTreeMap<&'static str, Vec<Field>> {
    BTreeMap::from([
        (
            "SegmentHead",
            fields!(SegmentHead: hash, magic, version, stream, generation, segment, shards, reserved,
                position, money, previous),
        ),
        (
            "BatchHead",
            fields!(BatchHead: hash, magic, position, flushed, records, blocks, money, generation,
                stream, shards, reserved),
        ),
        ("Slot", fields!(Slot: hash, magic, position, generation, stream, version, reserved)),
        (
            "Pair",
            fields!(record::Pair: kind, more, durability, reserved, rate_version, amount_in,
                amount_out, decided_at_ms, condition_head, account_in, account_out, reserved_tail),
        ),
        (
            "LateFulfill",
            fields!(record::LateFulfill: kind, more, reserved, request_id, account, epoch,
                came_at_ms, fulfillment, reserved_tail),
        ),
        (
            "Limits",
            fields!(record::Limits: kind, more, reserved, account, at_ms, balance_max, payable_max,
                reserved_tail),
        ),
        (
            "Keyed",
            fields!(record::Keyed: kind, more, reserved, account, at_ms, key, amount, reserved_tail),
        ),
        ("Money", fields!(record::Money: kind, more, shards, account, at_ms, key, amount, applied)),
        (
            "SnapshotHead",
            fields!(image::SnapshotHead: hash, magic, version, shard, generation, accounts, keys,
                shards, reserved, appended),
        ),
        (
            "BaseHead",
            fields!(image::BaseHead: hash, magic, version, shards, generation, accounts, keys, ends,
                reserved, names_len, journal),
        ),
        ("End", fields!(image::End: position, hash)),
        (
            "Account",
            fields!(image::Account: account, reserved, balance_max, payable_max, balance, prepaid,
                frozen),
        ),
        (
            "Entry",
            fields!(image::Entry: shard, asset_scale, name_len, asset_code_len, reserved,
                configured_balance_max, configured_payable_max),
        ),
        ("Key", fields!(image::Key: key, amount, account, kind, reserved)),
    ])
}

/// The cells of each row of the table under a heading, but for the heads of its columns.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(heading).unwrap_or_else(|| panic!("{heading} is missing"));
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn each_field_stands_on_the_page_with_its_offset_and_length() {
    for (name, fields) in layouts() {
        let expected: Vec<_> = fields
            .iter()
            .map(|(offset, len, field)| [offset.to_string(), len.to_string(), (*field).to_owned()])
            .collect();
        let rows = rows(&format!("\n### {name}\n"));
        let told: Vec<_> = rows.iter().map(|row| row[..3].to_vec()).collect();
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn each_table_of_the_page_is_a_layout() {
    let layouts = layouts();
    for heading in PAGE.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(layouts.contains_key(heading), "{heading} is no layout");
    }
}

#[test]
fn kinds_magics_and_numbers_are_those_of_the_code() {
    let kinds = [
        (kind::PAIR, "PAIR"),
        (kind::LATE_FULFILL, "LATE_FULFILL"),
        (kind::LIMITS, "LIMITS"),
        (kind::FROZEN, "FROZEN"),
        (kind::SETTLED, "SETTLED"),
        (kind::CANCELLED, "CANCELLED"),
        (kind::CREDITED, "CREDITED"),
        (kind::REVERSED, "REVERSED"),
    ];
    let told: Vec<_> = rows("\n## Records\n").iter().map(|row| row[..2].to_vec()).collect();
    let expected = kinds.map(|(number, name)| [number.to_string(), name.to_owned()]);
    assert_eq!(told, expected);
    for (name, magic) in [
        ("SegmentHead", SegmentHead::MAGIC),
        ("BatchHead", BatchHead::MAGIC),
        ("Slot", Slot::MAGIC),
        ("SnapshotHead", image::SnapshotHead::MAGIC),
        ("BaseHead", image::BaseHead::MAGIC),
    ] {
        let rows = rows(&format!("\n### {name}\n"));
        let told = |field| rows.iter().find(|row| row[2] == field).map(|row| row[3]);
        let magic = String::from_utf8(magic.to_vec()).unwrap();
        assert_eq!(told("magic"), Some(format!("`{magic}`").as_str()), "{name}");
        assert!(told("version").is_none_or(|version| version == FORMAT_VERSION.to_string()));
    }
    assert!(PAGE.contains(&format!("It has at most {BATCH_BYTES_MAX} bytes.")));
    assert!(PAGE.contains(&format!("first page of {PAGE_LEN} bytes")));
    assert!(PAGE.contains(&format!("({} MiB unless configured)", SEGMENT_BYTES_DEFAULT >> 20)));
}
