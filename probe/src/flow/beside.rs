//! What is kept beside the slab, for the flows that ask for it.

/// Room for a `T` at each place of the slab, reserved when the first flow may ask for it and
/// touched when used.
#[derive(Debug)]
pub(crate) struct Beside<T> {
    places: Vec<Option<T>>,
    capacity: usize,
}

impl<T> Beside<T> {
    /// Room beside a slab of `capacity` places, of which `used` are in use: nothing is kept of the
    /// flows there.
    pub(crate) fn new(capacity: usize, used: usize) -> Self {
        let mut places = Vec::with_capacity(capacity);
        places.resize_with(used.min(capacity), || None);
        Self { places, capacity }
    }

    /// Keeps something, or nothing, of the flow that begins at a place.
    pub(crate) fn put(&mut self, index: u32, what: Option<T>) {
        let index = index as usize;
        if index >= self.places.len() && index < self.capacity {
            self.places.resize_with(index + 1, || None);
        }
        if let Some(place) = self.places.get_mut(index) {
            *place = what;
        }
    }

    /// What is kept of the flow at a place.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.as_ref()
    }

    /// What is kept of the flow at a place, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_slab_and_never_grow() {
        let mut beside = Beside::new(4, 2);
        let room = beside.places.capacity();
        beside.put(3, Some(3));
        beside.put(0, Some(0));
        assert_eq!(beside.get(0), Some(&0));
        assert_eq!((beside.get(1), beside.get(2)), (None, None));
        beside.put(3, None);
        assert_eq!(beside.get_mut(3), None);
        beside.put(4, Some(4));
        assert_eq!(beside.get(4), None);
        assert_eq!(beside.places.capacity(), room);
    }
}
