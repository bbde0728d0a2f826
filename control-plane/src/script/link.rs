//! The process's end of the line to the daemon.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, BufRead, Write};

use super::message::{Reply, Request, Said};

/// The line to whoever started the script.
pub(super) struct Link {
    input: RefCell<Box<dyn BufRead>>,
    output: RefCell<Box<dyn Write>>,
    logged: Cell<usize>,
}

impl Link {
    pub(super) fn new(input: Box<dyn BufRead>, output: Box<dyn Write>) -> Self {
        Self { input: RefCell::new(input), output: RefCell::new(output), logged: Cell::new(0) }
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, request: Request) -> io::Result<Reply> {
        self.say(&Said::Ask(request))?;
        self.hear()
    }

    /// Logs the beginning of a text, and nothing once there were [`LINES`].
    pub(super) fn log(&self, text: &str) -> io::Result<()> {
        if self.logged.replace(self.logged.get() + 1) >= LINES {
            return Ok(());
        }
        self.say(&Said::Log(text.chars().take(LINE).collect()))
    }

    pub(super) fn say(&self, said: &Said) -> io::Result<()> {
        let mut output = self.output.borrow_mut();
        serde_json::to_writer(&mut *output, said)?;
        output.write_all(b"\n")?;
        output.flush()
    }

    pub(super) fn hear<T: serde::de::DeserializeOwned>(&self) -> io::Result<T> {
        let mut line = String::new();
        if self.input.borrow_mut().read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("logged", &self.logged).finish_non_exhaustive()
    }
}

/// Lines that a script may log.
const LINES: usize = 100;

/// Characters of a line that are logged.
const LINE: usize = 1000;
