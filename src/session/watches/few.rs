//! A list that nearly always has one element: then it stands in place and costs no allocation.

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) enum Few<T> {
    #[default]
    None,
    One(T),
    #[expect(clippy::box_collection, reason = "the whole is as large as one element then")]
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(element) => std::slice::from_ref(element),
            Self::Many(elements) => elements,
        }
    }

    pub(super) fn push(&mut self, element: T) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(element),
            Self::One(first) => Self::Many(Box::new(vec![first, element])),
            Self::Many(mut elements) => {
                elements.push(element);
                Self::Many(elements)
            }
        };
    }

    /// Takes out those that are `wanted`, handing each to `take`.
    pub(super) fn take_if(&mut self, wanted: impl Fn(&T) -> bool, mut take: impl FnMut(T)) {
        match self {
            Self::None => {}
            Self::One(element) if !wanted(element) => {}
            Self::One(_) => {
                if let Self::One(element) = std::mem::take(self) {
                    take(element);
                }
            }
            Self::Many(elements) => {
                for element in std::mem::take(&mut **elements) {
                    if wanted(&element) {
                        take(element);
                    } else {
                        elements.push(element);
                    }
                }
                if elements.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }

    pub(super) fn into_each(self, take: impl FnMut(T)) {
        match self {
            Self::None => {}
            Self::One(element) => std::iter::once(element).for_each(take),
            Self::Many(elements) => elements.into_iter().for_each(take),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        for len in 0..5 {
            for odd in [false, true] {
                let mut few = Few::default();
                (0..len).for_each(|n| few.push(n));
                assert_eq!(few.as_slice(), (0..len).collect::<Vec<_>>());
                let mut taken = Vec::new();
                few.take_if(|n| (n % 2 == 1) == odd, |n| taken.push(n));
                assert!(taken.iter().all(|n| (n % 2 == 1) == odd));
                taken.extend(few.as_slice());
                taken.sort_unstable();
                assert_eq!(taken, (0..len).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_list_is_as_large_as_its_element() {
        assert_eq!(size_of::<Few<(u64, bool)>>(), size_of::<(u64, bool)>());
    }

    #[test]
    fn an_empty_list_holds_no_memory() {
        let mut few = Few::default();
        (0..3).for_each(|n| few.push(n));
        few.take_if(|_| true, drop);
        assert!(matches!(few, Few::None));
    }
}
