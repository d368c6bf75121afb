//! Signed models in two slots of a NOR flash, replaced so that no cut of power leaves a board without one.
//!
//! A [`Store`] keeps the model that runs in one slot and takes the next one into the other. What makes a
//! model run is one write of one word; before it the old model runs, after it the new one, and a cut in the
//! middle of it is one or the other. Nothing in the slot of the running model is ever erased, and the
//! firmware's own model, the factory model, needs no flash at all.
//!
//! * [`signature`]: the block that vouches for an image, with its version.
//! * `layout`: what lies where, byte by byte.
//! * [`Updater`]: a store as the station of the serial protocol asks for it, with an engine that tries each
//!   model on its golden wafer before it may run.
//! * `sign` (feature `sign`): keys and signatures, for hosts.
//! * `sim` (feature `sim`): a flash that loses power where a test says so.
//!
//! Every byte in flash is untrusted: [`Store::boot`] offers a model only if its header's CRC-32, its
//! signature and its SHA-256 are right.

mod ed25519;
mod layout;
#[cfg(feature = "sign")]
pub mod sign;
pub mod signature;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod updater;

#[cfg(all(test, feature = "sign"))]
mod tests;

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;
use sha2::{Digest, Sha256};

pub use layout::Slot;
use layout::{ERASED, Geometry, MARK, Mark, Runs, UNIT, VALID};
pub use signature::{BLOCK_LEN, Block, BlockError, KeyId, VerifyError, split};
pub use updater::{Mapped, Reload, Updater};

use crate::protocol::message::{ErrorReply, MAX_CHUNK, Models, Transfer};

/// Two slots of a flash, and which model in them runs.
#[derive(Debug, Clone)]
pub struct Store<F> {
    flash: F,
    key: Option<[u8; 32]>,
    geometry: Geometry,
    /// The mark that counts, and the slot it lies in.
    newest: Option<(Slot, Mark)>,
    /// The highest sequence of any mark, half written ones included.
    sequence: u32,
    /// `None` is the factory model.
    running: Option<(Slot, Block)>,
    incoming: Option<Incoming>,
}

/// A model on its way in.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    slot: Slot,
    block: Block,
    /// Bytes that have arrived without a gap: a multiple of [`UNIT`], or all.
    received: u32,
}

/// A model that [`Store::go_back`] can make the running one.
#[derive(Clone, Copy, Debug)]
pub struct Earlier {
    /// `None` is the factory model.
    slot: Option<Slot>,
    version: u32,
    length: u32,
}

/// A slot's header, as far as it can be read.
struct Header {
    block: Option<Block>,
    newest: Option<Mark>,
    /// The highest sequence of its marks, half written ones included.
    sequence: u32,
    /// Whether the slot's own model has ever been made to run.
    has_run: bool,
    /// Where the next mark goes; `None` when all places are used.
    free: Option<u32>,
}

impl<F: NorFlash> Store<F> {
    /// Reads what lies in a flash. Nothing is written; the factory model runs until [`Store::boot`].
    ///
    /// `key` is the public key that models must be signed with; without one none is taken and none runs.
    ///
    /// # Errors
    /// `Unsupported` when the flash is too small or its blocks do not suit, `Flash` when it cannot be read.
    pub fn open(flash: F, key: Option<[u8; 32]>) -> Result<Self, ErrorReply> {
        let geometry = Geometry::of(&flash).ok_or(ErrorReply::Unsupported)?;
        let mut store = Self {
            flash,
            key,
            geometry,
            newest: None,
            sequence: 0,
            running: None,
            incoming: None,
        };
        store.find_newest()?;
        Ok(store)
    }

    /// Chooses the model that runs: offers the image of the newest mark to `start`, and where that is not
    /// whole or `start` says no, the other slot's. If neither runs, the factory model does.
    pub fn boot(&mut self, mut start: impl FnMut(&F, Range<u32>) -> bool) {
        self.running = None;
        let Some((slot, mark)) = self.newest else {
            return;
        };
        if mark.runs == Runs::Factory {
            return;
        }
        for slot in [slot, slot.other()] {
            // A slot that cannot be read is as good as empty.
            let Ok(Some(block)) = self.whole(slot) else {
                continue;
            };
            let allowed = block.version() >= mark.floor;
            if allowed && start(&self.flash, self.image(slot, &block)) {
                self.running = Some((slot, block));
                return;
            }
        }
    }

