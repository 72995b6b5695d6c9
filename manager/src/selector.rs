//! Which labels are asked for, as a text: terms with commas between them, all of
//! which have to hold.
//!
//! | term | holds for labels |
//! |---|---|
//! | `a=b`, `a==b` | with `a`, whose value is `b` |
//! | `a!=b` | without `a`, or where its value is another |
//! | `a in (x, y)` | with `a`, whose value is one of these |
//! | `a notin (x, y)` | without `a`, or where its value is none of these |
//! | `a` | with `a` |
//! | `!a` | without `a` |
//!
//! Keys and values are written as they are, without quotes: they end at a blank or
//! at one of `=!(),`. A value may be empty.

use std::collections::{BTreeMap, BTreeSet};

/// Longest text.
const LONGEST: usize = 4096;

/// A selection of labels. Of the empty text: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    wants: Wants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    OneOf(BTreeSet<String>),
    NoneOf(BTreeSet<String>),
    Key,
    NoKey,
}

impl Selector {
    /// Of a text.
    ///
    /// # Errors
    /// What is wrong, and at which character, from 1 on.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it has {} bytes, at most {LONGEST}", text.len()));
        }
        let mut parser = Parser { text, at: 0 };
        let mut terms = Vec::new();
        if parser.peek().is_none() {
            return Ok(Self(terms));
        }
        loop {
            terms.push(parser.term()?);
            match parser.peek() {
                None => return Ok(Self(terms)),
                Some(',') => parser.take(","),
                Some(_) => return Err(parser.wrong("a comma, or the end, is expected")),
            };
        }
    }

    /// Whether these labels are as it says.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| {
            let value = labels.get(&term.key);
            match &term.wants {
                Wants::OneOf(values) => value.is_some_and(|value| values.contains(value)),
                Wants::NoneOf(values) => value.is_none_or(|value| !values.contains(value)),
                Wants::Key => value.is_some(),
                Wants::NoKey => value.is_none(),
            }
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte of the text that comes next.
    at: usize,
}

impl<'a> Parser<'a> {
    fn term(&mut self) -> Result<Term, String> {
        if self.take("!") {
            return Ok(Term { key: self.key()?, wants: Wants::NoKey });
        }
        let key = self.key()?;
        let wants = match self.peek() {
            Some('=') => {
                self.take("=");
                self.take("=");
                Wants::OneOf([self.value()].into())
            }
            Some('!') => {
                self.take("!");
                self.must("=")?;
                Wants::NoneOf([self.value()].into())
            }
            None | Some(',') => Wants::Key,
            Some(_) => {
                let begin = self.at;
                match self.word() {
                    "in" => Wants::OneOf(self.set()?),
                    "notin" => Wants::NoneOf(self.set()?),
                    _ => {
                        self.at = begin;
                        return Err(self.wrong("one of =, ==, !=, in and notin is expected"));
                    }
                }
            }
        };
        Ok(Term { key, wants })
    }

    fn set(&mut self) -> Result<BTreeSet<String>, String> {
        self.must("(")?;
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value());
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(self.wrong("a comma or ) is expected"));
            }
        }
    }

    fn key(&mut self) -> Result<String, String> {
        match self.word() {
            "" => Err(self.wrong("the key of a label is expected")),
            key => Ok(key.to_owned()),
        }
    }

    fn value(&mut self) -> String {
        self.word().to_owned()
    }

    /// Up to a blank or a sign; may be empty.
    fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || "=!(),".contains(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn must(&mut self, sign: &str) -> Result<(), String> {
        if self.take(sign) { Ok(()) } else { Err(self.wrong(&format!("{sign} is expected"))) }
    }

    fn take(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len() } else { 0 };
        is_next
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&mut self, message: &str) -> String {
        self.skip_blanks();
        let place = self.text.get(..self.at).unwrap_or_default().chars().count() + 1;
        match self.rest().chars().next() {
            Some(found) => format!("at character {place}, {found:?}: {message}"),
            None => format!("at its end: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let labels = [("a", "b"), ("tier", "front"), ("empty", ""), ("x.y/z", "1-2_3")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Selector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).matches(&labels)
    }

    #[test]
    fn each_term_holds_for_its_labels() {
        for text in [
            "",
            " ",
            "a",
            "a=b",
            "a == b",
            "a=b,tier=front",
            "a!=c",
            "none!=c",
            "a in (b)",
            "tier in (back, front)",
            "tier notin (back)",
            "none notin (x,y)",
            "!none",
            "! none , a",
            "empty=",
            "empty",
            "empty in (,x)",
            "x.y/z=1-2_3",
            "a!=",
            "in notin (in)",
        ] {
            assert!(holds(text), "{text:?}");
        }
        for text in [
            "none",
            "a=c",
            "a=",
            "a=b,none",
            "a!=b",
            "a in (c)",
            "none in (x)",
            "a notin (b, c)",
            "!a",
            "empty=x",
            "a=b, tier=back",
        ] {
            assert!(!holds(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            (",", "at character 1, ',': the key of a label is expected"),
            ("a,", "at its end: the key of a label is expected"),
            ("a b", "at character 3, 'b': one of =, ==, !=, in and notin is expected"),
            ("ä=b c", "at character 5, 'c': a comma, or the end, is expected"),
            ("a !b", "at character 4, 'b': = is expected"),
            ("a in b", "at character 6, 'b': ( is expected"),
            ("a in (b", "at its end: a comma or ) is expected"),
            ("a in (b c)", "at character 9, 'c': a comma or ) is expected"),
            ("!", "at its end: the key of a label is expected"),
            ("a=b)", "at character 4, ')': a comma, or the end, is expected"),
        ] {
            assert_eq!(Selector::parse(text), Err(message.into()), "{text:?}");
        }
        assert!(Selector::parse(&"a".repeat(5000)).is_err());
    }
}
