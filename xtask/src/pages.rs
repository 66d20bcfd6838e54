//! The pages that a user reads first say what is true: each command in a code fence of the README
//! is run by some part of the suite, and each link to a file leads to one.

use crate::Result;
use crate::suite::Check;
use crate::workspace::Workspace;

/// Commands of the README, and what runs each of them.
const COVERED: &[(&str, &str)] = &[
    ("cargo xtask test", "this very run"),
    ("cargo xtask demo", "the part demo"),
    ("cargo xtask demo --seconds 30", "the part demo, for fewer seconds"),
    ("cargo xtask demo --json", "the part demo"),
];

/// One check for each command and each link.
///
/// # Errors
///
/// When a page cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let mut checks: Vec<_> = commands(&workspace.read("README.md")?).map(judge_command).collect();
    for page in workspace.files("md")? {
        let text = workspace.read(&page)?;
        checks.extend(links(&text).map(|link| judge_link(workspace, &page, link)));
    }
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

fn judge_link(workspace: &Workspace, page: &str, link: &str) -> Check {
    let title = format!("{page}: {link}");
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() || workspace.path(folder).join(file).exists() {
        return Check::passed(&title);
    }
    Check::failed(&title, "leads to no file".into())
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
    fn a_planted_link_to_nowhere_is_a_fault() {
        let workspace = Workspace::here();
        assert_eq!(links(PAGE).collect::<Vec<_>>(), ["ARCHITECTURE.md#code"]);
        assert!(judge_link(&workspace, "README.md", "xtask/Cargo.toml#x").fault.is_none());
        assert!(judge_link(&workspace, "xtask/README.md", "src/main.rs").fault.is_none());
        assert!(judge_link(&workspace, "README.md", "nowhere.md").fault.is_some());
    }
}
