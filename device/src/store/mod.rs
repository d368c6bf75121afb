//! Signed models in two slots of a NOR flash, replaced so that no cut of power leaves a board without one.
//!
//! A [`Store`] keeps the model that runs in one slot and takes the next one into the other. What makes a
//! model run is one write of one word; before it the old model runs, after it the new one, and a cut in the
//! middle of it is one or the other. Nothing in the slot of the running model is ever erased, and the
//! firmware's own model, the factory model, needs no flash at all.
//!
//! A store knows nothing of a serial line or of an engine; [`Updater`](crate::Updater) brings the three together.
//!
//! * [`signature`]: the block that vouches for an image, with its version.
//! * `layout`: which byte of the flash means what; `slots`: reading and writing them.
//! * `sign` (feature `sign`): keys and signatures, for hosts.
//! * `sim` (feature `sim`): a flash that loses power where a test says so.
//!
//! Every byte in flash is untrusted: [`Store::boot`] offers a model only if its header's CRC-32, its
//! signature and its SHA-256 are right.

mod ed25519;
mod error;
mod layout;
#[cfg(feature = "sign")]
pub mod sign;
pub mod signature;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod slots;

#[cfg(all(test, feature = "sign"))]
mod tests;

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

pub use error::StoreError;
use layout::{Mark, Runs, Slot, UNIT};
pub use signature::{BLOCK_LEN, Block, BlockError, KeyId, VerifyError, split};
use slots::Slots;

/// A flash whose bytes the processor reads where they lie, as an engine does its weights.
pub trait Mapped<'m> {
    /// These bytes of the flash. They stay as they are for as long as the model in them may run: a [`Store`]
    /// neither erases nor writes them before another model has taken over.
    fn mapped(&self, range: Range<u32>) -> Option<&'m [u8]>;
}

/// Two slots of a flash, and which model in them runs.
#[derive(Debug, Clone)]
pub struct Store<F> {
    slots: Slots<F>,
    key: Option<[u8; 32]>,
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

/// The model that runs, and what may replace it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct State {
    /// Version of the model that runs; 0 for the factory model.
    pub version: u32,
    /// Lowest version that [`Store::begin`] takes.
    pub minimum: u32,
    /// Lowest version that [`Store::earlier`] gives.
    pub floor: u32,
    /// Most bytes of an image.
    pub limit: u32,
    /// The key that models must be signed with; `None` where no model is taken.
    pub key: Option<KeyId>,
    /// The model on its way in.
    pub incoming: Option<Progress>,
}

/// How far a model on its way in has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Progress {
    /// Its version.
    pub version: u32,
    /// Bytes of its image that have arrived without a gap.
    pub received: u32,
    /// Bytes its image has.
    pub expected: u32,
}

impl Incoming {
    fn progress(&self) -> Progress {
        Progress {
            version: self.block.version(),
            received: self.received,
            expected: self.block.length(),
        }
    }
}

impl<F: NorFlash> Store<F> {
    /// Reads what lies in a flash. Nothing is written; the factory model runs until [`Store::boot`].
    ///
    /// `key` is the public key that models must be signed with; without one none is taken and none runs.
    ///
    /// # Errors
    /// `Geometry` when the flash is too small or its blocks do not suit, `Flash` when it cannot be read.
    pub fn open(flash: F, key: Option<[u8; 32]>) -> Result<Self, StoreError> {
        let mut store = Self {
            slots: Slots::new(flash)?,
            key,
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
            let Ok(Some(block)) = self.slots.whole(slot, self.key.as_ref()) else {
                continue;
            };
            let allowed = block.version() >= mark.floor;
            if allowed && start(&self.slots.flash, self.image(slot, &block)) {
                self.running = Some((slot, block));
                return;
            }
        }
    }

    /// The flash.
    pub fn flash(&self) -> &F {
        &self.slots.flash
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.slots.flash
    }

