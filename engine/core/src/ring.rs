//! A bounded queue whose places are reserved before they are needed.
//!
//! What a commit needs must be there before the hold. A place is a value: taken once, filled or
//! given back once. So an answer always finds room, whatever happened in between.
//!
//! Invariant: `reserved + items <= capacity`.

use core::marker::PhantomData;
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Ring<T> {
    items: VecDeque<T>,
    reserved: usize,
    capacity: usize,
}

/// Room for one item, from [`Ring::reserve`]. Spent by [`Ring::push`] or [`Ring::give_back`].
#[derive(Debug)]
#[must_use = "a place that is dropped is lost for good"]
pub(crate) struct Place<T>(PhantomData<fn(T)>);

impl<T> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { items: VecDeque::new(), reserved: 0, capacity }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.reserved + self.items.len() < self.capacity
    }

    pub(crate) fn reserve(&mut self) -> Option<Place<T>> {
        if !self.has_room() {
            return None;
        }
        self.reserved += 1;
        Some(Place(PhantomData))
    }

    pub(crate) fn push(&mut self, place: Place<T>, item: T) {
        self.give_back(place);
        self.items.push_back(item);
    }

    pub(crate) fn give_back(&mut self, place: Place<T>) {
        let Place(PhantomData) = place;
        assert!(self.reserved > 0, "a place was reserved before it is spent");
        self.reserved -= 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_places_and_items_share_the_capacity() {
        let mut ring = Ring::new(2);
        let first = ring.reserve().unwrap();
        let second = ring.reserve().unwrap();
        assert!(ring.reserve().is_none());
        ring.push(first, 'a');
        assert!(ring.reserve().is_none(), "an item takes the room that its place had");
        ring.give_back(second);
        let third = ring.reserve().unwrap();
        assert_eq!(ring.pop(), Some('a'));
        ring.push(third, 'b');
        assert_eq!((ring.pop(), ring.pop(), ring.reserved), (Some('b'), None, 0));
    }
}
