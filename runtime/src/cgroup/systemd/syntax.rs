//! Names of units and slices (systemd.unit(5), systemd.slice(5)).

use std::path::PathBuf;

/// A mistake, and what to write instead.
pub(super) type Mistake = (String, &'static str);

/// Longest name of a unit (systemd, `UNIT_NAME_MAX`, with the end of the string).
const LONGEST: usize = 255;

/// The slice that a slice is in, by its name; `-.slice` is the root.
pub(super) fn parent_of(slice: &str) -> String {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    stem.rsplit_once('-').map_or_else(|| "-.slice".to_owned(), |(parent, _)| format!("{parent}.slice"))
}

/// `a-b.slice` is the directory `a.slice/a-b.slice` (systemd.slice(5)).
pub(super) fn expand(slice: &str) -> Result<PathBuf, Mistake> {
    const FORM: &str = "such as system.slice or a-b.slice, which is in a.slice";
    let Some(stem) = slice.strip_suffix(".slice") else {
        return Err((format!("{slice:?} is not the name of a slice: it does not end in .slice"), FORM));
    };
    if stem == "-" {
        return Ok(PathBuf::new());
    }
    check(slice)?;
    if stem.split('-').any(str::is_empty) {
        return Err((
            format!("{slice:?} is not the name of a slice: a part between its dashes is empty"),
            FORM,
        ));
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Ok(ends.filter_map(|end| stem.get(..end)).map(|part| format!("{part}.slice")).collect())
}

/// The characters and the length of a unit's name (systemd.unit(5)).
pub(super) fn check(unit: &str) -> Result<(), Mistake> {
    let odd = unit.chars().find(|c| !is_good(*c));
    if let Some(odd) = odd {
        return Err((
            format!("{unit:?} is not the name of a systemd unit: it has the character {odd:?}"),
            "letters, digits and : - _ . \\ may stand in one",
        ));
    }
    if unit.len() > LONGEST || unit.starts_with('.') {
        return Err((
            format!("{unit:?} is not the name of a systemd unit"),
            "at most 255 characters, the first no dot",
        ));
    }
    Ok(())
}

fn is_good(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\')
}

/// An id may have characters that a unit may not (systemd-escape(1)).
pub(super) fn escape(id: &str) -> String {
    let one = |byte: u8| match char::from(byte) {
        c if is_good(c) && c != '\\' => c.to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    id.bytes().map(one).collect()
}
