//! The calling side of LightWafer: wafer maps in, defect classes, scores and masks out.
//!
//! * [`Board`]: a board on a serial port; lost, repeated and damaged frames, resets and unplugged
//!   cables are dealt with here, and a wrong answer is never given.
//! * [`emulator`]: the same boards in QEMU.
//! * [`Board::update`]: a signed model onto a board, also over a line that breaks off.
//! * [`Local`]: the same model on this machine, bit for bit.
//! * [`picture`]: results as pictures; [`lightwafer_maps`] reads wafer maps from files.
//!
//! ```no_run
//! use lightwafer_equipment::{Board, DieMap};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut board = Board::open("/dev/ttyACM0")?;
//! let dies = vec![1u8; 52 * 52]; // row-major: 0 no die, 1 pass, 2 fail
//! let mut packed = vec![0; 52 * 52 / 4];
//! let map = DieMap::pack(52, 52, &dies, &mut packed)?;
//! let report = board.classify(&map)?;
//! println!("{} ({:.1} %)", report.class.label(), 100.0 * report.top_score());
//! # Ok(())
//! # }
//! ```

mod board;
pub mod emulator;
mod error;
mod facts;
mod link;
mod local;
pub mod picture;
mod report;
mod transport;
mod update;

pub use board::{Board, BoardOptions};
pub use error::{BoardError, ClassifyError, Loss};
pub use facts::{BoardFacts, ModelFacts};
pub use lightwafer_device::protocol::message::{Health, ResetCause, Statistics};
pub use lightwafer_device::store::{Block, KeyId, sign};
pub use lightwafer_runtime::dies::{Class, DieMap, Mask};
pub use link::LineStatistics;
pub use local::{Local, LocalError};
pub use report::{BadReport, Report};
pub use transport::{SerialLine, Transport};
pub use update::{SignedModel, Step, UpdateError};
