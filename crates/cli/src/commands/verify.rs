//! `galen verify`: who signed a document, for anybody who was given one.

mod author;
mod subject;

use std::process::ExitCode;

use alloy_primitives::Address;
use galen_chain::{Ledger, Standing, recovers};
use galen_index::{HistoryOptions, View};
use galen_types::{ErrorKind, LedgerId};
use serde::Serialize;

use self::{
    author::{Expected, expected},
    subject::Subject,
};
use crate::{
    args::{Globals, VerifyArgs},
    connect,
    error::CliError,
    networks::{Network, Networks},
    outfile,
    settings::Settings,
    table::cell,
    ui::Ui,
    when::Instant,
};

/// What a check gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Holds,
    Fails,
    Unchecked,
}

impl Outcome {
    const fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Unchecked => "unchecked",
        }
    }
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    outcome: Outcome,
    found: String,
}

/// The result of `galen verify --json`.
#[derive(Debug, Serialize)]
struct Answer {
    /// `presentation` or `signed-document`.
    kind: &'static str,
    /// Whether all that was checked holds.
    authentic: bool,
    author: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_name: Option<String>,
    signer: Address,
    rotations: u32,
    /// Unix second, in the author's word.
    issued: u64,
    ledger: LedgerId,
    /// Elements that are shown.
    elements: usize,
    /// Whether nothing is hidden, so that the document is there byte for byte.
    complete: bool,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

pub(crate) async fn run(
    args: &VerifyArgs,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let settings = Settings::resolve(globals)?;
    let subject = Subject::read(&args.input)?;
    let author = args.author.as_deref().map(|text| expected(text, &settings, ui)).transpose()?;
    let checks = Judge::new(&subject, author.as_ref(), &settings)?.judge(ui).await?;
    let authentic = checks.iter().all(|check| check.outcome != Outcome::Fails);
    let it = &subject.attestation;
    let mut answer = Answer {
        kind: subject.kind,
        authentic,
        author: it.author,
        author_name: author.and_then(|author| author.name),
        signer: it.signer,
        rotations: it.rotations,
        issued: it.issued,
        ledger: it.ledger,
        elements: subject.elements,
        complete: subject.complete,
        checks,
        file: None,
    };
    if let Some(path) = args.out.as_deref().filter(|_| authentic) {
        let file = outfile::write(path, subject.view.expose(), false)?;
        answer.file = Some(file.display().to_string());
    }
    answer.print(args.fhir, ui)?;
    if args.fhir && authentic {
        ui.document(subject.view.expose())?;
    }
    let code = if authentic { 0 } else { ErrorKind::Integrity.exit_code() };
    Ok(ExitCode::from(code))
}

impl Answer {
    fn print(&self, aside: bool, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        let lines = self.checks.iter().map(|Check { check, outcome, found }| {
            format!("{check}\t{}\t{}", outcome.as_str(), cell(found))
        });
        for line in lines {
            if aside { ui.show(&line) } else { ui.line(&line)? }
        }
        Ok(())
    }
}

/// What is checked, and against what.
struct Judge<'a> {
    subject: &'a Subject,
    expected: Option<&'a Expected>,
    settings: &'a Settings,
    /// The ledger that the file names, if the address book has it.
    known: Option<(String, Network)>,
    urls: Vec<String>,
    checks: Vec<Check>,
}

impl<'a> Judge<'a> {
    fn new(
        subject: &'a Subject,
        expected: Option<&'a Expected>,
        settings: &'a Settings,
    ) -> Result<Self, CliError> {
        let networks = Networks::read(&settings.home.value)?;
        let id = subject.attestation.ledger;
        let known = networks.iter().find(|(_, network)| network.id() == id);
        let known = known.map(|(name, network)| (name.to_string(), network.clone()));
        // A node that is named now is asked; the profile's own may be of another network.
        let said = settings.rpc_urls.as_ref().filter(|urls| urls.origin.is_said_now());
        let booked = known.as_ref().map(|(_, network)| network.rpc_urls.clone());
        let urls = said.map(|urls| urls.value.clone()).or(booked).unwrap_or_default();
        Ok(Self { subject, expected, settings, known, urls, checks: Vec::new() })
    }

