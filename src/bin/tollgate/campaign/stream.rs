//! One kind of traffic: how much of it, when, by whom, and in what sessions.

use super::{
    Label, Scale,
    curve::{Curve, SLICE_MS},
    draw::{Draws, Weights},
    people::{BUSINESS, People, Person},
};

/// The longest session, so that a ring of slices can hold what is still to come.
pub(super) const LONGEST_MS: u64 = 60 * 60_000;

/// A session about to be laid out in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) person: u32,
    pub(super) requests: u64,
    /// Between two requests, in milliseconds.
    pub(super) gap_ms: (u64, u64),
    /// After the start of the slice.
    pub(super) offset_ms: u64,
    pub(super) bits: u32,
}

/// Who starts the next session.
#[derive(Debug)]
enum Actors {
    /// By weight among those born so far.
    Born { people: Vec<u32>, births: Vec<i64>, weights: Weights, born: usize },
    /// Anyone, all alike.
    Any(Vec<u32>),
    /// All of them within the same minute.
    Together(Vec<u32>),
    /// A pool that grows to its size and then replaces one account by another on schedule.
    Pool { accounts: Vec<u32>, joined: usize, size: usize, active: Vec<u32> },
}

/// One kind of traffic.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) label: Label,
    total: u64,
    started: u64,
    curve: Curve,
    actors: Actors,
    /// The most requests of a session; few are that long.
    longest: u64,
    gap_ms: (u64, u64),
}

impl Stream {
    pub(super) fn new(label: Label, total: u64, curve: Curve, longest: u64, gap_ms: (u64, u64)) -> Stream {
        Stream { label, total, started: 0, curve, actors: Actors::Any(Vec::new()), longest, gap_ms }
    }

    pub(super) fn total(&self) -> u64 {
        if self.has_nobody() { 0 } else { self.total }
    }

    fn has_nobody(&self) -> bool {
        match &self.actors {
            Actors::Born { people, .. } => people.is_empty(),
            Actors::Any(people) | Actors::Together(people) => people.is_empty(),
            Actors::Pool { accounts, .. } => accounts.is_empty(),
        }
    }

    /// Heavy-tailed use by `people`, who are sorted by birth: the larger `flatness`, the lighter the tail.
    pub(super) fn by_weight(
        mut self,
        list: &[u32],
        people: &[Person],
        flatness: u64,
        draws: &mut Draws,
    ) -> Stream {
        let mut weights = Weights::default();
        let count = list.len() as u64;
        for _ in list {
            let rank = draws.below(count);
            weights.push((1 << 30) / (rank + count * flatness / 1000 + 1));
        }
        let births = list.iter().map(|index| people.get(*index as usize).map_or(0, |person| person.since_ms));
        self.actors = Actors::Born { people: list.to_vec(), births: births.collect(), weights, born: 0 };
        self
    }

    pub(super) fn by_any(mut self, list: Vec<u32>) -> Stream {
        self.actors = Actors::Any(list);
        self
    }

    pub(super) fn together(mut self, list: &[u32]) -> Stream {
        self.actors = Actors::Together(list.to_vec());
        self
    }

    pub(super) fn by_pool(mut self, accounts: &[u32], size: usize) -> Stream {
        self.actors = Actors::Pool { accounts: accounts.to_vec(), joined: 0, size, active: Vec::new() };
        self
    }

    /// Starts the sessions that are due in `slice`.
    pub(super) fn start(
        &mut self,
        slice: usize,
        scale: &Scale,
        draws: &mut Draws,
        mut emit: impl FnMut(Session),
    ) {
        let due = self.curve.due(self.total, slice);
        let last = slice + 1 >= scale.slices;
        self.actors.update(slice, scale, draws);
        while self.started < due {
            // Few sessions are long; the last one is cut to what is left of the total.
            let most = draws.below(self.longest);
            let mut requests = 1 + draws.below(most + 1);
            let mut session = |person, requests, draws: &mut Draws| {
                let (offset_ms, bits) = (draws.below(SLICE_MS), draws.bits() as u32);
                emit(Session { person, requests, gap_ms: self.gap_ms, offset_ms, bits });
            };
            if let Actors::Together(people) = &self.actors {
                let volley = requests * people.len() as u64;
                let left = self.total - self.started;
                // A volley waits until all of it is due, unless this is all that is left.
                if self.started + volley > due && !(last || volley > left) {
                    break;
                }
                for person in people {
                    let requests = requests.min(self.total - self.started);
                    self.started += requests;
                    if requests > 0 {
                        session(*person, requests, draws);
                    }
                }
                if people.is_empty() {
                    break;
                }
                continue;
            }
            let Some(person) = self.actors.pick(draws) else { break };
            requests = requests.min(self.total - self.started);
            self.started += requests;
            session(person, requests, draws);
        }
    }
}

