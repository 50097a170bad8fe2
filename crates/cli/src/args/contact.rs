//! `galen contact`.

use clap::Subcommand;

use crate::code::Output;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ContactCommand {
    /// Make your card: who you are and where your network is. Publishes your keys if that is still to be done.
    #[command(
        after_help = "Examples:\n  galen contact card --png st-anna.png\n  galen contact card --qr\n  \
        galen contact card >st-anna.txt\n\n\
        Give it away by any channel, then compare the eight words with the other person: aloud, not by the \
        same channel.\n\nText output: the line of the card, unless --out or --png is given. JSON: id, name, \
        role, fingerprint, text."
    )]
    Card(CardArgs),
    /// Tell an organization what your segments mean, so that it can propose records. For patients.
    #[command(
        after_help = "Examples:\n  galen contact introduce st-anna --out for-st-anna.txt\n\n\
        Only that organization can open it. It holds for 30 days.\n\n\
        Text output: the line of the introduction, unless --out or --png is given."
    )]
    Introduce(IntroduceArgs),
    /// Take a card or an introduction: a file, a PNG, a line of text, or `-`.
    #[command(after_help = "Examples:\n  galen contact add dr-weiss.png --as weiss\n  \
        galen contact add introduction.txt --mrn 004711\n\n\
        A card whose keys differ from the ones in the book is shown as CHANGED and taken only after a yes at a \
        terminal, or with --accept-changed-key.\n\n\
        Text output: alias, role, id, state (`new`, `same`, `changed`, `introduced`), words; separated by tabs.")]
    Add(AddContactArgs),
    /// List the contacts.
    #[command(
        after_help = "Examples:\n  galen contact list\n  galen contact list --json | jq -r '.contacts[].alias'\n\n\
        Text output: alias, role, id, `verified` or `unverified`, `introduced` or `-`, MRN or `-`, name; \
        separated by tabs."
    )]
    List,
    /// Show one contact with the words to compare.
    #[command(
        after_help = "Examples:\n  galen contact show st-anna\n\nText output: `key<TAB>value` lines."
    )]
    Show(WhoArgs),
    /// Remove a contact from the private book. Nothing on chain changes.
    #[command(after_help = "Examples:\n  galen contact remove st-anna --yes")]
    Remove(WhoArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CardArgs {
    #[command(flatten)]
    pub(crate) output: Output,
    /// Name on the card, if not the profile's.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Leave node, relay and store out, for people who have them.
    #[arg(long)]
    pub(crate) bare: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct IntroduceArgs {
    /// The organization: alias or id.
    #[arg(value_name = "CONTACT")]
    pub(crate) contact: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AddContactArgs {
    /// File, PNG, line of text, or `-` for standard input.
    #[arg(value_name = "CARD")]
    pub(crate) source: String,
    /// What to call them; made from their name otherwise.
    #[arg(long = "as", value_name = "ALIAS")]
    pub(crate) alias: Option<String>,
    /// Your own number for a patient.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) mrn: Option<String>,
    /// You compared the words with them.
    #[arg(long)]
    pub(crate) verified: bool,
    /// Take a card with other keys than before.
    #[arg(long)]
    pub(crate) accept_changed_key: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WhoArgs {
    /// Alias, `mrn:NUMBER` or id.
    #[arg(value_name = "CONTACT")]
    pub(crate) contact: String,
}
