//! The simulator itself: it repeats, it sees what is wrong in books, and it shrinks what it found.

use m2_sim::{Case, Kind, Sabotage, shrink};

#[test]
fn the_same_seed_takes_the_same_course_to_the_byte() {
    for seed in [3, 44, 555] {
        let digests = [(); 2].map(|()| Case::of(seed).run().unwrap().digest);
        assert_eq!(digests[0], digests[1]);
    }
    assert_ne!(Case::of(3).run().unwrap().digest, Case::of(4).run().unwrap().digest);
}

#[test]
fn a_history_that_was_written_down_takes_the_same_course() {
    let case = Case::of(11);
    let again: Case = case.to_string().parse().unwrap();
    assert_eq!(again.run().unwrap().digest, case.run().unwrap().digest);
}

#[test]
fn any_part_of_a_history_is_a_history() {
    let mut case = Case::of(21);
    while !case.ops.is_empty() {
        case.run().unwrap();
        let half = case.ops.len() / 2;
        case.ops.drain(half..);
        case.ops.rotate_left(half / 3);
    }
}

/// What the judges say of a case with a fault in its books.
fn verdict(seed: u64, sabotage: Sabotage) -> String {
    let case = Case { sabotage: Some(sabotage), ..Case::of(seed) };
    case.run().expect_err("a fault in the books is found").message
}

#[test]
fn a_unit_put_into_an_account_is_found() {
    for seed in 0..20 {
        let message = verdict(seed, Sabotage::Unit(40));
        assert!(message.starts_with("equation 1"), "{message}");
    }
}

#[test]
fn a_payment_that_nobody_made_is_found() {
    for seed in 0..20 {
        let message = verdict(seed, Sabotage::Payment(40));
        assert!(message.starts_with("equation 3"), "{message}");
    }
}

#[test]
fn a_packet_that_is_forgotten_is_found() {
    for seed in [5, 6, 7, 8] {
        let message = verdict(seed, Sabotage::Packet(60));
        assert!(message.starts_with("equation 2"), "{message}");
    }
}

#[test]
fn a_record_that_is_said_to_be_durable_and_is_not_is_found() {
    let mut found = 0;
    for seed in 0..40 {
        let case = Case { sabotage: Some(Sabotage::Record(40)), ..Case::of(seed) };
        // In some networks nothing waits.
        if let Err(failure) = case.run() {
            assert!(failure.message.starts_with("equation 4"), "{}", failure.message);
            found += 1;
        }
    }
    assert!(found > 20, "{found} of 40");
}

#[test]
fn a_failure_is_shrunk_to_what_it_needs() {
    // A judge that minds two cuts after a payment, whatever else there is.
    let fails = |case: &Case| {
        let place = case.ops.iter().position(|op| op.kind == Kind::Credit);
        let after = place.map_or(&[][..], |place| &case.ops[place..]);
        after.iter().filter(|op| op.kind == Kind::Cut).count() >= 2
    };
    let case = (0..).map(Case::of).find(fails).unwrap();
    let short = shrink(&case, fails);
    let kinds: Vec<Kind> = short.ops.iter().map(|op| op.kind).collect();
    assert_eq!(kinds, [Kind::Credit, Kind::Cut, Kind::Cut]);
    assert_eq!(short.caps.switches, 2);
}

#[test]
fn a_shrunken_failure_fails_in_the_same_way() {
    let case = Case { sabotage: Some(Sabotage::Unit(0)), ..Case::of(2) };
    let failure = case.run().unwrap_err();
    let same = |case: &Case| case.run().is_err_and(|other| other.kind() == failure.kind());
    let short = shrink(&case, same);
    assert!(short.ops.len() <= 10, "{short}");
    assert!(same(&short));
}

#[test]
fn some_seeds_hold() {
    for seed in 10_000..10_100 {
        if let Err(failure) = Case::of(seed).run() {
            panic!("seed {seed}: {} ({})", failure.message, failure.place);
        }
    }
}
