//! The picture: an SVG that can be searched and zoomed in any browser, and kept in git.

use inferno::flamegraph::{Options, from_lines};

use super::stacks::Stacks;
use crate::Result;

/// A picture that is larger is drawn with fewer of its narrow frames.
const SVG_LEN_MAX: usize = 300_000;

/// Frames that are narrower, in percent of the picture, are left out: the first that makes it small.
const WIDTHS_MIN: [f64; 5] = [0.05, 0.1, 0.25, 0.5, 1.0];

/// Draws the stacks. The same stacks make the same picture.
///
/// # Errors
///
/// When it is too large even with wide frames alone.
pub(super) fn draw(stacks: &Stacks, title: &str, subtitle: &str) -> Result<Vec<u8>> {
    let lines = stacks.lines();
    for min_width in WIDTHS_MIN {
        let mut options = Options::default();
        options.title = format!("m2-switch: {title}");
        options.subtitle = Some(subtitle.to_owned());
        options.deterministic = true;
        options.min_width = min_width;
        let mut svg = Vec::new();
        from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
            .map_err(|error| format!("the picture cannot be drawn: {error}"))?;
        if svg.len() < SVG_LEN_MAX {
            return Ok(svg);
        }
    }
    Err(format!("the picture takes more than {SVG_LEN_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::SAMPLE;
    use super::*;

    #[test]
    fn the_same_stacks_make_the_same_picture() {
        let draw = || draw(&Stacks::fold(SAMPLE).unwrap(), "tcp-64", "today").unwrap();
        let text = String::from_utf8(draw()).unwrap();
        assert!(text.contains("m2-switch: tcp-64") && text.contains("apply_answers"));
        assert_eq!(text.as_bytes(), draw());
    }
}