impl Actors {
    /// Lets people be born and accounts join.
    fn update(&mut self, slice: usize, scale: &Scale, draws: &mut Draws) {
        match self {
            Actors::Born { births, born, .. } => {
                let now = (slice as u64 * SLICE_MS) as i64;
                while births.get(*born).is_some_and(|birth| *birth <= now) {
                    *born += 1;
                }
            }
            Actors::Pool { accounts, joined, size, active } => {
                while let Some(account) = accounts.get(*joined)
                    && scale.activation_slice(*joined as u32) <= slice
                {
                    if active.len() < *size {
                        active.push(*account);
                    } else {
                        let stopped = draws.index(active.len());
                        if let Some(place) = active.get_mut(stopped) {
                            *place = *account;
                        }
                    }
                    *joined += 1;
                }
            }
            Actors::Any(_) | Actors::Together(_) => {}
        }
    }

    fn pick(&self, draws: &mut Draws) -> Option<u32> {
        match self {
            Actors::Born { people, weights, born, .. } => {
                people.get(weights.pick(draws, (*born).min(weights.len()))?).copied()
            }
            Actors::Any(people) | Actors::Together(people) | Actors::Pool { active: people, .. } => {
                people.get(draws.index(people.len())).copied()
            }
        }
    }
}

/// Everything that happens in the trace.
pub(super) fn streams(scale: &Scale, people: &People, seed: u64) -> Vec<Stream> {
    use super::curve::Rhythm::{Always, Home, Night, Office};
    let mut draws = Draws::new(seed, 2);
    let curve = |weight: &dyn Fn(usize) -> u64| Curve::new(scale.slices, weight);
    let during = |range: &std::ops::Range<usize>, slice: usize| u64::from(range.contains(&slice));
    let viral = |slice: usize| match slice.checked_sub(scale.viral_slice) {
        Some(after) if after < 24 * 60 => 10_000 / (1 + after as u64 / 60),
        _ => 0,
    };
    // Batch jobs run under one in two hundred of the organizations' keys, where a contract allows for them.
    let person = |index: &u32| people.all.get(*index as usize);
    let settled = |index: &&u32| person(index).is_some_and(|person| person.since_ms < 0);
    let mut jobs: Vec<u32> = people.teams.iter().filter(settled).copied().collect();
    jobs.sort_by_key(|index| person(index).is_none_or(|person| person.tier < BUSINESS));
    jobs.truncate(people.teams.len().div_ceil(200));
    vec![
        Stream::new(
            Label::Legit,
            scale.individual_requests,
            curve(&|slice| Home.weight(slice)),
            14,
            (8_000, 110_000),
        )
        .by_weight(&people.individuals, &people.all, 20, &mut draws),
        Stream::new(
            Label::Legit,
            scale.team_requests,
            curve(&|slice| Office.weight(slice)),
            30,
            (300, 30_000),
        )
        .by_weight(&people.teams, &people.all, 5, &mut draws),
        Stream::new(
            Label::Batch,
            scale.batch_requests,
            curve(&|slice| Night.weight(slice)),
            500,
            (400, 2_500),
        )
        .by_any(jobs),
        Stream::new(Label::Flash, scale.viral_requests, curve(&viral), 10, (5_000, 60_000)).by_weight(
            &people.guests,
            &people.all,
            500,
            &mut draws,
        ),
        Stream::new(
            Label::Probe,
            scale.probe_requests,
            curve(&|slice| during(&scale.probe_slices, slice) * Office.weight(slice)),
            24,
            (2_000, 15_000),
        )
        .together(&people.probe),
        Stream::new(
            Label::Thick,
            scale.thick_requests,
            curve(&|slice| during(&scale.thick_slices, slice) * Always.weight(slice)),
            60,
            (3_000, 20_000),
        )
        .by_any(people.thick.clone()),
        Stream::new(
            Label::Hydra,
            scale.hydra_requests,
            curve(&|slice| {
                // As many as have joined, for the shares to be even.
                let joined = scale.active_at(slice);
                during(&scale.hydra_slices, slice) * Always.weight(slice) * joined
            }),
            7,
            (8_000, 90_000),
        )
        .by_pool(&people.hydra, scale.pool_size()),
        Stream::new(
            Label::Drawer,
            people.drawer.len() as u64 * 4,
            curve(&|slice| u64::from(slice < scale.hydra_slices.start) * Home.weight(slice)),
            3,
            (10_000, 120_000),
        )
        .by_any(people.drawer.clone()),
    ]
}
