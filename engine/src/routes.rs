//! All routes of a switch as one table: those of its accounts, and those of the route file.
//!
//! ```text
//!   # the bank                      a comment goes on to the end of its line
//!   test.bank          alice        a prefix, and the name of the account that it leads to
//!   test.bank.branch7  bob
//! ```
//!
//! A million lines are read in about a second, so a running switch reads them on a thread of its own
//! (`control/routes.rs`). They are counted first, so that the table is made once at its size, and read
//! one by one: beside the table nothing of them is kept.
//!
//! Invariant: a table has every route or is not made: each complaint names file and line.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _};
use std::path::Path;

use m2_codec::address::Prefix;
use m2_core::routes::{Builder, ROUTE_SEGMENTS_MAX, RouteError};
use m2_core::{AccountId, Routes};

use crate::assemble::random;
use crate::config::{Config, Problem, Problems, escaped, network_word, schemes};
use crate::limits::{ROUTE_FILE_LEN_MAX, ROUTE_LINE_LEN_MAX, ROUTE_LINES_MAX, ROUTE_PROBLEMS_MAX};

/// The routes that a configuration and its route file state.
///
/// # Errors
///
/// What is wrong with the route file, each complaint with its line and its fix. There is none where
/// there is no route file.
///
/// # Panics
///
/// If the configuration did not come out of [`crate::config::parse`].
pub fn load(config: &Config) -> Result<Routes, Problems> {
    let own = config.accounts.iter().map(|account| account.routes.len()).sum::<usize>();
    let Some(path) = &config.routes.file else { return Ok(with_own(config, own).finish()) };
    let unread = |error: io::Error| {
        let fix = "write another path, or put the file there";
        problems(
            path,
            vec![Problem { line: None, text: format!("cannot be read: {error}: {fix}") }],
        )
    };
    let (file, line_count) = open(path).map_err(unread)?;
    if line_count > ROUTE_LINES_MAX {
        let text = format!("has more than the {ROUTE_LINES_MAX} lines that are read");
        return Err(problems(path, vec![Problem { line: None, text }]));
    }
    let mut reader = Reader {
        config,
        path,
        accounts: accounts(config),
        builder: with_own(config, own + line_count),
        list: Vec::new(),
    };
    each_line(file, |number, line| reader.take_line(number, line)).map_err(unread)?;
    if reader.list.is_empty() {
        Ok(reader.builder.finish())
    } else {
        Err(problems(path, reader.list))
    }
}

fn problems(path: &Path, list: Vec<Problem>) -> Problems {
    Problems { file: path.to_owned(), list }
}

/// A table for so many routes with those that stand with the accounts.
fn with_own(config: &Config, count: usize) -> Builder {
    let mut builder = Builder::new(random(), count);
    for (id, account) in (0_u32..).map(AccountId).zip(&config.accounts) {
        for prefix in &account.routes {
            builder.insert(prefix, id).expect("routes were checked with the file");
        }
    }
    builder
}

/// The accounts that a route may lead to. One that only the journal knows has none.
fn accounts(config: &Config) -> HashMap<&str, AccountId> {
    let numbered = (0_u32..).map(AccountId).zip(&config.accounts);
    let present = numbered.filter(|(_, account)| !account.dormant);
    present.map(|(id, account)| (&*account.name, id)).collect()
}

/// A route file that can be read from its beginning, and how many lines it has.
fn open(path: &Path) -> io::Result<(File, usize)> {
    // Asked before it is opened: opening a pipe waits until somebody writes to it.
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if about.len() > ROUTE_FILE_LEN_MAX {
        let text = format!("it is longer than the {ROUTE_FILE_LEN_MAX} bytes that are read");
        return Err(io::Error::other(text));
    }
    let mut file = File::open(path)?;
    let mut reader = BufReader::new(Read::take(&file, ROUTE_FILE_LEN_MAX));
    let mut breaks = 0;
    loop {
        let bytes = reader.fill_buf()?;
        let len = bytes.len();
        if len == 0 {
            break;
        }
        breaks += bytes.iter().filter(|&&byte| byte == b'\n').count();
        reader.consume(len);
    }
    file.rewind()?;
    Ok((file, breaks + 1))
}

