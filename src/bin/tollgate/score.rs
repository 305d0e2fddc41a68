//! Who got what: counts by label, and the answers of a replay as data.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tollgate::{Denial, Level};

use crate::{
    contain::Containment,
    record::{Labelled, Traffic},
    row::{Row, Symbol},
};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// By a rule of the account itself.
    Account,
    /// By a rule of its own organization.
    Organization,
    /// By something shared with everyone in the tier.
    Tier,
    /// By a rule of its own, of which a new account has only a part yet: a limit of its own, whatever others do.
    Ramp,
    /// By the pool of new accounts.
    Pool,
    /// By the cohort that evidence has put the account into.
    Cohort,
    /// By a rate of its own, or of its organization, that a factor was on: now, or when it was charged for what now lacks.
    Tightening,
}

/// All reasons, each at its number.
pub(crate) const REFUSALS: [Refusal; 7] = [
    Refusal::Account,
    Refusal::Organization,
    Refusal::Tier,
    Refusal::Ramp,
    Refusal::Pool,
    Refusal::Cohort,
    Refusal::Tightening,
];

impl Refusal {
    pub(crate) fn of(denial: &Denial) -> Refusal {
        match denial.level() {
            // An account on the overflow line shares it with the tier's other newcomers.
            _ if denial.overflow() => Refusal::Tier,
            Level::Account | Level::Organization if denial.factor_sixteenths() > 16 => Refusal::Tightening,
            Level::Account if denial.withheld() => Refusal::Ramp,
            Level::Account => Refusal::Account,
            Level::Organization => Refusal::Organization,
            Level::Cohort => Refusal::Cohort,
            Level::Pool => Refusal::Pool,
            _ => Refusal::Tier,
        }
    }

    /// What it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Refusal::Account => "account",
            Refusal::Organization => "organization",
            Refusal::Tier => "tier",
            Refusal::Ramp => "ramp",
            Refusal::Pool => "pool",
            Refusal::Cohort => "cohort",
            Refusal::Tightening => "tightening",
        }
    }

    /// Whether it is by anything but the account's and its organization's own rules.
    pub(crate) fn is_collateral(self) -> bool {
        !matches!(self, Refusal::Account | Refusal::Ramp | Refusal::Organization)
    }
}

/// Denials, each counted once, by the refusal that the denial names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeniedBy {
    /// The ramp among it.
    pub(crate) account: u64,
    #[serde(skip)]
    pub(crate) ramp: u64,
    pub(crate) organization: u64,
    pub(crate) tier: u64,
    pub(crate) pool: u64,
    pub(crate) cohort: u64,
    pub(crate) tightening: u64,
}

/// What became of the requests with one label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LabelScore {
    pub(crate) offered: u64,
    pub(crate) admitted: u64,
    pub(crate) denied: u64,
    pub(crate) denied_by: DeniedBy,
    pub(crate) accounts: u64,
    /// Accounts with over 1% of their requests denied by anything but their own and their organization's rules.
    pub(crate) accounts_hurt: u64,
    pub(crate) output_tokens_offered: u64,
    pub(crate) output_tokens_admitted: u64,
}

/// The score of one way to decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) labels: BTreeMap<Box<str>, LabelScore>,
    pub(crate) cohorts: u64,
    pub(crate) contained_after_s: BTreeMap<Box<str>, Option<f64>>,
}

/// What one account did under one label.
#[derive(Clone, Copy, Debug)]
struct Share {
    account: Symbol,
    label: Symbol,
    offered: u32,
    collateral: u32,
}

struct Label {
    name: Box<str>,
    score: LabelScore,
    /// Of a campaign.
    containment: Option<Containment>,
}

/// Counts decisions as they are made.
#[derive(Default)]
pub(crate) struct Score {
    labels: Vec<Label>,
    shares: Vec<Share>,
    /// By account: its latest share, since few accounts change their label.
    latest: Vec<Option<u32>>,
    others: HashMap<(Symbol, Symbol), u32>,
    end_ms: u64,
    /// Requests that a cohort may make in a day.
    allowance: u64,
    /// By time too, where that is asked for.
    traffic: Option<Traffic>,
}

impl Score {
    /// Under a policy that allows a cohort so many requests; 0 where it has none.
    pub(crate) fn new(allowance: u64) -> Score {
        Score { allowance, ..Score::default() }
    }

    /// Counts by time too, from now on.
    pub(crate) fn record_traffic(&mut self) {
        self.traffic = Some(Traffic::default());
    }

    /// What was counted by time.
    pub(crate) fn take_traffic(&mut self) -> Vec<Labelled> {
        self.traffic.take().map(Traffic::finish).unwrap_or_default()
    }

    /// Continues the numbering of labels with `names`.
    pub(crate) fn learn_labels(&mut self, names: &[Box<str>]) {
        if let Some(traffic) = &mut self.traffic {
            traffic.learn_labels(names);
        }
        self.labels.extend(names.iter().map(|name| Label {
            name: name.clone(),
            score: LabelScore::default(),
            containment: name.starts_with("attack:").then(|| Containment::new(self.allowance)),
        }));
    }

