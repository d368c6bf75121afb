//! The messages of the serial protocol, as postcard encodes them.
//!
//! Host and board use these types; `docs/serial-protocol.md` describes the same bytes for clients
//! in other languages. Variants are numbered by position: append, never reorder. Enums that a later board or host may
//! append to are `non_exhaustive`; a structure's fields are fixed for as long as [`PROTOCOL_VERSION`] is.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use lightwafer_runtime::dies::CLASS_COUNT;
use lightwafer_runtime::image::ModelFacts;
use lightwafer_runtime::limits::MAX_CHANNELS;

/// Version of the messages; a board refuses a host that speaks another.
pub const PROTOCOL_VERSION: u16 = 1;
/// Most bytes of die data or coded mask rows in one message.
pub const MAX_CHUNK: usize = 512;

/// A request, host to board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<'a> {
    /// Chosen by the host, 1…65535, one higher for each new request (65535 → 1); a retry keeps it.
    pub seq: u16,
    /// The request itself.
    #[serde(borrow)]
    pub command: Command<'a>,
}

/// A host's request to a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Command<'a> {
    /// Asks who the board is. The first message of a connection.
    Hello {
        /// [`PROTOCOL_VERSION`] of the host.
        protocol: u16,
    },
    /// A wafer map follows; forgets the one before.
    Map {
        /// The host's name for this wafer; later messages repeat it.
        wafer: u32,
        /// Rows of the die grid, 1…256.
        rows: u16,
        /// Columns of the die grid, 1…256.
        cols: u16,
        /// CRC-32 (ISO-HDLC) of the whole packed map.
        crc: u32,
    },
    /// A piece of the packed map; pieces come in order.
    Dies {
        /// The wafer of [`Command::Map`].
        wafer: u32,
        /// Bytes of the map before this piece.
        offset: u32,
        /// At most [`MAX_CHUNK`] bytes.
        #[serde(borrow)]
        data: &'a [u8],
    },
    /// Classify the wafer. Asked again, the board repeats its answer without computing.
    Run {
        /// The wafer of [`Command::Map`].
        wafer: u32,
    },
    /// Send the mask from this row on, as many rows as fit.
    Mask {
        /// The wafer that ran.
        wafer: u32,
        /// First row wanted, 0…223.
        row: u16,
    },
    /// Counters since start.
    Statistics,
    /// A model is to follow, announced by its signature block; asks how far it got where it began before.
    ModelBegin {
        /// The block's 128 bytes: what `lightwafer sign` puts behind a model's image.
        #[serde(borrow)]
        signature: &'a [u8],
    },
    /// A piece of the model's image; pieces come in order.
    ModelChunk {
        /// Version of the announced model.
        version: u32,
        /// Bytes of the image before this piece.
        offset: u32,
        /// At most [`MAX_CHUNK`] bytes.
        #[serde(borrow)]
        data: &'a [u8],
    },
    /// Try the model on its golden wafer, and run it from now on.
    ModelCommit {
        /// Version of the announced model.
        version: u32,
    },
    /// Go back to the model before. Nothing happens where another than `from` runs.
    ModelRollback {
        /// Version of the model that runs; 0 for the firmware's own.
        from: u32,
    },
    /// Asks how often the board started and why, and which model it runs.
    Health,
}

/// A response, board to host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Response<'a> {
    /// The request's number; 0 when the board could not read one from the frame.
    pub seq: u16,
    /// The answer.
    #[serde(borrow)]
    pub reply: Reply<'a>,
}

/// A board's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "no allocator to box with")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reply<'a> {
    /// To [`Command::Hello`].
    Hello(#[serde(borrow)] Hello<'a>),
    /// To [`Command::Map`] and [`Command::Dies`].
    Received {
        /// The wafer.
        wafer: u32,
        /// Bytes of its map that have arrived without a gap.
        bytes: u32,
    },
    /// To [`Command::Run`].
    Report(Report),
    /// To [`Command::Mask`].
    MaskRows {
        /// The wafer.
        wafer: u32,
        /// First row in `data`.
        row: u16,
        /// Rows in `data`.
        rows: u16,
        /// The coded rows (see [`crate::protocol::mask_code`]), at most [`MAX_CHUNK`] bytes.
        #[serde(borrow)]
        data: &'a [u8],
    },
    /// To [`Command::Statistics`].
    Statistics(Statistics),
    /// To any request, and unasked (seq 0) to a frame that could not be read.
    Error(ErrorReply),
    /// To [`Command::ModelBegin`] and [`Command::ModelChunk`].
    ModelReceived {
        /// Version of the announced model.
        version: u32,
        /// Bytes of its image to go on from: they have arrived without a gap.
        bytes: u32,
    },
    /// To [`Command::ModelCommit`] and [`Command::ModelRollback`].
    ModelRuns {
        /// Version of the model that runs; 0 for the firmware's own.
        version: u32,
    },
    /// To [`Command::Health`].
    Health(Health),
}

