//! `seeds TARGET FOLDER`: writes what a target begins with, one file each, for libFuzzer, and prints
//! the length of the longest input that it should make.

use std::process::ExitCode;

use m2_fuzz::seeds::Vectors;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match write(&arguments) {
        Ok(len_max) => {
            println!("{len_max}");
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn write(arguments: &[String]) -> Result<usize, String> {
    let [name, folder] = arguments else { return Err("usage: seeds TARGET FOLDER".into()) };
    let target = m2_fuzz::target(name).ok_or_else(|| {
        let known: Vec<_> = m2_fuzz::TARGETS.iter().map(|target| target.name).collect();
        format!("no target {name}: known are {}", known.join(", "))
    })?;
    let failed = |error| format!("{folder}: {error}");
    std::fs::create_dir_all(folder).map_err(failed)?;
    for (index, seed) in target.short_seeds(&Vectors::load()).iter().enumerate() {
        std::fs::write(format!("{folder}/seed-{index}"), seed).map_err(failed)?;
    }
    Ok(target.len_max)
}
