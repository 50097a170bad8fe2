//! A command at a pseudo terminal: what it shows, what is typed, and what it leaves behind.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use pty_process::{
    Size,
    blocking::{Command, Pts, Pty, open},
};
use rustix::termios::{LocalModes, tcgetattr};

/// Longest time that a text may take to appear, or a command to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Screen {
    pty: Arc<Pty>,
    /// Kept open, so that the terminal outlives the command and can be looked at.
    _pts: Pts,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Screen {
    /// Starts a command. Its terminal is the one that it controls.
    pub(crate) fn start(mut command: Command) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(50, 200)).unwrap();
        let child = command.spawn_borrowed(&pts).unwrap();
        let (pty, shown) = (Arc::new(pty), Arc::new(Mutex::new(Vec::new())));
        let (reader, target) = (Arc::clone(&pty), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(len @ 1..) = (&*reader).read(&mut buffer) {
                target.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        Self { pty, _pts: pts, child, shown, seen: 0 }
    }

    /// Everything that was shown so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits for a text behind the one that was waited for last.
    pub(crate) fn expect(&mut self, text: &str) -> &mut Self {
        let started = Instant::now();
        loop {
            let found = {
                let shown = self.shown.lock().unwrap();
                let rest = &shown[self.seen..];
                rest.windows(text.len()).position(|window| window == text.as_bytes())
            };
            if let Some(at) = found {
                self.seen += at + text.len();
                return self;
            }
            assert!(started.elapsed() < PATIENCE, "no {text:?} in: {}", self.text());
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the terminal hides what is typed; a prompt appears just before.
    pub(crate) fn expect_hidden(&mut self, text: &str) -> &mut Self {
        self.expect(text);
        let started = Instant::now();
        while self.echoes() {
            assert!(started.elapsed() < PATIENCE, "what is typed is shown: {}", self.text());
            sleep(Duration::from_millis(2));
        }
        self
    }

    pub(crate) fn type_line(&mut self, line: &str) -> &mut Self {
        self.type_keys(&format!("{line}\n"))
    }

    pub(crate) fn type_keys(&mut self, keys: &str) -> &mut Self {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Whether the terminal shows what is typed, line by line, with signals.
    pub(crate) fn echoes(&self) -> bool {
        let wanted = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcgetattr(&*self.pty).unwrap().local_modes.contains(wanted)
    }

    /// Waits for the end; the terminal must be as it was. Gives the exit code, or the signal as a negative.
    pub(crate) fn end(&mut self) -> i32 {
        let started = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("the command does not end: {}", self.text());
            }
            sleep(Duration::from_millis(5));
        };
        assert!(self.echoes(), "the terminal is not as it was: {}", self.text());
        // The last words are still on their way.
        sleep(Duration::from_millis(50));
        status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