/// The board's name and versions, and the model that it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hello<'a> {
    /// [`PROTOCOL_VERSION`] of the board.
    pub protocol: u16,
    /// Board name, such as `mps2-an500`.
    pub board: &'a str,
    /// Firmware version.
    pub firmware: &'a str,
    /// Largest packed map the board takes, in bytes.
    pub max_map: u32,
    /// Largest chunk the board takes and sends, in bytes.
    pub max_chunk: u16,
    /// Why the board last started.
    pub reset: ResetCause,
    /// The model it runs.
    #[serde(borrow)]
    pub model: ModelFacts<'a>,
}

/// Why a board started. Not `non_exhaustive`: [`Health::starts`] has a place for each, so that one more would be
/// another [`PROTOCOL_VERSION`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ResetCause {
    /// Power came on, or the cause is not known.
    PowerOn,
    /// The reset pin or a debugger.
    External,
    /// Firmware asked for it.
    Software,
    /// The watchdog was not fed.
    Watchdog,
    /// Firmware panicked.
    Panic,
    /// A processor fault.
    Fault,
}

impl ResetCause {
    /// All causes, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::PowerOn,
        Self::External,
        Self::Software,
        Self::Watchdog,
        Self::Panic,
        Self::Fault,
    ];

    /// The number of causes.
    pub const COUNT: usize = 6;

    /// The name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerOn => "power_on",
            Self::External => "external",
            Self::Software => "software",
            Self::Watchdog => "watchdog",
            Self::Panic => "panic",
            Self::Fault => "fault",
        }
    }
}

/// The result for one wafer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report {
    /// The wafer.
    pub wafer: u32,
    /// CRC-32 of the packed map that was classified, so that an answer cannot belong to another.
    pub map_crc: u32,
    /// The class, 0…37: the index of the largest logit, the lowest on a tie.
    pub class: u8,
    /// Probabilities of the 38 classes in units of 2⁻²⁴.
    pub scores: Vec<u32, CLASS_COUNT>,
    /// Logits of the 38 classes in units of 2⁻¹⁶.
    pub logits: Vec<i32, CLASS_COUNT>,
    /// The quantized embedding (64 values for the published student).
    pub embedding: Vec<i8, MAX_CHANNELS>,
    /// Marked pixels of the 224×224 mask.
    pub mask_pixels: u32,
    /// CRC-32 of the mask's 6,272 bytes.
    pub mask_crc: u32,
    /// Time the inference took, in microseconds.
    pub elapsed_us: u64,
    /// Instructions the inference took, where the board can count them.
    pub instructions: Option<u64>,
}

/// Counters since start, and health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Statistics {
    /// Milliseconds since start.
    pub uptime_ms: u64,
    /// Wafers classified.
    pub wafers: u32,
    /// Requests answered, errors included.
    pub requests: u32,
    /// Requests whose number was that of the one before.
    pub repeated: u32,
    /// Frames cut short.
    pub truncated: u32,
    /// Frames longer than the limit.
    pub oversized: u32,
    /// Frames with a wrong CRC-32.
    pub corrupted: u32,
    /// Frames with a right CRC-32 that hold no known message.
    pub malformed: u32,
    /// Times the receiver lost bytes because they came faster than they were taken.
    pub overruns: u32,
    /// Requests refused with a named error (a gap in a map, an unknown wafer, …).
    pub refused: u32,
    /// Deepest use of the stack, in bytes.
    pub stack_max: u32,
}

/// How often a board started and why, and which model it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Health {
    /// How often the board started since power came on, by [`ResetCause`] in order, this start included.
    pub starts: [u32; ResetCause::COUNT],
    /// The model that runs, and what may replace it.
    pub models: Models,
    /// SHA-256 of the image of the model that runs.
    pub sha256: [u8; 32],
}

/// The model that runs, and what may replace it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Models {
    /// Version of the model that runs; 0 for the firmware's own.
    pub version: u32,
    /// Lowest version that the board takes.
    pub minimum: u32,
    /// Lowest version that it goes back to.
    pub floor: u32,
    /// Most bytes of an image; 0 where the board takes none.
    pub limit: u32,
    /// Which key they must be signed with: the first bytes of its SHA-256. None where the board has no key.
    pub key: Option<[u8; 8]>,
    /// The model that is being transferred.
    pub transfer: Option<Transfer>,
}

