//! Steps: what the program marked, and where one ends.

use super::Timeline;
use crate::history::Action;
use crate::names::NameId;

/// Something the program marked, placed among the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How many events came before it.
    pub position: u32,
    /// When, in microseconds since 1970.
    pub time_us: i64,
    /// What: `Optimizer.step#AdamW.step`, say.
    pub name: NameId,
    /// `START` or `END`; empty for a mark without length.
    pub stage: NameId,
}

/// One training step: the events from the end of the step before to its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number among the steps of this history, from 0. Where the history begins with the
    /// program, number 0 holds the loading of the model, too.
    pub number: u32,
    /// Its first event.
    pub first: u32,
    /// The event after its last.
    pub end: u32,
    /// Whether its end is marked; only the last step may lack that.
    pub is_complete: bool,
}

impl Timeline<'_> {
    /// What the program marked, in order of time: annotations of this device (or of any, if it has
    /// none of its own) and `annotate` events.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        let annotations = &self.snapshot().annotations;
        let has_own = annotations.iter().any(|mark| mark.device == self.device());
        let of_device = annotations.iter().filter(|mark| !has_own || mark.device == self.device());
        let mut marks: Vec<Mark> = of_device
            .map(|mark| Mark {
                position: self.position_of(mark.time_us),
                time_us: mark.time_us,
                name: mark.name,
                stage: mark.stage,
            })
            .collect();
        let noted = (0..).zip(self.events()).filter(|(_, event)| event.action == Action::Annotate);
        marks.extend(noted.map(|(position, event)| Mark {
            position,
            time_us: event.time_us,
            name: event.tag,
            stage: NameId::default(),
        }));
        marks.sort_by_key(|mark| (mark.position, mark.time_us));
        marks
    }

    /// The training steps, where the program marked them: a step ends where the optimizer's step
    /// ends (`Optimizer.step…` `END`), or else where a mark `step` or `ProfilerStep` says that the
    /// next begins. Empty where nothing is marked.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let ends = self.step_ends();
        let last = u32::try_from(self.events().len()).unwrap_or(u32::MAX);
        let mut steps = Vec::with_capacity(ends.len() + 1);
        let mut first = 0;
        for end in ends.iter().copied().filter(|end| *end > 0) {
            let number = u32::try_from(steps.len()).unwrap_or(u32::MAX);
            steps.push(Step { number, first, end, is_complete: true });
            first = end;
        }
        if !steps.is_empty() && first < last {
            let number = u32::try_from(steps.len()).unwrap_or(u32::MAX);
            steps.push(Step { number, first, end: last, is_complete: false });
        }
        steps
    }

    /// How many events came before a time.
    fn position_of(&self, time_us: i64) -> u32 {
        let before = self.events().partition_point(|event| event.time_us < time_us);
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// Where steps end: numbers of events before, each once.
    fn step_ends(&self) -> Vec<u32> {
        let names = &self.snapshot().names;
        let marks = self.marks();
        let of = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<u32> {
            let chosen =
                marks.iter().filter(|mark| wanted(names.get(mark.name), names.get(mark.stage)));
            let mut ends: Vec<u32> = chosen.map(|mark| mark.position).collect();
            ends.dedup();
            ends
        };
        let optimizer = of(&|name, stage| name.starts_with("Optimizer.step") && stage == "END");
        if !optimizer.is_empty() {
            return optimizer;
        }
        of(&|name, stage| {
            let is_step = name.starts_with("ProfilerStep")
                || name.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("step"));
            is_step && stage != "END"
        })
    }
}
