//! Attacks on the innocent: a campus whose address, client and template thirty attackers forge on purpose, and a source
//! outside that floods signals against a thousand honest accounts.
//!
//! Under a policy that `tollgate suggest` made of another week of the same world, fewer than one in a hundred honest requests
//! are refused by anything but their own account's and organization's untightened rules. And the other half: the
//! attackers are held, and what an honest source reports still tightens.
#![cfg(feature = "cli")]

mod run;

use std::{
    fs,
    path::{Path, PathBuf},
};

use run::{folder, tollgate};
use serde_json::Value;
use tollgate::{
    Attributes, Caller, Cost, Identity, Level, Limiter, ManualClock, Plan, Signal, SignalError, Whom,
};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const DAYS: u64 = 7;
const RESIDENTS: u64 = 700;
const STUDENTS: u64 = 300;
const FORGERS: u64 = 30;
/// 2026-01-05, a Monday, as replays have it.
const MONDAY: i64 = 1_767_571_200_000_000_000;

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

struct Row {
    at_ms: u64,
    account: u64,
    output: u64,
    address: String,
    payment: String,
    client: String,
    template: String,
    since_ms: i64,
    label: &'static str,
}

/// Where a student's, or a forger's, requests come from, by what, and with which prompt.
fn on_campus(dice: &mut Dice) -> (String, String, String) {
    (format!("campus{}", dice.below(2)), "campus-portal".into(), format!("coursework{}", dice.below(3)))
}

/// A week of people who send a few requests in a sitting, by day; students share all but their own cards and half of
/// their prompts. Forgers come on the second day, and send as the campus does, round the clock.
fn week(seed: u64, forgers: u64) -> Vec<Row> {
    let mut dice = Dice(seed);
    let mut rows = Vec::new();
    for account in 0..RESIDENTS + STUDENTS {
        let since_ms = -((10 * DAY + dice.below(300 * DAY)) as i64);
        for day in 0..DAYS {
            for _ in 0..dice.below(3) {
                let mut at_ms = day * DAY + 8 * 60 * MINUTE + dice.below(14 * 60 * MINUTE);
                for _ in 0..1 + dice.below(6) {
                    at_ms += 10_000 + dice.below(80_000);
                    let own = || format!("own{account}-{}", at_ms % 5);
                    let (address, client, template) = if account >= RESIDENTS {
                        let (address, client, template) = on_campus(&mut dice);
                        (address, client, if dice.below(2) == 0 { template } else { own() })
                    } else {
                        let address = match dice.below(10) {
                            0..8 => format!("home{account}"),
                            _ => format!("carrier{}", dice.below(5)),
                        };
                        let template = match dice.below(2) {
                            0 if account % 2 == 0 => format!("framework{}", dice.below(12)),
                            _ => own(),
                        };
                        (address, format!("client{}", account % 9), template)
                    };
                    let payment = format!("card{account}");
                    let output = 100 + dice.below(400);
                    let label = if account >= RESIDENTS { "legit-campus" } else { "legit" };
                    rows.push(Row {
                        at_ms,
                        account,
                        output,
                        address,
                        payment,
                        client,
                        template,
                        since_ms,
                        label,
                    });
                }
            }
        }
    }
    for forger in 0..forgers {
        let account = 10_000 + forger;
        for request in 0..150 * (DAYS - 1) {
            let at_ms = DAY + request * (DAY / 150) + dice.below(5 * MINUTE);
            let (address, client, template) = on_campus(&mut dice);
            let (payment, output) = (format!("card{account}"), 400 + dice.below(400));
            let since_ms = (DAY - dice.below(DAY)) as i64;
            let label = "attack:forger";
            rows.push(Row { at_ms, account, output, address, payment, client, template, since_ms, label });
        }
    }
    rows.sort_by_key(|row| (row.at_ms, row.account));
    rows
}

fn csv(rows: &[Row]) -> String {
    let header =
        "t_ms,account,org,tier,model,input_tokens,output_tokens,ip,payment,client,template,since_ms,label\n";
    rows.iter().fold(header.to_owned(), |text, row| {
        let Row { at_ms, account, output, address, payment, client, template, since_ms, label } = row;
        text + &format!(
            "{at_ms},a{account},,verified,m,200,{output},{address},{payment},{client},{template},{since_ms},{label}\n"
        )
    })
}

/// The policy that `suggest` makes of an honest week.
fn policy(folder: &Path) -> PathBuf {
    let (trace, policy) = (folder.join("honest.csv"), folder.join("policy.toml"));
    fs::write(&trace, csv(&week(1, 0))).unwrap();
    tollgate(&["suggest", "--trace", trace.to_str().unwrap(), "--out", policy.to_str().unwrap()]);
    policy
}

