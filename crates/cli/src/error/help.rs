//! What to do about an error, one line for each.

use galen_chain::{ChainError, SignError};
use galen_crypto::ProxyPlace;
use galen_sdk::proxies::ProxyError;
use galen_services::proxy::StoreError;
use galen_storage::{NodeFault, PostageFault, StorageError};
use galen_types::ErrorKind;

/// What to do where the kind alone does not say it.
pub(super) fn help_for_chain(error: &ChainError) -> &'static str {
    match error {
        ChainError::Refused { reason } if reason.to_lowercase().contains("funds") => {
            "give the paying wallet coins (`galen dev fund` on a development chain), or let a relay pay with --relay"
        }
        ChainError::Refused { .. } => {
            "nothing was sent; `galen doctor` looks at node, wallet and queue"
        }
        ChainError::FeeCeiling { .. } => {
            "wait until gas is cheaper, or raise it: `galen network add NAME --max-fee-gwei N`"
        }
        ChainError::NotMined { .. } => {
            "it is kept and sent on by the next command of this wallet; `galen doctor` shows what waits"
        }
        ChainError::Displaced { .. } => {
            "give the command again, and use this wallet with nothing but Galen"
        }
        ChainError::PlainHttp { .. } => {
            "use an https address; inside a VPN: `galen network add NAME --allow-plain-http`"
        }
        ChainError::Disagreement { .. } => {
            "try again; if it stays, one of the nodes lags, lies or is silent: replace it"
        }
        ChainError::OtherChain { .. } => {
            "choose a node of the network's chain, or another --network"
        }
        ChainError::NoFinalBlock => {
            "set when a block is final: `galen network add NAME --finality instant`, or a number of blocks"
        }
        ChainError::NoDeploymentBlock { .. } => {
            "name the block with --deployed-in, or use a node that keeps old state or logs"
        }
        ChainError::NotVerified { .. } => {
            "what is deployed stays deployed; `galen deploy --verify` may be repeated, --verification-input writes \
             what a service's own page takes"
        }
        ChainError::Sign(error) => help_for_signature(error),
        error => help_for(error.kind()),
    }
}

pub(super) const fn help_for_signature(error: &SignError) -> &'static str {
    match error {
        SignError::Refused(_) => {
            "nothing was signed: what was asked for does not add up with what this profile and the chain know"
        }
        SignError::Unavailable(_) => {
            "see that the device or the other owners are there and sign in time (--timeout), then run it \
             again: each run asks for new signatures"
        }
        error => help_for(error.kind()),
    }
}

/// What to do about a proxy.
pub(super) fn help_for_proxy(error: &ProxyError) -> &'static str {
    match error {
        ProxyError::Silent => {
            "see that the proxy runs and its URL is right (`galen proxy status`); the others go on without it"
        }
        ProxyError::Address => {
            "use an https address; inside a VPN: `galen network add NAME --allow-plain-http`"
        }
        ProxyError::Answer(_) | ProxyError::Wrong(_) => {
            "do not rely on this proxy: tell the patient and who serves it; the others go on without it"
        }
        ProxyError::Refused { cause, .. } => help_for_cause(cause),
        error => help_for(error.kind()),
    }
}

pub(super) const fn help_for_proxy_store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Busy => {
            "end the other `galen proxy serve` that has it, or name another folder with --data"
        }
        StoreError::Foreign => {
            "name the folder of this profile and network with --data, or an empty one"
        }
        StoreError::Version { .. } => "use the release of galen that wrote it, or a newer one",
        StoreError::Damaged => {
            "do not go on with it: take an empty folder with --data, and ask the patients for new shares \
             (`galen consent rotate`)"
        }
        StoreError::Io(_) | StoreError::Database(_) => {
            "check disk space and the permissions of the folder; nothing acknowledged was lost"
        }
        _ => help_for(error.kind()),
    }
}

