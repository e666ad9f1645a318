//! What a bundle is called: rank, step and time.

/// Where launchers tell the rank, in the order they are asked.
pub(super) const RANKS: [&str; 4] = ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"];

/// The first variable that is a number.
pub(super) fn rank(variable: impl Fn(&str) -> Option<String>) -> Option<u64> {
    RANKS.iter().find_map(|name| variable(name)?.trim().parse().ok())
}

/// `rank3-step120-20261121T105223Z`; the process's number where no rank is known.
pub(super) fn name(rank: Option<u64>, step: Option<u64>, time_us: i64) -> String {
    let who =
        rank.map_or_else(|| format!("pid{}", std::process::id()), |rank| format!("rank{rank}"));
    let step = step.map_or_else(String::new, |step| format!("-step{step}"));
    format!("{who}{step}-{}", timestamp(time_us))
}

/// Date and time of day, in UTC, without signs that file systems dislike.
pub(super) fn timestamp(time_us: i64) -> String {
    let seconds = time_us.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The date so many days after 1 January 1970. Years begin in March here, so that leap days come last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 1 March of year 0
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097)); // of 400 years
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_rank_step_and_time() {
        let time = 1_795_258_343_000_000; // date -u -d @1795258343
        assert_eq!(name(Some(3), Some(120), time), "rank3-step120-20261121T105223Z");
        assert_eq!(name(None, None, 0), format!("pid{}-19700101T000000Z", std::process::id()));
        assert_eq!(timestamp(951_782_400_000_000), "20000229T000000Z");
        assert_eq!(timestamp(4_107_542_399_000_000), "21000228T235959Z");
        assert_eq!(timestamp(-1), "19691231T235959Z");
    }

    #[test]
    fn the_rank_is_the_first_variable_that_is_a_number() {
        let with = |set: &'static [(&str, &str)]| {
            rank(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("RANK", "7"), ("PMI_RANK", "1")]), Some(7));
        assert_eq!(with(&[("RANK", "../../etc"), ("SLURM_PROCID", " 5\n")]), Some(5));
        assert_eq!(with(&[("OMPI_COMM_WORLD_RANK", "-1"), ("PMI_RANK", "2")]), Some(2));
    }
}
