//! Heads of batches, without what is between them: quick, and believed by nobody. Hashes are not
//! checked here; whoever acts on what a head says reads the stream by [`super::Scan`] as well.

use super::{Place, Window};
use crate::batch::{Batch, Head, Stream};
use crate::error::Error;
use crate::hash::Hash;
use crate::limits::PAGE_LEN;
use crate::names::SegmentName;
use crate::storage::Storage;

/// The heads of a stream, up to the first thing that looks like none.
#[derive(Debug)]
pub struct Heads<'a, S> {
    storage: &'a mut S,
    stream: Stream,
    /// Those behind the one being read, first one last.
    segments: Vec<SegmentName>,
    window: Window,
    /// Where the next head is looked for; none before the first segment.
    place: Option<Place>,
}

impl<'a, S: Storage> Heads<'a, S> {
    /// Looks at the segments, which are one stream's and in order.
    #[must_use]
    pub fn new(storage: &'a mut S, stream: Stream, mut segments: Vec<SegmentName>) -> Self {
        segments.reverse();
        Self { storage, stream, segments, window: Window::of_heads(), place: None }
    }

    /// The next head and where it stands.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn next_head(&mut self) -> Result<Option<(Place, Head)>, Error> {
        loop {
            if let Some(place) = self.place {
                let page = self.window.get(self.storage, place.offset, PAGE_LEN)?;
                if let Ok(head) = Head::peek(page, &self.stream) {
                    let len = head.padded_len(self.stream.shards) as u64;
                    self.place = Some(Place { offset: place.offset + len, ..place });
                    return Ok(Some((place, head)));
                }
            }
            let Some(segment) = self.segments.pop() else { return Ok(None) };
            self.window.open(segment.path());
            self.place = Some(Place { segment, offset: PAGE_LEN as u64 });
        }
    }

    /// The batch whose head was told last: `None` if the file ends within it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn batch(&mut self, at: Place, head: Head) -> Result<Option<Batch<'_>>, Error> {
        let len = head.padded_len(self.stream.shards);
        let bytes = self.window.get(self.storage, at.offset, len)?;
        let is_whole = bytes.len() == len;
        Ok(is_whole.then(|| Batch::view(bytes, head, Hash::NONE, &self.stream)))
    }
}
