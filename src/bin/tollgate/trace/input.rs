//! Bytes of a trace: plain or gzip, told apart by the first two, and never more than was allowed.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// What every gzip member begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The buffer in front of the decoder, in bytes.
const BUFFER: usize = 256 * 1024;

/// The CSV reader fills a buffer of its own before it hands out what is in it.
pub(super) const READ_AHEAD: usize = 64 * 1024;

/// The bytes of `source`, decompressed if they are gzip.
pub(crate) fn decoded(mut source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut first = Vec::with_capacity(GZIP_MAGIC.len());
    source.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut first)?;
    let compressed = first == GZIP_MAGIC;
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(first).chain(source));
    Ok(if compressed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

/// What an error of decoded bytes means.
pub(crate) fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => error,
        io::ErrorKind::UnexpectedEof => {
            io::Error::other("the gzip data ends too early: the file is cut short")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            io::Error::other(format!("the gzip data is damaged: {error}"))
        }
        _ => io::Error::other(error.to_string()),
    }
}

/// A source of bytes that refuses to run past what the next record may take.
///
/// Without this, a line without an end, or a quote that nobody closes, would be gathered into memory whole.
pub(super) struct Input {
    source: Box<dyn Read + Send>,
    delivered: u64,
    allowed: u64,
    last: u8,
}

impl Input {
    pub(super) fn new(source: Box<dyn Read + Send>) -> io::Result<Input> {
        Ok(Input { source: decoded(source)?, delivered: 0, allowed: 0, last: b'\n' })
    }

    /// Allows delivery up to `position` (and what the reader takes ahead of it).
    pub(super) fn allow_until(&mut self, position: u64) {
        self.allowed = position + READ_AHEAD as u64;
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.delivered >= self.allowed {
            return Err(io::Error::other(format!(
                "the record is longer than {} bytes; is a line break or a closing quote missing?",
                super::RECORD_LIMIT
            )));
        }
        let count = self.source.read(buffer).map_err(explained)?;
        if let Some(last) = buffer.get(..count).and_then(<[u8]>::last) {
            self.last = *last;
        }
        self.delivered += count as u64;
        if count == 0 && self.last != b'\n' {
            // The last line may lack its line break; it gets one, so that every record ends the same way.
            if let Some(first) = buffer.first_mut() {
                (*first, self.last) = (b'\n', b'\n');
                return Ok(1);
            }
        }
        Ok(count)
    }
}
