//! Places that stay where they are while others come and go, each with a key that no later tenant of its place has.

/// Which place, and which of its tenants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotKey {
    index: u32,
    tenant: u32,
}

/// Tenants are counted up to this, and from 0 again.
const TENANTS_MAX: u32 = (1 << 30) - 1;

impl SlotKey {
    /// The number of the place: below how many there ever were at once.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// As a number below 2^62.
    pub fn to_bits(self) -> u64 {
        u64::from(self.tenant) << 32 | u64::from(self.index)
    }

    /// The key with this number.
    pub fn from_bits(bits: u64) -> SlotKey {
        #[allow(clippy::cast_possible_truncation, reason = "a half each")]
        let (index, tenant) = (bits as u32, (bits >> 32) as u32);
        SlotKey { index, tenant: tenant & TENANTS_MAX }
    }
}

#[derive(Debug)]
struct Place<T> {
    tenant: u32,
    value: Option<T>,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Has `value` move in.
    pub fn insert(&mut self, value: T) -> SlotKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { tenant: 0, value: None });
            u32::try_from(self.places.len() - 1).expect("there are fewer descriptors than that")
        });
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        SlotKey { index, tenant: place.tenant }
    }

    /// The tenant with this key, if it is still there.
    #[inline]
    pub fn get(&self, key: SlotKey) -> Option<&T> {
        self.places.get(key.index()).filter(|place| place.tenant == key.tenant)?.value.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, key: SlotKey) -> Option<&mut T> {
        self.places.get_mut(key.index()).filter(|place| place.tenant == key.tenant)?.value.as_mut()
    }

    /// Has the tenant with this key move out.
    pub fn remove(&mut self, key: SlotKey) -> Option<T> {
        let place = self.places.get_mut(key.index()).filter(|place| place.tenant == key.tenant)?;
        let value = place.value.take()?;
        place.tenant = (place.tenant + 1) & TENANTS_MAX;
        self.free.push(key.index);
        Some(value)
    }

    /// The key of whoever is at this place.
    pub fn key_at(&self, index: usize) -> Option<SlotKey> {
        let place = self.places.get(index).filter(|place| place.value.is_some())?;
        Some(SlotKey { index: u32::try_from(index).ok()?, tenant: place.tenant })
    }

    /// All tenants, with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (SlotKey, &T)> {
        self.places.iter().zip(0..).filter_map(|(place, index)| {
            let key = SlotKey { index, tenant: place.tenant };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_one_tenant_and_a_place_for_many() {
        let mut slots = Slots::default();
        let [a, b] = ["a", "b"].map(|value| slots.insert(value));
        assert_eq!((slots.len(), slots.get(a), slots.get(b)), (2, Some(&"a"), Some(&"b")));
        assert_eq!(slots.remove(a), Some("a"));
        assert_eq!((slots.remove(a), slots.get(a), slots.key_at(a.index())), (None, None, None));
        let c = slots.insert("c");
        assert_eq!(c.index(), a.index());
        assert_eq!(slots.get(a), None);
        assert_eq!(slots.get_mut(c), Some(&mut "c"));
        assert_eq!(slots.key_at(c.index()), Some(c));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(c, &"c"), (b, &"b")]);
        slots.remove(b);
        slots.remove(c);
        assert!(slots.is_empty());
    }

    #[test]
    fn a_key_comes_back_from_its_number() {
        let mut slots = Slots::default();
        slots.insert(0);
        let mut key = slots.insert(1);
        for value in 2..10 {
            slots.remove(key);
            key = slots.insert(value);
            assert_eq!(SlotKey::from_bits(key.to_bits()), key);
        }
        let last = SlotKey { index: u32::MAX, tenant: TENANTS_MAX };
        assert!(last.to_bits() < 1 << 62);
        assert_eq!(SlotKey::from_bits(last.to_bits() | 3 << 62), last);
    }
}
