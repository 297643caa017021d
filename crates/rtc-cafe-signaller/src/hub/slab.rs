//! Slots that are reused, so that iteration order depends on nothing but the calls made.

/// Values by index; an index is free again once its value is gone.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(value);
            return index;
        }
        self.slots.push(Some(value));
        u32::try_from(self.slots.len() - 1).expect("memory ends long before four billion values")
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(value)
    }

    /// The values with their indices, in the order of these.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.iter_from(0)
    }

    /// The same from an index on.
    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.slots.get(from as usize..).unwrap_or_default();
        (from..).zip(slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    /// One more than the highest index that there was.
    pub(super) const fn end(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
