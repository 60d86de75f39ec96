//! The shapes of a picture as SVG 1.1 text. Lengths are pixels, written with one decimal.

use std::fmt::Write as _;

/// Colours and fonts, by class.
const STYLE: &str = "\
text{font-family:Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif;font-size:11px;fill:#3c4043}\
.title{font-size:18px;font-weight:bold;fill:#202124}\
.heading{font-size:14px;font-weight:bold;fill:#202124}\
.name{font-size:12px;font-weight:bold;fill:#202124}\
.note{fill:#5f6368}\
.flow{fill:#5f6368;paint-order:stroke;stroke:#fafafa;stroke-width:4px}\
.panel{fill:#fafafa;stroke:#bdc1c6}\
.group{fill:#ffffff;fill-opacity:0.7;stroke:#9aa0a6;stroke-dasharray:4 3}\
.box{stroke-width:1.2}\
.matrix{fill:#e8f0fe;stroke:#4285f4}\
.norm{fill:#e6f4ea;stroke:#34a853}\
.attention{fill:#fef7e0;stroke:#f29900}\
.rope{fill:#e4f7fb;stroke:#12b5cb}\
.cache{fill:#f3e8fd;stroke:#a142f4}\
.element{fill:#f1f3f4;stroke:#80868b}\
.edge{fill:none;stroke:#5f6368;stroke-width:1.3}\
.kind0{fill:#4285f4}.kind1{fill:#f29900}.kind2{fill:#34a853}.kind3{fill:#a142f4}.kind4{fill:#d93025}.kind5{fill:#12b5cb}\
.digit{fill:#ffffff;font-size:9px}";

/// Where text stands relative to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The place is its left end.
    Start,
    /// The place is its middle.
    Middle,
    /// The place is its right end.
    End,
}

/// A picture under writing.
#[derive(Debug, Default)]
pub struct Svg {
    body: String,
}

impl Svg {
    /// Opens a group of shapes, moved by (x, y).
    pub fn open(&mut self, class: &str, x: f64, y: f64) {
        let _ = writeln!(self.body, "<g class=\"{}\" transform=\"translate({x:.1} {y:.1})\">", escaped(class));
    }

    /// Closes the last group that is open.
    pub fn close(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// What a viewer shows when the mouse rests on the open group.
    pub fn tooltip(&mut self, text: &str) {
        let _ = writeln!(self.body, "<title>{}</title>", escaped(text));
    }

    /// A rectangle with round corners.
    pub fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), radius: f64) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\"/>",
            escaped(class)
        );
    }

    /// A line of text on the base line y.
    pub fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(self.body, "<text class=\"{}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(class), escaped(text));
    }

    /// A line with an arrow at its end. It leaves and arrives from above, and is straight between inner corners.
    pub fn arrow(&mut self, points: &[(f64, f64)]) {
        let Some((&(x, y), rest)) = points.split_first() else { return };
        let _ = write!(self.body, "<path class=\"edge\" marker-end=\"url(#tip)\" d=\"M{x:.1} {y:.1}");
        let mut at = (x, y);
        for &(x, y) in rest {
            if (x - at.0).abs() < 0.05 {
                let _ = write!(self.body, " L{x:.1} {y:.1}");
            } else {
                let bend = (y - at.1) / 2.0;
                let _ = write!(self.body, " C{:.1} {:.1} {x:.1} {:.1} {x:.1} {y:.1}", at.0, at.1 + bend, y - bend);
            }
            at = (x, y);
        }
        self.body.push_str("\"/>\n");
    }

    /// The whole text of a picture of this size.
    pub fn finish(self, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <style>{STYLE}</style>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
             <path d=\"M0 0 L8 4 L0 8 z\" fill=\"#5f6368\"/></marker></defs>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// `text` as XML character data or attribute value. Characters that XML does not have become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
