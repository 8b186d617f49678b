//! Byte buffers that are used again: the bytes of one request, then those of one answer.
//!
//! A request is encoded in a buffer by its caller, copied into the outgoing stream by the IO
//! thread, which drops the buffer; an answer goes the other way. So each thread gets back, in the
//! long run, as many as it gives away: dropped buffers are kept by the thread that drops them, and
//! taken again for what it has to say next. In steady state no request and no answer allocates.
//!
//! What a thread keeps is bounded in bytes, not in number: a thousand small answers in flight need
//! a thousand buffers, one large answer none.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// A growable run of bytes; see the [module](self).
#[derive(Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer with room for `room` bytes.
    pub(crate) fn with_room(room: usize) -> Self {
        // A large one is made to measure: it will not be kept either.
        let mut bytes = if room <= LARGEST { kept() } else { Vec::new() };
        bytes.reserve_exact(room);
        Self(bytes)
    }

    /// Makes room for `more` bytes.
    pub(crate) fn make_room(&mut self, more: usize) {
        if self.0.capacity() == 0 {
            *self = Self::with_room(more);
        } else {
            self.0.reserve(more);
        }
    }

    /// A copy of `bytes`.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_room(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// A copy of `bytes` with the first `n` of them at the end. What stood behind those can then be
    /// had at the front of the memory, without moving it.
    pub(crate) fn rotated_copy_of(bytes: &[u8], n: usize) -> Self {
        let (first, rest) = bytes.split_at(n.min(bytes.len()));
        let mut buffer = Self::with_room(bytes.len());
        buffer.extend_from_slice(rest);
        buffer.extend_from_slice(first);
        buffer
    }

    /// Whether the memory is handed to the user as it is, and not kept.
    pub(crate) fn is_large(bytes: &[u8]) -> bool {
        bytes.len() > LARGEST
    }

    /// The bytes in a vector of their own: this buffer's memory if that fits them well, else a
    /// copy. `range` says which of them.
    pub(crate) fn into_part(mut self, from: usize, to: usize) -> Vec<u8> {
        if self.0.capacity() <= LARGEST {
            return self.0.get(from..to).unwrap_or_default().to_vec();
        }
        let mut bytes = std::mem::take(&mut self.0);
        bytes.truncate(to);
        bytes.drain(..from.min(to));
        bytes
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the bytes: they may be a user's secrets.
        write!(f, "Buffer({} bytes)", self.0.len())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let capacity = self.0.capacity();
        if capacity == 0 || capacity > LARGEST {
            return;
        }
        let mut bytes = std::mem::take(&mut self.0);
        // A thread that is ending keeps nothing.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.bytes + capacity <= MOST {
                bytes.clear();
                kept.bytes += capacity;
                kept.buffers.push(bytes);
            }
        });
    }
}

fn kept() -> Vec<u8> {
    let kept = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        let bytes = kept.buffers.pop()?;
        kept.bytes = kept.bytes.saturating_sub(bytes.capacity());
        Some(bytes)
    });
    kept.ok().flatten().unwrap_or_default()
}

/// What a thread keeps, and how many bytes that is.
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { buffers: Vec::new(), bytes: 0 }) };
}

/// The largest buffer that is kept, in bytes of capacity. An answer above it is handed to the user
/// in the memory it came in, which saves a copy; one below is copied, which saves an allocation.
const LARGEST: usize = 2 * 1024;

/// What a thread keeps at most, in bytes of capacity: a window of a thousand answers of 100 bytes.
const MOST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_kept() -> (usize, usize) {
        KEPT.with(|kept| {
            let kept = kept.borrow();
            assert_eq!(kept.bytes, kept.buffers.iter().map(Vec::capacity).sum::<usize>());
            (kept.buffers.len(), kept.bytes)
        })
    }

    #[test]
    fn a_dropped_buffer_is_taken_again_empty() {
        let first = Buffer::copy_of(&[7; 100]);
        let memory = first.as_ptr();
        drop(first);
        let second = Buffer::with_room(50);
        assert_eq!(second.as_ptr(), memory);
        assert!(second.is_empty());
    }

    #[test]
    fn a_thread_keeps_a_bounded_number_of_bytes() {
        let many: Vec<_> = (0..3_000).map(|_| Buffer::with_room(200)).collect();
        drop(many);
        let (count, bytes) = bytes_kept();
        assert!(bytes <= MOST, "{bytes}");
        assert!(count >= 1_000, "{count}");
        drop(Buffer::with_room(LARGEST + 1));
        assert_eq!(bytes_kept(), (count, bytes), "a large one is not kept");
        while KEPT.with(|kept| !kept.borrow().buffers.is_empty()) {
            std::mem::forget(Buffer::with_room(1));
        }
        assert_eq!(bytes_kept(), (0, 0));
    }

    #[test]
    fn a_part_is_copied_from_a_small_buffer_and_cut_from_a_large_one() {
        assert_eq!(Buffer::copy_of(b"abcdef").into_part(1, 3), b"bc");
        assert_eq!(bytes_kept().0, 1, "the small buffer stays with the thread");
        let large = Buffer::copy_of(&[1; 5_000]);
        let memory = large.as_ptr();
        let part = large.into_part(4, 4_004);
        assert_eq!((part.len(), part.as_ptr()), (4_000, memory));
        assert!(Buffer::copy_of(b"abc").into_part(3, 9).is_empty(), "no such bytes");
    }

    #[test]
    fn its_debug_form_shows_no_bytes() {
        assert_eq!(format!("{:?}", Buffer::copy_of(b"secret")), "Buffer(6 bytes)");
    }
}
