//! Owns what is printed: on standard output one JSON object a line or text for people, on
//! standard error messages for people.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use eidetica::Value;

use crate::{failure::Failure, form};

/// For whom to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Text.
    People,
    /// One JSON object a line, as it comes.
    Programs,
    /// One line of JSON a command: what commands inside `serve` answer.
    Conversation,
}

/// Where a command's answer goes.
#[derive(Debug)]
pub(crate) struct Output {
    audience: Audience,
    /// The items of a list until it is complete.
    items: Mutex<Vec<Value>>,
}

impl Output {
    pub(crate) fn new(audience: Audience) -> Self {
        Self {
            audience,
            items: Mutex::default(),
        }
    }

    pub(crate) fn is_for_people(&self) -> bool {
        self.audience == Audience::People
    }

    /// Prints the one answer of a command.
    pub(crate) fn answer(
        &self,
        value: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.is_for_people() {
            true => print(&text()),
            false => print(&form::to_json(value)?),
        }
    }

    /// Prints one of many, to be followed by [`Output::end`].
    pub(crate) fn item(&self, value: Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.audience == Audience::Conversation {
            self.items().push(value);
            return Ok(());
        }
        self.answer(&value, text)
    }

    /// Ends a list.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        match self.audience {
            Audience::Conversation => {
                let items = std::mem::take(&mut *self.items());
                print(&form::to_json(&items.into())?)
            }
            Audience::People | Audience::Programs => Ok(()),
        }
    }

    /// Drops a list that will not be complete.
    pub(crate) fn discard(&self) {
        self.items().clear();
    }

    /// Tells a person something that is not the answer.
    pub(crate) fn note(&self, text: &str) {
        eprintln!("{text}");
    }

    fn items(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        // A panic elsewhere leaves a list that is whole.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
