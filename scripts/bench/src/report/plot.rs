//! The plot of a run: a bar for each client in each row, on a scale of tens.

use std::fmt::Write;

use crate::compare::peers::NAMES;
use crate::compare::rows::{self, Cell};
use crate::record::Run;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 60.0;
const BAR: f64 = 7.0;
const GAP: f64 = 12.0;

/// Those whose figures are always told.
const OURS: [&str; 3] = ["raw", "ours", "ours-batch"];

/// Ours and the floor stand out; the others go by family.
fn colour(peer: &str) -> &'static str {
    match peer {
        "raw" => "#9aa0a6",
        "ours" => "#d6336c",
        "ours-batch" => "#f783ac",
        "c-nodns" => "#1c7ed6",
        "c" => "#74c0fc",
        "java" => "#e8590c",
        "curator" => "#ffa94d",
        "kazoo" => "#f2b705",
        "zk08" => "#2b8a3e",
        "kezhuw-bo" => "#5f3dc4",
        "kezhuw-mt" => "#7950f2",
        "kezhuw-ct" => "#b197fc",
        "tokiozk-mt" => "#0b7285",
        _ => "#3bc9db",
    }
}

/// Rates as places from left to right.
struct Scale {
    least: i32,
    most: i32,
}

impl Scale {
    fn of(rates: &[f64]) -> Self {
        let least = rates.iter().copied().fold(f64::MAX, f64::min).max(1.0);
        let most = rates.iter().copied().fold(10.0, f64::max);
        let (least, most) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        Self { least: least.min(most - 1), most }
    }

    fn x(&self, rate: f64) -> f64 {
        let powers = f64::from(self.most - self.least);
        let share = (rate.max(1.0).log10() - f64::from(self.least)) / powers;
        LEFT + share.max(0.0) * (WIDTH - LEFT - RIGHT)
    }

    fn grid(&self, bottom: f64) -> String {
        let mut out = String::new();
        for power in self.least..=self.most {
            let x = self.x(10f64.powi(power));
            let _ = writeln!(out, "<line x1='{x:.1}' x2='{x:.1}' y1='{TOP}' y2='{bottom:.0}'/>");
            for y in [TOP - 6.0, bottom + 14.0] {
                let text = tick(power);
                let _ = writeln!(out, "<text class='axis' x='{x:.1}' y='{y:.0}'>{text}</text>");
            }
        }
        out
    }
}

pub(super) fn draw(run: &Run) -> String {
    let cells: Vec<Cell> = rows::rates().into_iter().filter(|cell| run.has(cell)).collect();
    let rates: Vec<Vec<(&str, f64)>> = cells.iter().map(|cell| rates(run, cell)).collect();
    let all: Vec<f64> = rates.iter().flatten().map(|&(_, rate)| rate).collect();
    let scale = Scale::of(&all);

    let mut body = String::new();
    let mut y = TOP;
    let mut server = "";
    for (cell, rates) in cells.iter().zip(&rates) {
        if cell.server != server {
            server = cell.server;
            let target =
                if server == "null" { "a server that answers at once" } else { "a real server" };
            let title = format!("Calls per second, against {target}");
            y += 22.0;
            let _ = writeln!(body, "<text class='title' x='16' y='{y:.0}'>{title}</text>");
            y += 14.0;
        }
        row(&mut body, &scale, y, &cell.name(), rates);
        y += BAR * rates.len() as f64 + GAP;
    }
    let height = y + 28.0;
    let (legend, grid) = (legend(&rates), scale.grid(y));
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0}' \
         width='{WIDTH}' height='{height:.0}'>\n{STYLE}\
         <rect class='paper' width='{WIDTH}' height='{height:.0}' rx='6'/>\n\
         {legend}<g class='grid'>\n{grid}</g>\n{body}</svg>\n"
    )
}

fn rates(run: &Run, cell: &Cell) -> Vec<(&'static str, f64)> {
    NAMES.into_iter().filter_map(|peer| Some((peer, run.median(cell, peer, "rate")?))).collect()
}

/// The bars of one row.
fn row(body: &mut String, scale: &Scale, mut y: f64, name: &str, rates: &[(&str, f64)]) {
    let middle = y + BAR * rates.len() as f64 / 2.0 + 4.0;
    let x = LEFT - 8.0;
    let _ = writeln!(body, "<text class='row' x='{x:.0}' y='{middle:.1}'>{name}</text>");
    let others = rates.iter().filter(|(peer, _)| !OURS.contains(peer));
    let best = others.fold(0.0, |best: f64, (_, rate)| best.max(*rate));
    for &(peer, rate) in rates {
        let (fill, end, text) = (colour(peer), scale.x(rate), super::short(rate));
        let (width, height) = ((end - LEFT).max(1.0), BAR - 1.0);
        let _ = writeln!(
            body,
            "<rect x='{LEFT}' y='{y:.1}' width='{width:.1}' height='{height}' fill='{fill}'>\
             <title>{peer}: {text}</title></rect>"
        );
        // Figures where they are looked for.
        if OURS.contains(&peer) || rate >= best {
            let (x, y) = (end + 4.0, y + BAR - 0.5);
            let _ = writeln!(body, "<text class='figure' x='{x:.1}' y='{y:.1}'>{text}</text>");
        }
        y += BAR;
    }
}

/// Its own paper, so that it reads on a light page and on a dark one.
const STYLE: &str = "<style>\n\
    text { font: 11px system-ui, sans-serif; fill: #24292f; }\n\
    .paper { fill: #ffffff; stroke: #d0d7de; }\n\
    .title { font-size: 14px; font-weight: 600; }\n\
    .row { text-anchor: end; }\n\
    .axis { text-anchor: middle; fill: #57606a; }\n\
    .figure { font-size: 8px; fill: #57606a; }\n\
    .grid line { stroke: #d8dee4; }\n\
    @media (prefers-color-scheme: dark) {\n\
    text { fill: #e6edf3; } .paper { fill: #161b22; stroke: #30363d; }\n\
    .axis, .figure { fill: #9da7b3; } .grid line { stroke: #30363d; } }\n\
    </style>\n";

fn tick(power: i32) -> String {
    let of = |less: i32| 10u64.pow((power - less).unsigned_abs());
    match power {
        6.. => format!("{} M", of(6)),
        3..=5 => format!("{} k", of(3)),
        _ => of(0).to_string(),
    }
}

fn legend(rates: &[Vec<(&str, f64)>]) -> String {
    let there = |peer: &&str| rates.iter().flatten().any(|(other, _)| other == peer);
    let mut out = String::new();
    let mut x = 16.0;
    for peer in NAMES.into_iter().filter(there) {
        let (fill, text) = (colour(peer), x + 14.0);
        let _ = writeln!(
            out,
            "<rect x='{x:.0}' y='16' width='10' height='10' fill='{fill}'/>\
             <text x='{text:.0}' y='25'>{peer}</text>"
        );
        x += 28.0 + 6.2 * peer.len() as f64;
    }
    out
}
