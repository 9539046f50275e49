//! Memory that the system may refuse. Where a file, a peer or an option can make a piece of memory large, it is asked
//! for here. If there is none, that is an error, and does not end the host.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::VecDeque;
use std::io;

/// Some memory could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{bytes} bytes of memory cannot be had")]
pub struct NoMemory {
    /// How many bytes.
    pub bytes: usize,
}

impl NoMemory {
    /// The error for `items` more items than the `held` ones.
    #[cold]
    fn for_items<T>(held: usize, items: usize) -> NoMemory {
        NoMemory { bytes: held.saturating_add(items).saturating_mul(size_of::<T>()) }
    }
}

impl From<NoMemory> for io::Error {
    fn from(none: NoMemory) -> io::Error {
        io::Error::new(io::ErrorKind::OutOfMemory, none)
    }
}

/// Makes room in `vec` for `items` more items.
#[inline]
pub fn reserve<T>(vec: &mut Vec<T>, items: usize) -> Result<(), NoMemory> {
    if vec.capacity() - vec.len() >= items { Ok(()) } else { grow(vec, items) }
}

#[cold]
fn grow<T>(vec: &mut Vec<T>, items: usize) -> Result<(), NoMemory> {
    // Asks for twice the capacity, and if that cannot be had, for what is needed.
    vec.try_reserve(items)
        .or_else(|_| vec.try_reserve_exact(items))
        .map_err(|_| NoMemory::for_items::<T>(vec.len(), items))
}

/// Makes room in `queue` for `items` more items.
#[inline]
pub fn reserve_queue<T>(queue: &mut VecDeque<T>, items: usize) -> Result<(), NoMemory> {
    if queue.capacity() - queue.len() >= items { Ok(()) } else { grow_queue(queue, items) }
}

#[cold]
fn grow_queue<T>(queue: &mut VecDeque<T>, items: usize) -> Result<(), NoMemory> {
    queue
        .try_reserve(items)
        .or_else(|_| queue.try_reserve_exact(items))
        .map_err(|_| NoMemory::for_items::<T>(queue.len(), items))
}

/// Makes `len` zeros. The system zeroes large memory itself, page by page, when it is first touched.
pub fn zeros(len: usize) -> Result<Box<[u8]>, NoMemory> {
    let none = NoMemory { bytes: len };
    let layout = Layout::array::<u8>(len).map_err(|_| none)?;
    if len == 0 {
        return Ok(Box::default());
    }
    // SAFETY: the layout has a size.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        return Err(none);
    }
    // SAFETY: it is from the global allocator, with the layout of a box of `len` bytes, all of which are set.
    Ok(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, len)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_could_hold_is_an_error_and_leaves_all_as_it_was() {
        for bytes in [usize::MAX, isize::MAX.unsigned_abs()] {
            assert_eq!(zeros(bytes), Err(NoMemory { bytes }));
        }
        let mut vec = vec![1u16, 2];
        assert_eq!(reserve(&mut vec, usize::MAX / 4), Err(NoMemory { bytes: (2 + usize::MAX / 4) * 2 }));
        assert_eq!(reserve(&mut vec, usize::MAX), Err(NoMemory { bytes: usize::MAX }));
        assert_eq!(vec, [1, 2]);
        let mut queue = VecDeque::from([1u16, 2]);
        assert_eq!(reserve_queue(&mut queue, usize::MAX), Err(NoMemory { bytes: usize::MAX }));
        assert_eq!(queue, [1, 2]);
    }

    #[test]
    fn what_can_be_had_is() {
        assert_eq!(zeros(0).unwrap().len(), 0);
        let mut memory = zeros(10_000).unwrap();
        assert!(memory.iter().all(|&byte| byte == 0));
        memory.fill(7);
        let mut vec = vec![1u64];
        reserve(&mut vec, 100).unwrap();
        assert!(vec.capacity() >= 101);
        let mut queue = VecDeque::from([1u64]);
        reserve_queue(&mut queue, 100).unwrap();
        assert!(queue.capacity() >= 101);
    }

    #[test]
    fn an_error_of_reading_carries_it() {
        let error = io::Error::from(NoMemory { bytes: 5 });
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(&NoMemory { bytes: 5 }));
    }
}
