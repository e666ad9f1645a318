//! One panel: axes, area and lines.

use freeboard_units::Bytes;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::axis::{Unit, tick};
use super::{DrawError, FAINT, INK, Panel, Series, label, legend, pixels};
use crate::run::Sample;

pub(super) const PLOT_WIDTH: u32 = 900;
pub(super) const LEFT: u32 = 84;
pub(super) const HEIGHT_MIN: u32 = TOP + PLOT_HEIGHT + BOTTOM;

const PLOT_HEIGHT: u32 = 250;
const TOP: u32 = 54;
const BOTTOM: u32 = 66;

/// Allocated at every moment of a stretch.
pub(super) const AREA: RGBColor = RGBColor(0xc3, 0xca, 0xd3);
/// Allocated at some moment of a stretch.
pub(super) const AREA_FAINT: RGBColor = RGBColor(0xe2, 0xe6, 0xeb);
const GRID: RGBColor = RGBColor(0xe9, 0xeb, 0xee);

/// The colours of Okabe and Ito, which people with any colour vision tell apart.
const COLORS: [RGBColor; 7] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

/// Device memory is drawn where the axis need not grow more than this for it.
const CAPACITY_SHOWN: f64 = 1.35;

/// How a policy's line is drawn: later ones thinner, so that those below show at both sides.
pub(super) fn stroke(index: usize) -> ShapeStyle {
    let width = match index {
        0 => 6,
        1 => 4,
        _ => 2,
    };
    COLORS[index % COLORS.len()].stroke_width(width)
}

/// What a panel spans.
pub(super) struct Range {
    pub(super) allocated: Bytes,
    pub(super) reserved: Bytes,
    pub(super) last_op: usize,
}

impl Range {
    pub(super) fn of(panel: &Panel) -> Self {
        let samples = || panel.series.iter().flat_map(|series| &series.samples);
        let most = |of: fn(&Sample) -> Bytes| samples().map(of).max().unwrap_or(Bytes::ZERO);
        Self {
            allocated: most(|sample| sample.allocated),
            reserved: most(|sample| sample.reserved),
            last_op: samples().map(|sample| sample.op).max().unwrap_or(0),
        }
    }

    fn top(&self) -> Bytes {
        self.allocated.max(self.reserved)
    }

    pub(super) fn shows(&self, capacity: Bytes) -> bool {
        capacity.as_f64() <= self.top().as_f64() * CAPACITY_SHOWN
    }
}

pub(super) fn height(panel: &Panel) -> u32 {
    let legend = legend::height(&legend::entries(panel)).unsigned_abs();
    HEIGHT_MIN.max(TOP + legend + 20)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'c, 'a> = ChartContext<'c, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(super) fn draw(area: &Area<'_>, panel: &Panel) -> Result<(), DrawError> {
    area.draw(&label(&panel.title, (pixels(LEFT), pixels(TOP / 2)), 24, INK))?;
    let beside =
        area.clone().shrink((LEFT + PLOT_WIDTH + 24, TOP), (legend::WIDTH, height(panel) - TOP));
    legend::draw(&beside, &legend::entries(panel))?;

    let range = Range::of(panel);
    let capacity = panel.capacity.filter(|capacity| range.shows(*capacity));
    let top = range.top().max(capacity.unwrap_or(Bytes::ZERO));
    let (x, y) = (Unit::of_operations(range.last_op), Unit::of_bytes(top));
    let right = x.operations(range.last_op.max(1));
    let highest = if top.is_zero() { 1.0 } else { y.bytes(top) * 1.06 };

    let plot = area.clone().shrink((0, TOP), (LEFT + PLOT_WIDTH, PLOT_HEIGHT + BOTTOM - 14));
    let mut chart = ChartBuilder::on(&plot)
        .x_label_area_size(BOTTOM - 14)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(0.0..right, 0.0..highest)?;
    let font = |size: u32, color| ("sans-serif", size).into_font().color(&color);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .x_labels(10)
        .y_labels(8)
        .x_desc(x.name)
        .label_style(font(16, FAINT))
        .axis_desc_style(font(17, FAINT))
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| format!("{} {}", tick(*value), y.name))
        .draw()?;
    draw_allocated(&mut chart, panel, (x, y))?;
    for (index, series) in panel.series.iter().enumerate() {
        draw_reserved(&mut chart, series, (x, y), stroke(index))?;
    }
    for (index, series) in panel.series.iter().enumerate() {
        draw_early_end(&mut chart, series, (x, y), (range.last_op, stroke(index)))?;
    }
    if let Some(capacity) = capacity {
        let line = [(0.0, y.bytes(capacity)), (right, y.bytes(capacity))];
        chart.draw_series(DashedLineSeries::new(line, 8, 6, INK.stroke_width(2)))?;
    }
    Ok(())
}

