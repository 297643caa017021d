//! A queue as two lists: less code than a ring, and the browser has to load it.

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// The oldest, in reverse.
    front: Vec<T>,
    back: Vec<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { front: Vec::new(), back: Vec::new() }
    }
}

impl<T> Queue<T> {
    pub(crate) const fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, element: T) {
        self.back.push(element);
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.front.is_empty() {
            while let Some(element) = self.back.pop() {
                self.front.push(element);
            }
        }
        self.front.pop()
    }

    /// The one that so many are older than.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match self.front.len().checked_sub(at + 1) {
            Some(from_end) => self.front.get(from_end),
            None => self.back.get(at - self.front.len()),
        }
    }
}
