//! The pages that a user reads first say what is true: each command in a code fence of the README
//! is run by some part of the suite, each link to a file leads to one, each file, folder and function
//! that the architecture names is there, and a program takes each configuration that its page shows.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::binaries;
use crate::suite::Check;
use crate::workspace::Workspace;

/// Commands of the README, and what runs each of them.
const COVERED: &[(&str, &str)] = &[
    ("cargo xtask test", "this very run"),
    ("cargo xtask demo", "the part demo"),
    ("cargo xtask demo --seconds 30", "the part demo, for fewer seconds"),
    ("cargo xtask demo --shards 2", "the part demo"),
    ("cargo xtask demo --json", "the part demo"),
    ("cargo xtask demo settlement", "the part settlement"),
];

/// The page whose names are looked up.
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// The pages whose TOML is a configuration, and whose.
const CONFIGURATIONS: [(&str, &str); 2] =
    [("docs/configuration.md", "m2-switch"), ("docs/settlement.md", "m2-settle")];

/// One check for each command, each link, each name of the architecture and each configuration.
///
/// # Errors
///
/// When a page cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let mut checks: Vec<_> = commands(&workspace.read("README.md")?).map(judge_command).collect();
    for page in workspace.files("md")? {
        let text = workspace.read(&page)?;
        checks.extend(links(&text).map(|link| judge_link(workspace, &page, link)));
        checks.extend(code_spans(&text).filter_map(|span| judge_span(&page, span)));
    }
    let sources = Sources::read(workspace)?;
    let architecture = workspace.read(ARCHITECTURE)?;
    checks.extend(code_spans(&architecture).filter_map(|span| sources.judge(workspace, span)));
    checks.extend(judge_configurations(workspace)?);
    Ok(checks)
}

fn judge_command(command: &str) -> Check {
    let title = format!("README.md: {command}");
    if COVERED.iter().any(|(covered, _)| *covered == command) {
        return Check::passed(&title);
    }
    let fault = "no part of the suite runs this command; xtask/src/pages.rs names those it knows";
    Check::failed(&title, fault.into())
}

/// A command of ours that stands in a sentence or a table is one that there is. Words in capitals
/// stand for what a user puts there; a sentence may name a command without what it needs.
fn judge_span(page: &str, span: &str) -> Option<Check> {
    let words = span.strip_prefix("cargo xtask ")?.split(' ');
    let is_blank = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
    let words = words.map(|word| if is_blank(word) { "1" } else { word });
    let title = format!("{page}: {span}");
    Some(match crate::takes(words) {
        true => Check::passed(&title),
        false => Check::failed(&title, "`cargo xtask` does not know this command".into()),
    })
}

fn judge_link(workspace: &Workspace, page: &str, link: &str) -> Check {
    let title = format!("{page}: {link}");
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() || workspace.path(folder).join(file).exists() {
        return Check::passed(&title);
    }
    Check::failed(&title, "leads to no file".into())
}

/// What the source files are called, and the functions that they define.
struct Sources {
    files: Vec<String>,
    functions: HashSet<String>,
}

impl Sources {
    fn read(workspace: &Workspace) -> Result<Self> {
        let files = workspace.files("rs")?;
        let mut functions = HashSet::new();
        for file in &files {
            let text = workspace.read(file)?;
            functions.extend(text.split("fn ").skip(1).filter_map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
                Some(rest[..end].to_owned())
            }));
        }
        Ok(Self { files, functions })
    }

    /// Looks up a file, a folder or a function; other words in code quotes are none of ours.
    fn judge(&self, workspace: &Workspace, span: &str) -> Option<Check> {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_there = if span.ends_with(".rs") {
            // On a page that has named the folder, the file's own name does.
            let tail = format!("/{span}");
            self.files.iter().any(|file| file == span || file.ends_with(&tail))
        } else if span.ends_with('/') {
            workspace.path(span).is_dir()
        } else if span.contains('_') && span.chars().all(is_word) {
            self.functions.contains(span)
        } else {
            return None;
        };
        let title = format!("{ARCHITECTURE}: {span}");
        Some(match is_there {
            true => Check::passed(&title),
            false => Check::failed(&title, "there is no such file, folder or function".into()),
        })
    }
}

/// Every configuration of these pages, as the program judges it that takes it.
fn judge_configurations(workspace: &Workspace) -> Result<Vec<Check>> {
    let binaries = binaries::for_tests(workspace)?;
    let folder = workspace.target().join("pages");
    let failed = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    // What the page's configurations name as a file with a token.
    fs::write(folder.join("alice.token"), "a token that stands in for that of a user")
        .map_err(failed)?;
    let mut checks = Vec::new();
    for (page, program) in CONFIGURATIONS {
        let texts = fences(&workspace.read(page)?, "toml");
        if texts.is_empty() {
            return Err(format!("{page} shows no configuration"));
        }
        for (index, text) in texts.into_iter().enumerate() {
            let path = folder.join(format!("{program}-{index}.toml"));
            fs::write(&path, text).map_err(failed)?;
            checks.push(judge_configuration(page, &binaries.join(program), &path)?);
        }
    }
    Ok(checks)
}

