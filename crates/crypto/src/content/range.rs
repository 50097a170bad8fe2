//! Opening a part of the payload: plan, fetch, open.

use std::ops::Range;

use galen_types::Plaintext;
use zeroize::Zeroizing;

use crate::{
    Error, OpenError,
    content::{BLOCK_LEN, BODY_START, Layout, Opener, SEALED_BLOCK_LEN, open::TAG},
};

/// Which sealed bytes to fetch for a part of the payload. Made by [`Layout::plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePlan {
    payload: Range<u64>,
    sealed: Range<u64>,
    first_block: u64,
}

impl RangePlan {
    /// The sealed bytes to fetch, as offsets into the whole content. Whole blocks; empty if the part is.
    pub fn sealed(&self) -> Range<u64> {
        self.sealed.clone()
    }

    /// The part of the payload that was asked for.
    pub fn payload(&self) -> Range<u64> {
        self.payload.clone()
    }
}

impl Layout {
    /// The sealed bytes to fetch first: header and first block. What is shorter ends sooner.
    pub const FIRST_FETCH: Range<u64> = 0..BODY_START + SEALED_BLOCK_LEN as u64;

    /// Plans to open `payload`, a range of payload bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] if it is not within the payload.
    pub fn plan(&self, payload: Range<u64>) -> Result<RangePlan, Error> {
        let Range { start, end } = payload;
        if start > end || end > self.payload_len() {
            return Err(Error::Range { start, end, len: self.payload_len() });
        }
        if start == end {
            return Ok(RangePlan { payload, sealed: BODY_START..BODY_START, first_block: 0 });
        }
        let block = BLOCK_LEN as u64;
        let first_block = (start + self.preamble_len()) / block;
        let end_block = (end + self.preamble_len()).div_ceil(block);
        let sealed_end = (BODY_START + end_block * (block + TAG)).min(self.sealed_len());
        let sealed = BODY_START + first_block * (block + TAG)..sealed_end;
        Ok(RangePlan { payload, sealed, first_block })
    }
}

impl Opener {
    /// Reads salt, media type and payload length from the first block.
    ///
    /// `first_block` is what [`Layout::FIRST_FETCH`] gives after the header: sealed bytes from 4096 on,
    /// 65,536 of them or fewer if the content ends before.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn layout(&self, first_block: &[u8]) -> Result<Layout, OpenError> {
        self.first_block(first_block)
    }

    /// Opens the blocks of a plan and returns the payload bytes asked for.
    ///
    /// `sealed` is exactly [`RangePlan::sealed`]. Nothing is returned if one of the blocks is bad. What
    /// this proves and what not, see the module documentation of [`crate::content`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause, a plan of another layout too.
    pub fn open_range(
        &self,
        layout: &Layout,
        plan: &RangePlan,
        sealed: &[u8],
    ) -> Result<Plaintext, OpenError> {
        let Range { start, end } = plan.payload;
        let same_plan = layout.plan(plan.payload()).is_ok_and(|made| made == *plan);
        if !same_plan || plan.sealed.end - plan.sealed.start != sealed.len() as u64 {
            return Err(OpenError);
        }
        let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
        for (place, block) in (plan.first_block..).zip(sealed.chunks(SEALED_BLOCK_LEN)) {
            let last = place + 1 == layout.blocks();
            let place = u32::try_from(place).map_err(|_| OpenError)?;
            plaintext.extend_from_slice(&self.open_copy(place, last, block)?);
        }
        let offset = layout.preamble_len() + start - plan.first_block * BLOCK_LEN as u64;
        let skip = usize::try_from(offset).map_err(|_| OpenError)?;
        let len = usize::try_from(end - start).map_err(|_| OpenError)?;
        if start == end {
            return Ok(Plaintext::new(Vec::new()));
        }
        let part = plaintext.get(skip..).and_then(|rest| rest.get(..len)).ok_or(OpenError)?;
        Ok(Plaintext::new(part.to_vec()))
    }
}
