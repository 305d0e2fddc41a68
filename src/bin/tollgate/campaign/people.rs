//! The accounts: the honest world, and the fleets that borrow its addresses, clients, templates and tiers.

use super::{
    Scale,
    curve::{SLICE_MS, SLICES_PER_DAY},
    draw::{Draws, mix},
};

pub(super) const UNVERIFIED: u32 = 0;
pub(super) const VERIFIED: u32 = 1;
pub(super) const BUSINESS: u32 = 2;
pub(super) const ENTERPRISE: u32 = 3;

const DAY_MS: i64 = SLICE_MS as i64 * SLICES_PER_DAY as i64;

/// Where someone is when they connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A line of their own, and a telephone beside it.
    Home,
    /// Behind a carrier's address translation, with hundreds of others.
    Carrier,
    /// A university's few addresses.
    Campus,
    /// An organization's few addresses, and a cloud provider's.
    Office,
    /// The fleets' proxies, which run on honest people's lines.
    Proxy,
}

/// One account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// Its number in the trace.
    pub(super) number: u32,
    pub(super) organization: Option<u32>,
    pub(super) tier: u32,
    pub(super) since_ms: i64,
    /// The card that pays; none for many who are unverified.
    pub(super) card: Option<u32>,
    pub(super) place: Place,
    /// What its addresses are derived from; people of one organization or proxy group share it.
    pub(super) site: u32,
    pub(super) client: u32,
    /// What its own templates are derived from.
    pub(super) prompts: u32,
    pub(super) model: u32,
}

/// How many distinct addresses of each kind there are.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) homes: u64,
    pub(super) carriers: u64,
    pub(super) campuses: u64,
    pub(super) clouds: u64,
    /// The sites of people at home, on whose lines the proxies run.
    pub(super) lines: Vec<u32>,
}

/// Everyone, by index; each list is a range of indexes in order of birth unless it says otherwise.
#[derive(Debug)]
pub(super) struct People {
    pub(super) all: Vec<Person>,
    pub(super) individuals: Vec<u32>,
    pub(super) teams: Vec<u32>,
    /// Those of the viral day.
    pub(super) guests: Vec<u32>,
    pub(super) probe: Vec<u32>,
    pub(super) thick: Vec<u32>,
    /// In order of activation.
    pub(super) hydra: Vec<u32>,
    /// Those of the hydra that make small talk before it starts.
    pub(super) drawer: Vec<u32>,
    pub(super) addresses: Addresses,
}

/// Popular clients; half of everyone uses the first eight.
const CLIENTS: u64 = 64;

struct Builder {
    draws: Draws,
    all: Vec<Person>,
    organizations: u32,
    cards: u32,
    /// A card that the next few individuals share, and how many still do.
    shared: (Option<u32>, u64),
}

impl Builder {
    fn add(&mut self, person: Person) -> u32 {
        let index = self.all.len() as u32;
        self.all.push(person);
        index
    }

    fn new_card(&mut self) -> Option<u32> {
        self.cards += 1;
        Some(self.cards)
    }

    /// A card as households pay: mostly one's own, sometimes shared by two to five; many unverified have none.
    fn household_card(&mut self, tier: u32) -> Option<u32> {
        if tier == UNVERIFIED && self.draws.chance(400) {
            return None;
        }
        if self.shared.1 > 0 {
            self.shared.1 -= 1;
            return self.shared.0;
        }
        let card = self.new_card();
        if self.draws.chance(60) {
            self.shared = (card, self.draws.between(1, 4));
        }
        card
    }

    fn client(&mut self) -> u32 {
        let bound = self.draws.below(CLIENTS) + 1;
        self.draws.below(bound) as u32
    }

    fn model(&mut self) -> u32 {
        // Small, middle, large, flagship.
        match self.draws.below(100) {
            0..30 => 0,
            30..65 => 1,
            65..88 => 2,
            _ => 3,
        }
    }

    /// Most were there long before; `newcomers` of a thousand are born during the trace.
    fn birth(&mut self, newcomers: u64, length_ms: u64) -> i64 {
        if self.draws.chance(newcomers) {
            self.draws.below(length_ms * 9 / 10) as i64
        } else {
            -1 - self.draws.below(900 * DAY_MS as u64) as i64
        }
    }

    fn individual(&mut self, scale: &Scale, since_ms: i64) -> u32 {
        let tier = if self.draws.chance(400) { VERIFIED } else { UNVERIFIED };
        let place = match self.draws.below(100) {
            0..60 => Place::Home,
            60..85 => Place::Carrier,
            _ => Place::Campus,
        };
        let card = self.household_card(tier);
        let (client, model) = (self.client(), self.model());
        let site = self.draws.below(u64::from(scale.honest)) as u32;
        let prompts = self.all.len() as u32;
        self.add(Person {
            number: 0,
            organization: None,
            tier,
            since_ms,
            card,
            place,
            site,
            client,
            prompts,
            model,
        })
    }

    /// An organization of 1 to 120 people, most of them small.
    fn organization(&mut self, scale: &Scale, room: u32, births: &mut Vec<(i64, u32)>) {
        let most = 1 + self.draws.below(120);
        let most = 1 + self.draws.below(most);
        let size = 1 + self.draws.below(most).min(u64::from(room.saturating_sub(1)));
        let tier = match self.draws.below(100) {
            0..20 => VERIFIED,
            20..88 => BUSINESS,
            _ => ENTERPRISE,
        };
        self.organizations += 1;
        let organization = self.organizations;
        let (card, client) = (self.new_card(), self.client());
        let site = self.draws.bits() as u32;
        for _ in 0..size {
            let since_ms = self.birth(80, scale.length_ms());
            let (own_client, model) = (self.client(), self.model());
            let index = self.add(Person {
                number: 0,
                organization: Some(organization),
                tier,
                since_ms,
                card,
                place: Place::Office,
                site,
                client: if mix(u64::from(site)) & 1 == 0 { client } else { own_client },
                prompts: organization | 1 << 31,
                model,
            });
            births.push((since_ms, index));
        }
    }

