//! `slab` with typed keys. Keys are local: they never go on a wire.

use std::{hint, marker::PhantomData, ops};

use slab::Slab;

/// Declares a key type.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub(crate) struct $name(pub(crate) u32);

        impl From<$name> for usize {
            fn from(key: $name) -> Self {
                key.0 as Self
            }
        }

        impl From<u32> for $name {
            fn from(key: u32) -> Self {
                Self(key)
            }
        }
    };
}
pub(crate) use key;

/// Values with keys of one type.
#[derive(Debug)]
pub(crate) struct Arena<K, T> {
    slab: Slab<T>,
    key: PhantomData<K>,
}

impl<K: Into<usize> + From<u32> + Copy, T> Arena<K, T> {
    pub(crate) const fn new() -> Self {
        Self { slab: Slab::new(), key: PhantomData }
    }

    /// Adds a value. The callers' limits keep the number of values far below `u32::MAX`.
    pub(crate) fn insert(&mut self, value: T) -> K {
        let key = self.slab.insert(value);
        K::from(u32::try_from(key).unwrap_or(u32::MAX))
    }

    /// Adds a value that is written where it stands. One that is built elsewhere, field by field, and moved in as a whole
    /// waits for its own writes.
    #[inline]
    pub(crate) fn insert_with(&mut self, blank: T, write: impl FnOnce(&mut T)) -> K {
        let key = self.insert(blank);
        write(&mut self[key]);
        key
    }

    /// Has the value at a key on its way into the cache while another is worked on.
    #[inline]
    pub(crate) fn touch(&self, key: K) {
        hint::black_box(self.slab.contains(key.into()));
    }

    /// The same of the place where the next value will stand.
    #[inline]
    pub(crate) fn touch_next(&self) {
        hint::black_box(self.slab.contains(self.slab.vacant_key()));
    }

    /// Removes a value that is there.
    #[inline]
    pub(crate) fn remove(&mut self, key: K) -> T {
        self.slab.remove(key.into())
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        self.slab.get(key.into())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        self.slab.get_mut(key.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slab.iter().map(|(k, v)| (K::from(u32::try_from(k).unwrap_or(u32::MAX)), v))
    }

    /// The next key from `from` on, which moves behind it: for loops that change what they go through, and come often.
    pub(crate) fn next_key(&self, from: &mut u32) -> Option<K> {
        while (*from as usize) < self.slab.capacity() {
            let index = *from;
            *from += 1;
            if self.slab.contains(index as usize) {
                return Some(K::from(index));
            }
        }
        None
    }

    /// The keys as they are now, for loops that change what they go through.
    pub(crate) fn keys(&self) -> Vec<K> {
        self.iter().map(|(k, _)| k).collect()
    }
}

impl<K: Into<usize> + From<u32> + Copy, T> ops::Index<K> for Arena<K, T> {
    type Output = T;
    #[inline]
    fn index(&self, key: K) -> &T {
        &self.slab[key.into()]
    }
}

impl<K: Into<usize> + From<u32> + Copy, T> ops::IndexMut<K> for Arena<K, T> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut T {
        &mut self.slab[key.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    key! {
        /// A test's.
        Key
    }

    #[test]
    fn a_loop_over_keys_survives_what_it_removes_and_adds() {
        let mut arena = Arena::<Key, u8>::new();
        let keys: Vec<_> = (0..5).map(|n| arena.insert(n)).collect();
        arena.remove(keys[1]);
        let (mut from, mut seen) = (0, Vec::new());
        while let Some(key) = arena.next_key(&mut from) {
            seen.push(arena[key]);
            if key == keys[2] {
                arena.remove(keys[2]);
                arena.remove(keys[3]);
            }
        }
        assert_eq!(seen, [0, 2, 4]);
        assert_eq!(Arena::<Key, u8>::new().next_key(&mut 0), None);
    }
}