    fn note(&mut self, check: &'static str, outcome: Outcome, found: impl Into<String>) {
        self.checks.push(Check { check, outcome, found: found.into() });
    }

    async fn judge(mut self, ui: &Ui) -> Result<Vec<Check>, CliError> {
        let (count, complete) = (self.subject.elements, self.subject.complete);
        let rest = if complete { "nothing is hidden" } else { "the rest is hidden" };
        self.note("parts", Outcome::Holds, format!("{count} elements, {rest}"));
        let ledger = self.ledger(ui).await?;
        self.signature(ledger.as_ref()).await;
        self.key(ledger.as_ref()).await?;
        self.member(ledger.as_ref()).await?;
        self.author();
        self.place();
        self.contract(ledger.as_ref()).await?;
        Ok(self.checks)
    }

    /// The ledger, if there is a node to ask.
    async fn ledger(&self, ui: &Ui) -> Result<Option<Ledger>, CliError> {
        if self.urls.is_empty() {
            return Ok(None);
        }
        let id = self.subject.attestation.ledger;
        let plain = self.known.as_ref().is_some_and(|(_, network)| network.allow_plain_http);
        let settings = self.settings.with_plain_http(plain || self.settings.allow_plain_http.value);
        let node = connect::node(&settings, &self.urls, Some(id.chain_id))?;
        if let Some((_, network)) = &self.known {
            return Ok(Some(ui.waiting("the node", connect::ledger(&node, network)).await?));
        }
        let deployed_in = self.expected.and_then(|it| it.deployed_in).unwrap_or_default();
        let ledger = Ledger::connect(node, id.contract, deployed_in);
        let ledger = ui.waiting("the node", ledger).await;
        ledger
            .map(Some)
            .map_err(|source| CliError::Chain { doing: "connect to the ledger", source })
    }

    /// Whether anybody but the file names its ledger. What another one says of the author is worth nothing.
    fn is_trusted(&self) -> bool {
        let id = self.subject.attestation.ledger;
        self.known.is_some() || self.expected.is_some_and(|it| it.ledger == Some(id))
    }

    async fn signature(&mut self, ledger: Option<&Ledger>) {
        let it = &self.subject.attestation;
        let (signer, digest) = (it.signer, self.subject.digest);
        if recovers(signer, digest, &it.signature) {
            return self.note("signature", Outcome::Holds, format!("of the key {signer:#x}"));
        }
        match ledger {
            Some(ledger) if ledger.has_signed(signer, digest, &it.signature).await => {
                let found = format!("of the contract wallet {signer:#x}, as it says today");
                self.note("signature", Outcome::Holds, found);
            }
            Some(_) => self.note("signature", Outcome::Fails, format!("not of {signer:#x}")),
            None => {
                let found =
                    format!("not of a key {signer:#x}; if that is a contract wallet: --rpc-url");
                self.note("signature", Outcome::Fails, found);
            }
        }
    }

