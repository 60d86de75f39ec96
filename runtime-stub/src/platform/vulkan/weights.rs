//! Weights on the device: copied once when a model opens, directly where the host reaches device memory, else through a
//! small buffer that both reach.

use super::commands::{Commands, copy};
use super::device::Logical;
use super::ffi::Handle;
use super::memory::{Buffer, Use};
use super::pieces::Pieces;
use crate::fault::Outcome;

/// Bytes that go through the small buffer at once.
const STAGING_BYTES: u64 = 32 << 20;

/// Fills the pieces of the weights' region with the bytes of the file.
///
/// # Errors
/// [`Code::Memory`](crate::fault::Code::Memory), [`Code::Device`](crate::fault::Code::Device).
pub fn upload(logical: &Logical, pieces: &mut Pieces, bytes: &[u8]) -> Outcome<()> {
    let mut staging = Staging { logical, buffer: Buffer::NONE, commands: None };
    for (start, buffer) in pieces.iter_mut() {
        let part = &bytes[start as usize..][..buffer.bytes as usize];
        if !buffer.write(0, part) {
            staging.upload(buffer.handle, part)?;
        }
    }
    Ok(())
}

/// The way for memory that the host does not reach; made when it is first needed.
struct Staging<'d> {
    logical: &'d Logical,
    buffer: Buffer,
    commands: Option<Commands<'d>>,
}

impl Staging<'_> {
    fn upload(&mut self, to: Handle, bytes: &[u8]) -> Outcome<()> {
        if self.buffer.handle == 0 {
            self.buffer = Buffer::new(self.logical, STAGING_BYTES, Use::Upload)?;
        }
        if self.commands.is_none() {
            self.commands = Some(Commands::new(self.logical)?);
        }
        let Some(commands) = &mut self.commands else { return Ok(()) };
        for (index, part) in (0u64..).zip(bytes.chunks(STAGING_BYTES as usize)) {
            self.buffer.write(0, part);
            let recorded = commands.begin()?;
            copy(self.logical, recorded, (self.buffer.handle, 0), (to, index * STAGING_BYTES), part.len() as u64);
            commands.submit()?;
            commands.finish()?;
        }
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if let Some(commands) = &mut self.commands {
            commands.close();
        }
        if !self.logical.is_stuck() {
            self.buffer.destroy(self.logical);
        }
    }
}
