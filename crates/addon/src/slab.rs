//! Handles: positive 32-bit integers that name a value, and never name another one later.

#![forbid(unsafe_code)]

/// Bits of a handle that are the slot's index; the 11 above them are its generation, the sign bit stays clear.
const INDEX_BITS: u32 = 20;
/// The last generation of a slot. A slot that had it is not used again, so that no handle ever comes twice.
const LAST_GENERATION: u32 = (1 << 11) - 1;

/// Values by handle.
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// Indexes of the slots that may take a value.
    free: Vec<u32>,
}

struct Slot<T> {
    /// Of the value that is here, or of the next one. From 1 on, so that no handle is 0.
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// No values.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Takes a value in; its handle. None where all 2^20 slots are taken or worn out.
    pub fn insert(&mut self, value: T) -> Option<i32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < 1 << INDEX_BITS => {
                self.slots.push(Slot { generation: 1, value: None });
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        Some((slot.generation << INDEX_BITS | index) as i32)
    }

    /// The value of a handle; none where the handle is stale or was never given.
    pub fn get(&self, handle: i32) -> Option<&T> {
        let (generation, index) = split(handle);
        self.slots.get(index).filter(|slot| slot.generation == generation)?.value.as_ref()
    }

    /// The value of a handle, to change it.
    pub fn get_mut(&mut self, handle: i32) -> Option<&mut T> {
        let (generation, index) = split(handle);
        self.slots.get_mut(index).filter(|slot| slot.generation == generation)?.value.as_mut()
    }

    /// Gives the value back, and makes its handle stale.
    pub fn remove(&mut self, handle: i32) -> Option<T> {
        let (generation, index) = split(handle);
        let slot = self.slots.get_mut(index).filter(|slot| slot.generation == generation)?;
        let value = slot.value.take()?;
        slot.generation += 1;
        if slot.generation <= LAST_GENERATION {
            self.free.push(index as u32);
        }
        Some(value)
    }

    /// Drops every value; all handles are stale then.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

fn split(handle: i32) -> (u32, usize) {
    let bits = handle as u32;
    (bits >> INDEX_BITS, (bits & ((1 << INDEX_BITS) - 1)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    proptest! {
        /// Against a map of every handle ever given: live ones resolve to their value, stale and made-up ones to nothing.
        #[test]
        fn handles_name_one_value_ever(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..400),
                                       strangers in prop::collection::vec(any::<i32>(), 50)) {
            let mut slab = Slab::new();
            let mut live: HashMap<i32, usize> = HashMap::new();
            let mut given: Vec<i32> = Vec::new();
            for (step, (insert, choice)) in steps.into_iter().enumerate() {
                if insert || given.is_empty() {
                    let handle = slab.insert(step).unwrap();
                    prop_assert!(handle > 0);
                    prop_assert!(!given.contains(&handle), "handle {handle} was given twice");
                    given.push(handle);
                    live.insert(handle, step);
                } else {
                    let handle = *choice.get(&given);
                    prop_assert_eq!(slab.remove(handle), live.remove(&handle));
                }
                for handle in given.iter().chain(&strangers) {
                    prop_assert_eq!(slab.get(*handle), live.get(handle));
                }
            }
        }
    }

    #[test]
    fn a_slot_is_retired_before_its_handles_repeat() {
        let mut slab = Slab::new();
        let mut given = HashSet::new();
        for _ in 0..3 * LAST_GENERATION {
            let handle = slab.insert(()).unwrap();
            assert!(handle > 0);
            assert!(given.insert(handle), "handle {handle} was given twice");
            assert_eq!(slab.remove(handle), Some(()));
            assert_eq!(slab.get(handle), None);
        }
        assert_eq!(slab.slots.len(), 3);
    }

    #[test]
    fn a_full_slab_takes_no_more() {
        let mut slab = Slab::new();
        let last = (0..1 << INDEX_BITS).map(|_| slab.insert(()).unwrap()).last().unwrap();
        assert_eq!(slab.insert(()), None);
        slab.remove(last);
        assert_ne!(slab.insert(()), Some(last));
    }
}
