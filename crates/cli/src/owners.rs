//! Owners of a contract wallet who sign on other machines.
//!
//! Each message has its own deadline, so a signature counts in the run that asked for it and in no other:
//! the command waits. What appears is sorted by whose it is and what it is over; other lines are passed over,
//! so that one file or folder may serve many messages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use async_trait::async_trait;
use galen_chain::{
    SignError, SigningRequest,
    safe::{Owners, decode_request, decode_signature, signer_of},
};

use crate::{outfile, ui::Ui};

/// Between two looks at the place where signatures appear.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Most files of a folder that are looked at.
const MAX_FILES: usize = 256;

/// Longest file that is looked at, in bytes.
const MAX_FILE_LEN: u64 = 256 << 10;

/// How many lines may be pasted for each signature that is missing.
const MAX_TRIES: usize = 3;

/// Owners who are reached by lines of text.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    pub(crate) ui: Ui,
    /// Those whose keystores are not here.
    pub(crate) owners: Vec<Address>,
    pub(crate) request_out: Option<PathBuf>,
    pub(crate) signatures: Option<PathBuf>,
    pub(crate) timeout: Duration,
}

#[async_trait]
impl Owners for Elsewhere {
    async fn collect(&self, request: &str, missing: usize) -> Result<Vec<String>, SignError> {
        if self.signatures.is_none() && !self.ui.can_ask() {
            return Err(SignError::Unavailable(format!(
                "{missing} more owners of the contract wallet must sign; name the file or folder where \
                 their lines appear with --signatures, and see that they get the request: --request-out FILE"
            )));
        }
        let asked = decode_request(request)?;
        self.hand_out(request, missing)?;
        let found = match &self.signatures {
            Some(place) => self.wait(place, &asked, missing).await?,
            None => tokio::task::block_in_place(|| self.paste(&asked, missing))?,
        };
        Ok(found.into_values().collect())
    }
}

type Found = BTreeMap<Address, String>;

impl Elsewhere {
    fn hand_out(&self, request: &str, missing: usize) -> Result<(), SignError> {
        self.ui.show(&format!("{missing} more owners must sign this, of:"));
        self.owners.iter().for_each(|owner| self.ui.show(&format!("  {owner:#x}")));
        let Some(path) = &self.request_out else {
            self.ui.show("Give them this line; they sign it with `galen wallet sign LINE`:");
            self.ui.show(request);
            return Ok(());
        };
        let written = outfile::write(path, format!("{request}\n").as_bytes(), true);
        let failed = |error| SignError::Unavailable(format!("the request is not written: {error}"));
        let path = written.map_err(failed)?;
        self.ui.show(&format!(
            "Give them {}; they sign it with `galen wallet sign FILE`.",
            path.display()
        ));
        Ok(())
    }

    async fn wait(
        &self,
        place: &Path,
        asked: &SigningRequest,
        missing: usize,
    ) -> Result<Found, SignError> {
        let patience = self.timeout;
        let (place_shown, seconds) = (place.display(), patience.as_secs());
        self.ui.status(&format!("Waiting for their lines in {place_shown}, at most {seconds} s."));
        let started = Instant::now();
        let mut found = Found::new();
        loop {
            for text in read_place(place) {
                text.lines().for_each(|line| self.take(line, asked, &mut found));
            }
            if found.len() >= missing {
                return Ok(found);
            }
            if started.elapsed() >= patience {
                return Err(SignError::Unavailable(format!(
                    "{} of {missing} signatures of other owners were there after {seconds} s; \
                     --timeout waits longer, and a new run asks for new signatures",
                    found.len(),
                )));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn paste(&self, asked: &SigningRequest, missing: usize) -> Result<Found, SignError> {
        let mut found = Found::new();
        for _ in 0..missing * MAX_TRIES {
            let question = "A line galen:signature:… of theirs (empty: stop)";
            let line = self.ui.ask(question, None, "--signatures");
            let line = line.map_err(|_| SignError::Unasked("the terminal cannot be read"))?;
            if line.is_empty() {
                return Err(SignError::Declined);
            }
            let before = found.len();
            self.take(&line, asked, &mut found);
            if found.len() == before {
                self.ui.show("That is not the signature of another owner over this request.");
            }
            if found.len() >= missing {
                return Ok(found);
            }
        }
        Err(SignError::Unavailable("none of the lines was what is missing".to_owned()))
    }

    /// Keeps a line if it is the signature of one of the owners over what is asked.
    fn take(&self, line: &str, asked: &SigningRequest, found: &mut Found) {
        let Ok(signature) = decode_signature(line.trim()) else { return };
        let owner = signer_of(asked, &signature).filter(|owner| self.owners.contains(owner));
        if let Some(owner) = owner
            && found.insert(owner, line.trim().to_owned()).is_none()
        {
            self.ui.status(&format!("{owner:#x} has signed."));
        }
    }
}

/// The texts that lie at a place. What is not there yet, is no text, or is too long is passed over: it may be
/// on its way.
fn read_place(place: &Path) -> Vec<String> {
    let paths = match fs::read_dir(place) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).take(MAX_FILES).collect(),
        Err(_) => vec![place.to_owned()],
    };
    let short = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= MAX_FILE_LEN)
    };
    paths.into_iter().filter(short).filter_map(|path| fs::read_to_string(path).ok()).collect()
}
