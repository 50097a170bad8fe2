//! A line typed at a terminal that shows nothing of it.

use std::{
    fs::File,
    io::{self, Read},
};

use rpassword::ConfigBuilder;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

const CTRL_C: u8 = 3;

/// Reads a line without echo; `None` after Ctrl-C.
///
/// Ctrl-C comes as a character and not as a signal: a process that a signal ends would leave the person with a
/// terminal that shows nothing of what they type.
pub(crate) fn read_line(terminal: File) -> io::Result<Option<Zeroizing<String>>> {
    let quiet = Quiet::begin(terminal.try_clone()?)?;
    let keys = Keys(terminal);
    let read = rpassword::read_password_with_config(
        ConfigBuilder::new().input_reader(keys).output_discard().build(),
    );
    drop(quiet);
    match read {
        Ok(line) => Ok(Some(Zeroizing::new(line))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
        Err(error) => Err(error),
    }
}

/// A terminal without echo, lines and signals until this is dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn begin(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes &=
            !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing is left to try if the terminal is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// What is typed, up to a Ctrl-C. Asked for one byte at a time, so that nothing is read ahead.
struct Keys(File);

impl Read for Keys {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(buffer) = buffer.get_mut(..1) else { return Ok(0) };
        let len = self.0.read(buffer)?;
        if len == 1 && buffer[0] == CTRL_C {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(len)
    }
}
