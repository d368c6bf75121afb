//! Signed models in two slots of a NOR flash. A loss of power at any moment leaves the old model or the new one.
//!
//! A [`Store`] keeps the running model in one slot and receives the next one into the other. One write of one word
//! makes a model the running one: before it the old model runs, after it the new one. If power fails during this write,
//! one of the two runs. The slot of the running model is never erased. The firmware's own model, the factory model, is
//! not in this flash.
//!
//! A store knows nothing of the serial line or of engines; [`Updater`](crate::Updater) connects them.
//!
//! * [`signature`]: the signature block of an image, with its version.
//! * `layout`: the meaning of every byte in the flash; `slots`: how they are read and written.
//! * `sign` (feature `sign`): makes keys and signatures, on hosts.
//! * `sim` (feature `sim`): a simulated flash that loses power when a test wants it.
//!
//! No byte in the flash is trusted: [`Store::boot`] starts a model only if its header's CRC-32, its signature and its
//! SHA-256 are right.

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

/// A flash whose bytes the processor can read directly, as an engine reads its weights.
pub trait Mapped<'m> {
    /// These bytes of the flash. They do not change while the model in them runs: a [`Store`] neither erases nor writes
    /// them before another model runs.
    fn mapped(&self, range: Range<u32>) -> Option<&'m [u8]>;
}

/// Two slots of a flash, and which model in them runs.
#[derive(Debug, Clone)]
pub struct Store<F> {
    slots: Slots<F>,
    key: Option<[u8; 32]>,
    /// The valid mark with the highest sequence, and its slot.
    newest: Option<(Slot, Mark)>,
    /// The highest sequence of all marks, including those that were not completed.
    sequence: u32,
    /// `None` is the factory model.
    running: Option<(Slot, Block)>,
    incoming: Option<Incoming>,
}

/// A model that is being received.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    slot: Slot,
    block: Block,
    /// Bytes that have arrived without a gap: a multiple of [`UNIT`], or the whole image.
    received: u32,
}

/// An earlier model, which [`Store::go_back`] can make the running one.
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
    /// Lowest version that [`Store::begin`] accepts.
    pub minimum: u32,
    /// Lowest version that [`Store::earlier`] returns.
    pub floor: u32,
    /// Most bytes of an image.
    pub limit: u32,
    /// The key that models must be signed with; `None` if no model is accepted.
    pub key: Option<KeyId>,
    /// The model that is being received.
    pub incoming: Option<Progress>,
}

/// The progress of a model that is being received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Progress {
    /// The model's version.
    pub version: u32,
    /// Bytes of its image that have arrived without a gap.
    pub received: u32,
    /// Bytes of its image.
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
    /// Opens the store in a flash. Nothing is written; the factory model runs until [`Store::boot`].
    ///
    /// `key` is the public key that models must be signed with. Without a key no model is accepted, and none runs.
    ///
    /// # Errors
    /// `Geometry` if the flash is too small or its blocks do not suit, `Flash` if it cannot be read.
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

    /// Chooses the model that runs. `start` gets the place of an image in the flash and returns whether it runs: first
    /// the image of the newest mark, then that of the other slot. If none of them is complete and starts, the factory
    /// model runs.
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

    /// Returns the flash.
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

    /// The place of the running model's image in the flash; `None` for the factory model.
    pub fn running(&self) -> Option<Range<u32>> {
        let (slot, block) = self.running.as_ref()?;
        Some(self.image(*slot, block))
    }

    /// The lowest version that [`Store::begin`] accepts: above the running model's, and not below any that has ever
    /// run.
    fn minimum(&self) -> u32 {
        let highest = self.newest.map_or(0, |(_, mark)| mark.highest);
        highest.max(self.version().saturating_add(1))
    }

    /// Announces a model by its signature block. Returns how much of it has arrived already, in an earlier transfer of
    /// the same block that was interrupted.
    ///
    /// Erases the slot that does not run, unless it holds this model.
    ///
    /// # Errors
    /// `NoKey`, `Block`, `Verify`, `Version`, `Size`: nothing has changed. `Full`, `Flash`, `NotWritten`.
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
                // The header is erased first and written last, so a block never belongs to an image that is being
                // erased.
                self.forget(slot)?;
                self.slots.fill(slot, &block)?;
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

    /// Accepts a piece of the announced model. Returns how many bytes have arrived without a gap; continue from there.
    /// Only whole units of 32 bytes are kept, and the end of the image. The number can become smaller by up to an erase
    /// block: if a loss of power left an incomplete word, its block must be sent again.
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

    /// Checks that the announced model is complete. Returns the place of its image in the flash.
    ///
    /// # Errors
    /// `NoTransfer`, `Incomplete`; `Digest` if the SHA-256 is not the signed one. The model must then be announced and
    /// sent again. `Full`, `Flash`, `NotWritten`.
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
            self.forget(slot)?;
            return Err(StoreError::Digest);
        }
        Ok(self.image(slot, &block))
    }

    /// Makes the announced model the running one, by one write of one word. Call it after [`Store::candidate`] and a
    /// test on the golden wafer.
    ///
    /// # Errors
    /// `NoTransfer`; `Full`, `Flash`, `NotWritten` if the word cannot be written.
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

    /// The model to go back to: the one that ran before, if it is complete, signed and not below the floor; otherwise
    /// the factory model, unless a signed model with a floor has run.
    ///
    /// # Errors
    /// `NoOther` if there is none, `Flash`.
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

    /// The version of an earlier model; 0 for the factory model.
    pub fn version_of(&self, earlier: &Earlier) -> u32 {
        earlier.version
    }

    /// The place of an earlier model's image in the flash; `None` for the factory model.
    pub fn image_of(&self, earlier: &Earlier) -> Option<Range<u32>> {
        Some(self.slots.image(earlier.slot?, earlier.length))
    }

    /// Makes an earlier model the running one, by one write of one word. A transfer in progress is cancelled.
    ///
    /// # Errors
    /// `Full`, `Flash`, `NotWritten` if the word cannot be written.
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

    /// The slot for the next model: never the running model's, and never the one whose mark says that the factory model
    /// runs.
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

    /// Writes the next mark into a slot's header. It is then the newest one.
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

    /// Erases the header of a slot that does not run.
    #[inline(never)]
    fn forget(&mut self, slot: Slot) -> Result<(), StoreError> {
        // The newest mark must not be erased: first write it into the running model's slot.
        if let (Some((newest, mark)), Some((running, _))) = (self.newest, self.running)
            && newest == slot
            && running != slot
        {
            self.mark(running, Runs::This, mark.highest, mark.floor)?;
        }
        self.slots.forget(slot)
    }
}
