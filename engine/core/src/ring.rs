//! A bounded queue whose places are reserved before they are needed.
//!
//! What a commit needs must be there before the hold. A place is a value: taken once, filled or
//! given back once. So an answer always finds room, whatever happened in between.
//!
//! Invariant: `taken <= capacity`; each item of a ring has a place of its own.

use core::marker::PhantomData;
use std::collections::VecDeque;

/// How many places there are, of which some are taken.
#[derive(Debug)]
pub(crate) struct Room<T> {
    taken: usize,
    capacity: usize,
    of: PhantomData<fn(T)>,
}

/// Room for one item, from [`Room::reserve`]. Spent by [`Ring::push`] or [`Room::give_back`].
#[derive(Debug)]
#[must_use = "a place that is dropped is lost for good"]
pub(crate) struct Place<T>(PhantomData<fn(T)>);

impl<T> Room<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { taken: 0, capacity, of: PhantomData }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.taken < self.capacity
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn reserve(&mut self) -> Option<Place<T>> {
        if !self.has_room() {
            return None;
        }
        self.taken += 1;
        Some(Place(PhantomData))
    }

    pub(crate) fn give_back(&mut self, place: Place<T>) {
        let Place(PhantomData) = place;
        assert!(self.taken > 0, "a place was reserved before it is spent");
        self.taken -= 1;
    }
}

/// Items in the order in which they came, each in a place of its own.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    items: VecDeque<(Place<T>, T)>,
    room: Room<T>,
}

impl<T> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { items: VecDeque::new(), room: Room::new(capacity) }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room.has_room()
    }

    pub(crate) fn reserve(&mut self) -> Option<Place<T>> {
        self.room.reserve()
    }

    pub(crate) fn push(&mut self, place: Place<T>, item: T) {
        self.items.push_back((place, item));
    }

    pub(crate) fn give_back(&mut self, place: Place<T>) {
        self.room.give_back(place);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let (place, item) = self.items.pop_front()?;
        self.room.give_back(place);
        Some(item)
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
        assert_eq!((ring.pop(), ring.pop(), ring.room.taken), (Some('b'), None, 0));
    }
}
