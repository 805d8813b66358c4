//! Merge join: names that come in the order of a sorted map are looked up by walking the map once, not by a search for each.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

/// Looks up names in a map. Asked in sorted order, all lookups together cost one walk over the map. Any other order gives the
/// same answers, each at the cost of an ordinary search.
#[derive(Clone, Debug)]
pub struct MergeJoin<'m, V> {
    map: &'m BTreeMap<String, V>,
    ahead: Peekable<btree_map::Iter<'m, String, V>>,
    /// The last key that the walk has left behind.
    passed: Option<&'m str>,
}

impl<'m, V> MergeJoin<'m, V> {
    /// Begins before the first key of `map`.
    pub fn new(map: &'m BTreeMap<String, V>) -> Self {
        Self {
            map,
            ahead: map.iter().peekable(),
            passed: None,
        }
    }

    /// What the map has for `name`.
    pub fn get(&mut self, name: &str) -> Option<&'m V> {
        while let Some(&(key, value)) = self.ahead.peek() {
            match key.as_str().cmp(name) {
                std::cmp::Ordering::Equal => return Some(value),
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Less => {
                    self.passed = Some(key);
                    self.ahead.next();
                }
            }
        }
        if self.passed.is_some_and(|passed| passed >= name) {
            return self.map.get(name);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_the_map_finds_in_any_order() {
        let map: BTreeMap<String, usize> = ["b", "d", "e", "h"]
            .into_iter()
            .enumerate()
            .map(|(index, name)| (name.to_owned(), index))
            .collect();
        let names = ["a", "b", "b", "c", "d", "e", "f", "h", "i"];
        for turn in 0..names.len() {
            let mut join = MergeJoin::new(&map);
            for name in names[turn..].iter().chain(&names).chain(names.iter().rev()) {
                assert_eq!(join.get(name), map.get(*name), "{name}");
            }
        }
    }
}