fn judge_configuration(page: &str, program: &Path, config: &Path) -> Result<Check> {
    let title = format!("{page}: {}", config.display());
    let output = Command::new(program)
        .args(["check", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(Check::passed(&title));
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(Check::failed(&title, format!("check ended with {}: {words}", output.status)))
}

/// The text of every fence of this language.
fn fences(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<Option<String>> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(marked)) => open = Some((marked.trim() == language).then(String::new)),
            (Some(_), Some(_)) => found.extend(open.take().flatten()),
            (Some(Some(text)), None) => *text += &format!("{line}\n"),
            _ => {}
        }
    }
    found
}

/// What stands in code quotes, outside of fences.
fn code_spans(page: &str) -> impl Iterator<Item = &str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// The lines of all fences marked `sh` or `console`, without comments.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let mut in_shell = false;
    let mut in_fence = false;
    page.lines().filter_map(move |line| {
        if let Some(language) = line.strip_prefix("```") {
            in_fence = !in_fence;
            in_shell = in_fence && matches!(language.trim(), "sh" | "bash" | "console");
            return None;
        }
        let command = line.trim_start_matches("$ ").split(" #").next().unwrap_or_default().trim();
        (in_shell && !command.is_empty() && !command.starts_with('#')).then_some(command)
    })
}

/// The targets of `[text](target)` that are no addresses of the web.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "See [the map](ARCHITECTURE.md#code) and [a](https://a.example/).\n\
        ```sh\ncargo xtask demo   # some seconds\n# words\n$ cargo xtask test\n```\n\
        ```text\nnot a command\n```\n";

    #[test]
    fn the_commands_of_a_page_are_those_in_its_shell_fences() {
        assert_eq!(commands(PAGE).collect::<Vec<_>>(), ["cargo xtask demo", "cargo xtask test"]);
    }

    #[test]
    fn a_planted_command_that_nothing_runs_is_a_fault() {
        assert!(judge_command("cargo xtask test").fault.is_none());
        assert!(judge_command("cargo xtask launch").fault.is_some());
    }

    #[test]
    fn a_command_in_a_sentence_that_there_is_not_is_a_fault() {
        let judged = |span: &str| judge_span("README.md", span).map(|check| check.fault.is_some());
        for there in ["fuzz", "bench NAME", "simulate --seeds N"] {
            assert_eq!(judged(&format!("cargo xtask {there}")), Some(false), "{there}");
        }
        for nowhere in ["launch", "simulate --seed N", "test NAME"] {
            assert_eq!(judged(&format!("cargo xtask {nowhere}")), Some(true), "{nowhere}");
        }
        assert_eq!(judged("cargo test"), None);
    }

    #[test]
    fn a_planted_name_of_nothing_is_a_fault_and_other_code_is_left_alone() {
        let workspace = Workspace::here();
        let sources = Sources::read(&workspace).unwrap();
        let judged = |span| sources.judge(&workspace, span).map(|check| check.fault.is_some());
        for there in ["xtask/src/pages.rs", "pages.rs", "xtask/", "code_spans"] {
            assert_eq!(judged(there), Some(false), "{there}");
        }
        for nowhere in ["xtask/src/page.rs", "ages.rs", "xtasks/", "code_spans_of_nobody"] {
            assert_eq!(judged(nowhere), Some(true), "{nowhere}");
        }
        for other in ["m2-core", "#[must_use]", "Forward", "unsafe", "cargo xtask edges"] {
            assert_eq!(judged(other), None, "{other}");
        }
    }

    #[test]
    fn fences_and_code_quotes_are_told_apart() {
        let page = "Say `a_b`.\n```toml\n[x]\ny = `1`\n```\nThen `c/`.\n```text\nz\n```\n`d`";
        assert_eq!(fences(page, "toml"), ["[x]\ny = `1`\n"]);
        assert_eq!(code_spans(page).collect::<Vec<_>>(), ["a_b", "c/", "d"]);
    }

    #[test]
    fn a_planted_link_to_nowhere_is_a_fault() {
        let workspace = Workspace::here();
        assert_eq!(links(PAGE).collect::<Vec<_>>(), ["ARCHITECTURE.md#code"]);
        assert!(judge_link(&workspace, "README.md", "xtask/Cargo.toml#x").fault.is_none());
        assert!(judge_link(&workspace, "xtask/README.md", "src/main.rs").fault.is_none());
        assert!(judge_link(&workspace, "README.md", "nowhere.md").fault.is_some());
    }
}
