//! Reading a TOML document so that every complaint knows its line, its key and what is allowed.
//!
//! The walk is by hand over the parsed document: derived deserialization knows either the line or the key of a wrong
//! value, and never what is allowed.

use std::{ops::RangeInclusive, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{At, ConfigError, Located};

/// A config file's text.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn parse(self) -> Result<DeTable<'a>, ConfigError> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            self.at(start, "syntax").error(format!("{}; the file must be TOML", error.message()))
        })
    }

    fn at(self, offset: usize, key: &str) -> At {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        At::line(self.file, line, key)
    }
}

/// One table of the document, all of whose keys are known.
pub(super) struct Section<'a> {
    source: Source<'a>,
    name: &'a str,
    entries: Option<&'a DeTable<'a>>,
    at: At,
}

impl<'a> Section<'a> {
    /// The document itself.
    pub(super) fn root(
        source: Source<'a>,
        root: &'a DeTable<'a>,
        allowed: &[&str],
    ) -> Result<Self, ConfigError> {
        let section = Self { source, name: "", entries: Some(root), at: source.at(0, "") };
        section.check_keys(allowed)?;
        Ok(section)
    }

    /// The table `name`; an empty one if there is none.
    pub(super) fn table(&self, name: &'a str, allowed: &[&str]) -> Result<Section<'a>, ConfigError> {
        match self.value(name) {
            None => Ok(Section { source: self.source, name, entries: None, at: self.at.clone() }),
            Some((value, at)) => self.open(name, value, at, allowed, "[", "]"),
        }
    }

    /// The tables of the array `name`.
    pub(super) fn tables(&self, name: &'a str, allowed: &[&str]) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some((value, at)) = self.value(name) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(at.error(format!("is {}; allowed: [[{name}]] tables", kind(value.get_ref()))));
        };
        let open = |value: &'a Spanned<DeValue<'a>>| {
            let at = self.source.at(value.span().start, name);
            self.open(name, value, at, allowed, "[[", "]]")
        };
        array.iter().map(open).collect()
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<Located<String>>, ConfigError> {
        self.value(key).map(|(value, at)| as_string(value.get_ref(), at)).transpose()
    }

    /// As [`string`](Self::string), but the key must be there.
    pub(super) fn required_string(&self, key: &str) -> Result<Located<String>, ConfigError> {
        self.string(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Located<Vec<Located<String>>>>, ConfigError> {
        self.list(key, "strings", as_string)
    }

    pub(super) fn integer(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ConfigError> {
        self.value(key).map(|(value, at)| Ok(as_integer(value.get_ref(), at, &range)?.value)).transpose()
    }

    /// As [`integer`](Self::integer), but the key must be there.
    pub(super) fn required_integer(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Located<u64>, ConfigError> {
        let (value, at) = self.value(key).ok_or_else(|| self.missing(key))?;
        as_integer(value.get_ref(), at, &range)
    }

    pub(super) fn integers(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Vec<u64>>, ConfigError> {
        let list = self.list(key, "integers", |value, at| as_integer(value, at, &range))?;
        Ok(list.map(|list| list.value.into_iter().map(|item| item.value).collect()))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some((value, at)) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(Some(*value)),
            other => Err(at.error(format!("is {}; allowed: true, false", kind(other)))),
        }
    }

    /// That `key`, which must be there, is not.
    pub(super) fn missing(&self, key: &str) -> ConfigError {
        let at = self.at.with_key(self.path(key));
        at.error(format!("is missing; each [[{}]] needs it", self.name))
    }

    fn open(
        &self,
        name: &'a str,
        value: &'a Spanned<DeValue<'a>>,
        at: At,
        allowed: &[&str],
        left: &str,
        right: &str,
    ) -> Result<Section<'a>, ConfigError> {
        let DeValue::Table(entries) = value.get_ref() else {
            return Err(
                at.error(format!("is {}; allowed: a {left}{name}{right} table", kind(value.get_ref())))
            );
        };
        let section = Section { source: self.source, name, entries: Some(entries), at };
        section.check_keys(allowed)?;
        Ok(section)
    }

    /// Complains about the first unknown key in the order of the file.
    fn check_keys(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        let keys = self.entries.iter().flat_map(|entries| entries.keys());
        let unknown = keys.filter(|key| !allowed.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(()),
            Some(key) => {
                let at = self.source.at(key.span().start, &self.path(key.get_ref()));
                Err(at.error(format!("unknown key; allowed: {}", allowed.join(", "))))
            }
        }
    }

    fn value(&self, key: &str) -> Option<(&'a Spanned<DeValue<'a>>, At)> {
        let (name, value) = self.entries?.get_key_value(key)?;
        Some((value, self.source.at(name.span().start, &self.path(key))))
    }

    fn list<T>(
        &self,
        key: &str,
        of: &str,
        item: impl Fn(&DeValue<'a>, At) -> Result<Located<T>, ConfigError>,
    ) -> Result<Option<Located<Vec<Located<T>>>>, ConfigError> {
        let Some((value, at)) = self.value(key) else { return Ok(None) };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(at.error(format!("is {}; allowed: a list of {of}", kind(value.get_ref()))));
        };
        let path = self.path(key);
        let items =
            array.iter().map(|value| item(value.get_ref(), self.source.at(value.span().start, &path)));
        Ok(Some(Located { value: items.collect::<Result<_, _>>()?, at }))
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

fn as_string(value: &DeValue<'_>, at: At) -> Result<Located<String>, ConfigError> {
    match value {
        DeValue::String(text) => Ok(Located { value: text.clone().into_owned(), at }),
        other => Err(at.error(format!("is {}; allowed: a string", kind(other)))),
    }
}

fn as_integer(value: &DeValue<'_>, at: At, range: &RangeInclusive<u64>) -> Result<Located<u64>, ConfigError> {
    let allowed = format!("allowed: {} to {}", range.start(), range.end());
    let DeValue::Integer(integer) = value else {
        return Err(at.error(format!("is {}; {allowed}", kind(value))));
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(value) if range.contains(&value) => Ok(Located { value, at }),
        _ => Err(at.error(format!("{integer} is out of range; {allowed}"))),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
