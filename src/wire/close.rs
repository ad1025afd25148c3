//! Why the server closes a WebSocket, as the code and text that the client gets (RFC 6455, 5.5.1 and 7.4).

use bytes::Bytes;

/// A reason to close. One list for the whole program, so that the codes are published in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client began to close, and gets its code back.
    Echo(u16),
    /// 1002: the client broke RFC 6455.
    Protocol(&'static str),
    /// 1007: a text message that is not UTF-8.
    NotUtf8,
    /// 1009: a message over `limits.message`.
    TooLarge,
    /// 1012: the server is restarting.
    Restarting,
    /// 1013: what the client needs is not to be had now.
    TryAgain,
    /// 4401: not authenticated in time.
    NotInTime,
    /// 4401: too many denials.
    TooManyDenials,
    /// 4403: the application ended the user's sessions.
    Kicked,
    /// 4408: the client did not take what was written to it fast enough.
    TooSlow,
    /// 4409: the session has expired.
    Expired,
}

impl CloseReason {
    /// The close code.
    pub fn code(self) -> u16 {
        match self {
            Self::Echo(code) => code,
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::Restarting => 1012,
            Self::TryAgain => 1013,
            Self::NotInTime | Self::TooManyDenials => 4401,
            Self::Kicked => 4403,
            Self::TooSlow => 4408,
            Self::Expired => 4409,
        }
    }

    /// The text beside the code: at most 123 bytes.
    pub fn text(self) -> &'static str {
        match self {
            Self::Echo(_) => "",
            Self::Protocol(text) => text,
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooLarge => "message too large",
            Self::Restarting => "server restarting",
            Self::TryAgain => "try again later",
            Self::NotInTime => "not authenticated in time",
            Self::TooManyDenials => "access denied too often",
            Self::Kicked => "disconnected by the application",
            Self::TooSlow => "too slow",
            Self::Expired => "session expired",
        }
    }

    /// The whole close frame.
    pub fn frame(self) -> Bytes {
        // 1005 is never sent: it stands for a close frame without a code, which is answered alike.
        if self == Self::Echo(1005) {
            return Bytes::from_static(&[0x88, 0]);
        }
        let text = self.text().as_bytes();
        let length = u8::try_from(text.len() + 2).expect("a close reason is short");
        let mut frame = Vec::with_capacity(text.len() + 4);
        frame.extend_from_slice(&[0x88, length]);
        frame.extend_from_slice(&self.code().to_be_bytes());
        frame.extend_from_slice(text);
        frame.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_its_code_and_text() {
        assert_eq!(CloseReason::TooSlow.frame().as_ref(), b"\x88\x0a\x11\x38too slow");
        assert_eq!(CloseReason::Echo(1000).frame().as_ref(), b"\x88\x02\x03\xe8");
        assert_eq!(CloseReason::Echo(1005).frame().as_ref(), b"\x88\x00");
    }
}
