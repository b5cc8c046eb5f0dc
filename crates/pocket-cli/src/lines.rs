//! A file of lines that is read more than once, plain or gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use pocket_core::codes;

use crate::failure::{Failure, Result};

/// The first bytes of a gzip stream (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What some editors write in front of UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A longer line holds no document: the largest one, with each character escaped, is shorter.
pub(crate) const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// A file that can be read again from its start.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    name: String,
    bytes: u64,
    read: Arc<AtomicU64>,
}

impl Source {
    /// Opens a file; `-` is stdin. What cannot be read twice is copied to a temporary file first.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// The same, with the content from elsewhere: another process has opened the file.
    pub(crate) fn open_with(path: &Path, content: Option<Box<dyn Read + Send>>) -> Result<Self> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin {
            "stdin".to_owned()
        } else {
            path.display().to_string()
        };
        let failed = |error: io::Error| Failure::io(format!("cannot read {name}"), &error);
        let file = if let Some(mut content) = content {
            spool(&mut content).map_err(failed)?
        } else if is_stdin {
            spool(&mut io::stdin().lock()).map_err(failed)?
        } else {
            let mut file = File::open(path).map_err(failed)?;
            let kind = file.metadata().map_err(failed)?.file_type();
            if kind.is_dir() {
                return Err(failed(ErrorKind::IsADirectory.into()));
            }
            if kind.is_file() {
                file
            } else {
                spool(&mut file).map_err(failed)?
            }
        };
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Self {
            file,
            name,
            bytes,
            read: Arc::default(),
        })
    }

    /// A file that is open.
    pub(crate) fn of(file: File, name: &str) -> Result<Self> {
        let size = file.metadata().map(|metadata| metadata.len());
        let bytes = size.map_err(|error| Failure::io(format!("cannot read {name}"), &error))?;
        Ok(Self {
            file,
            name: name.to_owned(),
            bytes,
            read: Arc::default(),
        })
    }

    /// The file itself, at its start.
    pub(crate) fn into_file(mut self) -> Result<File> {
        let start = self.file.rewind();
        start.map_err(|error| Failure::io(format!("cannot read {}", self.name), &error))?;
        Ok(self.file)
    }

    /// How many bytes the file has, as it lies there.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of these bytes were read since the last start.
    pub(crate) fn read_so_far(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    /// The lines, from the start.
    pub(crate) fn lines(&self) -> Result<Lines<'_>> {
        self.start()
            .map_err(|error| Failure::io(format!("cannot read {}", self.name), &error))
    }

    fn start(&self) -> io::Result<Lines<'_>> {
        (&self.file).seek(SeekFrom::Start(0))?;
        self.read.store(0, Ordering::Relaxed);
        let mut reader = BufReader::with_capacity(
            256 * 1024,
            Counted {
                file: &self.file,
                read: &self.read,
            },
        );
        let is_gzip = reader.fill_buf()?.starts_with(&GZIP);
        let reader: Box<dyn BufRead + '_> = if is_gzip {
            Box::new(BufReader::with_capacity(
                256 * 1024,
                MultiGzDecoder::new(reader),
            ))
        } else {
            Box::new(reader)
        };
        Ok(Lines {
            reader,
            name: &self.name,
            number: 0,
        })
    }
}

/// Copies a stream to a file that nobody else sees and that ends with this process.
fn spool(from: &mut impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(from, &mut file)?;
    Ok(file)
}

struct Counted<'a> {
    file: &'a File,
    read: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// What [`read_line`] found.
pub(crate) enum Found {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line of more than [`MAX_LINE_BYTES`], which was skipped.
    TooLong,
    /// The end of the input.
    End,
}

