//! [`Object`]: a JSON object whose keys are read one by one.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::EstimateError;

/// An object, and which of its keys were asked for.
pub(crate) struct Object {
    /// What stands before a key in errors, like ``layer 3 (`x`), ``.
    place: String,
    values: Map<String, Value>,
    asked: BTreeSet<&'static str>,
}

impl Object {
    pub(crate) fn parse(text: &str) -> Result<Self, EstimateError> {
        let values: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| EstimateError::Json { problem: error.to_string() })?;
        Ok(Self { place: String::new(), values, asked: BTreeSet::new() })
    }

    /// The object that a value is; errors begin with `place`.
    pub(crate) fn inside(place: String, value: Value) -> Result<Self, EstimateError> {
        match value {
            Value::Object(values) => Ok(Self { place, values, asked: BTreeSet::new() }),
            value => Err(EstimateError::Value {
                place: place.trim_end_matches(", ").to_owned(),
                value: value.to_string(),
                remedy: "it must be an object",
            }),
        }
    }

    /// Renames the place.
    pub(crate) fn at(mut self, place: String) -> Self {
        self.place = place;
        self
    }

    /// A value, unless it is missing or null.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Value> {
        self.asked.insert(key);
        self.values.get(key).filter(|value| !value.is_null()).cloned()
    }

    pub(crate) fn missing(&self, key: &'static str) -> EstimateError {
        EstimateError::Missing { place: format!("{}{key}", self.place) }
    }

    pub(crate) fn wrong(&self, key: &str, value: &Value, remedy: &'static str) -> EstimateError {
        let place = format!("{}{key}", self.place);
        EstimateError::Value { place, value: value.to_string(), remedy }
    }

    /// A whole number up to 2^53, however it is written: `1024` or `1024.0`.
    pub(crate) fn whole(&mut self, key: &'static str) -> Result<Option<u64>, EstimateError> {
        const LARGEST: u64 = 1 << 53;
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().or_else(|| {
            let number = value.as_f64()?;
            let fits = (0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "just checked"
            )]
            fits.then_some(number as u64)
        });
        match number.filter(|number| *number <= LARGEST) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, &value, "it must be a whole number from 0 to 2^53")),
        }
    }

    /// A whole number from 1 on, if it is there.
    pub(crate) fn count(&mut self, key: &'static str) -> Result<Option<u32>, EstimateError> {
        let Some(number) = self.whole(key)? else { return Ok(None) };
        match u32::try_from(number) {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(self.wrong(key, &number.into(), "it must be from 1 to 4294967295")),
        }
    }

    /// A whole number from 1 on.
    pub(crate) fn needed(&mut self, key: &'static str) -> Result<u32, EstimateError> {
        self.count(key)?.ok_or_else(|| self.missing(key))
    }

    /// True or false, if it is there.
    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, EstimateError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let flag = value.as_bool();
        flag.map(Some).ok_or_else(|| self.wrong(key, &value, "it must be true or false"))
    }

    /// Whether there is a chance above 0.
    pub(crate) fn chance(&mut self, key: &'static str) -> Result<Option<bool>, EstimateError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let chance = value.as_f64().filter(|chance| (0.0..=1.0).contains(chance));
        let chance = chance.ok_or_else(|| self.wrong(key, &value, "it must be from 0 to 1"))?;
        Ok(Some(chance > 0.0))
    }

    /// A text, if it is there.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, EstimateError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.as_str().map(str::to_owned);
        text.map(Some).ok_or_else(|| self.wrong(key, &value, "it must be a text"))
    }

    /// The first key that was not asked for and is not one of these.
    pub(crate) fn unknown(&self, harmless: &[&str]) -> Option<&str> {
        let mut keys = self.values.keys().map(String::as_str);
        keys.find(|key| !self.asked.contains(key) && !harmless.contains(key))
    }
}
