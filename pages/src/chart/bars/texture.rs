//! Textures, by which series are told apart without their colours.

/// Side of the square that is repeated, in pixels.
const SIDE: u8 = 6;

/// A pattern for each named colour, under the id of the chart and the colour.
pub(super) fn definitions(id: &str, colours: impl Iterator<Item = String>) -> String {
    let patterns: String = colours.map(|colour| pattern(id, &colour)).collect();
    format!("<defs>{patterns}</defs>")
}

fn pattern(id: &str, colour: &str) -> String {
    let strokes = match strokes(colour) {
        "" => String::new(),
        strokes => format!(r#"<path class="texture" d="{strokes}"/>"#),
    };
    format!(
        r#"<pattern id="{id}-{colour}" width="{SIDE}" height="{SIDE}" patternUnits="userSpaceOnUse"><rect class="{colour}" width="{SIDE}" height="{SIDE}"/>{strokes}</pattern>"#
    )
}

/// What is drawn over a colour: nothing over the first, which is most of most charts, and over what is left over.
fn strokes(colour: &str) -> &'static str {
    match colour {
        "series-2" => "M-1 1L1 -1M0 6L6 0M5 7L7 5",
        "series-3" => "M2 3H4M2 2H4",
        "series-4" => "M0 3H6",
        "series-5" => "M5 -1L7 1M0 0L6 6M-1 5L1 7",
        "series-6" => "M3 0V6",
        "series-7" => "M0 3H6M3 0V6",
        "series-8" => "M0 1H3M3 4H6",
        _ => "",
    }
}
