use proptest::prelude::*;

use super::*;

const LIMIT: usize = 100;

/// A masked frame: the first byte, then the payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Decodes all of `input`, fed in pieces of `piece` bytes, as the shard does.
fn decode(input: &[u8], piece: usize) -> Result<Vec<String>, WireError> {
    let mut unfinished = Unfinished::default();
    let mut found = Vec::new();
    for piece in input.chunks(piece) {
        let mut bytes = std::mem::take(&mut unfinished.bytes);
        bytes.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (used, incoming) = unfinished.decode(&mut bytes[at..], LIMIT)?;
            let Some(incoming) = incoming else {
                at += used;
                break;
            };
            found.push(format!("{incoming:?}"));
            at += used;
        }
        unfinished.bytes = bytes.split_off(at);
    }
    Ok(found)
}

fn check(input: &[u8], expected: Result<&[&str], WireError>) {
    for piece in [1, 2, 3, 7, input.len().max(1)] {
        let found = decode(input, piece);
        let found = found.as_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found, expected.as_ref().map(|list| list.to_vec()), "in pieces of {piece}: {input:?}");
    }
}

#[test]
fn messages_come_whole_however_they_are_cut() {
    check(&frame(0x81, b"hello"), Ok(&["Text(\"hello\")"]));
    check(&frame(0x81, b""), Ok(&["Text(\"\")"]));
    check(&frame(0x82, b"\x00"), Ok(&["Binary"]));
    check(&frame(0x81, "ü€".as_bytes()), Ok(&["Text(\"ü€\")"]));
    check(&[frame(0x89, b"p"), frame(0x8a, b"")].concat(), Ok(&["Ping([112])", "Pong"]));
    check(&frame(0x88, b"\x03\xe8bye"), Ok(&["Close(1000)"]));
    check(&frame(0x88, b""), Ok(&["Close(1005)"]));
}

#[test]
fn fragments_are_joined_with_control_frames_between_them() {
    let euro = "€".as_bytes();
    let parts = [frame(0x01, &euro[..1]), frame(0x89, b""), frame(0x00, &euro[1..]), frame(0x80, b"!")];
    check(&parts.concat(), Ok(&["Ping([])", "Text(\"€!\")"]));
    check(&[frame(0x02, b"a"), frame(0x80, b"b")].concat(), Ok(&["Binary"]));
}

#[test]
fn what_breaks_the_protocol_is_named() {
    let protocol = |text| Err(WireError::Protocol(text));
    check(&frame(0xc1, b""), protocol("reserved bits are set, and no extension was agreed on"));
    check(&frame(0x83, b""), protocol("reserved opcode"));
    check(&[0x81, 0x01, b'x'], protocol("frames from a client are masked"));
    check(&frame(0x09, b""), protocol("a control frame in fragments"));
    check(&frame(0x89, &[0; 126]), protocol("a control frame over 125 bytes"));
    check(&frame(0x80, b""), protocol("a continuation of nothing"));
    check(&[frame(0x01, b"a"), frame(0x81, b"b")].concat(), protocol("a new message inside of a fragmented one"));
    check(&frame(0x88, b"\x03"), protocol("a close code is two bytes long"));
    check(&frame(0x88, b"\x03\xed"), protocol("a close code that may not be sent"));
    check(&frame(0x81, b"\xff"), Err(WireError::NotUtf8));
    check(&[frame(0x01, b"\xe2"), frame(0x80, b"x")].concat(), Err(WireError::NotUtf8));
}

#[test]
fn what_is_too_large_is_told_from_its_header() {
    let huge = [&[0x81, 0x80 | 127][..], &(1_u64 << 63).to_be_bytes(), &[0; 4]].concat();
    assert_eq!(decode(&huge, huge.len()), Err(WireError::TooLarge));
    assert_eq!(decode(&frame(0x81, &[b'x'; 101])[..8], 8), Err(WireError::TooLarge));
    assert_eq!(decode(&frame(0x81, &[b'x'; 100]), 200).map(|found| found.len()), Ok(1));
    let parts = [frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 41])].concat();
    assert_eq!(decode(&parts, parts.len()), Err(WireError::TooLarge));
}

