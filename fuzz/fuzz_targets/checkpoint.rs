//! Blocks of a checkpoint: any bytes, with and without a checksum that fits.
//!
//! - Reading answers; it does not panic, whatever the bytes.
//! - What is read is written as bytes that read back as the same block, and are the same again.
//! - A refusal says something.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::Block;

/// Bytes before a block's body, of which the last four are its length; and those of the checksum behind it.
const HEAD: usize = 38;
const SUM: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The checksum would stop nearly all others at the door.
    check(&sealed(bytes));
});

fn check(bytes: &[u8]) {
    match Block::decode(bytes) {
        Ok(block) => {
            let written = block.encode();
            let again = Block::decode(&written).expect("what was written reads");
            assert_eq!(block, again, "another block came back");
            assert_eq!(again.encode(), written, "written otherwise the second time");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal without words"),
    }
}

/// The same bytes with magic, version, length and checksum as a block has them.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut block = bytes.to_vec();
    block.truncate(block.len().saturating_sub(SUM));
    block.resize(block.len().max(HEAD), 0);
    block[..10].copy_from_slice(b"tollgate\x01\x00");
    let length = (block.len() - HEAD) as u32;
    block[HEAD - 4..HEAD].copy_from_slice(&length.to_le_bytes());
    // SipHash-1-3-128 under a key of zeros.
    let sum = siphasher::sip128::SipHasher13::new().hash(&block).h1;
    block.extend_from_slice(&sum.to_le_bytes());
    block
}
