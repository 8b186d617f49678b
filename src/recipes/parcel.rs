//! How Curator's queues pack what is put: one item, or several that were put at once, in one node.
//!
//! ```text
//! 00 01 00 01   01 00 00 00 05 h e l l o   01 …   02
//! └ version ┘   └ item, length, its bytes ┘       └ end
//! ```
//!
//! Source: Curator `ItemSerializer`.

/// Packs the items.
pub(crate) fn pack<I: AsRef<[u8]>>(items: &[I]) -> Vec<u8> {
    let len: usize = items.iter().map(|item| 5 + item.as_ref().len()).sum();
    let mut packed = Vec::with_capacity(5 + len);
    packed.extend(VERSION.to_be_bytes());
    for item in items.iter().map(AsRef::as_ref) {
        packed.push(ITEM);
        // Longer than the servers take by far, where it does not fit: refused before it is sent.
        packed.extend(u32::try_from(item.len()).unwrap_or(u32::MAX).to_be_bytes());
        packed.extend(item);
    }
    packed.push(END);
    packed
}

/// What was packed; `None` for what is no parcel. What stands behind the end is not looked at, as
/// in Curator.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<&[u8]>> {
    let (version, mut rest) = packed.split_first_chunk()?;
    if u32::from_be_bytes(*version) != VERSION {
        return None;
    }
    let mut items = Vec::new();
    loop {
        let (sort, behind) = rest.split_first()?;
        match *sort {
            END => return Some(items),
            ITEM => {}
            _ => return None,
        }
        let (len, behind) = behind.split_first_chunk()?;
        let (item, behind) = behind.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        items.push(item);
        rest = behind;
    }
}

const VERSION: u32 = 0x0001_0001;
const ITEM: u8 = 1;
const END: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parcel_is_as_curators() {
        let packed = pack(&["hi", ""]);
        assert_eq!(packed, b"\0\x01\0\x01\x01\0\0\0\x02hi\x01\0\0\0\0\x02");
        assert_eq!(unpack(&packed), Some(vec![&b"hi"[..], b""]));
        assert_eq!(unpack(b"\0\x01\0\x01\x02"), Some(vec![]));
        assert_eq!(unpack(b"\0\x01\0\x01\x02and more"), Some(vec![]));
    }

    #[test]
    fn what_is_no_parcel_is_none() {
        for bytes in [
            &b""[..],
            b"hello",
            b"\0\x01\0\x02\x02",
            b"\0\x01\0\x01",
            b"\0\x01\0\x01\x03",
            b"\0\x01\0\x01\x01\0\0\0\x03hi\x02",
            b"\0\x01\0\x01\x01\xff\xff\xff\xffhi\x02",
        ] {
            assert_eq!(unpack(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_and_nothing_panics(
            items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let packed = pack(&items);
            let unpacked = unpack(&packed).unwrap();
            prop_assert!(unpacked.iter().eq(items.iter()));
            prop_assert_eq!(unpack(&packed[..cut.index(packed.len())]), None);
        }
    }
}