/// What to do where too few proxies gave right answers: if all said the same, about that.
pub(super) fn help_for_too_few(said: &[(ProxyPlace, ProxyError)]) -> &'static str {
    match said.split_first() {
        Some(((_, first @ ProxyError::Refused { .. }), rest))
            if first.kind() != ErrorKind::Unavailable
                && rest.iter().all(|(_, error)| help_for_proxy(error) == help_for_proxy(first)) =>
        {
            help_for_proxy(first)
        }
        _ => {
            "the reads are logged: `galen access … --logged` asks again for an hour and logs nothing; `galen proxy \
             status URL` looks at a proxy"
        }
    }
}

/// What to do about each word of a proxy that refuses.
fn help_for_cause(cause: &str) -> &'static str {
    match cause {
        "not-logged" => "the read must be on the chain first: `galen access` logs it, then asks",
        "not-final" => "wait until the log is final, then run it again: what is logged is not lost",
        "window" => {
            "the read was logged too long ago: run `galen access` again, which logs it anew"
        }
        "revoked" => "ask the patient for a new consent: this one has ended",
        "not-accepted" => "ask the author: the record is not accepted, or was taken back",
        "standing" => {
            "only organizations in good standing read; `galen doctor` looks at yours, the consortium decides"
        }
        "no-share" => {
            "ask the patient to run `galen consent deliver`; the proxy has no share for this consent and keys"
        }
        "stale" => "nothing: the proxy has something newer",
        "limit" => "wait an hour: the proxy bounds what one caller gets",
        "content" => "see that the proxy's store has the record's content; try again later",
        "chain" => "try again later: the proxy's nodes are late, silent, or do not agree",
        "deadline" => "check this machine's clock, then run it again",
        "signature" => "see that the id is still controlled by this wallet: `galen doctor`",
        "elsewhere" => "name a proxy of this network: `galen proxy status` says for which it is",
        "not-recovered" => "finish the recovery on chain first, and wait until it is final",
        "malformed" => "use the same release of galen as the proxy, or a newer one",
        _ => "look into the proxy's log, or ask who serves it; the others go on without it",
    }
}

/// What to do about a place that keeps content.
pub(super) fn help_for_store(error: &StorageError) -> &'static str {
    match error {
        StorageError::NotFound(_) => {
            "name a store that has it with --store, or copy it to one: `galen content check` says where it lies; \
             if it is nowhere, its author may have a copy: `galen record reseal`"
        }
        StorageError::Integrity(_) => {
            "nothing of it was used; `galen content check --repair` mends the copy from one that is right"
        }
        StorageError::Unsupported(_) => {
            "add a store that knows it: swarm or a swarm-gateway for swarm addresses, ipfs or an ipfs-gateway for ipfs"
        }
        StorageError::Everywhere { failures, .. } => help_for_all(failures),
        StorageError::Node { fault, .. } => help_for_node(fault),
        StorageError::Postage { fault, .. } => help_for_postage(fault),
        StorageError::ReadOnly(_) => {
            "name a store that takes content: a directory, swarm, ipfs or a pinning service"
        }
        StorageError::NowhereToKeep => {
            "add a store that takes content to --store or the profile: a path, swarm:URL or ipfs:URL; gateways and \
             folders are only read from"
        }
        StorageError::Setting { .. } => {
            "mend the setting; `galen config show` prints every value and where it came from"
        }
        StorageError::PlainHttp { .. } => {
            "use an https URL; inside a VPN: `galen network add NAME --allow-plain-http`"
        }
        StorageError::TooLong { .. } => "split the document, or keep it outside and record where",
        StorageError::OutOfRange { .. } | StorageError::ShutDown => help_for(ErrorKind::Internal),
        StorageError::NotAStore(_) => {
            "choose an empty directory, or one that was a content store before"
        }
        StorageError::UnknownVersion(_) => "use the release of galen that wrote it, or a newer one",
        StorageError::Full(_) => {
            "free space on that disk, or name a store elsewhere; nothing was lost, run it again"
        }
        StorageError::Source(_) => "check the file that was to be kept, and its disk",
        StorageError::Io { .. } => {
            "check the disk and the permissions of the directory; `galen config show` says where it is"
        }
        StorageError::Busy { .. } => {
            "wait for the other `galen`, or end it; what it has sent is not sent again"
        }
        error => help_for(error.kind()),
    }
}

