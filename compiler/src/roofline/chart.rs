//! The roofline as a picture: what each kernel reaches over what it computes a byte, under the limits of the machine.

use plotters::prelude::*;

use super::{Class, Limits};

/// Size in pixels.
const SIZE: (u32, u32) = (1000, 640);
/// Kernels with names in the picture: those that take this share of their step's time.
const NAMED_SHARE: f64 = 0.02;

/// A step in the picture: its name and its kernels.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// For the legend.
    pub name: &'a str,
    /// Its classes.
    pub classes: &'a [Class],
}

/// Multiply-adds of a class, float and byte together.
fn products(class: &Class) -> f64 {
    class.byte_products as f64 + class.float_ops as f64 / 2.0
}

/// The picture as SVG, both axes logarithmic: multiply-adds a byte, and billions of them a second.
///
/// # Errors
/// What the plotting library says.
pub fn svg(title: &str, limits: &Limits, steps: &[Step<'_>]) -> Result<String, String> {
    let mut text = String::new();
    draw(&mut text, title, limits, steps).map_err(|e| e.to_string())?;
    Ok(text)
}

fn draw(text: &mut String, title: &str, limits: &Limits, steps: &[Step<'_>]) -> Result<(), Box<dyn std::error::Error>> {
    let (slope, dot, float) = (limits.bytes / 1e9, limits.byte_products / 1e9, limits.float_ops / 2e9);
    let points = || steps.iter().flat_map(|step| step.classes).filter_map(place);
    let left = points().map(|(x, _)| x).fold(0.25, f64::min) / 1.5;
    let right = points().map(|(x, _)| x).fold(dot / slope * 4.0, f64::max) * 1.5;
    let bottom = points().map(|(_, y)| y).fold(dot / 1e3, f64::min) / 1.5;
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (bottom..dot * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("multiply-adds a byte of memory traffic")
        .y_desc("billion multiply-adds a second")
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    let roofs = [(dot, format!("byte products: {} G/s", number(dot))), (float, format!("floats: {} G/s", number(float)))];
    for (roof, label) in roofs {
        let corner = roof / slope;
        let line = [(left, left * slope), (corner, roof), (right, roof)].map(|(x, y)| (x, f64::max(y, bottom)));
        chart.draw_series(LineSeries::new(line, &BLACK.mix(0.7)))?;
        chart.draw_series([Text::new(label, (corner * 1.05, roof * 1.12), ("sans-serif", 13).into_font())])?;
    }
    let at = left * 1.1;
    chart.draw_series([Text::new(
        format!("memory: {} GB/s", number(slope)),
        (at, f64::max(at * slope * 1.5, bottom)),
        ("sans-serif", 13).into_font(),
    )])?;
    for (index, step) in steps.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let total: u64 = step.classes.iter().map(|class| class.ns).sum();
        let series = step.classes.iter().filter_map(place).map(|point| Circle::new(point, 4, color.filled()));
        chart.draw_series(series)?.label(step.name).legend(move |(x, y)| Circle::new((x + 8, y), 4, color.filled()));
        let named = step.classes.iter().filter(|class| class.ns as f64 >= NAMED_SHARE * total as f64);
        let names =
            named.filter_map(|class| Some(Text::new(class.name.clone(), beside(place(class)?), ("sans-serif", 11).into_font().color(&color))));
        chart.draw_series(names)?;
    }
    chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).border_style(BLACK.mix(0.3)).background_style(WHITE).draw()?;
    root.present()?;
    Ok(())
}

/// Where a class stands; none if it computes or reads nothing.
fn place(class: &Class) -> Option<(f64, f64)> {
    let products = products(class);
    (class.bytes > 0 && products > 0.0 && class.ns > 0).then(|| (products / class.bytes as f64, products / class.ns as f64))
}

/// A little to the right.
fn beside((x, y): (f64, f64)) -> (f64, f64) {
    (x * 1.06, y)
}

/// Two or three digits.
fn number(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x if x >= 0.1 => format!("{x:.2}"),
        x => format!("{x:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_stands_where_its_work_and_time_put_it() {
        let class = |name: &str, bytes, byte_products, float_ops| Class { name: name.into(), launches: 1, ns: 1000, bytes, byte_products, float_ops };
        let limits = Limits { bytes: 30e9, byte_products: 500e9, float_ops: 60e9 };
        let classes = [class("decode_down", 10_000, 20_000, 0), class("copy", 10, 0, 0)];
        assert_eq!(place(&classes[0]), Some((2.0, 20.0)));
        assert_eq!(place(&classes[1]), None);
        let svg = svg("made up", &limits, &[Step { name: "decode", classes: &classes }]).expect("it is drawn");
        for part in ["<svg", "made up", "decode_down", "memory: 30.0 GB/s", "byte products: 500 G/s", "</svg>"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains(">copy<"));
    }
}
