//! Who won, in words.

use freeboard_replay::compare::{Contender, Summary, best};

use super::table::time;

/// One sentence: the winner, and what sets it apart from PyTorch's policy as it comes, or from the
/// next best where that is the winner.
pub(super) fn verdict(summary: &[Summary]) -> String {
    let best = best(summary);
    let Some(&winner) = best.first() else {
        return "no contender".to_owned();
    };
    let names: Vec<_> = best.iter().map(|it| it.contender.as_str()).collect();
    let (names, verb) = match names[..] {
        [only] => (only.to_owned(), "wins"),
        _ => (format!("a tie of {}", names.join(" and ")), "is best"),
    };
    let others = || summary.iter().filter(|it| it.order(winner).is_gt());
    let pytorch = Contender::pytorch().name;
    let reference = others().find(|it| it.contender == pytorch);
    match reference.or_else(|| others().min_by(|a, b| a.order(b))) {
        Some(other) => format!("{names} {verb}: {}", reason(winner, other)),
        None => format!("{names}: exactly as good as each other"),
    }
}

/// The first of the criteria in which the two differ.
fn reason(winner: &Summary, other: &Summary) -> String {
    let name = &other.contender;
    if winner.deaths != other.deaths {
        let all = winner.traces;
        let own = match winner.deaths {
            0 => "survives everywhere".to_owned(),
            deaths => format!("dies on {deaths} of {all}"),
        };
        return format!("{own} where {name} dies on {} of {all}", other.deaths);
    }
    let figures = |of: fn(&Summary) -> Option<f64>| match (of(winner), of(other)) {
        (Some(own), Some(others)) if own.to_bits() != others.to_bits() => Some(apart(own, others)),
        _ => None,
    };
    if let Some((own, others)) = figures(|it| it.capacity_ratio_mean) {
        return format!("survives on {own} × the live peak where {name} needs {others} ×");
    }
    if let Some((own, others)) = figures(|it| it.reserved_ratio_mean) {
        return format!("holds {own} × what it hands out where {name} holds {others} ×");
    }
    let (own, others) = (time(winner.driver_time_ns), time(other.driver_time_ns));
    format!("as little memory as {name}, and {own} in the driver where that takes {others}")
}

/// Two numbers with as many decimals as it takes to tell them apart, from three on.
fn apart(a: f64, b: f64) -> (String, String) {
    let written = |decimals: usize| (format!("{a:.decimals$}"), format!("{b:.decimals$}"));
    (3..15).map(written).find(|(a, b)| a != b).unwrap_or_else(|| written(15))
}
