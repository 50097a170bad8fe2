//! `galen consent import`: FHIR Consents become grants, as one change.

use galen_fhir::{
    Document,
    consent::{ConsentDocument, GranteeMap, ImportOptions, Plan, PlannedGrant, plan},
};
use galen_sdk::{GrantRequest, MAX_GRANTS, Patient};
use serde::Serialize;

use crate::{
    args::ConsentImportArgs,
    asked::AskError,
    code::{Code, Kind},
    commands::{
        consent::{Made, Shares, Terms, Way, grant_all, warn},
        effect::Effect,
        fhir::read_input,
        shown::{Landed, Party, category, landed, purposes, waiting},
    },
    error::CliError,
    session::Session,
    table::{NONE, list, row},
    ui::Ui,
    when::{Instant, Lifetime},
};

/// The result of `galen consent import --json`.
#[derive(Debug, Serialize)]
struct Imported {
    /// Consents in the file.
    read: usize,
    grants: Vec<Grant>,
    left_out: Vec<LeftOut>,
    /// None in direct mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<Shares>,
    /// None with `--dry-run`, and if nothing is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Landed>,
}

#[derive(Debug, Serialize)]
struct Grant {
    /// Index of the Consent in the file.
    source: usize,
    /// None before it is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<galen_types::ConsentId>,
    /// None means every active organization.
    grantee: Option<Party>,
    categories: Vec<String>,
    purposes: Vec<String>,
    /// First Unix second; none for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// First Unix second at which it no longer holds.
    until: u64,
    /// What it opens and what it does not, in words for people.
    effect: Effect,
    /// The line for the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    /// Index of the Consent in the file.
    source: usize,
    path: String,
    what: String,
    effect: &'static str,
}

/// One grant to be, with its end.
struct Wanted {
    source: usize,
    request: GrantRequest,
    until: u64,
}

pub(crate) async fn run(
    args: &ConsentImportArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let bytes = read_input(&args.file)?;
    let path = || args.file.display().to_string();
    let document =
        Document::read(&bytes).map_err(|source| CliError::Refused { path: path(), source })?;
    let consents = ConsentDocument::read_all(&document).map_err(|error| {
        let help = "give a FHIR R4 Consent, or a Bundle with at most 1000 of them";
        CliError::invalid(format!("cannot import {}: {error}", path()), help)
    })?;
    let failed = |source| CliError::Chain { doing: "ask for the time", source };
    let now = session.galen().time().await.map_err(failed)?;
    let plan = planned(args, &consents, now, session)?;
    let wanted = wanted(args, &plan.grants, now)?;
    let left_out = plan.notes.into_iter().map(|note| LeftOut {
        source: note.consent,
        path: note.path,
        what: note.what,
        effect: note.effect,
    });
    let mut answer = Imported {
        read: consents.len(),
        grants: wanted.iter().map(|one| Grant::new(session, one)).collect(),
        left_out: left_out.collect(),
        proxies: None,
        sent: None,
    };
    answer.explain(&wanted, ui);
    if answer.grants.is_empty() && !args.dry_run {
        return Err(nothing(&answer));
    }
    if !args.dry_run {
        let warn = |one: &Wanted| warn(&one.request, session, ui);
        wanted.iter().for_each(warn);
        grant(&wanted, &Way::of(session, args.direct), &mut answer, patient, session, ui).await?;
    }
    if ui.json() {
        return ui.object(&answer);
    }
    answer.print(ui)
}

fn planned(
    args: &ConsentImportArgs,
    consents: &[ConsentDocument],
    now: u64,
    session: &Session,
) -> Result<Plan, CliError> {
    let mut map = GranteeMap::new();
    for (reference, contact) in &args.map {
        let id = session.resolve(contact)?;
        if map.insert(reference.clone(), id).is_some_and(|before| before != id) {
            let text = format!("{} is mapped twice", reference.escape_debug());
            return Err(CliError::invalid(text, "give one --map for each reference"));
        }
    }
    let options = ImportOptions {
        now: now.try_into().unwrap_or(i64::MAX),
        ledger: Some(session.network().id()),
        labels_as_categories: args.labels_as_categories,
    };
    plan(consents, &map, &options).map_err(|error| {
        let help = "import fewer Consents at once";
        CliError::invalid(format!("cannot plan the grants: {error}"), help)
    })
}