    /// Whether the signer controlled the author's id.
    async fn key(&mut self, ledger: Option<&Ledger>) -> Result<(), CliError> {
        let it = &self.subject.attestation;
        let (author, signer, rotations) = (it.author, it.signer, it.rotations);
        let failed = |source| CliError::Chain { doing: "ask who controls the author's id", source };
        let trusted = ledger.filter(|_| self.is_trusted());
        let now = match trusted {
            Some(ledger) => Some(ledger.participant(author).await.map_err(failed)?),
            None => None,
        };
        let since = match now {
            Some(now) if now.rotations != rotations => "; it was replaced since",
            _ => "",
        };
        let controller = match (rotations, now, trusted) {
            (0, ..) => Some(author),
            (_, Some(now), _) if now.rotations == rotations => Some(now.controller),
            (_, _, Some(ledger)) => {
                let mut view = View::open(ledger, HistoryOptions::default());
                view.sync().await.map_err(failed)?;
                view.chart(author).and_then(|chart| chart.controller_after(rotations))
            }
            (_, _, None) => {
                let found =
                    format!("the author's after {rotations} rotations? No known ledger was asked");
                self.note("key", Outcome::Unchecked, found);
                return Ok(());
            }
        };
        let holds = controller == Some(signer);
        let found = if holds {
            format!("the author's own{since}")
        } else {
            format!("not the author's after {rotations} rotations")
        };
        self.note("key", Outcome::of(holds), found);
        Ok(())
    }

    /// Whether the author is a member. Who names the author need not ask the network.
    async fn member(&mut self, ledger: Option<&Ledger>) -> Result<(), CliError> {
        let Some(ledger) = ledger.filter(|_| self.is_trusted()) else {
            self.note("member", Outcome::Unchecked, "no ledger that is known here was asked");
            return Ok(());
        };
        let failed = |source| CliError::Chain { doing: "ask for the author's standing", source };
        let author = self.subject.attestation.author;
        let standing = ledger.participant(author).await.map_err(failed)?.standing;
        let found = match standing {
            Standing::Active => "an active member of the network",
            Standing::None => "no member of the network",
            Standing::Suspended => "a suspended member of the network",
            Standing::Removed => "was a member of the network",
        };
        let outcome = match standing {
            Standing::Active => Outcome::Holds,
            _ if self.expected.is_some() => Outcome::Unchecked,
            _ => Outcome::Fails,
        };
        self.note("member", outcome, found);
        Ok(())
    }

    fn author(&mut self) {
        let it = &self.subject.attestation;
        let (author, when) = (it.author, Instant::from_unix(it.issued));
        let Some(expected) = self.expected else {
            let found = format!("says {author:#x}, at {when}; compare the id, or use --author");
            return self.note("author", Outcome::Unchecked, found);
        };
        let name = expected.name.as_deref().map(|name| format!(" ({})", cell(name)));
        let name = name.unwrap_or_default();
        let found = match expected.id == author {
            true => format!("{author:#x}{name}, at {when}"),
            false => format!("{author:#x}, and not {:#x}{name}", expected.id),
        };
        self.note("author", Outcome::of(expected.id == author), found);
    }

    fn place(&mut self) {
        let id = self.subject.attestation.ledger;
        let card = self.expected.and_then(|it| it.ledger);
        match (&self.known, card) {
            (Some((name, _)), _) => {
                let found = format!("network {name} of the address book");
                self.note("ledger", Outcome::Holds, found);
            }
            (None, Some(card)) => {
                let found =
                    if card == id { "the one on the card" } else { "not the one on the card" };
                self.note("ledger", Outcome::of(card == id), found);
            }
            (None, None) => {
                self.note("ledger", Outcome::Unchecked, format!("only the file names {id}"));
            }
        }
    }

    /// One element by the contract, which must say the same.
    async fn contract(&mut self, ledger: Option<&Ledger>) -> Result<(), CliError> {
        let Some(ledger) = ledger else { return Ok(()) };
        let failed = |source| CliError::Chain { doing: "ask the contract for an element", source };
        let it = &self.subject.attestation;
        let now = ledger.participant(it.author).await.map_err(failed)?;
        if now.rotations != it.rotations {
            self.note("contract", Outcome::Unchecked, "it judges by the author's key of today");
            return Ok(());
        }
        let (element, path) = self.subject.proof.clone();
        let proves = ledger.proves_element(it.author, it.issued, &it.signature, &element, path);
        let holds = proves.await.map_err(failed)?;
        let found = if holds { "says the same of an element" } else { "denies an element" };
        self.note("contract", Outcome::of(holds), found);
        Ok(())
    }
}
