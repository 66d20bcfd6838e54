//! The page of figures, made from the reports that are kept and from nothing else.

use std::fmt::Write as _;

use serde_json::Value;

use super::FOLDER;
use crate::Result;
use crate::workspace::Workspace;

const TARGETS: [&str; 2] = ["m2-switch", "ilp-connector"];

/// Makes the page.
///
/// # Errors
///
/// When a report is missing, or is not as the generator writes it.
pub(super) fn page(workspace: &Workspace) -> Result<String> {
    let read = |name: &str| kept(workspace, &format!("{FOLDER}/{name}.json"));
    let about = kept(workspace, "bench/results/peers.json")?;
    let mut page = HEAD.to_owned();
    write_machine(&mut page, &about, &read("rate-m2-switch")?)?;
    page += TABLE_HEAD;
    for name in TARGETS {
        write_row(&mut page, name, &read)?;
    }
    write_comparison(&mut page, &read("compare")?)?;
    write_ends(&mut page, &read("ends-m2-switch")?)?;
    page += COMMANDS;
    for name in ["window", "rate", "search"] {
        write_command(&mut page, &read(&format!("{name}-m2-switch"))?, name)?;
    }
    page += TAIL;
    Ok(page)
}

fn kept(workspace: &Workspace, name: &str) -> Result<Value> {
    serde_json::from_str(&workspace.read(name)?).map_err(|error| format!("{name}: {error}"))
}

const HEAD: &str = "\
# Figures

Made by `cargo xtask bench peers` from the reports in [bench/results/peers](../bench/results/peers); not to be edited.

What `m2-load` measures of this switch and of npm ilp-connector 23, on one machine in one run: one sender, one receiver, BTP over
WebSocket, every packet unique and fulfilled by an HMAC of its data ([workload](../bench/peers/workload.toml)). ilp-connector keeps its
balances in memory and converts one to one; its limit of 10,000 packets a minute is raised. Every preimage is checked, and what the
receiver fulfilled is what the sender's preimages paid for, in each run. Generator and target share the machine's cores.
";

const TABLE_HEAD: &str = "
| target | closed loop, 100 in flight | p50 / p99 there | at 2,000 a second: p50 / p99 / p99.9 | CPU of the target, a pair | highest rate without loss, p99 below 50 ms |
|---|---|---|---|---|---|
";

const COMMANDS: &str = "
## The commands

The targets are configured by `m2-load workloads bench/peers/workload.toml --config m2-switch` and `--config ilp-connector`; the second
has a port for each account. With `--target` and `--target-pid` as the run had them:

| report | command |
|---|---|
";

const TAIL: &str = "
`cargo xtask bench peers` does all of it: it builds the switch and the generator, installs ilp-connector as `interop/package-lock.json`
has it, starts both, measures them in turns, and makes this page.
";

fn write_machine(page: &mut String, about: &Value, run: &Value) -> Result<()> {
    let machine = &about["machine"];
    let text =
        |value: &Value| value.as_str().map(str::to_owned).ok_or("a report lacks its machine");
    let links = run["environment"]["links"].as_array().ok_or("a report lacks its links")?;
    let congestion = links.iter().filter_map(|link| link["congestion_control"].as_str()).next();
    writeln!(
        page,
        "\n{}, commit {}, {} cores of {}, {}, {}, governor {}, congestion control {}.",
        text(&about["date"])?,
        text(&about["commit"])?,
        machine["cores"],
        text(&machine["cpu"])?,
        text(&machine["kernel"])?,
        text(&machine["rustc"])?,
        text(&run["environment"]["cpu_governor"])?,
        congestion.unwrap_or("none"),
    )
    .map_err(|error| error.to_string())
}

fn write_row(page: &mut String, name: &str, read: &dyn Fn(&str) -> Result<Value>) -> Result<()> {
    let window = read(&format!("window-{name}"))?;
    let rate = read(&format!("rate-{name}"))?;
    let search = read(&format!("search-{name}"))?;
    let found = match search["good"]["rate_per_s"].as_u64() {
        Some(rate) if search["bad"].is_null() => {
            format!("{}, the highest asked for", grouped(rate))
        }
        Some(rate) => format!("{} a second", grouped(rate)),
        None => "none".to_owned(),
    };
    let limit = match search["limit"].as_str() {
        Some("generator") => ", THE GENERATOR'S OWN LIMIT",
        _ => "",
    };
    writeln!(
        page,
        "| {name} | {} pairs/s | {} / {} | {} / {} / {} | {} | {found}{limit} |",
        grouped(whole(&window["fulfilled_per_s"])?),
        duration(&window["latency"]["p50_ns"])?,
        duration(&window["latency"]["p99_ns"])?,
        duration(&rate["latency"]["p50_ns"])?,
        duration(&rate["latency"]["p99_ns"])?,
        duration(&rate["latency"]["p99_9_ns"])?,
        duration(&window["target_process"]["cpu"]["total_ns_per_pair"])?,
    )
    .map_err(|error| error.to_string())
}

