//! What stands around a run: command, versions, machine, links. A figure without them is none.
//!
//! Invariant: no token is in it. A command line may hold one in a URL, as `name:token@host`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use m2_codec::timestamp;
use m2_codec::url::Endpoint;
use serde::Serialize;

use crate::limits;

/// What stands where a token stood.
const REDACTED: &str = "[token]";

/// Everything around a run that its figures depend on.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// The command line, with `[token]` where a token stood.
    pub command: Vec<String>,
    /// When the first link was opened, UTC, as RFC 3339 writes it.
    pub started_at: String,
    /// What the generator was built with, as `rustc --version` says; empty if nobody knows.
    pub rustc: &'static str,
    /// `release` or `debug`.
    pub profile: &'static str,
    /// System, release and machine, as `uname -srm` says.
    pub kernel: String,
    /// As `/proc/cpuinfo` says.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// How the cores' clock is governed; `none` where the kernel does not do it, as in most
    /// virtual machines.
    pub cpu_governor: String,
    /// What waits for packets: `block` sleeps in the kernel, `spin` asks again and again.
    pub waiting: &'static str,
    /// Every kind of link, and how many there are of it.
    pub links: Vec<LinkReport>,
}

/// Links of one kind.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LinkReport {
    /// `ws`, `tcp` or `unix`.
    pub transport: &'static str,
    /// Congestion control of our end's socket, where it is one of TCP.
    pub congestion_control: Option<String>,
    /// How many there are.
    pub count: usize,
}

impl Environment {
    /// What this process and machine say of themselves now; `links` are added once they are open.
    #[must_use]
    pub fn here() -> Self {
        let uname = rustix::system::uname();
        let words = [uname.sysname(), uname.release(), uname.machine()];
        Self {
            command: std::env::args_os().map(|word| redacted(&word.to_string_lossy())).collect(),
            started_at: utc_now(),
            rustc: env!("M2_LOAD_RUSTC"),
            profile: env!("M2_LOAD_PROFILE"),
            kernel: words.map(|word| word.to_string_lossy().into_owned()).join(" "),
            cpu_model: cpu_model(&beginning(Path::new("/proc/cpuinfo"))),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_governor: governor(Path::new("/sys/devices/system/cpu")),
            waiting: "block",
            links: Vec::new(),
        }
    }

    /// Counts links by kind and congestion control.
    pub fn add_links<'a, L: AsFd>(&mut self, links: impl Iterator<Item = (&'a Endpoint, L)>) {
        let mut kinds = BTreeMap::new();
        for (endpoint, link) in links {
            let transport = match endpoint {
                Endpoint::Ws { .. } => "ws",
                Endpoint::Tcp { .. } => "tcp",
                Endpoint::Unix { .. } => "unix",
            };
            let congestion_control = match endpoint {
                Endpoint::Unix { .. } => None,
                _ => rustix::net::sockopt::tcp_congestion(link).ok(),
            };
            *kinds.entry((transport, congestion_control)).or_insert(0) += 1;
        }
        let report = |((transport, congestion_control), count)| LinkReport {
            transport,
            congestion_control,
            count,
        };
        self.links.extend(kinds.into_iter().map(report));
    }
}

/// A word of a command line without the tokens in it: what stands between `//name:` and `@` of a
/// URL, to the last `@`, as one in a token may not be written as `%40`.
fn redacted(word: &str) -> String {
    let Some(start) = word.find("://").map(|at| at + 3) else { return word.to_owned() };
    let rest = &word[start..];
    match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => {
            format!("{}:{REDACTED}{}", &word[..start + colon], &rest[at..])
        }
        _ => word.to_owned(),
    }
}

fn utc_now() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    String::from_utf8_lossy(&timestamp::rfc_3339(ms)).into_owned()
}

/// The first bytes of a file that the kernel writes; nothing where there is none.
fn beginning(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(limits::SYSTEM_FILE_LEN_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn cpu_model(cpuinfo: &str) -> String {
    let named = |line: &str| {
        let (key, value) = line.split_once(':')?;
        matches!(key.trim(), "model name" | "Model" | "cpu model").then(|| value.trim().to_owned())
    };
    cpuinfo.lines().find_map(named).unwrap_or_else(|| "unknown".to_owned())
}

/// What governs the clocks of the cores below `folder`: one word where it is the same for all.
fn governor(folder: &Path) -> String {
    let of_core = |core: usize| {
        let text = beginning(&folder.join(format!("cpu{core}/cpufreq/scaling_governor")));
        Some(text.trim().to_owned()).filter(|word| !word.is_empty())
    };
    let mut words: Vec<_> = (0..limits::CORES_MAX).filter_map(of_core).collect();
    words.sort();
    words.dedup();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_of_a_url_stays_in_a_command() {
        for (word, clean) in [
            ("btp+ws://bob:s3cret@host:7768/path", "btp+ws://bob:[token]@host:7768/path"),
            ("--url=btp+tcp://bob:s3c@ret@host:1", "--url=btp+tcp://bob:[token]@host:1"),
            ("btp+tcp://bob:s3c/r:et@host:1", "btp+tcp://bob:[token]@host:1"),
            ("btp+unix://:s3cret@/run/btp.sock", "btp+unix://:[token]@/run/btp.sock"),
            ("btp+ws://bob@host:7768", "btp+ws://bob@host:7768"),
            ("btp+ws://host:7768/path", "btp+ws://host:7768/path"),
            ("--require=p99<500us", "--require=p99<500us"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(redacted(word), clean);
        }
    }

    #[test]
    fn the_model_of_a_processor_is_found_or_unknown() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 2\nmodel name\t: EPYC 9\n";
        assert_eq!(cpu_model(x86), "EPYC 9");
        assert_eq!(cpu_model("processor : 0\nBogoMIPS : 48.00\n"), "unknown");
    }

    #[test]
    fn governors_are_named_once_and_none_is_none() {
        let folder = std::env::temp_dir().join(format!("m2-load-governor-{}", std::process::id()));
        assert_eq!(governor(&folder), "none");
        for (core, word) in ["schedutil\n", "performance\n", "schedutil\n"].iter().enumerate() {
            let folder = folder.join(format!("cpu{core}/cpufreq"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("scaling_governor"), word).unwrap();
        }
        assert_eq!(governor(&folder), "performance, schedutil");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn links_are_counted_by_kind_and_congestion_control() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let sockets = [connect(), connect(), connect()];
        rustix::net::sockopt::set_tcp_congestion(&sockets[2], "reno").unwrap();
        let (host, port) = ("127.0.0.1".to_owned(), 1);
        let tcp = Endpoint::Tcp { host: host.clone(), port };
        let ws = Endpoint::Ws { host, port, path: "/".to_owned() };
        let usual = rustix::net::sockopt::tcp_congestion(&sockets[0]).unwrap();
        let mut environment = Environment::here();
        environment.add_links([&tcp, &tcp, &ws].into_iter().zip(&sockets));
        let link = |transport, word: &str, count| LinkReport {
            transport,
            congestion_control: Some(word.to_owned()),
            count,
        };
        assert_eq!(environment.links, [link("tcp", &usual, 2), link("ws", "reno", 1)]);
    }
}
