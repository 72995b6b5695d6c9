//! Several scenarios at once, by weight, from a file. All mistakes of the file are told at once, each with
//! its place.

use super::{Ground, NAMES, Scenario, by_name};
use crate::stress::drive::Ticket;
use crate::stress::random::Random;
use crate::stress::target::{Doing, Verb};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Scenarios that hold what they make, and so are no units.
const WHOLE: [&str; 1] = ["density"];
/// The largest weight.
const HEAVIEST: u64 = 1_000_000;

/// Scenarios with their weights.
#[derive(Debug)]
pub(crate) struct Mix {
    parts: Vec<(Arc<dyn Scenario>, u64)>,
    seed: u64,
}

/// Reads the text of the file `name`.
///
/// # Errors
/// One line for each mistake.
pub(crate) fn parse(name: &str, text: &str, seed: u64) -> Result<Mix, Vec<String>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let place = |at: usize| format!("{name}:{}", position(text, at));
    let mut mistakes: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {}", place(error.span().unwrap_or_default().start), error.message()))
        .collect();
    let mut parts = Vec::new();
    let mut weighed = false;
    for (key, value) in table.get_ref() {
        let scenario = key.get_ref().as_ref();
        let (of, at) = (by_name(scenario), place(key.span().start));
        if WHOLE.contains(&scenario) {
            mistakes.push(format!("{at}: {scenario} holds its containers, and cannot be mixed"));
        } else if of.is_none() {
            mistakes.push(format!("{at}: {scenario}: there is no such scenario: {}", NAMES.join(", ")));
        }
        match weight(value) {
            Ok(weight) => {
                weighed |= weight > 0;
                parts.extend(of.map(|of| (of, weight)));
            }
            Err(wrong) => {
                mistakes
                    .extend(wrong.into_iter().map(|(at, wrong)| format!("{}: {scenario}{wrong}", place(at))));
            }
        }
    }
    if mistakes.is_empty() && !weighed {
        mistakes.push(format!("{name}:1:1: there is no scenario with a weight, such as [churn] weight = 1"));
    }
    if mistakes.is_empty() { Ok(Mix { parts, seed }) } else { Err(mistakes) }
}

/// The weight in the table of a scenario; else each mistake with its place.
fn weight(value: &Spanned<DeValue<'_>>) -> Result<u64, Vec<(usize, String)>> {
    let Some(table) = value.get_ref().as_table() else {
        let wrong = format!(" is to be a table with a weight, not {}", value.get_ref().type_str());
        return Err(vec![(value.span().start, wrong)]);
    };
    let (mut found, mut mistakes) = (None, Vec::new());
    for (key, value) in table {
        if key.get_ref().as_ref() != "weight" {
            let wrong = format!(".{}: there is no such setting: weight", key.get_ref());
            mistakes.push((key.span().start, wrong));
            continue;
        }
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| *number <= HEAVIEST) {
            Some(number) => found = Some(number),
            None => mistakes
                .push((value.span().start, format!(".weight is to be a whole number from 0 to {HEAVIEST}"))),
        }
    }
    match found {
        Some(weight) if mistakes.is_empty() => Ok(weight),
        None if mistakes.is_empty() => Err(vec![(value.span().start, ": a weight is missing".into())]),
        _ => Err(mistakes),
    }
}

/// `LINE:COLUMN` of a byte, from 1 on.
fn position(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("{line}:{column}")
}

impl Mix {
    fn one(&self, number: u64) -> Option<&Arc<dyn Scenario>> {
        let total: u64 = self.parts.iter().map(|(_, weight)| weight).sum();
        let mut drawn =
            Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9)).number().checked_rem(total)?;
        for (scenario, weight) in &self.parts {
            if drawn < *weight {
                return Some(scenario);
            }
            drawn -= weight;
        }
        None
    }
}

impl Scenario for Mix {
    fn name(&self) -> String {
        let part = |(scenario, weight): &(Arc<dyn Scenario>, u64)| format!("{} {weight}", scenario.name());
        format!("mix ({})", self.parts.iter().map(part).collect::<Vec<_>>().join(", "))
    }

    fn verbs(&self) -> Vec<Verb> {
        self.parts.iter().flat_map(|(scenario, _)| scenario.verbs()).collect()
    }

    fn programs(&self) -> Vec<&'static str> {
        self.parts.iter().flat_map(|(scenario, _)| scenario.programs()).collect()
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(async {
            for (scenario, _) in &self.parts {
                scenario.prepare(ground).await?;
            }
            Ok(())
        })
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        match self.one(ticket.number) {
            Some(scenario) => scenario.unit(ground, ticket),
            None => Box::pin(async { Ok(()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_with_their_places() {
        let text =
            "[churn]\nweight = -1\n[dance]\nweight = 1\n[exec]\nwieght = 2\n[density]\nweight = 1\n[list]\n";
        let mistakes = parse("m.toml", text, 0).unwrap_err();
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
        let told =
            |text: &str| assert!(mistakes.iter().any(|line| line.starts_with(text)), "{text}: {mistakes:#?}");
        told("m.toml:2:10: churn.weight is to be a whole number");
        told("m.toml:3:2: dance: there is no such scenario: churn, ");
        told("m.toml:6:1: exec.wieght: there is no such setting");
        told("m.toml:7:2: density holds its containers");
        told("m.toml:9:1: list: a weight is missing");
        assert_eq!(parse("m", "", 0).unwrap_err().len(), 1);
        assert!(parse("m", "a = [\n", 0).is_err());
    }

    #[test]
    fn units_come_by_weight_and_the_same_for_a_seed() {
        let mix = |seed| parse("m", "[churn]\nweight = 3\n[exec]\nweight = 1\n", seed).unwrap();
        let names = |seed| (0..4000).map(|n| mix(seed).one(n).unwrap().name()).collect::<Vec<_>>();
        let one = names(1);
        let execs = one.iter().filter(|name| *name == "exec").count();
        assert!((900..1100).contains(&execs), "{execs}");
        assert!(one == names(1) && one != names(2));
    }
}
