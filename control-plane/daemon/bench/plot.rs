//! A line through points, as SVG: the number of flows against nanoseconds.

use std::fmt::Write;

/// Draws points, two at least, from left to right: flows, on a logarithmic axis, and nanoseconds
/// per packet.
pub(super) fn svg(title: &str, points: &[(f64, f64)]) -> String {
    let axes = Axes::around(points);
    let mut svg = String::new();
    // A string takes all.
    let _ = axes.draw(&mut svg, title, points);
    svg
}

/// Which values the edges of the drawing stand for.
#[derive(Debug, PartialEq)]
struct Axes {
    /// Powers of ten.
    left: i32,
    right: i32,
    /// A multiple of `step`; the axis begins at 0.
    top: f64,
    /// Between two lines across.
    step: f64,
}

impl Axes {
    fn around(points: &[(f64, f64)]) -> Self {
        let flows = || points.iter().map(|(flows, _)| flows.log10());
        let left = flows().fold(f64::MAX, f64::min).floor() as i32;
        let right = (flows().fold(0.0, f64::max).ceil() as i32).max(left + 1);
        let most = points.iter().map(|(_, nanos)| *nanos).fold(1.0, f64::max);
        // 1, 2 or 5 times a power of ten, so that there are 4 to 10 lines.
        let power = 10_f64.powf((most / 10.0).log10().ceil());
        let steps = [power / 5.0, power / 2.0, power];
        let step = steps.into_iter().find(|step| most / step <= 10.0).unwrap_or(power);
        Self { left, right, top: (most / step).ceil() * step, step }
    }

    fn x(&self, flows: f64) -> f64 {
        let share = (flows.log10() - f64::from(self.left)) / f64::from(self.right - self.left);
        LEFT + share * WIDTH
    }

    fn y(&self, nanos: f64) -> f64 {
        TOP + (1.0 - nanos / self.top) * HEIGHT
    }

    fn draw(&self, svg: &mut String, title: &str, points: &[(f64, f64)]) -> std::fmt::Result {
        let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
        writeln!(
            svg,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 720 420' \
             font-family='sans-serif' font-size='13'>\n\
             <rect width='720' height='420' fill='white'/>\n\
             <text x='{LEFT}' y='24' font-size='15'>{}</text>",
            escaped(title),
        )?;
        for n in 0..=(self.top / self.step).round() as u32 {
            let nanos = f64::from(n) * self.step;
            let y = self.y(nanos);
            writeln!(
                svg,
                "<path d='M{LEFT} {y:.1}H{right}' stroke='#ddd'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{nanos}</text>",
                LEFT - 8.0,
                y + 4.0,
            )?;
        }
        for power in self.left..=self.right {
            let x = self.x(10_f64.powi(power));
            writeln!(
                svg,
                "<path d='M{x:.1} {TOP}V{bottom}' stroke='#ddd'/>\
                 <text x='{x:.1}' y='{:.1}' text-anchor='middle'>10<tspan dy='-6' \
                 font-size='10'>{power}</tspan></text>",
                bottom + 20.0,
            )?;
        }
        writeln!(
            svg,
            "<text x='{:.1}' y='{:.1}' text-anchor='middle'>flows at once</text>\n\
             <text transform='translate(18 {:.1}) rotate(-90)' text-anchor='middle'>\
             ns per packet</text>",
            LEFT + WIDTH / 2.0,
            bottom + 42.0,
            TOP + HEIGHT / 2.0,
        )?;
        let line: Vec<_> = points
            .iter()
            .map(|(flows, nanos)| format!("{:.1},{:.1}", self.x(*flows), self.y(*nanos)))
            .collect();
        let line = line.join(" ");
        writeln!(svg, "<polyline points='{line}' fill='none' stroke='#06c' stroke-width='2'/>")?;
        for (flows, nanos) in points {
            let (x, y) = (self.x(*flows), self.y(*nanos));
            writeln!(
                svg,
                "<circle cx='{x:.1}' cy='{y:.1}' r='4' fill='#06c'>\
                 <title>{flows} flows: {nanos:.1} ns</title></circle>",
            )?;
        }
        writeln!(svg, "</svg>")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

// Where the drawing is on a sheet of 720 by 420.
const LEFT: f64 = 70.0;
const TOP: f64 = 44.0;
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 310.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_all_points() {
        let axes = Axes::around(&[(1000.0, 31.0), (3000.0, 44.0), (1e7, 212.0)]);
        assert_eq!(axes, Axes { left: 3, right: 7, top: 250.0, step: 50.0 });
        assert_eq!((axes.x(1000.0), axes.x(1e7)), (LEFT, LEFT + WIDTH));
        assert_eq!((axes.y(0.0), axes.y(250.0)), (TOP + HEIGHT, TOP));
        let alike = Axes::around(&[(100.0, 7.0), (100.0, 7.0)]);
        assert_eq!(alike, Axes { left: 2, right: 3, top: 7.0, step: 1.0 });
    }

    #[test]
    fn every_point_is_drawn_and_the_title_is_text() {
        let svg = svg("A & B <C>", &[(1000.0, 31.0), (1e7, 212.0)]);
        assert!(svg.contains(">A &amp; B &lt;C></text>"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("points='70.0,315.6 690.0,91.1'"), "{svg}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
