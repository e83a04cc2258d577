//! Reading and writing little-endian fields, for the fixed layouts of `wire` and `local`.

/// Reads fields from the front of a slice; `None` where it is too short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next `N` bytes: what is read of them by fields of constant size costs no comparison each.
    #[inline]
    pub(crate) fn chunk<const N: usize>(&mut self) -> Option<Reader<'a>> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(Reader(head))
    }

    #[inline]
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Appends fields to a buffer.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    #[inline(always)]
    fn put_u8(&mut self, v: u8) {
        self.put(&[v]);
    }

    #[inline(always)]
    fn put_u16(&mut self, v: u16) {
        self.put(&v.to_le_bytes());
    }

    #[inline(always)]
    fn put_u32(&mut self, v: u32) {
        self.put(&v.to_le_bytes());
    }

    #[inline(always)]
    fn put_u64(&mut self, v: u64) {
        self.put(&v.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Exactly `N` bytes of fields, put together before they are appended in one piece. All of it is inlined, always: then they go
/// where they belong from registers. Put together in memory, they would be read wider than they were written, which waits.
#[derive(Debug)]
pub(crate) struct Fixed<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Fixed<N> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    #[inline(always)]
    pub(crate) fn all(&self) -> &[u8; N] {
        debug_assert_eq!(self.len, N, "all fields were put");
        &self.bytes
    }
}

impl<const N: usize> Put for Fixed<N> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }
}

/// A length as a `u16` field. Callers have checked it against a limit that fits; a longer one would be
/// our own fault and saturates, which the other side refuses.
#[inline]
pub(crate) fn len_u16(n: usize) -> u16 {
    debug_assert!(n <= usize::from(u16::MAX));
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// A length as a `u32` field, under the same rule as [`len_u16`].
#[inline]
pub(crate) fn len_u32(n: usize) -> u32 {
    debug_assert!(u32::try_from(n).is_ok());
    u32::try_from(n).unwrap_or(u32::MAX)
}
