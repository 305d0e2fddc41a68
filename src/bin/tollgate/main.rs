//! The `tollgate` command: what a rate-limiting policy means, and what it would have done.
#![forbid(unsafe_code)]

mod campaign;
mod failure;
mod row;
mod trace;

use row::Source;

fn main() {
    let _ = trace::Trace::open(std::path::Path::new("-"));
    let mut campaign = campaign::Campaign::new(campaign::Settings {
        accounts: 24_000,
        exchanges: 16_000_000,
        days: 30,
        seed: 1,
    });
    let start = std::time::Instant::now();
    let mut n = 0;
    while let Ok(b) = campaign.next_batch() {
        if b.rows.is_empty() {
            break;
        }
        n += b.rows.len();
    }
    println!("{n} {:?}", start.elapsed());
}
