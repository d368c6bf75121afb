//! `lightwafer keygen`, `sign`, `update` and `rollback`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use lightwafer_equipment::sign::SecretKey;
use lightwafer_equipment::{KeyId, Local, SignedModel, Step};
use lightwafer_maps::file;

use crate::args::{Keygen, Rollback, Sign, Update};
use crate::output::{check_output, grouped};
use crate::source::Connection;

/// Makes a key pair.
pub fn keygen(args: &Keygen) -> Result<bool> {
    let mut random = [0; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        bail!("no random bytes from the system: {error}");
    }
    let key = SecretKey::new(&random);
    let mut public = args.key.clone().into_os_string();
    public.push(".pub");
    let public = &PathBuf::from(public);
    for path in [&args.key, public] {
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} exists already; a key is never overwritten",
                path.display()
            );
        }
    }
    // A public key never lies there without its secret one.
    create(&args.key, &key.to_text(), true)?;
    if let Err(error) = create(public, &key.public_text(), false) {
        let _ = fs::remove_file(&args.key);
        return Err(error);
    }
    writeln!(
        io::stdout(),
        "key {}\n{}: secret, keep it off the boards and out of repositories\n{}: for firmware, \
         LIGHTWAFER_UPDATE_KEY=<this file> when it is built",
        KeyId::of(&key.public()),
        args.key.display(),
        public.display()
    )?;
    Ok(true)
}

/// Writes a new file, whole or not at all. A secret file is readable by its owner only.
fn create(path: &Path, text: &str, secret: bool) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let named = || format!("cannot write {}", path.display());
    let mut file = options.open(path).with_context(named)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.with_context(named)
}

/// Signs a model file.
pub fn sign(args: &Sign) -> Result<bool> {
    check_output(&args.output, [&*args.model, &*args.key])?;
    let path = args.key.display();
    let text = fs::read_to_string(&args.key).with_context(|| format!("cannot read {path}"))?;
    let key = SecretKey::parse(&text).with_context(|| format!("{path}"))?;
    let local = Local::load(&args.model)?;
    if !local.self_test()? {
        bail!(
            "{}: the self-test failed: the answer to the golden wafer is not the expected one; no board would accept this model",
            args.model.display()
        );
    }
    let block = key.sign(local.image(), args.model_version, args.floor)?;
    let signed = [local.image(), block.bytes()].concat();
    file::write(&args.output, &signed)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    writeln!(
        io::stdout(),
        "{}: {} version {}, signed with key {}",
        args.output.display(),
        local.facts().name,
        block.version(),
        block.key()
    )?;
    Ok(true)
}

/// Sends a model to a board.
pub fn update(args: &Update) -> Result<bool> {
    let model = SignedModel::load(&args.model).with_context(|| args.model.display().to_string())?;
    let mut connection = Connection::open(&args.board)?;
    let (name, version) = (&model.facts().name, model.block().version());
    if args.dry_run {
        let health = connection
            .health()?
            .context("this board's firmware accepts no models")?;
        let would = match model.fits(&health)? {
            true => "would accept",
            false => "already runs",
        };
        writeln!(
            io::stdout(),
            "{} {would} {name} version {version}",
            connection.board.facts().board
        )?;
        return Ok(true);
    }
    let bytes = model.block().length();
    // Draws on stderr, and only if that is a terminal.
    let bar = ProgressBar::new(bytes.into());
    let style = "{bar:30} {bytes}/{total_bytes}, {eta} left {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    let updated = connection.board.update(&model, |step| match step {
        Step::Begun { received } if received > 0 => {
            bar.suspend(|| {
                eprintln!(
                    "lightwafer: continuing from {} bytes",
                    grouped(received.into())
                )
            });
            bar.set_position(received.into());
        }
        Step::Begun { .. } => {}
        Step::Sent { received } => bar.set_position(received.into()),
        Step::Interrupted => bar.suspend(|| eprintln!("lightwafer: interrupted, trying again")),
        Step::Trying => bar.set_message("the board runs its self-test"),
    });
    bar.finish_and_clear();
    let what = match updated? {
        true => "runs now",
        false => "already ran",
    };
    writeln!(
        io::stdout(),
        "{} {what} {name} version {version}",
        connection.board.facts().board
    )?;
    Ok(true)
}

/// Goes back to the previous model.
pub fn rollback(args: &Rollback) -> Result<bool> {
    let mut connection = Connection::open(&args.board)?;
    let version = connection.board.roll_back()?;
    let facts = connection.board.facts();
    let version = match version {
        0 => "of its firmware".to_owned(),
        version => format!("version {version}"),
    };
    writeln!(
        io::stdout(),
        "{} runs {} {version} again",
        facts.board,
        facts.model.name
    )?;
    Ok(true)
}