/// The most useful thing that can be done where every place failed in its own way.
fn help_for_all(failures: &[(String, StorageError)]) -> &'static str {
    let of = |kind| failures.iter().find(|(_, error)| error.kind() == kind);
    match of(ErrorKind::Integrity) {
        Some(_) => {
            "do not trust the store that gave other bytes; restore a copy, then `galen content check --repair`"
        }
        None if of(ErrorKind::Unavailable).is_some() => {
            "start or reach one of the stores and try again; `galen doctor` looks at each"
        }
        None => {
            "name a store that has it with --store, or copy it to one: `galen content check` says where it lies; \
             if it is nowhere, its author may have a copy: `galen record reseal`"
        }
    }
}

const fn help_for_node(fault: &NodeFault) -> &'static str {
    match fault {
        NodeFault::Unreachable(_) => {
            "see that the node runs and the URL is right (`galen doctor`); what was sent is not sent again"
        }
        NodeFault::TimedOut(_) => {
            "try again, it goes on where it stopped; --timeout waits longer, another URL stands in (URL+URL)"
        }
        NodeFault::RateLimited => "wait a while and try again, or use a node of your own",
        NodeFault::Refused(_) => {
            "write its token into a private file and name that as token_file of [stores.NAME]"
        }
        NodeFault::Redirect => {
            "nobody follows it: write the address that it sends to into the settings, if you trust it"
        }
        NodeFault::Status(_) | NodeFault::Malformed(_) | NodeFault::TooLong(_) => {
            "see that kind and URL belong together: bee's API, kubo's RPC API, a trustless gateway; look into its log"
        }
        NodeFault::Lost => "see that the node has space and keeps what it takes, then run it again",
        NodeFault::Said(_) => "look into the node's log; `galen doctor` looks at each store",
        NodeFault::OtherAddress => {
            "do not use this node: it changed what it was given, or its settings split content in another way"
        }
        _ => "look into the node's log; `galen doctor` looks at each store",
    }
}

const fn help_for_postage(fault: &PostageFault) -> &'static str {
    match fault {
        PostageFault::Missing => {
            "buy a batch at the node (bee's POST /stamps/AMOUNT/DEPTH) and name it: swarm:URL#batch=HEX; or choose \
             another store"
        }
        PostageFault::Unknown => {
            "`galen content postage` lists the node's batches; correct batch in [stores.NAME], or leave it out"
        }
        PostageFault::TooNew => "wait some minutes, then run it again: it goes on where it stopped",
        PostageFault::Expired => {
            "buy a batch, then `galen content check --repair`: what the old one paid for may be gone"
        }
        PostageFault::Full => {
            "buy another batch or dilute this one (bee's PATCH /stamps), then run it again"
        }
        PostageFault::Unlisted => {
            "bee 1 lists its batches on its debug port only; name the batch: swarm:URL#batch=HEX, or batch in [stores.NAME]"
        }
        PostageFault::Stuck => {
            "name another batch of this node (swarm:URL#batch=HEX), then run it again: it goes on where it stopped"
        }
        _ => "`galen content postage` lists the node's batches",
    }
}

pub(super) const fn help_for(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => {
            "check disk space, node and relay, then try again; `galen doctor` looks at each"
        }
        ErrorKind::Stale => "try again",
        ErrorKind::Denied => "ask the patient for consent",
        ErrorKind::NotFound => "check the id; `galen doctor` checks network and contract",
        ErrorKind::Integrity => {
            "do not go on: somebody gave other bytes than they should; try another node or store"
        }
        ErrorKind::Declined => "nothing was signed; run the command again to be asked again",
        ErrorKind::Invalid => "check what was asked for; --help has examples",
        ErrorKind::Internal => {
            "this is a bug in Galen: report it with the command, not with the input"
        }
    }
}