    pub(crate) fn record(&mut self, row: &Row, refusal: Option<Refusal>) {
        self.end_ms = row.at_ms;
        if let Some(traffic) = &mut self.traffic {
            traffic.record(row, refusal);
        }
        let Some(label) = self.labels.get_mut(row.label as usize) else { return };
        let score = &mut label.score;
        let output = u64::from(row.output_tokens);
        score.offered += 1;
        score.output_tokens_offered += output;
        match refusal {
            None => {
                score.admitted += 1;
                score.output_tokens_admitted += output;
            }
            Some(refusal) => {
                score.denied += 1;
                score.denied_by.ramp += u64::from(refusal == Refusal::Ramp);
                *match refusal {
                    Refusal::Account | Refusal::Ramp => &mut score.denied_by.account,
                    Refusal::Organization => &mut score.denied_by.organization,
                    Refusal::Tier => &mut score.denied_by.tier,
                    Refusal::Pool => &mut score.denied_by.pool,
                    Refusal::Cohort => &mut score.denied_by.cohort,
                    Refusal::Tightening => &mut score.denied_by.tightening,
                } += 1;
            }
        }
        if let Some(containment) = &mut label.containment {
            containment.record(row.at_ms, refusal.is_none());
        }
        let collateral = u32::from(refusal.is_some_and(Refusal::is_collateral));
        if let Some(share) = self.share(row) {
            share.offered = share.offered.saturating_add(1);
            share.collateral = share.collateral.saturating_add(collateral);
        }
    }

    fn share(&mut self, row: &Row) -> Option<&mut Share> {
        let account = row.account as usize;
        if account >= self.latest.len() {
            self.latest.resize(account + 1, None);
        }
        let latest = self.latest.get_mut(account)?;
        let same = latest
            .filter(|index| self.shares.get(*index as usize).is_some_and(|share| share.label == row.label));
        let index = match same {
            Some(index) => index,
            None => {
                if let Some(index) = *latest
                    && let Some(share) = self.shares.get(index as usize)
                {
                    self.others.insert((share.account, share.label), index);
                }
                match self.others.get(&(row.account, row.label)) {
                    Some(index) => *index,
                    None => {
                        let index = u32::try_from(self.shares.len()).ok()?;
                        let (account, label) = (row.account, row.label);
                        self.shares.push(Share { account, label, offered: 0, collateral: 0 });
                        index
                    }
                }
            }
        };
        *latest = Some(index);
        self.shares.get_mut(index as usize)
    }

    /// The verdict, at the end of the trace.
    pub(crate) fn finish(mut self) -> Verdict {
        for share in &self.shares {
            if let Some(label) = self.labels.get_mut(share.label as usize) {
                label.score.accounts += 1;
                let hurt = u64::from(share.collateral) * 100 > u64::from(share.offered);
                label.score.accounts_hurt += u64::from(hurt);
            }
        }
        let mut verdict = Verdict::default();
        for label in self.labels.into_iter().filter(|label| label.score.offered > 0) {
            if let Some(containment) = label.containment {
                verdict.contained_after_s.insert(label.name.clone(), containment.seconds(self.end_ms));
            }
            verdict.labels.insert(label.name, label.score);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Evidence;

    fn row(at_ms: u64, account: Symbol, label: Symbol) -> Row {
        Row {
            at_ms,
            account,
            organization: None,
            tier: 0,
            model: 0,
            input_tokens: 1,
            output_tokens: 10,
            evidence: Evidence::default(),
            since_ms: None,
            label,
        }
    }

    #[test]
    fn counts_by_label_and_account() {
        let mut score = Score::default();
        score.learn_labels(&["legit".into(), "drawer:x".into(), "unseen".into()]);
        for at_ms in 0..200 {
            // Account 0 takes turns between two labels; account 1 loses 2 of 200, which is not over 1%.
            score.record(&row(at_ms, 0, (at_ms % 2) as u32), (at_ms < 4).then_some(Refusal::Tier));
            score.record(&row(at_ms, 1, 0), (at_ms < 2).then_some(Refusal::Tier));
            score.record(&row(at_ms, 2, 0), Some(Refusal::Account));
        }
        let verdict = score.finish();
        assert_eq!(verdict.labels.len(), 2);
        let legit = verdict.labels["legit"];
        assert_eq!((legit.offered, legit.admitted, legit.denied), (500, 296, 204));
        assert_eq!((legit.denied_by.account, legit.denied_by.tier), (200, 4));
        assert_eq!((legit.accounts, legit.accounts_hurt), (3, 1));
        assert_eq!((legit.output_tokens_offered, legit.output_tokens_admitted), (5_000, 2_960));
        assert_eq!((verdict.labels["drawer:x"].accounts, verdict.labels["drawer:x"].accounts_hurt), (1, 1));
        assert!(verdict.contained_after_s.is_empty());
    }
}
