//! The workloads that ship with the generator, by name.
//!
//! Their tokens are public: they are for a target on the same machine, which nobody else reaches.

/// A workload that ships.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// What `--workload` takes.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
}

const fn named(name: &'static str, text: &'static str) -> Named {
    Named { name, text }
}

/// Every one, the usual first.
pub const ALL: [Named; 6] = [
    named("standard", include_str!("../workloads/standard.toml")),
    named("smoke", include_str!("../workloads/smoke.toml")),
    named("saturate", include_str!("../workloads/saturate.toml")),
    named("micropayments", include_str!("../workloads/micropayments.toml")),
    named("streaming", include_str!("../workloads/streaming.toml")),
    named("hostile", include_str!("../workloads/hostile.toml")),
];

impl Named {
    /// The one with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|named| named.name == name)
    }

    /// What it is for: the sentence that its text begins with.
    #[must_use]
    pub fn summary(&self) -> String {
        let comment = self.text.lines().map_while(|line| line.strip_prefix('#').map(str::trim));
        let lines: Vec<&str> = comment.take_while(|line| !line.is_empty()).collect();
        lines.join(" ")
    }
}

/// All names, for a sentence.
#[must_use]
pub fn names() -> String {
    ALL.map(|named| named.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Kind;
    use crate::traffic::Plan;
    use crate::workload::{Overrides, Workload};

    #[test]
    fn every_named_workload_can_be_run_and_says_what_it_is_for() {
        for named in ALL {
            let workload = Workload::parse(named.text, named.name, Overrides::default(), 99);
            let workload = workload.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(workload.traffic.seed, 1, "{}: a run can be repeated", named.name);
            assert!(workload.ends.iter().all(|end| end.token.expose().starts_with("public-")));
            assert!(workload.seconds() <= 20, "{}", named.name);
            let summary = named.summary();
            assert!(summary.ends_with(['.', '?', '`']), "{summary}");
        }
        assert!(Named::find("standard").is_some() && Named::find("standart").is_none());
    }

    /// What `cargo xtask bench core` measures the switch with; the file says what departs.
    #[test]
    fn the_standard_workload_is_the_standard_workload() {
        let named = Named::find("standard").unwrap();
        let workload = Workload::parse(named.text, "standard", Overrides::default(), 1).unwrap();
        assert_eq!(workload.ends.len(), 64);
        let per_mille = Kind::ALL.map(|kind| workload.traffic.mix.per_mille(kind));
        assert_eq!(per_mille, [900, 80, 10, 10, 0]);
        let converted = workload.flows.iter().filter(|flow| flow.num != flow.den).count();
        assert_eq!(converted * 2, workload.flows.len());
        let receivers: Vec<_> =
            workload.ends.iter().filter_map(|end| end.destinations.as_ref()).collect();
        let destinations: usize = receivers.iter().map(|receiver| receiver.count()).sum();
        assert_eq!(destinations, 10_016);
        for receiver in receivers {
            let address = std::str::from_utf8(receiver.at(0)).unwrap();
            assert_eq!(address.split('.').count(), 5);
            assert!((48..=49).contains(&address.len()), "{address}");
        }
        let plans: Vec<Plan> = (0..100_000).map(|n| workload.traffic.plan(n)).collect();
        // Type, length, amount, expiry, condition, and the lengths of address and data: 62 bytes.
        let len = |plan: &Plan| 62 + workload.destination(plan).len() + plan.data_len;
        let mean = plans.iter().map(len).sum::<usize>() / plans.len();
        assert_eq!(mean, 167);
    }
}
