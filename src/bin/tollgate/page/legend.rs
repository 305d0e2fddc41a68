//! What colours, patterns and dashes mean: never a colour alone.

use maud::{Markup, html};

pub(super) enum Mark {
    Area(&'static str),
    Line(&'static str),
}

pub(super) fn legend(marks: impl IntoIterator<Item = (Mark, &'static str)>) -> Markup {
    html! {
        ul.legend { @for (mark, text) in marks {
            li {
                svg viewBox="0 0 30 16" aria-hidden="true" { @match mark {
                    Mark::Area(class) => { path class=(class) d="M1 2H29V14H1Z" {} },
                    Mark::Line(class) => { path class=(class) d="M1 8H29" {} },
                } }
                (text)
            }
        } }
    }
}

/// The patterns, once for the whole page.
pub(super) fn patterns() -> Markup {
    html! {
        svg.defs aria-hidden="true" { defs {
            pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                path.hatching d="M0 0V6" {}
            }
            pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse" {
                circle.dotting cx="2.5" cy="2.5" r="1.1" {}
            }
        } }
    }
}
