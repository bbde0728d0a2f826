//! Values that change while others use them.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that is replaced as a whole. Clones are the same.
#[derive(Debug, Default)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// The value of now, which stays as it is for whoever has it.
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_change_together_and_what_was_taken_stays() {
        let live = Live::from(1);
        let (same, before) = (live.clone(), live.get());
        live.set(2);
        assert_eq!((*before, *same.get()), (1, 2));
    }
}