    /// One account of a fleet.
    fn impostor(&mut self, verified: bool, since_ms: i64, card: Option<u32>, site: u32) -> u32 {
        let client = self.client();
        self.add(Person {
            number: 0,
            organization: None,
            tier: if verified { VERIFIED } else { UNVERIFIED },
            since_ms,
            card,
            place: Place::Proxy,
            site,
            client,
            prompts: 0,
            model: 3,
        })
    }
}

/// Sorted by birth, the indexes alone.
fn by_birth(mut births: Vec<(i64, u32)>) -> Vec<u32> {
    births.sort_unstable();
    births.into_iter().map(|(_, index)| index).collect()
}

impl People {
    pub(super) fn new(scale: &Scale, seed: u64) -> People {
        let mut world = Builder {
            draws: Draws::new(seed, 1),
            all: Vec::new(),
            organizations: 0,
            cards: 0,
            shared: (None, 0),
        };
        let mut births = Vec::new();
        let in_teams = scale.honest * 34 / 100;
        while (births.len() as u32) < in_teams.max(1) {
            let room = in_teams.saturating_sub(births.len() as u32);
            world.organization(scale, room, &mut births);
        }
        let teams = by_birth(births);
        let births = (0..scale.honest.saturating_sub(teams.len() as u32)).map(|_| {
            let since_ms = world.birth(200, scale.length_ms());
            (since_ms, world.individual(scale, since_ms))
        });
        let individuals = by_birth(births.collect());
        let births = (0..scale.guests).map(|guest| {
            // The first is there from the first minute, so that the day has somebody to begin with.
            let delay = if guest == 0 { 0 } else { world.draws.below(10 * 3_600_000) };
            let since_ms = (scale.viral_slice as u64 * SLICE_MS + delay) as i64;
            (since_ms, world.individual(scale, since_ms))
        });
        let guests = by_birth(births.collect());
        let (probe, thick) = (probe(&mut world, scale), thick(&mut world, scale));
        let (hydra, drawer) = hydra(&mut world, scale);

        // Numbers are dealt at random: a low number says nothing about its owner.
        let mut numbers: Vec<u32> = (0..world.all.len() as u32).collect();
        for last in (1..numbers.len()).rev() {
            numbers.swap(last, world.draws.index(last + 1));
        }
        for (person, number) in world.all.iter_mut().zip(numbers) {
            person.number = number;
        }
        let honest = u64::from(scale.honest);
        let at_home = world.all.iter().filter(|person| person.place == Place::Home && person.since_ms < 0);
        let addresses = Addresses {
            lines: at_home.map(|person| person.site).collect(),
            homes: honest * 3 / 4 + 1,
            carriers: honest / 100 + 2,
            campuses: honest / 500 + 2,
            clouds: honest / 200 + 4,
        };
        People { all: world.all, individuals, teams, guests, probe, thick, hydra, drawer, addresses }
    }
}

/// About ten accounts to a card, all made in the same few days.
fn probe(world: &mut Builder, scale: &Scale) -> Vec<u32> {
    let start = (scale.probe_slices.start as u64 * SLICE_MS) as i64;
    let mut card = None;
    let accounts = (0..scale.probe_accounts).map(|account| {
        if account % 10 == 0 {
            card = world.new_card();
        }
        let since_ms = start - world.draws.below(4 * DAY_MS as u64) as i64;
        world.impostor(account % 5 == 0, since_ms, card, 1)
    });
    accounts.collect()
}

/// Front organizations of five, each with a card and addresses of its own.
fn thick(world: &mut Builder, scale: &Scale) -> Vec<u32> {
    let start = (scale.thick_slices.start as u64 * SLICE_MS) as i64;
    let (mut card, mut organization, mut site) = (None, 0, 0);
    let accounts = (0..scale.thick_accounts).map(|account| {
        if account % 5 == 0 {
            card = world.new_card();
            world.organizations += 1;
            organization = world.organizations;
            site = world.draws.bits() as u32;
        }
        let since_ms = start - world.draws.below(30 * DAY_MS as u64) as i64;
        let index = world.impostor(account % 5 == 0, since_ms, card, site);
        if let Some(person) = world.all.get_mut(index as usize) {
            person.organization = Some(organization);
        }
        index
    });
    accounts.collect()
}

/// In order of activation; three in ten were aged in a drawer, the others are made as they are needed.
fn hydra(world: &mut Builder, scale: &Scale) -> (Vec<u32>, Vec<u32>) {
    let mut drawer = Vec::new();
    let mut card = None;
    let accounts = (0..scale.hydra_accounts).map(|account| {
        let aged = account % 10 < 3;
        let since_ms = if aged {
            -1 - world.draws.between(10 * DAY_MS as u64, 60 * DAY_MS as u64) as i64
        } else {
            let active = scale.activation_slice(account) as u64 * SLICE_MS;
            active as i64 - world.draws.below(2 * DAY_MS as u64) as i64
        };
        let verified = world.draws.below(5) == 0;
        if account % 3 == 0 {
            card = world.new_card();
        }
        let card = if !verified && world.draws.chance(400) { None } else { card };
        let site = world.draws.bits() as u32;
        let index = world.impostor(verified, since_ms, card, site);
        if aged {
            drawer.push(index);
        }
        index
    });
    (accounts.collect(), drawer)
}