/// Gives each line with its number, from 1, until `take` says that it has seen enough. A line that
/// is too long is given so far as to show it.
fn each_line(file: File, mut take: impl FnMut(usize, &[u8]) -> bool) -> io::Result<()> {
    let mut reader = BufReader::new(file.take(ROUTE_FILE_LEN_MAX));
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = ROUTE_LINE_LEN_MAX as u64 + 1;
        let len = reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if len == 0 || !take(number, &line) {
            break;
        }
    }
    Ok(())
}

/// What is known while the file is read.
struct Reader<'a> {
    config: &'a Config,
    path: &'a Path,
    accounts: HashMap<&'a str, AccountId>,
    builder: Builder,
    list: Vec<Problem>,
}

impl Reader<'_> {
    /// Takes a line; `false` if there are complaints enough, or what follows makes no sense.
    fn take_line(&mut self, number: usize, line: &[u8]) -> bool {
        let is_short = line.len() <= ROUTE_LINE_LEN_MAX;
        let taken = if is_short {
            self.route(number, line)
        } else {
            Err(format!(
                "the line has more than {ROUTE_LINE_LEN_MAX} bytes: write one route a line"
            ))
        };
        if let Err(text) = taken {
            self.list.push(Problem { line: Some(number), text: escaped(text) });
        }
        if self.list.len() == ROUTE_PROBLEMS_MAX {
            let text = format!("there may be more: only {ROUTE_PROBLEMS_MAX} complaints are told");
            self.list.push(Problem { line: None, text });
        }
        is_short && self.list.len() < ROUTE_PROBLEMS_MAX
    }

    fn route(&mut self, number: usize, line: &[u8]) -> Result<(), String> {
        let Some((prefix, name)) = words(line)? else { return Ok(()) };
        let route: Prefix = prefix.parse().map_err(|error| {
            let example = "write an address or a scheme, as in \"test.m2m.alice\" or \"g\"";
            format!("the route {prefix:?} {error}: {example}")
        })?;
        let network = self.config.switch.network;
        if !network.serves(route.scheme()) {
            return Err(format!(
                "the route \"{prefix}\" is never used: with network = \"{}\" it starts with {}",
                network_word(network),
                schemes(network)
            ));
        }
        let account = *self.accounts.get(name).ok_or_else(|| {
            format!(
                "there is no account {name:?}: write one of [[accounts]], or add it there and start \
                 the switch anew"
            )
        })?;
        self.builder.insert(&route, account).map_err(|error| match error {
            RouteError::TooDeep => {
                format!("the route \"{prefix}\" must have at most {ROUTE_SEGMENTS_MAX} segments")
            }
            RouteError::Duplicate => self.stands_already(number, prefix),
        })
    }

    /// The complaint about a route that is there. Where is looked up only now: no line is kept.
    fn stands_already(&self, number: usize, prefix: &str) -> String {
        let is_it = |line: &[u8]| matches!(words(line), Ok(Some((other, _))) if other == prefix);
        let mut first = None;
        let found = File::open(self.path).and_then(|file| {
            each_line(file, |at, line| {
                first = (at < number && is_it(line)).then_some(at);
                first.is_none() && at < number
            })
        });
        match (found, first) {
            (Ok(()), Some(first)) => {
                format!("the route \"{prefix}\" already stands at line {first}: change one")
            }
            _ => format!(
                "the route \"{prefix}\" is one of an account in {} already: remove one",
                self.config.file.display()
            ),
        }
    }
}

