//! An import that was interrupted is taken up: what its journal says, compared with chain and store.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    sync::Arc,
};

use alloy_primitives::{B256, Bytes};
use galen_chain::{SignedProposal, typed};
use galen_types::{Commitment, ErrorKind, Leaf, ProposalId, Segment};

use super::{Import, Sealed};
use crate::{
    Error, JournalEntry, MAX_LEAVES, Prepared, attest::Attested, batch::publish_all, patient::u48,
};

impl Import<'_> {
    /// A signature over documents that was made before the import was interrupted. One of before a rotation is
    /// made again: nothing that was signed before it is to be used after it.
    async fn take_up_attested(
        &mut self,
        (rotations, issued): (u32, u64),
        roots: &[B256],
        signature: &Bytes,
    ) -> Result<(), Error> {
        let (galen, account) = (self.organization.galen(), self.organization.account());
        if galen.ledger.participant(account.id()).await?.rotations != rotations {
            return Ok(());
        }
        let (place, seed) = ((galen.id(), account), self.batch_seed(roots));
        let signed = (rotations, issued);
        let attested = Attested::taken_up(place, signed, (roots, &seed), signature.clone())?;
        let attested = Arc::new(attested);
        self.attested.extend(roots.iter().map(|root| (*root, attested.clone())));
        Ok(())
    }

    /// Reads what was done before, and announces what was signed.
    pub(super) async fn take_up(&mut self, past: &[JournalEntry]) -> Result<(), Error> {
        let mut sealed: Vec<Sealed> = Vec::new();
        let mut signed = Vec::new();
        let mut announced = HashSet::new();
        // Only the documents of the last signature can be unsealed.
        let mut attested = None;
        for entry in past.iter().skip(1) {
            match entry {
                JournalEntry::Begun { .. } => {
                    return Err(Error::Invalid("the journal begins twice"));
                }
                JournalEntry::Attested { rotations, issued, roots, signature } => {
                    attested = Some(((*rotations, *issued), roots, signature));
                }
                JournalEntry::Sealed { input, part, parts, leaf, len } => {
                    self.parts.insert(*input, *parts);
                    sealed.push(((*input, *part), *leaf, *len));
                }
                JournalEntry::Signed { .. } => signed.push(self.prepared(entry)?),
                JournalEntry::Announced { proposal } => {
                    announced.insert(*proposal);
                }
            }
        }
        if let Some((signed, roots, signature)) = attested {
            self.take_up_attested(signed, roots, signature).await?;
        }
        let time = self.organization.galen().time().await?;
        // What was sealed and what was signed may name different addresses of one content; the commitment, which is
        // salted, says that they are the same.
        let mut proposed: HashSet<Commitment> = HashSet::new();
        for prepared in signed {
            let (id, message) = (prepared.proposal(), &prepared.signed.message);
            let there = announced.contains(&id) || self.is_on_chain(id).await?;
            // A signature that is out of date is made again, over the same leaves.
            if !there && time > message.deadline.to::<u64>() {
                continue;
            }
            proposed.extend(prepared.leaves.iter().map(|leaf| leaf.commitment));
            if !announced.contains(&id) {
                self.announce(prepared).await?;
            }
        }
        self.collect(&sealed, &proposed).await
    }

    /// What was sealed and not proposed goes into the next proposal, its upload taken up where it was. It is sealed
    /// anew when its input comes if its number was taken by another work of this author meanwhile, or if its
    /// content is gone from this machine before it was anywhere else.
    async fn collect(
        &mut self,
        sealed: &[Sealed],
        proposed: &HashSet<Commitment>,
    ) -> Result<(), Error> {
        let (patient, author) = (self.contact.patient(), self.organization.id());
        let is_proposed = |it: &&Sealed| proposed.contains(&it.1.commitment);
        let (proposed, open): (Vec<&Sealed>, Vec<&Sealed>) = sealed.iter().partition(is_proposed);
        self.done.extend(proposed.iter().map(|it| it.0));
        let galen = self.organization.galen();
        let mut free: Vec<&Sealed> = Vec::new();
        let mut last: BTreeMap<Segment, Option<u64>> = BTreeMap::new();
        for it @ (part, leaf, _) in open {
            let segment = leaf.segment;
            if let Entry::Vacant(entry) = last.entry(segment) {
                let number = |chart: &galen_index::Chart| chart.last_number(author, segment);
                entry.insert(galen.with_chart(patient, number).await?);
            }
            let taken = last.get(&segment).copied().flatten();
            let is_free = taken.is_none_or(|taken| leaf.number > taken);
            if is_free && self.done.insert(*part) {
                last.insert(segment, Some(leaf.number));
                free.push(it);
            }
        }
        for group in free.chunks(MAX_LEAVES) {
            self.take_again(group).await?;
        }
        Ok(())
    }

    /// Sealed leaves of an import that was interrupted: at most as many as one proposal has.
    async fn take_again(&mut self, sealed: &[&Sealed]) -> Result<(), Error> {
        let galen = self.organization.galen();
        let mut staged = Vec::new();
        for (_, leaf, _) in sealed {
            let category = self.contact.category(leaf.segment)?;
            staged.push((galen.storage_for(category).clone(), leaf.content));
        }
        for ((part, leaf, len), published) in sealed.iter().zip(publish_all(staged).await?) {
            match published {
                Ok(content) => {
                    let leaf = Leaf { content, ..*leaf };
                    let key = leaf.key(self.contact.patient(), self.organization.id());
                    self.numbers.insert(leaf.segment, leaf.number);
                    self.batch.take((leaf, *len), key);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.done.remove(part);
                }
                Err(error) => return Err(error.into()),
            }
            if self.batch.len() == MAX_LEAVES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn is_on_chain(&self, id: ProposalId) -> Result<bool, Error> {
        let galen = self.organization.galen();
        galen.with_chart(self.contact.patient(), |chart| chart.proposal(id).is_some()).await
    }

    fn prepared(&self, entry: &JournalEntry) -> Result<Prepared, Error> {
        let JournalEntry::Signed { rotations, deadline, policy, leaves, signature } = entry else {
            return Err(Error::Invalid("not a signed proposal"));
        };
        let (patient, author) = (self.contact.patient(), self.organization.id());
        let message = typed::Proposal {
            patient,
            author,
            rotations: *rotations,
            count: u16::try_from(leaves.len()).unwrap_or(u16::MAX),
            deadline: u48(*deadline),
            policy: *policy,
            leaves: leaves.iter().map(typed::Leaf::from).collect(),
        };
        Ok(Prepared {
            signed: SignedProposal { message, signature: signature.clone() },
            leaves: leaves.clone(),
            records: leaves.iter().map(|leaf| leaf.key(patient, author)).collect(),
            sealed_bytes: 0,
        })
    }
}