    /// The model that runs, and what may replace it.
    pub fn state(&self) -> State {
        State {
            version: self.version(),
            minimum: self.minimum(),
            floor: self.newest.map_or(0, |(_, mark)| mark.floor),
            limit: self.slots.limit(),
            key: self.key.as_ref().map(KeyId::of),
            incoming: self.incoming.as_ref().map(Incoming::progress),
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

    /// Announces a model by its signature block. Gives how much of it is there already, from a transfer of the same
    /// block that was broken off.
    ///
    /// What lay in the slot that does not run is erased, unless it is this very model.
    ///
    /// # Errors
    /// `NoKey`, `Block`, `Verify`, `Version`, `Size`: nothing has changed then. `Full`, `Flash`, `NotWritten`.
    #[inline(never)]
    pub fn begin(&mut self, block: &[u8]) -> Result<Progress, StoreError> {
        let key = self.key.as_ref().ok_or(StoreError::NoKey)?;
        let block = Block::new_checked(block)?;
        block.verify(key)?;
        let (minimum, limit) = (self.minimum(), self.slots.limit());
        if block.version() < minimum {
            return Err(StoreError::Version { minimum });
        }
        if block.length() > limit || block.length() == 0 {
            return Err(StoreError::Size { limit });
        }
        let slot = self.free_slot();
        let received = match self.slots.header(slot)?.block {
            Some(there) if there == block => self.slots.arrived(slot, &block)?,
            _ => {
                self.incoming = None;
                self.clear(slot, &block)?;
                0
            }
        };
        let incoming = Incoming {
            slot,
            block,
            received,
        };
        self.incoming = Some(incoming);
        Ok(incoming.progress())
    }

    /// Takes a piece of the announced model and gives how many bytes are there without a gap. Only whole
    /// units of 32 bytes and the last piece are kept, so go on from there. The number can go down by an erase block:
    /// where a cut of power left half a word, the block is taken anew.
    ///
    /// # Errors
    /// `NoTransfer`, `Gap`, `Conflict`, `Flash`, `NotWritten`.
    #[inline(never)]
    pub fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, StoreError> {
        let mut incoming = self.incoming_of(version)?;
        let received = incoming.received;
        let conflict = StoreError::Conflict { received };
        let known = received
            .checked_sub(offset)
            .ok_or(StoreError::Gap { received })?;
        let length = u32::try_from(data.len()).map_err(|_| conflict)?;
        let end = offset.checked_add(length).ok_or(conflict)?;
        if end > incoming.block.length() {
            return Err(conflict);
        }
        let known = (known as usize).min(data.len());
        let (again, fresh) = data.split_at_checked(known).ok_or(conflict)?;
        if !self.slots.holds(incoming.slot, offset, again)? {
            return Err(conflict);
        }
        for piece in fresh.chunks(UNIT) {
            let next = incoming.received + piece.len() as u32;
            if piece.len() < UNIT && next != incoming.block.length() {
                break;
            }
            match self.slots.put(incoming.slot, incoming.received, piece)? {
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
    pub fn candidate(&mut self, version: u32) -> Result<Range<u32>, StoreError> {
        let Incoming {
            slot,
            block,
            received,
        } = self.incoming_of(version)?;
        let expected = block.length();
        if received != expected {
            return Err(StoreError::Incomplete { received, expected });
        }
        if self.slots.digest(slot, expected)? != block.sha256() {
            self.incoming = None;
            self.slots.forget(slot)?;
            return Err(StoreError::Digest);
        }
        Ok(self.image(slot, &block))
    }

    /// Makes the announced model the running one, by one write of one word. To be called once
    /// [`Store::candidate`] has found it whole and its golden wafer's answer is right.
    ///
    /// # Errors
    /// `NoTransfer`; `Full`, `Flash`, `NotWritten` when the word cannot be written.
    #[inline(never)]
    pub fn activate(&mut self, version: u32) -> Result<(), StoreError> {
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
    pub fn earlier(&mut self) -> Result<Earlier, StoreError> {
        let Some((newest, mark)) = self.newest else {
            return Err(StoreError::NoOther);
        };
        let running = self.running.map(|(slot, _)| slot);
        for slot in [newest, newest.other()] {
            if running == Some(slot) {
                continue;
            }
            if let Some(block) = self.slots.whole(slot, self.key.as_ref())?
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
            Err(StoreError::NoOther)
        }
    }

    /// The version of a model to go back to; 0 for the factory model.
    pub fn version_of(&self, earlier: &Earlier) -> u32 {
        earlier.version
    }

    /// Where the image of a model to go back to lies; `None` for the factory model.
    pub fn image_of(&self, earlier: &Earlier) -> Option<Range<u32>> {
        Some(self.slots.image(earlier.slot?, earlier.length))
    }

    /// Makes an earlier model the running one, by one write of one word. A model on its way in is forgotten.
    ///
    /// # Errors
    /// `Full`, `Flash`, `NotWritten` when the word cannot be written.
    #[inline(never)]
    pub fn go_back(&mut self, earlier: Earlier) -> Result<(), StoreError> {
        let (_, mark) = self.newest.ok_or(StoreError::NoOther)?;
        let running = self.running.as_ref().map(|(slot, _)| *slot);
        let (slot, runs) = match (earlier.slot, running) {
            (Some(slot), _) => (slot, Runs::This),
            (None, Some(slot)) => (slot, Runs::Factory),
            (None, None) => return Err(StoreError::NoOther),
        };
        self.mark(slot, runs, mark.highest, mark.floor)?;
        self.incoming = None;
        self.running = match earlier.slot {
            Some(slot) => self.slots.header(slot)?.block.map(|block| (slot, block)),
            None => None,
        };
        Ok(())
    }

    fn image(&self, slot: Slot, block: &Block) -> Range<u32> {
        self.slots.image(slot, block.length())
    }

    fn incoming_of(&self, version: u32) -> Result<Incoming, StoreError> {
        self.incoming
            .filter(|incoming| incoming.block.version() == version)
            .ok_or(StoreError::NoTransfer)
    }

    /// The slot that the next model goes into: never the running model's, and never the only one that says
    /// that the factory model runs.
    fn free_slot(&self) -> Slot {
        let taken = self.running.map(|(slot, _)| slot);
        let taken = taken.or(self.newest.map(|(slot, _)| slot));
        taken.map_or(Slot::A, Slot::other)
    }

    #[inline(never)]
    fn find_newest(&mut self) -> Result<(), StoreError> {
        self.newest = None;
        for slot in Slot::BOTH {
            let header = self.slots.header(slot)?;
            self.sequence = self.sequence.max(header.sequence);
            if let Some(mark) = header.newest
                && self.newest.is_none_or(|(_, n)| n.sequence < mark.sequence)
            {
                self.newest = Some((slot, mark));
            }
        }
        Ok(())
    }

    /// Writes the next mark into a slot's header: it counts from now on.
    fn mark(&mut self, slot: Slot, runs: Runs, highest: u32, floor: u32) -> Result<(), StoreError> {
        self.sequence = self.sequence.checked_add(1).ok_or(StoreError::Full)?;
        let mark = Mark {
            sequence: self.sequence,
            runs,
            highest,
            floor,
        };
        self.slots.mark(slot, &mark)?;
        self.newest = Some((slot, mark));
        Ok(())
    }

    /// Empties the slot that does not run, and writes the block of the model that is to come into it.
    fn clear(&mut self, slot: Slot, block: &Block) -> Result<(), StoreError> {
        // The mark that counts must not lie in what is erased: the running model's slot takes it over.
        if let (Some((newest, mark)), Some((running, _))) = (self.newest, self.running)
            && newest == slot
            && running != slot
        {
            self.mark(running, Runs::This, mark.highest, mark.floor)?;
        }
        self.slots.clear(slot, block)
    }
}
