//! What a sentence is written into: people, values and words of ours are marked apart, and whoever renders them sees to it that
//! nothing foreign is taken for ours.

/// Takes the parts of a sentence.
pub trait Ink {
    /// Words of ours.
    fn own(&mut self, text: &str);
    /// The person or the guest that the sentence is about: the resource of a step. Left out where a heading names them.
    fn name(&mut self, text: &str);
    /// ` of` and that name, as the end of a phrase.
    fn of(&mut self, text: &str) {
        self.own(" of ");
        self.name(text);
    }
    /// Any other name of that kind.
    fn other(&mut self, text: &str);
    /// A path, group, unit, key or identity.
    fn value(&mut self, text: &str);
    /// A number.
    fn number(&mut self, number: u64);
}

/// A value in the place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced<'a> {
    /// What both are: `login shell`.
    pub what: &'static str,
    /// The one before.
    pub from: &'a str,
    /// The one after.
    pub to: &'a str,
}

/// `1 step`, `2 steps`.
pub fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}
