//! What a row spends on each meter of a policy.
//!
//! `requests`, `input_tokens` and `output_tokens` are measured on every row; `MODEL.requests`,
//! `MODEL.input_tokens` and `MODEL.output_tokens` on rows of that model. A trace tells nothing about any other
//! meter: nothing is charged to it.

use crate::row::Row;

#[derive(Clone, Copy, Debug)]
enum Measure {
    Requests,
    Input,
    Output,
}

impl Measure {
    fn named(name: &str) -> Option<Measure> {
        match name {
            "requests" => Some(Measure::Requests),
            "input_tokens" => Some(Measure::Input),
            "output_tokens" => Some(Measure::Output),
            _ => None,
        }
    }
}

/// The meters of a policy that a trace says something about, by their position in the policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    always: Vec<(usize, Measure)>,
    of_one_model: Vec<(Box<str>, usize, Measure)>,
    /// By model's symbol: the meters for all, and its own.
    by_model: Vec<Vec<(usize, Measure)>>,
}

impl Meters {
    /// The meters called `names`.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Meters {
        let mut meters = Meters::default();
        for (index, name) in names.into_iter().enumerate() {
            if let Some(measure) = Measure::named(name) {
                meters.always.push((index, measure));
            } else if let Some((model, name)) = name.rsplit_once('.')
                && let Some(measure) = Measure::named(name)
            {
                meters.of_one_model.push((model.into(), index, measure));
            }
        }
        meters
    }

    /// Continues the numbering of models with `names`.
    pub(crate) fn learn_models(&mut self, names: &[Box<str>]) {
        for name in names {
            let own = self.of_one_model.iter().filter(|(model, ..)| model == name);
            let own = own.map(|(_, index, measure)| (*index, *measure));
            self.by_model.push(self.always.iter().copied().chain(own).collect());
        }
    }

    /// What `row` spends if it has `output_tokens`: pairs of a meter's position and an amount.
    pub(crate) fn amounts(&self, row: &Row, output_tokens: u32) -> impl Iterator<Item = (usize, u64)> {
        let meters = self.by_model.get(row.model as usize).map_or(&[][..], Vec::as_slice);
        let (input, output) = (u64::from(row.input_tokens), u64::from(output_tokens));
        meters.iter().map(move |(index, measure)| match measure {
            Measure::Requests => (*index, 1),
            Measure::Input => (*index, input),
            Measure::Output => (*index, output),
        })
    }
}
