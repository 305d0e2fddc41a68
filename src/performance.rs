//! Where each nanosecond and each byte goes.
//!
//! Numbers are of 2 virtual cores of an AMD EPYC (family 25, model 17), Rust 1.95, everything in cache. Those with a
//! command beside them are its output; run it to get yours. `benches/README.md` has the whole table, with the rows that
//! we lose.
//!
//! # A check of a known subject
//!
//! Three levels, one meter, a rate at each: 22 ns with the time given, 28 ns with the clock read
//! (`cargo bench --bench ratios -- "subject, hot"`), 357 instructions, a denial 426
//! (`cargo bench --bench instructions`). It runs at about five instructions a cycle between the exchanges, so that what it
//! takes is what it executes:
//!
//! | part | instructions, about | what |
//! |---|---|---|
//! | call and answer | 50 | saves registers, writes a receipt of 16 bytes |
//! | find | 60 | three slots to three lines, each checked to be in its arena |
//! | clock | 5 | the time-stamp counter, scaled: 9.5 ns, of which part is waiting for earlier loads; that is why find comes first |
//! | look, lines | 65 | of each line: control word, key, tier, factor |
//! | look, buckets | 21 each, 25 a meter | two multiplications, two comparisons, no division |
//! | commit, lines | 30 | three exchanges, 2.2 ns each where nobody else wants the line |
//! | commit, buckets | 6 each, 7 a meter | what the look had worked out is stored |
//!
//! Further meters cost 7 ns for three buckets each. An identity that is not a subject costs two look-ups, 6 ns in cache.
//! Building one from two strings costs 38 ns: SipHash-1-3-128 takes nine rounds for 16 bytes, each waiting for the one
//! before; some 350 instructions for two texts. An identity is therefore made once, when its caller is authenticated.
//!
//! A denial takes no guard and writes nothing; its 128 bytes hold the names, so that it outlives the policy. What it does
//! not do is divide: the wait is worked out when it is asked for. Of its 426 instructions 310 find and look as an admission
//! does, 54 make sure that no later level refuses, and 56 write those bytes.
//!
//! # Atomics and cache lines
//!
//! | what | reads | writes |
//! |---|---|---|
//! | an account's or organization's line | one cache line for three rules, another for each eight more | the same, at commit: one compare-exchange, one release store |
//! | a tier's line | the same | the same; while threads meet there, only its control word and factor are read |
//! | an organization's line while threads meet there | its first cache line | not |
//! | a thread's stripe of a total or an organization | a cache line for each rule, three words of it | at commit, while that is hot |
//! | which organization has which stripes | by those who meet on an organization that has none | where stripes go to another |
//! | the index, for an identity | one cache line of 32 tags, sometimes two | at insertion |
//! | a cell of a thread's ring, for an observation | one cache line for all of it, which `maintain` has read since | the same |
//! | the cold words of a line | by permits and leases | by permits, and their settlements |
//!
//! An account that is not in cache costs one miss for its tags (two bytes an account, so usually not) and one for its
//! line; the same for its organization. The misses of the two overlap only where the identity is kept and the clock is
//! read after them.
//!
//! # Several threads
//!
//! - Threads with different accounts of one tier meet on its total, those of one organization on its line. After they did,
//!   each takes a part of what is left, a *lease*, for 10 ms: all of them together hold back at most a sixteenth of what is
//!   left at the time, and of a rate no more than comes back in those 10 ms (or 64 requests each, where that is more); none is
//!   taken where less than an eighth of the limit is left, and none again until half is. What they hold comes back
//!   before a refusal by the total or the organization, and when threads meet no longer; of a rate only what nothing was
//!   charged above since, the rest is lost, within the same bound each time. Leases alone bring no limit below an eighth, and
//!   below half none are taken anew, so that a rate that is asked for more than it gives delivers all of it. What explanations,
//!   usage and checkpoints tell is without it. A lone caller, from whichever threads it calls, never sees one. Lines with an
//!   in-flight rule, one in shadow or with a soft threshold, or a quota that follows zones have none.
//! - Reservations take no leases: what a permit gives back belongs where it was charged, and a permit outlives a lease. Two
//!   threads that reserve and give all back under one tier did 0.92 and 1.00 times what one did, with a tier each 1.50 and 1.43
//!   (`cargo bench --bench ratios -- "reserve and give back"`).
//! - At most 16 organizations have leases at a time, the first that are hot; on others threads take turns as on an account.
//! - Leases let nothing through that the line would not: what a lease has not served evaporates as the rate refills.
//! - Threads with one account take turns on its line. Who waits spins up to 3 µs, less at first,
//!   and then yields. A thread that the scheduler stops under a guard holds up those who want the line until it runs
//!   again, milliseconds later: with 8 threads on 2 cores on one account that happens about as often as the 99.99th percentile
//!   tells, which was 2 and 4 ms in two runs and 0.7 to 3.6 µs in six others; a compare-exchange for each level, without our
//!   guarantees, had 10 and 16 µs and 0.2 to 0.8 µs in the same runs (`cargo bench --bench ratios -- "8 threads"`).
//!
//! # Behind HTTP
//!
//! Requests a second of an axum service on one processor, asked by `wrk` on the other, over those of the same service without
//! a limiter: medians of 20 alternating runs, between the values in brackets with 95% (`benches/server/load`).
//!
//! | | requests a second, over those without | 50% within | 99% within | instructions more than without |
//! |---|---|---|---|---|
//! | nothing | 134,000 | 102 us | 1,610 us | |
//! | reserved and settled | 0.92 (0.91 to 0.95) | 120 us | 1,760 us | 4,855 |
//! | charged finally ([`GateLayer::spends`](crate::http::GateLayer::spends)) | 0.97 (0.96 to 1.00) | 111 us | 2,015 us | 1,960 |
//! | tower_governor 0.8, one bucket, charged finally | 0.98 (0.97 to 1.02) | 110 us | 1,470 us | 1,350 |
//!
//! Charged finally, ours made 0.99 (0.98 to 1.00) of tower_governor's requests, as in three earlier runs. The last column is
//! without the kernel's, of 11,518 in all without a limiter (`benches/server/count`); ours has two buckets, the account's and
//! the tier's.
//!
//! So a charge costs less than the twentieth that was aimed at, a reservation with its settlement more. Of the 1,960, some 700
//! are the framework's for any layer (a box for the future, copies of request and response), some 450 the address as text, its
//! fingerprint and the identity, some 440 the decision. A reservation looks at two lines twice, and makes three allocations, of
//! which the framework makes two for any body and any extension; until the layer that charges finally left the body's type as
//! it was, it had the same, and cost 2,473.
//!
//! # Bytes
//!
//! | what | bytes |
//! |---|---|
//! | an account with up to three rules | 64 |
//! | what permits need of an account: for an eighth of them, of up to 1,024 for all | 8, and 24 for each rate |
//! | an organization with up to three rules | 64, and 24 for each rate |
//! | each eight rules more | 64 |
//! | its place in the index | 2, and 8 for each 32 places |
//! | room that keeps the table from filling unevenly | a sixteenth |
//! | all of an account with three rates; with three rates and three quotas | 81; 149 |
//! | parked: idle but for quotas and budgets | 64 for up to three of these |
//! | observations, under a policy with `[evidence]` | 262,144 for each stripe (twice the processors): 4,096 of 64 |
//! | leases | 64 for each rule of each tier, and of 16 organizations, and stripe (twice the processors) |
//!
//! The last but three are from `cargo bench --bench ratios -- bytes`. Where more accounts have permits open than there is room
//! for, their rates get nothing back of what they reserve
//! ([`Statistics::unnoted_permits`](crate::Statistics::unnoted_permits)); all else does.
//!
//! All of it is taken when the limiter is built. `lint` prints the tables; the lines of tiers and the leases come on top,
//! and `Limiter::statistics` counts them in. No decision allocates, the first for an account
//! included (`tests/allocation.rs`).
//!
//! # What was tried
//!
//! - Iterating levels, then rules, with the results in one structure: 830 instructions, half of them moving values through
//!   the stack. One flat list of charges for each meter, and a pointer of one word to the first cache line of each line,
//!   brought 445.
//! - Keeping what each word becomes from the look to the commit, in a list of places and words: 24 instructions for each
//!   bucket to put it there, take it out and store it, where working it out again takes 20. With one rate at most for a meter
//!   on each level, at a place that the plan knows, it is 9, and a decision went from 460 instructions to 347.
//! - Look and commit in one piece of machine code: half of what loops over the buckets execute then moves registers, and with
//!   each loop a function 30 instructions go to calls and 60 are saved. Without such loops, one piece is better. What is not
//!   plain (quotas, leases, callers on terms of their own, denials) is behind calls that take copies, so that nothing on the
//!   plain way is kept in memory for them; leases in place cost the plain way 22 and save leased decisions none.
//! - Multiplying by a token's ticks, where they are a power of two and a shift would do: the shift needs a register that the
//!   multiplication of the supply has just been given, at three buckets 9 instructions.
//! - The first meter's words kept out of the list: 455, since the loop's body is then a function that is called.
//! - Fingerprints by a general hasher with its state in memory: 250 instructions for a text of 17 bytes, where the nine
//!   rounds that SipHash-1-3-128 takes are 126. With those in registers it is 209, of which two hashed one after the
//!   other overlap.
//! - Comparing each line once more between look and commit: not needed, since the exchange that takes the guard is from the
//!   control word that was looked at.
//! - Waiting for a guard by 64 equal spins: the 99.99th percentile was ten times as high, since those who waited kept
//!   pulling the line out of the cache of the one who had it.
//! - Denials by the loop that looks for the refusal which passes last: 531 instructions. Nearly always one bucket refuses, the
//!   last that was looked at; that case by itself, with all it needs in registers, takes 420. In place, rather than behind a
//!   call, it costs an admission 22; with the lines passed in memory, 6 to 10.
//! - Sleeping after two yields, so that a thread which was stopped under a guard gets the processor: not told apart from
//!   yielding by six and seven runs, in turn.
//! - Charging leases ahead without letting them evaporate: mints (`bucket::lease::tests`).
