//! The host (client) side of LightWafer: it sends wafer maps and gets defect classes, scores and masks.
//!
//! * [`Board`]: a board on a serial port. It handles lost, repeated and damaged frames, resets and unplugged cables,
//!   and never gives a wrong answer.
//! * [`emulator`]: emulated boards, in QEMU.
//! * [`Board::update`]: sends a signed model to a board, also over a line that breaks off.
//! * [`Local`]: runs the model on this machine, with the same bits.
//! * [`picture`]: draws results. [`lightwafer_maps`] reads wafer maps from files.
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
