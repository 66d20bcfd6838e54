//! A file read in large pieces, of which the caller sees what it asks for.

use crate::error::Error;
use crate::limits::{BATCH_BYTES_MAX, PAGE_LEN};
use crate::storage::Storage;

/// Bytes read at once: two of the largest batches. It stays in a core's second cache while it is
/// hashed and applied.
const PIECE: usize = 2 * BATCH_BYTES_MAX;

/// The piece of a file that is in memory.
#[derive(Debug)]
pub(crate) struct Window {
    path: String,
    bytes: Vec<u8>,
    /// Where in the file it begins.
    start: u64,
    /// How much of the file was asked for, and how much there was. If that is less, the file ends
    /// there.
    asked: usize,
    filled: usize,
    /// A smaller piece is read while only heads are looked at.
    piece: usize,
}

impl Window {
    /// For whoever reads everything.
    pub(crate) fn new() -> Self {
        Self::with_piece(PIECE)
    }

    /// For whoever reads heads of batches and leaves out what is between them.
    pub(crate) fn of_heads() -> Self {
        Self::with_piece(4 * PAGE_LEN)
    }

    fn with_piece(piece: usize) -> Self {
        Self { path: String::new(), bytes: Vec::new(), start: 0, asked: 0, filled: 0, piece }
    }

    /// Turns to another file.
    pub(crate) fn open(&mut self, path: String) {
        self.path = path;
        // Nothing is known of its end.
        (self.start, self.asked, self.filled) = (0, 0, 0);
    }

    /// `len` bytes from `offset`, or those up to the end of the file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn get(
        &mut self,
        storage: &mut impl Storage,
        offset: u64,
        len: usize,
    ) -> Result<&mut [u8], Error> {
        assert!(len <= PIECE, "nothing larger is ever looked at");
        let has_all = |window: &Self| {
            let ends = window.start + window.filled as u64;
            let is_last = window.filled < window.asked;
            window.start <= offset && (offset + len as u64 <= ends || (is_last && offset <= ends))
        };
        if !has_all(self) {
            self.asked = self.piece.max(len);
            self.bytes.resize(self.bytes.len().max(self.asked), 0);
            let read = storage.read_at(&self.path, offset, &mut self.bytes[..self.asked]);
            self.filled = read.map_err(Error::io(&self.path))?;
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).expect("it is within the piece");
        let to = self.filled.min(from + len);
        Ok(&mut self.bytes[from.min(to)..to])
    }
}
