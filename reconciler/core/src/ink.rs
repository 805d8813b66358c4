//! What a sentence is written into: people, values and words of ours are marked apart, and whoever renders them sees to it that
//! nothing foreign is taken for ours.

/// Takes the parts of a sentence.
pub trait Ink {
    /// Words of ours.
    fn own(&mut self, text: &str);
    /// A person, a guest: the resource of a step.
    fn name(&mut self, text: &str);
    /// A path, group, unit, key or identity.
    fn value(&mut self, text: &str);
    /// A number.
    fn number(&mut self, number: u64);
}

/// `1 step`, `2 steps`.
pub fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}
