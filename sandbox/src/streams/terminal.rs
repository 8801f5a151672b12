//! A pseudo-terminal, read and written without blocking.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt},
    unistd,
};
use tokio::{io::unix::AsyncFd, sync::Notify};

/// The master's end of a terminal.
pub(crate) struct Terminal {
    master: AsyncFd<PtyMaster>,
    path: PathBuf,
    hung_up: Notify,
}

impl Terminal {
    /// A new terminal.
    pub fn open() -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname_r(&master)?.into();
        #[expect(
            deprecated,
            reason = "its unsoundness is that of types that lend a foreign descriptor; this owns its own"
        )]
        let master = AsyncFd::new(master)?;
        Ok(Self { master, path, hung_up: Notify::new() })
    }

    /// The slave's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what the process writes; 0 once it has closed the terminal, or once all is read after
    /// [`Self::hang_up`].
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            tokio::select! {
                biased;
                guard = self.master.readable() => {
                    let read = guard?.try_io(|master| match unistd::read(master.get_ref().as_fd(), buffer) {
                        // The process has closed the terminal.
                        Err(Errno::EIO) => Ok(0),
                        result => Ok(result?),
                    });
                    if let Ok(read) = read {
                        return read;
                    }
                }
                () = self.hung_up.notified() => return Ok(0),
            }
        }
    }

    /// Writes all of `bytes` for the process to read.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut guard = self.master.writable().await?;
            let written = guard.try_io(|master| Ok(unistd::write(master.get_ref().as_fd(), bytes)?));
            if let Ok(written) = written {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }

    /// Ends reading once everything written so far is read.
    pub fn hang_up(&self) {
        self.hung_up.notify_one();
    }

    /// Tells the process the size of the client's window.
    pub fn resize(&self, width: u16, height: u16) {
        let size = rustix::termios::Winsize { ws_col: width, ws_row: height, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(error) = rustix::termios::tcsetwinsize(self.master.get_ref().as_fd(), size) {
            tracing::debug!(%error, "terminal not resized");
        }
    }
}
