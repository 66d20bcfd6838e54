//! Bytes that our code did not make, and what we say of them.
//!
//! Every case of the three files is judged. A valid case must be read to the fields that it names
//! and be written to its bytes. Valid or malformed, each is held against the verdict of each peer:
//! where we say something else than a peer, the difference must be listed with the rule of
//! `docs/protocol.md` that makes us; a difference that is not listed fails, and so does a line of the
//! list that no case needs. The counts of all outcomes are asserted, so that nothing is skipped in
//! silence.

#![expect(clippy::unwrap_used, reason = "a file that is not of the known form fails the test")]

mod btp;
mod ildcp;
mod ilp;
mod peers;

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Named fields of a packet, as the files write them.
type Fields = Map<String, Value>;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    id: String,
    kind: Kind,
    op: Option<String>,
    note: String,
    fields: Option<Fields>,
    hex: String,
    #[serde(default)]
    verdicts: BTreeMap<String, Fields>,
    warning: Option<String>,
    offsets: Option<BTreeMap<String, usize>>,
    payload_hex: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Valid,
    Malformed,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        bytes(&self.hex)
    }

    /// What each peer says; where none was asked, what the file itself says.
    fn verdicts(&self) -> BTreeMap<String, Fields> {
        if !self.verdicts.is_empty() {
            return self.verdicts.clone();
        }
        let ok = Value::Bool(self.kind == Kind::Valid);
        BTreeMap::from([("file".to_owned(), Fields::from_iter([("ok".to_owned(), ok)]))])
    }

    fn field(&self, name: &str) -> &Value {
        let fields = self.fields.as_ref().expect("a valid case names its fields");
        fields.get(name).unwrap_or_else(|| panic!("{}: no field {name}", self.id))
    }

    fn text(&self, name: &str) -> &str {
        self.field(name).as_str().unwrap_or_else(|| panic!("{}: {name} is no text", self.id))
    }

    fn number(&self, name: &str) -> u64 {
        number(self.field(name))
    }
}

fn load(text: &str) -> Vec<Case> {
    serde_json::from_str::<File>(text).expect("the file is JSON of the known form").cases
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit");
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "two digits to a byte");
    pairs.iter().map(|&[high, low]| u8::try_from(digit(high) << 4 | digit(low)).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().expect("as many bytes as the field has")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that is written as one or, above 2^53, as text.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// Whether `data` is what `fields` say: in full, or by length and hash where it is long.
fn assert_data(fields: &Fields, data: &[u8], id: &str) {
    assert_eq!(data.len() as u64, number(&fields["dataLength"]), "{id}");
    match fields.get("data") {
        Some(text) => assert_eq!(hex(data), text.as_str().unwrap(), "{id}"),
        None => {
            let hash = hex(&Sha256::digest(data));
            assert_eq!(hash, fields["dataSha256"].as_str().unwrap(), "{id}");
        }
    }
}

/// What we say of some bytes: the fields that we read, or the name of our refusal.
type Verdict = Result<Fields, String>;

fn refused(error: impl Debug) -> String {
    format!("{error:?}")
}

/// Where we say something else than a peer, and the rule that makes us.
struct Difference {
    rule: &'static str,
    /// How the peer's name begins.
    peer: &'static str,
    /// What we say: the name of the refusal, `accepted`, or `read otherwise`.
    ours: &'static str,
    which: Which,
    count: usize,
}

enum Which {
    Notes(&'static [&'static str]),
    Ids(&'static [&'static str]),
}

impl Difference {
    fn explains(&self, case: &Case, peer: &str, ours: &str) -> bool {
        peer.starts_with(self.peer)
            && ours == self.ours
            && match self.which {
                Which::Notes(notes) => notes.iter().any(|note| case.note.starts_with(note)),
                Which::Ids(ids) => ids.iter().any(|id| case.id.ends_with(id)),
            }
    }
}

/// Holds our verdict on each case against those of the peers.
///
/// `outcomes` are all that we say, with their counts.
fn judge(
    cases: &[Case],
    ours: impl Fn(&Case) -> Verdict,
    differences: &[Difference],
    outcomes: &[(&str, usize)],
) {
    let mut used = vec![0; differences.len()];
    let mut counts = BTreeMap::<String, usize>::new();
    let mut unexplained = Vec::new();
    for case in cases {
        let verdict = ours(case);
        let outcome = verdict.as_ref().map_or_else(|error| &error[..], |_| "accepted");
        *counts.entry(outcome.to_owned()).or_default() += 1;
        for (peer, theirs) in &case.verdicts() {
            let Some(difference) = difference(&verdict, outcome, theirs) else { continue };
            match differences.iter().position(|it| it.explains(case, peer, &difference)) {
                Some(index) => used[index] += 1,
                None => unexplained.push(format!(
                    "{} {:?}: {peer} says {theirs:?}, we say {difference}",
                    case.id, case.note
                )),
            }
        }
    }
    assert!(unexplained.is_empty(), "not listed:\n{}", unexplained.join("\n"));
    for (difference, used) in differences.iter().zip(used) {
        assert_eq!(used, difference.count, "{} {}", difference.rule, difference.ours);
    }
    let counts: Vec<_> = counts.iter().map(|(outcome, count)| (&outcome[..], *count)).collect();
    assert_eq!(counts, outcomes);
}

fn difference(ours: &Verdict, outcome: &str, theirs: &Fields) -> Option<String> {
    let accepted = theirs.get("ok").is_some_and(|ok| ok == true);
    match ours {
        Ok(_) if !accepted => Some("accepted".to_owned()),
        Err(_) if accepted => Some(outcome.to_owned()),
        Err(_) => None,
        Ok(ours) => {
            let same = |(name, value): (&String, &Value)| {
                theirs.get(name).is_none_or(|theirs| theirs == value)
            };
            (!ours.iter().all(same)).then(|| "read otherwise".to_owned())
        }
    }
}
