//! The current wafer: first its map, piece by piece, then its report.
//!
//! Every step can be repeated with the same result, because a host repeats a request if the answer was lost. The map's
//! bytes and the mask are in the station's memory and are passed in.

use heapless::Vec;

use super::platform::Platform;
use crate::protocol::message::{ErrorReply, MAX_CHUNK, Report};
use lightwafer_runtime::Engine;
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::{DieMap, IMAGE_SIZE, Mask};

/// One announced wafer.
#[derive(Debug)]
pub(super) struct Session {
    wafer: u32,
    rows: u16,
    cols: u16,
    crc: u32,
    /// Bytes of its packed map, at most the length of the packed buffer.
    expected: usize,
    /// Bytes that have arrived without a gap.
    received: usize,
    report: Option<Report>,
}

impl Session {
    /// Announces a wafer.
    pub(super) fn announce(wafer: u32, rows: u16, cols: u16, crc: u32) -> Result<Self, ErrorReply> {
        let expected = DieMap::packed_len(rows, cols).map_err(|_| ErrorReply::Grid)?;
        Ok(Self {
            wafer,
            rows,
            cols,
            crc,
            expected,
            received: 0,
            report: None,
        })
    }

    /// The wafer's number.
    pub(super) fn wafer(&self) -> u32 {
        self.wafer
    }

    /// Accepts a piece of the map. Returns how many bytes have arrived.
    pub(super) fn take(
        &mut self,
        offset: u32,
        data: &[u8],
        packed: &mut [u8],
    ) -> Result<u32, ErrorReply> {
        if data.len() > MAX_CHUNK {
            return Err(ErrorReply::Oversized);
        }
        let received = self.received as u32;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if offset > self.received {
            return Err(ErrorReply::Gap { received });
        }
        let conflict = ErrorReply::Conflict { received };
        let end = offset + data.len();
        let packed = packed.get_mut(..self.expected).ok_or(conflict)?;
        let place = packed.get_mut(offset..end).ok_or(conflict)?;
        // Bytes that have arrived before must be the same.
        let known = (self.received - offset).min(data.len());
        let (old, new) = place.split_at_mut_checked(known).ok_or(conflict)?;
        let (again, fresh) = data.split_at_checked(known).ok_or(conflict)?;
        if old != again {
            return Err(conflict);
        }
        new.copy_from_slice(fresh);
        self.received = self.received.max(end);
        Ok(self.received as u32)
    }

    /// The report, if the wafer has been classified.
    pub(super) fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Classifies the wafer, unless it has a report already. Returns whether the engine ran.
    pub(super) fn run<E: Engine, P: Platform>(
        &mut self,
        engine: &mut E,
        platform: &mut P,
        packed: &[u8],
        mask: &mut Mask,
    ) -> Result<bool, ErrorReply> {
        let known = self.report.is_some();
        if !known {
            self.compute(engine, platform, packed, mask)?;
        }
        Ok(!known)
    }

    /// Classifies the wafer.
    fn compute<E: Engine, P: Platform>(
        &mut self,
        engine: &mut E,
        platform: &mut P,
        packed: &[u8],
        mask: &mut Mask,
    ) -> Result<(), ErrorReply> {
        let (received, expected) = (self.received as u32, self.expected as u32);
        if received != expected {
            return Err(ErrorReply::Incomplete { received, expected });
        }
        let packed = packed.get(..self.expected).ok_or(ErrorReply::MapCrc)?;
        if crc32(packed) != self.crc {
            return Err(ErrorReply::MapCrc);
        }
        let map =
            DieMap::new_checked(self.rows, self.cols, packed).map_err(|_| ErrorReply::Dies)?;

        let (clock, count) = (platform.uptime_us(), platform.instructions());
        let answer = engine
            .classify(&map, mask)
            .map_err(|_| ErrorReply::Engine)?;
        let instructions = platform
            .instructions()
            .zip(count)
            .map(|(b, a)| b.wrapping_sub(a));
        let elapsed_us = platform.uptime_us().wrapping_sub(clock);

        self.report = Some(Report {
            wafer: self.wafer,
            map_crc: self.crc,
            class: answer.class.index(),
            scores: Vec::from_iter(answer.scores),
            logits: Vec::from_iter(answer.logits),
            embedding: answer.embedding,
            mask_pixels: mask.count(),
            mask_crc: crc32(&mask.0),
            elapsed_us,
            instructions,
        });
        Ok(())
    }

    /// Checks that `row` of the mask can be sent.
    pub(super) fn mask_row(&self, row: u16) -> Result<usize, ErrorReply> {
        if self.report.is_none() {
            return Err(ErrorReply::NotRun);
        }
        let row = usize::from(row);
        if row < IMAGE_SIZE {
            Ok(row)
        } else {
            Err(ErrorReply::Row)
        }
    }
}
