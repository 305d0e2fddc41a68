//! What is done to a limiter, and how bytes spell it.

use super::policy::METERS;

/// An amount for each meter.
pub type Amounts = [u64; METERS];

/// How a permit is settled, by what was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    Equal,
    Half,
    Nothing,
    /// This much more of every meter that was reserved.
    More(u32),
    /// Whatever was reserved.
    Actual([u16; METERS]),
}

/// One operation. `account`, `permit` and the like are taken modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Moves the clock.
    Advance {
        nanos: u64,
    },
    /// Remembers the clock: what is `held` later is decided with it.
    Hold,
    /// Peeks, then checks.
    Check {
        account: u8,
        amounts: Amounts,
        held: bool,
        subject: bool,
    },
    Reserve {
        account: u8,
        amounts: Amounts,
        held: bool,
        subject: bool,
    },
    Settle {
        permit: u8,
        how: Settling,
        held: bool,
    },
    Drop {
        permit: u8,
    },
    Detach {
        permit: u8,
    },
    Explain {
        account: u8,
    },
    /// Evidence from outside, where the policy listens: of the account, or of its organization.
    Report {
        account: u8,
        organization: bool,
    },
    Maintain,
}

/// The longest that one operation moves the clock: ten years.
pub const MOST_NANOS: u64 = 10 * 365 * 86_400 * 1_000_000_000;

impl Operation {
    /// The operations that `bytes` spell; any bytes spell some.
    pub fn decode(bytes: &[u8]) -> Vec<Operation> {
        let mut reader = Reader { bytes };
        let mut operations = Vec::new();
        while let Some(first) = reader.next() {
            operations.push(reader.operation(first));
        }
        operations
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// The next byte; zero at the end.
    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn operation(&mut self, first: u8) -> Operation {
        let (held, subject) = (first & 0x40 != 0, first & 0x80 != 0);
        match first & 0x0f {
            0 | 1 => Operation::Advance { nanos: self.nanos() },
            2 => Operation::Hold,
            3..=6 => Operation::Check { account: self.byte(), amounts: self.amounts(), held, subject },
            7..=9 => Operation::Reserve { account: self.byte(), amounts: self.amounts(), held, subject },
            10..=12 => Operation::Settle { permit: self.byte(), how: self.settling(), held },
            13 => Operation::Drop { permit: self.byte() },
            14 => Operation::Detach { permit: self.byte() },
            _ if first & 0x10 != 0 => {
                Operation::Report { account: self.byte(), organization: first & 0x20 != 0 }
            }
            _ if first & 0x20 != 0 => Operation::Maintain,
            _ => Operation::Explain { account: self.byte() },
        }
    }

    /// Of any size from a nanosecond to ten years: six bits of exponent, ten of mantissa.
    fn nanos(&mut self) -> u64 {
        let (first, second) = (self.byte(), self.byte());
        let mantissa = u64::from(first & 3) << 8 | u64::from(second);
        let exponent = u32::from(first >> 2) % 50;
        (mantissa << exponent).min(MOST_NANOS)
    }

    fn amounts(&mut self) -> Amounts {
        let which = self.byte();
        let mut amounts = [0; METERS];
        for (index, amount) in amounts.iter_mut().enumerate() {
            if which >> index & 1 == 1 {
                let byte = self.byte();
                // Mostly small, now and then anything.
                *amount = match byte {
                    0..=0xbf => u64::from(byte & 0x1f),
                    0xc0..=0xef => u64::from(byte & 0x0f) << 6,
                    0xf0..=0xfe => 1 << ((byte & 0x0f) * 4),
                    0xff => u64::MAX,
                };
            }
        }
        amounts
    }

    fn settling(&mut self) -> Settling {
        let byte = self.byte();
        match byte & 7 {
            0 => Settling::Equal,
            1 | 2 => Settling::Half,
            3 => Settling::Nothing,
            4 | 5 => Settling::More(1 << (byte >> 3).min(24)),
            _ => Settling::Actual([0; METERS].map(|_: u16| u16::from(self.byte()))),
        }
    }
}
