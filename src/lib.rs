// Where the README says `docs/replay.png`, which documentation elsewhere does not have: the first definition counts.
//! [replay page]: https://raw.githubusercontent.com/tollgate-rs/tollgate/main/docs/replay.png
#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! A module names only modules above it; `tests/layers.rs` sees to that.
//!
//! | module | what lives there |
//! |---|---|
//! | `sync` `time` `meter` `id` `decision` | words: the one door to atomics, instants and clocks, meters and costs, identities, receipt and denial |
//! | `calendar` `adapt` | zones to window numbers; from evidence to a factor |
//! | `policy` | what an operator writes, every check, and the plan that the request path reads |
//! | `bucket` | the pure step of each kind of rule |
//! | `line` | the buckets of one subject under one control word |
//! | `table` | all subjects of a level in fixed memory |
//! | `lease` | what many threads spend of a tier's total or an organization without meeting on its line |
//! | `path` | the lines of one request: find, look, commit |
//! | `evidence` | observations to evidence, evidence to factors and cohorts |
//! | `checkpoint` | what outlives the process: format, stores, restoring |
//! | `limiter` | the front |
//! | `upkeep` | what calls `maintain` |
//! | `wait` | waiting until admitted, on any runtime (feature `wait`) |
//! | `telemetry` | metrics and events (features `metrics`, `tracing`) |
//! | `http` | a tower layer, and answers for HTTP and gRPC (feature `tower`) |
#![forbid(unsafe_code)]

mod sync;
mod time;
mod meter;
mod id;
mod decision;
mod calendar;
mod adapt;
mod policy;
mod bucket;
mod line;
mod table;
mod lease;
mod path;
mod evidence;
mod checkpoint;
mod limiter;
mod upkeep;
#[cfg(feature = "wait")]
pub mod wait;
#[cfg(feature = "tower")]
pub mod http;
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub mod telemetry;
pub mod guide;
pub mod fleets;
pub mod performance;
pub mod restarts;

pub use calendar::{Period, Weekday};
#[cfg(feature = "store")]
pub use checkpoint::FileStore;
pub use checkpoint::{Block, CheckpointError, Counted, MemoryStore, Store, StoreError, Usage};
pub use decision::{Denial, Level, Name, Receipt, Retry, RuleName};
pub use id::{Fingerprint, Id, Identity, KeptId, Organization, Tier, Zone};
pub use limiter::{
    Attribute, AttributeValue, Attributes, Audit, BuildError, Builder, Caller, CheckpointStatus,
    Checkpointing, DryRun, DryRunRule, DryRunTier, Evidence, EvidenceStatistics, Explanation, Export,
    Limiter, Maintenance, Observed, Override, OverrideError, OverrideState, Permit, Report, Restored,
    RuleState, ShadowCount, Signal, SignalError, Statistics, Subject, WallClock, Whom,
};
pub use meter::{Cost, MAX_METERS, Meter};
pub use path::Settlement;
pub use policy::{
    Amount, ByteSize, DescribedLevel, DescribedMeter, DescribedRule, DescribedTier, Description, MostIn,
    OnDrop, OnStall, Plan, Policy, PolicyCapacity, PolicyError, PolicyEvidence, PolicyFloor, PolicyLevel,
    PolicyMeter, PolicyRamp, PolicyReserve, PolicyRule, PolicyRules, PolicySignal, PolicyTier, PolicyTotal,
    Problem, QuantityError, ReloadError, Share, Span, TierBound, TokenRate, WindowLimit,
};
pub use time::{Clock, ManualClock, Nanos, SystemClock};
pub use upkeep::Upkeep;
