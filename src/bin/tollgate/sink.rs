//! Where the command writes much text: a file, compressed if its name ends in `.gz`, or standard output.

use std::{
    fs::File,
    io::{self, BufWriter, Stdout, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

use crate::failure::Failure;

/// An open place to write to.
pub(crate) enum Sink {
    Output(BufWriter<Stdout>),
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Sink {
    /// The file at `path`, or standard output for `-`.
    pub(crate) fn create(path: &Path) -> Result<Sink, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Sink::Output(BufWriter::new(io::stdout())));
        }
        Sink::file(path)
    }

    /// The file at `path`.
    pub(crate) fn file(path: &Path) -> Result<Sink, Failure> {
        let file = BufWriter::new(File::create(path).map_err(|error| Failure::file(path, error))?);
        let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
        Ok(if is_gzip { Sink::Gzip(GzEncoder::new(file, Compression::fast())) } else { Sink::Plain(file) })
    }

    /// Writes what is left.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Sink::Output(mut out) => out.flush(),
            Sink::Plain(mut out) => out.flush(),
            Sink::Gzip(out) => out.finish()?.flush(),
        }
    }

    /// A message for what went wrong at `path`.
    pub(crate) fn failure(path: &Path, error: &io::Error) -> Failure {
        if path.as_os_str() == "-" { Failure::output(error) } else { Failure::file(path, error) }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Output(out) => out.write(bytes),
            Sink::Plain(out) => out.write(bytes),
            Sink::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Output(out) => out.flush(),
            Sink::Plain(out) => out.flush(),
            Sink::Gzip(out) => out.flush(),
        }
    }
}
