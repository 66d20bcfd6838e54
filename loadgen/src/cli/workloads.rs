//! `m2-load workloads`: what ships, its text, and the configuration of a target that fits it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::workload::WorkloadArgs;
use super::{UNUSABLE, complain, say};
use crate::named::{self, Named};
use crate::report::{counted, quoted};
use crate::target_config::{Configuration, Target};
use crate::workload::text_at;

#[derive(Args, Debug)]
pub(super) struct WorkloadsArgs {
    /// One of them, or a workload file of your own.
    #[arg(value_name = "NAME|FILE")]
    workload: Option<PathBuf>,
    /// Write the configuration of a target that fits it, instead of its text.
    #[arg(long, value_enum, requires = "workload")]
    config: Option<TargetName>,
    /// Where to write it; `m2-load-NAME` by default.
    #[arg(long, value_name = "DIR", requires = "config")]
    folder: Option<PathBuf>,
    /// Where all ends are to connect, and so where the target is to listen.
    #[arg(long, value_name = "URL", requires = "config")]
    target: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TargetName {
    /// The switch of this project: a TOML file, and one for each token.
    M2Switch,
    /// npm ilp-connector 23: a shell script that sets its environment.
    IlpConnector,
}

pub(super) fn command(args: &WorkloadsArgs) -> u8 {
    let done = match (&args.workload, args.config) {
        (None, _) => Ok(list()),
        (Some(path), None) => text_at(path).map_err(|error| error.to_string()),
        (Some(path), Some(target)) => configure(args, path, target),
    };
    match done {
        Ok(text) => {
            say(&text);
            0
        }
        Err(sentence) => complain(&sentence, UNUSABLE),
    }
}

fn list() -> String {
    named::ALL.map(|named| format!("{:<14} {}\n", named.name, named.summary())).concat()
}

fn configure(args: &WorkloadsArgs, path: &Path, target: TargetName) -> Result<String, String> {
    let workload = WorkloadArgs::of(path.to_owned(), None, args.target.clone());
    let workload = workload.load(None, None, 1).map_err(|error| error.to_string())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = args.folder.clone().unwrap_or_else(|| format!("m2-load-{name}").into());
    let target = match target {
        TargetName::M2Switch => Target::M2Switch,
        TargetName::IlpConnector => Target::IlpConnector,
    };
    let configuration = Configuration::new(target, &workload, &folder)?;
    let files = configuration.write(&folder).map_err(|error| {
        format!("cannot write to {}: {error}; name another --folder", folder.display())
    })?;
    let mut text = format!("{} in {}\n", counted(files as u64, "file"), folder.display());
    if path.to_str().and_then(Named::find).is_some() {
        text +=
            "ITS TOKENS ARE PUBLIC, as everybody has this workload: keep the target on loopback.\n";
    }
    let target = args.target.as_ref().map(|target| format!(" --target {}", quoted(target)));
    text += &format!(
        "\n{}\nm2-load run --workload {} {}{}\n",
        configuration.start,
        quoted(&path.display().to_string()),
        configuration.arguments,
        target.unwrap_or_default()
    );
    Ok(text)
}
