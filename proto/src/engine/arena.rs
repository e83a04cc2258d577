//! `slab` with typed keys. Keys are local: they never go on a wire.

use std::{marker::PhantomData, ops};

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

    /// Removes a value that is there.
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
