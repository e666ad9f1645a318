//! Who won, in words.

use freeboard_replay::compare::{Contender, Summary, best};

use super::table::time;

/// One sentence: the winner, and what sets it apart from PyTorch's policy as it comes, or from the
/// next best where that is the winner.
pub(super) fn verdict(summary: &[Summary]) -> String {
    let winner = match best(summary)[..] {
        [] => return "no contender".to_owned(),
        [only] => only,
        ref equals => {
            let names: Vec<_> = equals.iter().map(|it| it.contender.as_str()).collect();
            return format!("a tie: {} do exactly as well", names.join(" and "));
        }
    };
    let others = || summary.iter().filter(|it| it.contender != winner.contender);
    let pytorch = Contender::pytorch().name;
    let reference = others().find(|it| it.contender == pytorch);
    let Some(other) = reference.or_else(|| others().min_by(|a, b| a.order(b))) else {
        return format!("{} runs alone", winner.contender);
    };
    format!("{} wins: {}", winner.contender, reason(winner, other))
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
