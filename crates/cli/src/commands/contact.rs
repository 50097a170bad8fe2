//! `galen contact`: cards, introductions, the book.

use std::process::ExitCode;

use alloy_primitives::Address;
use galen_chain::clear::inert;
use galen_sdk::{Card, Role};
use serde::Serialize;

use crate::{
    args::{AddContactArgs, CardArgs, ContactCommand, Globals, IntroduceArgs},
    code::{Code, Kind, Output},
    commands::block_on,
    contacts::{self, Shown, Wish},
    error::CliError,
    session::Session,
    ui::Ui,
};

pub(crate) fn run(
    command: &ContactCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    block_on(async {
        let session = Session::open(globals, ui).await?;
        match command {
            ContactCommand::Card(args) => card(args, &session, ui).await?,
            ContactCommand::Introduce(args) => introduce(args, &session, ui).await?,
            ContactCommand::Add(args) => add(args, &session, ui).await?,
            ContactCommand::List => return list(&session, ui).map(|()| ExitCode::SUCCESS),
            ContactCommand::Show(args) => {
                return show(&args.contact, &session, ui).map(|()| ExitCode::SUCCESS);
            }
            ContactCommand::Remove(args) => remove(&args.contact, &session, ui)?,
        }
        session.finish().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// The result of `galen contact card --json`.
#[derive(Debug, Serialize)]
struct ShownCard {
    id: Address,
    name: String,
    role: Role,
    fingerprint: String,
    text: String,
}

async fn card(args: &CardArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    session.publish_keys().await?;
    let card = session.card(args.name.as_deref(), args.bare).await?;
    let code = Code::new(Kind::Card, card.encode());
    args.output.write(&code, ui)?;
    let fingerprint = card.fingerprint();
    ui.status(&format!("Words to compare: {fingerprint}"));
    if ui.json() {
        let Card { id, name, role, .. } = card;
        return ui.object(&ShownCard { id, name, role, fingerprint, text: code.to_string() });
    }
    print_line(&args.output, &code, ui)
}

/// The result of `galen contact introduce --json`.
#[derive(Debug, Serialize)]
struct ShownIntroduction {
    to: Address,
    text: String,
}

async fn introduce(args: &IntroduceArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    if session.role() != Role::Patient {
        let help = "patients introduce themselves to organizations; others give their card";
        return Err(CliError::invalid("this profile is not a patient's", help));
    }
    let to = session.resolve(&args.contact)?;
    session.publish_keys().await?;
    let failed = |source| CliError::Sdk { doing: "make the introduction", source };
    let envelope = session.patient().introduce(to).await.map_err(failed)?;
    let code = Code::new(Kind::Introduction, envelope);
    args.output.write(&code, ui)?;
    if ui.json() {
        return ui.object(&ShownIntroduction { to, text: code.to_string() });
    }
    print_line(&args.output, &code, ui)
}

fn print_line(output: &Output, code: &Code, ui: &Ui) -> Result<(), CliError> {
    if output.out.is_some() || output.png.is_some() {
        return Ok(());
    }
    ui.line(&code.to_string())
}

async fn add(args: &AddContactArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let wish = Wish {
        alias: args.alias.clone(),
        mrn: args.mrn.clone(),
        verified: args.verified,
        accept_changed_key: args.accept_changed_key,
    };
    let code = Code::read(&args.source, &[Kind::Card, Kind::Introduction])?;
    let shown = if code.kind == Kind::Card {
        let failed = |source| CliError::Sdk { doing: "read the card", source };
        let card = Card::decode(&code.bytes).map_err(failed)?;
        contacts::add_card(session, &card, &wish, ui).await?
    } else {
        contacts::add_introduction(session, &code.bytes, &wish).await?
    };
    if ui.json() {
        return ui.object(&shown);
    }
    let Shown { alias, role, id, state, fingerprint, .. } = &shown;
    let state = state.map_or("-", |state| state.as_str());
    ui.line(&format!("{alias}\t{role}\t{id:#x}\t{state}\t{fingerprint}"))
}

/// The result of `galen contact list --json`.
#[derive(Debug, Serialize)]
struct List {
    contacts: Vec<Shown>,
}

fn list(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let mut contacts: Vec<Shown> =
        session.book().contacts.iter().map(|contact| Shown::new(contact, None)).collect();
    contacts.sort_by(|one, other| one.alias.cmp(&other.alias));
    if ui.json() {
        return ui.object(&List { contacts });
    }
    for Shown { alias, role, id, verified, introduced, mrn, name, .. } in &contacts {
        let verified = if *verified { "verified" } else { "unverified" };
        let introduced = if *introduced { "introduced" } else { "-" };
        let mrn = mrn.as_deref().unwrap_or("-");
        ui.line(&format!(
            "{alias}\t{role}\t{id:#x}\t{verified}\t{introduced}\t{mrn}\t{}",
            inert(name)
        ))?;
    }
    Ok(())
}

fn show(who: &str, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let shown = find(who, session)?;
    if ui.json() {
        return ui.object(&shown);
    }
    let verified = if shown.verified { "yes" } else { "no" };
    for (key, value) in [
        ("alias", shown.alias.as_str()),
        ("name", &plain(&shown.name)),
        ("role", shown.role.as_str()),
        ("id", &format!("{:#x}", shown.id)),
        ("words", &shown.fingerprint),
        ("verified", verified),
        ("introduced", if shown.introduced { "yes" } else { "no" }),
        ("mrn", shown.mrn.as_deref().unwrap_or("-")),
    ] {
        ui.line(&format!("{key}\t{value}"))?;
    }
    Ok(())
}

/// A name as it is, but for characters that could move or hide others.
fn plain(name: &str) -> String {
    inert(name).trim_matches('"').to_owned()
}

fn remove(who: &str, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let shown = find(who, session)?;
    ui.require_yes(&format!("Remove {} from your book?", shown.alias))?;
    session.change_book(|book| {
        book.contacts.retain(|contact| contact.id != shown.id);
        Ok(())
    })?;
    if ui.json() { ui.object(&shown) } else { ui.line(&shown.alias) }
}

fn find(who: &str, session: &Session) -> Result<Shown, CliError> {
    let id = session.resolve(who)?;
    let book = session.book();
    let contact = book.contact(id).ok_or_else(|| {
        let text = format!("{} is not in the book", who.escape_debug());
        CliError::not_found(text, "`galen contact list` shows who is")
    })?;
    Ok(Shown::new(contact, None))
}