/// Reads a line.
pub(crate) fn read_line(from: &mut impl BufRead) -> io::Result<Found> {
    let mut line = Vec::new();
    let limit = MAX_LINE_BYTES + 1;
    if from.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(Found::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == limit {
        from.skip_until(b'\n')?;
        return Ok(Found::TooLong);
    }
    Ok(Found::Line(line))
}

/// The lines of a [`Source`], numbered from 1.
pub(crate) struct Lines<'a> {
    reader: Box<dyn BufRead + 'a>,
    name: &'a str,
    number: u64,
}

/// A line without its end, or why it cannot be one.
pub(crate) type Line = (u64, Result<Vec<u8>>);

impl Lines<'_> {
    /// The next line.
    ///
    /// # Errors
    /// `io` when the file cannot be read on: the disk failed, or a gzip stream is damaged or cut.
    pub(crate) fn next(&mut self) -> Result<Option<Line>> {
        let found = read_line(&mut self.reader).map_err(|error| self.failed(&error))?;
        if matches!(found, Found::End) {
            return Ok(None);
        }
        self.number += 1;
        let Found::Line(mut line) = found else {
            let failure = Failure::new(
                codes::DOCUMENT_TOO_LARGE,
                format!(
                    "the line has more than {MAX_LINE_BYTES} bytes; is it one document a line?"
                ),
            );
            return Ok(Some((self.number, Err(failure))));
        };
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some((self.number, Ok(line))))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::io(
            format!("cannot read {} behind line {}", self.name, self.number),
            error,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn source(bytes: &[u8]) -> (tempfile::TempDir, Source) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        std::fs::write(&path, bytes).unwrap();
        let source = Source::open(&path).unwrap();
        (directory, source)
    }

    fn texts(source: &Source) -> Vec<String> {
        let mut lines = source.lines().unwrap();
        let mut texts = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            texts.push(String::from_utf8(line.unwrap()).unwrap());
            assert_eq!(number, texts.len() as u64);
        }
        texts
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_are_the_same_at_each_reading_plain_or_gzip() {
        let text = "\u{feff}{\"a\":1}\n\n{\"b\":\"\u{feff}\"}\r\nlast";
        let expected = ["{\"a\":1}", "", "{\"b\":\"\u{feff}\"}\r", "last"];
        // Several gzip streams in a row are one file.
        let (head, tail) = text.split_at(7);
        let joined = [gzip(head), gzip(tail)].concat();
        for bytes in [text.as_bytes(), &gzip(text), &joined] {
            let (_directory, source) = source(bytes);
            assert_eq!(texts(&source), expected);
            assert_eq!(texts(&source), expected);
            let read = source.read_so_far().load(Ordering::Relaxed);
            assert_eq!(read, source.bytes());
        }
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        let (_directory, source) = source(b"");
        assert!(texts(&source).is_empty());
    }

    #[test]
    fn a_cut_gzip_stream_is_an_error_and_not_an_end() {
        let whole = gzip(&"{\"some\":\"text\"}\n".repeat(100));
        let (_directory, source) = source(&whole[..whole.len() - 9]);
        let mut lines = source.lines().unwrap();
        let failure = loop {
            match lines.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cut stream was taken for a whole one"),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.code(), "io");
    }

    #[test]
    fn an_endless_line_is_refused_and_the_next_one_is_read() {
        let mut bytes = vec![b' '; MAX_LINE_BYTES as usize + 2];
        bytes.extend_from_slice(b"\nnext\n");
        let (_directory, source) = source(&bytes);
        let mut lines = source.lines().unwrap();
        let (number, line) = lines.next().unwrap().unwrap();
        assert_eq!(
            (number, line.unwrap_err().code()),
            (1, "document-too-large")
        );
        let (number, line) = lines.next().unwrap().unwrap();
        assert_eq!((number, line.unwrap().as_slice()), (2, b"next".as_slice()));
        assert!(lines.next().unwrap().is_none());
    }

    #[test]
    fn a_directory_and_a_missing_file_are_no_sources() {
        for path in [Path::new("."), Path::new("/nowhere/at/all")] {
            assert_eq!(Source::open(path).unwrap_err().code(), "io");
        }
    }
}
