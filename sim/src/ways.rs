//! Routes of a switch: shortest ways, and what is left when somebody has changed them.

use std::collections::{HashMap, VecDeque};

use m2_codec::address::Prefix;
use m2_core::{AccountId, Routes};

use crate::books::Ways;
use crate::dice::{dice, often};
use crate::plan::{End, Plan};

/// To every switch and endpoint by the fewest links.
pub(crate) fn shortest(plan: &Plan, switch: usize) -> (Ways, Routes) {
    built(plan, switch, first_steps(plan, switch))
}

/// Some ways are gone, some lead elsewhere; there may be loops.
pub(crate) fn changed(plan: &Plan, switch: usize, salt: u64) -> (Ways, Routes) {
    let mut ways = first_steps(plan, switch);
    let dice = &mut dice(&[plan.seed, salt, 0x3075]);
    let accounts = u32::try_from(plan.switches[switch].accounts.len()).expect("a few");
    let mut prefixes: Vec<_> = ways.keys().cloned().collect();
    prefixes.sort_unstable();
    for prefix in prefixes {
        if often(dice, 60) {
            ways.remove(&prefix);
        } else if often(dice, 60) {
            ways.insert(prefix, dice.u32(..accounts));
        }
    }
    built(plan, switch, ways)
}

fn built(plan: &Plan, switch: usize, ways: HashMap<String, u32>) -> (Ways, Routes) {
    let entry = |(prefix, account): (&String, &u32)| {
        let prefix: Prefix = prefix.parse().expect("segments of digits and letters");
        (prefix, AccountId(*account))
    };
    let mut sorted: Vec<_> = ways.iter().collect();
    sorted.sort_unstable();
    let routes = Routes::build(plan.seed ^ switch as u64, sorted.into_iter().map(entry));
    (Ways(ways), routes.expect("each prefix once"))
}

/// The account that leads to each switch and to each endpoint of the switch itself.
fn first_steps(plan: &Plan, switch: usize) -> HashMap<String, u32> {
    let mut ways = HashMap::new();
    let mut first: Vec<Option<u32>> = vec![None; plan.switches.len()];
    let mut seen = vec![false; plan.switches.len()];
    seen[switch] = true;
    let mut queue = VecDeque::from([switch]);
    while let Some(at) = queue.pop_front() {
        for (account, plan_of_it) in (0..).zip(&plan.switches[at].accounts) {
            match plan.links[plan_of_it.link].ends[1 - plan_of_it.side] {
                End::Endpoint(endpoint) if at == switch => {
                    ways.insert(format!("test.s{switch}.e{endpoint}"), account);
                }
                End::Account { switch: next, .. } if !seen[next] => {
                    seen[next] = true;
                    first[next] = first[at].or(Some(account));
                    queue.push_back(next);
                }
                _ => {}
            }
        }
    }
    for (to, account) in first.into_iter().enumerate() {
        if let Some(account) = account {
            ways.insert(format!("test.s{to}"), account);
        }
    }
    ways
}
