//! What one request looks like: model, tokens, address, client, template.

use std::num::NonZeroU64;

use super::{
    Label,
    draw::{Draws, Spread, mix},
    people::{Addresses, Person, Place},
};
use crate::row::{Evidence, Row, Value};

/// Models by symbol; the last is the one that is released during the trace.
pub(super) const MODELS: [&str; 5] = ["opal-small", "opal-mid", "opal-large", "opus", "opal-next"];
const NEW_MODEL: u32 = 4;

/// Templates of public libraries and frameworks, used by everyone.
const LIBRARY: u64 = 400;
/// The part of the library that extraction works with: long tasks that honest people ask for as well.
const TASKS: u64 = 60;

const CHAT_INPUT: Spread = Spread { median: 520, quarters: 6, most: 100_000 };
const CHAT_OUTPUT: Spread = Spread { median: 260, quarters: 5, most: 8_000 };
const BATCH_INPUT: Spread = Spread { median: 1_400, quarters: 3, most: 100_000 };
const BATCH_OUTPUT: Spread = Spread { median: 180, quarters: 3, most: 8_000 };
const EXTRACTION_INPUT: Spread = Spread { median: 340, quarters: 4, most: 100_000 };
const EXTRACTION_OUTPUT: Spread = Spread { median: 800, quarters: 3, most: 8_000 };

/// One request before it is a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) at_ms: u64,
    pub(super) label: Label,
    /// Random bits that the whole session has in common.
    pub(super) session: u32,
    /// How many of a thousand requests go to the new model by now: honest ones, the hydra's.
    pub(super) new_model: (u64, u64),
}

/// The row of `request` by `person`.
pub(super) fn row(person: &Person, request: Request, addresses: &Addresses, draws: &mut Draws) -> Row {
    let session = mix(u64::from(request.session));
    let choice = draws.bits();
    let (input, output) = (draws.bits(), draws.bits());
    // A third of the hydra's sessions look like anybody's; small talk always does.
    let extraction = match request.label {
        Label::Probe | Label::Thick => true,
        Label::Hydra => !session.is_multiple_of(3),
        Label::Drawer | Label::Legit | Label::Batch | Label::Flash => false,
    };
    let fleet = person.place == Place::Proxy;
    let (input_tokens, output_tokens) = match request.label {
        _ if extraction => (EXTRACTION_INPUT.pick(input), EXTRACTION_OUTPUT.pick(output)),
        Label::Batch => (BATCH_INPUT.pick(input), BATCH_OUTPUT.pick(output)),
        _ => (CHAT_INPUT.pick(input), CHAT_OUTPUT.pick(output)),
    };
    let new_model = if request.label == Label::Hydra { request.new_model.1 } else { request.new_model.0 };
    let model = match choice % 1000 {
        draw if draw < new_model => NEW_MODEL,
        // The thick campaign takes several access paths, and everybody strays now and then.
        _ if request.label == Label::Thick => 1 + (session >> 8) as u32 % 3,
        _ if extraction => person.model,
        _ if (choice >> 10).is_multiple_of(5) || fleet => (choice >> 16) as u32 % 4,
        _ => person.model,
    };
    let client = match (choice >> 20) % 16 {
        // A second device, or another client of the same fleet.
        0 => (person.client + 1 + (session >> 20) as u32 % 4) % 64,
        _ => person.client,
    };
    Row {
        at_ms: request.at_ms,
        account: person.number,
        organization: person.organization,
        tier: person.tier,
        model,
        input_tokens,
        output_tokens,
        evidence: Evidence {
            ip: address(person, session, request.label, addresses),
            payment: person.card.and_then(|card| NonZeroU64::new(u64::from(card))),
            client: NonZeroU64::new(u64::from(client) + 1),
            template: NonZeroU64::new(1 + template(person, extraction, choice >> 32)),
        },
        since_ms: Some(person.since_ms),
        label: request.label as u32,
    }
}

/// Extraction and framework users draw from the library; most honest people have prompts of their own.
fn template(person: &Person, extraction: bool, choice: u64) -> u64 {
    if extraction {
        return 100 + choice % TASKS;
    }
    if person.place == Place::Proxy || choice.is_multiple_of(2) {
        // Popular ones more often.
        let bound = 1 + (choice >> 1) % LIBRARY;
        return (choice >> 12) % bound;
    }
    LIBRARY + u64::from(person.prompts) * 8 + (choice >> 1) % 8
}

/// The address of a session. Every address that a fleet uses is one that honest people use.
fn address(person: &Person, session: u64, label: Label, addresses: &Addresses) -> Value {
    let site = mix(u64::from(person.site));
    let turn = (session >> 24) % 100;
    let home = |key: u64| key % addresses.homes;
    let proxy = |key: u64| {
        let line = (key % addresses.lines.len().max(1) as u64) as usize;
        home(addresses.lines.get(line).copied().map_or(key, u64::from))
    };
    let carrier = |key: u64| addresses.homes + key % addresses.carriers;
    let campus = |key: u64| addresses.homes + addresses.carriers + key % addresses.campuses;
    let cloud = |key: u64| addresses.homes + addresses.carriers + addresses.campuses + key % addresses.clouds;
    let index = match person.place {
        Place::Home if turn < 80 => home(u64::from(person.site)),
        Place::Home => carrier(site),
        Place::Carrier if turn < 70 => carrier(site),
        Place::Carrier => carrier(site.wrapping_add(session % 8)),
        Place::Campus if turn < 70 => campus(site),
        Place::Campus => home(u64::from(person.site)),
        // Offices have two lines, which their people use from home as well.
        Place::Office if turn < 70 => home(site.wrapping_add(session % 2)),
        Place::Office => cloud(site),
        Place::Proxy => match label {
            // A handful of proxies for all of them.
            Label::Probe => proxy(mix(site ^ (session % 15))),
            Label::Thick if turn < 50 => cloud(site.wrapping_add(session % 3)),
            Label::Thick => carrier(site),
            // Twelve proxies an account, out of everyone's lines.
            _ if turn < 85 => proxy(mix(site ^ (session % 12))),
            _ => carrier(site),
        },
    };
    // An odd factor permutes the addresses: near numbers are no neighbours.
    NonZeroU64::new(u64::from((index as u32 + 1).wrapping_mul(0x9e37_79b1)))
}
