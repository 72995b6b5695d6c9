//! Pressure stall information: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.

use super::Files;
use crate::contract::report::Failure;
use crate::contract::stats::{Psi, PsiData};

/// `None` where the kernel has none (`psi=0`).
pub(super) fn read(files: Files<'_>, file: &str) -> Result<Option<Psi>, Failure> {
    Ok(files.text(file)?.filter(|text| !text.is_empty()).map(|text| parse(&text)))
}

fn parse(text: &str) -> Psi {
    let line = |kind: &str| text.lines().find_map(|l| l.strip_prefix(kind)).map(data).unwrap_or_default();
    Psi { some: line("some "), full: line("full ") }
}

fn data(line: &str) -> PsiData {
    let field = |name: &str| {
        line.split(' ').filter_map(|f| f.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let average = |name| field(name).and_then(|v| v.parse().ok()).unwrap_or(0.0);
    PsiData {
        avg10: average("avg10"),
        avg60: average("avg60"),
        avg300: average("avg300"),
        total: field("total").and_then(|v| v.parse().ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_lines() {
        let psi = super::parse(
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n",
        );
        assert_eq!((psi.some.avg10, psi.some.avg60, psi.some.total), (1.5, 0.25, 77));
        assert_eq!((psi.full.avg10, psi.full.total), (0.5, 7));
    }
}
