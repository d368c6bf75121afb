//! Logs on stderr: with journald's level prefixes where systemd reads them, in words elsewhere.

use std::io::Write as _;

use log::Level;

/// Starts logging; `RUST_LOG` chooses what is shown, `info` and worse by default.
pub fn start() {
    // systemd sets it when stderr goes to the journal, which stamps times and reads `<N>` as the level.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format(move |out, record| {
            if journal {
                writeln!(out, "<{}>{}", priority(record.level()), record.args())
            } else {
                writeln!(
                    out,
                    "lightwafer-linux: {}: {}",
                    record.level().as_str().to_lowercase(),
                    record.args()
                )
            }
        })
        .init();
}

/// The level as syslog numbers it (RFC 5424, section 6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
