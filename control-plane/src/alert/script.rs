//! Tells programs.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Why a program was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScriptError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("ended with {0}")]
    Failed(ExitStatus),
    #[error("killed, as it took more than {0:?}")]
    Late(Duration),
}

/// Runs a program, without a shell and with no environment of ours, with the message on its
/// standard input. What it says is discarded; what it takes longer than `patience`, it is killed
/// with all it started.
pub(super) async fn run(
    program: &Path,
    message: &[u8],
    patience: Duration,
) -> Result<(), ScriptError> {
    let mut child = Command::new(program)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // So that what it starts can be killed with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let ended = timeout(patience, async {
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(message).await {
                // It need not read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        child.wait().await
    });
    match ended.await {
        Ok(status) => match status? {
            status if status.success() => Ok(()),
            status => Err(ScriptError::Failed(status)),
        },
        Err(_) => {
            if let Some(group) = group {
                killpg(group, Signal::SIGKILL).map_err(io::Error::from)?;
            }
            child.wait().await?;
            Err(ScriptError::Late(patience))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::tests::world::within;

    const LONG: Duration = Duration::from_secs(60);

    fn program(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("program");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_program_reads_the_message_and_nothing_of_ours() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display().to_string();
        let program =
            program(directory.path(), &format!("cat > {at}/out; echo $#$HOME >> {at}/out"));
        run(&program, b"message ", LONG).await.unwrap();
        let told = fs::read_to_string(directory.path().join("out")).unwrap();
        assert_eq!(told, "message 0\n");
    }

    #[tokio::test]
    async fn one_that_does_not_read_may_do_so() {
        let directory = tempfile::tempdir().unwrap();
        let program = program(directory.path(), "exec true");
        run(&program, &vec![0; 1 << 20], LONG).await.unwrap();
    }

    #[tokio::test]
    async fn what_fails_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let failing = program(directory.path(), "exit 3");
        let error = run(&failing, b"", LONG).await.unwrap_err().to_string();
        assert_eq!(error, "ended with exit status: 3");
        let error = run(&directory.path().join("none"), b"", LONG).await.unwrap_err().to_string();
        assert_eq!(error, "No such file or directory (os error 2)");
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_all_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let note = directory.path().join("pid");
        let text = format!("sleep 600 &\necho $! > {}\nwait", note.display());
        let program = program(directory.path(), &text);
        let short = Duration::from_secs(2);
        let error = run(&program, b"", short).await.unwrap_err();
        assert!(matches!(error, ScriptError::Late(_)), "{error}");
        let pid = fs::read_to_string(note).unwrap();
        // Gone, or a zombie that nobody waits for.
        let is_over = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
        };
        within(is_over).await;
    }
}
