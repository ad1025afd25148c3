//! UTF-8 that comes in parts, checked as it comes.

use std::str::from_utf8;

/// The state of a check: the text so far is valid, except that its last character may lack bytes.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The first bytes of a character, and how many there are.
    begun: [u8; 4],
    count: u8,
}

impl Utf8 {
    /// Takes the next part. An error if a byte of it cannot be there, whatever follows.
    pub(super) fn take(&mut self, mut part: &[u8]) -> Result<(), ()> {
        while self.count > 0 {
            let Some((next, rest)) = part.split_first() else { return Ok(()) };
            let count = usize::from(self.count);
            self.begun[count] = *next;
            self.count += 1;
            match from_utf8(&self.begun[..=count]) {
                Ok(_) => self.count = 0,
                // Too short still: a character is at most four bytes long.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(()),
            }
            part = rest;
        }
        let Err(error) = from_utf8(part) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(());
        }
        for (place, byte) in self.begun.iter_mut().zip(&part[error.valid_up_to()..]) {
            *place = *byte;
            self.count += 1;
        }
        Ok(())
    }
}
