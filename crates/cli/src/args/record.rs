//! `galen record`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use galen_fhir::Category;
use galen_types::Purpose;

use super::card::IssuerArgs;

/// Records: an organization proposes them, the patient answers, readers get them.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordCommand {
    Propose(ProposeArgs),
    Inbox(InboxArgs),
    Show(ShowArgs),
    Accept(AcceptArgs),
    Reject(RejectArgs),
    Correct(CorrectArgs),
    Replies(RepliesArgs),
    Cosign(CosignArgs),
    Amend(AmendArgs),
    Retract(RetractArgs),
    Withdraw(WithdrawArgs),
    List(ListArgs),
    Get(GetArgs),
    Sign(SignArgs),
    Extract(ExtractArgs),
    Reseal(ResealArgs),
    Erase(EraseArgs),
}

/// Seal documents and propose them to a patient, as an organization.
///
/// Takes FHIR R4 in JSON, NDJSON if the name ends in `.ndjson`, folders of both, and `-` for standard
/// input. A document that is refused, also by the rules of the site (--site), does not stop the others. If the command is interrupted, run it
/// again: it goes on where it stopped and proposes nothing twice.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen record propose --to mrn:12345 discharge.json\n  \
    galen record propose --to anna export/ --cosigner hospital-b --threshold 1\n  \
    galen record propose --to anna --attach scan.dcm --media-type application/dicom --category imaging\n  \
    galen record propose --to anna --json - <bundle.json | jq '.proposals[].id'\n\n\
    Text output, separated by tabs. For each proposal: `proposed`, proposal id, records, transaction, \
    final or not. With cosigners then: `sheet`, proposal id, the sheet for `galen record cosign`. For \
    each input that was refused: `refused`, input (`file:line` for NDJSON), cause, path in the document, \
    byte; for one that breaks rules of the site a line for each, with what to do at its end. Exits 2 if any \
    was refused.")]
pub(crate) struct ProposeArgs {
    /// The patient: contact, `mrn:…` or id.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) to: String,
    /// Files and folders; `-` is standard input.
    #[arg(value_name = "INPUT", required_unless_present = "attach")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) issuer: IssuerArgs,
    /// Must sign too before the patient's answer counts. May be given more than once.
    #[arg(long = "cosigner", value_name = "ID")]
    pub(crate) cosigners: Vec<String>,
    /// How many of the cosigners must sign. Without it: all.
    #[arg(long, value_name = "K", requires = "cosigners")]
    pub(crate) threshold: Option<u8>,
    /// A file of any type and size, sealed as it is.
    #[arg(long, value_name = "FILE", requires = "media_type", requires = "category")]
    pub(crate) attach: Option<PathBuf>,
    /// What the attached file is, for example `application/dicom`.
    #[arg(long, value_name = "TYPE", requires = "attach")]
    pub(crate) media_type: Option<String>,
    /// Category of the attached file.
    #[arg(long, value_name = "NAME", requires = "attach")]
    pub(crate) category: Option<Category>,
    /// Propose documents again that this profile has proposed to the patient before.
    #[arg(long)]
    pub(crate) again: bool,
}

/// Show the proposals that wait for the patient's answer.
///
/// An organization sees its own proposals instead, with their state and who has to sign.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record inbox\n  \
    galen record inbox --json | jq -r '.proposals[].id'\n  \
    galen record inbox --patient anna\n\n\
    Text output, separated by tabs: proposal id, author (or patient), state, records, still unanswered, \
    needs cosigners or not, time, end of the author's signature, final or not; for an organization then \
    `rejection` or `correction` if the patient replied. With words: indented below it, a line for each document \
    with its number, kind and category, and a sentence for each thing that it says.")]
pub(crate) struct InboxArgs {
    /// The patient, for an organization. Without it: all patients among the contacts.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
    /// Open the documents and put them in plain words, as on a terminal. Only for the patient.
    #[arg(long)]
    pub(crate) words: bool,
}

