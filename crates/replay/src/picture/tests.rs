//! Pictures of odd data, and what thinning keeps.

use std::fs;

use freeboard_units::Bytes;
use proptest::prelude::*;

use super::{Panel, STRETCHES, Series, axis, draw, save, thin};
use crate::run::Sample;

fn sample(op: usize, allocated: u64, reserved: u64) -> Sample {
    Sample { op, allocated: Bytes::new(allocated), reserved: Bytes::new(reserved) }
}

fn panel(title: &str, series: &[&[Sample]]) -> Panel {
    let named = |(index, samples): (usize, &&[Sample])| Series {
        name: format!("policy {index}"),
        samples: samples.to_vec(),
    };
    let series = series.iter().enumerate().map(named).collect();
    Panel { title: title.into(), capacity: None, series }
}

#[test]
fn odd_data_is_drawn_all_the_same() {
    let one = [sample(1, 1 << 30, 2 << 30)];
    let zeros = [sample(1, 0, 0), sample(2, 0, 0)];
    let late = [sample(usize::MAX / 4096, 1, 1)];
    let huge = [sample(1, u64::MAX, u64::MAX)];
    let odd: [&[&[Sample]]; 7] =
        [&[], &[&[]], &[&one], &[&zeros, &[]], &[&one, &zeros], &[&late], &[&huge]];
    for series in odd {
        for capacity in [None, Some(Bytes::ZERO), Some(Bytes::gib(1)), Some(Bytes::MAX)] {
            let text = draw(&[Panel { capacity, ..panel("odd", series) }]).unwrap();
            assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"));
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
    assert!(draw(&[]).unwrap().contains("nothing to show"));
}

#[test]
fn odd_names_are_escaped_and_long_ones_cut() {
    let mut odd = panel("<b> & \"q\" \u{1}\u{0}\u{1b}[0m é", &[&[]]);
    odd.series[0].name = format!("</svg>,{}", "long,".repeat(100));
    let text = draw(&[odd]).unwrap();
    assert!(text.contains("&lt;b&gt; &amp; &quot;q&quot; \u{fffd}\u{fffd}\u{fffd}[0m é"));
    assert_eq!(text.matches("</svg>").count(), 1);
    assert!(text.contains('…') && !text.contains(&"long,".repeat(10)));
    assert!(text.chars().all(|c| !c.is_control() || c == '\n'));
}

#[test]
fn peaks_capacity_and_early_ends_are_told() {
    let (full, short) =
        ([sample(1, 4 << 20, 6 << 20), sample(9000, 1, 8 << 20)], [sample(1, 4 << 20, 6 << 20)]);
    let mut told = panel("told", &[&full, &short]);
    let beyond = draw(&[Panel { capacity: Some(Bytes::gib(80)), ..told.clone() }]).unwrap();
    assert!(beyond.contains("80.00 GiB, above the picture"));
    told.capacity = Some(Bytes::mib(10));
    let text = draw(&[told]).unwrap();
    for words in [
        "reserved, peak 8.00 MiB (2.000 ×)",
        "reserved, peak 6.00 MiB (1.500 ×)",
        "ends at operation 1\n",
        "10.00 MiB\n",
        "operations (thousands)",
        "peak 4.00 MiB",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn every_grey_has_another_one_for_dark_pages() {
    let samples = [sample(1, 4 << 20, 6 << 20), sample(2, 2 << 20, 6 << 20)];
    let dark = Panel { capacity: Some(Bytes::mib(7)), ..panel("dark", &[&samples]) };
    let text = draw(&[dark]).unwrap();
    let (style, drawn) = text.split_once("</style>").unwrap();
    let mut greys = 0;
    for name in ["fill=\"", "stroke=\""] {
        for color in drawn.split(name).skip(1).filter_map(|rest| rest.get(1..7)) {
            let channel = |at| u8::from_str_radix(&color[at..at + 2], 16);
            let [Ok(red), Ok(green), Ok(blue)] = [0, 2, 4].map(channel) else { continue };
            if red.max(green).max(blue) - red.min(green).min(blue) < 60 {
                greys += 1;
                assert!(style.contains(&format!("[{name}#{color}\"]")), "{name}{color}");
            }
        }
    }
    assert!(greys > 10, "{greys} greys");
}

#[test]
fn a_long_legend_makes_its_panel_higher() {
    let height = |series: usize| {
        let text = draw(&[panel("high", &vec![&[][..]; series])]).unwrap();
        let height = text.split("height=\"").nth(1).unwrap();
        height.split('"').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(height(1), height(2));
    assert!(height(20) > height(2));
}

#[test]
fn the_same_data_gives_the_same_text_and_the_file_holds_it() {
    let panels = [panel("same", &[&[sample(1, 1, 2), sample(2, 3, 4)]])];
    let text = draw(&panels).unwrap();
    assert_eq!(text, draw(&panels).unwrap());
    let folder = std::env::temp_dir().join(format!("freeboard-picture-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("same.svg");
    save(&panels, &path).unwrap();
    save(&panels, &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let error = save(&panels, folder.join("missing/same.svg")).unwrap_err().to_string();
    assert!(error.contains("missing/same.svg"), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn numbers_are_written_without_needless_zeros_and_with_thousands_apart() {
    assert_eq!([0.0, 1.5, 20.0, 0.125, -0.0].map(axis::tick), ["0", "1.5", "20", "0.125", "0"]);
    assert_eq!([0, 999, 1000, 1_234_567].map(axis::grouped), ["0", "999", "1,000", "1,234,567"]);
}

proptest! {
    #[test]
    fn thinning_keeps_ends_peaks_and_order(
        memory in prop::collection::vec((0_u64..9, 0_u64..9), 0..400),
        stretches in 0_usize..40,
    ) {
        let samples: Vec<_> =
            memory.iter().enumerate().map(|(op, (a, r))| sample(op + 1, *a, *r)).collect();
        let thinned = thin(&samples, stretches);
        if stretches == 0 {
            prop_assert!(thinned.is_empty());
            return Ok(());
        }
        prop_assert!(thinned.len() <= samples.len().min(stretches * 12));
        prop_assert!(thinned.windows(2).all(|pair| pair[0].op < pair[1].op));
        prop_assert_eq!(thinned.first(), samples.first());
        prop_assert_eq!(thinned.last(), samples.last());
        let peak = |samples: &[Sample]| {
            let allocated = samples.iter().map(|it| it.allocated).max();
            (allocated, samples.iter().map(|it| it.reserved).max())
        };
        prop_assert_eq!(peak(&thinned), peak(&samples));
    }
}

#[test]
fn a_long_run_makes_a_small_picture() {
    let samples: Vec<_> = (0..200_000)
        .map(|op| sample(op, (op as u64 * 7919) % 5000, 5000 + op as u64 % 2))
        .collect();
    let text = draw(&[panel("long", &[&thin(&samples, STRETCHES)])]).unwrap();
    assert!(text.len() < 200_000, "{}", text.len());
}