/// Gives each grant an end.
fn wanted(
    args: &ConsentImportArgs,
    grants: &[PlannedGrant],
    now: u64,
) -> Result<Vec<Wanted>, CliError> {
    if grants.len() > MAX_GRANTS {
        let text = format!("{} grants, where one change has at most {MAX_GRANTS}", grants.len());
        return Err(CliError::invalid(text, "import fewer Consents at once"));
    }
    let mut wanted = Vec::new();
    for grant in grants {
        let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
        let from = grant.from.map(seconds);
        let start = from.unwrap_or(now);
        let named = args.until.map(Instant::unix);
        let asked = named
            .or_else(|| args.lasts.map(|lasts| start.saturating_add(Lifetime::seconds(lasts))));
        let Some(until) = grant.until.map(seconds).or(asked) else {
            let help = "say until when with --until DATE or --for TIME";
            return Err(CliError::invalid("a Consent has no end", help));
        };
        let lifetime = until.checked_sub(start).filter(|lifetime| *lifetime > 0);
        let lifetime = lifetime.ok_or(AskError::Time("the end is not after the start"))?;
        let categories = grant.categories.iter().map(|category| category.index()).collect();
        let request = GrantRequest {
            grantee: grant.grantee,
            categories,
            purposes: grant.purposes,
            not_before: from,
            lifetime,
        };
        wanted.push(Wanted { source: grant.consent, request, until });
    }
    Ok(wanted)
}

fn nothing(answer: &Imported) -> CliError {
    let text = format!(
        "nothing to grant: {} things in {} Consents cannot be expressed",
        answer.left_out.len(),
        answer.read
    );
    let help = "look at what is left out with --dry-run; --map says who is meant";
    CliError::invalid(text, help)
}

/// Makes all terms, and grants them as one change.
async fn grant(
    wanted: &[Wanted],
    way: &Way,
    answer: &mut Imported,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let mut consents = Vec::new();
    for (nth, one) in (0_u16..).zip(wanted) {
        let terms = patient.terms(&one.request, nth);
        let mut consent = waiting(ui, "make the consents' terms", terms).await?;
        consent.expiry = one.until;
        consents.push((consent, one.request.categories.clone()));
    }
    let Made { envelopes, sent, through } = grant_all(&consents, way, patient, session, ui).await?;
    answer.proxies = through;
    let made = consents.iter().zip(envelopes);
    for (grant, ((consent, _), envelope)) in answer.grants.iter_mut().zip(made) {
        let terms = Terms::new(session, consent, &[]);
        (grant.id, grant.from, grant.until) = (Some(terms.id), Some(terms.from), terms.until);
        grant.grant = envelope.map(|it| Code::new(Kind::Grant, it.to_vec()).to_string());
    }
    answer.sent = Some(landed(session, &sent).await?);
    Ok(())
}

impl Grant {
    fn new(session: &Session, one: &Wanted) -> Self {
        let request = &one.request;
        Self {
            source: one.source,
            id: None,
            grantee: (!request.grantee.is_zero()).then(|| Party::new(session, request.grantee)),
            categories: request.categories.iter().map(|index| category(*index)).collect(),
            purposes: purposes(request.purposes),
            from: request.not_before,
            until: one.until,
            effect: Effect::new(&request.categories, request.purposes),
            grant: None,
        }
    }

    fn reader(&self) -> String {
        let named = self.grantee.as_ref().map(ToString::to_string);
        named.unwrap_or_else(|| "every organization".to_owned())
    }

    fn start(&self) -> String {
        self.from.map_or_else(|| "now".to_owned(), |from| Instant::from_unix(from).to_string())
    }
}

impl Imported {
    /// What will be granted and what not, for the person who is about to sign.
    fn explain(&self, wanted: &[Wanted], ui: &Ui) {
        for (grant, one) in self.grants.iter().zip(wanted) {
            let until = Instant::from_unix(grant.until);
            ui.show(&format!("{} may read from {} until {until}.", grant.reader(), grant.start()));
            grant.effect.show(one.request.purposes, ui);
        }
        for it in &self.left_out {
            ui.show(&format!("Not expressed: {} ({}): {}.", it.what, it.path, it.effect));
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        for grant in &self.grants {
            let id = grant.id.map_or_else(|| NONE.to_owned(), |id| id.to_string());
            let cells: [&dyn std::fmt::Display; 8] = [
                &"grant",
                &id,
                &grant.reader(),
                &list(&grant.categories),
                &list(&grant.purposes),
                &grant.start(),
                &Instant::from_unix(grant.until),
                &grant.grant.as_deref().unwrap_or(NONE),
            ];
            row(ui, &cells)?;
        }
        let mut left_out = self.left_out.iter();
        left_out.try_for_each(|it| row(ui, &[&"left-out", &it.path, &it.what, &it.effect]))
    }
}