/// Open a proposal or a record, check it, and say what it is.
///
/// On a terminal, and with --words, it is put in plain words: what, when, by whom, and what changed against the
/// version that stands. The document itself appears only with --fhir or --out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record show 0x5ac1f2d4\n  \
    galen record show 0x5ac1f2d4 --only 2 --fhir | jq .entry\n  \
    galen record show 0x5ac1f2d4 --out ./proposed\n\n\
    Ids may be shortened to 8 digits or more, as long as one fits. Text output, one line for each \
    document, separated by tabs: number in the proposal, record id, kind, state, category, author, media \
    type, bytes, resources by type, first and last date in the document, changes against the version \
    that stands, `good` or what is wrong, file, final or not, who signed it by parts and whether that \
    holds. With words: a sentence below it for each thing that it says, or for an amendment what it adds, \
    removes and changes, old → new. Exits 5 if a document is not what it says.")]
pub(crate) struct ShowArgs {
    /// Proposal or record.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Only these documents of a proposal, by number from 0.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) only: Vec<usize>,
    /// Print the document, one only, on standard output.
    #[arg(long, conflicts_with = "out")]
    pub(crate) fhir: bool,
    /// Put it in plain words, also where there is no terminal; in JSON as `words` and `word_changes`.
    #[arg(long)]
    pub(crate) words: bool,
    /// Write the documents to this file, or into this folder if there are several. Only you can read
    /// them there.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Accept proposals: every document is opened and checked before anything is signed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record accept 0x5ac1f2d4\n  \
    galen record accept --all\n  galen record accept 0x5ac1f2d4 --only 0,2\n  \
    galen record accept 0x5ac1f2d4 --cosignature from-hospital-b.txt\n\n\
    What is in neither answer stays unconfirmed and can be answered later. Text output, separated by \
    tabs: proposal id, accepted, rejected, left open, transaction, final or not.")]
pub(crate) struct AcceptArgs {
    /// Proposals.
    #[arg(value_name = "PROPOSAL", required_unless_present = "all")]
    pub(crate) proposals: Vec<String>,
    /// Every proposal in the inbox.
    #[arg(long, conflicts_with = "proposals")]
    pub(crate) all: bool,
    /// Only these documents, by number from 0.
    #[arg(long, value_name = "N", value_delimiter = ',', conflicts_with = "all")]
    pub(crate) only: Vec<usize>,
    /// Sheet with the cosigners' signatures: file, text or `-`.
    #[arg(long = "cosignature", value_name = "FILE")]
    pub(crate) cosignatures: Vec<String>,
}

/// Words for the author of a proposal.
#[derive(Debug, Args)]
pub(crate) struct WordsArgs {
    /// File with what the author is to read, sealed to it; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "reason_prompt")]
    pub(crate) reason_file: Option<PathBuf>,
    /// Ask for what the author is to read.
    #[arg(long)]
    pub(crate) reason_prompt: bool,
    /// Write the line for the author to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Reject proposals, or some documents of one.
///
/// The author sees that on chain, not why. With a reason comes a line of text for the author, sealed and signed,
/// which goes to it by mail or chat: `galen record replies` reads it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record reject 0x5ac1f2d4\n  \
    galen record reject 0x5ac1f2d4 --only 1 --reason-file why.txt --out to-hospital.txt\n\n\
    Text output as of `galen record accept`; then for each reply `reply`, proposal id, the line for the \
    author, unless --out is given.")]
pub(crate) struct RejectArgs {
    /// Proposals.
    #[arg(value_name = "PROPOSAL", required = true)]
    pub(crate) proposals: Vec<String>,
    /// Only these documents, by number from 0.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) only: Vec<usize>,
    /// Sheet with the cosigners' signatures, if the proposal needs them: file, text or `-`.
    #[arg(long = "cosignature", value_name = "FILE")]
    pub(crate) cosignatures: Vec<String>,
    #[command(flatten)]
    pub(crate) words: WordsArgs,
}

/// Ask the author of a proposal to correct it. Answers nothing: the records stay open.
///
/// What is wrong is asked for, or read from a file; it comes out as a line of text for the author, sealed and
/// signed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record correct 0x5ac1f2d4\n  \
    galen record correct 0x5ac1f2d4 --only 1 --reason-file wrong-dose.txt --out to-hospital.txt\n\n\
    Text output, separated by tabs: `reply`, proposal id, the line for the author; nothing with --out.")]
pub(crate) struct CorrectArgs {
    /// The proposal.
    #[arg(value_name = "PROPOSAL")]
    pub(crate) proposal: String,
    /// Only these documents, by number from 0.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) only: Vec<usize>,
    #[command(flatten)]
    pub(crate) words: WordsArgs,
}

/// Read what patients say about your proposals, as their author: why they reject, what is to be corrected.
///
/// Each line is checked to come from the patient and to be about a proposal of yours, and kept in the private
/// book. Without files: those that are kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record replies from-anna.txt\n  \
    galen record replies --json | jq '.replies[] | select(.kind == \"correction\")'\n\n\
    Text output, separated by tabs: proposal id, patient, `rejection` or `correction`, numbers of the \
    documents in the proposal, the patient's words.")]
pub(crate) struct RepliesArgs {
    /// Lines of patients: file, text or `-`.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
}

/// Sign somebody else's proposal as a cosigner, or see who has signed.
///
/// A sheet, one line of text, moves by file or chat: the author starts it, each cosigner adds a
/// signature, the patient answers with it. What it holds is or becomes public.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record cosign sheet.txt --out signed.txt\n  \
    galen record cosign 0x5ac1f2d4 --patient 0x… --cosigner hospital-b --cosigner hospital-c\n  \
    galen record cosign --collect from-b.txt from-c.txt --out both.txt\n\n\
    Given by the author, or somebody else who is not among the cosigners, nothing is signed: the sheet \
    comes out as it is. Text output: the sheets on standard output, one a line, unless --out is given; \
    then proposal id, patient, cosigner, `signed` or `missing`, `enough` or `waiting`, separated by \
    tabs.")]
pub(crate) struct CosignArgs {
    /// Sheet (file, text or `-`), or proposal.
    #[arg(value_name = "SHEET|PROPOSAL", required_unless_present = "collect")]
    pub(crate) sheet: Option<String>,
    /// The patient that the proposal is for.
    #[arg(long, value_name = "PATIENT", requires = "sheet")]
    pub(crate) patient: Option<String>,
    /// Cosigners that the proposal's author named. May be given more than once.
    #[arg(long = "cosigner", value_name = "ID", requires = "patient")]
    pub(crate) cosigners: Vec<String>,
    /// How many of the cosigners must sign. Without it: all.
    #[arg(long, value_name = "K", requires = "cosigners")]
    pub(crate) threshold: Option<u8>,
    /// Check sheets, join them and say who is missing. Signs nothing.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "sheet")]
    pub(crate) collect: Vec<String>,
    /// Write the sheets to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Propose a new version of one of your own records, as its author.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record amend 0x91b03c7e corrected.json --to anna\n\n\
    The document must belong to the record's category. An amendment needs the cosigners of what it \
    amends. Text output as of `galen record propose`.")]
pub(crate) struct AmendArgs {
    /// The record.
    #[arg(value_name = "RECORD")]
    pub(crate) record: String,
    /// The new document; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// The patient.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) to: String,
    /// Cosigners, as of the version before.
    #[arg(long = "cosigner", value_name = "ID")]
    pub(crate) cosigners: Vec<String>,
    /// How many of the cosigners must sign. Without it: all.
    #[arg(long, value_name = "K", requires = "cosigners")]
    pub(crate) threshold: Option<u8>,
}

/// Propose to retract one of your own records, as its author: it should never have been.
///
/// The patient may refuse; then the record is shown as disowned.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record retract 0x91b03c7e --to anna\n  \
    galen record retract 0x91b03c7e --to anna --reason-file why.txt\n\n\
    Text output as of `galen record propose`.")]
pub(crate) struct RetractArgs {
    /// The record.
    #[arg(value_name = "RECORD")]
    pub(crate) record: String,
    /// The patient.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) to: String,
    /// File that says why, sealed to the patient; `-` is standard input. Without it, it is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) reason_file: Option<PathBuf>,
    /// Cosigners, as of the version before.
    #[arg(long = "cosigner", value_name = "ID")]
    pub(crate) cosigners: Vec<String>,
    /// How many of the cosigners must sign. Without it: all.
    #[arg(long, value_name = "K", requires = "cosigners")]
    pub(crate) threshold: Option<u8>,
}

/// Take one of your own proposals back before the patient answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record withdraw 0x5ac1f2d4 --to anna\n\n\
    What the patient answered before stays answered. Text output, separated by tabs: proposal id, \
    `withdrawn`, transaction, final or not.")]
pub(crate) struct WithdrawArgs {
    /// The proposal.
    #[arg(value_name = "PROPOSAL")]
    pub(crate) proposal: String,
    /// The patient.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) to: String,
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFilter {
    /// Every version, also those that a later one replaced.
    All,
    /// Accepted, and it stands.
    Current,
    /// Accepted, and a later version stands.
    Superseded,
    /// Nobody has answered.
    Unconfirmed,
    /// Nobody has answered in the author's time.
    Expired,
    /// Taken back by its author.
    Withdrawn,
    /// The patient rejected it.
    Rejected,
    /// Accepted, but it does not count.
    Void,
    /// Author and patient agree that the record should not have been.
    Retracted,
    /// Its author no longer stands behind it.
    Disowned,
}

/// List the records of a chart: your own, or as an author those that you proposed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen record list\n  galen record list --state unconfirmed\n  \
    galen record list --category laboratory --json | jq '.records[].id'\n  \
    galen record list --patient mrn:12345\n\n\
    Without --state: all but those that a later version replaced. Text output, separated by tabs: record \
    id, state, category, author, kind, time of the proposal, time of the answer, proposal id, number in \
    it, final or not; for an author then `rejection` or `correction` if the patient replied."
)]
pub(crate) struct ListArgs {
    /// Only versions in this state. May be given more than once.
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: Vec<StateFilter>,
    /// Only records of this category. May be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Vec<Category>,
    /// Whose records, for an author.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
}

/// Open a record: your own, or one that you were granted.
///
/// Under a grant the read is logged on chain first. What you have logged cannot be taken back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record get 0x91b03c7e | jq .entry\n  \
    galen record get 0x91b03c7e --out ./lab.json\n  \
    galen record get 0x91b03c7e --purpose TREAT\n\n\
    The document is on standard output, or in the file, which only you can read. With --json: the \
    record, where the document was written, and the logged access.")]
pub(crate) struct GetArgs {
    /// The record.
    #[arg(value_name = "RECORD")]
    pub(crate) record: String,
    /// Write the document to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Why you read it (HL7 v3 ActReason), for a record that you were granted.
    #[arg(long, value_name = "CODE")]
    pub(crate) purpose: Option<Purpose>,
    /// The signed document as it is, with what proves its parts, for `galen record extract` and `galen
    /// verify`. Without it: the document.
    #[arg(long)]
    pub(crate) signed: bool,
    /// Overwrite the file.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
}

/// Sign FHIR documents by parts as their author, for example as a clinician. Proposes nothing.
///
/// Each document is split as a proposal splits it: one file for each encounter and category. An organization proposes
/// the files as they are (`galen record propose`); the patient sees who signed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record sign note.json --out signed/\n  \
    galen record sign export/ --out signed/ --json | jq -r '.documents[].file'\n\n\
    One signature stands for up to 256 documents. Text output, separated by tabs: `signed`, input, file, category, \
    bytes; for each input that was refused: `refused`, input, cause, path in the document, byte. Exits 2 if any was \
    refused.")]
pub(crate) struct SignArgs {
    /// Files and folders; `-` is standard input.
    #[arg(value_name = "INPUT", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Folder for the signed documents. Only you can read them there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Make a presentation of a record: parts of it are hidden, and the rest still proves who signed it.
///
/// What is hidden cannot be found out from the file, not by guessing either. What means nothing without a hidden part
/// is hidden, too, and what a shown part means nothing without is shown: both are listed. Narratives, which repeat
/// in words what elements say, are hidden as soon as anything is.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
#[command(after_help = "Examples:\n  \
    galen record extract 0x91b03c7e --hide Patient.address --hide '*.note' --out for-employer.json\n  \
    galen record extract 0x91b03c7e --only Immunization --out vaccinated.json\n  \
    galen record extract anna/laboratory.signed --hide 'entry[3]' --out one-less.json\n\n\
    Text output, separated by tabs: `presentation`, file, bytes, elements shown, elements hidden; then lines `shown`, \
    `also-hidden`, `also-shown` or `without-effect`, each with an element, never a value, and for `shown` how often. \
    Whoever gets the file checks it with `galen verify`.")]
pub(crate) struct ExtractArgs {
    /// A record of your own chart, or a signed document: a file that `record get --signed`, `access --signed` or
    /// `record sign` wrote.
    #[arg(value_name = "RECORD|FILE")]
    pub(crate) source: String,
    /// Hide this: a type, an element, an entry. May be given more than once.
    #[arg(long, value_name = "PATH", group = "what")]
    pub(crate) hide: Vec<String>,
    /// Show only this. May be given more than once.
    #[arg(long, value_name = "PATH", group = "what")]
    pub(crate) only: Vec<String>,
    /// Show narratives although something is hidden. They may repeat it.
    #[arg(long)]
    pub(crate) keep_narratives: bool,
    /// The presentation.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Overwrite the file.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Seal records anew, under new keys and at a new address: a patient's own, or what an organization wrote.
///
/// At once, whoever may still come for the old content: `galen custodian` waits for them. What was read keeps its text;
/// only who kept a copy still has it. An organization seals from its own sealed copies, also what every store has lost.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record reseal\n  galen record reseal 0x91b03c7e\n  \
    galen record reseal 0x91b03c7e --patient anna\n\n\
    Text output, separated by tabs: record id, old address, new address.")]
pub(crate) struct ResealArgs {
    /// Records. Without any: those that were read since they were last sealed.
    #[arg(value_name = "RECORD", conflicts_with = "accessed")]
    pub(crate) records: Vec<String>,
    /// Those that were read since they were last sealed; the default.
    #[arg(long)]
    pub(crate) accessed: bool,
    /// Whose records, for an organization.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
}

/// Forget records for good: remove every copy that can be reached, and with it keys and salts.
///
/// A patient forgets records of their own chart, an organization records that it wrote, with its own sealed copies of
/// them. Says first what goes and what nothing here can reach, and asks. Then each store is asked to let go of every content
/// that the record ever had, and looked at again. What a store does not let go of is asked again by `galen custodian`.
/// The chain goes on saying that there was a record; what it says opens nothing then. Nothing brings the record back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen record erase 0x91b03c7e\n  \
    galen record erase 0x91b03c7e --yes --json | jq '.records[] | select(.gone | not)'\n  \
    galen record erase 0x91b03c7e --patient anna\n\n\
    Text output, separated by tabs. For each content and store: `removed` (a file of this machine), `let-go`, \
    `still-there` (let go of, and still handed out there), `not-there`, `read-only` or `failed`, record id, content, \
    store, cause. Then `kept`, record id, content for what another record needs; for an organization `copies`, record \
    id, how many copies of its own went; `author`, record id, who wrote it; `reader`, record id, who read it, when last. \
    JSON: records (id, gone, contents (content, place, state, error), kept, copies, author, readers (grantee, \
    last_read)), links. Exits with the code of the gravest failure.")]
pub(crate) struct EraseArgs {
    /// Records.
    #[arg(value_name = "RECORD", required = true)]
    pub(crate) records: Vec<String>,
    /// Whose records, for an organization.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
}