/// The ratios of the alternated trials.
fn write_comparison(page: &mut String, compare: &Value) -> Result<()> {
    let pairs = compare["pairs"].as_u64().ok_or("the comparison has no pairs")?;
    write!(
        page,
        "\n## In turns\n\n{pairs} pairs of runs of 2 s with 100 in flight, ilp-connector over m2-switch, and the interval that holds the \
         true ratio in 19 cases of 20:\n\n| measure | m2-switch | ilp-connector | ratio |\n|---|---|---|---|\n"
    )
    .map_err(|error| error.to_string())?;
    for measured in compare["measures"].as_array().ok_or("the comparison has no measures")? {
        let median = |side: &str| measured[side]["median"].as_f64().ok_or("a side has no median");
        let ratio = |key: &str| measured["ratio"][key].as_f64().ok_or("a ratio is missing");
        let name = measured["measure"].as_str().ok_or("a measure has no name")?;
        let unit = measured["unit"].as_str().ok_or("a measure has no unit")?;
        writeln!(
            page,
            "| {name} | {} | {} | {:.3} ({:.3} to {:.3}) |",
            figure(median("a")?, unit),
            figure(median("b")?, unit),
            ratio("median")?,
            ratio("low")?,
            ratio("high")?
        )
        .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What the generator's ends cost beside the switch.
fn write_ends(page: &mut String, ends: &Value) -> Result<()> {
    let cpu = |value: &Value| -> Result<String> {
        let part = |key: &str| duration(&value[key]);
        Ok(format!(
            "{} | {} | {}",
            part("user_ns_per_pair")?,
            part("system_ns_per_pair")?,
            part("total_ns_per_pair")?
        ))
    };
    let send = &ends["send"];
    write!(
        page,
        "\n## What the generator takes\n\nSender, receiver and m2-switch in processes of their own, 1,000 in flight, {} pairs/s; CPU time \
         for each pair:\n\n| process | user | kernel | both |\n|---|---|---|---|\n| m2-load send | {} |\n| m2-load receive | {} |\n\
         | m2-switch | {} |\n",
        grouped(whole(&send["fulfilled_per_s"])?),
        cpu(&send["generator_cpu"])?,
        cpu(&ends["receive"]["generator_cpu"])?,
        cpu(&send["target_process"]["cpu"])?,
    )
    .map_err(|error| error.to_string())
}

fn write_command(page: &mut String, report: &Value, name: &str) -> Result<()> {
    let words = report["environment"]["command"].as_array().ok_or("a report lacks its command")?;
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    writeln!(page, "| {name} | `{}` |", words.join(" ")).map_err(|error| error.to_string())
}

fn whole(value: &Value) -> Result<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for the eye")]
    let whole = |value: f64| value.round() as u64;
    value.as_f64().map(whole).ok_or_else(|| "a report lacks a figure".to_owned())
}

fn duration(ns: &Value) -> Result<String> {
    Ok(figure(ns.as_f64().ok_or("a report lacks a time")?, "ns"))
}

/// A figure in the unit that reads best.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value < 1e3 => format!("{value:.0} ns"),
        "ns" if value < 1e6 => format!("{:.1} µs", value / 1e3),
        "ns" if value < 1e9 => format!("{:.2} ms", value / 1e6),
        "ns" => format!("{:.2} s", value / 1e9),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for the eye")]
        _ => grouped(value.round() as u64),
    }
}

/// A count with its thousands apart.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_from_the_reports() {
        let workspace = Workspace::here();
        assert_eq!(workspace.read(super::super::PAGE).unwrap(), page(&workspace).unwrap());
    }

    #[test]
    fn figures_are_written_for_the_eye() {
        assert_eq!(figure(999.0, "ns"), "999 ns");
        assert_eq!(figure(1_500.0, "ns"), "1.5 µs");
        assert_eq!(figure(2_250_000.0, "ns"), "2.25 ms");
        assert_eq!(figure(1_234_567.0, "pairs/s"), "1,234,567");
    }
}