/// A value holds from the operation before it up to its own.
fn steps(samples: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut before = 0.0;
    for (x, y) in samples {
        points.extend([(before, y), (x, y)]);
        before = x;
    }
    points
}

/// The grey area, of the series that comes furthest: they differ by rounding at most.
fn draw_allocated(
    chart: &mut Chart<'_, '_>,
    panel: &Panel,
    (x, y): (Unit, Unit),
) -> Result<(), DrawError> {
    let last = |series: &Series| series.samples.last().map_or(0, |sample| sample.op);
    let Some(longest) = panel.series.iter().rev().max_by_key(|series| last(series)) else {
        return Ok(());
    };
    let stretches = stretches(&longest.samples);
    let course = |of: fn(&Stretch) -> Bytes| {
        steps(stretches.iter().map(|it| (x.operations(it.op), y.bytes(of(it)))))
    };
    chart.draw_series(AreaSeries::new(course(|it| it.most), 0.0, AREA_FAINT))?;
    chart.draw_series(AreaSeries::new(course(|it| it.least), 0.0, AREA))?;
    Ok(())
}

/// Allocated in one column of the picture.
struct Stretch {
    op: usize,
    least: Bytes,
    most: Bytes,
}

fn stretches(samples: &[Sample]) -> Vec<Stretch> {
    let last = samples.last().map_or(0, |sample| sample.op);
    let column = |op: usize| op * PLOT_WIDTH as usize / last.max(1);
    let stretch = |samples: &[Sample]| {
        let allocated = || samples.iter().map(|sample| sample.allocated);
        Some(Stretch {
            op: samples.last()?.op,
            least: allocated().min()?,
            most: allocated().max()?,
        })
    };
    samples.chunk_by(|a, b| column(a.op) == column(b.op)).filter_map(stretch).collect()
}

fn draw_reserved(
    chart: &mut Chart<'_, '_>,
    series: &Series,
    (x, y): (Unit, Unit),
    style: ShapeStyle,
) -> Result<(), DrawError> {
    let thinned = super::thin(&series.samples, super::STRETCHES * 2);
    let course = thinned.iter().map(|it| (x.operations(it.op), y.bytes(it.reserved)));
    let mut points = steps(course);
    // Points in the middle of a level stretch only make the file longer.
    points.dedup_by(|next, point| next == point);
    let level: Vec<_> = (0..points.len())
        .filter(|&index| {
            let height = |index: usize| points.get(index).map(|point| point.1.to_bits());
            let same = index > 0 && height(index - 1) == height(index);
            !(same && height(index) == height(index + 1))
        })
        .map(|index| points[index])
        .collect();
    chart.draw_series(LineSeries::new(level, style))?;
    Ok(())
}

/// A cross where a run stopped before the others.
fn draw_early_end(
    chart: &mut Chart<'_, '_>,
    series: &Series,
    (x, y): (Unit, Unit),
    (last_op, style): (usize, ShapeStyle),
) -> Result<(), DrawError> {
    let end = series.samples.last().filter(|sample| sample.op < last_op);
    let place = end.map(|sample| (x.operations(sample.op), y.bytes(sample.reserved)));
    chart.draw_series(place.map(|place| Cross::new(place, 7, style.color.stroke_width(3))))?;
    Ok(())
}