#[test]
fn a_campus_that_is_forged_is_spared() {
    let folder = folder("campus");
    let policy = policy(&folder);
    let (trace, json) = (folder.join("forged.csv"), folder.join("out.json"));
    fs::write(&trace, csv(&week(2, FORGERS))).unwrap();
    let [policy, trace] = [&policy, &trace].map(|path| path.to_str().unwrap());
    let arguments =
        ["replay", "--no-baseline", "--policy", policy, "--trace", trace, "--json", json.to_str().unwrap()];
    tollgate(&arguments);
    let outcome: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let labels = &outcome["policy"]["labels"];
    let number = |label: &str, key: &str| labels[label][key].as_u64().unwrap();
    for label in ["legit", "legit-campus"] {
        let by = &labels[label]["denied_by"];
        let own = by["account"].as_u64().unwrap() + by["organization"].as_u64().unwrap();
        let (denied, offered) = (number(label, "denied") - own, number(label, "offered"));
        println!("{label}: {denied} of {offered} denied, {} by rules of their own", own);
        assert!(offered > 5_000 && denied * 100 < offered, "{label}: {denied} of {offered}");
        assert!(own * 100 < offered * 2, "{label}: {own} of {offered} by rules of their own");
    }
    let (admitted, offered) = (number("attack:forger", "admitted"), number("attack:forger", "offered"));
    println!("forgers: {admitted} of {offered} admitted");
    assert!(admitted * 2 < offered, "{admitted} of {offered}");
}

#[test]
fn a_source_that_floods_signals_hurts_few() {
    let folder = folder("signals");
    let text = fs::read_to_string(policy(&folder)).unwrap();
    let signals = "[evidence]\nsignals.report = { weight = 6 }\n";
    let plan = Plan::from_toml(&text.replacen("[evidence]\n", signals, 1)).unwrap();
    let clock = ManualClock::at_unix(MONDAY);
    let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap();
    let tier = limiter.tier("verified").unwrap();
    let [requests, input, output] =
        ["requests", "input_tokens", "output_tokens"].map(|name| limiter.meter(name).unwrap());
    let columns = ["address", "payment", "client", "template"].map(|name| limiter.attribute(name).unwrap());
    let identity = |account: u64, since_ms: i64| -> Identity {
        limiter.identity(tier, account).since(MONDAY + since_ms * 1_000_000)
    };
    let report = |account: u64, source: &str, weight: u16| {
        let subject = limiter.identity(tier, account);
        limiter.signal(Signal { subject: Whom::Account(&subject), kind: "report", source, weight })
    };
    // Whom the honest source knows of.
    let reported = 5;
    let (mut offered, mut denied, mut heard, mut refused) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut maintained, mut flooded) = (0, 0);
    for row in week(2, 0) {
        while maintained + 5 * MINUTE <= row.at_ms {
            maintained += 5 * MINUTE;
            clock.advance_to(maintained * 1_000_000);
            limiter.maintain();
            if flooded + 6 * 60 * MINUTE <= maintained {
                flooded = maintained;
                for account in 0..RESIDENTS + STUDENTS {
                    match report(account, "runaway", 100) {
                        Ok(()) => heard += 1,
                        Err(error) => {
                            assert_eq!(error, SignalError::Refused);
                            refused += 1;
                        }
                    }
                }
                report(reported, "desk", 2).unwrap();
            }
        }
        clock.advance_to(row.at_ms * 1_000_000);
        let known = [&row.address, &row.payment, &row.client, &row.template];
        let attributes =
            columns.into_iter().zip(known).fold(Attributes::NONE, |attributes, (column, value)| {
                attributes.and(column, limiter.attribute_value(value))
            });
        let caller = identity(row.account, row.since_ms);
        let cost = Cost::of(requests, 1).and(input, 200).and(output, row.output);
        offered += 1;
        if let Err(denial) = limiter.check(&caller.with(&attributes), &cost) {
            let own = denial.level() == Level::Account && denial.factor_sixteenths() == 16;
            denied += u64::from(!own);
        }
    }
    println!("{denied} of {offered} denied; {heard} signals heard, {refused} refused");
    assert!(offered > 15_000 && denied * 100 < offered, "{denied} of {offered}");
    assert!(heard <= 64 * (DAYS + 1) && refused > 20_000, "{heard} heard, {refused} refused");
    // The honest source is heard all the same, and what it says counts.
    let rules = limiter.explain(&limiter.identity(tier, reported)).rules;
    let factor =
        rules.iter().filter(|rule| rule.level == Level::Account).map(|rule| rule.factor_sixteenths).max();
    assert!(factor > Some(16), "{factor:?}");
}
