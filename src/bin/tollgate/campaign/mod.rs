//! The default campaign: three fleets that harvest a service, among honest traffic.
//!
//! It follows what an LLM provider disclosed in February 2026: some 24,000 fraudulent accounts, over 16 million
//! exchanges, three campaigns. *Probe* is 150 thousand requests by 60 accounts that share cards and move
//! together; *thick* 3.4 million by 500 accounts of front organizations on several access paths; *hydra* 13
//! million by the rest through a pool of proxies, up to 20,000 at once with nearly even shares, replaced on a
//! schedule (a recording cannot react to denials), a third of the requests like anybody's, half of the volume
//! moving to a new model within a day of its release. About as many requests are honest: people at home, behind
//! carriers' addresses and on campuses, organizations, batch jobs at night, a day on which the service goes viral.
//!
//! A seed decides everything, in integers, so that it is the same on every machine. It is generated a minute at
//! a time: sessions that start in a minute lay their requests into a ring of minutes to come, and each minute
//! is sorted and handed out when it is reached. Memory depends on the accounts alone.

mod curve;
mod detail;
mod draw;
mod people;
mod scale;
mod stream;
#[cfg(test)]
mod tests;

use self::{
    curve::SLICE_MS,
    detail::{MODELS, Request},
    draw::Draws,
    people::People,
    scale::Scale,
    stream::{LONGEST_MS, Session, Stream},
};
use crate::{
    failure::Failure,
    row::{BATCH_ROWS, Batch, Names, Source},
};

/// Tiers by symbol.
const TIERS: [&str; 4] = ["unverified", "verified", "business", "enterprise"];

/// Labels by symbol.
const LABELS: [&str; 7] =
    ["legit", "legit-batch", "legit-flash", "attack:probe", "attack:thick", "attack:hydra", "drawer:hydra"];

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Label {
    Legit,
    Batch,
    Flash,
    Probe,
    Thick,
    Hydra,
    Drawer,
}

/// How large a campaign to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Accounts of the three fleets together.
    pub(crate) accounts: u32,
    /// Requests of the three fleets together, of the 16 million that are as disclosed.
    pub(crate) exchanges: u64,
    pub(crate) days: u32,
    pub(crate) seed: u64,
}

/// Slices that a session can reach into, and the one that it starts in.
const RING: usize = (LONGEST_MS / SLICE_MS) as usize + 2;

/// A request that waits for its minute.
#[derive(Clone, Copy)]
struct Event {
    /// Milliseconds into the slice, then a running number: no two are equal, so sorting is the same everywhere.
    order: u64,
    person: u32,
    session: u32,
    label: Label,
}

const ORDER_SHIFT: u32 = 48;

/// A campaign being generated.
pub(crate) struct Campaign {
    settings: Settings,
    scale: Scale,
    people: People,
    streams: Vec<Stream>,
    draws: Draws,
    /// By slice, modulo the ring's length.
    ring: Vec<Vec<Event>>,
    next_slice: usize,
    sequence: u64,
}

impl Campaign {
    pub(crate) fn new(settings: Settings) -> Campaign {
        let scale = Scale::new(&settings);
        let people = People::new(&scale, settings.seed);
        let streams = stream::streams(&scale, &people, settings.seed);
        let draws = Draws::new(settings.seed, 3);
        let ring = (0..RING).map(|_| Vec::new()).collect();
        Campaign { settings, scale, people, streams, draws, ring, next_slice: 0, sequence: 0 }
    }

    /// Generates the next minute.
    fn next_slice(&mut self, batch: &mut Batch) {
        let slice = self.next_slice;
        self.next_slice += 1;
        let Campaign { scale, streams, draws, ring, sequence, .. } = self;
        for stream in streams {
            let label = stream.label;
            stream
                .start(slice, scale, draws, |session| lay_out(session, slice, label, scale, ring, sequence));
        }
        let Some(due) = self.ring.get_mut(slice % RING) else { return };
        let mut events = std::mem::take(due);
        events.sort_unstable_by_key(|event| event.order);
        let new_model = self.scale.new_model_shares(slice);
        for event in &events {
            let Some(person) = self.people.all.get(event.person as usize) else { continue };
            let request = Request {
                at_ms: slice as u64 * SLICE_MS + (event.order >> ORDER_SHIFT),
                label: event.label,
                session: event.session,
                new_model,
            };
            batch.rows.push(detail::row(person, request, &self.people.addresses, &mut self.draws));
        }
        events.clear();
        if let Some(due) = self.ring.get_mut(slice % RING) {
            // The buffer is kept for the slice that comes here next.
            *due = events;
        }
    }
}

/// Puts the requests of `session` into the minutes that they fall in.
fn lay_out(
    session: Session,
    slice: usize,
    label: Label,
    scale: &Scale,
    ring: &mut [Vec<Event>],
    sequence: &mut u64,
) {
    let start = slice as u64 * SLICE_MS;
    let mut bits = u64::from(session.bits) << 32 | *sequence & 0xffff_ffff;
    let mut after = session.offset_ms;
    for _ in 0..session.requests {
        bits = draw::mix(bits);
        if after >= LONGEST_MS || start + after >= scale.length_ms() {
            // What would not fit is done somewhere in the minute that the session began in.
            after = bits % SLICE_MS;
        }
        let at_ms = start + after;
        if let Some(due) = ring.get_mut((at_ms / SLICE_MS) as usize % RING) {
            let order = (at_ms % SLICE_MS) << ORDER_SHIFT | *sequence;
            due.push(Event { order, person: session.person, session: session.bits, label });
        }
        *sequence += 1;
        let (least, most) = session.gap_ms;
        after += least + (bits >> 32) % (most - least + 1);
    }
}

impl Source for Campaign {
    fn next_batch(&mut self) -> Result<Batch, Failure> {
        let mut batch = Batch { rows: Vec::with_capacity(BATCH_ROWS * 2), names: Names::default() };
        if self.next_slice == 0 {
            batch.names.tiers.extend(TIERS.map(|tier| (tier.into(), 0)));
            batch.names.models.extend(MODELS.map(Box::from));
            batch.names.labels.extend(LABELS.map(Box::from));
        }
        while batch.rows.len() < BATCH_ROWS && self.next_slice < self.scale.slices {
            self.next_slice(&mut batch);
        }
        Ok(batch)
    }

    fn name(&self) -> String {
        let Settings { accounts, exchanges, days, seed } = self.settings;
        format!(
            "the generated campaign ({accounts} accounts, {exchanges} exchanges, {days} days, seed {seed})"
        )
    }

    fn expected_rows(&self) -> Option<u64> {
        Some(self.streams.iter().map(Stream::total).sum())
    }
}