/// Prefix and name of a line; `None` if it has neither.
fn words(line: &[u8]) -> Result<Option<(&str, &str)>, String> {
    const WANTED: &str =
        "write a prefix and the name of an account, as in \"test.m2m.alice alice\"";
    let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    let line = core::str::from_utf8(line).map_err(|_| format!("the line is no text: {WANTED}"))?;
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(None),
        (Some(prefix), Some(name), None) => Ok(Some((prefix, name))),
        _ => Err(format!("the line is no route: {WANTED}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route file in a folder of its own, and the configuration of a switch that has it.
    struct Case(std::path::PathBuf);

    impl Case {
        fn new(name: &str, lines: &[u8]) -> Self {
            let name = format!("m2-routes-test-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("routes.txt"), lines).unwrap();
            Self(folder)
        }

        fn config(&self) -> Config {
            let text = "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
                [routes]\nfile = \"routes.txt\"\n\
                [[listen]]\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n\
                [[assets]]\ncode = \"USD\"\nscale = 9\n\
                [[accounts]]\nname = \"alice\"\nrelation = \"child\"\nasset = \"USD/9\"\ntoken = \"a\"\n\
                [[accounts]]\nname = \"bob\"\nrelation = \"peer\"\nasset = \"USD/9\"\ntoken = \"b\"\n";
            crate::config::parse(&self.0.join("switch.toml"), text).unwrap()
        }

        fn load(&self) -> Result<Routes, Problems> {
            load(&self.config())
        }
    }

    impl Drop for Case {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_are_routes_beside_those_of_the_accounts() {
        let lines = b"# all of them\n\ntest.far bob\n  test.far.near\talice # back\r\ntest1 bob";
        let routes = Case::new("right", lines).load().unwrap();
        let hop = |address: &str| routes.next_hop(address.as_bytes()).map(|account| account.0);
        assert_eq!(routes.count(), 4);
        assert_eq!(hop("test.far.x"), Some(1));
        assert_eq!(hop("test.far.near.x"), Some(0));
        assert_eq!(hop("test1.x"), Some(1));
        assert_eq!(hop("test.m2m.alice.x"), Some(0), "what IL-DCP tells a child");
        assert_eq!(hop("test.m2m.bob"), None);
    }

    /// What is wrong with one line below a good one.
    #[track_caller]
    fn complaint(name: &str, line: &[u8]) -> String {
        let case = Case::new(name, &[b"test.far bob\n", line, b"\ntest.farther bob\n"].concat());
        let problems = case.load().unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert_eq!(problems.list[0].line, Some(2));
        assert!(problems.to_string().contains("routes.txt:2: "), "{problems}");
        problems.list[0].text.clone()
    }

    #[test]
    fn each_complaint_has_its_line_and_its_fix() {
        let told = |name: &str, line: &[u8], words: &str| {
            let text = complaint(name, line);
            assert!(text.contains(words), "{text}");
        };
        told("one", b"test.bob", "the line is no route: write a prefix and the name of an account");
        told("three", b"test.bob bob x", "the line is no route");
        told("text", b"test.b\xffb bob", "the line is no text");
        told("none", b"test..bob bob", "write an address or a scheme");
        told("scheme", b"g.bob bob", "is never used: with network = \"test\" it starts with test.");
        told("who", b"test.x carol", "there is no account \"carol\": write one of [[accounts]]");
        told(
            "twice",
            b"test.far alice",
            "the route \"test.far\" already stands at line 1: change one",
        );
        told("own", b"test.m2m.alice bob", "is one of an account in ");
        let deep = format!("test{} bob", ".a".repeat(ROUTE_SEGMENTS_MAX));
        told("deep", deep.as_bytes(), "must have at most 16 segments");
        let long = format!("test.x bob # {}", "x".repeat(ROUTE_LINE_LEN_MAX));
        told("long", long.as_bytes(), "the line has more than ");
    }

    #[test]
    fn a_line_of_the_longest_length_is_read() {
        let line = format!("{:<ROUTE_LINE_LEN_MAX$}", "test.x bob");
        assert_eq!(Case::new("longest", line.as_bytes()).load().unwrap().count(), 2);
    }

    #[test]
    fn a_file_of_another_kind_gets_so_many_complaints_and_no_more() {
        let case = Case::new("kind", "what is this?\n".repeat(100).as_bytes());
        let problems = case.load().unwrap_err();
        assert_eq!(problems.list.len(), ROUTE_PROBLEMS_MAX + 1);
        assert!(problems.list.last().unwrap().text.contains("only 20 complaints are told"));
    }

    #[test]
    fn what_is_no_file_or_too_long_is_not_read() {
        let told = |case: &Case, words: &str| {
            let problems = case.load().unwrap_err();
            assert_eq!((problems.list.len(), problems.list[0].line), (1, None));
            assert!(problems.to_string().contains(words), "{problems}");
        };
        let case = Case::new("folder", b"");
        let path = case.0.join("routes.txt");
        fs::remove_file(&path).unwrap();
        told(&case, "routes.txt: cannot be read: ");
        fs::create_dir(&path).unwrap();
        told(&case, "it is no regular file");
        fs::remove_dir(&path).unwrap();
        // Without a byte on the disk, nor one that is read.
        File::create(&path).unwrap().set_len(ROUTE_FILE_LEN_MAX + 1).unwrap();
        told(&case, "it is longer than the 268435456 bytes that are read");
        fs::write(&path, "\n".repeat(ROUTE_LINES_MAX)).unwrap();
        told(&case, "has more than the 4194304 lines that are read");
    }
}