    /// The flash.
    pub fn flash(&self) -> &F {
        &self.flash
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// The model that runs, and what may replace it.
    pub fn models(&self) -> Models {
        Models {
            version: self.version(),
            minimum: self.minimum(),
            floor: self.newest.map_or(0, |(_, mark)| mark.floor),
            limit: self.geometry.limit(),
            key: self.key.as_ref().map(|key| KeyId::of(key).0),
            transfer: self.incoming.as_ref().map(|incoming| Transfer {
                version: incoming.block.version(),
                received: incoming.received,
                expected: incoming.block.length(),
            }),
        }
    }

    /// Version of the running model; 0 for the factory model.
    pub fn version(&self) -> u32 {
        self.running.map_or(0, |(_, block)| block.version())
    }

    /// Where in the flash the running model's image lies; `None` for the factory model.
    pub fn running(&self) -> Option<Range<u32>> {
        let (slot, block) = self.running.as_ref()?;
        Some(self.image(*slot, block))
    }

    /// The lowest version that [`Store::begin`] takes: above the running model's, and not below any that has
    /// ever run.
    fn minimum(&self) -> u32 {
        let highest = self.newest.map_or(0, |(_, mark)| mark.highest);
        highest.max(self.version().saturating_add(1))
    }

    /// Announces a model by its signature block and gives how far it is there already, by a
    /// transfer of the same block that a lost line or a reset broke off.
    ///
    /// What lay in the slot that does not run is erased, unless it is this very model.
    ///
    /// # Errors
    /// `NoKey`, `Block`, `Key`, `Signature`, `Version`, `Size`: nothing has changed then. `Flash`.
    #[inline(never)]
    pub fn begin(&mut self, block: &[u8]) -> Result<Transfer, ErrorReply> {
        let key = self.key.as_ref().ok_or(ErrorReply::NoKey)?;
        let block = Block::new_checked(block).map_err(|_| ErrorReply::Block)?;
        block.verify(key).map_err(|error| match error {
            VerifyError::Key => ErrorReply::Key,
            VerifyError::Signature => ErrorReply::Signature,
        })?;
        let (minimum, limit) = (self.minimum(), self.geometry.limit());
        if block.version() < minimum {
            return Err(ErrorReply::Version { minimum });
        }
        if block.length() > limit || block.length() == 0 {
            return Err(ErrorReply::Size { limit });
        }
        let slot = self.free_slot();
        let received = match self.header(slot)?.block {
            Some(there) if there == block => self.arrived(slot, &block)?,
            _ => {
                self.incoming = None;
                self.clear(slot, &block)?;
                0
            }
        };
        self.incoming = Some(Incoming {
            slot,
            block,
            received,
        });
        Ok(Transfer {
            version: block.version(),
            received,
            expected: block.length(),
        })
    }

    /// Takes a piece of the announced model and gives how many bytes are there without a gap. Only whole
    /// units of 32 bytes and the last piece are kept, so go on from there. The number can go down by an erase block:
    /// where a cut of power left half a word, the block is taken anew.
    ///
    /// # Errors
    /// `Oversized`, `NoTransfer`, `Gap`, `Conflict` as for die maps; `Flash`.
    #[inline(never)]
    pub fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, ErrorReply> {
        if data.len() > MAX_CHUNK {
            return Err(ErrorReply::Oversized);
        }
        let mut incoming = self.incoming_of(version)?;
        let received = incoming.received;
        let conflict = ErrorReply::Conflict { received };
        let known = received
            .checked_sub(offset)
            .ok_or(ErrorReply::Gap { received })?;
        // At most MAX_CHUNK.
        let end = offset.checked_add(data.len() as u32).ok_or(conflict)?;
        if end > incoming.block.length() {
            return Err(conflict);
        }
        let known = (known as usize).min(data.len());
        let (again, fresh) = data.split_at_checked(known).ok_or(conflict)?;
        if !self.holds(incoming.slot, offset, again)? {
            return Err(conflict);
        }
        for piece in fresh.chunks(UNIT) {
            let next = incoming.received + piece.len() as u32;
            if piece.len() < UNIT && next != incoming.block.length() {
                break;
            }
            match self.put(incoming.slot, incoming.received, piece)? {
                None => incoming.received = next,
                Some(back) => {
                    incoming.received = back;
                    break;
                }
            }
        }
        self.incoming = Some(incoming);
        Ok(incoming.received)
    }

    /// Checks that the announced model is all there, and gives where its image lies.
    ///
    /// # Errors
    /// `NoTransfer`, `Incomplete`; `Digest` when its SHA-256 is not the signed one: it must be announced and sent
    /// anew. `Flash`.
    #[inline(never)]
    pub fn candidate(&mut self, version: u32) -> Result<Range<u32>, ErrorReply> {
        let Incoming {
            slot,
            block,
            received,
        } = self.incoming_of(version)?;
        let expected = block.length();
        if received != expected {
            return Err(ErrorReply::Incomplete { received, expected });
        }
        if self.digest(slot, expected)? != block.sha256() {
            self.incoming = None;
            let start = self.geometry.start(slot);
            self.erase(start, self.geometry.image(slot))?;
            return Err(ErrorReply::Digest);
        }
        Ok(self.image(slot, &block))
    }

    /// Makes the announced model the running one, by one write of one word. To be called once
    /// [`Store::candidate`] has found it whole and its golden wafer's answer is right.
    ///
    /// # Errors
    /// `NoTransfer`; `Flash` when the word cannot be written.
    #[inline(never)]
    pub fn activate(&mut self, version: u32) -> Result<(), ErrorReply> {
        let Incoming { slot, block, .. } = self.incoming_of(version)?;
        let (highest, floor) = self.newest.map_or((0, 0), |(_, m)| (m.highest, m.floor));
        let (highest, floor) = (highest.max(version), floor.max(block.floor()));
        self.mark(slot, Runs::This, highest, floor)?;
        self.incoming = None;
        self.running = Some((slot, block));
        Ok(())
    }

    /// The model to go back to: the one that ran before, whole, signed and not below the floor; otherwise the
    /// factory model, unless a signed model with a floor has ever run.
    ///
    /// # Errors
    /// `NoOther` when there is none, `Flash`.
    #[inline(never)]
    pub fn earlier(&mut self) -> Result<Earlier, ErrorReply> {
        let Some((newest, mark)) = self.newest else {
            return Err(ErrorReply::NoOther);
        };
        let running = self.running.map(|(slot, _)| slot);
        for slot in [newest, newest.other()] {
            if running == Some(slot) {
                continue;
            }
            if let Some(block) = self.whole(slot)?
                && block.version() >= mark.floor
            {
                return Ok(Earlier {
                    slot: Some(slot),
                    version: block.version(),
                    length: block.length(),
                });
            }
        }
        if running.is_some() && mark.floor == 0 {
            Ok(Earlier {
                slot: None,
                version: 0,
                length: 0,
            })
        } else {
            Err(ErrorReply::NoOther)
        }
    }

    /// The version of a model to go back to; 0 for the factory model.
    pub fn version_of(&self, earlier: &Earlier) -> u32 {
        earlier.version
    }

    /// Where the image of a model to go back to lies; `None` for the factory model.
    pub fn image_of(&self, earlier: &Earlier) -> Option<Range<u32>> {
        let start = self.geometry.image(earlier.slot?);
        Some(start..start.saturating_add(earlier.length))
    }

    /// Makes an earlier model the running one, by one write of one word. A model on its way in is forgotten.
    ///
    /// # Errors
    /// `Flash` when the word cannot be written.
    #[inline(never)]
    pub fn go_back(&mut self, earlier: Earlier) -> Result<(), ErrorReply> {
        let (_, mark) = self.newest.ok_or(ErrorReply::NoOther)?;
        let running = self.running.as_ref().map(|(slot, _)| *slot);
        let (slot, runs) = match (earlier.slot, running) {
            (Some(slot), _) => (slot, Runs::This),
            (None, Some(slot)) => (slot, Runs::Factory),
            (None, None) => return Err(ErrorReply::NoOther),
        };
        self.mark(slot, runs, mark.highest, mark.floor)?;
        self.incoming = None;
        self.running = match earlier.slot {
            Some(slot) => self.header(slot)?.block.map(|block| (slot, block)),
            None => None,
        };
        Ok(())
    }

    fn image(&self, slot: Slot, block: &Block) -> Range<u32> {
        let start = self.geometry.image(slot);
        start..start.saturating_add(block.length())
    }

    fn incoming_of(&self, version: u32) -> Result<Incoming, ErrorReply> {
        self.incoming
            .filter(|incoming| incoming.block.version() == version)
            .ok_or(ErrorReply::NoTransfer)
    }

    /// The slot that the next model goes into: never the running model's, and never the only one that says
    /// that the factory model runs.
    fn free_slot(&self) -> Slot {
        let taken = self.running.map(|(slot, _)| slot);
        let taken = taken.or(self.newest.map(|(slot, _)| slot));
        taken.map_or(Slot::A, Slot::other)
    }

    #[inline(never)]
    fn find_newest(&mut self) -> Result<(), ErrorReply> {
        self.newest = None;
        for slot in Slot::BOTH {
            let header = self.header(slot)?;
            self.sequence = self.sequence.max(header.sequence);
            if let Some(mark) = header.newest
                && self.newest.is_none_or(|(_, n)| n.sequence < mark.sequence)
            {
                self.newest = Some((slot, mark));
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn header(&mut self, slot: Slot) -> Result<Header, ErrorReply> {
        let mut bytes = [0; BLOCK_LEN];
        self.read(self.geometry.start(slot), &mut bytes)?;
        let mut header = Header {
            block: Block::new_checked(&bytes).ok(),
            newest: None,
            sequence: 0,
            has_run: false,
            free: None,
        };
        let crc = [bytes[124], bytes[125], bytes[126], bytes[127]];
        for at in self.geometry.marks(slot) {
            let mut mark = [0; MARK];
            self.read(at, &mut mark)?;
            if mark == [ERASED; MARK] {
                header.free = Some(at);
                break;
            }
            // Without a block there is nothing that a mark could be of.
            let mark = header.block.and_then(|_| Mark::read(&mark, crc));
            let Some((mark, counts)) = mark else {
                continue;
            };
            header.sequence = header.sequence.max(mark.sequence);
            if counts {
                header.has_run |= mark.runs == Runs::This;
                if header.newest.is_none_or(|n| n.sequence < mark.sequence) {
                    header.newest = Some(mark);
                }
            }
        }
        Ok(header)
    }

    /// The block of a slot whose model has run, if all of it is as signed.
    #[inline(never)]
    fn whole(&mut self, slot: Slot) -> Result<Option<Block>, ErrorReply> {
        let header = self.header(slot)?;
        let Some(block) = header.block.filter(|_| header.has_run) else {
            return Ok(None);
        };
        let signed = self.key.is_some_and(|key| block.verify(&key).is_ok());
        let length = block.length();
        let whole = signed
            && length <= self.geometry.limit()
            && self.digest(slot, length)? == block.sha256();
        Ok(whole.then_some(block))
    }

    #[inline(never)]
    fn digest(&mut self, slot: Slot, length: u32) -> Result<[u8; 32], ErrorReply> {
        let mut hash = Sha256::new();
        let start = self.geometry.image(slot);
        for at in (0..length).step_by(UNIT) {
            let mut bytes = [0; UNIT];
            self.read(start + at, &mut bytes)?;
            let used = UNIT.min((length - at) as usize);
            hash.update(bytes.get(..used).unwrap_or(&[]));
        }
        Ok(hash.finalize().into())
    }

    /// Empties a slot and writes its block. The header goes first, so that a block never describes bytes that
    /// are being erased, and comes last.
    #[inline(never)]
    fn clear(&mut self, slot: Slot, block: &Block) -> Result<(), ErrorReply> {
        // What counts must not lie in what is erased: the running model's slot takes it over.
        if let (Some((newest, mark)), Some((running, _))) = (self.newest, self.running)
            && newest == slot
            && running != slot
        {
            self.mark(running, Runs::This, mark.highest, mark.floor)?;
        }
        let image = self.geometry.image(slot);
        self.erase(self.geometry.start(slot), image)?;
        self.erase(image, self.geometry.end(slot))?;
        self.write(self.geometry.start(slot), block.bytes())
    }

    /// How many bytes of an image are there, by the last byte that is not erased. The unit around it may be half
    /// written, so it is asked for again.
    #[inline(never)]
    fn arrived(&mut self, slot: Slot, block: &Block) -> Result<u32, ErrorReply> {
        let start = self.geometry.image(slot);
        let units = block.length().div_ceil(UNIT as u32);
        for unit in (0..units).rev() {
            let mut bytes = [0; UNIT];
            self.read(start + unit * UNIT as u32, &mut bytes)?;
            if bytes != [ERASED; UNIT] {
                return Ok(unit * UNIT as u32);
            }
        }
        Ok(0)
    }

    /// Whether an image holds these bytes at this place.
    fn holds(&mut self, slot: Slot, offset: u32, mut expected: &[u8]) -> Result<bool, ErrorReply> {
        let mut at = self.geometry.image(slot).saturating_add(offset);
        while !expected.is_empty() {
            let skip = at as usize % UNIT;
            let mut bytes = [0; UNIT];
            self.read(at - skip as u32, &mut bytes)?;
            let there = bytes.get(skip..).unwrap_or(&[]);
            let count = there.len().min(expected.len());
            let (now, later) = expected.split_at_checked(count).unwrap_or((&[], &[]));
            if there.get(..count) != Some(now) {
                return Ok(false);
            }
            expected = later;
            at += count as u32;
        }
        Ok(true)
    }

    /// Writes a unit of an image (or its shorter end), unless it is there already. Where something else is, its
    /// erase block is erased, and what is there is only what comes before that.
    fn put(&mut self, slot: Slot, at: u32, piece: &[u8]) -> Result<Option<u32>, ErrorReply> {
        let image = self.geometry.image(slot);
        let place = image + at;
        let mut unit = [ERASED; UNIT];
        for (byte, value) in unit.iter_mut().zip(piece) {
            *byte = *value;
        }
        let mut there = [0; UNIT];
        self.read(place, &mut there)?;
        if there == unit {
            return Ok(None);
        }
        if there != [ERASED; UNIT] {
            let block = self.geometry.erase_block(place);
            self.erase(block.start, block.end)?;
            return Ok(Some(block.start.saturating_sub(image)));
        }
        self.write(place, &unit)?;
        Ok(None)
    }

    /// Writes the next mark into a slot's header.
    #[inline(never)]
    fn mark(&mut self, slot: Slot, runs: Runs, highest: u32, floor: u32) -> Result<(), ErrorReply> {
        let header = self.header(slot)?;
        let (Some(block), Some(at)) = (header.block, header.free) else {
            return Err(ErrorReply::Flash);
        };
        let sequence = self.sequence.checked_add(1).ok_or(ErrorReply::Flash)?;
        self.sequence = sequence;
        let mark = Mark {
            sequence,
            runs,
            highest,
            floor,
        };
        let bytes = block.bytes();
        let crc = [bytes[124], bytes[125], bytes[126], bytes[127]];
        self.write(at, &mark.entry(crc))?;
        // The atomic step.
        let mut word = [ERASED; UNIT];
        word[..4].copy_from_slice(&VALID.to_le_bytes());
        let size = F::WRITE_SIZE.clamp(4, UNIT);
        self.write(at + UNIT as u32, word.get(..size).unwrap_or(&word))?;
        self.newest = Some((slot, mark));
        Ok(())
    }

    // Every access to the flash is one of these three.

    fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), ErrorReply> {
        self.flash.read(at, bytes).map_err(|_| ErrorReply::Flash)
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), ErrorReply> {
        self.flash.erase(from, to).map_err(|_| ErrorReply::Flash)
    }

    /// Writes at the start of a unit, and reads back what was written.
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), ErrorReply> {
        self.flash.write(at, bytes).map_err(|_| ErrorReply::Flash)?;
        let places = (at..).step_by(UNIT);
        for (place, expected) in places.zip(bytes.chunks(UNIT)) {
            let mut there = [0; UNIT];
            self.read(place, &mut there)?;
            if there.get(..expected.len()) != Some(expected) {
                return Err(ErrorReply::Flash);
            }
        }
        Ok(())
    }
}
