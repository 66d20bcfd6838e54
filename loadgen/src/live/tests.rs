//! What is shown, and in which order moments and notes reach the screen.

use super::screen::{Rates, Size, clear, over, text};
use super::*;

fn moment() -> Moment {
    Moment {
        elapsed_ns: 2_345_000_000,
        planned_ns: 5_000_000_000,
        behind_ns: 0,
        sent: 46_900,
        fulfilled: 42_000,
        rejected: 4_000,
        rejects: [
            (*b"F99", 3_000),
            (*b"F02", 1_000),
            ([0; 3], 0),
            ([0; 3], 0),
            ([0; 3], 0),
            ([0; 3], 0),
        ],
        in_flight: 900,
        missed: Missed::default(),
        recent: Some(Recent { p50_ns: 84_000, p99_ns: 1_250_000, max_ns: 4_000_000 }),
    }
}

fn with_missed() -> Moment {
    Moment { missed: Missed { link_full: 2, in_flight_full: 0, too_late: 1 }, ..moment() }
}

fn rates() -> Rates {
    let earlier = Moment {
        elapsed_ns: 1_345_000_000,
        sent: 26_900,
        fulfilled: 24_000,
        rejected: 2_000,
        ..Moment::default()
    };
    Rates::between(&earlier, &moment(), Duration::from_millis(570), Duration::from_secs(1))
}

fn size(columns: u16, rows: u16) -> Size {
    let (ws_col, ws_row) = (columns, rows);
    Size::from(rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
}

const PLAIN: Form = Form::Terminal { colour: false };
const COLOUR: Form = Form::Terminal { colour: true };

#[test]
fn a_line_elsewhere_has_no_control_characters() {
    let line = text(Form::Lines, Size::USUAL, &with_missed(), &rates());
    assert_eq!(
        line,
        "2.3 s  46,903 offered  46,900 sent  42,000 fulfilled  4,000 rejected  900 in flight  \
         p50 84.0 us  p99 1.25 ms  max 4.00 ms  own cpu 57 %  3 MISSED\n"
    );
}

#[test]
fn a_screen_tells_everything() {
    let screen = text(PLAIN, Size::USUAL, &moment(), &rates());
    let lines: Vec<_> = screen.lines().map(|line| line.trim_end_matches("\x1b[K")).collect();
    assert_eq!(
        lines,
        [
            "m2-load     2.3 s of 5.0 s",
            "offered              46,900       20,000/s  46,900 sent",
            "fulfilled            42,000       18,000/s",
            "rejected              4,000        2,000/s  F99 3,000  F02 1,000",
            "in flight               900",
            "last second p50 84.0 us  p99 1.25 ms  max 4.00 ms",
            "missed                    0",
            "own cpu                57 % of a core",
            "\x1b[J",
        ]
    );
}

#[test]
fn missed_sends_are_red_unless_no_color_is_set_and_told_by_whose_fault() {
    let coloured = text(COLOUR, Size::USUAL, &with_missed(), &rates());
    let words = "missed                    3  2 target does not read  1 GENERATOR too slow";
    assert!(coloured.contains(&format!("\x1b[31m{words}\x1b[0m")), "{coloured:?}");
    assert_eq!(coloured.matches("\x1b[31m").count(), 1);
    let plain = text(PLAIN, Size::USUAL, &with_missed(), &rates());
    assert!(plain.contains(words) && !plain.contains("\x1b[31m"), "{plain:?}");
}

#[test]
fn a_generator_that_is_behind_says_so_in_the_first_line() {
    let first = |behind_ns| {
        let screen = text(PLAIN, Size::USUAL, &Moment { behind_ns, ..moment() }, &rates());
        screen.lines().next().unwrap().to_owned()
    };
    assert!(first(25_000_000).contains("5.0 s, 25.00 ms behind"));
    assert!(!first(999_999).contains("behind"));
}

#[test]
fn no_line_is_longer_than_the_terminal_and_a_small_one_has_one_line() {
    for columns in 1..120 {
        let screen = text(PLAIN, size(columns, 24), &with_missed(), &rates());
        for line in screen.replace("\x1b[K", "").replace("\x1b[J", "").lines() {
            assert!(line.len() < usize::from(columns), "{columns}: {line}");
        }
        let line_count = screen.lines().count();
        assert_eq!(line_count, if columns < 40 { 1 } else { 9 }, "{columns}");
    }
    assert_eq!(text(PLAIN, size(80, 8), &moment(), &rates()).lines().count(), 1);
    assert_eq!(size(0, 0), Size::USUAL);
}

#[test]
fn a_screen_is_drawn_where_the_last_one_stood() {
    assert_eq!((over(0), over(8)), ("\r".to_owned(), "\r\x1b[8A".to_owned()));
    assert_eq!(clear(8), "\r\x1b[8A\x1b[J");
}

#[test]
fn a_second_without_an_answer_has_no_latency() {
    let line = text(Form::Lines, Size::USUAL, &Moment { recent: None, ..moment() }, &rates());
    assert!(line.contains("  p50 -  p99 -  max -  "), "{line}");
}

#[test]
fn a_code_that_is_no_text_does_no_harm_to_the_terminal() {
    let mut moment = moment();
    moment.rejects[0].0 = *b"\x1b[\xff";
    let screen = text(PLAIN, Size::USUAL, &moment, &rates());
    assert!(screen.contains("\\x1b[\\xff 3,000"), "{screen:?}");
}

#[test]
fn the_most_frequent_codes_are_shown_first() {
    let mut tally = Tally::new(1);
    for (code, count) in
        [(b"F01", 5), (b"F02", 9), (b"F05", 1), (b"F99", 7), (b"R00", 3), (b"T00", 2), (b"T04", 8)]
    {
        tally.rejects.insert(*code, count);
    }
    let shown: Vec<u64> = Moment::of(&tally).rejects.iter().map(|&(_, count)| count).collect();
    assert_eq!(shown, [9, 8, 7, 5, 3, 2]);
    assert_eq!(Moment::of(&tally).rejects[2].0, *b"F99");
}

#[test]
fn forms_follow_quiet_terminal_and_no_color() {
    assert_eq!(Form::choose(true, true, false), Form::Quiet);
    assert_eq!(Form::choose(false, true, false), COLOUR);
    assert_eq!(Form::choose(false, true, true), PLAIN);
    assert_eq!(Form::choose(false, false, false), Form::Lines);
}

#[test]
fn the_next_moment_is_due_on_the_clock_not_after_the_last() {
    let live = Live::with;
    let (lines, terminal) = (live(Form::Lines), live(PLAIN));
    assert_eq!(lines.due_after(2_345_000_000), 3_000_000_000);
    assert_eq!(lines.due_after(3_000_000_000), 4_000_000_000);
    assert_eq!(terminal.due_after(2_345_000_000), 2_400_000_000);
    assert_eq!(live(Form::Quiet).next_ns(), u64::MAX);
}
