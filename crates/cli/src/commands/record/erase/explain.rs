//! What forgetting records removes, and what nothing here can reach, in words.

use galen_sdk::Erasure;
use galen_storage::PlaceInfo;

use super::super::own::Own;
use crate::{session::Session, table::list, ui::Ui, when::Instant};

pub(super) fn explain(own: &Own, erasures: &[Erasure], links: usize, session: &Session, ui: &Ui) {
    match own {
        Own::Patient(_) => ui.show("This forgets records of yours for good:"),
        Own::Author(_, contact) => {
            let patient = session.display(contact.patient());
            ui.show(&format!(
                "This forgets records of {patient} for good, as far as you have them:"
            ));
        }
    }
    for erasure in erasures {
        record(erasure, session, ui);
    }
    let goes = match own {
        Own::Patient(_) => {
            "What goes: every sealed copy that your stores let go of, with the keys and salts in it, and what waits on \
             this machine. What is left on the chain then opens nothing and tells nothing of the text."
        }
        Own::Author(..) => {
            "What goes: every sealed content of them that your stores let go of, your own sealed copies of them, and \
             what waits on this machine. The custodian does not seal them anew any more."
        }
    };
    ui.show(goes);
    stores(session, ui);
    let stays = match own {
        Own::Patient(_) => {
            "What stays: that there was a record, its author, its times and its reads, on the chain; what its author \
             keeps, a sealed copy of its own among it until the author erases it, too; what readers kept; sealed \
             copies that others made, which open for whoever holds the keys of its segment and epoch; backups of \
             disks; files that you saved."
        }
        Own::Author(..) => {
            "What stays: the record on the chain, with your name and what the patient answered; what the patient and \
             others keep in stores of their own, from where it still opens for whom the patient lets read; what \
             readers kept; what your other systems hold; backups of disks and of this profile's folder; files that you \
             saved. Where the patient has the content from your stores alone, nobody opens it any more."
        }
    };
    ui.show(stays);
    if links > 0 {
        let given = count(links, "link");
        ui.show(&format!(
            "  {given} that you gave out may hold it: `galen share list`, `galen share stop`."
        ));
    }
    match own {
        Own::Patient(_) => ui.show("Nothing brings a record back, not your seed either."),
        Own::Author(..) => ui.show(
            "A duty to keep health records may forbid it: nothing here knows that. Nothing brings it back from here.",
        ),
    }
}

/// One record, by who has seen it.
fn record(erasure: &Erasure, session: &Session, ui: &Ui) {
    let Erasure { record, author, contents, shared, readers, .. } = erasure;
    let readers = readers.iter().map(|(id, time)| {
        let (name, when) = (session.display(*id), Instant::from_unix(*time));
        format!("{name} (last {when})")
    });
    let readers: Vec<_> = readers.collect();
    let read = if readers.is_empty() {
        "nobody has read it".to_owned()
    } else {
        format!("read by {}", list(readers))
    };
    let author = session.display(*author);
    let sealed = count(contents.len(), "sealed content");
    ui.show(&format!("  {record}  of {author}, {sealed}, {read}"));
    if !shared.is_empty() {
        ui.show(&format!("    {} stay: another record needs them", list(shared)));
    }
}

/// What each store does.
fn stores(session: &Session, ui: &Ui) {
    let places = session.galen().storage().places();
    let of = |wanted: fn(&PlaceInfo) -> bool| {
        let names: Vec<_> = places.iter().filter(|it| wanted(it)).map(|it| &it.name).collect();
        (!names.is_empty()).then(|| list(names))
    };
    if let Some(names) = of(|place| place.local) {
        ui.show(&format!(
            "  Removed as files: {names}. A disk may hold the bytes until it writes over them."
        ));
    }
    if let Some(names) = of(|place| place.writable && !place.local) {
        ui.show(&format!("  Asked to let go, and thrown away there when they see fit: {names}."));
    }
    if let Some(names) = of(|place| !place.writable) {
        ui.show(&format!("  Only read from, so nothing can be removed: {names}."));
    }
}

pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