#[test]
fn text_is_refused_at_its_first_byte_that_cannot_be_utf_8() {
    // After "κόσμε", a character beyond the last one: its second byte is one too high.
    let bad = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";
    let (valid, place) = (11, 12);
    let whole = frame(0x81, bad);
    let fragments = [frame(0x01, &bad[..valid]), frame(0x00, &bad[valid..=place])].concat();
    for (what, input, accepted) in [
        ("one frame that has not all come", &whole[..], whole.len() - bad.len() + place),
        ("a fragment", &fragments, fragments.len() - 1),
    ] {
        for piece in [1, 2, 3, 5, input.len()] {
            assert!(decode(&input[..accepted], piece).is_ok(), "{what}, in pieces of {piece}");
            assert_eq!(decode(&input[..=accepted], piece), Err(WireError::NotUtf8), "{what}, in pieces of {piece}");
        }
    }
    // Bytes of a binary message are anything.
    check(&[frame(0x02, b"\xff"), frame(0x80, b"\xff")].concat(), Ok(&["Binary"]));
    let next = [frame(0x81, "ü".as_bytes()), frame(0x01, "€".as_bytes()), frame(0x80, b"!"), frame(0x81, b"a")];
    check(&next.concat(), Ok(&["Text(\"ü\")", "Text(\"€!\")", "Text(\"a\")"]));
}

/// Bytes that are UTF-8, or nearly so.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        2 => "[a-z]{1,3}".prop_map(String::into_bytes),
        // Beginnings of characters, and what must not follow on some of them.
        1 => prop::collection::vec(prop::sample::select(&b"\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xe0\xe2\xed\xef\xf0\xf4\xf5"[..]), 1..3),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
}

/// Returns places at which a text of some length is cut.
fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..6)
}

/// Cuts bytes at these places.
fn cut<'b>(bytes: &'b [u8], at: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut at: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    let ends = at.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(at.iter().copied());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

proptest! {
    #[test]
    fn text_in_any_frames_and_reads_is_what_the_standard_library_says(
        bytes in nearly_text(), frames in cuts(), reads in cuts(), ping in any::<bool>(),
    ) {
        // The first byte after which nothing makes it valid.
        let bad = (1..=bytes.len()).find(|end| {
            std::str::from_utf8(&bytes[..*end]).is_err_and(|error| error.error_len().is_some())
        });
        let frames = cut(&bytes, &frames);
        let (mut wire, mut seen, mut refused_at) = (Vec::new(), 0, None);
        for (number, payload) in frames.iter().enumerate() {
            let is_last = number + 1 == frames.len();
            let first = if is_last { 0x80 } else { 0 } | u8::from(number == 0);
            let encoded = frame(first, payload);
            seen += payload.len();
            if let Some(bad) = bad && refused_at.is_none() && bad <= seen {
                refused_at = Some(wire.len() + encoded.len() - (seen - bad));
            }
            wire.extend_from_slice(&encoded);
            if ping && !is_last {
                wire.extend_from_slice(&frame(0x89, b"?"));
            }
        }
        let (mut unfinished, mut came, mut text) = (Unfinished::default(), 0, None);
        for read in cut(&wire, &reads) {
            came += read.len();
            let mut input = std::mem::take(&mut unfinished.bytes);
            input.extend_from_slice(read);
            let mut at = 0;
            loop {
                match unfinished.decode(&mut input[at..], 1000) {
                    Ok((used, incoming)) => {
                        at += used;
                        match incoming {
                            Some(Incoming::Text(whole)) => text = Some(whole.into_owned()),
                            Some(incoming) => prop_assert_eq!(incoming, Incoming::Ping(b"?")),
                            None => break,
                        }
                    }
                    Err(error) => {
                        prop_assert_eq!(error, WireError::NotUtf8);
                        // Without a bad byte, its last character is not whole.
                        let due = refused_at.unwrap_or(wire.len());
                        prop_assert!(came >= due && came - read.len() < due, "{} is due, {} came", due, came);
                        prop_assert!(std::str::from_utf8(&bytes).is_err());
                        return Ok(());
                    }
                }
            }
            prop_assert!(refused_at.is_none_or(|due| came < due));
            unfinished.bytes = input.split_off(at);
        }
        prop_assert_eq!(text.as_deref(), std::str::from_utf8(&bytes).ok());
        prop_assert!(unfinished.is_empty());
    }
}
