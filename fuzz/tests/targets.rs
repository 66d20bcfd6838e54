//! Every target over its seeds and some thousand changes of them, the same in every run.

use fastrand::Rng;
use m2_fuzz::mutate::mutated;
use m2_fuzz::seeds::Vectors;
use m2_fuzz::{TARGETS, target};

/// Inputs to each target: all of them take some seconds.
const RUNS: usize = 4_000;

fn run(name: &str) {
    let target = target(name).expect("a target of this name");
    let seeds = (target.seeds)(&Vectors::load());
    assert!(!seeds.is_empty());
    (target.run)(&[]);
    for seed in &seeds {
        (target.run)(seed);
    }
    let mut rng = Rng::with_seed(0x6d32);
    for _ in 0..RUNS {
        (target.run)(&mutated(&mut rng, &seeds));
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn every_target_has_a_test() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

tests! {
    oer address timestamp prepare prepare_rewrite fulfill reject ildcp btp_stream websocket_stream
    websocket_handshake url configuration control_socket settlement_message
    core
}