/// The progress of a model that is being transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Transfer {
    /// The model's version.
    pub version: u32,
    /// Bytes that have arrived.
    pub received: u32,
    /// Bytes of the image.
    pub expected: u32,
}

/// Why a board refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorReply {
    /// The frame ended early.
    Truncated,
    /// The frame is longer than the limit.
    Oversized,
    /// The frame's CRC-32 is wrong.
    Corrupted,
    /// The frame holds no message this board knows.
    Malformed,
    /// Bytes were lost on the board's side of the line.
    Overrun,
    /// The host speaks another protocol version.
    Protocol {
        /// The board's version.
        board: u16,
    },
    /// The die grid is outside 1×1…256×256.
    Grid,
    /// No map of this wafer was announced, or another has been since.
    UnknownWafer,
    /// A piece of the map is missing before this one.
    Gap {
        /// Bytes that have arrived.
        received: u32,
    },
    /// A piece reaches beyond the map, or repeats with other bytes than before.
    Conflict {
        /// Bytes that have arrived.
        received: u32,
    },
    /// The map is not complete.
    Incomplete {
        /// Bytes that have arrived.
        received: u32,
        /// Bytes the map has.
        expected: u32,
    },
    /// The whole map's CRC-32 is not the announced one.
    MapCrc,
    /// A die is none of 0, 1, 2, or unused bits are set.
    Dies,
    /// The wafer has not run yet.
    NotRun,
    /// No such mask row.
    Row,
    /// The engine failed.
    Engine,
    /// The board takes no models.
    Unsupported,
    /// The firmware was built without a public key, so that it takes no models.
    NoKey,
    /// The signature block is damaged, or of another format.
    Block,
    /// The model is signed with another key than the board's.
    Key,
    /// The signature is wrong.
    Signature,
    /// The model's version is too low.
    Version {
        /// The lowest that the board takes.
        minimum: u32,
    },
    /// The image is too large, or empty.
    Size {
        /// Most bytes of an image.
        limit: u32,
    },
    /// No model of this version was announced, or the board has restarted since: announce it again.
    NoTransfer,
    /// The image that arrived is not the signed one: announce and send it anew.
    Digest,
    /// The image is no model that this firmware can run.
    Model,
    /// The model needs more working memory than the board has.
    Arena {
        /// Bytes it needs.
        needed: u32,
        /// Bytes there are.
        given: u32,
    },
    /// The golden wafer's answer is not the expected one.
    SelfTest,
    /// There is no model to go back to.
    NoOther,
    /// The flash failed.
    Flash,
}

/// What the error means, as part of a sentence about the board ("it").
impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Truncated => "the frame ended early",
            Self::Oversized => "the frame or piece is longer than the limit",
            Self::Corrupted => "the frame's CRC-32 is wrong",
            Self::Malformed => "it knows no such message",
            Self::Overrun => "it lost bytes of the line",
            Self::Protocol { board } => return write!(f, "it speaks protocol {board}"),
            Self::Grid => "the die grid is outside 1×1…256×256",
            Self::UnknownWafer => "it knows nothing of this wafer",
            Self::Gap { received } => {
                return write!(f, "a piece is missing after {received} bytes");
            }
            Self::Conflict { received } => {
                return write!(
                    f,
                    "the piece differs from the {received} bytes that it has, or is too long"
                );
            }
            Self::Incomplete { received, expected } => {
                return write!(f, "it has {received} of {expected} bytes");
            }
            Self::MapCrc => "the map's CRC-32 is not the announced one",
            Self::Dies => "a die is none of 0, 1, 2",
            Self::NotRun => "the wafer has not run yet",
            Self::Row => "there is no such mask row",
            Self::Engine => "its engine failed",
            Self::Unsupported => "it accepts no models",
            Self::NoKey => "its firmware has no public key, so it accepts no models",
            Self::Block => "it does not know this signature block",
            Self::Key => "the model is signed with another key than its own",
            Self::Signature => "the signature is wrong",
            Self::Version { minimum } => {
                return write!(f, "it accepts models of version {minimum} and higher");
            }
            Self::Size { limit } => {
                return write!(f, "the image is empty or has more than {limit} bytes");
            }
            Self::NoTransfer => "no model of this version was announced since it started",
            Self::Digest => "the image that arrived is not the signed one",
            Self::Model => "it cannot run this model",
            Self::Arena { needed, given } => {
                return write!(
                    f,
                    "the model needs {needed} bytes of working memory, it has {given}"
                );
            }
            Self::SelfTest => "the self-test failed: its answer to the golden wafer is wrong",
            Self::NoOther => "there is no model to go back to",
            Self::Flash => "its flash failed",
        };
        f.write_str(text)
    }
}

impl core::error::Error for ErrorReply {}
