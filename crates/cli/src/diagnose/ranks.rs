//! [`Ranks`]: several processes of one job, and which of them is at fault.

use std::fmt;

use freeboard_snapshot::{Evidence, Verdict};
use freeboard_units::Bytes;
use serde::Serialize;

use super::case::Case;

/// Beyond this part of the others' median a rank is said to hold more than its share.
const IMBALANCED_PART: f64 = 0.05;

/// One rank.
#[derive(Serialize)]
pub(super) struct Rank {
    pub(super) name: String,
    pub(super) source: String,
    /// Why it failed, if it did.
    pub(super) verdict: Option<Verdict>,
    #[serde(skip)]
    pub(super) failed_at_us: Option<i64>,
    /// The most bytes in use at one time.
    pub(super) peak_allocated: Option<Bytes>,
}

/// Several ranks.
#[derive(Serialize)]
pub(super) struct Ranks {
    #[serde(rename = "ranks")]
    all: Vec<Rank>,
    /// The place in the list of the one that failed first, or holds most.
    pub(super) culprit: usize,
    /// The culprit's peak above the median of the others', if it is higher.
    imbalance: Option<Bytes>,
    /// Whether it is so much that it matters.
    is_imbalanced: bool,
    /// What the culprit holds most more of than another rank.
    excess: Option<(String, Bytes)>,
}

impl Ranks {
    /// These cases, of which there is at least one.
    pub(super) fn of(cases: &[Case]) -> Self {
        let ranks: Vec<Rank> = cases.iter().map(Rank::from).collect();
        let order = |&(place, rank): &(usize, &Rank)| {
            let failed_first = rank.failed_at_us.unwrap_or(i64::MAX);
            let most = std::cmp::Reverse(rank.peak_allocated.unwrap_or_default());
            (rank.verdict.is_none(), failed_first, most, place)
        };
        let culprit = ranks.iter().enumerate().min_by_key(order).map_or(0, |(place, _)| place);
        let peak = |rank: &Rank| rank.peak_allocated.unwrap_or_default();
        let others = || ranks.iter().enumerate().filter(|(place, _)| *place != culprit);
        let mut peaks: Vec<Bytes> = others().map(|(_, rank)| peak(rank)).collect();
        peaks.sort_unstable();
        let median = peaks.get(peaks.len() / 2).copied().unwrap_or_default();
        let above = ranks.get(culprit).map_or(Bytes::ZERO, peak).saturating_sub(median);
        let typical = others().find(|(_, rank)| peak(rank) == median).map(|(place, _)| place);
        let is_imbalanced = above.as_f64() > IMBALANCED_PART * median.as_f64();
        let excess = typical.and_then(|typical| excess(cases.get(culprit)?, cases.get(typical)?));
        let imbalance = Some(above).filter(|above| !above.is_zero());
        Self { all: ranks, culprit, imbalance, is_imbalanced, excess }
    }

    /// What the comparison shows.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let name = self.all.get(self.culprit).map_or("", |rank| &rank.name);
        let mut found = Vec::new();
        if let Some(above) = self.imbalance.filter(|_| self.is_imbalanced) {
            found.push(Evidence {
                what: "imbalance".to_owned(),
                bytes: Some(above),
                text: format!("{name} held more at its peak than the median of the other ranks"),
            });
        }
        if let Some((holder, bytes)) = self.excess.as_ref().filter(|_| self.is_imbalanced) {
            found.push(Evidence {
                what: "most of it".to_owned(),
                bytes: Some(*bytes),
                text: format!("at {holder}"),
            });
        }
        found
    }
}

/// The holder of which one rank has most more than another.
fn excess(culprit: &Case, typical: &Case) -> Option<(String, Bytes)> {
    let there = |name: &str| {
        let same = typical.holders.iter().find(|holder| holder.name == name);
        same.map_or(Bytes::ZERO, |holder| holder.bytes)
    };
    let more = culprit
        .holders
        .iter()
        .map(|holder| (holder.name.clone(), holder.bytes.saturating_sub(there(&holder.name))));
    more.max_by_key(|(_, bytes)| *bytes).filter(|(_, bytes)| !bytes.is_zero())
}

impl fmt::Display for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rank) in self.all.iter().enumerate() {
            let mark = if place == self.culprit { '>' } else { ' ' };
            let peak = rank.peak_allocated.map_or_else(String::new, |peak| peak.to_string());
            let verdict = rank.verdict.map_or("no failure", Verdict::name);
            writeln!(
                f,
                "{mark} {:<10} {peak:>12} at its peak  {verdict:<14} {}",
                rank.name, rank.source
            )?;
        }
        Ok(())
    }
}
